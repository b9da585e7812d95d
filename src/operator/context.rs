//! What all reconcilers share.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::ComplianceAudit;
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_core::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AuditMetrics;
use crate::cache::Cache;
use crate::events::Events;
use crate::lease::Fence;
use crate::metrics::{Metrics, QueueView};
use crate::policy::InForce;
use crate::write::Writer;

/// Whose objects are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of every namespace.
    All,
    /// Those of these namespaces.
    Namespaces(Vec<String>),
}

impl Scope {
    /// How many watches a kind needs.
    pub fn watches(&self) -> usize {
        match self {
            Self::All => 1,
            Self::Namespaces(namespaces) => namespaces.len(),
        }
    }
}

/// What the operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose objects are looked at.
    pub scope: Scope,
    /// Who this replica is, for leases and events: unlike any other replica, also an earlier one of the same name.
    pub identity: String,
    /// Whether `externalId.mode: SecretRef` is allowed: only where all who may create accounts trust each other.
    pub allow_external_id_secret_ref: bool,
    /// Whether `externalId.mode: None` is allowed: whoever may create accounts could look into every one whose role
    /// trusts us and asks for no id.
    pub allow_no_external_id: bool,
    /// Whether `auth.mode: Ambient` is allowed: whoever may create accounts could look into our own.
    pub allow_ambient_account: bool,
    /// The principal that trust policies name: the ARN of the role that Tagwarden runs with. Found out from AWS
    /// when absent.
    pub principal_arn: Option<String>,
    /// How long a listing may bring nothing before its region counts as timed out.
    pub silence: Duration,
    /// Accounts that are verified at once.
    pub concurrent_accounts: usize,
    /// Policies that are compiled at once.
    pub concurrent_policies: usize,
    /// Audits that are looked at at once.
    pub concurrent_audits: usize,
}

impl Settings {
    /// Sensible settings.
    pub fn new(scope: Scope, identity: impl Into<String>) -> Self {
        Self {
            scope,
            identity: identity.into(),
            allow_external_id_secret_ref: false,
            allow_no_external_id: false,
            allow_ambient_account: false,
            principal_arn: None,
            silence: Duration::from_mins(1),
            concurrent_accounts: 16,
            concurrent_policies: 4,
            concurrent_audits: 4,
        }
    }
}

/// Tells the time. A function, so that tests can tell their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the system.
    pub fn system() -> Self {
        Self::of(Timestamp::now)
    }

    /// A clock that asks this function.
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

/// What all reconcilers share and that does not depend on any cloud.
#[derive(Debug)]
pub struct Frame {
    /// What the operator was told.
    pub settings: Settings,
    /// The resource types.
    pub registry: Arc<Registry>,
    /// What time it is.
    pub clock: Clock,
    /// Whether this replica leads.
    pub fence: Fence,
    /// Cancelled when nothing new is to be started.
    pub stop: CancellationToken,
    /// What goes on beside the reconciles: runs above all. The operator ends when they have.
    pub beside: TaskTracker,
    /// Writes statuses and objects that belong to ours.
    pub writer: Writer,
    /// Tells people.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// What is counted of audits.
    pub audit_metrics: AuditMetrics,
    /// How the queues stand.
    pub queues: QueueView,
    /// All accounts.
    pub accounts: Cache<ClientAccount>,
    /// All policies.
    pub policies: Cache<TaggingPolicy>,
    /// All audits.
    pub audits: Cache<ComplianceAudit>,
    /// The policies in force.
    pub in_force: InForce,
}

impl Frame {
    /// Puts together what reconcilers share. `stop` ends the operator.
    pub fn new(
        client: Client,
        settings: Settings,
        registry: Arc<Registry>,
        clock: Clock,
        fence: Fence,
        stop: CancellationToken,
    ) -> Result<Self, prometheus::Error> {
        let watches = settings.scope.watches();
        let metrics = Metrics::new()?;
        Ok(Self {
            writer: Writer::new(client.clone(), fence.clone()),
            events: Events::new(client, &settings.identity, fence.clone()),
            audit_metrics: AuditMetrics::new(metrics.registry())?,
            metrics,
            queues: QueueView::default(),
            accounts: Cache::new(watches),
            policies: Cache::new(watches),
            audits: Cache::new(watches),
            in_force: InForce::default(),
            settings,
            registry,
            clock,
            fence,
            stop,
            beside: TaskTracker::new(),
        })
    }

    /// Whether all objects are known, so that work can begin as soon as this replica leads.
    pub fn is_ready(&self) -> bool {
        self.accounts.is_complete() && self.policies.is_complete() && self.audits.is_complete()
    }

    /// Waits until all objects are known: an audit whose policy is not known yet would say that there is none.
    pub(crate) async fn ready(&self) {
        tokio::join!(self.accounts.complete(), self.policies.complete(), self.audits.complete());
    }
}

/// What all reconcilers share: the frame, the cloud, and the runs of audits.
#[derive(Debug)]
pub struct Context<C, R> {
    /// What does not depend on any cloud.
    pub frame: Arc<Frame>,
    /// The cloud.
    pub cloud: Arc<C>,
    /// The runs.
    pub runs: Arc<R>,
}

impl<C, R> Clone for Context<C, R> {
    fn clone(&self) -> Self {
        Self { frame: Arc::clone(&self.frame), cloud: Arc::clone(&self.cloud), runs: Arc::clone(&self.runs) }
    }
}

impl<C, R> Deref for Context<C, R> {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}
