//! What is to be done for an account now.

use std::time::Duration;

use jiff::Timestamp;
use tagwarden_api::REQUESTED_AT;
use tagwarden_api::account::{ClientAccount, ClientAccountStatus};
use tagwarden_api::condition::{CONFLICT, READY, STALLED, UNSAFE, reason};

use super::dereference::{Namesake, Rival};
use super::generation;
use super::validate::{Refusal, Valid};
use crate::conditions::{bounded, find, is_true};
use crate::failure::Next;

/// How often a role is tried as a stranger would, while nothing changes: each try is a refusal in the records of
/// the account's owner.
const STRANGER_EVERY: Duration = Duration::from_hours(24);

/// The longest token of `tagwarden.io/requestedAt` that is repeated in a status.
pub(super) const TOKEN_CHARS_MAX: usize = 256;

/// What the decision depends on besides the object.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) rival: Option<Rival>,
    /// When this generation was last tried as a stranger would.
    pub(super) last_stranger: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Nothing.
    Wait(Next),
    /// Say that the spec cannot be acted upon.
    Refuse(Refusal),
    /// Say that nothing is done.
    Suspend,
    /// Say that another object has the account.
    YieldTo(Namesake),
    /// Enter the account.
    Verify {
        /// How.
        valid: &'a Valid,
        /// Also as somebody who does not know the external id.
        stranger: bool,
    },
}

/// What is to be done.
pub(super) fn decide<'a>(
    account: &ClientAccount,
    validated: &'a Result<Valid, Refusal>,
    inputs: &Inputs,
) -> Step<'a> {
    let status = account.status.clone().unwrap_or_default();
    let valid = match validated {
        Ok(valid) => valid,
        Err(refusal) if says(account, &status, STALLED, refusal.reason) => return WAIT,
        Err(refusal) => return Step::Refuse(refusal.clone()),
    };
    if account.spec.suspend {
        return if says(account, &status, READY, reason::SUSPENDED) { WAIT } else { Step::Suspend };
    }
    if let Some(rival) = inputs.rival.as_ref().filter(|rival| rival.is_let_in) {
        let said = says(account, &status, READY, reason::DUPLICATE_ACCOUNT);
        return if said { WAIT } else { Step::YieldTo(rival.namesake.clone()) };
    }
    // Whether somebody older knocks as well is said, and has to stay true.
    let said = is_true(&status.conditions, CONFLICT) == inputs.rival.is_some();
    let unchanged = is_current(account, &status);
    match status.next_verify_time.as_ref().map(|time| time.0) {
        Some(due) if unchanged && said && due > inputs.now => Step::Wait(after(inputs.now, due)),
        _ => {
            let recently = |last: Timestamp| {
                let since = Duration::try_from(inputs.now.duration_since(last)).unwrap_or_default();
                since < STRANGER_EVERY
            };
            let open = is_true(&status.conditions, UNSAFE);
            let stranger = open || !unchanged || !inputs.last_stranger.is_some_and(recently);
            Step::Verify { valid, stranger }
        }
    }
}

const WAIT: Step<'static> = Step::Wait(Next::OnChange);

/// When to look again after this status.
pub(super) fn next(status: &ClientAccountStatus, now: Timestamp) -> Next {
    status.next_verify_time.as_ref().map_or(Next::OnChange, |due| after(now, due.0))
}

fn after(now: Timestamp, due: Timestamp) -> Next {
    Next::After(Duration::try_from(due.duration_since(now)).unwrap_or_default())
}

/// Whether the status is about this spec and this request.
fn is_current(account: &ClientAccount, status: &ClientAccountStatus) -> bool {
    status.observed_generation == Some(generation(account))
        && requested(account).is_none_or(|token| status.last_handled_reconcile_at.as_ref() == Some(&token))
}

/// The token of the request, if there is one.
pub(super) fn requested(account: &ClientAccount) -> Option<String> {
    let annotations = account.metadata.annotations.as_ref()?;
    annotations.get(REQUESTED_AT).map(|token| bounded(token, TOKEN_CHARS_MAX))
}

/// Whether the status says this of this spec already.
fn says(account: &ClientAccount, status: &ClientAccountStatus, condition: &str, reason: &str) -> bool {
    is_current(account, status)
        && find(&status.conditions, condition).is_some_and(|found| found.reason == reason)
}
