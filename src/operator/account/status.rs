//! What the status of an account says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tagwarden_api::account::{
    ClientAccount, ClientAccountStatus, ExternalIdMode, OwnedObjectRef, RegionsStatus,
};
use tagwarden_api::condition::{
    ASSUMABLE, CONFLICT, PERMISSIONS_VERIFIED, READY, RECONCILING, STALLED, UNSAFE, reason,
};
use tagwarden_app::onboard::{Exposure, NotVerified, Verification};
use tagwarden_app::ports::{Refused, RefusedBecause};

use super::decide::requested;
use super::dereference::{Namesake, NoExternalId};
use super::validate::{Refusal, Valid};
use super::{external_id_mode, generation};
use crate::conditions::{Answer, Finding, find, merge, note_events, seconds};

/// An interval is shortened by up to this share, so that accounts that came at once do not come at once for ever.
const SPREAD: f64 = 0.1;

/// What came of an account.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The spec cannot be acted upon.
    Invalid(Refusal),
    /// Nothing is done on request.
    Suspended,
    /// Another object has the account.
    Duplicate(Namesake),
    /// There is no external id to present.
    NoExternalId(NoExternalId, Owned),
    /// What its owner needs cannot be made or read.
    Blocked {
        /// A word of `tagwarden_api::condition::reason`.
        reason: &'static str,
        /// Why, and what to do.
        message: String,
        /// What was made before.
        owned: Owned,
    },
    /// It was entered, or not.
    Entered(Result<Verification, NotVerified>, Owned),
}

impl Outcome {
    /// Whether strangers get in, where it was entered.
    pub(super) fn exposure(&self) -> Option<Exposure> {
        match self {
            Self::Entered(Ok(verification), _) => Some(verification.exposure),
            _ => None,
        }
    }
}

/// The objects that were made for the account's owner.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    /// The generated external id, and the Secret that keeps it.
    pub(super) external_id: Option<(String, String)>,
    /// The `ConfigMap` with the documents.
    pub(super) onboarding: Option<String>,
}

/// Everything that a status depends on.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) account: &'a ClientAccount,
    pub(super) valid: Option<&'a Valid>,
    pub(super) outcome: &'a Outcome,
    /// An older object that names the same account, which lets neither in.
    pub(super) older: Option<&'a Namesake>,
    /// Whether events are, as far as that is known.
    pub(super) events_refused: Option<bool>,
}

/// The status after this outcome. `chance`, between 0 and 1, spreads the next look.
pub(super) fn status(view: &View<'_>, now: Timestamp, chance: f64) -> ClientAccountStatus {
    let View { account, valid, outcome, older, events_refused } = *view;
    let before = account.status.clone().unwrap_or_default();
    let mut findings = findings(account, &before, outcome);
    if let Some(older) = older.filter(|_| is_contested(&findings)) {
        findings.push(Finding::new(CONFLICT, true, reason::DUPLICATE_ACCOUNT, contest(account, older)));
    }
    note_events(&mut findings, &before.conditions, events_refused);
    let mut status = ClientAccountStatus {
        observed_generation: Some(generation(account)),
        conditions: merge(&before.conditions, findings, generation(account), now),
        last_handled_reconcile_at: requested(account).or_else(|| before.last_handled_reconcile_at.clone()),
        next_verify_time: None,
        ..before
    };
    let (Outcome::NoExternalId(_, owned) | Outcome::Blocked { owned, .. } | Outcome::Entered(_, owned)) =
        outcome
    else {
        return status;
    };
    let good = find(&status.conditions, READY).is_some_and(|ready| ready.status == "True");
    status.next_verify_time = valid.map(|valid| next(valid, good, now, chance));
    status.last_verify_attempt_time = Some(seconds(now));
    if good {
        status.last_verified_time = Some(seconds(now));
    }
    note_owned(account, &mut status, owned);
    if let Outcome::Entered(Ok(verification), _) = outcome {
        note_entered(&mut status, verification);
    } else {
        status.caller_arn = None;
        status.missing_permissions = Vec::new();
    }
    status
}

fn next(valid: &Valid, good: bool, now: Timestamp, chance: f64) -> Time {
    let interval = if good { valid.interval } else { valid.retry_interval };
    let spread: Duration = interval.mul_f64(1.0 - SPREAD * chance.clamp(0.0, 1.0));
    let next = SignedDuration::try_from(spread).ok().and_then(|spread| now.checked_add(spread).ok());
    seconds(next.unwrap_or(Timestamp::MAX))
}

