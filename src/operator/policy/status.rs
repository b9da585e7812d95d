//! What the status of a policy says.

use jiff::Timestamp;
use tagwarden_api::REQUESTED_AT;
use tagwarden_api::condition::{READY, STALLED, VALID, reason};
use tagwarden_api::policy::{Effective, TaggingPolicy, TaggingPolicyStatus};
use tagwarden_core::policy::{Policy, PolicyError, Reason};

use super::{Resolved, generation};
use crate::conditions::{Finding, bounded, merge};

/// The status of a policy with so many users.
pub(super) fn status(
    policy: &TaggingPolicy,
    resolved: &Resolved,
    users: usize,
    now: Timestamp,
) -> TaggingPolicyStatus {
    let before = policy.status.clone().unwrap_or_default();
    let in_force = resolved.policy.as_deref();
    let requested = policy.metadata.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT));
    TaggingPolicyStatus {
        observed_generation: Some(generation(policy)),
        conditions: merge(&before.conditions, findings(resolved), generation(policy), now),
        last_handled_reconcile_at: requested
            .map(|token| bounded(token, 256))
            .or(before.last_handled_reconcile_at),
        revision: in_force.map(|policy| policy.revision().to_string()),
        effective: in_force.map(|policy| effective(policy, now)),
        used_by: count(users),
    }
}

fn findings(resolved: &Resolved) -> Vec<Finding> {
    let Some(first) = resolved.refused.first() else {
        return vec![
            Finding::new(READY, true, reason::SUCCEEDED, "the policy is in force"),
            Finding::new(VALID, true, reason::VALID, "the spec makes sense"),
        ];
    };
    let refusal = refusal(&resolved.refused);
    let meanwhile = match &resolved.policy {
        Some(policy) => format!("{refusal}; meanwhile {} stays in force", policy.revision()),
        None => format!("{refusal}; no earlier revision is known, so audits cannot use the policy"),
    };
    vec![
        Finding::new(READY, false, reason::INVALID_SPEC, meanwhile.clone()),
        Finding::new(VALID, false, word(first.reason), refusal),
        Finding::new(STALLED, true, reason::INVALID_SPEC, meanwhile),
    ]
}

/// What is wrong, with the field: the first mistake in full, the others as a number.
pub(super) fn refusal(refused: &[PolicyError]) -> String {
    match refused {
        [] => String::new(),
        [only] => only.to_string(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}

fn effective(policy: &Policy, now: Timestamp) -> Effective {
    let (held, expired): (Vec<_>, Vec<_>) =
        policy.exemptions().iter().partition(|exemption| exemption.in_force(now));
    Effective {
        required_tags: count(policy.required().count()),
        optional_tags: count(policy.optional().count()),
        forbidden_tags: count(policy.forbidden_count()),
        exemptions: count(held.len()),
        expired_exemptions: count(expired.len()),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The documented word for each refusal.
fn word(refusal: Reason) -> &'static str {
    match refusal {
        Reason::Conflict => reason::RULE_CONFLICT,
        Reason::DuplicateKey => reason::DUPLICATE_KEY,
        Reason::DuplicateName => reason::DUPLICATE_NAME,
        Reason::EmptyAllowed => reason::EMPTY_ALLOWED,
        Reason::InvalidAccount => reason::INVALID_ACCOUNT,
        Reason::InvalidArn => reason::INVALID_ARN,
        Reason::InvalidRegex => reason::INVALID_REGEX,
        Reason::InvalidRegion => reason::INVALID_REGION,
        Reason::InvalidSelector => reason::INVALID_SELECTOR,
        Reason::Malformed => reason::MALFORMED,
        Reason::OutOfRange => reason::OUT_OF_RANGE,
        Reason::Required => reason::REQUIRED,
        Reason::ReservedKey => reason::RESERVED_KEY,
        Reason::UnknownType => reason::UNKNOWN_TYPE,
    }
}
