//! What several routes answer: lists, counters, runs and findings, in the words of the command line and the statuses.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tagwarden_app::ask::ports::{ConditionView, RunLine};
use tagwarden_app::ask::{RunAnswer, RunReading};
use tagwarden_core::finding::{Severity, ViolationType};
use tagwarden_core::report::ViolationRow;
use tagwarden_core::scope::Scope;
use tagwarden_core::tally::Tally;

/// What a condition of an object says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// For example `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when.
    pub last_transition_time: String,
    /// What the reason means in general.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub meaning: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub remedy: &'static str,
}

impl From<ConditionView> for Condition {
    fn from(view: ConditionView) -> Self {
        Self {
            kind: view.condition,
            status: view.answer,
            reason: view.reason,
            message: view.message,
            last_transition_time: view.since.to_string(),
            meaning: view.meaning,
            remedy: view.remedy,
        }
    }
}

/// Counters over resources.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counters {
    /// Compliant by compliant and violating resources, 0 to 1; 1 when nothing is in scope.
    pub score: f64,
    /// Compliant and violating ones.
    pub resources: u64,
    /// Without a violation.
    pub compliant: u64,
    /// With a violation that counts.
    pub violating: u64,
    /// With violations that exemptions cover.
    pub exempt: u64,
    /// Whose tags could not be read.
    pub unknown: u64,
    /// Violations that count.
    pub violations: u64,
    /// Findings that are advice.
    pub advice: u64,
    /// Violations by severity.
    pub by_severity: BTreeMap<String, u64>,
    /// Violations by type.
    pub by_violation_type: BTreeMap<String, u64>,
}

impl From<&Tally> for Counters {
    fn from(tally: &Tally) -> Self {
        let by_severity = Severity::ALL.map(|one| (one.as_str().to_owned(), tally.by_severity[one as usize]));
        let by_type =
            ViolationType::ALL.map(|one| (one.as_str().to_owned(), tally.by_violation_type[one as usize]));
        Self {
            score: tally.score(),
            resources: tally.resources(),
            compliant: tally.compliant,
            violating: tally.violating,
            exempt: tally.exempt,
            unknown: tally.unknown,
            violations: tally.violations(),
            advice: tally.advice,
            by_severity: by_severity.into(),
            by_violation_type: by_type.into(),
        }
    }
}

/// A policy as results cite it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cited {
    /// Its name.
    pub name: String,
    /// The digest of its rules.
    pub revision: String,
}

/// What was asked for. What is empty is everything.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScopeAnswer {
    /// Account ids.
    pub accounts: BTreeSet<String>,
    /// Regions.
    pub regions: BTreeSet<String>,
    /// Resource types.
    pub resource_types: BTreeSet<String>,
}

impl From<Scope> for ScopeAnswer {
    fn from(scope: Scope) -> Self {
        Self { accounts: scope.accounts, regions: scope.regions, resource_types: scope.resource_types }
    }
}

/// A run in numbers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    /// Its id.
    pub run_id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// What made it run.
    pub trigger: String,
    /// The policy that resources were held against.
    pub policy: Cited,
    /// What was asked for.
    pub scope: ScopeAnswer,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Why it ended as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whether everything in scope was seen. Absent before there are results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Cells of account, region and type that could not be fully seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<u64>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Counters>,
}

impl From<RunLine> for Run {
    fn from(run: RunLine) -> Self {
        let results = run.results.as_ref();
        Self {
            complete: results.map(|results| results.complete),
            gaps: results.map(|results| results.gaps),
            summary: results.map(|results| (&results.summary).into()),
            run_id: run.run_id,
            state: run.state.as_str().to_owned(),
            trigger: run.trigger,
            policy: Cited { name: run.policy, revision: run.policy_revision },
            scope: run.scope.into(),
            started_at: run.started_at.to_string(),
            finished_at: run.finished_at.map(|at| at.to_string()),
            cause: run.cause,
        }
    }
}

/// How far a run is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// Accounts it looks at; 0 while it waits for its turn.
    pub accounts: usize,
    /// Those that are done.
    pub accounts_done: usize,
    /// Resources met so far.
    pub resources: u64,
}

