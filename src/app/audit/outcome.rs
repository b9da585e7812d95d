//! What came of each account of a run, and of all of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{ANY, Cell, CellState, Gap};
use tagwarden_core::report::{AccountReport, AccountState, ScanReport, TagTally};
use tagwarden_core::tally::Tally;

use super::ports::PlannedAccount;

/// Gaps told of one account. Many regions with one gap are one.
const GAPS_TOLD: usize = 10;

/// Gaps told of a run.
const RUN_GAPS_TOLD: usize = 50;

/// Tag keys that a run tells apart.
const TAG_KEYS: usize = 300;

/// What came of one account.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccountOutcome {
    /// The name of its `ClientAccount`.
    pub name: String,
    /// Its id, where known.
    pub account_id: Option<AccountId>,
    /// Why nothing of it could be seen.
    pub failure: Option<Gap>,
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// Regions that were looked at.
    pub regions: u64,
    /// Resource types that were looked at.
    pub types: BTreeSet<Arc<str>>,
    /// Cells of region and type.
    pub cells: u64,
    /// Those that could not be fully seen.
    pub gaps: u64,
    /// Some of the gaps, at most ten.
    pub told: Vec<GapLine>,
    /// Resources that were seen, whether in scope of the policy or not.
    pub seen: u64,
    /// Over everything.
    pub summary: Tally,
    /// Per region.
    pub by_region: BTreeMap<Arc<str>, Tally>,
    /// Per resource type.
    pub by_resource_type: BTreeMap<Arc<str>, Tally>,
    /// Per tag key, the worst 300.
    pub by_tag: BTreeMap<Arc<str>, TagTally>,
}

/// Something that could not be fully seen, maybe in several regions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GapLine {
    /// A region, `global`, `*`, or one of several and how many more there are.
    pub region: String,
    /// The type, or `*`.
    pub resource_type: Arc<str>,
    /// The word of its [`CellState`].
    pub state: String,
    /// For people.
    pub cause: String,
}

/// One account of a run, in short.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountLine {
    /// The name of its `ClientAccount`.
    pub name: String,
    /// Its id, where known.
    pub account_id: Option<AccountId>,
    /// Why nothing of it could be seen.
    pub failure: Option<Gap>,
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// Cells that could not be fully seen.
    pub gaps: u64,
    /// What was found.
    pub summary: Tally,
}

/// What came of a whole run: its accounts are disjoint, so everything adds up.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutcome {
    /// Each account, in the order of the plan.
    pub accounts: Vec<AccountLine>,
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// Regions that were looked at, over all accounts.
    pub regions: u64,
    /// Resource types that were looked at.
    pub types: BTreeSet<Arc<str>>,
    /// Cells of account, region and type.
    pub cells: u64,
    /// Those that could not be fully seen.
    pub gaps: u64,
    /// Some of the gaps with the names of their accounts, at most 50.
    pub told: Vec<(String, GapLine)>,
    /// Resources that were seen.
    pub seen: u64,
    /// Over everything.
    pub summary: Tally,
    /// Per region.
    pub by_region: BTreeMap<Arc<str>, Tally>,
    /// Per resource type.
    pub by_resource_type: BTreeMap<Arc<str>, Tally>,
    /// Per tag key, the worst 300.
    pub by_tag: BTreeMap<Arc<str>, TagTally>,
}

impl Default for RunOutcome {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            complete: true,
            regions: 0,
            types: BTreeSet::new(),
            cells: 0,
            gaps: 0,
            told: Vec::new(),
            seen: 0,
            summary: Tally::default(),
            by_region: BTreeMap::new(),
            by_resource_type: BTreeMap::new(),
            by_tag: BTreeMap::new(),
        }
    }
}

impl AccountOutcome {
    /// What the report of a scan of this one account says.
    pub fn of(account: &PlannedAccount, report: &ScanReport) -> Self {
        let entered = report.accounts.first();
        let mut by_tag = report.by_tag.clone();
        keep_worst(&mut by_tag);
        Self {
            name: account.name.clone(),
            account_id: entered
                .and_then(|entered| entered.account_id.clone())
                .or_else(|| account.account_id.clone()),
            failure: failure(report),
            complete: report.complete(),
            regions: entered.map_or(0, |entered| entered.regions.len() as u64),
            types: report
                .coverage
                .iter()
                .filter(|cell| *cell.resource_type != *ANY)
                .map(|cell| Arc::clone(&cell.resource_type))
                .collect(),
            cells: report.coverage.len() as u64,
            gaps: report.gaps().count() as u64,
            told: told(report),
            seen: report.coverage.iter().map(|cell| cell.resources).sum(),
            summary: report.summary,
            by_region: report.by_region.clone(),
            by_resource_type: report.by_resource_type.clone(),
            by_tag,
        }
    }
}

