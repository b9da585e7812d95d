//! `get_violation_history`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::{AskError, GroupBy};

use crate::parts::{clean, cut, rounded};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct GetViolationHistory;

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Group {
    #[default]
    Day,
    Week,
    Month,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// How far back, 1 to 90; 30 when left out.
    #[schemars(range(min = 1, max = 90))]
    days_back: Option<u32>,
    /// Periods, in UTC; weeks start on Monday.
    #[serde(default)]
    group_by: Group,
    /// Only runs of this audit; otherwise of the scope with most runs.
    audit: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    history: Vec<Point>,
    group_by: String,
    days_back: u32,
    /// improving, declining or stable: a change of one point or less is noise.
    trend_direction: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_score: Option<f64>,
    trend_analysis: Analysis,
    /// Policies of the runs.
    policies: Vec<String>,
    /// What all of them looked at.
    resource_types: Vec<String>,
    regions: Vec<String>,
    accounts: Vec<String>,
    runs_left_out: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Point {
    /// First day of the period.
    timestamp: String,
    compliance_score: f64,
    total_resources: f64,
    compliant_resources: f64,
    violation_count: f64,
    runs: u64,
    complete_runs: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Analysis {
    direction: String,
    score_change: f64,
    /// Points.
    score_change_percentage: f64,
}

/// One decimal.
fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn or_all(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: Vec<String> = names.collect();
    if names.is_empty() { vec!["all".to_owned()] } else { names }
}

impl Input {
    fn days(&self) -> Result<u32, AskError> {
        match self.days_back.unwrap_or(30) {
            days @ 1..=90 => Ok(days),
            days => Err(AskError::invalid(format!("days_back is {days}"), "give 1 to 90")),
        }
    }
}

impl Tool for GetViolationHistory {
    const NAME: &'static str = "get_violation_history";
    const TITLE: &'static str = "Score over time";
    const ABOUT: &'static str = "Shows how the score developed: averages of the stored runs of audits, of one scope and policy, by day, week \
         or month, and the trend. Checks on demand are not part of it.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let days = input.days()?;
        let group = match input.group_by {
            Group::Day => GroupBy::Day,
            Group::Week => GroupBy::Week,
            Group::Month => GroupBy::Month,
        };
        let history = call.ask.history(&call.who, days, group, input.audit.as_deref()).await?;
        let points: Vec<Point> = history
            .periods
            .iter()
            .map(|period| Point {
                timestamp: period.start.to_string(),
                compliance_score: cut(period.score),
                total_resources: tenth(period.resources),
                compliant_resources: tenth(period.compliant),
                violation_count: tenth(period.violations),
                runs: period.runs,
                complete_runs: period.complete_runs,
            })
            .collect();
        let mut notes: Vec<String> = history.notes.iter().map(|note| clean(note, 300)).collect();
        if points.iter().any(|point| point.complete_runs < point.runs) {
            notes.push("INCOMPLETE: some of these runs did not see everything in scope".into());
        }
        let scope = history.scope.unwrap_or_default();
        Ok(Output {
            earliest_score: points.first().map(|point| point.compliance_score),
            latest_score: points.last().map(|point| point.compliance_score),
            history: points,
            group_by: group.as_str().into(),
            days_back: days,
            trend_direction: history.trend.as_str().into(),
            trend_analysis: Analysis {
                direction: history.trend.as_str().into(),
                score_change: rounded(history.change),
                score_change_percentage: tenth(history.change * 100.0),
            },
            policies: history.policies,
            resource_types: or_all(scope.resource_types.into_iter()),
            regions: or_all(scope.regions.into_iter()),
            accounts: or_all(scope.accounts.into_iter()),
            runs_left_out: history.left_out,
            notes,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        if let Some(audit) = &input.audit {
            call.ask.audit(&call.who, audit).await?;
        }
        Ok(format!("would read the stored runs of the last {} days", input.days()?))
    }
}
