//! `ComplianceAudit`: when, where and by which policy tags are checked, and what came of it.

// The schema derive repeats each struct inside a function, where no `pub` can be reached; clippy takes the columns
// for repeated attributes; and the comments are descriptions in the CRD, read by people at a terminal.
#![allow(unreachable_pub, clippy::duplicated_attributes, clippy::doc_markdown)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::is_default;
use crate::policy::{LabelRequirement, Severity};
use crate::summary::Summary;

/// When, where and by which policy tags are checked.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tagwarden.io",
    version = "v1alpha1",
    kind = "ComplianceAudit",
    plural = "complianceaudits",
    shortname = "tagaudit",
    category = "tagwarden",
    namespaced,
    status = "ComplianceAuditStatus",
    derive = "PartialEq",
    doc = "When, where and by which policy the tags of cloud resources are checked, and what came of it.",
    selectable = ".spec.policyRef.name",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Compliant",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Compliant")].status"#
    ),
    printcolumn(name = "Score", type_ = "string", json_path = ".status.summary.score"),
    printcolumn(name = "Violations", type_ = "integer", json_path = ".status.summary.violations"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Last Success", type_ = "date", json_path = ".status.lastSuccessfulTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", priority = 1),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceAuditSpec {
    /// Starts no further runs while true. A run that is under way goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,

    /// When to run: five fields of cron, or @hourly, @daily, @weekly, @monthly, @yearly. Only on demand when
    /// omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("!self.contains('TZ=')").message("name the zone in timeZone"))]
    pub schedule: Option<String>,

    /// The zone of the schedule by its IANA name, for example `Europe/Paris`. `Etc/UTC` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,

    /// How late a scheduled run may start, in seconds: at least 10. Any time when omitted. Of several missed runs
    /// only the newest is made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i32>,

    /// Delays each run by up to this much, always by the same for one audit, so that many audits of one schedule
    /// do not start at once. For example `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub jitter: Option<String>,

    /// How long a run may take. What is not seen by then is reported as such. `2h` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: Option<String>,

    /// What happens when a run is due while one is under way. Forbid (the default): it is left out. Replace: the
    /// one under way is cancelled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub concurrency_policy: ConcurrencyPolicy,

    /// The policy that tags are held against.
    pub policy_ref: PolicyRef,

    /// The accounts that are looked at.
    pub accounts: AuditAccounts,

    /// The regions that are looked at. All that each account has enabled, as far as its ClientAccount allows, when
    /// omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<AuditRegions>,

    /// The resources that are looked at. Every type that costs money, and every free one that the policy names,
    /// when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<AuditResources>,

    /// The least severity that a report lists. Less severe violations are counted all the same. All are listed
    /// when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_threshold: Option<Severity>,

    /// What makes the condition Compliant true. No violation at all when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliant_when: Option<CompliantWhen>,

    /// What is kept of each run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportSettings>,
}

/// What happens when a run is due while one is under way.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConcurrencyPolicy {
    /// It is left out.
    #[default]
    Forbid,
    /// The one under way is cancelled.
    Replace,
}

/// A TaggingPolicy in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Which ClientAccounts of the same namespace are looked at.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.names) && size(self.names) > 0, has(self.selector), has(self.all) && self.all].filter(x, x).size() == 1").message("give exactly one of names, selector and all: true")
)]
pub struct AuditAccounts {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,

    /// By their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// All of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub all: bool,

    /// How many are looked at side by side, 1 to 50. 4 when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub max_concurrent: Option<i32>,
}

/// Objects by their labels. All that is given must hold; nothing given means every object.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions on labels, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// Which regions are looked at.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuditRegions {
    /// These, for example `eu-west-1`. Resources without a region are looked at whatever stands here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(max = 32), regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]+$")))]
    pub include: Vec<String>,
}

/// Which resources are looked at.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuditResources {
    /// Resource types as `service:type`, for example `ec2:instance`; `*` stands for any text, as in `rds:*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 128)))]
    pub include: Vec<String>,

    /// Resource types that are left out, written in the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 128)))]
    pub exclude: Vec<String>,

    /// A run that meets more resources than this ends as failed. 500000 when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_resources: Option<i32>,
}

