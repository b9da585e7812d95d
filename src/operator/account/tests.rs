//! Tables: what is decided for an account, and what its status says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tagwarden_api::account::ClientAccount;
use tagwarden_app::onboard::{Exposure, NotVerified, Verification};
use tagwarden_app::ports::{Identity, Refused, RefusedBecause};
use tagwarden_core::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::decide::{Inputs, Step, decide};
use super::dereference::{Namesake, NoExternalId, Rival, is_let_in, rival};
use super::status::{Outcome, Owned, View, status};
use super::validate::{Refusal, Valid, validate};
use crate::context::{Clock, Frame, Scope, Settings};
use crate::failure::Next;
use crate::lease::Fence;

const ID: &str = "111122223333";

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// Of an installation that one team has for itself.
fn settings() -> Settings {
    Settings { allow_no_external_id: true, allow_ambient_account: true, ..Settings::new(Scope::All, "test") }
}

fn account(auth: &Value, rest: &Value) -> ClientAccount {
    let mut spec = json!({ "accountId": ID, "auth": auth });
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "tagwarden.io/v1alpha1",
        "kind": "ClientAccount",
        "metadata": { "name": "prod", "namespace": "tenant", "generation": 3, "uid": "u" },
        "spec": spec,
    }))
    .unwrap()
}

fn assumed() -> ClientAccount {
    account(&json!({ "roleArn": format!("arn:aws:iam::{ID}:role/reader") }), &json!({}))
}

fn valid(account: &ClientAccount) -> Valid {
    validate(account, &settings()).unwrap()
}

#[test]
fn what_makes_no_sense_is_refused_with_its_field() {
    let role = format!("arn:aws:iam::{ID}:role/reader");
    let table = [
        (json!({}), json!({}), "spec.auth.roleArn", "InvalidSpec"),
        (
            json!({ "roleArn": "arn:aws:iam::999988887777:role/r" }),
            json!({}),
            "spec.auth.roleArn",
            "InvalidSpec",
        ),
        (
            json!({ "roleArn": role, "sessionDurationSeconds": 10 }),
            json!({}),
            "spec.auth.sessionDurationSeconds",
            "InvalidSpec",
        ),
        (
            json!({ "roleArn": role, "externalId": { "mode": "SecretRef", "secretRef": { "name": "s" } } }),
            json!({}),
            "spec.auth.externalId.mode",
            "ExternalIdNotAllowed",
        ),
        (
            json!({ "roleArn": role }),
            json!({ "verification": { "interval": "soon" } }),
            "spec.verification.interval",
            "InvalidDuration",
        ),
        (json!({ "mode": "Ambient" }), json!({ "accountId": "12" }), "spec.accountId", "InvalidSpec"),
    ];
    for (auth, rest, path, reason) in table {
        let refusal = validate(&account(&auth, &rest), &settings()).unwrap_err();
        assert_eq!((refusal.path, refusal.reason), (path, reason), "{auth} {rest}");
    }
    let own = account(
        &json!({ "roleArn": role, "externalId": { "mode": "SecretRef", "secretRef": { "name": "s" } } }),
        &json!({}),
    );
    let allowing = Settings { allow_external_id_secret_ref: true, ..settings() };
    assert!(validate(&own, &allowing).is_ok());
}

#[test]
fn where_tenants_share_an_installation_only_a_generated_id_lets_in() {
    let shared = Settings::new(Scope::All, "test");
    let role = format!("arn:aws:iam::{ID}:role/reader");
    let none = account(&json!({ "roleArn": role, "externalId": { "mode": "None" } }), &json!({}));
    let ambient = account(&json!({ "mode": "Ambient" }), &json!({}));
    for (account, path, reason, flag) in [
        (&none, "spec.auth.externalId.mode", "ExternalIdNotAllowed", "--allow-no-external-id"),
        (&ambient, "spec.auth.mode", "AmbientNotAllowed", "--allow-ambient-account"),
    ] {
        let refusal = validate(account, &shared).unwrap_err();
        assert_eq!((refusal.path, refusal.reason), (path, reason));
        assert!(refusal.message.contains(flag), "{refusal}");
        assert!(validate(account, &settings()).is_ok());
        let told = with_status(account.clone(), &Outcome::Invalid(refusal));
        assert_eq!(words(&told), [format!("Ready=False/{reason}"), format!("Stalled=True/{reason}")]);
    }
    assert!(validate(&assumed(), &shared).is_ok());
}

