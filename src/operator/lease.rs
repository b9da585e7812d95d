//! Who of several replicas works: the one that holds a Lease.
//!
//! Nobody's clock is compared with anybody else's. A contender takes a lease over when it has seen no renewal for
//! the whole lease duration by its own monotonic clock; the holder stops working when its own last renewal is older
//! than the renew deadline, which is shorter. So the old one has stopped before the new one starts, however wrong
//! the wall clocks are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::metrics::Metrics;

/// Looks at a lease in one attempt to renew it: somebody may have written to it in between without taking it.
const LOOKS: u32 = 3;

/// Longer durations in somebody else's lease are not believed.
const DURATION_MAX: Duration = Duration::from_mins(10);

/// How patient the replicas are with each other.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a lease is good for after its last renewal was seen.
    pub duration: Duration,
    /// How long its holder goes on working without having renewed it. Shorter than `duration`.
    pub renew_deadline: Duration,
    /// How often it is renewed, or looked at.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Another replica works, or none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead any more, so it leaves the object to the one that does")]
pub struct NotLeading;

/// A time of leading, from taking the lease to losing it.
#[derive(Debug, Clone)]
pub struct Term {
    /// Leading is over when this time has come, unless the lease is renewed before. `None`: it never is.
    until: Option<Instant>,
    over: CancellationToken,
}

impl Term {
    /// Cancelled when this term is over.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    fn holds(&self, now: Instant) -> bool {
        !self.over.is_cancelled() && self.until.is_none_or(|until| now < until)
    }
}

/// Tells whether this replica leads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fence {
    term: Arc<watch::Sender<Option<Term>>>,
}

impl Fence {
    /// The fence of a replica that does not lead yet.
    pub fn closed() -> Self {
        Self { term: Arc::new(watch::Sender::new(None)) }
    }

    /// The fence of a process that has no rival.
    pub fn open() -> Self {
        let term = Term { until: None, over: CancellationToken::new() };
        Self { term: Arc::new(watch::Sender::new(Some(term))) }
    }

    /// Whether this replica leads at this moment. To be asked before everything that others would see.
    pub fn check(&self) -> Result<(), NotLeading> {
        match &*self.term.borrow() {
            Some(term) if term.holds(Instant::now()) => Ok(()),
            _ => Err(NotLeading),
        }
    }

    /// Waits until this replica leads.
    pub async fn leading(&self) -> Term {
        let mut terms = self.term.subscribe();
        loop {
            let current = terms.borrow_and_update().clone().filter(|term| term.holds(Instant::now()));
            if let Some(term) = current {
                return term;
            }
            // The sender lives as long as `self`.
            if terms.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Leads until then, by a lease that was taken or renewed.
    pub(crate) fn lead(&self, until: Instant) {
        self.term.send_modify(|term| match term {
            Some(term) if !term.over.is_cancelled() => term.until = Some(until),
            _ => *term = Some(Term { until: Some(until), over: CancellationToken::new() }),
        });
    }

    /// Leads no more.
    fn close(&self) {
        self.term.send_modify(|term| {
            if let Some(term) = term.take() {
                term.over.cancel();
            }
        });
    }
}

/// A contender for a lease.
#[derive(Debug)]
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    fence: Fence,
    metrics: Metrics,
}

/// What a contender has seen of a lease.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// Changes with every renewal.
    version: (Option<String>, Option<MicroTime>, Option<i32>),
    /// Since when it has not changed, by the monotonic clock of this process.
    since: Instant,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is none: make it.
    Create,
    /// It is ours: renew it.
    Renew,
    /// It was released, or its holder has gone silent: take it.
    Take,
    /// It is somebody else's.
    Wait,
}

/// What to do about a lease that has not changed for so long.
fn decide(lease: Option<&LeaseSpec>, identity: &str, silent: Duration, own: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    match lease.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) => {
            let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let duration =
                seconds.map_or(own, Duration::from_secs).clamp(Duration::from_secs(1), DURATION_MAX);
            if silent >= duration { Step::Take } else { Step::Wait }
        }
    }
}

/// What was seen before, or the lease as it is seen now for the first time.
fn look(before: Option<Seen>, lease: &LeaseSpec, now: Instant) -> Seen {
    let version = (lease.holder_identity.clone(), lease.renew_time.clone(), lease.lease_transitions);
    match before {
        Some(before) if before.version == version => before,
        _ => Seen { version, since: now },
    }
}

