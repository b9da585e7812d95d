//! What a run found, in numbers: the same in the status of an audit and in its reports.

// The schema derive repeats each struct inside a function, where no `pub` can be reached; and the comments are
// descriptions in the CRD, read by people at a terminal.
#![allow(unreachable_pub, clippy::doc_markdown)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a run found, in numbers.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Compliant resources among those judged, in percent with one decimal. Absent when nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub score: Option<String>,
    /// Whether everything in scope could be seen. The numbers speak only of what was seen.
    pub complete: bool,
    /// Resources that were judged: compliant and violating ones.
    pub resources: i64,
    /// Resources without a violation.
    pub compliant: i64,
    /// Resources with at least one violation.
    pub violating: i64,
    /// Resources whose violations are all exempt; in neither of the two.
    pub exempt: i64,
    /// Resources whose tags could not be read; in neither of the two.
    pub unknown: i64,
    /// Violations. A resource may have several.
    pub violations: i64,
    /// Violations by severity.
    #[schemars(extend("maxProperties" = 5, "additionalProperties" = {"type": "integer", "format": "int64"}))]
    pub by_severity: BTreeMap<String, i64>,
    /// Cells of account, region and type that could not be fully seen.
    pub gaps: i64,
}
