//! The run over a cloud and a memory that can both fail, stop and be taken away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tagwarden_core::account::AccountId;
use tagwarden_core::finding::Severity;
use tagwarden_core::listing::Listing;
use tagwarden_core::policy::{PolicyDraft, TagRuleDraft, compile};
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::resource::{Resource, Tags};

use super::outcome::AccountOutcome;
use super::ports::{Claim, NewRun, PlannedAccount, RunRecord, Unfinished};
use super::*;
use crate::ports::{Access, AccountTarget, FindingSink, ListError, PageSender, Session, Traffic};

/// What an account is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// This many volumes without a tag in each of two regions.
    Has(usize),
    /// The same, and then nothing more, ever.
    Hangs(usize),
    /// Cannot be entered.
    Closed,
    /// Takes its visitor along.
    Panics,
}

struct Cloud {
    registry: Arc<Registry>,
    moods: HashMap<String, Mood>,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    entered: Mutex<Vec<String>>,
}

struct Entered {
    id: AccountId,
    mood: Mood,
    registry: Arc<Registry>,
}

impl Inventory for Cloud {
    type Session = Entered;

    async fn enter(&self, target: &AccountTarget) -> Result<Entered, Gap> {
        let id = target.account_id.clone().unwrap();
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_inside.fetch_max(inside, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.entered.lock().unwrap().push(id.to_string());
        match self.moods[id.as_str()] {
            Mood::Closed => Err(Gap { state: CellState::Denied, cause: "the role does not trust us".into() }),
            Mood::Panics => panic!("a bug"),
            mood => Ok(Entered { id, mood, registry: Arc::clone(&self.registry) }),
        }
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
        "us-east-1".into()
    }

    async fn regions(&self) -> Result<Vec<Arc<str>>, Gap> {
        Ok(vec!["eu-west-1".into(), "us-east-1".into()])
    }

    async fn list(&self, listing: &Listing, region: &Arc<str>, pages: &PageSender) -> Result<(), ListError> {
        let (Mood::Has(count) | Mood::Hangs(count)) = self.mood else { return Ok(()) };
        let volume = self.registry.id("ec2:volume").unwrap();
        assert_eq!(listing.types(), [volume]);
        for n in 0..count {
            let arn = format!("arn:aws:ec2:{region}:{}:volume/vol-{n}", self.id);
            let resource = Resource {
                arn,
                id: format!("vol-{n}"),
                type_id: volume,
                region: Arc::clone(region),
                tags: Tags::Read(Vec::new()),
            };
            // The scan is gone, and nobody waits for an answer.
            let _ = pages.send(vec![resource]).await;
        }
        match self.mood {
            Mood::Hangs(_) => pending().await,
            _ => Ok(()),
        }
    }
}

/// The ways in that are closed, by name.
#[derive(Default)]
struct Closed(HashMap<String, Gap>);

impl Doors for Closed {
    async fn target(&self, account: &PlannedAccount) -> Result<AccountTarget, Gap> {
        match self.0.get(&account.name) {
            Some(gap) => Err(gap.clone()),
            None => Ok(AccountTarget {
                name: Some(account.name.clone()),
                account_id: account.account_id.clone(),
                labels: BTreeMap::new(),
                access: Access::Ambient,
                include_regions: Vec::new(),
                exclude_regions: Vec::new(),
            }),
        }
    }
}

/// Remembers one run.
#[derive(Default)]
struct Memory {
    state: Mutex<Remembered>,
    /// So many calls fail.
    failures: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Remembered {
    epoch: i64,
    plan: Vec<PlannedAccount>,
    done: BTreeMap<u32, AccountOutcome>,
    findings: BTreeMap<u32, Vec<ViolationRow>>,
    ending: Option<Ending>,
}

struct Notes {
    memory: Arc<Memory>,
    epoch: i64,
    account: Pending,
}

impl Memory {
    fn works(&self) -> Result<(), RunsError> {
        let failing =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(RunsError::Unavailable("away".into())) } else { Ok(()) }
    }

