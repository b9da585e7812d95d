//! Does what was decided for an audit.

use std::sync::Arc;

use kube::ResourceExt;
use tagwarden_api::audit::{ComplianceAudit, ComplianceAuditStatus};
use tagwarden_app::audit::ports::{Claim, NewRun, RunKey, RunRecord, Runs, RunsError};
use tagwarden_app::audit::{AuditBounds, AuditRequest, cancelled};
use tagwarden_app::ports::Inventory;
use tagwarden_core::policy::Policy;
use tagwarden_core::run::{RunState, Slot};

use super::AuditReconciler;
use super::decide::{Notice, Plan};
use super::dereference::Facts;
use super::doors::NamespaceDoors;
use super::status::{HISTORY, Published};
use super::validate::Valid;
use crate::failure::ObjectError;
use crate::key::Key;
use crate::report;

/// Listings side by side in one region of one account: enough to hide their latency behind one another, few enough
/// that a region takes a handful of connections.
const LISTINGS_PER_REGION: usize = 8;

/// Runs that ended unseen and still get a report; after a long absence the older ones have been overtaken.
const PUBLISHED: usize = 3;

/// What can go wrong with doing it.
#[derive(Debug)]
pub(super) enum Undone {
    Runs(RunsError),
    Objects(ObjectError),
}

impl From<RunsError> for Undone {
    fn from(error: RunsError) -> Self {
        Self::Runs(error)
    }
}

impl From<ObjectError> for Undone {
    fn from(error: ObjectError) -> Self {
        Self::Objects(error)
    }
}

impl<I: Inventory, R: Runs> AuditReconciler<I, R> {
    /// Stops, starts and resumes runs. Gives whether the runs are other ones now.
    pub(super) async fn apply(
        &self,
        audit: &ComplianceAudit,
        valid: &Valid,
        facts: &Facts,
        plan: &Plan,
    ) -> Result<bool, Undone> {
        let key = Key::of(audit);
        for notice in &plan.notices {
            self.tell(audit, notice).await;
        }
        if let Some((run_id, cause)) = &plan.stop {
            self.context.fence.check().map_err(ObjectError::from)?;
            self.runner.drop_run(&key);
            let run = RunKey { tenant: Arc::clone(&key.namespace), run_id: run_id.as_str().into() };
            self.context.runs.stop(&run, &cancelled(cause.clone()), self.context.clock.now()).await?;
        }
        let Ok(policy) = &facts.policy else { return Ok(plan.stop.is_some()) };
        if let Some(slot) = &plan.start {
            let run = self.claim(audit, facts, policy, slot).await?;
            if let Claim::New(run) = run {
                let note =
                    format!("run {} of {} accounts ({})", run.run_id, facts.plan().len(), slot.trigger);
                self.begin(audit, valid, policy, run);
                self.context.events.normal(audit, "ScanStarted", "Run", &note).await;
            }
        } else if let Some(run_id) = &plan.resume
            && self.runner.setback(&key, run_id).is_none_or(|setback| setback.wait().is_none())
        {
            let run = RunKey { tenant: Arc::clone(&key.namespace), run_id: run_id.as_str().into() };
            self.begin(audit, valid, policy, run);
        }
        Ok(plan.stop.is_some() || plan.start.is_some())
    }

    async fn claim(
        &self,
        audit: &ComplianceAudit,
        facts: &Facts,
        policy: &Policy,
        slot: &Slot,
    ) -> Result<Claim, Undone> {
        let run = NewRun {
            tenant: audit.namespace().unwrap_or_default(),
            audit_uid: audit.uid().unwrap_or_default(),
            audit: audit.name_any(),
            slot: slot.clone(),
            policy_name: policy.name().to_string(),
            policy_revision: policy.revision().to_string(),
            scope: super::dereference::scope(audit),
            accounts: facts.plan(),
            now: self.context.clock.now(),
        };
        // The store lets one claim through; this only keeps a replica that does not lead from trying.
        self.context.fence.check().map_err(ObjectError::from)?;
        Ok(self.context.runs.claim(&run).await?)
    }

    /// Works on a run, in a task of its own.
    fn begin(&self, audit: &ComplianceAudit, valid: &Valid, policy: &Arc<Policy>, run: RunKey) {
        let key = Key::of(audit);
        let request = AuditRequest {
            key: run,
            holder: self.context.settings.identity.clone(),
            policy: Arc::clone(policy),
            registry: Arc::clone(&self.context.registry),
            regions: valid.regions.clone(),
            types: valid.types.requested(policy),
            bounds: AuditBounds {
                accounts: valid.accounts_at_once,
                listings_per_region: LISTINGS_PER_REGION,
                silence: self.context.settings.silence,
                timeout: valid.timeout,
                max_resources: valid.max_resources,
            },
        };
        let frame = &self.context.frame;
        let doors = NamespaceDoors { frame: Arc::clone(frame), namespace: Arc::clone(&key.namespace) };
        let means = (Arc::clone(&self.context.cloud), Arc::new(doors), Arc::clone(&self.context.runs));
        self.runner.begin(frame, means, &key, &audit.uid().unwrap_or_default(), request);
    }