#[test]
fn intervals_have_defaults_and_lower_bounds() {
    let found = valid(&assumed());
    assert_eq!((found.interval, found.retry_interval), (Duration::from_hours(1), Duration::from_mins(5)));
    let hasty = account(
        &json!({ "mode": "Ambient" }),
        &json!({ "verification": { "interval": "1s", "retryInterval": "1ms" } }),
    );
    let found = valid(&hasty);
    assert_eq!((found.interval, found.retry_interval), (Duration::from_mins(1), Duration::from_secs(10)));
}

fn verified(exposure: Exposure, missing: &[&str]) -> Outcome {
    let arn = format!("arn:aws:sts::{ID}:assumed-role/reader/tagwarden");
    let verification = Verification {
        identity: Identity { account_id: ID.parse().unwrap(), arn },
        regions: Some(17),
        missing: missing.iter().map(|action| (*action).to_owned()).collect(),
        unknown: None,
        exposure,
    };
    Outcome::Entered(Ok(verification), owned())
}

fn owned() -> Owned {
    Owned {
        external_id: Some(("7f0c".to_owned(), "prod-external-id".to_owned())),
        onboarding: Some("prod-onboarding".to_owned()),
    }
}

fn refused(because: RefusedBecause) -> Outcome {
    let refused = Refused { because, cause: "no".to_owned() };
    Outcome::Entered(Err(NotVerified::Refused(refused)), owned())
}

fn with_status(mut account: ClientAccount, outcome: &Outcome) -> ClientAccount {
    let validated = validate(&account, &settings());
    let view = View {
        account: &account,
        valid: validated.as_ref().ok(),
        outcome,
        older: None,
        events_refused: None,
    };
    account.status = Some(status(&view, now(), 0.0));
    account
}

/// `Type=Status/Reason` of each condition.
fn words(account: &ClientAccount) -> Vec<String> {
    let status = account.status.as_ref().unwrap();
    let word = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{}={}/{}", condition.type_, condition.status, condition.reason)
    };
    status.conditions.iter().map(word).collect()
}