    fn held(&self, epoch: i64) -> Result<std::sync::MutexGuard<'_, Remembered>, RunsError> {
        let state = self.state.lock().unwrap();
        if state.epoch != epoch || state.ending.is_some() {
            return Err(RunsError::Superseded("run".into()));
        }
        Ok(state)
    }

    fn counted(&self) -> (usize, u64) {
        let state = self.state.lock().unwrap();
        let listed = state.findings.values().map(Vec::len).sum();
        (listed, state.done.values().map(|account| account.summary.violations()).sum())
    }
}

impl FindingSink for Notes {
    type Error = RunsError;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), RunsError> {
        self.memory.works()?;
        self.memory
            .held(self.epoch)?
            .findings
            .entry(self.account.ordinal)
            .or_default()
            .extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), RunsError> {
        self.memory.works()?;
        let outcome = AccountOutcome::of(&self.account.account, report);
        let before = self.memory.held(self.epoch)?.done.insert(self.account.ordinal, outcome);
        assert_eq!(before, None, "an account was done twice");
        Ok(())
    }
}

/// The memory as the run sees it.
struct Shared(Arc<Memory>);

impl Runs for Shared {
    type Sink = Notes;

    async fn claim(&self, _: &NewRun) -> Result<Claim, RunsError> {
        Err(RunsError::Refused("not here".into()))
    }

    async fn take(&self, run: &RunKey, _: &str, _: Timestamp) -> Result<Held, RunsError> {
        self.0.works()?;
        let mut state = self.0.state.lock().unwrap();
        if state.ending.is_some() {
            return Err(RunsError::Superseded("run".into()));
        }
        state.epoch += 1;
        let pending = (0..).zip(&state.plan).filter(|(ordinal, _)| !state.done.contains_key(ordinal));
        Ok(Held {
            key: run.clone(),
            epoch: state.epoch,
            started_at: Timestamp::UNIX_EPOCH,
            accounts: state.plan.len(),
            seen: state.done.values().map(|account| account.seen).sum(),
            pending: pending
                .map(|(ordinal, account)| Pending { ordinal, account: account.clone() })
                .collect(),
        })
    }

    async fn open(&self, held: &Held, account: &Pending) -> Result<Notes, RunsError> {
        self.0.works()?;
        self.0.held(held.epoch)?.findings.remove(&account.ordinal);
        Ok(Notes { memory: Arc::clone(&self.0), epoch: held.epoch, account: account.clone() })
    }

    async fn outcome(&self, _: &RunKey) -> Result<RunOutcome, RunsError> {
        let mut outcome = RunOutcome::default();
        for account in self.0.state.lock().unwrap().done.values() {
            outcome.add(account.clone());
        }
        Ok(outcome)
    }

    async fn finish(
        &self,
        held: &Held,
        _: &RunOutcome,
        ending: &Ending,
        _: Timestamp,
    ) -> Result<(), RunsError> {
        let mut state = self.0.held(held.epoch)?;
        assert_eq!(state.done.len(), state.plan.len());
        state.ending = Some(ending.clone());
        Ok(())
    }

    async fn stop(&self, _: &RunKey, ending: &Ending, _: Timestamp) -> Result<(), RunsError> {
        self.0.state.lock().unwrap().ending.get_or_insert(ending.clone());
        Ok(())
    }

    async fn recent(&self, _: &str, _: &str, _: usize) -> Result<Vec<RunRecord>, RunsError> {
        Ok(Vec::new())
    }

    async fn unfinished(
        &self,
        _: Option<&str>,
        _: Option<&RunKey>,
        _: usize,
    ) -> Result<Vec<Unfinished>, RunsError> {
        Ok(Vec::new())
    }

    async fn worst(&self, _: &RunKey, _: Severity, _: usize) -> Result<Vec<ViolationRow>, RunsError> {
        Ok(Vec::new())
    }

    async fn prune(&self, _: &str, _: Timestamp) -> Result<(), RunsError> {
        Ok(())
    }
}

