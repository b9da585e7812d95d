//! What is to be done for an audit: which occasion has come, and what becomes of the run under way.
//!
//! Pure: time and everything else comes in. An occasion that was chosen here is still claimed in the store, which
//! lets one claim through; so a decision that is made twice has one effect.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tagwarden_api::audit::ConcurrencyPolicy;
use tagwarden_core::run::{Slot, jitter};

use super::validate::Valid;

/// How long a policy has to stay as it is before a change of it makes its audits run: edits come in bursts.
pub(super) const DEBOUNCE: Duration = Duration::from_mins(1);

/// Everything that a decision depends on.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) now: Timestamp,
    pub(super) uid: &'a str,
    pub(super) created_at: Timestamp,
    pub(super) suspended: bool,
    pub(super) valid: &'a Valid,
    /// The token of the annotation that asks for a run.
    pub(super) token: Option<&'a str>,
    /// The token that was acted upon last.
    pub(super) handled: Option<&'a str>,
    /// The slot of the schedule that was run or left out last.
    pub(super) last_slot: Option<Timestamp>,
    /// The newest run: its id, and the revision of its policy. None: there never was one.
    pub(super) last: Option<Last<'a>>,
    /// The run under way.
    pub(super) open: Option<Open<'a>>,
    /// The digest of what is asked for now.
    pub(super) scope: &'a str,
    /// The revision in force; none: there is no policy to judge by.
    pub(super) revision: Option<&'a str>,
    /// Since when the revision in force is another one than that of the newest run.
    pub(super) changed_at: Option<Timestamp>,
    pub(super) accounts: Accounts,
}

/// The newest run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last<'a> {
    pub(super) run_id: &'a str,
    pub(super) revision: &'a str,
}

/// A run that has not ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open<'a> {
    pub(super) run_id: &'a str,
    /// The occasion that it is for.
    pub(super) slot: &'a Slot,
    pub(super) revision: &'a str,
    /// The digest of what was asked for when it began.
    pub(super) scope: &'a str,
    /// Whether this process works on it.
    pub(super) here: bool,
}

/// The accounts that the audit selects, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    /// That are there.
    pub(super) found: usize,
    /// That nobody has looked at yet.
    pub(super) unobserved: usize,
    /// That can be entered as far as is known.
    pub(super) ready: usize,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// End this run, for this reason.
    pub(super) stop: Option<(String, String)>,
    /// Go on with this run.
    pub(super) resume: Option<String>,
    /// Begin a run.
    pub(super) start: Option<Slot>,
    /// The slot of the schedule that is run or left out now.
    pub(super) slot: Option<Timestamp>,
    /// The token that is acted upon now.
    pub(super) token: Option<String>,
    /// What people should hear.
    pub(super) notices: Vec<Notice>,
    /// When the schedule is due next, jitter included.
    pub(super) next_due: Option<Timestamp>,
    /// When to look again.
    pub(super) wake: Option<Timestamp>,
}

/// Something that does not happen though somebody may expect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Too late to make up for it.
    Missed(Timestamp),
    /// Another run is under way.
    LeftOut(Slot),
    /// The audit is suspended.
    Ignored(String),
}

/// What is to be done in this scene.
pub(super) fn decide(scene: &Scene<'_>) -> Plan {
    let mut plan = Plan::default();
    let due = if scene.suspended {
        plan.token = new_token(scene).map(str::to_owned);
        plan.notices.extend(plan.token.clone().map(Notice::Ignored));
        None
    } else {
        let scheduled = scheduled(scene, &mut plan);
        let able = scene.revision.is_some() && scene.accounts.found > 0;
        if able { requested(scene).or(scheduled).or_else(|| unprompted(scene, &mut plan)) } else { None }
    };
    match (scene.open, due) {
        (None, Some(slot)) => start(&mut plan, scene, slot),
        (None, None) => {}
        (Some(open), None) => go_on(&mut plan, scene, open),
        // It was claimed, and the status could not be written: the run is the one that is due.
        (Some(open), Some(slot)) if open.slot.key == slot.key => {
            consume(&mut plan, scene, &slot);
            go_on(&mut plan, scene, open);
        }
        (Some(open), Some(slot)) => match scene.valid.concurrency {
            ConcurrencyPolicy::Forbid => {
                consume(&mut plan, scene, &slot);
                plan.notices.push(Notice::LeftOut(slot));
                go_on(&mut plan, scene, open);
            }
            ConcurrencyPolicy::Replace => {
                plan.stop = Some((
                    open.run_id.to_owned(),
                    format!("replaced, as another run is due ({})", slot.trigger),
                ));
                start(&mut plan, scene, slot);
            }
        },
    }
    plan
}

