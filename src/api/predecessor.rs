//! The predecessor's `tagging_policy.json`, taken as it is.

use serde_json::{Map, Value};

use crate::policy::TaggingPolicy;

/// Whether an object is such a file: it says nothing of a kind, and has the one field that is always there.
pub(crate) fn detects(fields: &Map<String, Value>) -> bool {
    let manifest = fields.contains_key("apiVersion") || fields.contains_key("kind");
    !manifest && (fields.contains_key("required_tags") || fields.contains_key("optional_tags"))
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

/// The policy of such a file, and what of it should be written differently; or what is wrong with it, and where.
pub(crate) fn policy(
    _name: &str,
    _document: &Value,
) -> Result<(TaggingPolicy, Vec<String>), (String, String)> {
    Err((String::new(), String::new()))
}