fn note_owned(account: &ClientAccount, status: &mut ClientAccountStatus, owned: &Owned) {
    let reference = |name: &String| OwnedObjectRef { name: name.clone() };
    if let Some((id, secret)) = &owned.external_id {
        status.external_id = Some(id.clone());
        status.external_id_secret_ref = Some(reference(secret));
    } else if external_id_mode(account) != ExternalIdMode::Generated || account.spec.auth.role_arn.is_none() {
        // The one that was generated before is kept in its Secret, should the mode be changed back.
        status.external_id_secret_ref = None;
    }
    if let Some(name) = &owned.onboarding {
        status.onboarding_config_map_ref = Some(reference(name));
    }
}

fn note_entered(status: &mut ClientAccountStatus, verification: &Verification) {
    status.caller_arn = Some(verification.identity.arn.clone());
    status.missing_permissions.clone_from(&verification.missing);
    if let Some(regions) = verification.regions {
        status.regions = Some(RegionsStatus { enabled: i32::try_from(regions).unwrap_or(i32::MAX) });
    }
}

fn findings(account: &ClientAccount, before: &ClientAccountStatus, outcome: &Outcome) -> Vec<Finding> {
    match outcome {
        Outcome::Invalid(refusal) => stalled(refusal.reason, refusal.to_string()),
        Outcome::Suspended => suspended(before),
        Outcome::Duplicate(namesake) => {
            let id = &account.spec.account_id;
            let message = match namesake {
                Namesake::Here(name) => format!(
                    "ClientAccount `{name}` names account {id} as well, and the account lets it in: remove one of the \
                     two"
                ),
                Namesake::Elsewhere => format!(
                    "a ClientAccount of another namespace names account {id} as well, and the account lets it in: \
                     remove this one, or ask whoever runs Tagwarden"
                ),
            };
            let mut findings = stalled(reason::DUPLICATE_ACCOUNT, message.clone());
            findings.push(Finding::new(CONFLICT, true, reason::DUPLICATE_ACCOUNT, message));
            findings
        }
        Outcome::NoExternalId(missing, _) => {
            unreachable_account(Answer::False, reason::EXTERNAL_ID_MISSING, &missing.to_string())
        }
        Outcome::Blocked { reason, message, .. } => unreachable_account(Answer::Unknown, reason, message),
        Outcome::Entered(Ok(verification), _) => entered(account, verification),
        Outcome::Entered(Err(error), _) => not_entered(error),
    }
}

/// Whether it is open who has the account: this one was not let in, or not alone.
fn is_contested(findings: &[Finding]) -> bool {
    let is_true = |condition| {
        findings.iter().any(|finding| finding.condition == condition && finding.answer == Answer::True)
    };
    let knocked = findings.iter().any(|finding| finding.condition == ASSUMABLE);
    knocked && (!is_true(ASSUMABLE) || is_true(UNSAFE))
}

fn contest(account: &ClientAccount, older: &Namesake) -> String {
    let id = &account.spec.account_id;
    let who = match older {
        Namesake::Here(name) => format!("ClientAccount `{name}`"),
        Namesake::Elsewhere => "a ClientAccount of another namespace".to_owned(),
    };
    format!("{who} names account {id} as well, and is older: the one that the account lets in first has it")
}

/// Nothing changes before somebody changes something.
fn stalled(reason: &'static str, message: String) -> Vec<Finding> {
    vec![Finding::new(READY, false, reason, message.clone()), Finding::new(STALLED, true, reason, message)]
}

/// The account is as it was, and nobody looks.
fn suspended(before: &ClientAccountStatus) -> Vec<Finding> {
    let answer = match find(&before.conditions, READY).map(|ready| ready.status.as_str()) {
        Some("True") => Answer::True,
        Some("False") => Answer::False,
        _ => Answer::Unknown,
    };
    vec![Finding::new(READY, answer, reason::SUSPENDED, "spec.suspend is true: the account is not looked at")]
}

/// It could not be entered, and is tried again.
fn unreachable_account(assumable: Answer, reason: &'static str, message: &str) -> Vec<Finding> {
    vec![
        Finding::new(READY, false, reason, message),
        Finding::new(ASSUMABLE, assumable, reason, message),
        Finding::new(
            PERMISSIONS_VERIFIED,
            Answer::Unknown,
            reason::NOT_VERIFIED,
            "the account was not entered",
        ),
        Finding::new(RECONCILING, true, reason::PROGRESSING_WITH_RETRY, message),
    ]
}

