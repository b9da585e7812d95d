//! The predecessor's `tagging_policy.json`, taken as it is.

use serde_json::{Map, Value};

/// Whether an object is such a file: it says nothing of a kind, and has a field that only such files have.
pub(crate) fn detects(fields: &Map<String, Value>) -> bool {
    let manifest = fields.contains_key("apiVersion") || fields.contains_key("kind");
    !manifest
        && ["required_tags", "optional_tags", "tag_naming_rules"]
            .iter()
            .any(|name| fields.contains_key(*name))
}

/// The name of the policy in such a file: the name of the file, as an object may be called.
pub(crate) fn name(file: &str) -> String {
    let stem = std::path::Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let lower = stem.to_ascii_lowercase();
    let parts: Vec<&str> =
        lower.split(|each: char| !each.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let name: String = parts.join("-").chars().take(63).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "tagging-policy".to_owned() } else { name.to_owned() }
}
