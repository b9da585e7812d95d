//! A cloud in memory, an API server, a store, and replicas of the operator that can be killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::{ComplianceAudit, ComplianceAuditStatus};
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_api::report::ComplianceReport;
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_app::ports::{
    Access, AccountTarget, Identity, Inventory, ListError, Onboarding, PageSender, Refused, Session, Traffic,
    Visit,
};
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::listing::Listing;
use tagwarden_core::registry::Registry;
use tagwarden_core::report::ViolationRow;
use tagwarden_core::resource::{Resource, Tags};
use tagwarden_operator::write::Writer;
use tagwarden_operator::{Clock, Context, Election, Fence, Frame, Scope, Settings, Timing};
use tagwarden_store::{AuditRuns, FindingFilter, Retention, RunFilter, Store};
use tagwarden_testbed::{Kubernetes, Testbed};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::conformance::target::real_client;

/// A kind of API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The embedded control plane, in this process.
    Embedded,
    /// kube-apiserver with etcd.
    Real,
}

/// An API server.
#[derive(Clone)]
enum Server {
    Embedded(ControlPlane),
    Real(&'static Kubernetes),
}

impl Server {
    async fn start(target: Target) -> Self {
        match target {
            Target::Embedded => {
                let plane =
                    ControlPlane::open(Location::memory(), tagwarden_api::crds(), Options::new("default"));
                Self::Embedded(plane.await.unwrap())
            }
            Target::Real => Self::Real(Testbed::kubernetes()),
        }
    }

    /// A client that lives in the runtime of its caller.
    async fn client(&self) -> Client {
        match self {
            Self::Embedded(plane) => plane.client("default"),
            Self::Real(server) => real_client(server).await,
        }
    }
}

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Quick to take over, and patient enough for a busy machine.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(6),
    renew_deadline: Duration::from_secs(4),
    retry: Duration::from_millis(500),
};

/// The id of the account of this number.
pub fn id(n: usize) -> String {
    format!("{:012}", 100_000_000_000 + n)
}

/// Accounts with volumes that carry no tag.
#[derive(Debug)]
pub struct Cloud {
    registry: Arc<Registry>,
    /// Volumes in each of two regions, by account.
    volumes: BTreeMap<String, usize>,
    /// Accounts that cannot be entered.
    closed: Vec<String>,
    /// Accounts that give half of what they have, and then nothing until they may.
    held: watch::Sender<Vec<String>>,
    entered: Mutex<Vec<String>>,
}

impl Cloud {
    /// Account number `n` has `n` volumes in each region.
    pub fn new(accounts: usize, closed: &[usize], held: &[usize]) -> Arc<Self> {
        Arc::new(Self {
            registry: Registry::builtin(),
            volumes: (1..=accounts).map(|n| (id(n), n)).collect(),
            closed: closed.iter().map(|n| id(*n)).collect(),
            held: watch::Sender::new(held.iter().map(|n| id(*n)).collect()),
            entered: Mutex::default(),
        })
    }

    /// Accounts that were entered to be scanned, in order.
    pub fn entered(&self) -> Vec<String> {
        self.entered.lock().unwrap().clone()
    }
}

/// An account of the cloud.
pub struct Entered {
    id: AccountId,
    cloud: Weak,
}

/// The parts of the cloud that a session needs.
struct Weak {
    registry: Arc<Registry>,
    volumes: usize,
    held: watch::Receiver<Vec<String>>,
}

impl Inventory for Cloud {
    type Session = Entered;

    async fn enter(&self, target: &AccountTarget) -> Result<Entered, Gap> {
        assert!(
            matches!(&target.access, Access::AssumeRole(role) if role.external_id.is_none()),
            "{target:?}"
        );
        let id = target.account_id.clone().unwrap();
        self.entered.lock().unwrap().push(id.to_string());
        if self.closed.contains(&id.to_string()) {
            return Err(Gap { state: CellState::Denied, cause: "the role does not trust us".into() });
        }
        let cloud = Weak {
            registry: Arc::clone(&self.registry),
            volumes: self.volumes[id.as_str()],
            held: self.held.subscribe(),
        };
        Ok(Entered { id, cloud })
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn throttled(&self) -> u64 {
        0
    }
}

impl Session for Entered {
    fn account_id(&self) -> &AccountId {
        &self.id
    }

    fn default_region(&self) -> Arc<str> {
        "eu-west-1".into()
    }

    async fn regions(&self) -> Result<Vec<Arc<str>>, Gap> {
        Ok(vec!["eu-west-1".into(), "us-east-1".into()])
    }

