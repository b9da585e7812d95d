//! Waiting for a run, with word of how far it is.

use std::time::Duration;

use tagwarden_app::ask::{AskError, CheckRequest, RunAnswer};
use tokio::time::Instant;

use crate::page::Cursor;
use crate::tool::{Call, WAIT};

/// Between two words.
const STEP: Duration = Duration::from_secs(2);

/// The answer to a question: out of the run of the cursor, a fresh run, or a new one for which this waits a while.
pub(super) async fn checked(
    call: &Call,
    request: &CheckRequest,
    force: bool,
    cursor: Option<&Cursor>,
) -> Result<RunAnswer, AskError> {
    if let Some(cursor) = cursor {
        return call.ask.known_in(&call.who, request, &cursor.run_id).await;
    }
    let until = Instant::now() + WAIT;
    // A client that goes away before it has the answer takes the check with it.
    let (first, wanted) = call.ask.check(&call.who, request, force, STEP).await?;
    let (notes, cached) = (first.notes.clone(), first.cached);
    let mut answer = until_ended(call, first, until).await?;
    if let Some(wanted) = wanted {
        wanted.told();
    }
    answer.notes = notes;
    answer.cached = cached;
    Ok(answer)
}

/// A run, after waiting at most this long for its end.
pub(super) async fn waited(call: &Call, run_id: &str, most: Duration) -> Result<RunAnswer, AskError> {
    let until = Instant::now() + most;
    let first = call.ask.run(&call.who, run_id, STEP.min(most)).await?;
    until_ended(call, first, until).await
}

async fn until_ended(call: &Call, first: RunAnswer, until: Instant) -> Result<RunAnswer, AskError> {
    let mut answer = first;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if answer.run.state.ended() || left.is_zero() {
            return Ok(answer);
        }
        if let Some(progress) = answer.progress {
            #[allow(clippy::cast_precision_loss)] // a few accounts
            let (done, of) = (progress.accounts_done as f64, progress.accounts.max(1) as f64);
            let seen = progress.resources;
            (call.report)(done, of, format!("{done} of {of} accounts, {seen} resources"));
        }
        answer = call.ask.run(&call.who, &answer.run.run_id, STEP.min(left)).await?;
    }
}

/// What a check would do.
pub(super) async fn rehearsed(call: &Call, request: &CheckRequest, force: bool) -> Result<String, AskError> {
    let chosen = call.ask.choose(&call.who, request).await?;
    let known = if force { None } else { call.ask.known(&call.who, &chosen).await? };
    Ok(match known {
        Some(answer) => format!("would answer from run {} without a cloud call", answer.run.run_id),
        None => format!(
            "would start a run over {} accounts, {} and {} resource types by policy {}; it reads the cloud and changes \
             nothing",
            chosen.accounts.len(),
            match chosen.regions.len() {
                0 => "all enabled regions".to_owned(),
                regions => format!("{regions} regions"),
            },
            chosen.types.len(),
            chosen.choice.policy.name()
        ),
    })
}
