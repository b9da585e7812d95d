//! `cancel_run`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;

use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct CancelRun;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The run.
    run_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    run_id: String,
    status: String,
    message: String,
}

impl Tool for CancelRun {
    const NAME: &'static str = "cancel_run";
    const TITLE: &'static str = "Cancel a run";
    const ABOUT: &'static str =
        "Ends a run that is under way; it then has no results. A run that has ended stays as it is.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };
    const FREE: bool = true;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let before = call.ask.run(&call.who, &input.run_id, Duration::ZERO).await?;
        let after = call.ask.cancel(&call.who, &input.run_id).await?;
        let message = if before.run.state.ended() {
            format!("the run had ended already: it is {}", after.state)
        } else {
            "the run is cancelled and has no results".to_owned()
        };
        Ok(Output { run_id: after.run_id, status: after.state.as_str().into(), message })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        let answer = call.ask.run(&call.who, &input.run_id, Duration::ZERO).await?;
        Ok(match answer.run.state {
            state if state.ended() => format!("would do nothing: the run is {state}"),
            state => format!("would end the run, which is {state}"),
        })
    }
}
