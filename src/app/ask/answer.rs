//! Answers out of runs: one that is fresh and covers the question, or a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{ANY, Cell};
use tagwarden_core::policy::Requested;
use tagwarden_core::registry::TypeId;
use tagwarden_core::report::TagTally;
use tagwarden_core::resource::GLOBAL;
use tagwarden_core::run::RunState;
use tagwarden_core::scope::Scope as RunScope;
use tagwarden_core::tally::Tally;

use super::choose::{CheckRequest, Chosen};
use super::error::{AskError, Code, quoted};
use super::ports::{FindingQuery, RunLine, RunQuery};
use super::{Ask, LONGEST_WAIT, Principal, Scope, Wanted};
use crate::audit::AuditProgress;

/// Runs that are looked at for one that answers a question.
const CANDIDATES: usize = 50;

/// Gaps that an answer tells.
const GAPS_TOLD: usize = 25;

/// How long an audit may take to begin a run that was asked for, before the one that is under way is taken to be in its
/// way.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// How often a run of another process is looked at while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The part of a run that a question is about. What is empty is all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    /// Names of types.
    pub resource_types: BTreeSet<String>,
    /// Regions. What has no region belongs to all of them.
    pub regions: BTreeSet<String>,
    /// Accounts.
    pub accounts: BTreeSet<AccountId>,
}

impl Narrowing {
    /// The same for findings.
    pub fn findings(&self) -> FindingQuery {
        let mut regions: Vec<String> = self.regions.iter().cloned().collect();
        if !regions.is_empty() {
            regions.push(GLOBAL.to_owned());
        }
        FindingQuery {
            resource_types: self.resource_types.iter().cloned().collect(),
            accounts: self.accounts.iter().cloned().collect(),
            regions,
            ..FindingQuery::default()
        }
    }

    fn dimensions(&self) -> usize {
        [self.resource_types.is_empty(), self.regions.is_empty(), self.accounts.is_empty()]
            .into_iter()
            .filter(|whole| !whole)
            .count()
    }

    fn holds(&self, cell: &Cell) -> bool {
        let typed = self.resource_types.is_empty()
            || *cell.resource_type == *ANY
            || self.resource_types.contains(&*cell.resource_type);
        let placed = self.regions.is_empty()
            || matches!(&*cell.region, ANY | GLOBAL)
            || self.regions.contains(&*cell.region);
        let owned = self.accounts.is_empty() || self.accounts.contains(&cell.account_id);
        typed && placed && owned
    }
}

/// What a run, or a part of it, found.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReading {
    /// In numbers.
    pub summary: Tally,
    /// Whether everything that the question is about was seen.
    pub complete: bool,
    /// What was not seen, each in a sentence; at most 25.
    pub gaps: Vec<String>,
    /// How many there are in all.
    pub gap_count: u64,
    /// The parts of it.
    pub breakdown: Breakdown,
}

/// The parts of a result. A dimension is there only where its parts add up to the whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Breakdown {
    /// By region.
    pub by_region: BTreeMap<String, Tally>,
    /// By type.
    pub by_resource_type: BTreeMap<String, Tally>,
    /// By account: its name, its id where known, and whether it could be entered.
    pub by_account: Vec<(String, Option<AccountId>, Option<String>, Tally)>,
    /// By tag key, where known.
    pub by_tag: BTreeMap<Arc<str>, TagTally>,
}

/// A run, as it answers a question.
#[derive(Debug, Clone, PartialEq)]
pub struct RunAnswer {
    /// The run.
    pub run: RunLine,
    /// How far it is, while it is under way.
    pub progress: Option<AuditProgress>,
    /// The part of it that the question is about.
    pub narrowing: Narrowing,
    /// What it found; none before it has results.
    pub reading: Option<RunReading>,
    /// Whether it was there before the question.
    pub cached: bool,
    /// What the asker has to know.
    pub notes: Vec<String>,
}

impl RunAnswer {
    /// How old the results are.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let ended = self.run.finished_at?;
        Some(Duration::try_from(now.duration_since(ended)).unwrap_or_default())
    }
}

impl Ask {
    /// Answers out of a fresh run, or out of a new one, for which it waits as long as `wait` (25 s at most); then the run
    /// is still under way, and is to be asked for by its id. Whoever drops this, or what comes with the answer, before
    /// telling that id, wants it no more.
    pub async fn check(
        &self,
        who: &Principal,
        request: &CheckRequest,
        force: bool,
        wait: Duration,
    ) -> Result<(RunAnswer, Option<Wanted>), AskError> {
        let chosen = self.choose(who, request).await?;
        if !force && let Some(mut answer) = self.known(who, &chosen).await? {
            answer.notes.extend(chosen.notes);
            return Ok((answer, None));
        }
        let (run_id, began) = self.start_chosen(who, &chosen).await?;
        let wanted = Wanted::new(self, who, &run_id, began);
        let mut answer = self.run(who, &run_id, wait).await?;
        answer.cached = false;
        answer.notes.extend(chosen.notes);
        Ok((answer, wanted))
    }