#[test]
fn what_the_status_says() {
    let invalid = Refusal {
        reason: "ExternalIdNotAllowed",
        path: "spec.auth.externalId.mode",
        message: "no".to_owned(),
    };
    let missing = NoExternalId::Secret { name: "s".to_owned(), key: "k".to_owned(), why: "gone".to_owned() };
    let wrong =
        NotVerified::WrongAccount { meant: ID.parse().unwrap(), found: "999988887777".parse().unwrap() };
    let retried = "Reconciling=True/ProgressingWithRetry";
    let table = [
        (
            verified(Exposure::Closed, &[]),
            vec![
                "Ready=True/Succeeded",
                "Assumable=True/Assumed",
                "PermissionsVerified=True/PermissionsGranted",
            ],
        ),
        (
            verified(Exposure::Unknown, &["rds:DescribeDBInstances"]),
            vec![
                "Ready=False/PermissionsMissing",
                "Assumable=True/Assumed",
                "PermissionsVerified=False/PermissionsMissing",
                retried,
            ],
        ),
        (
            verified(Exposure::AnyExternalId, &[]),
            vec![
                "Ready=False/ExternalIdNotRequired",
                "Assumable=True/Assumed",
                "PermissionsVerified=True/PermissionsGranted",
                "Unsafe=True/ExternalIdNotRequired",
                retried,
            ],
        ),
        (
            refused(RefusedBecause::Denied),
            vec![
                "Ready=False/AssumeRoleDenied",
                "Assumable=False/AssumeRoleDenied",
                "PermissionsVerified=Unknown/NotVerified",
                retried,
            ],
        ),
        (
            refused(RefusedBecause::SessionTags),
            vec![
                "Ready=False/TagSessionDenied",
                "Assumable=False/TagSessionDenied",
                "PermissionsVerified=Unknown/NotVerified",
                retried,
            ],
        ),
        (
            refused(RefusedBecause::Throttled),
            vec![
                "Ready=False/Throttled",
                "Assumable=Unknown/Throttled",
                "PermissionsVerified=Unknown/NotVerified",
                retried,
            ],
        ),
        (
            Outcome::Entered(Err(wrong), owned()),
            vec!["Ready=False/WrongAccount", "Stalled=True/WrongAccount", "Assumable=False/WrongAccount"],
        ),
        (
            Outcome::Invalid(invalid),
            vec!["Ready=False/ExternalIdNotAllowed", "Stalled=True/ExternalIdNotAllowed"],
        ),
        (
            Outcome::Duplicate(Namesake::Elsewhere),
            vec![
                "Ready=False/DuplicateAccount",
                "Stalled=True/DuplicateAccount",
                "Conflict=True/DuplicateAccount",
            ],
        ),
        (
            Outcome::NoExternalId(missing, Owned::default()),
            vec![
                "Ready=False/ExternalIdMissing",
                "Assumable=False/ExternalIdMissing",
                "PermissionsVerified=Unknown/NotVerified",
                retried,
            ],
        ),
        (
            Outcome::Blocked {
                reason: "DependencyNotReady",
                message: "Secret a/b exists already".to_owned(),
                owned: Owned::default(),
            },
            vec![
                "Ready=False/DependencyNotReady",
                "Assumable=Unknown/DependencyNotReady",
                "PermissionsVerified=Unknown/NotVerified",
                retried,
            ],
        ),
        (Outcome::Suspended, vec!["Ready=Unknown/Suspended"]),
    ];
    for (outcome, expected) in table {
        assert_eq!(words(&with_status(assumed(), &outcome)), expected);
    }
}

/// The status of an object when an older one of another tenant names its account.
fn contested(mut account: ClientAccount, outcome: &Outcome) -> ClientAccount {
    let validated = validate(&account, &settings());
    let view = View {
        account: &account,
        valid: validated.as_ref().ok(),
        outcome,
        older: Some(&Namesake::Elsewhere),
        events_refused: None,
    };
    account.status = Some(status(&view, now(), 0.0));
    account
}

#[test]
fn a_rival_of_another_tenant_is_not_named() {
    let message = |namesake| {
        let account = with_status(assumed(), &Outcome::Duplicate(namesake));
        account.status.unwrap().conditions[0].message.clone()
    };
    assert!(message(Namesake::Here("older".to_owned())).contains("`older`"));
    assert!(!message(Namesake::Elsewhere).contains('`'));
}

#[test]
fn who_knocks_beside_an_older_one_says_so_until_it_is_let_in() {
    let conflict = "Conflict=True/DuplicateAccount".to_owned();
    for (outcome, told) in [
        (refused(RefusedBecause::Denied), true),
        (refused(RefusedBecause::Throttled), true),
        (verified(Exposure::AnyExternalId, &[]), true),
        (verified(Exposure::Closed, &[]), false),
        (verified(Exposure::Closed, &["rds:DescribeDBInstances"]), false),
        (Outcome::Suspended, false),
    ] {
        let account = contested(assumed(), &outcome);
        assert_eq!(words(&account).contains(&conflict), told, "{outcome:?}");
        let conditions = account.status.unwrap().conditions;
        let said = conditions.iter().find(|condition| condition.type_ == "Conflict");
        assert!(said.is_none_or(|said| said.message.contains("older") && !said.message.contains('`')));
    }
}

/// An object of this name that came at this minute, with what became of it.
fn of(name: &str, minute: i64, outcome: Option<&Outcome>) -> std::sync::Arc<ClientAccount> {
    let mut account = assumed();
    account.metadata.name = Some(name.to_owned());
    account.metadata.namespace = Some(format!("tenant-{name}"));
    account.metadata.creation_timestamp = Some(Time(now() + SignedDuration::from_mins(minute)));
    std::sync::Arc::new(match outcome {
        Some(outcome) => with_status(account, outcome),
        None => account,
    })
}

