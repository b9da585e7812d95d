//! The collector: judges every page, counts, and passes findings on. The only one to touch the counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{ANY, Cell, CellState, Gap};
use tagwarden_core::finding::{Finding, ViolationType};
use tagwarden_core::judge::{Judge, Place};
use tagwarden_core::listing::{Listing, plan};
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::report::{AccountReport, AccountState, ScanReport, TagTally, Top, ViolationRow};
use tagwarden_core::resource::{GLOBAL, Resource};
use tagwarden_core::tally::Tally;

use super::ScanRequest;
use super::listing::{Itinerary, Message};
use super::regions::Field;
use super::survey::{Surveyed, interrupted};
use crate::ports::{AccountTarget, FindingSink, Traffic};

/// Tag keys that a report tells apart. Rules have at most a few hundred; found forbidden keys could be many.
const TAG_KEYS: usize = 1_000;

/// A cell while it is being filled.
#[derive(Debug, Default)]
struct OpenCell {
    resources: u64,
    result: Option<Result<(), Gap>>,
}

type CellKey = (usize, Arc<str>, TypeId);

/// See the module.
pub(super) struct Collector {
    registry: Arc<Registry>,
    judge: Judge,
    places: HashMap<(usize, Arc<str>), Place>,
    targets: Vec<AccountTarget>,
    ids: Vec<Option<AccountId>>,
    cells: BTreeMap<CellKey, OpenCell>,
    cells_done: usize,
    judged: u64,
    by_account: BTreeMap<AccountId, Tally>,
    by_region: BTreeMap<Arc<str>, Tally>,
    by_type: Vec<Tally>,
    by_tag: BTreeMap<Arc<str>, TagTally>,
    top: Top,
    report: ScanReport,
}

impl Collector {
    pub fn new<S>(request: &ScanRequest, surveys: &[Surveyed<S>], started_at: Timestamp) -> Self {
        let registry = Arc::clone(&request.registry);
        Self {
            judge: Judge::new(Arc::clone(&request.policy), started_at),
            places: HashMap::new(),
            targets: surveys.iter().map(|survey| survey.target.clone()).collect(),
            ids: surveys
                .iter()
                .map(|survey| survey.entered().map(|entered| entered.account_id.clone()))
                .collect(),
            cells: BTreeMap::new(),
            cells_done: 0,
            judged: 0,
            by_account: BTreeMap::new(),
            by_region: BTreeMap::new(),
            by_type: vec![Tally::default(); registry.ids().count()],
            // The keys of the rules have their place, however many forbidden keys are found.
            by_tag: request
                .policy
                .rules()
                .iter()
                .map(|rule| (Arc::clone(rule.key()), TagTally::default()))
                .collect(),
            top: Top::default(),
            report: opening(request, surveys, started_at),
            registry,
        }
    }

    /// Opens a cell for everything in scope, and returns what to list where: in each region, the types that the
    /// policy judges there. What cannot be listed at all goes straight to the coverage.
    pub fn open_cells(&mut self, types: &[TypeId], fields: &[Field]) -> Vec<Itinerary> {
        fields.iter().enumerate().map(|(account, field)| self.open_account(account, types, field)).collect()
    }

    fn open_account(&mut self, account: usize, types: &[TypeId], field: &Field) -> Itinerary {
        let Some(id) = self.ids[account].clone() else { return Itinerary::new() };
        self.by_account.insert(id.clone(), Tally::default());
        self.report.accounts[account].regions.clone_from(&field.regions);
        for (region, why) in &field.unavailable {
            self.report.coverage.push(unavailable(&id, region, why));
        }
        let mut itinerary = Itinerary::new();
        for region in std::iter::once(&Arc::from(GLOBAL)).chain(&field.regions) {
            let place = self.place(account, &id, region);
            let judged: Vec<TypeId> = types.iter().copied().filter(|one| place.judges(*one)).collect();
            let plan = plan(&self.registry, &judged);
            let listings = if **region == *GLOBAL { plan.global } else { plan.regional };
            for &type_id in listings.iter().flat_map(Listing::types) {
                self.cells.insert((account, Arc::clone(region), type_id), OpenCell::default());
            }
            itinerary.push((Arc::clone(region), listings));
        }
        itinerary
    }

