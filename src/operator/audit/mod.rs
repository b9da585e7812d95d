//! `ComplianceAudit`: runs when it is due, once for each occasion, and says what came of it.
//!
//! The store is the truth about runs; the status repeats it. Runs take hours and live in tasks of their own, which
//! make their audit due when something has changed.

mod apply;
mod decide;
mod dereference;
pub(crate) mod doors;
mod metrics;
mod runner;
pub(crate) mod status;
mod sweep;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tagwarden_api::REQUESTED_AT;
use tagwarden_api::audit::{ComplianceAudit, ComplianceAuditStatus};
use tagwarden_app::audit::cancelled;
use tagwarden_app::audit::ports::{RunKey, Runs, RunsError};
use tagwarden_app::ports::Inventory;
use tagwarden_core::run::Trigger;

use crate::conditions::bounded;
use crate::context::Context;
use crate::controller::Reconciler;
use crate::failure::{Next, ObjectError};
use crate::key::Key;
use crate::lease::Term;
use crate::queue::Queue;
use apply::Undone;
use decide::{Last, Open, Plan, Scene};
use dereference::{Facts, Unknown, dereference, recent};
use runner::{Runner, Setback, Underway};
use status::{Obstacle, Published, View};
use validate::{Invalid, Valid, validate};

pub use metrics::AuditMetrics;

/// An audit is looked at this often, whatever its schedule says: clocks are set, and machines sleep.
const AT_LEAST_EVERY: Duration = Duration::from_mins(10);

/// How soon to look again when the store does not work.
const STORE_AGAIN: Duration = Duration::from_secs(15);

/// Why a run is ended whose audit is gone.
const DELETED: &str = "its audit was deleted";

/// Characters of a token that asks for a run.
const TOKEN_CHARS: usize = 256;

/// What is wrong with an audit, for people; nothing where it makes sense.
pub(crate) fn check(
    spec: &tagwarden_api::audit::ComplianceAuditSpec,
    registry: &tagwarden_core::registry::Registry,
) -> Result<(), String> {
    validate(spec, registry).map(drop).map_err(|invalid| invalid.message)
}

/// Reconciles audits.
#[derive(Debug)]
pub struct AuditReconciler<I, R> {
    context: Context<I, R>,
    runner: Runner,
    metrics: AuditMetrics,
}

impl<I: Inventory, R: Runs> AuditReconciler<I, R> {
    /// A reconciler that uses this context, and makes audits due through this queue.
    pub fn new(context: Context<I, R>, queue: Arc<Queue>) -> Self {
        let metrics = context.audit_metrics.clone();
        Self { context, runner: Runner::new(queue), metrics }
    }

    /// What there is to do, and what is known afterwards.
    async fn work(&self, audit: &ComplianceAudit, valid: &Valid, now: Timestamp) -> Result<Work, Undone> {
        let (key, uid) = (Key::of(audit), audit.uid().unwrap_or_default());
        let before = audit.status.clone().unwrap_or_default();
        let mut facts = match dereference(&self.context, &*self.context.runs, audit).await {
            Ok(facts) => facts,
            Err(Unknown::Runs(error)) => return Err(error.into()),
            Err(Unknown::Policy(error)) => return Err(error.into()),
        };
        let underway = self.runner.underway(&key, &uid);
        let plan = self.plan(audit, &before, valid, &facts, underway.as_ref(), now);
        if self.apply(audit, valid, &facts, &plan).await? {
            facts.runs = recent(&*self.context.runs, audit).await?;
        }
        let ended = self.ended(audit, &before, &facts.runs).await?;
        let open = facts.runs.iter().find(|record| !record.state.ended());
        let setback = open.and_then(|open| self.runner.setback(&key, &open.run_id));
        let events_refused = self.context.events.are_refused(&key.namespace);
        let underway = self.runner.underway(&key, &uid);
        Ok(Work { facts, plan, ended, underway, setback, events_refused })
    }

