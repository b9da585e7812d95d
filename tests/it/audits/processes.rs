//! Two processes on one PostgreSQL, and the one that works is killed in the middle of a run.

use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::{ComplianceAudit, ComplianceAuditStatus};
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_core::account::AccountId;
use tagwarden_store::{FindingFilter, Store};
use tagwarden_testbed::{Account, Fault, Proxy, Rule, Testbed};

use crate::cloud::{BARE, Cloud, OWNED};
use crate::controller::{Controller, Setup};
use crate::site::HERE;

/// Accounts of the audit. Each has one volume more than the one before that nobody owns.
const ACCOUNTS: usize = 4;

const POLICY: &str = "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: corp}\n\
    spec: {requiredTags: [{key: Owner, appliesTo: {resourceTypes: ['ec2:volume']}}]}\n";

const AUDIT: &str = "apiVersion: tagwarden.io/v1alpha1\nkind: ComplianceAudit\nmetadata: {name: nightly}\n\
    spec: {policyRef: {name: corp}, accounts: {all: true}, resources: {include: ['ec2:volume']}}\n";

fn account_manifest(number: usize, account: &Account) -> String {
    format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata: {{name: account-{number}}}\nspec:\n  \
         accountId: '{}'\n  auth: {{roleArn: '{}', externalId: {{mode: None}}}}\n",
        account.id, account.role_arn
    )
}

fn process(proxy: &Proxy, database: &str) -> Setup {
    Setup::new().behind(proxy).args(["--store", database, "--allow-no-external-id"])
}

/// Looks at the objects in the database, beside the processes.
struct Observer {
    runtime: tokio::runtime::Runtime,
    plane: ControlPlane,
    store: Store,
}

impl Observer {
    fn of(database: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let location: Location = database.parse().unwrap();
        let open = async {
            let plane =
                ControlPlane::open(location, tagwarden_api::crds(), Options::new("default")).await.unwrap();
            (plane, Store::open(database).await.unwrap())
        };
        let (plane, store) = runtime.block_on(open);
        Self { runtime, plane, store }
    }

    /// Waits until this holds of the audit, and of the accounts.
    #[track_caller]
    fn until(
        &self,
        what: &str,
        holds: impl Fn(&ComplianceAuditStatus, &[ClientAccount]) -> bool,
    ) -> ComplianceAuditStatus {
        let looking = async {
            let client = self.plane.client("default");
            let audits: Api<ComplianceAudit> = Api::default_namespaced(client.clone());
            let accounts: Api<ClientAccount> = Api::default_namespaced(client);
            loop {
                let audit = audits.get_opt("nightly").await.unwrap();
                let status = audit.and_then(|audit| audit.status).unwrap_or_default();
                let all = accounts.list(&ListParams::default()).await.unwrap().items;
                if holds(&status, &all) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited =
            self.runtime.block_on(async { tokio::time::timeout(Duration::from_mins(3), looking).await });
        waited.unwrap_or_else(|_| panic!("{what}"))
    }

    /// What a run found: resources by account, as the store has them.
    fn found(&self, run_id: &str) -> Vec<(String, String)> {
        let filter = FindingFilter::default();
        let page = self.store.findings("default", run_id, &filter, None, 1000);
        let page = self.runtime.block_on(page).unwrap();
        assert_eq!(page.next, None);
        let mut found: Vec<_> =
            page.findings.into_iter().map(|row| (row.account_id.to_string(), row.arn)).collect();
        found.sort();
        found
    }
}

fn is_ready(account: &ClientAccount) -> bool {
    let conditions = account.status.as_ref().map(|status| &status.conditions);
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[test]
fn a_killed_process_loses_no_account_and_none_counts_twice() {
    let database = Testbed::postgres().fresh_database().unwrap();
    let proxy = Testbed::shared().proxy();
    let accounts: Vec<Account> = (0..ACCOUNTS).map(|_| proxy.fresh_account()).collect();
    let mut expected = Vec::new();
    for (number, account) in accounts.iter().enumerate() {
        let cloud = Cloud::of(&proxy, account);
        cloud.volume(HERE, OWNED);
        expected.extend((0..=number).map(|_| (account.id.clone(), cloud.volume(HERE, BARE))));
    }
    expected.sort();

    let mut setup = process(&proxy, &database).file("manifests/corp.yaml", POLICY);
    for (number, account) in accounts.iter().enumerate() {
        setup = setup.file(&format!("manifests/account-{number}.yaml"), &account_manifest(number, account));
    }
    let first = setup.with_manifests();
    first.logs(&["\"leading\""]);
    let second: Controller = process(&proxy, &database).start();
    let observer = Observer::of(&database);
    observer.until("the accounts are verified", |_, accounts| {
        accounts.len() == ACCOUNTS && accounts.iter().all(is_ready)
    });

    // The last account does not answer, so the run is in the middle when its process is killed.
    let stuck = accounts.last().unwrap();
    let forever = Fault::Delay(Duration::from_mins(10));
    proxy.rule(Rule::on("ec2", "DescribeVolumes", forever).in_account(&stuck.id));
    first.write("nightly.yaml", AUDIT);
    let status = observer.until("all accounts but one are done", |status, _| {
        status.run.as_ref().is_some_and(|run| run.accounts_done == 3)
    });
    let run_id = status.run.unwrap().id;
    // Ends it without a word.
    drop(first);
    proxy.clear_rules();
    proxy.forget_calls();

    second.logs(&["\"leading\""]);
    let status = observer.until("the run is over", |status, _| !status.history.is_empty());
    assert_eq!((status.history.len(), status.history[0].id.as_str()), (1, run_id.as_str()));
    let violations = expected.len();
    assert_eq!(status.history[0].violations, i64::try_from(violations).ok(), "{status:#?}");
    assert!(status.history[0].complete, "{status:#?}");
    assert_eq!(observer.found(&run_id), expected);
    let counts = observer.runtime.block_on(observer.store.counts("default", &run_id)).unwrap();
    for (number, account) in accounts.iter().enumerate() {
        let id: AccountId = account.id.parse().unwrap();
        assert_eq!(counts.by_account[&id].violations(), number as u64 + 1, "{account:?}");
    }
    let listed = proxy.calls_of("ec2", "DescribeVolumes");
    assert!(!listed.is_empty() && listed.iter().all(|call| call.account == stuck.id), "{listed:#?}");
    assert_eq!(second.stop().status, Some(0));
    observer.runtime.block_on(observer.plane.shutdown());
}