    async fn tell(&self, audit: &ComplianceAudit, notice: &Notice) {
        let (reason, note) = match notice {
            Notice::Missed(slot) => (
                "ScheduleMissed",
                format!("the run of {slot} is left out: it is later than startingDeadlineSeconds allows"),
            ),
            Notice::LeftOut(slot) => (
                "RunLeftOut",
                format!(
                    "a run is due ({}), and one is under way: it is left out, as concurrencyPolicy is Forbid",
                    slot.trigger
                ),
            ),
            Notice::Ignored(_) => {
                ("RequestIgnored", "a run was asked for, and the audit is suspended".to_owned())
            }
        };
        self.context.events.warning(audit, reason, "Run", &note).await;
    }

    /// What came of the runs that ended since the status was last written, oldest first.
    pub(super) async fn ended(
        &self,
        audit: &ComplianceAudit,
        before: &ComplianceAuditStatus,
        runs: &[RunRecord],
    ) -> Result<Vec<Published>, Undone> {
        let tenant = Key::of(audit).namespace;
        // A full history has dropped what ended before its oldest line: that was seen, and is not news again.
        let dropped = before.history.get(HISTORY - 1).map(|oldest| oldest.time.0);
        let unseen = |record: &&RunRecord| {
            let old = |dropped| record.finished_at.is_some_and(|finished| finished < dropped);
            record.state.ended()
                && !before.history.iter().any(|line| line.id == record.run_id)
                && !dropped.is_some_and(old)
        };
        let mut ended = Vec::new();
        for record in runs.iter().filter(unseen).take(PUBLISHED) {
            let run = RunKey { tenant: Arc::clone(&tenant), run_id: record.run_id.as_str().into() };
            let outcome = match record.results {
                Some(_) => Some(self.context.runs.outcome(&run).await?),
                None => None,
            };
            ended.push(Published { record: record.clone(), outcome, reported: false });
        }
        ended.reverse();
        Ok(ended)
    }

    /// Makes the reports of runs that ended, tells people, and forgets reports that are too many.
    pub(super) async fn publish(
        &self,
        audit: &ComplianceAudit,
        valid: &Valid,
        status: &ComplianceAuditStatus,
        ended: &mut [Published],
    ) -> Result<(), Undone> {
        let key = Key::of(audit);
        for one in ended.iter_mut() {
            let record = &one.record;
            let run = RunKey { tenant: Arc::clone(&key.namespace), run_id: record.run_id.as_str().into() };
            let worst = match record.state {
                RunState::Succeeded if valid.max_violations > 0 => {
                    self.context.runs.worst(&run, valid.threshold, valid.max_violations).await?
                }
                _ => Vec::new(),
            };
            let now = self.context.clock.now();
            let says = report::status(record, one.outcome.as_ref(), &worst, &status.conditions, now);
            one.reported = report::publish(&self.context, audit, record, &says).await?;
        }
        report::prune(&self.context, audit, valid.successes_kept, valid.failures_kept).await?;
        Ok(())
    }

    /// Tells people how runs ended. After the status was written, so that it is told once.
    pub(super) async fn tell_ended(&self, audit: &ComplianceAudit, ended: &[Published]) {
        let key = Key::of(audit);
        for Published { record, outcome, .. } in ended {
            self.metrics.ended(&key, record.state, record.slot.trigger);
            let events = &self.context.events;
            let cause = record.cause.as_deref().unwrap_or("no cause is known");
            match (record.state, outcome) {
                (RunState::Succeeded, Some(outcome)) => {
                    let note = format!(
                        "run {}: {} violations on {} of {} resources{}",
                        record.run_id,
                        outcome.summary.violations(),
                        outcome.summary.violating,
                        outcome.summary.resources(),
                        if outcome.complete { "" } else { "; not everything could be seen" },
                    );
                    events.normal(audit, "ScanCompleted", "Run", &note).await;
                }
                (RunState::Cancelled, _) => {
                    events
                        .normal(audit, "ScanCancelled", "Run", &format!("run {}: {cause}", record.run_id))
                        .await;
                }
                _ => {
                    events
                        .warning(audit, "ScanFailed", "Run", &format!("run {}: {cause}", record.run_id))
                        .await;
                }
            }
        }
    }
}
