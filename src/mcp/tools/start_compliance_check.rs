//! `start_compliance_check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::{AskError, CheckRequest};

use super::waiting;
use crate::parts::{clean, request};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct StartComplianceCheck;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// An audit to run now instead; needs the scope audit:write, and takes none of the others.
    audit: Option<String>,
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Names or ids; default: all.
    #[serde(default)]
    accounts: Vec<String>,
    /// Default: all enabled.
    #[serde(default)]
    regions: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
}

impl Input {
    fn request(&self) -> CheckRequest {
        request(self.policy.as_ref(), &self.resource_types, &self.accounts, &self.regions, None)
    }

    fn audit(&self) -> Result<Option<&str>, AskError> {
        if self.audit.is_some() && self.request() != CheckRequest::default() {
            return Err(AskError::invalid(
                "an audit has its own types, accounts, regions and policy",
                "give either audit or the others",
            ));
        }
        Ok(self.audit.as_deref())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    run_id: String,
    status: String,
    /// What to do next.
    next: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Tool for StartComplianceCheck {
    const NAME: &'static str = "start_compliance_check";
    const TITLE: &'static str = "Start a check";
    const ABOUT: &'static str = "Starts a look at the cloud and gives its run_id at once; get_run brings the results. A check of the same \
         scope that is under way is joined.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let (run_id, notes) = if let Some(audit) = input.audit()? {
            (call.ask.start_audit(&call.who, audit).await?, Vec::new())
        } else {
            let (run_id, chosen) = call.ask.start(&call.who, &input.request()).await?;
            (run_id, chosen.notes)
        };
        Ok(Output {
            next: format!(
                "call get_run with run_id {run_id} and wait_seconds 20 until status is no longer running"
            ),
            run_id,
            status: "running".into(),
            notes: notes.iter().map(|note| clean(note, 300)).collect(),
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        if let Some(name) = input.audit()? {
            let audit = call.ask.audit(&call.who, name).await?;
            call.who.must(tagwarden_app::ask::Scope::AuditWrite)?;
            return Ok(format!(
                "would ask audit {} to run now, over {}",
                audit.name,
                clean(&audit.accounts, 300)
            ));
        }
        waiting::rehearsed(call, &input.request(), true).await
    }
}