    fn place(&mut self, account: usize, id: &AccountId, region: &Arc<str>) -> Place {
        let (judge, labels) = (&mut self.judge, &self.targets[account].labels);
        let known = self.places.entry((account, Arc::clone(region)));
        known.or_insert_with(|| judge.place(id, labels, region)).clone()
    }

    /// How many cells there are to decide.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    pub fn resources(&self) -> u64 {
        self.judged
    }

    pub fn cells_done(&self) -> usize {
        self.cells_done
    }

    /// Takes what a listing task says.
    pub async fn take<S: FindingSink>(&mut self, message: Message, sink: &mut S) -> Result<(), S::Error> {
        match message {
            Message::Page { account, region, resources } => {
                let rows = self.judge_page(account, &region, resources);
                if !rows.is_empty() {
                    sink.findings(&rows).await?;
                }
            }
            Message::Done { account, region, listing, result } => {
                for &type_id in listing.types() {
                    self.cells_done += 1;
                    let cell = self.cells.entry((account, Arc::clone(&region), type_id)).or_default();
                    let error = result.as_ref().err().filter(|error| error.is_about(type_id));
                    cell.result = Some(match (error, &listing) {
                        (Some(error), _) => Err(error.gap.clone()),
                        (None, Listing::Tagged(_)) => Err(tagged_only()),
                        (None, _) => Ok(()),
                    });
                }
            }
        }
        Ok(())
    }

    fn judge_page(
        &mut self,
        account: usize,
        region: &Arc<str>,
        resources: Vec<Resource>,
    ) -> Vec<ViolationRow> {
        let Some(account_id) = self.ids[account].clone() else { return Vec::new() };
        let place = self.place(account, &account_id, region);
        let mut page = Tally::default();
        let mut rows = Vec::new();
        let mut findings = Vec::new();
        for resource in resources {
            findings.clear();
            let verdict = self.judge.judge(&place, &resource, &mut findings);
            page.add(verdict, &findings);
            self.by_type[resource.type_id.index()].add(verdict, &findings);
            self.judged += 1;
            if let Some(cell) = self.cells.get_mut(&(account, Arc::clone(region), resource.type_id)) {
                cell.resources += 1;
            }
            for finding in findings.drain(..) {
                count_tag(&mut self.by_tag, &finding);
                rows.push(row(&self.registry, &account_id, &resource, finding));
            }
        }
        self.by_account.entry(account_id).or_default().merge(&page);
        self.by_region.entry(Arc::clone(region)).or_default().merge(&page);
        self.report.summary.merge(&page);
        for row in rows.iter().filter(|row| row.finding.counts()) {
            self.top.offer(row);
        }
        rows
    }

    /// Closes the books. A cell that nobody decided was either stopped, or its listing broke down.
    pub fn report(mut self, finished_at: Timestamp, traffic: Traffic, cancelled: bool) -> ScanReport {
        let undecided = if cancelled { interrupted() } else { broken_down() };
        self.by_tag.retain(|_, tally| *tally != TagTally::default());
        let mut report = self.report;
        for ((account, region, type_id), cell) in self.cells {
            let Some(account_id) = self.ids[account].clone() else { continue };
            let (state, cause) = match cell.result.unwrap_or_else(|| Err(undecided.clone())) {
                Ok(()) => (CellState::Complete, None),
                Err(gap) => (gap.state, Some(gap.cause)),
            };
            let resource_type = Arc::clone(&self.registry.row(type_id).name);
            let resources = cell.resources;
            report.coverage.push(Cell { account_id, region, resource_type, state, resources, cause });
        }
        let key = |cell: &Cell| {
            (cell.account_id.clone(), Arc::clone(&cell.region), Arc::clone(&cell.resource_type))
        };
        report.coverage.sort_by_cached_key(key);
        report.by_resource_type = self
            .registry
            .ids()
            .map(|id| (Arc::clone(&self.registry.row(id).name), self.by_type[id.index()]))
            .filter(|(_, tally)| *tally != Tally::default())
            .collect();
        report.by_account = self.by_account;
        report.by_region = self.by_region;
        report.by_tag = self.by_tag;
        report.top_violations = self.top.into_rows();
        report.finished_at = finished_at;
        report.requests = traffic.requests;
        report.throttled = traffic.throttled;
        report
    }
}