/// Counters of a part of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Part {
    /// The account, the region or the type.
    pub name: String,
    /// What was found in it.
    #[serde(flatten)]
    pub counters: Counters,
}

/// A run with everything that is known of it but its findings.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// How far it is, while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What could not be seen, each in a sentence; at most 25 of them.
    pub gap_list: Vec<String>,
    /// By account.
    pub by_account: Vec<Part>,
    /// By region.
    pub by_region: Vec<Part>,
    /// By resource type.
    pub by_resource_type: Vec<Part>,
    /// What one has to know about this answer.
    pub notes: Vec<String>,
}

impl From<RunAnswer> for RunDetail {
    fn from(answer: RunAnswer) -> Self {
        let mut detail = Self {
            run: answer.run.into(),
            progress: answer.progress.map(|progress| Progress {
                accounts: progress.accounts,
                accounts_done: progress.accounts_done,
                resources: progress.resources,
            }),
            gap_list: Vec::new(),
            by_account: Vec::new(),
            by_region: Vec::new(),
            by_resource_type: Vec::new(),
            notes: answer.notes,
        };
        if let Some(reading) = answer.reading {
            detail.read(reading);
        }
        detail
    }
}

impl RunDetail {
    fn read(&mut self, reading: RunReading) {
        let parts = |tallies: BTreeMap<String, Tally>| {
            tallies.into_iter().map(|(name, tally)| Part { name, counters: (&tally).into() }).collect()
        };
        // What is read of the accounts is more than the line of the run knows.
        self.run.complete = Some(reading.complete);
        self.run.gaps = Some(reading.gap_count);
        self.run.summary = Some((&reading.summary).into());
        self.gap_list = reading.gaps;
        self.by_region = parts(reading.breakdown.by_region);
        self.by_resource_type = parts(reading.breakdown.by_resource_type);
        let accounts = reading.breakdown.by_account.into_iter();
        self.by_account = accounts
            .map(|(name, id, _, tally)| Part {
                name: id.map_or(name, |id| id.to_string()),
                counters: (&tally).into(),
            })
            .collect();
    }
}

/// A finding, with the resource it is about.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Violation {
    /// The resource.
    pub arn: String,
    /// What people call it.
    pub resource_id: String,
    /// Its type.
    pub resource_type: String,
    /// Its account.
    pub account_id: String,
    /// Its region, or `global`.
    pub region: String,
    /// The key that the rule is about.
    pub tag_key: String,
    /// What kind of rule was broken.
    pub violation_type: String,
    /// How much it matters.
    pub severity: String,
    /// `violation`, or `advice` for what does not count.
    pub kind: String,
    /// The value found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_value: Option<String>,
    /// The values that would be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<Vec<String>>,
    /// What the value should look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_format: Option<String>,
    /// The exemption that covers it, which is then not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempted_by: Option<String>,
    /// When that exemption ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempt_until: Option<String>,
    /// The same in a sentence.
    pub message: String,
}

impl From<&ViolationRow> for Violation {
    fn from(row: &ViolationRow) -> Self {
        let finding = &row.finding;
        let exempted = finding.exempted.as_ref();
        Self {
            arn: row.arn.clone(),
            resource_id: row.resource_id.clone(),
            resource_type: row.resource_type.to_string(),
            account_id: row.account_id.to_string(),
            region: row.region.to_string(),
            tag_key: finding.tag_key.to_string(),
            violation_type: finding.violation_type.as_str().to_owned(),
            severity: finding.severity.as_str().to_owned(),
            kind: finding.kind.as_str().to_owned(),
            current_value: finding.current_value.as_deref().map(ToOwned::to_owned),
            allowed_values: finding
                .allowed_values
                .as_ref()
                .map(|all| all.iter().map(ToString::to_string).collect()),
            expected_format: finding.expected_format.as_deref().map(ToOwned::to_owned),
            exempted_by: exempted.map(|exempted| exempted.by.to_string()),
            exempt_until: exempted.and_then(|exempted| exempted.until).map(|until| until.to_string()),
            message: finding.message(),
        }
    }
}
