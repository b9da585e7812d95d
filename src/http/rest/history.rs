//! How the scores of a tenant developed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::GroupBy;

use super::Outcome;
use super::answers::ScopeAnswer;
use super::operation::{Asked, Operation, TEXT, Verb, answer, bad, checked};

/// Days looked back unless somebody says otherwise, and at most.
const DAYS: u32 = 30;
const DAYS_MAX: u32 = 365;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Verb::Get,
            "/v1/history",
            "getHistory",
            "How the score developed: averages of the runs of one scope and policy. Scopes are never mixed.",
            history,
        )
        .query::<HistoryQuery>()
        .answers::<HistoryAnswer>(200),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HistoryQuery {
    /// How many days back, from 1 to 365; 30 unless given.
    #[schemars(range(min = 1, max = 365))]
    days: Option<u32>,
    /// `day`, `week` (from Monday) or `month`; `day` unless given.
    #[serde(default)]
    group_by: GroupWord,
    /// Only of this audit; otherwise of the scope that has most runs.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    audit: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum GroupWord {
    #[default]
    Day,
    Week,
    Month,
}

/// How the score developed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "History")]
struct HistoryAnswer {
    /// The periods with runs, oldest first.
    periods: Vec<Period>,
    /// `improving`, `declining` or `stable`, from the first to the last.
    trend: String,
    /// By how much the score changed, -1 to 1.
    change: f64,
    /// What all of these runs looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeAnswer>,
    /// Their policies.
    policies: Vec<String>,
    /// Runs of other scopes or policies, which cannot be compared.
    left_out: u64,
    /// What one has to know about this answer.
    notes: Vec<String>,
}

/// The runs of one period, on average.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Period {
    /// Its first day, in UTC.
    start: String,
    /// Runs in it.
    runs: u64,
    /// Those that saw everything.
    complete_runs: u64,
    /// 0 to 1.
    score: f64,
    /// Compliant and violating resources.
    resources: f64,
    /// Compliant ones.
    compliant: f64,
    /// Violations.
    violations: f64,
}

async fn history(asked: Asked) -> Outcome {
    let HistoryQuery { days, group_by, audit } = asked.query()?;
    let days = days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(bad(format!("days: expected 1 to {DAYS_MAX}")));
    }
    checked("audit", audit.as_deref().unwrap_or_default())?;
    let group_by = match group_by {
        GroupWord::Day => GroupBy::Day,
        GroupWord::Week => GroupBy::Week,
        GroupWord::Month => GroupBy::Month,
    };
    let history = asked.ask.history(&asked.who, days, group_by, audit.as_deref()).await?;
    let periods = history.periods.into_iter().map(|period| Period {
        start: period.start.to_string(),
        runs: period.runs,
        complete_runs: period.complete_runs,
        score: period.score,
        resources: period.resources,
        compliant: period.compliant,
        violations: period.violations,
    });
    answer(&HistoryAnswer {
        periods: periods.collect(),
        trend: history.trend.as_str().to_owned(),
        change: history.change,
        scope: history.scope.map(ScopeAnswer::from),
        policies: history.policies,
        left_out: history.left_out,
        notes: history.notes,
    })
}