/// The report as far as the survey knows it.
fn opening<S>(request: &ScanRequest, surveys: &[Surveyed<S>], started_at: Timestamp) -> ScanReport {
    let mut accounts = Vec::with_capacity(surveys.len());
    let mut coverage = Vec::new();
    for survey in surveys {
        let (account_id, state, discovery_error) = match &survey.result {
            Ok(entered) => {
                let error = entered.regions.as_ref().err().map(|gap| gap.cause.clone());
                (Some(entered.account_id.clone()), AccountState::Scanned, error)
            }
            Err(gap) => {
                if let Some(account_id) = survey.target.account_id.clone() {
                    coverage.push(closed(account_id, gap));
                }
                (survey.target.account_id.clone(), AccountState::Failed { cause: gap.cause.clone() }, None)
            }
        };
        let name = survey.target.name.clone();
        accounts.push(AccountReport { account_id, name, state, regions: Vec::new(), discovery_error });
    }
    ScanReport {
        run_id: request.run_id.clone(),
        started_at,
        finished_at: started_at,
        policy_name: request.policy.name().to_string(),
        policy_revision: request.policy.revision().to_string(),
        accounts,
        summary: Tally::default(),
        by_account: BTreeMap::new(),
        by_region: BTreeMap::new(),
        by_resource_type: BTreeMap::new(),
        by_tag: BTreeMap::new(),
        coverage,
        top_violations: Vec::new(),
        requests: BTreeMap::new(),
        throttled: 0,
    }
}

fn closed(account_id: AccountId, gap: &Gap) -> Cell {
    Cell {
        account_id,
        region: ANY.into(),
        resource_type: ANY.into(),
        state: gap.state,
        resources: 0,
        cause: Some(gap.cause.clone()),
    }
}

fn unavailable(account_id: &AccountId, region: &Arc<str>, why: &str) -> Cell {
    Cell {
        account_id: account_id.clone(),
        region: Arc::clone(region),
        resource_type: ANY.into(),
        state: CellState::Unsupported,
        resources: 0,
        cause: Some(why.to_owned()),
    }
}

fn broken_down() -> Gap {
    Gap { state: CellState::Failed, cause: "the listing ended without a word: please report this".into() }
}

fn tagged_only() -> Gap {
    Gap {
        state: CellState::TaggedOnly,
        cause: "listed by the tagging API: resources that never had a tag cannot be seen".into(),
    }
}

fn row(registry: &Registry, account_id: &AccountId, resource: &Resource, finding: Finding) -> ViolationRow {
    ViolationRow {
        arn: resource.arn.clone(),
        resource_id: resource.id.clone(),
        resource_type: Arc::clone(&registry.row(resource.type_id).name),
        account_id: account_id.clone(),
        region: Arc::clone(&resource.region),
        finding,
    }
}

fn count_tag(by_tag: &mut BTreeMap<Arc<str>, TagTally>, finding: &Finding) {
    if !finding.counts() || (by_tag.len() >= TAG_KEYS && !by_tag.contains_key(&finding.tag_key)) {
        return;
    }
    let tally = by_tag.entry(Arc::clone(&finding.tag_key)).or_default();
    match finding.violation_type {
        ViolationType::MissingRequiredTag => tally.missing += 1,
        _ => tally.invalid += 1,
    }
}
