//! Finding types by what people write: a name, a former name, a glob, or a slip of the pen.

use std::fmt;
use std::sync::Arc;

use crate::glob::Glob;
use crate::text::quoted;

use super::{Registry, TypeId};

/// The most names to offer in place of an unknown one.
const MAX_OFFERS: usize = 3;

/// Below this likeness (0 to 1) an offer would be a guess.
const MIN_LIKENESS: f64 = 0.5;

/// An offer this much less like than the best one only distracts from it.
const MAX_BEHIND: f64 = 0.15;

/// What is compared of an unknown name, in characters.
const MAX_COMPARED: usize = 128;

/// What a written name or pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meant {
    /// The types, in order; several only for a pattern.
    pub types: Vec<TypeId>,
    /// The name to write instead, where a former or foreign one was written; to be accepted with a warning.
    pub renamed: Option<Arc<str>>,
}

/// A name or pattern that stands for no type. `Display` says so in a sentence, and what could be written instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownType {
    written: String,
    /// Names like it, the likest first; at most three, and none for a pattern.
    pub nearest: Vec<Arc<str>>,
}

impl fmt::Display for UnknownType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_pattern = self.written.contains('*');
        let what = if is_pattern { "matches no resource type" } else { "is not a known resource type" };
        write!(formatter, "{} {what}; ", self.written)?;
        if self.nearest.is_empty() {
            return formatter.write_str("`tagwarden types` lists them");
        }
        let nearest: Vec<String> = self.nearest.iter().map(|name| quoted(name)).collect();
        write!(formatter, "did you mean {}?", nearest.join(", "))
    }
}

impl std::error::Error for UnknownType {}

impl Registry {
    /// What this name, or pattern with `*`, stands for. Names are exact; for one that is not, those are offered that
    /// look like it regardless of case, and the type whose `CloudFormation` type it is.
    pub fn resolve(&self, written: &str) -> Result<Meant, UnknownType> {
        if let Some(id) = self.id(written) {
            return Ok(Meant { types: vec![id], renamed: None });
        }
        if let Some(&id) = self.by_alias.get(written) {
            return Ok(Meant { types: vec![id], renamed: Some(Arc::clone(&self.row(id).name)) });
        }
        let is_pattern = written.contains('*');
        if is_pattern {
            let pattern = Glob::new(written);
            let types: Vec<TypeId> = self.ids().filter(|id| pattern.matches(&self.row(*id).name)).collect();
            if !types.is_empty() {
                return Ok(Meant { types, renamed: None });
            }
        }
        let nearest = if is_pattern { Vec::new() } else { self.nearest(written) };
        Err(UnknownType { written: quoted(written), nearest })
    }

    /// The name that a type of this name, or former name, goes by now.
    pub fn current_name(&self, name: &str) -> Option<&str> {
        let id = self.id(name).or_else(|| self.by_alias.get(name).copied())?;
        Some(&self.row(id).name)
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
        let least = offers.first().map_or(0.0, |(best, _)| best - MAX_BEHIND);
        offers.retain(|(likeness, _)| *likeness >= least);
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
