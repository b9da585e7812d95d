//! The scan over an inventory in memory: every conversation a cloud can have with it, in no time.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::listing::Listing;
use tagwarden_core::policy::{AppliesToDraft, Policy, PolicyDraft, Requested, TagRuleDraft, compile};
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::report::{AccountState, ScanReport, ViolationRow};
use tagwarden_core::resource::{Resource, Tag, Tags};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ports::{Access, AccountTarget, FindingSink, Inventory, ListError, PageSender, Session, Traffic};

/// What happens when (account, region, type) is listed.
#[derive(Clone)]
enum Scene {
    /// These pages; an id ending in `!` is tagged, one ending in `?` has unreadable tags.
    Pages(Vec<Vec<&'static str>>),
    /// These pages, then this error, on the first attempt; the pages again and success on later ones.
    Breaks(Vec<Vec<&'static str>>, ListError),
    /// These pages, then nothing more, ever.
    Hangs(Vec<Vec<&'static str>>),
}

#[derive(Default)]
struct Cloud {
    closed: HashMap<String, Gap>,
    undiscovered: Option<Gap>,
    scenes: HashMap<(String, String, String), Scene>,
    attempts: AtomicUsize,
    traffic_asked: AtomicUsize,
}

struct Account {
    id: AccountId,
    cloud: Arc<Cloud>,
    registry: Arc<Registry>,
}

struct World {
    cloud: Arc<Cloud>,
    registry: Arc<Registry>,
}

impl Inventory for World {
    type Session = Account;

    async fn enter(&self, target: &AccountTarget) -> Result<Account, Gap> {
        let id = target.account_id.clone().unwrap();
        match self.cloud.closed.get(id.as_str()) {
            Some(gap) => Err(gap.clone()),
            None => Ok(Account { id, cloud: Arc::clone(&self.cloud), registry: Arc::clone(&self.registry) }),
        }
    }

    fn traffic(&self) -> Traffic {
        self.cloud.traffic_asked.fetch_add(1, Ordering::SeqCst);
        Traffic { throttled: self.throttled(), ..Traffic::default() }
    }

    fn throttled(&self) -> u64 {
        7
    }
}

impl Session for Account {
    fn account_id(&self) -> &AccountId {
        &self.id
    }

    fn default_region(&self) -> Arc<str> {
        "us-east-1".into()
    }

    async fn regions(&self) -> Result<Vec<Arc<str>>, Gap> {
        match &self.cloud.undiscovered {
            Some(gap) => Err(gap.clone()),
            None => Ok(vec!["eu-west-1".into(), "us-east-1".into()]),
        }
    }

    async fn list(&self, listing: &Listing, region: &Arc<str>, pages: &PageSender) -> Result<(), ListError> {
        for &type_id in listing.types() {
            let name = self.registry.row(type_id).name.to_string();
            let key = (self.id.to_string(), region.to_string(), name.clone());
            let Some(scene) = self.cloud.scenes.get(&key) else { continue };
            let (batch, end) = match scene {
                Scene::Pages(batch) => (batch, None),
                Scene::Hangs(batch) => (batch, Some(None)),
                Scene::Breaks(batch, error) => {
                    let first = self.cloud.attempts.fetch_add(1, Ordering::SeqCst) == 0;
                    (batch, (first || !error.restart).then(|| Some(error.clone())))
                }
            };
            for page in batch {
                let page = page.iter().map(|id| resource(id, type_id, region)).collect();
                pages.send(page).await.map_err(|_| failed("nobody listens"))?;
            }
            match end {
                None => {}
                Some(None) => pending::<()>().await,
                Some(Some(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

fn resource(id: &str, type_id: TypeId, region: &Arc<str>) -> Resource {
    let tag = Tag { key: "Owner".into(), value: "someone".into() };
    let tags = match id.chars().last() {
        Some('!') => Tags::Read(vec![tag]),
        Some('?') => Tags::Unread,
        _ => Tags::Read(Vec::new()),
    };
    Resource { arn: format!("arn:{region}:{id}"), id: id.into(), type_id, region: Arc::clone(region), tags }
}

fn failed(cause: &str) -> ListError {
    ListError { gap: Gap { state: CellState::Failed, cause: cause.into() }, types: None, restart: false }
}

#[derive(Default)]
struct Sink {
    rows: Vec<ViolationRow>,
    finished: bool,
}

impl FindingSink for Sink {
    type Error = Infallible;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), Infallible> {
        assert!(!rows.is_empty() && !self.finished);
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, _: &ScanReport) -> Result<(), Infallible> {
        self.finished = true;
        Ok(())
    }
}

const ONE: &str = "111111111111";
const TWO: &str = "222222222222";

fn owner_required(registry: &Arc<Registry>) -> Arc<Policy> {
    let rule = TagRuleDraft { key: "Owner".into(), ..TagRuleDraft::default() };
    let draft = PolicyDraft { name: "test".into(), required_tags: vec![rule], ..PolicyDraft::default() };
    Arc::new(compile(&draft, registry).unwrap().policy)
}

/// An owner is required of volumes, and in eu-west-1 only.
fn owner_required_of_volumes_there(registry: &Arc<Registry>) -> Arc<Policy> {
    let there = AppliesToDraft {
        resource_types: vec!["ec2:volume".into()],
        regions: vec!["eu-west-1".into()],
        ..AppliesToDraft::default()
    };
    let rule = TagRuleDraft { key: "Owner".into(), applies_to: Some(there), ..TagRuleDraft::default() };
    let draft = PolicyDraft { name: "test".into(), required_tags: vec![rule], ..PolicyDraft::default() };
    Arc::new(compile(&draft, registry).unwrap().policy)
}

fn target(id: &str) -> AccountTarget {
    AccountTarget {
        name: None,
        account_id: Some(id.parse().unwrap()),
        labels: BTreeMap::new(),
        access: Access::Ambient,
        include_regions: Vec::new(),
        exclude_regions: Vec::new(),
    }
}

fn scenes(cloud: &mut Cloud, scenes: &[(&str, &str, &str, Scene)]) {
    for (account, region, name, scene) in scenes {
        cloud.scenes.insert(((*account).into(), (*region).into(), (*name).into()), scene.clone());
    }
}

async fn run(cloud: Cloud, accounts: &[&str]) -> (ScanReport, Sink) {
    run_until(cloud, accounts, Duration::from_mins(1), |_| false).await
}

/// Runs a scan, and cancels it once its progress is what the caller waits for.
async fn run_until(
    cloud: Cloud,
    accounts: &[&str],
    silence: Duration,
    stop: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> (ScanReport, Sink) {
    run_policy(owner_required(&Registry::builtin()), cloud, accounts, silence, stop).await
}

async fn run_policy(
    policy: Arc<Policy>,
    cloud: Cloud,
    accounts: &[&str],
    silence: Duration,
    stop: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> (ScanReport, Sink) {
    let registry = Registry::builtin();
    let types = ["ec2:instance", "ec2:volume"].iter().map(|name| registry.id(name).unwrap()).collect();
    run_types(policy, cloud, accounts, types, silence, stop).await
}

async fn run_types(
    policy: Arc<Policy>,
    cloud: Cloud,
    accounts: &[&str],
    types: Vec<TypeId>,
    silence: Duration,
    stop: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> (ScanReport, Sink) {
    let registry = Registry::builtin();
    let request = ScanRequest {
        run_id: "run".into(),
        policy,
        registry: Arc::clone(&registry),
        accounts: accounts.iter().map(|id| target(id)).collect(),
        regions: Vec::new(),
        types: Requested::Types(types),
        bounds: Bounds { accounts: 2, listings_per_region: 4, silence },
    };
    let cloud = Arc::new(cloud);
    let world = Arc::new(World { cloud: Arc::clone(&cloud), registry });
    let mut sink = Sink::default();
    let (progress, seen) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let (mut watched, canceller) = (seen.clone(), cancel.clone());
    tokio::spawn(async move {
        if watched.wait_for(|now| stop(now)).await.is_ok() {
            canceller.cancel();
        }
    });
    let report =
        scan(world, &request, &mut sink, &progress, &cancel, || Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(sink.finished);
    assert_eq!(seen.borrow().cells, seen.borrow().cells_done);
    // The whole table of requests is copied for the report, not for each page.
    assert_eq!(cloud.traffic_asked.load(Ordering::SeqCst), 1);
    assert!(report.throttled == 7 && [0, 7].contains(&seen.borrow().throttled));
    (report, sink)
}

fn state(report: &ScanReport, account: &str, region: &str, name: &str) -> (CellState, u64) {
    let cell = report
        .coverage
        .iter()
        .find(|cell| {
            cell.account_id.as_str() == account && &*cell.region == region && &*cell.resource_type == name
        })
        .unwrap_or_else(|| panic!("no cell {account} {region} {name}"));
    (cell.state, cell.resources)
}

#[tokio::test]
async fn pages_become_counts_and_findings() {
    let mut cloud = Cloud::default();
    scenes(
        &mut cloud,
        &[
            (ONE, "us-east-1", "ec2:instance", Scene::Pages(vec![vec!["a!", "b"], vec!["c", "d?"]])),
            (TWO, "eu-west-1", "ec2:volume", Scene::Pages(vec![vec!["a!"]])),
        ],
    );
    let (report, sink) = run(cloud, &[ONE, TWO]).await;
    assert_eq!((report.summary.compliant, report.summary.violating, report.summary.unknown), (2, 2, 1));
    assert_eq!(sink.rows.len(), 2);
    assert_eq!(report.coverage.len(), 8, "two accounts, two regions, two types");
    assert!(report.coverage.iter().all(|cell| cell.state == CellState::Complete));
    assert!(!report.complete(), "the tags of one resource are unknown");
    assert_eq!(report.by_account.values().map(|tally| tally.violating).sum::<u64>(), 2);
    assert_eq!(report.top_violations.len(), 2);
}

#[tokio::test]
async fn a_denied_type_is_a_gap_and_nothing_else_suffers() {
    let mut cloud = Cloud::default();
    let denied =
        ListError { gap: Gap { state: CellState::Denied, cause: "no".into() }, types: None, restart: false };
    scenes(
        &mut cloud,
        &[
            (ONE, "us-east-1", "ec2:instance", Scene::Breaks(vec![vec!["a"]], denied)),
            (ONE, "us-east-1", "ec2:volume", Scene::Pages(vec![vec!["v!"]])),
        ],
    );
    let (report, _) = run(cloud, &[ONE]).await;
    assert_eq!(state(&report, ONE, "us-east-1", "ec2:instance"), (CellState::Denied, 1));
    assert_eq!(state(&report, ONE, "us-east-1", "ec2:volume"), (CellState::Complete, 1));
    assert!(!report.complete() && !report.saw_nothing());
}

#[tokio::test]
async fn a_gap_of_one_type_leaves_the_others_of_its_listing_alone() {
    let registry = Registry::builtin();
    let ids: Vec<TypeId> = ["sns:topic", "sqs:queue"].iter().map(|name| registry.id(name).unwrap()).collect();
    let unread = ListError { types: Some(vec![ids[1]]), ..failed("one has an ARN of unknown form") };
    let mut cloud = Cloud::default();
    scenes(
        &mut cloud,
        &[
            (ONE, "us-east-1", "sns:topic", Scene::Pages(vec![vec!["a!"]])),
            (ONE, "us-east-1", "sqs:queue", Scene::Breaks(vec![vec!["b!"]], unread)),
        ],
    );
    let policy = owner_required(&registry);
    let (report, _) = run_types(policy, cloud, &[ONE], ids, Duration::from_mins(1), |_| false).await;
    assert_eq!(state(&report, ONE, "us-east-1", "sns:topic"), (CellState::TaggedOnly, 1));
    assert_eq!(state(&report, ONE, "us-east-1", "sqs:queue"), (CellState::Failed, 1));
}

#[tokio::test]
async fn a_listing_that_starts_over_counts_nothing_twice() {
    let mut cloud = Cloud::default();
    let expired = ListError { restart: true, ..failed("the page token expired") };
    let pages = vec![vec!["a", "b"], vec!["c"]];
    scenes(&mut cloud, &[(ONE, "us-east-1", "ec2:instance", Scene::Breaks(pages, expired))]);
    let (report, sink) = run(cloud, &[ONE]).await;
    assert_eq!(state(&report, ONE, "us-east-1", "ec2:instance"), (CellState::Complete, 3));
    assert_eq!((report.summary.violating, sink.rows.len()), (3, 3));
    assert!(report.complete());
}

#[tokio::test]
async fn a_silent_region_times_out_and_keeps_what_it_gave() {
    let mut cloud = Cloud::default();
    scenes(
        &mut cloud,
        &[
            (ONE, "eu-west-1", "ec2:instance", Scene::Hangs(vec![vec!["a!"]])),
            (ONE, "us-east-1", "ec2:instance", Scene::Pages(vec![vec!["b!"]])),
        ],
    );
    let (report, _) = run_until(cloud, &[ONE], Duration::from_millis(200), |_| false).await;
    assert_eq!(state(&report, ONE, "eu-west-1", "ec2:instance"), (CellState::TimedOut, 1));
    let cause = report.gaps().next().and_then(|cell| cell.cause.as_deref());
    assert!(cause.is_some_and(|cause| cause.starts_with("no answer for")), "{cause:?}");
}

#[tokio::test]
async fn a_cancelled_scan_reports_what_it_saw() {
    let mut cloud = Cloud::default();
    scenes(
        &mut cloud,
        &[
            (ONE, "eu-west-1", "ec2:instance", Scene::Hangs(vec![vec!["a"]])),
            (ONE, "us-east-1", "ec2:instance", Scene::Pages(vec![vec!["b"]])),
        ],
    );
    let all_but_one = |now: &Progress| now.resources == 2 && now.cells_done + 1 == now.cells;
    let (report, _) = run_until(cloud, &[ONE], Duration::from_mins(1), all_but_one).await;
    assert_eq!(state(&report, ONE, "eu-west-1", "ec2:instance"), (CellState::Interrupted, 1));
    assert_eq!(state(&report, ONE, "us-east-1", "ec2:instance"), (CellState::Complete, 1));
    assert!(!report.complete());
}

#[tokio::test]
async fn an_account_that_cannot_be_entered_is_one_row() {
    let mut cloud = Cloud::default();
    cloud
        .closed
        .insert(TWO.into(), Gap { state: CellState::Denied, cause: "the role does not trust us".into() });
    scenes(&mut cloud, &[(ONE, "us-east-1", "ec2:instance", Scene::Pages(vec![vec!["a!"]]))]);
    let (report, _) = run(cloud, &[ONE, TWO]).await;
    assert_eq!(state(&report, TWO, "*", "*"), (CellState::Denied, 0));
    assert_eq!(report.coverage.iter().filter(|cell| cell.account_id.as_str() == TWO).count(), 1);
    assert!(matches!(&report.accounts[1].state, AccountState::Failed { cause } if cause.contains("trust")));
    assert!(!report.complete() && !report.saw_nothing());
}

#[tokio::test]
async fn when_no_account_opens_nothing_was_seen() {
    let mut cloud = Cloud::default();
    cloud.closed.insert(ONE.into(), Gap { state: CellState::Denied, cause: "no".into() });
    let (report, _) = run(cloud, &[ONE]).await;
    assert!(report.saw_nothing());
}

#[tokio::test]
async fn without_discovery_the_default_region_is_scanned_and_the_report_says_so() {
    let denied = Gap { state: CellState::Denied, cause: "ec2:DescribeRegions was denied".into() };
    let mut cloud = Cloud { undiscovered: Some(denied), ..Cloud::default() };
    scenes(&mut cloud, &[(ONE, "us-east-1", "ec2:instance", Scene::Pages(vec![vec!["a!"]]))]);
    let (report, _) = run(cloud, &[ONE]).await;
    assert_eq!(report.accounts[0].regions, vec![Arc::from("us-east-1")]);
    assert!(
        report.accounts[0].discovery_error.as_deref().is_some_and(|error| error.contains("DescribeRegions"))
    );
    assert!(!report.complete());
}

#[tokio::test]
async fn only_what_the_policy_judges_somewhere_is_listed_there() {
    let denied =
        ListError { gap: Gap { state: CellState::Denied, cause: "no".into() }, types: None, restart: false };
    let mut cloud = Cloud::default();
    scenes(
        &mut cloud,
        &[
            (ONE, "eu-west-1", "ec2:volume", Scene::Pages(vec![vec!["a!"]])),
            (ONE, "us-east-1", "ec2:volume", Scene::Breaks(vec![], denied)),
        ],
    );
    let policy = owner_required_of_volumes_there(&Registry::builtin());
    let (report, _) = run_policy(policy, cloud, &[ONE], Duration::from_mins(1), |_| false).await;
    assert_eq!(state(&report, ONE, "eu-west-1", "ec2:volume"), (CellState::Complete, 1));
    assert_eq!(report.coverage.len(), 1, "no cell, and no call, where no rule applies");
    assert!(report.complete());
}