fn not_entered(error: &NotVerified) -> Vec<Finding> {
    match error {
        NotVerified::WrongAccount { .. } => {
            let message = format!("{error}: correct spec.accountId, the role, or the credentials");
            let mut findings = stalled(reason::WRONG_ACCOUNT, message.clone());
            findings.push(Finding::new(ASSUMABLE, false, reason::WRONG_ACCOUNT, message));
            findings
        }
        NotVerified::TimedOut { .. } => {
            unreachable_account(Answer::Unknown, reason::UNREACHABLE, &error.to_string())
        }
        NotVerified::Refused(Refused { because, cause }) => {
            let (answer, word) = match because {
                RefusedBecause::Denied => (Answer::False, reason::ASSUME_ROLE_DENIED),
                RefusedBecause::SessionTags => (Answer::False, reason::TAG_SESSION_DENIED),
                RefusedBecause::NoCredentials => (Answer::Unknown, reason::NO_CREDENTIALS),
                RefusedBecause::RegionDisabled => (Answer::False, reason::REGION_DISABLED),
                RefusedBecause::Throttled => (Answer::Unknown, reason::THROTTLED),
                RefusedBecause::Unreachable => (Answer::Unknown, reason::UNREACHABLE),
                RefusedBecause::Failed => (Answer::Unknown, reason::FAILED),
            };
            unreachable_account(answer, word, cause)
        }
    }
}

fn entered(account: &ClientAccount, verification: &Verification) -> Vec<Finding> {
    let arn = &verification.identity.arn;
    let assumable = match (account.spec.auth.role_arn.is_some(), external_id_mode(account)) {
        (false, _) => Finding::new(
            ASSUMABLE,
            true,
            reason::AMBIENT,
            format!("entered as {arn}, with Tagwarden's own credentials"),
        ),
        (true, ExternalIdMode::None) => Finding::new(
            ASSUMABLE,
            true,
            reason::ASSUMED,
            format!("entered as {arn}; no external id is presented, as externalId.mode is None"),
        ),
        (true, _) => Finding::new(ASSUMABLE, true, reason::ASSUMED, format!("entered as {arn}")),
    };
    let permissions = permissions(verification);
    let exposed = exposed(verification.exposure);
    let ready = match (&exposed, permissions.answer) {
        (Some(message), _) => Finding::new(READY, false, reason::EXTERNAL_ID_NOT_REQUIRED, message.clone()),
        (None, Answer::True) => {
            Finding::new(READY, true, reason::SUCCEEDED, "the account can be entered and read")
        }
        (None, answer) => Finding::new(READY, answer, permissions.reason, permissions.message.clone()),
    };
    let waits = ready.answer != Answer::True;
    let message = ready.message.clone();
    let mut findings = vec![ready, assumable, permissions];
    if let Some(message) = exposed {
        findings.push(Finding::new(UNSAFE, true, reason::EXTERNAL_ID_NOT_REQUIRED, message));
    }
    if waits {
        findings.push(Finding::new(RECONCILING, true, reason::PROGRESSING_WITH_RETRY, message));
    }
    findings
}

fn permissions(verification: &Verification) -> Finding {
    const SHOWN: usize = 5;
    let missing = &verification.missing;
    if !missing.is_empty() {
        let shown = missing.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match missing.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more (status.missingPermissions)"),
        };
        let message = format!("the role may not do {shown}{more}: add the actions to its policy");
        return Finding::new(PERMISSIONS_VERIFIED, false, reason::PERMISSIONS_MISSING, message);
    }
    match &verification.unknown {
        Some(refused) => {
            Finding::new(PERMISSIONS_VERIFIED, Answer::Unknown, reason::NOT_VERIFIED, refused.cause.clone())
        }
        None => Finding::new(
            PERMISSIONS_VERIFIED,
            true,
            reason::PERMISSIONS_GRANTED,
            "everything that a scan reads can be read",
        ),
    }
}

fn exposed(exposure: Exposure) -> Option<String> {
    let how = match exposure {
        Exposure::Unknown | Exposure::Closed => return None,
        Exposure::WithoutExternalId => "without an external id",
        Exposure::AnyExternalId => "with any external id",
    };
    Some(format!(
        "the role can be assumed {how}, so another tenant could look into the account through Tagwarden: let its \
         trust policy ask for the one in status.externalId"
    ))
}