    async fn list(&self, listing: &Listing, region: &Arc<str>, pages: &PageSender) -> Result<(), ListError> {
        let volume = self.cloud.registry.id("ec2:volume").unwrap();
        assert_eq!(listing.types(), [volume]);
        let volumes: Vec<Resource> = (0..self.cloud.volumes)
            .map(|n| Resource {
                arn: format!("arn:aws:ec2:{region}:{}:volume/vol-{n}", self.id),
                id: format!("vol-{n}"),
                type_id: volume,
                region: Arc::clone(region),
                tags: Tags::Read(Vec::new()),
            })
            .collect();
        let (first, rest) = volumes.split_at(volumes.len() / 2);
        let _ = pages.send(first.to_vec()).await;
        let mut held = self.cloud.held.clone();
        let _ = held.wait_for(|held| !held.contains(&self.id.to_string())).await;
        let _ = pages.send(rest.to_vec()).await;
        Ok(())
    }
}

/// Every account lets itself be verified, also one that will be closed when it is scanned.
pub struct Verified(Identity);

impl Onboarding for Cloud {
    type Visit = Verified;

    async fn whoami(&self) -> Result<Identity, Refused> {
        let arn = "arn:aws:sts::999999999999:assumed-role/tagwarden/session".into();
        Ok(Identity { account_id: "999999999999".parse().unwrap(), arn })
    }

    async fn visit(&self, access: &Access) -> Result<Verified, Refused> {
        let Access::AssumeRole(role) = access else { panic!("{access:?}") };
        let account = role.role_arn.split(':').nth(4).unwrap();
        Ok(Verified(Identity { account_id: account.parse().unwrap(), arn: role.role_arn.clone() }))
    }
}

impl Visit for Verified {
    fn identity(&self) -> &Identity {
        &self.0
    }

    async fn regions(&self) -> Result<usize, Refused> {
        Ok(2)
    }