/// What makes an audit compliant. All that is given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minScore) || (has(self.maxBySeverity) && size(self.maxBySeverity) > 0)").message("give minScore, maxBySeverity or both")
)]
pub struct CompliantWhen {
    /// The least score, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_score: Option<i32>,

    /// The greatest number of violations of a severity: critical, high, medium, low or info.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 5, "additionalProperties" = {"type": "integer", "minimum": 0, "maximum": 2_147_483_647}))]
    #[x_kube(validation = Rule::new("self.all(key, key in ['critical', 'high', 'medium', 'low', 'info'])").message("the severities are critical, high, medium, low and info"))]
    pub max_by_severity: BTreeMap<String, i32>,
}

/// What is kept of each run.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReportSettings {
    /// How many violations a ComplianceReport lists, the most severe first: 0 to 100, 50 when omitted. All of them
    /// are in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_violations: Option<i32>,

    /// How many ComplianceReports of successful runs are kept: 0 to 100, 3 when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub successful_history_limit: Option<i32>,

    /// How many ComplianceReports of failed runs are kept: 0 to 100, 1 when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_history_limit: Option<i32>,
}

/// How an audit is doing.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceAuditStatus {
    /// The generation of the spec that this status is about; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: whether the work succeeds. Compliant: what it found. Reconciling and Stalled are there only while
    /// True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The value of the annotation `tagwarden.io/requestedAt` that was acted upon last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The slot of the schedule that was last run or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// When the schedule is due next, jitter included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// When a run was last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_time: Option<Time>,

    /// When a run last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,

    /// How long the last run took, for example `412s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub last_duration: Option<String>,

    /// Runs that failed since one succeeded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub consecutive_failures: i32,

    /// The run under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,

    /// The policy of the last finished run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyUsed>,

    /// What the last finished run found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,

    /// The tags that are missing or wrong most often, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub top_tags: Vec<TagCount>,

    /// How the accounts of the last finished run fared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountsStatus>,

    /// The ComplianceReport of the last finished run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_ref: Option<ReportRef>,

    /// The last runs, newest first, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryLine>,
}

/// A run under way.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its id.
    #[schemars(length(max = 320))]
    pub id: String,
    /// Why it was started.
    pub trigger: Trigger,
    /// How far it is.
    pub phase: RunPhase,
    /// When it was started.
    pub start_time: Time,
    /// Accounts that are done.
    pub accounts_done: i32,
    /// Accounts it looks at.
    pub accounts_total: i32,
    /// The replica that works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub holder: Option<String>,
}

/// Why a run was started.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The audit is new.
    Created,
    /// It was due.
    Schedule,
    /// Somebody asked for it.
    OnDemand,
    /// The policy changed.
    PolicyChange,
}

/// How far a run is.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunPhase {
    /// Waiting for its turn.
    Pending,
    /// Looking at accounts.
    Running,
    /// Writing its report.
    Finalizing,
}

/// A policy, and which revision of it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyUsed {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The digest of its rules.
    #[schemars(length(max = 80))]
    pub revision: String,
}

/// How often a tag is missing or wrong.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TagCount {
    /// The tag key.
    #[schemars(length(max = 128))]
    pub key: String,
    /// Resources where it is missing.
    pub missing: i64,
    /// Resources where it is wrong.
    pub invalid: i64,
}

/// How accounts fared.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountsStatus {
    /// Accounts that were to be looked at.
    pub total: i32,
    /// Accounts that could be entered.
    pub succeeded: i32,
    /// Accounts that could not.
    pub failed: i32,
    /// Those that could not, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failing: Vec<FailingAccount>,
}

/// An account that could not be entered.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailingAccount {
    /// The name of its ClientAccount.
    #[schemars(length(max = 253))]
    pub name: String,
    /// One word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// A ComplianceReport in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReportRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// A finished run in one line.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryLine {
    /// The id of the run.
    #[schemars(length(max = 320))]
    pub id: String,
    /// When it ended.
    pub time: Time,
    /// How it ended.
    pub result: RunResult,
    /// Its score in percent, for example `93.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub score: Option<String>,
    /// Its violations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<i64>,
    /// Whether everything in scope was seen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub complete: bool,
}

/// How a run ended.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunResult {
    /// It found out something. Whether everything in scope was seen stands apart.
    Succeeded,
    /// It found out nothing.
    Failed,
    /// It was stopped.
    Cancelled,
}