impl RunOutcome {
    /// Adds an account that is not in it yet.
    pub fn add(&mut self, account: AccountOutcome) {
        self.complete &= account.complete;
        self.regions += account.regions;
        self.types.extend(account.types);
        self.cells += account.cells;
        self.gaps += account.gaps;
        self.seen += account.seen;
        self.summary.merge(&account.summary);
        merge(&mut self.by_region, account.by_region);
        merge(&mut self.by_resource_type, account.by_resource_type);
        for (key, tally) in account.by_tag {
            let mine = self.by_tag.entry(key).or_default();
            mine.missing += tally.missing;
            mine.invalid += tally.invalid;
        }
        // Twice as many as are kept: sorting out the worst now and then costs less than every time.
        if self.by_tag.len() > 2 * TAG_KEYS {
            keep_worst(&mut self.by_tag);
        }
        let room = RUN_GAPS_TOLD.saturating_sub(self.told.len());
        self.told.extend(account.told.into_iter().take(room).map(|gap| (account.name.clone(), gap)));
        self.accounts.push(AccountLine {
            name: account.name,
            account_id: account.account_id,
            failure: account.failure,
            complete: account.complete,
            gaps: account.gaps,
            summary: account.summary,
        });
    }

    /// The accounts of which nothing could be seen.
    pub fn failing(&self) -> impl Iterator<Item = (&AccountLine, &Gap)> {
        self.accounts.iter().filter_map(|line| line.failure.as_ref().map(|gap| (line, gap)))
    }

    /// Whether nothing of any account could be seen, so that the score says nothing.
    pub fn saw_nothing(&self) -> bool {
        self.accounts.iter().all(|line| line.failure.is_some())
    }

    /// Whether no resource got a verdict.
    pub fn nothing_judged(&self) -> bool {
        self.summary.resources() == 0
    }
}

/// The report of an account that was not even entered.
pub(super) fn closed(
    (run_id, policy_name, policy_revision): (&str, &str, &str),
    account: &PlannedAccount,
    gap: &Gap,
    now: Timestamp,
) -> ScanReport {
    let cell = |account_id: &AccountId| Cell {
        account_id: account_id.clone(),
        region: ANY.into(),
        resource_type: ANY.into(),
        state: gap.state,
        resources: 0,
        cause: Some(gap.cause.clone()),
    };
    ScanReport {
        run_id: run_id.to_owned(),
        started_at: now,
        finished_at: now,
        policy_name: policy_name.to_owned(),
        policy_revision: policy_revision.to_owned(),
        accounts: vec![AccountReport {
            account_id: account.account_id.clone(),
            name: Some(account.name.clone()),
            state: AccountState::Failed { cause: gap.cause.clone() },
            regions: Vec::new(),
            discovery_error: None,
        }],
        summary: Tally::default(),
        by_account: BTreeMap::new(),
        by_region: BTreeMap::new(),
        by_resource_type: BTreeMap::new(),
        by_tag: BTreeMap::new(),
        coverage: account.account_id.iter().map(cell).collect(),
        top_violations: Vec::new(),
        requests: BTreeMap::new(),
        throttled: 0,
    }
}

/// Why nothing of the account could be seen, if so.
fn failure(report: &ScanReport) -> Option<Gap> {
    if !report.saw_nothing() {
        return None;
    }
    let state = report.gaps().next().map_or(CellState::Failed, |cell| cell.state);
    let cause = match report.accounts.first().map(|account| &account.state) {
        Some(AccountState::Failed { cause }) => cause.clone(),
        _ => report.gaps().find_map(|cell| cell.cause.clone()).unwrap_or_default(),
    };
    Some(Gap { state, cause })
}

/// The gaps of an account: one line for each type and cause, however many regions have it.
fn told(report: &ScanReport) -> Vec<GapLine> {
    let mut lines: BTreeMap<(&str, &Arc<str>, &str), Vec<&str>> = BTreeMap::new();
    for cell in report.gaps() {
        let cause = cell.cause.as_deref().unwrap_or_default();
        lines.entry((cell.state.as_str(), &cell.resource_type, cause)).or_default().push(&cell.region);
    }
    if let Some(error) = report.accounts.first().and_then(|account| account.discovery_error.as_deref()) {
        let any = report.accounts.first().map(|_| ANY).unwrap_or_default();
        let mut told = vec![GapLine {
            region: any.into(),
            resource_type: ANY.into(),
            state: CellState::Failed.as_str().into(),
            cause: error.into(),
        }];
        told.extend(lines.into_iter().map(line).take(GAPS_TOLD - 1));
        return told;
    }
    lines.into_iter().map(line).take(GAPS_TOLD).collect()
}

fn line(((state, resource_type, cause), regions): ((&str, &Arc<str>, &str), Vec<&str>)) -> GapLine {
    let region = match &regions[..] {
        [only] => (*only).to_owned(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => ANY.to_owned(),
    };
    GapLine { region, resource_type: Arc::clone(resource_type), state: state.into(), cause: cause.into() }
}

fn merge(mine: &mut BTreeMap<Arc<str>, Tally>, theirs: BTreeMap<Arc<str>, Tally>) {
    for (name, tally) in theirs {
        mine.entry(name).or_default().merge(&tally);
    }
}

fn keep_worst(by_tag: &mut BTreeMap<Arc<str>, TagTally>) {
    if by_tag.len() <= TAG_KEYS {
        return;
    }
    let mut counts: Vec<u64> = by_tag.values().map(|tally| tally.missing + tally.invalid).collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let least = counts[TAG_KEYS - 1];
    by_tag.retain(|_, tally| tally.missing + tally.invalid >= least.max(1));
    while by_tag.len() > TAG_KEYS {
        by_tag.pop_last();
    }
}
