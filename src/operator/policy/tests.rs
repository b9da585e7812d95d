//! Tables: what is in force, what is decided for a policy, what its status says.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use tagwarden_api::policy::TaggingPolicy;
use tagwarden_core::registry::Registry;

use super::Resolved;
use super::decide::decide;
use super::status::status;
use super::validate::validate;
use crate::failure::Next;

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn policy(spec: &Value) -> TaggingPolicy {
    serde_json::from_value(json!({
        "apiVersion": "tagwarden.io/v1alpha1",
        "kind": "TaggingPolicy",
        "metadata": { "name": "corp", "namespace": "tenant", "generation": 2, "uid": "u" },
        "spec": spec,
    }))
    .unwrap()
}

fn resolved(policy: &TaggingPolicy, before: Option<&TaggingPolicy>) -> Resolved {
    let registry = Registry::builtin();
    let (in_force, refused) = match validate(policy, &registry) {
        Ok(compiled) => (Some(compiled), Arc::default()),
        Err(refused) => (before.map(|before| validate(before, &registry).unwrap()), refused),
    };
    Resolved { uid: "u".to_owned(), generation: 2, policy: in_force, refused, kept: false }
}

fn words(policy: &TaggingPolicy, resolved: &Resolved) -> Vec<String> {
    let status = status(policy, resolved, 0, now());
    let conditions = status.conditions.iter();
    conditions.map(|found| format!("{}={}/{}", found.type_, found.status, found.reason)).collect()
}

fn good() -> TaggingPolicy {
    policy(&json!({ "requiredTags": [{ "key": "Owner" }] }))
}

#[test]
fn every_refusal_has_its_reason_and_its_field() {
    let table = [
        (
            json!([{ "key": "A", "values": { "regex": "(" } }]),
            "InvalidRegex",
            "spec.requiredTags[0].values.regex",
        ),
        (json!([{ "key": "A" }, { "key": "A" }]), "DuplicateKey", "spec.requiredTags[1].key"),
        (
            json!([{ "key": "A", "values": { "allowed": [] } }]),
            "EmptyAllowed",
            "spec.requiredTags[0].values.allowed",
        ),
        (
            json!([{ "key": "A", "appliesTo": { "resourceTypes": ["ec2:instanze"] } }]),
            "UnknownType",
            "spec.requiredTags[0].appliesTo.resourceTypes[0]",
        ),
        (json!([{ "key": "aws:x" }]), "ReservedKey", "spec.requiredTags[0].key"),
    ];
    for (tags, reason, path) in table {
        let policy = policy(&json!({ "requiredTags": tags }));
        let resolved = resolved(&policy, None);
        let valid = format!("Valid=False/{reason}");
        let found = words(&policy, &resolved);
        assert_eq!(found, ["Ready=False/InvalidSpec", &valid, "Stalled=True/InvalidSpec"], "{tags}");
        let status = status(&policy, &resolved, 0, now());
        assert!(status.conditions[1].message.starts_with(path), "{}", status.conditions[1].message);
        assert_eq!((status.revision, status.effective), (None, None));
        assert!(!decide(&resolved, now()).keep, "what makes no sense is not kept");
    }
}

#[test]
fn the_last_revision_that_made_sense_stays_in_force() {
    let bad = policy(&json!({ "requiredTags": [{ "key": "Owner", "values": { "regex": "(" } }] }));
    let after = resolved(&bad, Some(&good()));
    let before = resolved(&good(), None);
    let status = status(&bad, &after, 3, now());
    assert_eq!(status.revision.as_deref(), before.policy.as_ref().map(|policy| &**policy.revision()));
    assert_eq!(status.used_by, 3);
    assert!(status.conditions[0].message.contains("stays in force"), "{}", status.conditions[0].message);
    assert_eq!(words(&good(), &before), ["Ready=True/Succeeded", "Valid=True/Valid"]);
    assert!(decide(&before, now()).keep);
}

#[test]
fn an_exemption_that_ends_is_looked_at_when_it_does() {
    let ends = now() + SignedDuration::from_mins(10);
    let exemption = |name: &str, end: Option<Timestamp>| json!({ "name": name, "arns": ["arn:aws:ec2:*:*:vpc/*"], "reason": "x", "expiresAt": end.map(|end| end.to_string()) });
    let exemptions = [exemption("a", Some(ends)), exemption("b", Some(now() - SignedDuration::from_mins(1)))];
    let policy = policy(&json!({ "requiredTags": [{ "key": "Owner" }], "exemptions": exemptions }));
    let resolved = resolved(&policy, None);
    let counts = |at: Timestamp| {
        let effective = status(&policy, &resolved, 0, at).effective.unwrap();
        (effective.exemptions, effective.expired_exemptions)
    };
    assert_eq!(counts(now()), (1, 1));
    let Next::After(wait) = decide(&resolved, now()).next else { panic!("no timer") };
    assert!(wait >= Duration::from_mins(10) && wait < Duration::from_secs(601), "{wait:?}");
    let then = now() + SignedDuration::try_from(wait).unwrap();
    assert_eq!(counts(then), (0, 2));
    assert_eq!(decide(&resolved, then).next, Next::OnChange);
}

#[test]
fn a_status_that_says_the_same_is_the_same() {
    let mut policy = good();
    let resolved = resolved(&policy, None);
    policy.status = Some(status(&policy, &resolved, 1, now()));
    let later = now() + SignedDuration::from_hours(5);
    assert_eq!(policy.status, Some(status(&policy, &resolved, 1, later)));
}