    fn plan(
        &self,
        audit: &ComplianceAudit,
        before: &ComplianceAuditStatus,
        valid: &Valid,
        facts: &Facts,
        underway: Option<&Underway>,
        now: Timestamp,
    ) -> Plan {
        let token = token(audit);
        let revision = facts.policy.as_ref().ok().map(|policy| policy.revision().to_string());
        let newest = facts.runs.first();
        let changed = revision.as_deref().filter(|revision| {
            let last = newest.map(|record| record.policy_revision.as_str()).or_else(|| last_revision(before));
            last.is_some_and(|last| last != *revision)
        });
        let known_slots = facts.runs.iter().filter(|record| record.slot.trigger == Trigger::Schedule);
        let known_slot = known_slots.map(|record| record.slot.at).max();
        let told_slot = before.last_schedule_time.as_ref().map(|time| time.0);
        decide::decide(&Scene {
            now,
            uid: &audit.uid().unwrap_or_default(),
            created_at: audit.creation_timestamp().map_or(now, |time| time.0),
            suspended: audit.spec.suspend,
            valid,
            token: token.as_deref(),
            handled: before.last_handled_reconcile_at.as_deref(),
            last_slot: known_slot.max(told_slot),
            last: newest
                .map(|record| Last { run_id: &record.run_id, revision: &record.policy_revision })
                .or_else(|| remembered(before)),
            scope: &dereference::scope(audit).digest(),
            open: facts.runs.iter().find(|record| !record.state.ended()).map(|record| Open {
                run_id: &record.run_id,
                slot: &record.slot,
                revision: &record.policy_revision,
                scope: &record.scope_digest,
                here: underway.is_some_and(|underway| underway.run_id == record.run_id),
            }),
            revision: revision.as_deref(),
            changed_at: self.runner.changed_at(&Key::of(audit), changed, now),
            accounts: facts.in_numbers(),
        })
    }

    async fn reconcile_valid(&self, audit: &ComplianceAudit, valid: &Valid) -> Result<Next, ObjectError> {
        let now = self.context.clock.now();
        let mut work = match self.work(audit, valid, now).await {
            Ok(work) => work,
            Err(Undone::Objects(error)) => return self.without_objects(audit, valid, error).await,
            Err(Undone::Runs(error)) => return self.without_store(audit, valid, &error).await,
        };
        let before = audit.status.clone().unwrap_or_default();
        if !work.ended.is_empty() || before.observed_generation != audit.metadata.generation {
            let status = work.status(audit, valid, &before, now);
            match self.publish(audit, valid, &status, &mut work.ended).await {
                Ok(()) => {}
                Err(Undone::Objects(error)) => return self.without_objects(audit, valid, error).await,
                Err(Undone::Runs(error)) => return self.without_store(audit, valid, &error).await,
            }
        }
        let status = work.status(audit, valid, &before, now);
        self.write(audit, &status).await?;
        self.tell_ended(audit, &work.ended).await;
        let resumed = work.setback.and_then(|setback| setback.wait());
        Ok(Next::After(until(now, work.plan.wake).min(resumed.unwrap_or(AT_LEAST_EVERY))))
    }

    /// Objects could not be read or written. Where that takes somebody who grants it, the status says so, and
    /// everything else in it stays.
    async fn without_objects(
        &self,
        audit: &ComplianceAudit,
        valid: &Valid,
        error: ObjectError,
    ) -> Result<Next, ObjectError> {
        if let Some(message) = error.forbidden() {
            let before = audit.status.clone().unwrap_or_default();
            let obstacle = Obstacle::Forbidden(message);
            let status = self.blocked(audit, &before, valid.compliant_when.as_ref(), obstacle);
            self.write(audit, &status).await?;
        }
        Err(error)
    }