    /// What the newest fresh run that covers the question says; `None`: there is none.
    pub async fn known(&self, who: &Principal, chosen: &Chosen) -> Result<Option<RunAnswer>, AskError> {
        let policy = &chosen.choice.policy;
        let query =
            RunQuery { limit: CANDIDATES, policy: Some(policy.name().to_string()), ..RunQuery::default() };
        let now = self.now();
        for run in self.ledger.runs(&who.tenant, &query).await? {
            let fresh = run.finished_at.is_some_and(|ended| {
                now.duration_since(ended)
                    <= jiff::SignedDuration::try_from(self.settings.fresh_for).unwrap_or_default()
            });
            let usable = run.state == RunState::Succeeded && run.results.is_some();
            if !fresh || !usable || *run.policy_revision != **policy.revision() {
                continue;
            }
            if let Some(narrowing) = self.covers(&run.scope, chosen)
                && let Some(answer) = self.read(who, run, narrowing).await?
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// What this run says to the question: for the further pages of an answer.
    pub async fn known_in(
        &self,
        who: &Principal,
        request: &CheckRequest,
        run_id: &str,
    ) -> Result<RunAnswer, AskError> {
        let chosen = self.choose(who, request).await?;
        let run = self.ledger.run(&who.tenant, run_id).await?;
        let same = run.policy == **chosen.choice.policy.name() && run.results.is_some();
        let answer = match self.covers(&run.scope, &chosen).filter(|_| same) {
            Some(narrowing) => self.read(who, run, narrowing).await?,
            None => None,
        };
        let mut answer = answer.ok_or_else(|| {
            AskError::invalid(
                format!("run {} does not answer this question", quoted(run_id)),
                "give next_cursor with the arguments of the answer that it came from, or leave it out",
            )
        })?;
        answer.notes.extend(chosen.notes);
        Ok(answer)
    }

    /// Begins a check, or joins one of the same scope that is under way. Gives the id of its run.
    pub async fn start(&self, who: &Principal, request: &CheckRequest) -> Result<(String, Chosen), AskError> {
        let chosen = self.choose(who, request).await?;
        let (run_id, _) = self.start_chosen(who, &chosen).await?;
        self.waiting.keep(&who.tenant, &run_id);
        Ok((run_id, chosen))
    }

    /// The id of a run, and whether it began just now.
    async fn start_chosen(&self, who: &Principal, chosen: &Chosen) -> Result<(String, bool), AskError> {
        who.must(Scope::TagRead)?;
        let query = RunQuery {
            limit: 5,
            policy: Some(chosen.choice.policy.name().to_string()),
            scope_digest: Some(chosen.scope.digest()),
            ..RunQuery::default()
        };
        for run in self.ledger.runs(&who.tenant, &query).await? {
            let same = *run.policy_revision == **chosen.choice.policy.revision();
            if same && !run.state.ended() && self.checks.progress(&who.tenant, &run.run_id).is_some() {
                return Ok((run.run_id, false));
            }
        }
        Ok((self.checks.start(chosen.order(who)).await?, true))
    }

    /// Asks an audit to run now, and gives the id of its run as soon as it is known; or of one that is under way and leaves
    /// no room for another.
    pub async fn start_audit(&self, who: &Principal, name: &str) -> Result<String, AskError> {
        who.must(Scope::AuditWrite)?;
        let audit = self.audit(who, name).await?;
        if audit.suspended {
            return Err(AskError::new(
                Code::Conflict,
                format!("audit {} is suspended", quoted(name)),
                "set spec.suspend to false, or start a check of resource_types instead",
            ));
        }
        let token = format!("{}/{}", who.id, self.now());
        self.objects.request_run(&who.tenant, name, &token).await?;
        let slot = tagwarden_core::run::Slot::on_demand(&token, self.now()).key;
        let asked = tokio::time::Instant::now();
        while asked.elapsed() < LONGEST_WAIT {
            if let Some(run_id) = self.ledger.run_of_slot(&who.tenant, &audit.uid, &slot).await? {
                return Ok(run_id);
            }
            if asked.elapsed() > BEGINS_WITHIN
                && let Some(under_way) = self.audit(who, name).await?.running.or(audit.running.clone())
            {
                return Ok(under_way);
            }
            tokio::time::sleep(LOOK_EVERY / 2).await;
        }
        Err(AskError::unavailable(format!("audit {} was asked to run and has not begun yet", quoted(name))))
    }

    /// A run, after waiting at most this long (25 s at most) for its end.
    pub async fn run(&self, who: &Principal, run_id: &str, wait: Duration) -> Result<RunAnswer, AskError> {
        who.must(Scope::TagRead)?;
        let until = tokio::time::Instant::now() + wait.min(LONGEST_WAIT);
        let mut run = self.ledger.run(&who.tenant, run_id).await?;
        while !run.state.ended() {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                break;
            }
            if self.checks.progress(&who.tenant, run_id).is_some() {
                self.checks.settled(&who.tenant, run_id, left).await;
            } else {
                tokio::time::sleep(LOOK_EVERY.min(left)).await;
            }
            run = self.ledger.run(&who.tenant, run_id).await?;
        }
        if !run.state.ended() && self.is_abandoned(&run) {
            let why = "the process that worked on it ended";
            self.ledger.give_up(&who.tenant, run_id, why, self.now()).await?;
            run = self.ledger.run(&who.tenant, run_id).await?;
        }
        if run.results.is_some()
            && let Some(answer) = self.read(who, run.clone(), Narrowing::default()).await?
        {
            return Ok(answer);
        }
        let progress = match (run.state.ended(), self.checks.progress(&who.tenant, run_id)) {
            (true, _) => None,
            (false, Some(progress)) => Some(progress),
            (false, None) => Some(self.ledger.progress(&who.tenant, run_id).await?),
        };
        Ok(RunAnswer {
            run,
            progress,
            narrowing: Narrowing::default(),
            reading: None,
            cached: true,
            notes: Vec::new(),
        })
    }

    /// Ends a run. One that has ended stays as it is. Gives the run as it is afterwards.
    pub async fn cancel(&self, who: &Principal, run_id: &str) -> Result<RunLine, AskError> {
        who.must(Scope::TagRead)?;
        let run = self.ledger.run(&who.tenant, run_id).await?;
        if run.state.ended() {
            return Ok(run);
        }
        let why = format!("cancelled by {}", who.id);
        self.ledger.cancel(&who.tenant, run_id, &why, self.now()).await?;
        self.checks.drop_run(&who.tenant, run_id);
        self.ledger.run(&who.tenant, run_id).await
    }

    /// A check on demand that no process works on: its time is long up.
    fn is_abandoned(&self, run: &RunLine) -> bool {
        let age = Duration::try_from(self.now().duration_since(run.started_at)).unwrap_or_default();
        run.run_id.starts_with("adhoc-") && age > self.settings.abandoned_after
    }

    /// The part of a run of this scope that answers the question, if all of the answer is in it and its numbers can be
    /// told apart.
    fn covers(&self, scope: &RunScope, chosen: &Chosen) -> Option<Narrowing> {
        let mut narrowing = Narrowing::default();
        if *scope == chosen.scope {
            return Some(narrowing);
        }
        let types = self.types_of(scope, chosen)?;
        if !chosen.types.is_subset(&types) {
            return None;
        }
        if chosen.types != types {
            let name = |id: &TypeId| self.registry.row(*id).name.to_string();
            narrowing.resource_types = chosen.types.iter().map(name).collect();
        }
        if scope.regions != chosen.regions {
            let wider = scope.regions.is_empty() || chosen.regions.is_subset(&scope.regions);
            if chosen.regions.is_empty() || !wider {
                return None;
            }
            narrowing.regions.clone_from(&chosen.regions);
        }
        let ids: BTreeSet<String> = chosen.account_ids.iter().map(ToString::to_string).collect();
        if scope.accounts != ids {
            let wider = scope.accounts.is_empty() || ids.is_subset(&scope.accounts);
            if ids.is_empty() || !wider {
                return None;
            }
            narrowing.accounts.clone_from(&chosen.account_ids);
        }
        (narrowing.dimensions() <= 1).then_some(narrowing)
    }

    /// The types that a run of this scope looked at; `None`: that cannot be told.
    fn types_of(&self, scope: &RunScope, chosen: &Chosen) -> Option<BTreeSet<TypeId>> {
        let policy = &chosen.choice.policy;
        let (excluded, included): (Vec<&String>, Vec<&String>) =
            scope.resource_types.iter().partition(|pattern| pattern.starts_with('!'));
        let resolve = |pattern: &str| Some(self.registry.resolve(pattern).ok()?.types);
        let mut types: BTreeSet<TypeId> = if included.iter().all(|pattern| *pattern == "*") {
            policy.types_in_scope(&Requested::All).into_iter().collect()
        } else {
            let mut named = Vec::new();
            for pattern in included {
                named.extend(resolve(pattern)?);
            }
            policy.types_in_scope(&Requested::Types(named)).into_iter().collect()
        };
        for pattern in excluded {
            for id in resolve(pattern.trim_start_matches('!'))? {
                types.remove(&id);
            }
        }
        Some(types)
    }

    /// What this part of a run says; `None`: it says nothing about it, for example of a region that it did not enter.
    async fn read(
        &self,
        who: &Principal,
        run: RunLine,
        narrowing: Narrowing,
    ) -> Result<Option<RunAnswer>, AskError> {
        let outcome = match self.ledger.outcome(&who.tenant, &run.run_id).await {
            Ok(outcome) => outcome,
            // It was forgotten meanwhile.
            Err(error) if error.code == Code::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let accounts: Vec<_> = outcome
            .accounts
            .iter()
            .map(|line| {
                let failure = line.failure.as_ref().map(|gap| gap.cause.clone());
                (line.name.clone(), line.account_id.clone(), failure, line.summary)
            })
            .collect();
        let names = |map: &BTreeMap<Arc<str>, Tally>| -> BTreeMap<String, Tally> {
            map.iter().map(|(name, tally)| (name.to_string(), *tally)).collect()
        };
        let mut breakdown = Breakdown::default();
        if narrowing.dimensions() == 0 {
            breakdown.by_region = names(&outcome.by_region);
            breakdown.by_resource_type = names(&outcome.by_resource_type);
            breakdown.by_account = accounts;
            breakdown.by_tag.clone_from(&outcome.by_tag);
            let closed = outcome
                .failing()
                .map(|(line, gap)| sentence(&line.name, ANY, ANY, gap.state.as_str(), &gap.cause));
            let entered = |account: &String| !outcome.failing().any(|(line, _)| line.name == *account);
            let partly = outcome.told.iter().filter(|(account, _)| entered(account));
            let partly = partly.map(|(account, gap)| {
                sentence(account, &gap.region, &gap.resource_type, &gap.state, &gap.cause)
            });
            let reading = RunReading {
                summary: outcome.summary,
                complete: outcome.complete,
                gaps: closed.chain(partly).take(GAPS_TOLD).collect(),
                gap_count: outcome.gaps.max(u64::from(!outcome.complete)),
                breakdown,
            };
            return Ok(Some(RunAnswer {
                run,
                progress: None,
                narrowing,
                reading: Some(reading),
                cached: true,
                notes: Vec::new(),
            }));
        }
        let coverage = self.ledger.coverage(&who.tenant, &run.run_id).await?;
        let unentered =
            |region: &String| !coverage.iter().any(|cell| *cell.region == **region || *cell.region == *ANY);
        if narrowing.regions.iter().any(unentered) {
            return Ok(None);
        }
        let mut summary = Tally::default();
        if !narrowing.resource_types.is_empty() {
            breakdown.by_resource_type = names(&outcome.by_resource_type);
            breakdown.by_resource_type.retain(|name, _| narrowing.resource_types.contains(name));
            breakdown.by_resource_type.values().for_each(|tally| summary.merge(tally));
        } else if !narrowing.regions.is_empty() {
            breakdown.by_region = names(&outcome.by_region);
            breakdown.by_region.retain(|name, _| narrowing.regions.contains(name) || name == GLOBAL);
            breakdown.by_region.values().for_each(|tally| summary.merge(tally));
        } else {
            breakdown.by_account = accounts;
            breakdown
                .by_account
                .retain(|(_, id, ..)| id.as_ref().is_some_and(|id| narrowing.accounts.contains(id)));
            if breakdown.by_account.len() < narrowing.accounts.len() {
                return Ok(None);
            }
            breakdown.by_account.iter().for_each(|(.., tally)| summary.merge(tally));
        }
        let gaps: Vec<&Cell> =
            coverage.iter().filter(|cell| cell.state.is_gap() && narrowing.holds(cell)).collect();
        let closed = outcome.failing().any(|(line, _)| line.account_id.is_none());
        let reading = RunReading {
            complete: gaps.is_empty() && summary.unknown == 0 && !closed,
            gaps: gaps
                .iter()
                .take(GAPS_TOLD)
                .map(|cell| {
                    let cause = cell.cause.as_deref().unwrap_or_default();
                    sentence(
                        cell.account_id.as_str(),
                        &cell.region,
                        &cell.resource_type,
                        cell.state.as_str(),
                        cause,
                    )
                })
                .collect(),
            gap_count: gaps.len() as u64,
            summary,
            breakdown,
        };
        Ok(Some(RunAnswer {
            run,
            progress: None,
            narrowing,
            reading: Some(reading),
            cached: true,
            notes: Vec::new(),
        }))
    }
}

/// A gap in a sentence.
fn sentence(account: &str, region: &str, resource_type: &str, state: &str, cause: &str) -> String {
    let place = if region == ANY { "all regions".to_owned() } else { region.to_owned() };
    let what = if resource_type == ANY { "everything".to_owned() } else { resource_type.to_owned() };
    let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
    format!("{account}: {what} in {place} was not fully seen ({state}){cause}")
}