fn start(plan: &mut Plan, scene: &Scene<'_>, slot: Slot) {
    consume(plan, scene, &slot);
    plan.start = Some(slot);
}

/// What the occasion uses up.
fn consume(plan: &mut Plan, scene: &Scene<'_>, slot: &Slot) {
    use tagwarden_core::run::Trigger::{Created, OnDemand, PolicyChange, Schedule};
    match slot.trigger {
        Schedule => plan.slot = Some(slot.at),
        OnDemand => plan.token = scene.token.map(str::to_owned),
        Created | PolicyChange => {}
    }
}

/// A run under way goes on, here or after whoever left it; unless it would be judged by two policies, or look at one
/// half of its accounts in one way and at the rest in another. A changed policy makes its audits run anyway; for a
/// changed scope the occasion is run once more.
fn go_on(plan: &mut Plan, scene: &Scene<'_>, open: Open<'_>) {
    if open.here {
        return;
    }
    match scene.revision {
        None => {}
        Some(revision) if revision != open.revision => {
            let cause = "interrupted, and its policy has changed since".to_owned();
            plan.stop = Some((open.run_id.to_owned(), cause));
        }
        Some(_) if scene.scope != open.scope => {
            let cause =
                "interrupted, and the accounts, regions or types asked for have changed since".to_owned();
            plan.stop = Some((open.run_id.to_owned(), cause));
            if !scene.suspended && scene.accounts.found > 0 {
                plan.start = Some(open.slot.again(open.run_id));
            }
        }
        Some(_) => plan.resume = Some(open.run_id.to_owned()),
    }
}

fn new_token<'a>(scene: &Scene<'a>) -> Option<&'a str> {
    scene.token.filter(|token| scene.handled != Some(token))
}

fn requested(scene: &Scene<'_>) -> Option<Slot> {
    new_token(scene).map(|token| Slot::on_demand(token, scene.now))
}

/// The newest slot of the schedule that has come and was not acted upon. Of several only the newest counts.
fn scheduled(scene: &Scene<'_>, plan: &mut Plan) -> Option<Slot> {
    let schedule = scene.valid.schedule.as_ref()?;
    let delay = SignedDuration::try_from(jitter(scene.uid, scene.valid.jitter)).ok()?;
    let reached = scene.now.checked_sub(delay).ok()?;
    if let Some(next) = schedule.next_after(reached).and_then(|slot| slot.checked_add(delay).ok()) {
        plan.next_due = Some(next);
        wake(plan, next);
    }
    let slot = schedule.latest_at_or_before(reached)?;
    let since = scene.last_slot.map_or(scene.created_at, |last| last.max(scene.created_at));
    if slot <= since {
        return None;
    }
    let late = reached.duration_since(slot);
    let too_late = scene.valid.deadline.is_some_and(|deadline| late.unsigned_abs() > deadline);
    if too_late {
        plan.slot = Some(slot);
        plan.notices.push(Notice::Missed(slot));
        return None;
    }
    Some(Slot::schedule(slot))
}

/// The occasions that come without anybody having named a time.
fn unprompted(scene: &Scene<'_>, plan: &mut Plan) -> Option<Slot> {
    let Some(last) = scene.last else { return first(scene, plan) };
    let revision = scene.revision.filter(|revision| *revision != last.revision)?;
    let settled = scene.changed_at?.checked_add(DEBOUNCE).ok()?;
    if scene.now < settled {
        wake(plan, settled);
        return None;
    }
    // It waits for the run under way, and comes up again when that has ended.
    let waits = scene.open.is_some() && scene.valid.concurrency == ConcurrencyPolicy::Forbid;
    (!waits).then(|| Slot::policy_change(last.run_id, revision, scene.now))
}

/// The first run waits until its accounts have been looked at, and one of them can be entered: people apply
/// everything at once.
fn first(scene: &Scene<'_>, plan: &mut Plan) -> Option<Slot> {
    let delay = SignedDuration::try_from(jitter(scene.uid, scene.valid.jitter)).ok()?;
    let begins = scene.created_at.checked_add(delay).ok()?;
    if scene.now < begins {
        wake(plan, begins);
        return None;
    }
    let prepared = scene.accounts.unobserved == 0 && scene.accounts.ready > 0;
    prepared.then(|| Slot::created(scene.created_at))
}

fn wake(plan: &mut Plan, at: Timestamp) {
    plan.wake = Some(plan.wake.map_or(at, |before| before.min(at)));
}
