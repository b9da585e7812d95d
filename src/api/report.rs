//! `ComplianceReport`: what one run of an audit found. Made by the controller, never by people.

// The schema derive repeats each struct inside a function, where no `pub` can be reached; clippy takes the columns
// for repeated attributes; and the comments are descriptions in the CRD, read by people at a terminal.
#![allow(unreachable_pub, clippy::duplicated_attributes, clippy::doc_markdown)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::audit::{RunResult, TagCount, Trigger};
use crate::policy::Severity;
use crate::summary::Summary;

/// Which run a report is about. Cannot be changed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tagwarden.io",
    version = "v1alpha1",
    kind = "ComplianceReport",
    plural = "compliancereports",
    shortname = "tagreport",
    category = "tagwarden",
    namespaced,
    status = "ComplianceReportStatus",
    derive = "PartialEq",
    doc = "What one run of a ComplianceAudit found. Made by the controller; it is removed with its audit, or when newer ones take its place.",
    selectable = ".spec.auditRef.name",
    printcolumn(name = "Audit", type_ = "string", json_path = ".spec.auditRef.name"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "Complete", type_ = "boolean", json_path = ".status.summary.complete"),
    printcolumn(name = "Score", type_ = "string", json_path = ".status.summary.score"),
    printcolumn(name = "Critical", type_ = "integer", json_path = ".status.summary.bySeverity.critical"),
    printcolumn(name = "High", type_ = "integer", json_path = ".status.summary.bySeverity.high"),
    printcolumn(name = "Resources", type_ = "integer", json_path = ".status.summary.resources"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a report cannot be changed"))]
pub struct ComplianceReportSpec {
    /// The audit.
    pub audit_ref: AuditRef,
    /// The id of the run.
    #[schemars(length(min = 1, max = 320))]
    pub run_id: String,
    /// The digest of the policy's rules.
    #[schemars(length(max = 80))]
    pub policy_revision: String,
    /// Why the run was started.
    pub trigger: Trigger,
    /// When it was started.
    pub start_time: Time,
}

/// A ComplianceAudit in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What the run found.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceReportStatus {
    /// How the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,

    /// For people: why it failed, or what could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Over everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,

    /// Per account, the worst first, at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub by_account: Vec<AccountCount>,

    /// Per resource type, the worst first, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub by_resource_type: Vec<TypeCount>,

    /// Per tag, the worst first, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub by_tag: Vec<TagCount>,

    /// The most severe violations, at most 100. All of them are in the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub top_violations: Vec<Violation>,

    /// What could not be seen and why, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub gaps: Vec<CoverageGap>,

    /// What was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,

    /// Ready and Compliant, as the audit had them at the end of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One account of a run.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountCount {
    /// The name of its ClientAccount.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,
    /// Its score in percent; absent when nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub score: Option<String>,
    /// Resources that were judged.
    pub resources: i64,
    /// Violations.
    pub violations: i64,
    /// Whether everything in scope could be seen.
    pub complete: bool,
}

/// One resource type of a run.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TypeCount {
    /// The type as `service:type`.
    #[schemars(length(max = 128))]
    pub resource_type: String,
    /// Its score in percent; absent when nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub score: Option<String>,
    /// Resources that were judged.
    pub resources: i64,
    /// Violations.
    pub violations: i64,
}

/// One violation.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The resource.
    #[schemars(length(max = 2048))]
    pub arn: String,
    /// Its account.
    #[schemars(length(max = 12))]
    pub account_id: String,
    /// Its region, or `global`.
    #[schemars(length(max = 32))]
    pub region: String,
    /// Its type as `service:type`.
    #[schemars(length(max = 128))]
    pub resource_type: String,
    /// The tag.
    #[schemars(length(max = 128))]
    pub tag_key: String,
    /// What is wrong, in one word: missing_required_tag, invalid_value, invalid_format, wrong_case or forbidden_tag.
    #[schemars(length(max = 64))]
    pub violation_type: String,
    /// How much it matters.
    pub severity: Severity,
    /// For people.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// Something that could not be fully seen.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CoverageGap {
    /// The account.
    #[schemars(length(max = 253))]
    pub account: String,
    /// The region, `global`, or `*` for all.
    #[schemars(length(max = 32))]
    pub region: String,
    /// The type, or `*` for all.
    #[schemars(length(max = 128))]
    pub resource_type: String,
    /// tagged_only, denied, throttled, timed_out, unsupported, failed or interrupted.
    #[schemars(length(max = 32))]
    pub state: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub cause: Option<String>,
}

/// What was looked at.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Accounts that were entered.
    pub accounts: i32,
    /// Regions, counted over all accounts.
    pub regions: i32,
    /// Resource types.
    pub resource_types: i32,
    /// Cells of account, region and type.
    pub cells: i64,
    /// Cells that could not be fully seen.
    pub gaps: i64,
}
