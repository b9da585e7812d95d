//! `get_run`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;

use super::{listed, waiting};
use crate::page::{self, Cursor};
use crate::parts::{RunOut, Severities, Violation, clean};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct GetRun;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The run.
    run_id: String,
    /// Wait for its end at most this long, 0 to 25.
    #[serde(default)]
    #[schemars(range(min = 0, max = 25))]
    wait_seconds: u32,
    /// Which findings to list.
    #[serde(default)]
    severity: Severities,
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    run: RunOut,
    trigger: String,
    /// Why it ended as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    violations: Vec<Violation>,
    /// Findings in all.
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Tool for GetRun {
    const NAME: &'static str = "get_run";
    const TITLE: &'static str = "Get a run";
    const ABOUT: &'static str = "Shows how far a run is, and its results once it has ended. With wait_seconds it waits. Polling is free: it \
         is neither counted nor taken for a loop.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;
    const FREE: bool = true;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        if input.wait_seconds > 25 {
            return Err(AskError::invalid(
                format!("wait_seconds is {}, and at most 25 are possible", input.wait_seconds),
                "give 25, and call again while status is running",
            ));
        }
        let cursor = input.cursor.as_deref().map(Cursor::parse).transpose()?;
        if cursor.as_ref().is_some_and(|cursor| cursor.run_id != input.run_id) {
            return Err(AskError::invalid(
                "the cursor is of another run",
                "give next_cursor with the run_id of the answer that it came from",
            ));
        }
        let wait = Duration::from_secs(input.wait_seconds.into());
        let answer = waiting::waited(call, &input.run_id, wait).await?;
        let found =
            listed::page(call, &answer, input.severity, cursor.as_ref(), page::limit(input.limit)).await?;
        Ok(Output {
            run: RunOut::of(&answer, answer.run.state.as_str(), call.ask.now()),
            trigger: answer.run.trigger.clone(),
            cause: answer.run.cause.as_deref().map(|cause| clean(cause, 400)),
            violations: found.violations,
            total: found.total,
            next_cursor: found.next_cursor,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        let answer = call.ask.run(&call.who, &input.run_id, Duration::ZERO).await?;
        Ok(format!("would show the run, which is {}", answer.run.state))
    }
}