fn id(n: usize) -> String {
    format!("{:012}", 100_000_000_000 + n)
}

/// A run over accounts of these moods, and what there is to look at afterwards.
struct Scene {
    cloud: Arc<Cloud>,
    closed: HashMap<String, Gap>,
    memory: Arc<Memory>,
    request: AuditRequest,
    progress: watch::Receiver<AuditProgress>,
    report_to: watch::Sender<AuditProgress>,
}

impl Scene {
    fn new(moods: &[Mood]) -> Self {
        let registry = Registry::builtin();
        let rule = TagRuleDraft { key: "Owner".into(), ..TagRuleDraft::default() };
        let draft = PolicyDraft { name: "test".into(), required_tags: vec![rule], ..PolicyDraft::default() };
        let policy = Arc::new(compile(&draft, &registry).unwrap().policy);
        let plan: Vec<PlannedAccount> = (0..moods.len())
            .map(|n| PlannedAccount {
                name: format!("account-{n}"),
                account_id: Some(id(n).parse().unwrap()),
            })
            .collect();
        let memory = Arc::new(Memory::default());
        memory.state.lock().unwrap().plan = plan;
        let cloud = Cloud {
            registry: Arc::clone(&registry),
            moods: moods.iter().enumerate().map(|(n, mood)| (id(n), *mood)).collect(),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            entered: Mutex::default(),
        };
        let volumes = vec![registry.id("ec2:volume").unwrap()];
        let (report_to, progress) = watch::channel(AuditProgress::default());
        Self {
            cloud: Arc::new(cloud),
            closed: HashMap::new(),
            memory,
            request: AuditRequest {
                key: RunKey { tenant: "t".into(), run_id: "run".into() },
                holder: "pod".into(),
                policy,
                registry,
                regions: Vec::new(),
                types: Requested::Types(volumes),
                bounds: AuditBounds {
                    accounts: 3,
                    listings_per_region: 2,
                    silence: Duration::from_mins(10),
                    timeout: Duration::from_hours(2),
                    max_resources: 1_000_000,
                },
            },
            progress,
            report_to,
        }
    }

    async fn run(&self) -> Result<Ended, RunsError> {
        run(
            Arc::clone(&self.cloud),
            Arc::new(Closed(self.closed.clone())),
            Arc::new(Shared(Arc::clone(&self.memory))),
            Arc::new(self.request.clone()),
            self.report_to.clone(),
            || Timestamp::UNIX_EPOCH,
        )
        .await
    }

    /// Waits until the progress is what the caller waits for.
    async fn until(&self, seen: impl Fn(&AuditProgress) -> bool) {
        self.progress.clone().wait_for(|now| seen(now)).await.unwrap();
    }

    fn entered(&self) -> Vec<String> {
        self.cloud.entered.lock().unwrap().clone()
    }

    async fn outcome(&self) -> RunOutcome {
        Shared(Arc::clone(&self.memory)).outcome(&self.request.key).await.unwrap()
    }
}

fn finished(state: RunState, reason: Option<&'static str>) -> impl Fn(&Ended) -> bool {
    move |ended| matches!(ended, Ended::Finished(ending) if ending.state == state && ending.reason == reason)
}

#[tokio::test]
async fn every_account_is_looked_at_once_and_a_few_at_a_time() {
    let scene = Scene::new(&[Mood::Has(3); 20]);
    let ended = scene.run().await.unwrap();
    assert!(finished(RunState::Succeeded, None)(&ended), "{ended:?}");
    assert_eq!(scene.memory.counted(), (120, 120));
    let entered = scene.entered();
    assert_eq!((entered.len(), entered.iter().collect::<HashSet<_>>().len()), (20, 20));
    assert!(scene.cloud.most_inside.load(Ordering::SeqCst) <= 3);
    let outcome = scene.outcome().await;
    assert!(outcome.complete && !outcome.saw_nothing());
    assert_eq!((outcome.summary.violating, outcome.seen, outcome.cells, outcome.regions), (120, 120, 40, 40));
    let progress = *scene.progress.borrow();
    assert_eq!(progress, AuditProgress { accounts: 20, accounts_done: 20, resources: 120 });
}

