//! What questions are answered out of: the objects as the caches have them, and the doors of every namespace.
//!
//! Reads cost nothing and need no leader. Audits are written for people who ask for it; like everything that people
//! declare, whatever replica they reach writes it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tagwarden_api::REQUESTED_AT;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::{AuditAccounts, AuditResources, ComplianceAudit, ComplianceAuditSpec, PolicyRef};
use tagwarden_api::condition::{READY, REASONS};
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_app::ask::ports::{
    AccountView, Answer, AuditOrder, AuditView, ConditionView, Objects, PolicyView, Written,
};
use tagwarden_app::ask::{AMBIENT, AskError, Code, DoorKeeper};
use tagwarden_app::audit::ports::{Doors, PlannedAccount};
use tagwarden_app::ports::{Access, AccountTarget};
use tagwarden_core::coverage::Gap;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::audit::doors::NamespaceDoors;
use crate::cache::Cache;
use crate::conditions::find;
use crate::context::Frame;
use crate::key::Key;
use crate::policy::{NotInForce, in_force};
use crate::write::Object;
use crate::{FIELD_MANAGER, audit};

/// For one request to the API server.
const WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at whether the caches are current.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The zone of a schedule that names none.
const ZONE: &str = "Etc/UTC";

/// The objects of every namespace that the operator looks after.
#[derive(Debug, Clone)]
pub struct DeclaredObjects {
    frame: Arc<Frame>,
    /// Cancelled once the manifests were applied for the first time.
    declared: CancellationToken,
    caught_up: Arc<OnceCell<()>>,
}

impl DeclaredObjects {
    /// Those of this frame.
    pub fn new(frame: Arc<Frame>) -> Self {
        let declared = CancellationToken::new();
        declared.cancel();
        Self { frame, declared, caught_up: Arc::new(OnceCell::new_with(Some(()))) }
    }

    /// Those of this frame, once `declared` is cancelled: when the manifests were applied for the first time. Who starts
    /// together with the first question must not answer that nothing is declared.
    pub fn after(frame: Arc<Frame>, declared: CancellationToken) -> Self {
        Self { frame, declared, caught_up: Arc::default() }
    }

    /// The objects are not all known for a moment after the start; an empty list would be a lie.
    async fn ready(&self, tenant: &str) -> Result<(), AskError> {
        let known = async {
            self.declared.cancelled().await;
            self.frame.ready().await;
            self.caught_up.get_or_init(|| self.catch_up(tenant)).await;
        };
        let known = tokio::time::timeout(WITHIN, known).await;
        known.map_err(|_| AskError::unavailable("the control plane does not answer yet"))
    }