fn holders(all: &[std::sync::Arc<ClientAccount>]) -> Vec<String> {
    let free = all.iter().filter(|account| rival(all, account).is_none());
    free.map(|account| account.metadata.name.clone().unwrap()).collect()
}

#[test]
fn nobody_keeps_an_account_that_does_not_let_it_in() {
    let good = verified(Exposure::Closed, &[]);
    let (shut, open) = (refused(RefusedBecause::Denied), verified(Exposure::AnyExternalId, &[]));
    for (squatter, owner, holder) in [
        (None, None, "squatter"),
        (Some(&shut), None, "squatter"),
        (Some(&shut), Some(&shut), "squatter"),
        (None, Some(&good), "owner"),
        (Some(&shut), Some(&good), "owner"),
        (Some(&open), Some(&good), "owner"),
        (Some(&good), Some(&good), "squatter"),
        (Some(&shut), Some(&open), "squatter"),
    ] {
        let all = [of("squatter", 0, squatter), of("owner", 1, owner)];
        assert_eq!(holders(&all), [holder], "{squatter:?} {owner:?}");
    }
    // What cannot be found out for a while proves as much as before.
    let known = with_status((*of("owner", 1, Some(&good))).clone(), &refused(RefusedBecause::Throttled));
    assert!(is_let_in(&known));
    let shut_out = with_status(known.clone(), &shut);
    assert!(!is_let_in(&shut_out));
    assert!(!is_let_in(&contested(shut_out, &refused(RefusedBecause::Throttled))), "it proves nothing new");
}

#[tokio::test]
async fn an_account_that_lets_strangers_in_is_not_looked_into() {
    let (client, _) = crate::scripted::client([]);
    let (registry, stop) = (Registry::builtin(), CancellationToken::new());
    let frame = Frame::new(client, settings(), registry, Clock::system(), Fence::open(), stop).unwrap();
    let safe = with_status(assumed(), &verified(Exposure::Closed, &[]));
    assert!(super::target(&frame, &safe).await.is_ok());
    let open = with_status(safe, &verified(Exposure::WithoutExternalId, &[]));
    let refused = super::target(&frame, &open).await.unwrap_err();
    assert!(matches!(refused, super::NoTarget::Unsafe(_)), "{refused}");
    assert!(refused.to_string().contains("trust policy"), "{refused}");
}

proptest::proptest! {
    /// Whoever comes, and whatever becomes of them: one has the account, and a stranger never takes it from one that
    /// is let in.
    #[test]
    fn one_has_the_account(standings in proptest::collection::vec((0_i64..3, 0_usize..4), 1..7)) {
        let outcomes = [
            None,
            Some(refused(RefusedBecause::Denied)),
            Some(verified(Exposure::Closed, &[])),
            Some(verified(Exposure::AnyExternalId, &[])),
        ];
        let mut all: Vec<_> = standings
            .iter()
            .enumerate()
            .map(|(n, (minute, outcome))| of(&format!("a{n}"), *minute, outcomes[*outcome].as_ref()))
            .collect();
        let before = holders(&all);
        proptest::prop_assert_eq!(before.len(), 1);
        let proven = all.iter().any(|account| is_let_in(account));
        all.push(of("stranger", -1, outcomes[1].as_ref()));
        let after = holders(&all);
        proptest::prop_assert_eq!(after == before, proven);
        proptest::prop_assert_eq!(after.len(), 1);
    }
}

#[test]
fn a_status_that_says_the_same_is_the_same() {
    for outcome in [verified(Exposure::Closed, &[]), refused(RefusedBecause::Denied), Outcome::Suspended] {
        let first = with_status(assumed(), &outcome);
        let second = with_status(first.clone(), &outcome);
        assert_eq!(first.status, second.status);
    }
}

