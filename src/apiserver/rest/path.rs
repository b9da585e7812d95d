//! What a path names.

use std::sync::Arc;

use crate::kind::{Face, Kind, Kinds};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    /// Discovery, `OpenAPI`, health: the segments of the path.
    Document(Vec<&'a str>),
    /// Objects of a kind.
    Objects(Target),
}

/// Objects of a kind, or one of them.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    /// The namespace in the path. `None` for cluster-wide kinds, and for a list over all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    /// Whether only the status is meant.
    pub(crate) status: bool,
}

/// Reads a path as somebody behind this door sees it; `None` when there is nothing.
pub(crate) fn parse<'a>(kinds: &Kinds, face: Face, path: &'a str) -> Option<Asked<'a>> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Nothing has such a name, and PostgreSQL would be upset.
    if segments.iter().any(|segment| segment.contains("%00")) {
        return None;
    }
    let (group, version, rest) = match *segments.as_slice() {
        ["api", version, ref rest @ ..] if !rest.is_empty() => ("", version, rest),
        ["apis", group, version, ref rest @ ..] if !rest.is_empty() => (group, version, rest),
        _ => return Some(Asked::Document(segments)),
    };
    let find = |plural: &str| kinds.get(group, version, plural).filter(|kind| kind.seen_by(face));
    let target = |kind: &Arc<Kind>, namespace: Option<&str>, name: Option<&str>, status| {
        let kind = Arc::clone(kind);
        Some(Asked::Objects(Target {
            kind,
            namespace: namespace.map(decode),
            name: name.map(decode),
            status,
        }))
    };
    match *rest {
        ["namespaces", namespace, plural, ref rest @ ..] if plural != "status" => {
            let kind = find(plural).filter(|kind| kind.namespaced)?;
            let (name, status) = object(kind, rest)?;
            target(kind, Some(namespace), name, status)
        }
        [plural, ref rest @ ..] => {
            let kind = find(plural)?;
            let (name, status) = object(kind, rest)?;
            // An object in a namespace has its namespace in its path; only lists may leave it out.
            if kind.namespaced && name.is_some() {
                return None;
            }
            target(kind, None, name, status)
        }
        [] => None,
    }
}

fn object<'a>(kind: &Kind, rest: &[&'a str]) -> Option<(Option<&'a str>, bool)> {
    match *rest {
        [] => Some((None, false)),
        [name] => Some((Some(name), false)),
        [name, "status"] if kind.status => Some((Some(name), true)),
        _ => None,
    }
}

/// Names with a `:` arrive escaped; what is no name is found nowhere.
fn decode(segment: &str) -> String {
    let form = segment.replace('+', "%2B");
    url::form_urlencoded::parse(form.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        for (segment, name) in [("a", "a"), ("system%3Aa", "system:a"), ("a+b", "a+b"), ("", "")] {
            assert_eq!(decode(segment), name);
        }
    }
}