#[tokio::test]
async fn a_closed_account_and_one_that_breaks_down_stop_nothing() {
    let scene = Scene::new(&[Mood::Has(2), Mood::Closed, Mood::Panics, Mood::Has(1)]);
    let ended = scene.run().await.unwrap();
    assert!(finished(RunState::Succeeded, None)(&ended), "{ended:?}");
    let outcome = scene.outcome().await;
    assert!(!outcome.complete);
    let failing: Vec<(&str, CellState)> =
        outcome.failing().map(|(line, gap)| (line.name.as_str(), gap.state)).collect();
    assert_eq!(failing, [("account-1", CellState::Denied), ("account-2", CellState::Failed)]);
    assert_eq!(scene.memory.counted(), (6, 6));
}

#[tokio::test]
async fn an_account_without_a_way_in_is_reported_without_a_call() {
    let mut scene = Scene::new(&[Mood::Has(2), Mood::Has(2), Mood::Has(2)]);
    let gap = Gap { state: CellState::Denied, cause: "not verified".into() };
    scene.closed.insert("account-0".into(), gap);
    scene.run().await.unwrap();
    let outcome = scene.outcome().await;
    let causes: Vec<&str> = outcome.failing().map(|(_, gap)| gap.cause.as_str()).collect();
    assert_eq!(causes, ["not verified"]);
    assert_eq!(scene.entered().iter().filter(|entered| **entered == id(0)).count(), 0);
}

#[tokio::test]
async fn when_no_account_opens_the_run_failed() {
    let scene = Scene::new(&[Mood::Closed, Mood::Closed]);
    let ended = scene.run().await.unwrap();
    assert!(finished(RunState::Failed, Some(reason::NO_USABLE_ACCOUNT))(&ended), "{ended:?}");
    assert!(matches!(&ended, Ended::Finished(ending) if ending.cause.as_ref().unwrap().contains("trust")));
}

#[tokio::test]
async fn who_comes_next_does_what_is_left() {
    let scene = Scene::new(&[Mood::Has(2), Mood::Hangs(2), Mood::Has(2), Mood::Has(2), Mood::Has(2)]);
    tokio::select! {
        ended = scene.run() => panic!("{ended:?}"),
        () = scene.until(|now| now.accounts_done == 4 && now.resources == 20) => {}
    }
    assert_eq!(scene.memory.state.lock().unwrap().ending, None);

    let again = Scene { cloud: Arc::new(cloud_with(&scene, 1, Mood::Has(2))), ..scene };
    let ended = again.run().await.unwrap();
    assert!(finished(RunState::Succeeded, None)(&ended), "{ended:?}");
    assert_eq!(again.entered(), [id(1)], "only the account that was not done");
    assert_eq!(again.memory.counted(), (20, 20));
    assert_eq!(again.progress.borrow().resources, 20);
}

fn cloud_with(scene: &Scene, n: usize, mood: Mood) -> Cloud {
    let mut moods = scene.cloud.moods.clone();
    moods.insert(id(n), mood);
    Cloud {
        registry: Arc::clone(&scene.cloud.registry),
        moods,
        inside: AtomicUsize::new(0),
        most_inside: AtomicUsize::new(0),
        entered: Mutex::default(),
    }
}

