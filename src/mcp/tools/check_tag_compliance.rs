//! `check_tag_compliance`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::{AskError, CheckRequest};
use tagwarden_core::tally::Tally;

use super::{listed, waiting};
use crate::page::{self, Cursor};
use crate::parts::{Filters, RunOut, Severities, Violation, cut, request};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct CheckTagCompliance;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Names or ids; default: all.
    #[serde(default)]
    accounts: Vec<String>,
    /// Default: all enabled.
    #[serde(default)]
    regions: Vec<String>,
    /// The same, for older prompts.
    filters: Option<Filters>,
    /// Its name; default: the only one.
    policy: Option<String>,
    /// Which findings to list; the numbers stay the same.
    #[serde(default)]
    severity: Severities,
    /// Look at the cloud now.
    #[serde(default)]
    force_refresh: bool,
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
}

impl Input {
    fn request(&self) -> CheckRequest {
        request(
            self.policy.as_ref(),
            &self.resource_types,
            &self.accounts,
            &self.regions,
            self.filters.as_ref(),
        )
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    run: RunOut,
    violations: Vec<Violation>,
    /// Findings in all.
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    stored_in_history: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regional_breakdown: Vec<Region>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    account_breakdown: Vec<Account>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Region {
    region: String,
    compliance_score: f64,
    total_resources: u64,
    compliant_resources: u64,
    violation_count: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Account {
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    compliance_score: f64,
    total_resources: u64,
    compliant_resources: u64,
    violation_count: u64,
    /// Why nothing of it could be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Lines of a breakdown.
const LINES: usize = 30;

fn region((region, tally): (String, Tally)) -> Region {
    Region {
        region,
        compliance_score: cut(tally.score()),
        total_resources: tally.resources(),
        compliant_resources: tally.compliant,
        violation_count: tally.violations(),
    }
}

impl Tool for CheckTagCompliance {
    const NAME: &'static str = "check_tag_compliance";
    const TITLE: &'static str = "Check tag compliance";
    const ABOUT: &'static str = "Checks tags against the policy: score, counts and violations. Answers from a recent run when one covers the \
         question (cached: true), else looks at the cloud. Status `running` means: call get_run with the run_id.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let cursor = input.cursor.as_deref().map(Cursor::parse).transpose()?;
        let answer = waiting::checked(call, &input.request(), input.force_refresh, cursor.as_ref()).await?;
        let found =
            listed::page(call, &answer, input.severity, cursor.as_ref(), page::limit(input.limit)).await?;
        let breakdown = answer.reading.as_ref().map(|reading| reading.breakdown.clone()).unwrap_or_default();
        let mut accounts = breakdown.by_account;
        accounts.sort_by(|one, other| one.3.score().total_cmp(&other.3.score()));
        let mut regions: Vec<Region> = breakdown.by_region.into_iter().map(region).collect();
        regions.sort_by(|one, other| one.compliance_score.total_cmp(&other.compliance_score));
        // The parts stand on the first page alone.
        let (regions, accounts) =
            if cursor.is_some() { (Vec::new(), Vec::new()) } else { (regions, accounts) };
        Ok(Output {
            stored_in_history: answer.reading.is_some() && !answer.run.run_id.starts_with("adhoc-"),
            run: RunOut::answering(&answer, &call.ask),
            violations: found.violations,
            total: found.total,
            next_cursor: found.next_cursor,
            regional_breakdown: regions.into_iter().take(LINES).collect(),
            account_breakdown: accounts
                .into_iter()
                .take(LINES)
                .map(|(account, id, failure, tally)| Account {
                    account,
                    account_id: id.map(|id| id.to_string()),
                    compliance_score: cut(tally.score()),
                    total_resources: tally.resources(),
                    compliant_resources: tally.compliant,
                    violation_count: tally.violations(),
                    failure: failure.map(|cause| crate::parts::clean(&cause, 200)),
                })
                .collect(),
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        waiting::rehearsed(call, &input.request(), input.force_refresh).await
    }
}
