//! Differences that users can live with, each with the reason.

use std::path::Path;

use serde::Deserialize;

use super::compare::Difference;

/// A difference that is on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Why users can live with it, as a sentence.
    pub reason: String,
    /// Whether it is about words for people only.
    #[serde(default)]
    pub words: bool,
    /// The probes it is about; `*` stands for any text.
    probes: Vec<String>,
    /// The places in the answer, as JSON pointers; `*` stands for any text.
    at: Vec<String>,
}

impl Allowed {
    /// Whether this entry is about that difference.
    pub fn covers(&self, difference: &Difference) -> bool {
        let fits = |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        fits(&self.probes, &difference.probe) && fits(&self.at, &difference.at)
    }
}

/// All of `tests/golden/allowed.yaml`.
pub fn allowed() -> Vec<Allowed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/allowed.yaml");
    let text = std::fs::read_to_string(&path).expect("the list");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|start| rest.is_char_boundary(*start))
                .any(|start| matches(after, &rest[start..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*: b*d", "a: bcd", true),
            ("*b", "abc", false),
            ("/body/*/message", "/body/causes/0/message", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