    async fn probe(&self, _: &str) -> Option<Result<(), Refused>> {
        Some(Ok(()))
    }
}

/// A replica of the operator, in a runtime of its own that can be killed.
pub struct Replica {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
    /// What it looks at.
    pub cloud: Arc<Cloud>,
}

impl Replica {
    /// What `kill -9` does: nothing is said, nothing is let go.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// What SIGTERM does. Gives how long it took.
    pub async fn terminate(mut self) -> Duration {
        let began = std::time::Instant::now();
        self.stop.cancel();
        tokio::time::timeout(WITHIN, &mut self.ended).await.expect("it stops in time").unwrap();
        self.runtime.take().unwrap().shutdown_background();
        began.elapsed()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An API server and a store.
pub struct World {
    server: Server,
    client: Client,
    namespace: String,
    store: Store,
    directory: TempDir,
}

impl World {
    /// A namespace with a policy that wants an owner, and accounts that are said to be ready.
    pub async fn new(target: Target, accounts: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&store_url(&directory)).await.unwrap();
        let server = Server::start(target).await;
        let client = server.client().await;
        let wanted: Namespace =
            serde_json::from_value(json!({"metadata": {"generateName": "audits-"}})).unwrap();
        let made = Api::all(client.clone()).create(&PostParams::default(), &wanted).await.unwrap();
        let world = Self { server, client, namespace: made.name_any(), store, directory };
        let policy =
            json!({"requiredTags": [{"key": "Owner", "appliesTo": {"resourceTypes": ["ec2:volume"]}}]});
        world.policy(policy).await;
        for n in 1..=accounts {
            world.account(n).await;
        }
        world
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Writes as the operator does, as long as it leads.
    pub fn writer(&self) -> Writer {
        Writer::new(self.client.clone(), Fence::open())
    }

    pub async fn policy(&self, spec: Value) {
        let policy: TaggingPolicy = object("TaggingPolicy", "corp", spec);
        self.api().create(&PostParams::default(), &policy).await.unwrap();
    }

    async fn account(&self, n: usize) {
        let auth =
            json!({"roleArn": format!("arn:aws:iam::{}:role/reader", id(n)), "externalId": {"mode": "None"}});
        let account: ClientAccount =
            object("ClientAccount", &format!("account-{n}"), json!({"accountId": id(n), "auth": auth}));
        self.api().create(&PostParams::default(), &account).await.unwrap();
    }

    /// An audit of the volumes of all accounts, with these fields besides.
    pub async fn audit(&self, name: &str, extra: Value) -> ComplianceAudit {
        let mut spec = json!({
            "policyRef": {"name": "corp"},
            "accounts": {"all": true, "maxConcurrent": 2},
            "resources": {"include": ["ec2:volume"]},
        });
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let audit: ComplianceAudit = object("ComplianceAudit", name, spec);
        self.api().create(&PostParams::default(), &audit).await.unwrap()
    }

    pub async fn patch(&self, audit: &str, patch: Value) {
        let api: Api<ComplianceAudit> = self.api();
        api.patch(audit, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete(&self, audit: &str) {
        self.api::<ComplianceAudit>().delete(audit, &DeleteParams::default()).await.unwrap();
    }

    /// Starts a replica of the operator.
    #[allow(clippy::unused_async)] // the scenarios await every step
    pub async fn replica(&self, identity: &str, cloud: Arc<Cloud>) -> Replica {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (server, namespace) = (self.server.clone(), self.namespace.clone());
        let (url, stop) = (store_url(&self.directory), CancellationToken::new());
        let (identity, until, cloud_of) = (identity.to_owned(), stop.clone(), Arc::clone(&cloud));
        let ended = runtime.spawn(async move {
            let client = server.client().await;
            let mut settings = Settings::new(Scope::Namespaces(vec![namespace.clone()]), identity);
            settings.allow_no_external_id = true;
            let registry = Registry::builtin();
            let fence = Fence::closed();
            let frame =
                Frame::new(client.clone(), settings, registry, Clock::system(), fence, until).unwrap();
            let store = Store::open(&url).await.unwrap();
            let runs = Arc::new(AuditRuns::new(store, Retention::default()));
            let context = Context { frame: Arc::new(frame), cloud: cloud_of, runs };
            let election = Election::Lease { namespace, name: "tagwarden".into(), timing: TIMING };
            tagwarden_operator::run(client, context, election).await;
        });
        Replica { runtime: Some(runtime), stop, ended, cloud }
    }

    /// Waits until the status of an audit is what the caller waits for.
    pub async fn status(
        &self,
        audit: &str,
        holds: impl Fn(&ComplianceAuditStatus) -> bool,
    ) -> ComplianceAuditStatus {
        let api: Api<ComplianceAudit> = self.api();
        let mut last = None;
        let waiting = async {
            loop {
                let status = api.get(audit).await.unwrap().status.unwrap_or_default();
                if holds(&status) {
                    return status;
                }
                last = Some(status);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let waited = tokio::time::timeout(WITHIN, waiting).await;
        waited.unwrap_or_else(|_| panic!("the status stays {}", serde_json::to_string_pretty(&last).unwrap()))
    }

    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        assert!(tokio::time::timeout(WITHIN, waiting).await.is_ok(), "{what}");
    }

    /// The reports of an audit, by name.
    pub async fn reports(&self) -> Vec<ComplianceReport> {
        let mut reports = self.api::<ComplianceReport>().list(&ListParams::default()).await.unwrap().items;
        reports.sort_by_key(ResourceExt::name_any);
        reports
    }

    /// The runs in the store: id and state, oldest first.
    pub async fn runs(&self) -> Vec<(String, String)> {
        let filter = RunFilter { limit: 100, ..RunFilter::default() };
        let mut runs = self.store.runs(&self.namespace, &filter).await.unwrap();
        runs.reverse();
        runs.into_iter().map(|run| (run.run_id, run.state.to_string())).collect()
    }

    /// Everything that a run found, by account.
    pub async fn found(&self, run_id: &str) -> BTreeMap<String, Vec<String>> {
        let (mut found, mut after) = (BTreeMap::<String, Vec<String>>::new(), None);
        loop {
            let filter = FindingFilter::default();
            let page = self.store.findings(&self.namespace, run_id, &filter, after, 1000).await.unwrap();
            for ViolationRow { account_id, arn, .. } in page.findings {
                found.entry(account_id.to_string()).or_default().push(arn);
            }
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    /// Every account has what it has, once: in the findings, in the counts and in the coverage.
    pub async fn assert_whole(&self, run_id: &str, accounts: usize) {
        let found = self.found(run_id).await;
        let counts = self.store.counts(&self.namespace, run_id).await.unwrap();
        assert_eq!((found.len(), counts.by_account.len()), (accounts, accounts), "an account is lost");
        for n in 1..=accounts {
            let mut arns = found[&id(n)].clone();
            arns.sort_unstable();
            let before = arns.len();
            arns.dedup();
            assert_eq!((before, arns.len()), (2 * n, 2 * n), "account {n}");
            let account: AccountId = id(n).parse().unwrap();
            assert_eq!(counts.by_account[&account].violations(), 2 * n as u64);
        }
        let coverage = self.store.coverage(&self.namespace, run_id).await.unwrap();
        assert_eq!(coverage.len(), 2 * accounts);
        let results = self.store.run(&self.namespace, run_id).await.unwrap().results.unwrap();
        let all = (1..=accounts).map(|n| 2 * n as u64).sum::<u64>();
        assert_eq!((results.findings, results.summary.violations(), results.complete), (all, all, true));
    }
}

fn store_url(directory: &TempDir) -> String {
    let file: PathBuf = directory.path().join("results.db");
    format!("sqlite:{}", file.display())
}

#[allow(clippy::needless_pass_by_value)] // literals
fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    let object = json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}
