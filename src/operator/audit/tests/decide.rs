//! What is due when. Each case changes one thing about an audit that has nothing to do.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tagwarden_api::audit::ConcurrencyPolicy::{Forbid, Replace};
use tagwarden_core::registry::Registry;
use tagwarden_core::run::{Slot, Trigger, jitter};

use crate::audit::decide::{Accounts, DEBOUNCE, Last, Notice, Open, Plan, Scene, decide};
use crate::audit::validate::{Valid, validate};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn valid(spec: &serde_json::Value) -> Valid {
    let mut all = json!({"policyRef": {"name": "corp"}, "accounts": {"all": true}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    validate(&serde_json::from_value(all).unwrap(), &Registry::builtin()).unwrap()
}

/// Every night at three, in UTC.
static NIGHTLY: LazyLock<Valid> = LazyLock::new(|| valid(&json!({"schedule": "0 3 * * *"})));
static ON_DEMAND: LazyLock<Valid> = LazyLock::new(|| valid(&json!({})));

static EARLIER: LazyLock<Slot> = LazyLock::new(|| Slot::schedule(at("2026-11-21T03:00:00Z")));

/// A run that another process has left.
static LEFT: LazyLock<Open<'_>> =
    LazyLock::new(|| Open { run_id: "left", slot: &EARLIER, revision: "r1", scope: "s1", here: false });

const LAST: Last<'_> = Last { run_id: "nightly-20261120-0300", revision: "r1" };

/// An audit of last week whose run of this night is over; now it is noon.
fn idle(valid: &Valid) -> Scene<'_> {
    Scene {
        now: at("2026-11-21T12:00:00Z"),
        uid: "uid",
        created_at: at("2026-11-14T08:30:00Z"),
        suspended: false,
        valid,
        token: None,
        handled: None,
        last_slot: Some(at("2026-11-21T03:00:00Z")),
        last: Some(LAST),
        open: None,
        scope: "s1",
        revision: Some("r1"),
        changed_at: None,
        accounts: Accounts { found: 3, unobserved: 0, ready: 2 },
    }
}

fn nothing(next: Option<&str>) -> Plan {
    let next = next.map(at);
    Plan { next_due: next, wake: next, ..Plan::default() }
}

#[test]
fn an_audit_with_nothing_to_do_waits_for_its_next_slot() {
    assert_eq!(decide(&idle(&NIGHTLY)), nothing(Some("2026-11-22T03:00:00Z")));
    assert_eq!(decide(&idle(&ON_DEMAND)), nothing(None));
}

#[test]
fn a_slot_that_has_come_is_run_once() {
    let due = Scene { now: at("2026-11-22T03:00:00Z"), ..idle(&NIGHTLY) };
    let plan = decide(&due);
    assert_eq!(plan.start, Some(Slot::schedule(at("2026-11-22T03:00:00Z"))));
    assert_eq!(plan.slot, Some(at("2026-11-22T03:00:00Z")));
    assert_eq!(plan.next_due, Some(at("2026-11-23T03:00:00Z")));
    let again = Scene { last_slot: plan.slot, ..due };
    assert_eq!(decide(&again), nothing(Some("2026-11-23T03:00:00Z")));
    let early = Scene { now: at("2026-11-22T02:59:59Z"), ..idle(&NIGHTLY) };
    assert_eq!(decide(&early).start, None);
}

#[test]
fn of_several_missed_slots_only_the_newest_is_made_up_for() {
    let late = Scene { now: at("2026-11-25T09:00:00Z"), ..idle(&NIGHTLY) };
    assert_eq!(decide(&late).start, Some(Slot::schedule(at("2026-11-25T03:00:00Z"))));
}

#[test]
fn slots_before_the_audit_was_made_never_count() {
    let fresh = Scene { created_at: at("2026-11-21T03:00:00Z"), last_slot: None, ..idle(&NIGHTLY) };
    assert_eq!(decide(&fresh).start, None);
}

#[test]
fn a_deadline_leaves_out_what_is_too_late_and_says_so() {
    let strict = valid(&json!({"schedule": "0 3 * * *", "startingDeadlineSeconds": 600}));
    let just = Scene { now: at("2026-11-22T03:10:00Z"), ..idle(&strict) };
    assert!(decide(&just).start.is_some());
    let late = Scene { now: at("2026-11-22T03:10:01Z"), ..idle(&strict) };
    let plan = decide(&late);
    assert_eq!((plan.start, plan.slot), (None, Some(at("2026-11-22T03:00:00Z"))));
    assert_eq!(plan.notices, [Notice::Missed(at("2026-11-22T03:00:00Z"))]);
}

#[test]
fn jitter_delays_the_start_and_not_the_name() {
    let spread = valid(&json!({"schedule": "0 3 * * *", "jitter": "10m", "startingDeadlineSeconds": 10}));
    let delay = jitter("uid", Duration::from_mins(10));
    assert!(delay > Duration::from_secs(1));
    let slot = at("2026-11-22T03:00:00Z");
    let starts = slot + delay;
    let before = Scene { now: starts - Duration::from_secs(1), ..idle(&spread) };
    let plan = decide(&before);
    assert_eq!((plan.start, plan.next_due), (None, Some(starts)));
    let then = Scene { now: starts, ..idle(&spread) };
    assert_eq!(decide(&then).start, Some(Slot::schedule(slot)));
}

#[test]
fn a_token_counts_once() {
    let asked = Scene { token: Some("now"), ..idle(&ON_DEMAND) };
    let plan = decide(&asked);
    assert_eq!(plan.start, Some(Slot::on_demand("now", asked.now)));
    assert_eq!(plan.token.as_deref(), Some("now"));
    let handled = Scene { handled: Some("now"), ..asked };
    assert_eq!(decide(&handled), nothing(None));
    let other = Scene { token: Some("again"), handled: Some("now"), ..idle(&ON_DEMAND) };
    assert!(decide(&other).start.is_some());
}

#[test]
fn a_suspended_audit_starts_nothing_and_lets_what_runs_go_on() {
    let suspended = Scene {
        suspended: true,
        now: at("2026-11-22T03:00:00Z"),
        token: Some("now"),
        revision: Some("r2"),
        changed_at: Some(at("2026-11-21T00:00:00Z")),
        ..idle(&NIGHTLY)
    };
    let plan = decide(&suspended);
    assert_eq!((plan.start, plan.slot, plan.next_due), (None, None, None));
    assert_eq!(plan.token.as_deref(), Some("now"), "it is not acted upon later either");
    assert_eq!(plan.notices, [Notice::Ignored("now".into())]);
    let open = Open { run_id: "r", ..*LEFT };
    let left = Scene { suspended: true, open: Some(open), ..idle(&NIGHTLY) };
    assert_eq!(decide(&left).resume.as_deref(), Some("r"));
    let new = Scene { suspended: true, last: None, last_slot: None, ..idle(&ON_DEMAND) };
    assert_eq!(decide(&new), nothing(None), "also not for the first time");
    let resumed = Scene { suspended: false, ..new };
    assert_eq!(decide(&resumed).start.map(|slot| slot.trigger), Some(Trigger::Created));
}

#[test]
fn a_new_audit_runs_once_its_accounts_are_known() {
    let new = || Scene { last: None, last_slot: None, ..idle(&ON_DEMAND) };
    for (accounts, starts) in [
        (Accounts { found: 3, unobserved: 0, ready: 3 }, true),
        (Accounts { found: 3, unobserved: 0, ready: 1 }, true),
        (Accounts { found: 3, unobserved: 1, ready: 2 }, false),
        (Accounts { found: 3, unobserved: 0, ready: 0 }, false),
        (Accounts::default(), false),
    ] {
        let plan = decide(&Scene { accounts, ..new() });
        let expected = starts.then(|| Slot::created(at("2026-11-14T08:30:00Z")));
        assert_eq!(plan.start, expected, "{accounts:?}");
    }
    let asked = Scene { token: Some("now"), ..new() };
    assert_eq!(decide(&asked).start.map(|slot| slot.trigger), Some(Trigger::OnDemand), "one run, not two");
}

#[test]
fn without_a_policy_or_accounts_nothing_starts_and_nothing_is_used_up() {
    let due = || Scene { now: at("2026-11-22T03:00:00Z"), token: Some("now"), ..idle(&NIGHTLY) };
    for scene in [Scene { revision: None, ..due() }, Scene { accounts: Accounts::default(), ..due() }] {
        let plan = decide(&scene);
        assert_eq!((plan.start, plan.slot, plan.token), (None, None, None));
        assert_eq!(plan.next_due, Some(at("2026-11-23T03:00:00Z")));
    }
    let back = due();
    assert_eq!(decide(&back).token.as_deref(), Some("now"), "what was asked for is done when it can be");
}

#[test]
fn a_changed_policy_runs_when_it_has_settled() {
    let changed = |seconds: i64| Scene {
        revision: Some("r2"),
        changed_at: Some(idle(&ON_DEMAND).now - jiff::SignedDuration::from_secs(seconds)),
        ..idle(&ON_DEMAND)
    };
    let plan = decide(&changed(10));
    assert_eq!((plan.start, plan.wake), (None, Some(at("2026-11-21T12:00:50Z"))));
    let settled = decide(&changed(60)).start.unwrap();
    assert_eq!(settled, Slot::policy_change(LAST.run_id, "r2", at("2026-11-21T12:00:00Z")));
    let later = Slot::policy_change("another run", "r2", at("2026-11-21T12:00:00Z"));
    assert_ne!(settled.key, later.key, "there and back again is another occasion");
    assert_eq!(DEBOUNCE, Duration::from_mins(1));
}

#[test]
fn what_is_due_while_a_run_is_under_way() {
    let replacing = valid(&json!({"schedule": "0 3 * * *", "concurrencyPolicy": "Replace"}));
    assert_eq!((NIGHTLY.concurrency, replacing.concurrency), (Forbid, Replace));
    let open = Some(Open { run_id: "under-way", here: true, ..*LEFT });
    let slot = at("2026-11-22T03:00:00Z");

    let forbid = decide(&Scene { now: slot, open, ..idle(&NIGHTLY) });
    assert_eq!((forbid.start, forbid.stop, forbid.slot), (None, None, Some(slot)));
    assert_eq!(forbid.notices, [Notice::LeftOut(Slot::schedule(slot))]);
    let asked = decide(&Scene { token: Some("now"), open, ..idle(&NIGHTLY) });
    assert_eq!((asked.start, asked.token.as_deref()), (None, Some("now")));

    let replace = decide(&Scene { now: slot, open, ..idle(&replacing) });
    assert_eq!(replace.start, Some(Slot::schedule(slot)));
    assert!(replace.stop.is_some_and(|(run_id, cause)| run_id == "under-way" && cause.contains("schedule")));

    let changed =
        Scene { revision: Some("r2"), changed_at: Some(at("2026-11-21T11:00:00Z")), open, ..idle(&NIGHTLY) };
    let waits = decide(&changed);
    assert_eq!(
        (waits.start, waits.stop, waits.notices),
        (None, None, vec![]),
        "it comes up again afterwards"
    );
}

#[test]
fn a_run_that_is_due_and_under_way_already_is_not_started_again() {
    for concurrency in ["Forbid", "Replace"] {
        let valid = valid(&json!({"concurrencyPolicy": concurrency}));
        let slot = Slot::on_demand("now", idle(&valid).now);
        let open = Some(Open { run_id: "asked-for", slot: &slot, ..*LEFT });
        let plan = decide(&Scene { token: Some("now"), open, ..idle(&valid) });
        assert_eq!((plan.start, plan.stop, plan.notices), (None, None, Vec::new()), "{concurrency}");
        assert_eq!((plan.token.as_deref(), plan.resume.as_deref()), (Some("now"), Some("asked-for")));
    }
}

#[test]
fn a_run_that_was_left_is_resumed_unless_its_policy_changed() {
    let left = |revision| Some(Open { revision, ..*LEFT });
    let resumed = decide(&Scene { open: left("r1"), ..idle(&NIGHTLY) });
    assert_eq!((resumed.resume.as_deref(), resumed.stop), (Some("left"), None));
    let here = Some(Open { here: true, ..*LEFT });
    assert_eq!(decide(&Scene { open: here, ..idle(&NIGHTLY) }).resume, None);
    let other = decide(&Scene { open: left("r0"), ..idle(&NIGHTLY) });
    assert_eq!(other.resume, None);
    assert!(other.stop.is_some_and(|(_, cause)| cause.contains("policy has changed")));
    let none = decide(&Scene { open: left("r1"), revision: None, ..idle(&NIGHTLY) });
    assert_eq!((none.resume, none.stop), (None, None), "it waits for its policy");
}

#[test]
fn a_run_that_was_left_is_begun_anew_when_its_scope_changed() {
    let changed = Scene { open: Some(*LEFT), scope: "s2", ..idle(&NIGHTLY) };
    let plan = decide(&changed);
    assert_eq!(plan.resume, None);
    assert!(plan.stop.is_some_and(|(run, cause)| run == "left" && cause.contains("have changed since")));
    let again = plan.start.unwrap();
    assert_eq!((again.trigger, again.at), (EARLIER.trigger, EARLIER.at), "it is the same occasion");
    assert_ne!(again.key, EARLIER.key, "which is used up");
    assert_eq!((plan.slot, plan.token), (None, None));

    // Claimed, and interrupted again: another change makes another run of it, none does not.
    let second = Open { run_id: "second", slot: &again, scope: "s2", ..*LEFT };
    assert_eq!(decide(&Scene { open: Some(second), ..changed }).resume.as_deref(), Some("second"));
    let changed = Scene { open: Some(*LEFT), scope: "s2", ..idle(&NIGHTLY) };
    let third = decide(&Scene { open: Some(second), scope: "s3", ..changed }).start.unwrap();
    assert_ne!(third.key, again.key);

    let changed = || Scene { open: Some(*LEFT), scope: "s2", ..idle(&NIGHTLY) };
    let here = Some(Open { here: true, ..*LEFT });
    assert_eq!(decide(&Scene { open: here, ..changed() }).stop, None, "it goes on by what it began with");
    let suspended = decide(&Scene { suspended: true, ..changed() });
    assert!(suspended.stop.is_some() && suspended.start.is_none());
    let both = decide(&Scene { revision: Some("r2"), ..changed() });
    assert!(both.stop.is_some() && both.start.is_none(), "the changed policy makes it run");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// However time passes, every slot is acted upon at most once, in order, and never early.
    #[test]
    fn slots_are_used_up_in_order(steps in prop::collection::vec(1_i64..200_000, 1..40), jitter_minutes in 0_u64..30, deadline in prop::option::of(10_i32..50_000)) {
        let spec = json!({"schedule": "15 */6 * * *", "timeZone": "Europe/Paris", "jitter": format!("{jitter_minutes}m"),
                          "startingDeadlineSeconds": deadline});
        let valid = valid(&spec);
        let mut scene = Scene { created_at: at("2026-10-20T00:00:00Z"), now: at("2026-10-20T00:00:00Z"), last_slot: None, ..idle(&valid) };
        for step in steps {
            scene.now += jiff::SignedDuration::from_secs(step);
            let plan = decide(&scene);
            if let Some(slot) = plan.slot {
                prop_assert!(scene.last_slot.is_none_or(|last| last < slot));
                prop_assert!(slot <= scene.now && slot > scene.created_at);
                scene.last_slot = Some(slot);
            }
            prop_assert!(plan.next_due.is_some_and(|next| next > scene.now));
            prop_assert_eq!(decide(&scene).start, None, "once");
        }
    }
}
