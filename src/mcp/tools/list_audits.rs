//! `list_audits`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::AuditView;

use crate::page;
use crate::parts::clean;
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct ListAudits;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    audits: Vec<Audit>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Audit {
    name: String,
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    time_zone: String,
    suspended: bool,
    accounts: String,
    /// True, False or Unknown.
    ready: String,
    compliant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
}

impl From<AuditView> for Audit {
    fn from(audit: AuditView) -> Self {
        let answer = |name: &str| {
            let found = audit.conditions.iter().find(|condition| condition.condition == name);
            found.map_or_else(|| "Unknown".to_owned(), |condition| condition.answer.clone())
        };
        Self {
            ready: answer("Ready"),
            compliant: answer("Compliant"),
            last_run: audit.past_runs.first().cloned(),
            last_success: audit.succeeded_at.map(|at| at.to_string()),
            next_run: audit.next_due.map(|at| at.to_string()),
            accounts: clean(&audit.accounts, 300),
            name: audit.name,
            policy: audit.policy,
            schedule: audit.schedule,
            time_zone: audit.time_zone,
            suspended: audit.suspended,
            running: audit.running,
        }
    }
}

impl Tool for ListAudits {
    const NAME: &'static str = "list_audits";
    const TITLE: &'static str = "List audits";
    const ABOUT: &'static str = "Lists the declared compliance audits: their schedule, policy, accounts, whether they work and whether they \
         pass, and the id of their last run for get_run.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let audits: Vec<Audit> = call.ask.audits(&call.who).await?.into_iter().map(Audit::from).collect();
        let total = audits.len();
        let (audits, next_cursor) =
            page::cut(audits, input.cursor.as_deref(), page::limit(input.limit), call.room)?;
        Ok(Output { audits, total, next_cursor })
    }

    async fn rehearse(_: &Call, _: &Input) -> Result<String, AskError> {
        Ok("would list the declared audits from memory".into())
    }
}
