//! Finding types by what people write: a name, a former name, a glob, or a slip of the pen.

use std::sync::Arc;

use super::{Registry, TypeId};

/// The most names to offer in place of an unknown one.
const MAX_OFFERS: usize = 3;

/// Below this likeness (0 to 1) an offer would be a guess.
const MIN_LIKENESS: f64 = 0.5;

/// What is compared of an unknown name, in characters.
const MAX_COMPARED: usize = 128;

/// What a written name turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The name of a type.
    Known(TypeId),
    /// A former or foreign name; to be accepted with a warning.
    Alias {
        /// The type meant.
        id: TypeId,
        /// What to write instead.
        name: Arc<str>,
    },
    /// Nobody's name.
    Unknown {
        /// Names like it, the likest first; at most three.
        nearest: Vec<Arc<str>>,
    },
}

impl Registry {
    /// What this name means. Names are exact; for one that is not, those are offered that look like it
    /// regardless of case, and the type whose `CloudFormation` type it is.
    pub fn resolve(&self, name: &str) -> Resolved {
        if let Some(id) = self.id(name) {
            return Resolved::Known(id);
        }
        if let Some(&id) = self.by_alias.get(name) {
            return Resolved::Alias { id, name: Arc::clone(&self.row(id).name) };
        }
        Resolved::Unknown { nearest: self.nearest(name) }
    }

    /// The types whose name matches a glob, in order; `*` stands for any text, also none.
    pub fn match_glob(&self, glob: &str) -> Vec<TypeId> {
        if !glob.contains('*') {
            return self.id(glob).into_iter().collect();
        }
        self.ids().filter(|id| glob_matches(glob, &self.row(*id).name)).collect()
    }

    fn nearest(&self, name: &str) -> Vec<Arc<str>> {
        let wanted: String = name.trim().to_lowercase().chars().take(MAX_COMPARED).collect();
        let mut offers: Vec<(f64, &Arc<str>)> = Vec::new();
        for row in &self.rows {
            let same_cloud_formation =
                row.cloud_formation.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(&wanted));
            let aliases = row.aliases.iter().map(|alias| likeness(&wanted, &alias.to_lowercase()));
            let likeness =
                if same_cloud_formation { 1.0 } else { aliases.fold(likeness(&wanted, &row.name), f64::max) };
            if likeness >= MIN_LIKENESS {
                offers.push((likeness, &row.name));
            }
        }
        // Stable, so equally like names stay in registry order.
        offers.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        offers.into_iter().take(MAX_OFFERS).map(|(_, name)| Arc::clone(name)).collect()
    }
}

/// How much one name looks like another, 0 to 1. The service counts for more than the type: people know which
/// service they mean, and misremember what it calls its things.
fn likeness(wanted: &str, name: &str) -> f64 {
    let (service, kind) = name.split_once(':').unwrap_or((name, ""));
    match wanted.split_once(':') {
        Some((wanted_service, wanted_kind)) => {
            0.6 * strsim::normalized_damerau_levenshtein(wanted_service, service)
                + 0.4 * strsim::normalized_damerau_levenshtein(wanted_kind, kind)
        }
        None => [name, service, kind]
            .into_iter()
            .map(|part| strsim::normalized_damerau_levenshtein(wanted, part))
            .fold(0.0, f64::max),
    }
}

/// Whether a text matches a glob with `*`. The pieces between the stars are looked for from left to right,
/// each as early as possible, which finds a match if there is one.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
