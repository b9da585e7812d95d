//! The reconcilers: they look at what people declare, make reality known, and write it into the statuses.
//!
//! One folder for each kind, with the same five files in each. `dereference` reads what an object refers to,
//! `validate` refuses what makes no sense, `decide` chooses what to do (pure), `apply` does it within bounds, and
//! `status` puts the outcome into words (pure). The files beside the folders are the frame they share: caches fed by
//! watches, queues, the controller loop, the lease that lets one of several replicas work, writers, events, metrics.
//!
//! A steady state writes nothing. What cannot succeed waits for a change, what may succeed later backs off, what
//! panics takes nothing else with it.

pub mod account;
pub mod ask;
pub mod audit;
pub mod backoff;
pub mod cache;
pub mod conditions;
pub mod context;
pub mod controller;
pub mod events;
pub mod failure;
pub mod key;
pub mod lease;
pub mod metrics;
pub mod policy;
pub mod queue;
pub mod report;
mod watches;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tagwarden_app::audit::ports::Runs;
use tagwarden_app::ports::{Inventory, Onboarding};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use cache::{Cache, Change};
pub use context::{Clock, Context, Frame, Scope, Settings};
pub use controller::{Controller, Reconciler};
pub use failure::{Class, Classified, Next, ObjectError};
pub use key::Key;
pub use lease::{Elector, Fence, Timing};

use watches::Queues;

/// Who writes, in the managed fields of objects.
pub const FIELD_MANAGER: &str = "tagwarden-controller";

/// After the reconciles have ended, for what goes on beside them. Runs are told to stop together with the reconciles.
const BESIDE_WITHIN: Duration = Duration::from_secs(2);

/// How it is made sure that only one of several replicas works.
#[derive(Debug, Clone)]
pub enum Election {
    /// There is only one. The frame's fence is open.
    Alone,
    /// By a Lease. The frame's fence is closed until it is taken.
    Lease {
        /// The namespace of the Lease.
        namespace: String,
        /// Its name.
        name: String,
        /// How patient the replicas are.
        timing: Timing,
    },
}

/// Runs all controllers until the frame's `stop` is cancelled; then waits for what is under way (bounded) and lets
/// go of the lease.
pub async fn run<C, R>(client: Client, context: Context<C, R>, election: Election)
where
    C: Inventory + Onboarding,
    R: Runs,
{
    let frame = Arc::clone(&context.frame);
    let queues = Queues::default();
    let mut watches = JoinSet::new();
    watches::start(&mut watches, &client, &frame, &queues);

    let release = CancellationToken::new();
    let elector =
        elector(&client, &frame, election).map(|elector| tokio::spawn(elector.run(release.clone())));

    frame.stop.run_until_cancelled(frame.ready()).await;

    let mut controllers = JoinSet::new();
    let settings = &frame.settings;
    let policies = policy::PolicyReconciler::new(Arc::clone(&frame));
    start(
        &mut controllers,
        &frame,
        policies,
        frame.policies.clone(),
        &queues.policies,
        settings.concurrent_policies,
    );
    let accounts = account::AccountReconciler::new(context.clone());
    start(
        &mut controllers,
        &frame,
        accounts,
        frame.accounts.clone(),
        &queues.accounts,
        settings.concurrent_accounts,
    );

    let audits = audit::AuditReconciler::new(context, Arc::clone(&queues.audits));
    start(
        &mut controllers,
        &frame,
        audits,
        frame.audits.clone(),
        &queues.audits,
        frame.settings.concurrent_audits,
    );

    while controllers.join_next().await.is_some() {}
    frame.beside.close();
    if tokio::time::timeout(BESIDE_WITHIN, frame.beside.wait()).await.is_err() {
        tracing::warn!(left = frame.beside.len(), "broken off to stop in time");
    }
    release.cancel();
    if let Some(elector) = elector {
        // It has its own bounds.
        let _ = elector.await;
    }
    watches.shutdown().await;
}

fn elector(client: &Client, frame: &Frame, election: Election) -> Option<Elector> {
    match election {
        Election::Alone => None,
        Election::Lease { namespace, name, timing } => {
            let identity = &frame.settings.identity;
            Some(Elector::new(
                client.clone(),
                &namespace,
                &name,
                identity,
                timing,
                frame.fence.clone(),
                frame.metrics.clone(),
            ))
        }
    }
}

fn start<R: Reconciler>(
    controllers: &mut JoinSet<()>,
    frame: &Frame,
    reconciler: R,
    cache: Cache<R::Object>,
    queue: &Arc<queue::Queue>,
    concurrency: usize,
) {
    let metrics = frame.metrics.controller(R::CONTROLLER, concurrency);
    frame.queues.add(metrics.clone(), Arc::clone(queue));
    let controller = Controller::new(reconciler, cache, Arc::clone(queue), metrics, concurrency);
    controllers.spawn(controller.run(frame.fence.clone(), frame.stop.clone()));
}