#[tokio::test]
async fn a_run_that_nobody_wants_any_more_is_over() {
    let scene = Scene::new(&[Mood::Has(1), Mood::Hangs(1)]);
    tokio::select! {
        ended = scene.run() => panic!("{ended:?}"),
        () = scene.until(|now| now.accounts_done == 1) => {}
    }
    let runs = Shared(Arc::clone(&scene.memory));
    runs.stop(&scene.request.key, &cancelled("replaced".into()), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(scene.run().await, Err(RunsError::Superseded("run".into())));
}

#[tokio::test]
async fn a_run_that_was_taken_away_ends_without_a_word() {
    let scene = Scene::new(&[Mood::Has(2), Mood::Has(2)]);
    let stolen = async {
        scene.until(|now| now.accounts > 0).await;
        scene.memory.state.lock().unwrap().epoch += 1;
    };
    let (ended, ()) = tokio::join!(scene.run(), stolen);
    assert_eq!(ended, Err(RunsError::Superseded("run".into())));
    assert_eq!(scene.memory.state.lock().unwrap().ending, None);
}

#[tokio::test]
async fn a_memory_that_fails_costs_time_and_nothing_else() {
    let scene = Scene::new(&[Mood::Has(2); 6]);
    let failing = async {
        scene.until(|now| now.accounts > 0).await;
        scene.memory.failures.store(5, Ordering::SeqCst);
    };
    let (ended, ()) = tokio::join!(scene.run(), failing);
    assert!(finished(RunState::Succeeded, None)(&ended.unwrap()));
    assert_eq!(scene.memory.failures.load(Ordering::SeqCst), 0);
    assert_eq!(scene.memory.counted(), (24, 24));
    assert_eq!(scene.progress.borrow().resources, 24);
}

#[tokio::test]
async fn when_the_time_is_up_what_was_seen_counts() {
    let mut scene = Scene::new(&[Mood::Has(2), Mood::Hangs(3), Mood::Hangs(1), Mood::Has(5)]);
    scene.request.bounds.accounts = 1;
    scene.request.bounds.timeout = Duration::from_millis(300);
    let ended = scene.run().await.unwrap();
    assert!(finished(RunState::Succeeded, Some(reason::TIMED_OUT))(&ended), "{ended:?}");
    let outcome = scene.outcome().await;
    assert!(!outcome.complete);
    assert_eq!(outcome.accounts.len(), 4, "every account is accounted for");
    let states: HashSet<&str> = outcome.told.iter().map(|(_, gap)| gap.state.as_str()).collect();
    assert_eq!(states, HashSet::from(["interrupted", "timed_out"]));
}

#[tokio::test]
async fn time_up_before_anything_was_seen_is_a_failure() {
    let mut scene = Scene::new(&[Mood::Hangs(0), Mood::Hangs(0)]);
    scene.request.bounds.timeout = Duration::from_millis(300);
    let ended = scene.run().await.unwrap();
    assert!(finished(RunState::Failed, Some(reason::TIMED_OUT))(&ended), "{ended:?}");
}

#[tokio::test]
async fn too_many_resources_break_the_run() {
    let mut scene = Scene::new(&[Mood::Has(4), Mood::Hangs(4), Mood::Hangs(4)]);
    scene.request.bounds.max_resources = 20;
    let ended = scene.run().await.unwrap();
    let Ended::Stopped(ending) = &ended else { panic!("{ended:?}") };
    assert_eq!((ending.state, ending.reason), (RunState::Failed, Some(reason::TOO_MANY_RESOURCES)));
    assert!(ending.cause.as_ref().unwrap().contains("more than 20 resources"));
}

#[test]
fn outcomes_add_up_and_stay_bounded() {
    let mut run = RunOutcome::default();
    for n in 0..200_u64 {
        let by_tag = (0..300_u64)
            .map(|key| {
                let tally = tagwarden_core::report::TagTally { missing: 300 - key, invalid: n };
                (format!("key-{n}-{key}").into(), tally)
            })
            .collect();
        let gap = outcome::GapLine {
            region: "eu-west-1".into(),
            resource_type: "ec2:volume".into(),
            state: "denied".into(),
            cause: "no".into(),
        };
        run.add(AccountOutcome {
            name: format!("account-{n}"),
            told: vec![gap; 10],
            seen: 2,
            by_tag,
            ..AccountOutcome::default()
        });
    }
    assert_eq!((run.accounts.len(), run.seen, run.told.len()), (200, 400, 50));
    assert!(run.by_tag.len() <= 900, "{}", run.by_tag.len());
    assert!(run.by_tag.contains_key("key-199-0"), "the worst is kept");
}