    /// What was just applied may not have come back through the watches yet.
    async fn catch_up(&self, tenant: &str) {
        let frame = &self.frame;
        loop {
            let (policies, accounts, audits) = tokio::join!(
                is_current(frame, &frame.policies, tenant),
                is_current(frame, &frame.accounts, tenant),
                is_current(frame, &frame.audits, tenant)
            );
            if policies && accounts && audits {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn policy(&self, object: &TaggingPolicy) -> PolicyView {
        let key = Key::of(object);
        let (in_force, refused) = match in_force(&self.frame, &key.namespace, &key.name).await {
            Ok(policy) => {
                let valid = tagwarden_core::policy::compile(&object.to_draft(), &self.frame.registry);
                (Some(policy), valid.err().and_then(|errors| errors.first().map(ToString::to_string)))
            }
            Err(NotInForce::Invalid { message, .. }) => (None, Some(message)),
            Err(error) => (None, Some(error.to_string())),
        };
        let managed = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = object.status.as_ref().and_then(|status| find(&status.conditions, READY));
        PolicyView {
            name: object.name_any(),
            draft: object.to_draft(),
            in_force,
            refused,
            changed_at: since.map(|condition| condition.last_transition_time.0).or(managed),
            generation: object.metadata.generation.unwrap_or_default(),
        }
    }

    async fn write(&self, tenant: &str, order: &AuditOrder, dry_run: bool) -> Result<Written, AskError> {
        self.ready(tenant).await?;
        let api: Api<ComplianceAudit> = self.frame.writer.api(tenant);
        let there = in_time(api.get_opt(&order.name)).await?;
        let resources = (!order.resource_types.is_empty())
            .then(|| AuditResources { include: order.resource_types.clone(), ..AuditResources::default() });
        let Some(there) = there else {
            let spec = ComplianceAuditSpec {
                suspend: false,
                schedule: Some(order.schedule.clone()),
                time_zone: Some(order.time_zone.clone()),
                starting_deadline_seconds: None,
                jitter: None,
                timeout: None,
                concurrency_policy: tagwarden_api::audit::ConcurrencyPolicy::default(),
                policy_ref: PolicyRef { name: order.policy.clone() },
                accounts: AuditAccounts { all: true, ..AuditAccounts::default() },
                regions: None,
                resources,
                severity_threshold: None,
                compliant_when: None,
                report: None,
            };
            audit::check(&spec, &self.frame.registry)
                .map_err(|problem| AskError::invalid(problem, "correct the value that the message names"))?;
            let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.into()) };
            in_time(api.create(&params, &ComplianceAudit::new(&order.name, spec))).await?;
            return Ok(Written::Created);
        };
        let spec = &there.spec;
        let included = spec.resources.as_ref().map(|resources| resources.include.clone()).unwrap_or_default();
        let same = spec.policy_ref.name == order.policy
            && spec.schedule.as_ref() == Some(&order.schedule)
            && spec.time_zone.as_deref().unwrap_or(ZONE) == order.time_zone
            && included == order.resource_types;
        if same {
            return Ok(Written::Unchanged);
        }
        let include = (!order.resource_types.is_empty()).then(|| json!({ "include": order.resource_types }));
        let patch = json!({"spec": {
            "policyRef": {"name": order.policy},
            "schedule": order.schedule,
            "timeZone": order.time_zone,
            "resources": include,
        }});
        let params =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        in_time(api.patch(&order.name, &params, &Patch::Merge(patch))).await?;
        Ok(Written::Updated)
    }

    async fn request(&self, tenant: &str, name: &str, token: &str) -> Result<(), AskError> {
        let api: Api<ComplianceAudit> = self.frame.writer.api(tenant);
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: token}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        in_time(api.patch(name, &params, &Patch::Merge(patch))).await.map(drop)
    }
}

/// What the API server answers, within bounds.
async fn in_time<T>(work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, AskError> {
    match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refused(error)),
        Err(_) => Err(AskError::unavailable("the control plane does not answer in time")),
    }
}

fn refused(error: kube::Error) -> AskError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => {
                AskError::new(Code::NotFound, "there is no such object", "list_audits names those there are")
            }
            409 => AskError::new(Code::Conflict, "somebody else changed the object meanwhile", "try again"),
            400 | 422 => AskError::invalid(status.message, "correct the value that the message names"),
            403 => AskError::new(
                Code::Conflict,
                "the server itself may not write audits here",
                "allow it to create and patch complianceaudits, or declare the audit with a manifest",
            ),
            _ => {
                tracing::warn!(%status, "the control plane refuses");
                AskError::unavailable("the control plane refuses for now")
            }
        },
        other => {
            tracing::warn!(error = %other, "the control plane does not answer");
            AskError::unavailable("the control plane does not answer")
        }
    }
}

/// Whether everything of a tenant that the API server has is known. What cannot be listed comes through the watches all
/// the same.
async fn is_current<K: Object>(frame: &Frame, cache: &Cache<K>, tenant: &str) -> bool {
    let Ok(listed) = frame.writer.api::<K>(tenant).list(&ListParams::default()).await else { return true };
    listed.items.iter().all(|object| {
        let known = cache.get(&Key::of(object));
        known.is_some_and(|known| known.meta().generation >= object.meta().generation)
    })
}

impl Objects for DeclaredObjects {
    fn policies<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<PolicyView>> {
        Box::pin(async move {
            self.ready(tenant).await?;
            let mut views = Vec::new();
            for object in self.frame.policies.in_namespace(tenant) {
                views.push(self.policy(&object).await);
            }
            Ok(views)
        })
    }

    fn accounts<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<AccountView>> {
        Box::pin(async move {
            self.ready(tenant).await?;
            Ok(self.frame.accounts.in_namespace(tenant).iter().map(|object| account(object)).collect())
        })
    }

    fn audits<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<AuditView>> {
        Box::pin(async move {
            self.ready(tenant).await?;
            Ok(self.frame.audits.in_namespace(tenant).iter().map(|object| audit_view(object)).collect())
        })
    }