    /// The store does not work: the status says so, and everything else in it stays.
    async fn without_store(
        &self,
        audit: &ComplianceAudit,
        valid: &Valid,
        error: &RunsError,
    ) -> Result<Next, ObjectError> {
        tracing::warn!(%error, "the store does not work, and is asked again");
        let before = audit.status.clone().unwrap_or_default();
        let obstacle = Obstacle::Store(error.to_string());
        let status = self.blocked(audit, &before, valid.compliant_when.as_ref(), obstacle);
        self.write(audit, &status).await?;
        Ok(Next::After(STORE_AGAIN))
    }

    async fn reconcile_invalid(
        &self,
        audit: &ComplianceAudit,
        invalid: Invalid,
    ) -> Result<Next, ObjectError> {
        let mut before = audit.status.clone().unwrap_or_default();
        before.next_schedule_time = None;
        let obstacle = Obstacle::Invalid { reason: invalid.reason, message: invalid.message.clone() };
        let status = self.blocked(audit, &before, audit.spec.compliant_when.as_ref(), obstacle);
        if self.write(audit, &status).await? {
            self.context.events.warning(audit, invalid.reason, "Validate", &invalid.message).await;
        }
        Ok(Next::OnChange)
    }

    /// The status of an audit of which nothing new is known.
    fn blocked(
        &self,
        audit: &ComplianceAudit,
        before: &ComplianceAuditStatus,
        compliant_when: Option<&tagwarden_api::audit::CompliantWhen>,
        obstacle: Obstacle,
    ) -> ComplianceAuditStatus {
        let status = status::status(&View {
            now: self.context.clock.now(),
            generation: generation(audit),
            before,
            suspended: audit.spec.suspend,
            events_refused: self.context.events.are_refused(&Key::of(audit).namespace),
            compliant_when,
            obstacle: Some(obstacle),
            accounts: decide::Accounts::default(),
            key: &Key::of(audit),
            standings: &BTreeMap::new(),
            runs: &[],
            underway: None,
            setback: None,
            ended: &[],
            token: None,
            slot: None,
            next_due: before.next_schedule_time.as_ref().map(|time| time.0),
        });
        ComplianceAuditStatus { run: before.run.clone(), ..status }
    }

    async fn write(
        &self,
        audit: &ComplianceAudit,
        status: &ComplianceAuditStatus,
    ) -> Result<bool, ObjectError> {
        let key = Key::of(audit);
        self.metrics.show(&key, status);
        self.context.metrics.conditions("ComplianceAudit", &key, &status.conditions);
        self.context.writer.status(&self.context.audits, audit, audit.status.as_ref(), status).await
    }
}

/// What a reconcile has to do with.
struct Work {
    facts: Facts,
    plan: Plan,
    ended: Vec<Published>,
    underway: Option<Underway>,
    setback: Option<Setback>,
    events_refused: Option<bool>,
}

impl Work {
    /// What the status should say.
    fn status(
        &self,
        audit: &ComplianceAudit,
        valid: &Valid,
        before: &ComplianceAuditStatus,
        now: Timestamp,
    ) -> ComplianceAuditStatus {
        status::status(&View {
            now,
            generation: generation(audit),
            before,
            suspended: audit.spec.suspend,
            events_refused: self.events_refused,
            compliant_when: valid.compliant_when.as_ref(),
            obstacle: obstacle(audit, &self.facts),
            accounts: self.facts.in_numbers(),
            key: &Key::of(audit),
            standings: &self.facts.standings(),
            runs: &self.facts.runs,
            underway: self.underway.as_ref(),
            setback: self.setback.as_ref().filter(|_| self.underway.is_none()),
            ended: &self.ended,
            token: self.plan.token.clone(),
            slot: self.plan.slot,
            next_due: self.plan.next_due,
        })
    }
}

impl<I: Inventory, R: Runs> Reconciler for AuditReconciler<I, R> {
    type Object = ComplianceAudit;
    type Error = ObjectError;