impl Elector {
    /// A contender. `identity` is unlike that of any other replica, also of an earlier one of the same name.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        timing: Timing,
        fence: Fence,
        metrics: Metrics,
    ) -> Self {
        let leases = Api::namespaced(client, namespace);
        metrics.leading(name, false);
        Self { leases, name: name.to_owned(), identity: identity.to_owned(), timing, fence, metrics }
    }

    /// Contends and, whenever it has won, renews; until `release` is cancelled, upon which it lets go of the lease.
    pub async fn run(self, release: CancellationToken) {
        let mut seen = None;
        let mut led_until: Option<Instant> = None;
        while !release.is_cancelled() {
            let started = Instant::now();
            match tokio::time::timeout(self.timing.renew_deadline / 2, self.attempt(&mut seen, started)).await
            {
                Ok(Ok(true)) => {
                    if led_until.is_none() {
                        tracing::info!(lease = %self.name, identity = %self.identity, "leading");
                    }
                    // Counted from before the request: others may have seen the renewal as early as that.
                    let until = started + self.timing.renew_deadline;
                    led_until = Some(until);
                    self.metrics.leading(&self.name, true);
                    self.fence.lead(until);
                }
                Ok(Ok(false)) if led_until.is_some() => {
                    tracing::warn!(lease = %self.name, "somebody else has taken the lease");
                    led_until = None;
                    self.close();
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(lease = %self.name, %error, "the lease could not be renewed");
                }
                Err(_) => tracing::warn!(lease = %self.name, "the lease could not be renewed in time"),
            }
            let wake = match led_until {
                Some(until) if until <= Instant::now() => {
                    tracing::warn!(lease = %self.name, "not leading any more: the lease could not be renewed");
                    led_until = None;
                    self.close();
                    self.timing.retry
                }
                Some(until) => self.timing.retry.min(until.saturating_duration_since(Instant::now())),
                None => self.timing.retry,
            };
            let _ = tokio::time::timeout(wake, release.cancelled()).await;
        }
        self.close();
        if led_until.is_some() {
            self.release().await;
        }
    }

    fn close(&self) {
        self.fence.close();
        self.metrics.leading(&self.name, false);
    }

    /// Looks at the lease and does what is to be done. Whether this replica holds it now; an error leaves that open.
    async fn attempt(&self, seen: &mut Option<Seen>, now: Instant) -> Result<bool, kube::Error> {
        let mut looks = 1;
        loop {
            match self.step(seen, now).await {
                // It was written to since it was read, which does not mean that it was taken.
                Err(error) if looks < LOOKS && is_conflict(&error) => looks += 1,
                result => return result,
            }
        }
    }

    async fn step(&self, seen: &mut Option<Seen>, now: Instant) -> Result<bool, kube::Error> {
        let lease = self.leases.get_opt(&self.name).await?;
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        *seen = spec.as_ref().map(|spec| look(seen.take(), spec, now));
        let silent = seen.as_ref().map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen.since));
        let step = decide(spec.as_ref(), &self.identity, silent, self.timing.duration);
        let written = match (step, lease) {
            (Step::Wait, _) => return Ok(false),
            (Step::Create, _) | (_, None) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(self.held(None)) };
                self.leases.create(&parameters(), &lease).await
            }
            // With the version that was read: of two contenders, one is refused.
            (Step::Renew | Step::Take, Some(lease)) => {
                let lease = Lease { spec: Some(self.held(spec)), ..lease };
                self.leases.replace(&self.name, &parameters(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Of several who wanted to take it, another one was quicker.
            Err(error) if step != Step::Renew && is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lease as it looks when this replica holds it.
    fn held(&self, before: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let before = before.unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
            holder_identity: Some(self.identity.clone()),
            // Rounded up: others may wait longer than this replica works, never less.
            lease_duration_seconds: i32::try_from(self.timing.duration.as_millis().div_ceil(1000).max(1))
                .ok(),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Lets the next one take the lease at once.
    async fn release(&self) {
        let released = tokio::time::timeout(self.timing.retry, async {
            let Some(lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            // Some API servers refuse an empty holder together with a duration of zero: one second is as good.
            let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
            let lease = Lease { spec: Some(spec), ..lease };
            self.leases.replace(&self.name, &parameters(), &lease).await.map(drop)
        });
        match released.await {
            Ok(Ok(())) => tracing::info!(lease = %self.name, "lease released"),
            Ok(Err(error)) => tracing::warn!(lease = %self.name, %error, "the lease could not be released"),
            Err(_) => tracing::warn!(lease = %self.name, "the lease could not be released in time"),
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Duration = Duration::from_secs(15);

    fn lease(holder: Option<&str>, seconds: Option<i32>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn who_takes_a_lease() {
        let table = [
            (None, 0, Step::Create),
            (Some(lease(None, Some(15))), 0, Step::Take),
            (Some(lease(Some(""), Some(15))), 0, Step::Take),
            (Some(lease(Some("me"), Some(15))), 0, Step::Renew),
            (Some(lease(Some("me"), Some(15))), 100, Step::Renew),
            (Some(lease(Some("other"), Some(15))), 14, Step::Wait),
            (Some(lease(Some("other"), Some(15))), 15, Step::Take),
            (Some(lease(Some("other"), None)), 14, Step::Wait),
            (Some(lease(Some("other"), None)), 15, Step::Take),
            (Some(lease(Some("other"), Some(-1))), 15, Step::Take),
            (Some(lease(Some("other"), Some(0))), 0, Step::Wait),
            (Some(lease(Some("other"), Some(i32::MAX))), 599, Step::Wait),
            (Some(lease(Some("other"), Some(i32::MAX))), 600, Step::Take),
        ];
        for (spec, silent, step) in table {
            assert_eq!(
                decide(spec.as_ref(), "me", Duration::from_secs(silent), OWN),
                step,
                "{spec:?} {silent}"
            );
        }
    }

    #[test]
    fn a_renewal_starts_the_wait_anew_whatever_the_wall_clock_says() {
        let start = Instant::now();
        let at = |second: i64| Some(MicroTime(Timestamp::from_second(second).unwrap()));
        let first = LeaseSpec { renew_time: at(1_000_000), ..lease(Some("other"), Some(15)) };
        let seen = look(None, &first, start);
        let seen = look(Some(seen), &first, start + OWN);
        assert_eq!(seen.since, start);
        // Renewed by a clock that runs ten days behind.
        let renewed = LeaseSpec { renew_time: at(136_000), ..first };
        let seen = look(Some(seen), &renewed, start + OWN);
        assert_eq!(seen.since, start + OWN);
    }

    #[test]
    fn a_fence_opens_and_closes_with_its_term() {
        let fence = Fence::closed();
        assert_eq!(fence.check(), Err(NotLeading));
        fence.lead(Instant::now() + OWN);
        assert_eq!(fence.check(), Ok(()));
        let over = fence.term.borrow().as_ref().map(|term| term.over.clone()).unwrap();
        fence.lead(Instant::now() + OWN);
        assert!(!over.is_cancelled(), "a renewal is the same term");
        fence.close();
        assert!(over.is_cancelled());
        assert_eq!(fence.check(), Err(NotLeading));
        fence.lead(Instant::now());
        assert_eq!(fence.check(), Err(NotLeading), "a renewal that is too old opens nothing");
        assert_eq!(Fence::open().check(), Ok(()));
    }

    fn stored(holder: &str) -> (u16, serde_json::Value) {
        let spec =
            serde_json::json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0});
        let metadata = serde_json::json!({"name": "tagwarden", "namespace": "a", "resourceVersion": "1"});
        (
            200,
            serde_json::json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}),
        )
    }

    #[tokio::test]
    async fn a_conflict_is_not_the_loss_of_a_lease() {
        let conflict = || crate::scripted::refused(409, "Conflict", "the object has been modified");
        let table = [
            (vec![stored("me"), conflict(), stored("me"), stored("me")], Some(true)),
            (vec![stored("me"), conflict(), stored("other")], Some(false)),
            // Somebody writes to it all the time: tried again until the renew deadline.
            (vec![stored("me"), conflict(), stored("me"), conflict(), stored("me"), conflict()], None),
            (vec![stored(""), conflict()], Some(false)),
        ];
        for (answers, holds) in table {
            let said = format!("{answers:?}");
            let asked = answers.len();
            let (client, seen) = crate::scripted::client(answers);
            let metrics = Metrics::new().unwrap();
            let elector =
                Elector::new(client, "a", "tagwarden", "me", Timing::default(), Fence::closed(), metrics);
            let found = elector.attempt(&mut None, Instant::now()).await;
            assert_eq!(found.as_ref().ok().copied(), holds, "{said}: {found:?}");
            assert_eq!(seen.lock().unwrap().len(), asked, "{said}");
        }
    }

    proptest! {
        /// Two replicas, whose views of each other's renewals may be late but never early: they never lead at once.
        /// The holder works until its renewal is `renew_deadline` old; the other waits `duration` from when it saw it.
        #[test]
        fn the_old_one_has_stopped_before_the_new_one_starts(seen_late in 0_u64..60, answered_late in 0_u64..60) {
            let timing = Timing::default();
            let request = Instant::now();
            let works_until = request + timing.renew_deadline;
            let seen = request + Duration::from_millis(answered_late * 100) + Duration::from_millis(seen_late * 100);
            let other = lease(Some("holder"), Some(15));
            let now = seen + timing.duration;
            prop_assert_eq!(decide(Some(&other), "rival", now - seen, timing.duration), Step::Take);
            prop_assert!(works_until < now);
        }
    }
}