#[test]
fn revocation_keeps_what_was_known_and_when() {
    let good = with_status(assumed(), &verified(Exposure::Closed, &[]));
    let revoked = with_status(good.clone(), &refused(RefusedBecause::Denied));
    let status = revoked.status.unwrap();
    assert_eq!(status.last_verified_time, Some(Time(now())));
    assert_eq!(status.external_id.as_deref(), Some("7f0c"));
    assert_eq!(status.caller_arn, None);
    let retry = now() + SignedDuration::from_mins(5);
    assert_eq!(status.next_verify_time, Some(Time(retry)));
    let next = good.status.unwrap().next_verify_time;
    assert_eq!(next, Some(Time(now() + SignedDuration::from_hours(1))));
}

fn decided(account: &ClientAccount, inputs: &Inputs) -> String {
    match decide(account, &validate(account, &settings()), inputs) {
        Step::Wait(Next::OnChange) => "wait".to_owned(),
        Step::Wait(Next::After(after)) => format!("wait {}s", after.as_secs()),
        Step::Refuse(_) => "refuse".to_owned(),
        Step::Suspend => "suspend".to_owned(),
        Step::YieldTo(_) => "yield".to_owned(),
        Step::Verify { stranger, .. } => format!("verify {stranger}"),
    }
}

#[test]
fn what_is_decided() {
    let at = |minutes: i64| Inputs {
        rival: None,
        last_stranger: Some(now()),
        now: now() + SignedDuration::from_mins(minutes),
    };
    let fresh = assumed();
    assert_eq!(decided(&fresh, &at(0)), "verify true");

    let good = with_status(fresh.clone(), &verified(Exposure::Closed, &[]));
    assert_eq!(decided(&good, &at(0)), "wait 3600s");
    assert_eq!(decided(&good, &at(59)), "wait 60s");
    assert_eq!(decided(&good, &at(60)), "verify false");
    assert_eq!(decided(&good, &at(24 * 60)), "verify true", "once a day");
    let restarted = Inputs { last_stranger: None, ..at(60) };
    assert_eq!(decided(&good, &restarted), "verify true");

    let mut edited = good.clone();
    edited.metadata.generation = Some(4);
    assert_eq!(decided(&edited, &at(1)), "verify true");

    let mut asked = good.clone();
    let token = ("tagwarden.io/requestedAt".to_owned(), "now".to_owned());
    asked.metadata.annotations = Some([token].into());
    assert_eq!(decided(&asked, &at(1)), "verify true");
    let answered = with_status(asked, &verified(Exposure::Closed, &[]));
    assert_eq!(decided(&answered, &at(1)), "wait 3540s", "each token once");

    let open = with_status(fresh.clone(), &verified(Exposure::WithoutExternalId, &[]));
    assert_eq!(decided(&open, &at(5)), "verify true", "until it is closed");

    let against =
        |is_let_in| Inputs { rival: Some(Rival { namesake: Namesake::Elsewhere, is_let_in }), ..at(0) };
    assert_eq!(decided(&good, &against(true)), "yield");
    let yielded = with_status(good.clone(), &Outcome::Duplicate(Namesake::Elsewhere));
    assert_eq!(decided(&yielded, &against(true)), "wait");
    assert_eq!(decided(&yielded, &at(0)), "verify false", "the rival is gone");
    assert_eq!(decided(&yielded, &against(false)), "verify false", "the rival is shut out");
    let knocking = contested(fresh.clone(), &refused(RefusedBecause::Denied));
    assert_eq!(decided(&knocking, &against(false)), "wait 300s");
    assert_eq!(decided(&knocking, &at(0)), "verify false", "nobody else knocks any more");

    let mut suspended = good;
    suspended.spec.suspend = true;
    assert_eq!(decided(&suspended, &at(0)), "suspend");
    let suspended = with_status(suspended, &Outcome::Suspended);
    assert_eq!(words(&suspended), ["Ready=True/Suspended"]);
    assert_eq!(decided(&suspended, &at(600)), "wait");

    let invalid = account(&json!({}), &json!({}));
    assert_eq!(decided(&invalid, &at(0)), "refuse");
    let refusal = validate(&invalid, &settings()).unwrap_err();
    let told = with_status(invalid, &Outcome::Invalid(refusal));
    assert_eq!(decided(&told, &at(0)), "wait");
}