    fn write_audit<'a>(
        &'a self,
        tenant: &'a str,
        order: &'a AuditOrder,
        dry_run: bool,
    ) -> Answer<'a, Written> {
        Box::pin(self.write(tenant, order, dry_run))
    }

    fn request_run<'a>(&'a self, tenant: &'a str, audit: &'a str, token: &'a str) -> Answer<'a, ()> {
        Box::pin(self.request(tenant, audit, token))
    }
}

fn conditions(conditions: &[Condition]) -> Vec<ConditionView> {
    let view = |condition: &Condition| {
        let known = REASONS.iter().find(|reason| reason.name == condition.reason);
        ConditionView {
            condition: condition.type_.clone(),
            answer: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: condition.last_transition_time.0,
            meaning: known.map_or("", |reason| reason.meaning),
            remedy: known.map_or("", |reason| reason.remedy),
        }
    };
    conditions.iter().map(view).collect()
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

fn account(object: &ClientAccount) -> AccountView {
    let status = object.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, READY);
    AccountView {
        name: object.name_any(),
        account_id: object.spec.account_id.clone(),
        display_name: object.spec.display_name.clone(),
        suspended: object.spec.suspend,
        ready: ready.filter(|ready| ready.status != "Unknown").map(|ready| ready.status == "True"),
        verified_at: time(status.last_verified_time.as_ref()),
        missing_permissions: status.missing_permissions.clone(),
        regions_enabled: status.regions.as_ref().and_then(|regions| u32::try_from(regions.enabled).ok()),
        conditions: conditions(&status.conditions),
        labels: object.labels().clone(),
    }
}

fn audit_view(object: &ComplianceAudit) -> AuditView {
    let (spec, status) = (&object.spec, object.status.clone().unwrap_or_default());
    let resources = spec.resources.clone().unwrap_or_default();
    let left_out = resources.exclude.iter().map(|pattern| format!("!{pattern}"));
    AuditView {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        policy: spec.policy_ref.name.clone(),
        schedule: spec.schedule.clone(),
        time_zone: spec.time_zone.clone().unwrap_or_else(|| ZONE.to_owned()),
        suspended: spec.suspend,
        accounts: accounts_in_words(&spec.accounts),
        regions: spec.regions.clone().unwrap_or_default().include,
        resource_types: resources.include.iter().cloned().chain(left_out).collect(),
        conditions: conditions(&status.conditions),
        running: status.run.as_ref().map(|run| run.id.clone()),
        past_runs: status.history.iter().map(|line| line.id.clone()).collect(),
        succeeded_at: time(status.last_successful_time.as_ref()),
        next_due: time(status.next_schedule_time.as_ref()),
        failures: u32::try_from(status.consecutive_failures).unwrap_or_default(),
    }
}

fn accounts_in_words(accounts: &AuditAccounts) -> String {
    if !accounts.names.is_empty() {
        return accounts.names.join(", ");
    }
    let Some(selector) = &accounts.selector else { return "all accounts".to_owned() };
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let others = selector
        .match_expressions
        .iter()
        .map(|wanted| format!("{} {:?} ({})", wanted.key, wanted.operator, wanted.values.join(", ")));
    format!("accounts with the labels {}", labels.chain(others).collect::<Vec<_>>().join(" and "))
}

/// Opens the accounts of every namespace.
#[derive(Debug, Clone)]
pub struct DeclaredDoors {
    frame: Arc<Frame>,
}

impl DeclaredDoors {
    /// Those of this frame.
    pub fn new(frame: Arc<Frame>) -> Self {
        Self { frame }
    }
}

impl DoorKeeper for DeclaredDoors {
    type Doors = TenantDoors;

    fn doors(&self, tenant: &str) -> Arc<TenantDoors> {
        Arc::new(TenantDoors(NamespaceDoors { frame: Arc::clone(&self.frame), namespace: tenant.into() }))
    }
}

/// Opens the accounts of one namespace, and the process's own where a plan says so.
#[derive(Debug)]
pub struct TenantDoors(NamespaceDoors);

impl Doors for TenantDoors {
    async fn target(&self, account: &PlannedAccount) -> Result<AccountTarget, Gap> {
        if account.name != AMBIENT {
            return self.0.target(account).await;
        }
        Ok(AccountTarget {
            name: None,
            account_id: None,
            labels: std::collections::BTreeMap::new(),
            access: Access::Ambient,
            include_regions: Vec::new(),
            exclude_regions: Vec::new(),
        })
    }
}
