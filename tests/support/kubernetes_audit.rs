//! What the API server was asked, by whom, and what it answered: read from its own audit log.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What the log is to hold: who asked for what, and nothing of what was sent.
pub(crate) const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
"rules": [{"level": "None", "users": ["admin"]}, {"level": "Metadata"}]}"#;

/// Where it is.
pub(crate) fn log(directory: &Path) -> PathBuf {
    directory.join("audit.log")
}

/// A kind of request, as rules of a `Role` speak of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The verb.
    pub verb: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.group) }
    }
}

/// What a user asked for so far.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// What was allowed.
    pub allowed: BTreeSet<Asked>,
    /// What was forbidden.
    pub forbidden: BTreeSet<Asked>,
    /// How many requests there were that write.
    pub writes: u64,
}

/// Reads the log for one user.
pub(crate) fn of(directory: &Path, user: &str) -> Requests {
    let text = std::fs::read_to_string(log(directory)).unwrap_or_default();
    let mut requests = Requests::default();
    // The last line may be half written.
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["user"]["username"] != user || event["objectRef"].is_null() {
            continue;
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut resource = word(&object["resource"]);
        if let Some(subresource) = object["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        let asked = Asked { group: word(&object["apiGroup"]), resource, verb: word(&event["verb"]) };
        if !matches!(asked.verb.as_str(), "get" | "list" | "watch") && event["stage"] == "ResponseComplete" {
            requests.writes += 1;
        }
        let forbidden = event["annotations"]["authorization.k8s.io/decision"] == "forbid";
        if forbidden {
            requests.forbidden.insert(asked)
        } else {
            requests.allowed.insert(asked)
        };
    }
    requests
}
