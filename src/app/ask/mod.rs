//! Questions: what agents and scripts want to know, and the little that they may start.
//!
//! MCP tools and REST routes both stand on [`Ask`]: it takes a [`Principal`] and a plain request, looks only at what is
//! that tenant's, and gives a typed answer or an [`AskError`] that says what to do next. A question that a recent run
//! answers makes no cloud call; one that needs a look at the cloud becomes a run, which has an id and can be polled, so
//! that nobody waits longer than [`LONGEST_WAIT`].

mod answer;
mod checks;
mod choose;
mod conceal;
mod counted;
mod error;
mod history;
mod look;
mod order;
pub mod ports;
mod principal;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::registry::Registry;

pub use answer::{Breakdown, Narrowing, RunAnswer, RunReading};
pub use checks::{AdHoc, CheckBounds, DoorKeeper};
pub use choose::{CheckRequest, Chosen, Cited, PolicyChoice};
pub use conceal::{HIDDEN, conceal, redact};
pub use error::{AskError, Code, quoted};
pub use history::{GroupBy, History, Period, Trend};
pub use order::{Cadence, ScheduleRequest, Scheduled};
pub use principal::{Principal, Scope, UnknownScope};
pub use wanted::Wanted;

use ports::{
    AccountView, AuditView, Checks, FindingCount, FindingPage, FindingQuery, Ledger, Objects, PolicyView,
    RunLine, RunQuery,
};

/// Nobody waits longer for an answer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// The plan of a check that looks at the account that the process itself belongs to. No object can have this name.
pub const AMBIENT: &str = "(ambient)";

/// How answers are given.
#[derive(Debug, Clone)]
pub struct AskSettings {
    /// The policy to use where a tenant has several and the asker names none.
    pub default_policy: Option<String>,
    /// The tenant that may look at the account the process itself belongs to, where it has declared no account.
    pub ambient_tenant: Option<String>,
    /// How old a run may be to answer a question.
    pub fresh_for: Duration,
    /// A check on demand that has not ended this long after its start was left behind by a process that ended.
    pub abandoned_after: Duration,
}

impl Default for AskSettings {
    fn default() -> Self {
        Self {
            default_policy: None,
            ambient_tenant: None,
            fresh_for: Duration::from_hours(1),
            abandoned_after: CheckBounds::default().timeout + Duration::from_mins(5),
        }
    }
}

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Ask {
    objects: Arc<dyn Objects>,
    ledger: Arc<dyn Ledger>,
    checks: Arc<dyn Checks>,
    registry: Arc<Registry>,
    settings: Arc<AskSettings>,
    waiting: Arc<wanted::Waiting>,
    counted: Arc<counted::Counted>,
    clock: fn() -> Timestamp,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ask").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Ask {
    /// Answers out of these.
    pub fn new(
        objects: Arc<dyn Objects>,
        ledger: Arc<dyn Ledger>,
        checks: Arc<dyn Checks>,
        registry: Arc<Registry>,
        settings: AskSettings,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            objects,
            ledger,
            checks,
            registry,
            settings: Arc::new(settings),
            waiting: Arc::default(),
            counted: Arc::default(),
            clock,
        }
    }

    /// What time it is to whoever answers.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The resource types.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The policies of the tenant.
    pub async fn policies(&self, who: &Principal) -> Result<Vec<PolicyView>, AskError> {
        who.must(Scope::TagRead)?;
        self.objects.policies(&who.tenant).await
    }

    /// The accounts of the tenant.
    pub async fn accounts(&self, who: &Principal) -> Result<Vec<AccountView>, AskError> {
        who.must(Scope::TagRead)?;
        self.objects.accounts(&who.tenant).await
    }

    /// The audits of the tenant.
    pub async fn audits(&self, who: &Principal) -> Result<Vec<AuditView>, AskError> {
        who.must(Scope::TagRead)?;
        self.objects.audits(&who.tenant).await
    }

    /// One audit.
    pub async fn audit(&self, who: &Principal, name: &str) -> Result<AuditView, AskError> {
        let audits = self.audits(who).await?;
        let known: Vec<String> = audits.iter().map(|audit| audit.name.clone()).collect();
        let found = audits.into_iter().find(|audit| audit.name == name);
        found.ok_or_else(|| AskError::not_found("audit", name, choose::one_of("audit", &known)))
    }

    /// The runs of the tenant, newest first.
    pub async fn runs(&self, who: &Principal, query: &RunQuery) -> Result<Vec<RunLine>, AskError> {
        who.must(Scope::TagRead)?;
        self.ledger.runs(&who.tenant, query).await
    }

    /// Findings of a run that has results, page by page.
    pub async fn findings(
        &self,
        who: &Principal,
        run_id: &str,
        query: &FindingQuery,
        after: Option<u64>,
        limit: usize,
    ) -> Result<FindingPage, AskError> {
        who.must(Scope::TagRead)?;
        self.ledger.findings(&who.tenant, run_id, query, after, limit).await
    }

    /// Looks at these resources now, in the accounts of the tenant. Each answer stands at the place of its ARN.
    pub async fn look(
        &self,
        who: &Principal,
        policy: Option<&str>,
        arns: &[String],
    ) -> Result<(Chosen, Vec<ports::Looked>), AskError> {
        let request = CheckRequest { policy: policy.map(str::to_owned), ..CheckRequest::default() };
        let chosen = self.choose(who, &request).await?;
        let looked = self.checks.look(&chosen.order(who), arns).await?;
        Ok((chosen, looked))
    }

    /// How many findings of a run there are in all.
    pub async fn count(
        &self,
        who: &Principal,
        run_id: &str,
        query: &FindingQuery,
    ) -> Result<FindingCount, AskError> {
        who.must(Scope::TagRead)?;
        if let Some(count) = self.counted.get(&who.tenant, run_id, query) {
            return Ok(count);
        }
        let count = self.ledger.count(&who.tenant, run_id, query).await?;
        self.counted.put(&who.tenant, run_id, query, count);
        Ok(count)
    }
}
