//! `get_audit_status`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;

use super::conditions_in_words;
use crate::parts::{RunOut, clean};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct GetAuditStatus;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The name of the audit, as `list_audits` gives it.
    audit: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    name: String,
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    time_zone: String,
    suspended: bool,
    accounts: String,
    regions: Vec<String>,
    resource_types: Vec<String>,
    /// What its conditions say, in words, with what to do.
    conditions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
    consecutive_failures: u32,
    /// Ids for `get_run`, newest first.
    past_runs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<RunOut>,
}

impl Tool for GetAuditStatus {
    const NAME: &'static str = "get_audit_status";
    const TITLE: &'static str = "Status of an audit";
    const ABOUT: &'static str = "Explains how one audit is doing: its conditions in words with what to do about them, its schedule, and the \
         numbers of its last run with their completeness.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let audit = call.ask.audit(&call.who, &input.audit).await?;
        let mut last_run = None;
        if let Some(run_id) = audit.past_runs.first() {
            // A run is forgotten after a while; the audit still says that it was there.
            if let Ok(answer) = call.ask.run(&call.who, run_id, std::time::Duration::ZERO).await {
                last_run = Some(RunOut::of(&answer, answer.run.state.as_str(), call.ask.now()));
            }
        }
        Ok(Output {
            conditions: conditions_in_words(&audit.conditions),
            accounts: clean(&audit.accounts, 500),
            next_run: audit.next_due.map(|at| at.to_string()),
            consecutive_failures: audit.failures,
            name: audit.name,
            policy: audit.policy,
            schedule: audit.schedule,
            time_zone: audit.time_zone,
            suspended: audit.suspended,
            regions: audit.regions,
            resource_types: audit.resource_types,
            running: audit.running,
            past_runs: audit.past_runs,
            last_run,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        call.ask.audit(&call.who, &input.audit).await?;
        Ok("would explain the status of the audit from memory and the store".into())
    }
}