    const CONTROLLER: &'static str = "complianceaudit";

    async fn reconcile(&self, audit: Arc<ComplianceAudit>) -> Result<Next, ObjectError> {
        if audit.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let key = Key::of(&*audit);
        if let Some(another) = self.runner.meet(&key, &audit.uid().unwrap_or_default()) {
            self.end_runs(&key, another);
        }
        match validate(&audit.spec, &self.context.registry) {
            Ok(valid) => self.reconcile_valid(&audit, &valid).await,
            Err(invalid) => self.reconcile_invalid(&audit, invalid).await,
        }
    }

    fn forget(&self, key: &Key) {
        self.metrics.forget(key);
        self.context.metrics.forget("ComplianceAudit", key);
        if let Some(uid) = self.runner.forget(key) {
            self.end_runs(key, uid);
        }
    }

    /// Runs of audits that were deleted while nobody looked are ended.
    fn leading(&self, term: &Term) {
        sweep::start(&self.context.frame, &self.context.runs, term.clone());
    }
}

impl<I: Inventory, R: Runs> AuditReconciler<I, R> {
    /// Ends the runs of an audit that is gone, in the background: deleting waits for nobody.
    fn end_runs(&self, key: &Key, uid: String) {
        let (runs, key, now) = (Arc::clone(&self.context.runs), key.clone(), self.context.clock.now());
        self.context.beside.spawn(async move {
            let Ok(known) = runs.recent(&key.namespace, &uid, dereference::RUNS).await else { return };
            for record in known.iter().filter(|record| !record.state.ended()) {
                let run =
                    RunKey { tenant: Arc::clone(&key.namespace), run_id: record.run_id.as_str().into() };
                if let Err(error) = runs.stop(&run, &cancelled(DELETED.into()), now).await {
                    tracing::warn!(%key, run_id = record.run_id, %error, "the run of a deleted audit was not ended");
                }
            }
        });
    }
}

/// What keeps an audit from running, if anything does.
fn obstacle(audit: &ComplianceAudit, facts: &Facts) -> Option<Obstacle> {
    if let Err(message) = &facts.policy {
        return Some(Obstacle::Policy(message.clone()));
    }
    if !facts.accounts.is_empty() {
        return None;
    }
    let namespace = audit.namespace().unwrap_or_default();
    let message = match &facts.missing[..] {
        [] if audit.spec.accounts.selector.is_some() => {
            format!(
                "spec.accounts.selector matches no ClientAccount in namespace {namespace}: label one, or correct the selector"
            )
        }
        [] => format!("there is no ClientAccount in namespace {namespace}: create one"),
        [first, others @ ..] => {
            let more =
                if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            format!(
                "there is no ClientAccount {namespace}/{first}{more}: create it, or correct spec.accounts.names"
            )
        }
    };
    Some(Obstacle::NoAccounts(message))
}

fn token(audit: &ComplianceAudit) -> Option<String> {
    let token = audit.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    (!token.is_empty()).then(|| bounded(token, TOKEN_CHARS))
}

fn generation(audit: &ComplianceAudit) -> i64 {
    audit.metadata.generation.unwrap_or_default()
}

/// The newest run, as far as the status knows, where the store has forgotten it.
fn remembered(before: &ComplianceAuditStatus) -> Option<Last<'_>> {
    let line = before.history.first()?;
    Some(Last { run_id: &line.id, revision: last_revision(before).unwrap_or_default() })
}

fn last_revision(before: &ComplianceAuditStatus) -> Option<&str> {
    before.policy.as_ref().map(|policy| policy.revision.as_str())
}

/// How long to wait for this time, and a bit, so that it has come then.
fn until(now: Timestamp, wake: Option<Timestamp>) -> Duration {
    let wait = wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
    wait.map_or(AT_LEAST_EVERY, |wait| wait.saturating_add(Duration::from_millis(20)).min(AT_LEAST_EVERY))
}
