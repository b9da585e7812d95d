//! What the status of an audit says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use tagwarden_api::REQUESTED_AT;
use tagwarden_api::audit::{
    AccountsStatus, ComplianceAuditStatus, CompliantWhen, FailingAccount, HistoryLine, PolicyUsed, ReportRef,
    RunPhase, RunResult, RunStatus, TagCount, Trigger as ShownTrigger,
};
use tagwarden_api::condition::{COMPLIANT, READY, RECONCILING, STALLED, reason};
use tagwarden_api::summary::Summary;
use tagwarden_app::audit::outcome::RunOutcome;
use tagwarden_app::audit::ports::RunRecord;
use tagwarden_core::coverage::CellState;
use tagwarden_core::finding::Severity;
use tagwarden_core::run::{RunState, Trigger};
use tagwarden_core::tally::Tally;

use super::decide::Accounts;
use super::dereference::Standing;
use super::runner::{Setback, Underway};
use crate::conditions::{Answer, Finding, NO_EVENTS, bounded, find, merge, note_events, seconds};
use crate::key::Key;
use crate::write::STATUS_BYTES_MAX;

/// Lines of the history.
pub(super) const HISTORY: usize = 10;

/// Tags, and accounts that failed, that a status names.
const NAMED: usize = 20;

/// Characters of what a status says about an account that failed.
const CAUSE_CHARS: usize = 200;

/// Everything that a status depends on.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) generation: i64,
    pub(super) before: &'a ComplianceAuditStatus,
    pub(super) suspended: bool,
    /// Whether events are, as far as that is known.
    pub(super) events_refused: Option<bool>,
    pub(super) compliant_when: Option<&'a CompliantWhen>,
    /// What keeps the audit from running at all.
    pub(super) obstacle: Option<Obstacle>,
    pub(super) accounts: Accounts,
    /// The audit.
    pub(super) key: &'a Key,
    /// How its accounts stand now, by name.
    pub(super) standings: &'a BTreeMap<String, Standing>,
    /// Newest first.
    pub(super) runs: &'a [RunRecord],
    /// The run that this process works on.
    pub(super) underway: Option<&'a Underway>,
    /// Why the open run does not go on now.
    pub(super) setback: Option<&'a Setback>,
    /// Runs that ended since the status was last written, oldest first.
    pub(super) ended: &'a [Published],
    pub(super) token: Option<String>,
    pub(super) slot: Option<Timestamp>,
    pub(super) next_due: Option<Timestamp>,
}

/// A run that has ended, with what came of it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) record: RunRecord,
    /// None of a run that was stopped.
    pub(super) outcome: Option<RunOutcome>,
    /// Whether it has a report.
    pub(super) reported: bool,
}

/// What keeps an audit from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The spec makes no sense.
    Invalid { reason: &'static str, message: String },
    /// Its policy is missing, or cannot be used.
    Policy(String),
    /// No account is selected.
    NoAccounts(String),
    /// The API server does not let us do what a run needs.
    Forbidden(String),
    /// The store does not work now.
    Store(String),
}

/// The status of an audit, never too large.
pub(super) fn status(view: &View<'_>) -> ComplianceAuditStatus {
    let before = view.before;
    let mut status = ComplianceAuditStatus {
        observed_generation: Some(view.generation),
        conditions: Vec::new(),
        last_handled_reconcile_at: view.token.clone().or_else(|| before.last_handled_reconcile_at.clone()),
        last_schedule_time: view.slot.map(seconds).or_else(|| before.last_schedule_time.clone()),
        next_schedule_time: view.next_due.map(seconds),
        run: run_status(view),
        history: history(view),
        ..before.clone()
    };
    if let Some(newest) = view.runs.first() {
        status.last_attempt_time = Some(seconds(newest.started_at));
    }
    for ended in view.ended {
        take(&mut status, ended, view.standings);
    }
    let mut findings = findings(view, &status);
    note_events(&mut findings, &before.conditions, view.events_refused);
    status.conditions = merge(&before.conditions, findings, view.generation, view.now);
    fit(status)
}

/// What a run that ended changes.
fn take(status: &mut ComplianceAuditStatus, ended: &Published, standings: &BTreeMap<String, Standing>) {
    let Published { record, outcome, reported } = ended;
    if *reported {
        status.report_ref = Some(ReportRef { name: record.run_id.clone() });
    }
    match record.state {
        RunState::Succeeded => status.consecutive_failures = 0,
        RunState::Failed => status.consecutive_failures = status.consecutive_failures.saturating_add(1),
        _ => return,
    }
    status.last_duration = record.finished_at.map(|end| duration(record.started_at, end));
    status.policy = Some(PolicyUsed {
        name: bounded(&record.policy_name, 253),
        revision: bounded(&record.policy_revision, 80),
    });
    let Some(outcome) = outcome else { return };
    status.accounts = Some(accounts(outcome, standings));
    if record.state == RunState::Succeeded {
        status.last_successful_time = record.finished_at.map(seconds);
        status.summary = Some(summary(outcome));
        status.top_tags = top_tags(outcome, NAMED);
    }
}

/// What was found, in numbers.
pub(crate) fn summary(outcome: &RunOutcome) -> Summary {
    let tally = &outcome.summary;
    Summary {
        score: score(tally),
        complete: outcome.complete,
        resources: number(tally.resources()),
        compliant: number(tally.compliant),
        violating: number(tally.violating),
        exempt: number(tally.exempt),
        unknown: number(tally.unknown),
        violations: number(tally.violations()),
        by_severity: Severity::ALL
            .into_iter()
            .map(|severity| (severity.as_str().to_owned(), number(tally.by_severity[severity as usize])))
            .collect(),
        // Those of accounts of which nothing was seen are told as accounts.
        gaps: number(
            outcome.accounts.iter().filter(|line| line.failure.is_none()).map(|line| line.gaps).sum(),
        ),
    }
}

/// In percent with one decimal, rounded down: 100.0 is for those who have it. None when nothing was judged.
pub(crate) fn score(tally: &Tally) -> Option<String> {
    let thousandths = u128::from(tally.compliant) * 1000;
    let thousandths = thousandths.checked_div(u128::from(tally.resources()))?;
    Some(format!("{}.{}", thousandths / 10, thousandths % 10))
}

/// The tags that are missing or wrong most often.
pub(crate) fn top_tags(outcome: &RunOutcome, most: usize) -> Vec<TagCount> {
    let mut tags: Vec<_> =
        outcome.by_tag.iter().filter(|(_, tally)| tally.missing + tally.invalid > 0).collect();
    tags.sort_by_key(|(key, tally)| (std::cmp::Reverse(tally.missing + tally.invalid), (*key).clone()));
    tags.truncate(most);
    let count = |(key, tally): (&std::sync::Arc<str>, &tagwarden_core::report::TagTally)| TagCount {
        key: bounded(key, 128),
        missing: number(tally.missing),
        invalid: number(tally.invalid),
    };
    tags.into_iter().map(count).collect()
}

pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn small(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(crate) fn accounts(outcome: &RunOutcome, standings: &BTreeMap<String, Standing>) -> AccountsStatus {
    let failed = outcome.failing().count();
    // An account that is known not to be usable says best why.
    let own = |name: &str| {
        let standing = standings.get(name).filter(|standing| standing.ready_since.is_none())?;
        Some(bounded(&standing.reason, 128))
    };
    let failing = outcome.failing().take(NAMED).map(|(line, gap)| FailingAccount {
        name: bounded(&line.name, 253),
        reason: own(&line.name).unwrap_or_else(|| word(gap.state).into()),
        message: Some(bounded(&gap.cause, CAUSE_CHARS)),
    });
    AccountsStatus {
        total: small(outcome.accounts.len()),
        succeeded: small(outcome.accounts.len() - failed),
        failed: small(failed),
        failing: failing.collect(),
    }
}

/// The state of a cell as a reason.
fn word(state: CellState) -> &'static str {
    match state {
        CellState::Denied => "AccessDenied",
        CellState::Throttled => "Throttled",
        CellState::TimedOut => "TimedOut",
        CellState::Unsupported => "Unsupported",
        CellState::Interrupted => "Interrupted",
        CellState::Complete | CellState::TaggedOnly | CellState::Failed => "Failed",
    }
}

pub(crate) fn shown(trigger: Trigger) -> ShownTrigger {
    match trigger {
        Trigger::Created => ShownTrigger::Created,
        Trigger::Schedule => ShownTrigger::Schedule,
        Trigger::OnDemand => ShownTrigger::OnDemand,
        Trigger::PolicyChange => ShownTrigger::PolicyChange,
    }
}

pub(crate) fn result(state: RunState) -> Option<RunResult> {
    match state {
        RunState::Succeeded => Some(RunResult::Succeeded),
        RunState::Failed => Some(RunResult::Failed),
        RunState::Cancelled => Some(RunResult::Cancelled),
        RunState::Queued | RunState::Running => None,
    }
}

/// The run under way: what the store says of it, and how far it is where this process works on it.
fn run_status(view: &View<'_>) -> Option<RunStatus> {
    let record = view.runs.iter().find(|record| !record.state.ended())?;
    let here = view.underway.filter(|underway| underway.run_id == record.run_id);
    let (done, total) = match here {
        Some(here) if here.progress.accounts > 0 => (here.progress.accounts_done, here.progress.accounts),
        _ => (record.accounts_done as usize, record.accounts as usize),
    };
    let phase = match record.state {
        RunState::Queued if here.is_none_or(|here| here.progress.accounts == 0) => RunPhase::Pending,
        _ if total > 0 && done >= total => RunPhase::Finalizing,
        _ => RunPhase::Running,
    };
    Some(RunStatus {
        id: record.run_id.clone(),
        trigger: shown(record.slot.trigger),
        phase,
        start_time: seconds(record.started_at),
        accounts_done: small(done),
        accounts_total: small(total),
        holder: record.holder.as_deref().map(|holder| bounded(holder, 253)),
    })
}

/// The last runs: those of the store, and those that the store does not remember any more.
fn history(view: &View<'_>) -> Vec<HistoryLine> {
    let lines = view.runs.iter().filter_map(|record| {
        let results = record.results.filter(|_| record.state == RunState::Succeeded);
        Some(HistoryLine {
            id: record.run_id.clone(),
            time: seconds(record.finished_at?),
            result: result(record.state)?,
            score: results.and_then(|results| score(&results.summary)),
            violations: results.map(|results| number(results.summary.violations())),
            complete: results.is_some_and(|results| results.complete),
        })
    });
    let mut lines: Vec<HistoryLine> = lines.collect();
    for line in &view.before.history {
        if !lines.iter().any(|known| known.id == line.id) {
            lines.push(line.clone());
        }
    }
    lines.sort_by(|one, other| other.time.0.cmp(&one.time.0).then_with(|| other.id.cmp(&one.id)));
    lines.truncate(HISTORY);
    lines
}

fn findings(view: &View<'_>, status: &ComplianceAuditStatus) -> Vec<Finding> {
    let mut findings = vec![ready(view, status), compliant(status.summary.as_ref(), view.compliant_when)];
    match &view.obstacle {
        Some(Obstacle::Invalid { reason, message }) => {
            findings.push(Finding::new(STALLED, true, reason, message.clone()));
        }
        Some(Obstacle::Forbidden(message)) => {
            findings.push(Finding::new(RECONCILING, true, reason::PROGRESSING_WITH_RETRY, message.clone()));
        }
        Some(Obstacle::Store(cause)) => {
            let message = format!("the store does not work: {cause}");
            findings.push(Finding::new(RECONCILING, true, reason::PROGRESSING_WITH_RETRY, message));
        }
        _ => {
            if let Some(run) = &status.run {
                // Without the number of accounts that are done: this message would change all the time.
                findings.push(match view.setback {
                    None => {
                        let message = format!("run {} is under way", run.id);
                        Finding::new(RECONCILING, true, reason::PROGRESSING, message)
                    }
                    Some(setback) => {
                        let message = format!(
                            "run {} could not go on, and is taken up again: {}",
                            run.id, setback.cause
                        );
                        Finding::new(RECONCILING, true, reason::PROGRESSING_WITH_RETRY, message)
                    }
                });
            }
        }
    }
    findings
}

fn ready(view: &View<'_>, status: &ComplianceAuditStatus) -> Finding {
    let finding = match &view.obstacle {
        Some(Obstacle::Invalid { reason, message }) => {
            return Finding::new(READY, false, reason, message.clone());
        }
        Some(Obstacle::Policy(message)) => {
            return Finding::new(READY, false, reason::DEPENDENCY_NOT_READY, message.clone());
        }
        Some(Obstacle::NoAccounts(message)) => {
            return Finding::new(READY, false, reason::NO_ACCOUNTS, message.clone());
        }
        Some(Obstacle::Forbidden(message)) => {
            return Finding::new(READY, false, reason::FORBIDDEN, message.clone());
        }
        Some(Obstacle::Store(_)) | None => by_last_run(view, status),
    };
    if view.suspended {
        let message = format!("{SUSPENDED}{}", finding.message);
        return Finding { reason: reason::SUSPENDED, message, ..finding };
    }
    finding
}

/// What to do where accounts that the last run could not look into have been mended since. Nobody else would see to
/// that before the next slot of the schedule.
fn hint(view: &View<'_>, status: &ComplianceAuditStatus, since: Timestamp) -> Option<String> {
    let failing = status.accounts.iter().flat_map(|accounts| &accounts.failing);
    let is_mended = |name: &str| {
        let ready_since = view.standings.get(name).and_then(|standing| standing.ready_since);
        ready_since.is_some_and(|ready_since| ready_since >= since)
    };
    let mut mended = failing.map(|account| &*account.name).filter(|name| is_mended(name));
    let first = mended.next().filter(|_| !view.suspended && status.run.is_none())?;
    let Key { namespace, name } = view.key;
    let who = match mended.count() {
        0 => format!("ClientAccount {first} is"),
        more => format!("ClientAccount {first} and {more} more are"),
    };
    Some(format!(
        "; {who} Ready since: to look again now, kubectl annotate --overwrite complianceaudit {name} -n {namespace} \
         {REQUESTED_AT}=\"$(date)\""
    ))
}

/// Begins the message of an audit that is suspended, before what it would say otherwise.
const SUSPENDED: &str = "suspended, so no further run starts; ";

/// The last run that found something out or failed to.
struct LastRun<'a> {
    id: &'a str,
    succeeded: bool,
    reason: Option<&'a str>,
    cause: Option<&'a str>,
}

fn by_last_run(view: &View<'_>, status: &ComplianceAuditStatus) -> Finding {
    let counted = |record: &&RunRecord| matches!(record.state, RunState::Succeeded | RunState::Failed);
    if let Some(record) = view.runs.iter().find(counted) {
        let last = LastRun {
            id: &record.run_id,
            succeeded: record.state == RunState::Succeeded,
            reason: record.reason.as_deref(),
            cause: record.cause.as_deref(),
        };
        let mut finding = says(&last, status);
        finding.message.extend(hint(view, status, record.started_at));
        return finding;
    }
    // The store has forgotten it, or is away; the status has not.
    let Some(line) = status.history.iter().find(|line| line.result != RunResult::Cancelled) else {
        return before_the_first(view, status);
    };
    let succeeded = line.result == RunResult::Succeeded;
    let finding = says(&LastRun { id: &line.id, succeeded, reason: None, cause: None }, status);
    match find(&view.before.conditions, READY) {
        // Said with more detail before.
        Some(before) if before.message.contains(&line.id) && before.status == finding.answer.as_str() => {
            let message = before.message.strip_prefix(SUSPENDED).unwrap_or(&before.message);
            let message = message.strip_suffix(NO_EVENTS).unwrap_or(message).to_owned();
            let known = tagwarden_api::condition::REASONS.iter().find(|known| known.name == before.reason);
            let reason = known.map(|known| known.name).filter(|reason| *reason != reason::SUSPENDED);
            Finding { message, reason: reason.unwrap_or(finding.reason), ..finding }
        }
        _ => finding,
    }
}

fn says(last: &LastRun<'_>, status: &ComplianceAuditStatus) -> Finding {
    if !last.succeeded {
        let word = match last.reason {
            Some(reason::NO_USABLE_ACCOUNT) => reason::NO_USABLE_ACCOUNT,
            Some(reason::TIMED_OUT) => reason::TIMED_OUT,
            Some(reason::TOO_MANY_RESOURCES) => reason::TOO_MANY_RESOURCES,
            _ => reason::FAILED,
        };
        let cause = last.cause.unwrap_or("it failed");
        return Finding::new(READY, false, word, format!("run {}: {cause}", last.id));
    }
    let Some(summary) = &status.summary else {
        return Finding::new(READY, true, reason::SUCCEEDED, format!("run {} succeeded", last.id));
    };
    let mut message = format!("run {} judged {} resources", last.id, summary.resources);
    if summary.complete {
        return Finding::new(READY, true, reason::SUCCEEDED, message);
    }
    message.push_str(&partial(summary, status.accounts.as_ref()));
    if let Some(cause) = last.cause {
        message.push_str("; ");
        message.push_str(cause);
    }
    Finding::new(READY, true, reason::PARTIAL, message)
}

/// What could not be seen, in words.
pub(crate) fn partial(summary: &Summary, accounts: Option<&AccountsStatus>) -> String {
    let mut told = String::new();
    let mut tell = |count: i64, one: &str, many: &str, what: &str| {
        if count > 0 {
            let _ = write!(told, "; {count} {} {what}", if count == 1 { one } else { many });
        }
    };
    if let Some(accounts) = accounts {
        let of = format!("of {} accounts", accounts.total);
        tell(accounts.failed.into(), &of, &of, "could not be entered or read");
    }
    tell(summary.gaps, "cell", "cells", "of account, region and type could not be fully seen");
    tell(summary.unknown, "resource has", "resources have", "tags that could not be read");
    if told.is_empty() { "; not everything could be seen".to_owned() } else { told }
}

fn before_the_first(view: &View<'_>, status: &ComplianceAuditStatus) -> Finding {
    if let Some(run) = &status.run {
        let message = format!("the first run, {}, is under way", run.id);
        return Finding::new(READY, Answer::Unknown, reason::PROGRESSING, message);
    }
    let accounts = view.accounts;
    if matches!(view.obstacle, Some(Obstacle::Store(_))) {
        return Finding::new(READY, Answer::Unknown, reason::NO_RUN_YET, "no run has ended yet");
    }
    if accounts.unobserved > 0 {
        let message =
            format!("{} of {} accounts are still to be verified", accounts.unobserved, accounts.found);
        return Finding::new(READY, Answer::Unknown, reason::NO_RUN_YET, message);
    }
    if accounts.ready == 0 {
        let message = "none of the accounts can be entered: look at the conditions of its ClientAccounts; the first \
                       run starts as soon as one is Ready";
        return Finding::new(READY, false, reason::NO_USABLE_ACCOUNT, message);
    }
    Finding::new(READY, Answer::Unknown, reason::NO_RUN_YET, "no run has ended yet")
}

/// What was found, held against what is wanted. A violation is certain however little was seen; its absence is not.
fn compliant(summary: Option<&Summary>, wanted: Option<&CompliantWhen>) -> Finding {
    let Some(summary) = summary else {
        return Finding::new(
            COMPLIANT,
            Answer::Unknown,
            reason::NO_RUN_YET,
            "no run has brought a result yet",
        );
    };
    let broken = match wanted {
        None => (summary.violations > 0).then(|| {
            (
                reason::VIOLATIONS_FOUND,
                format!("{} violations on {} resources", summary.violations, summary.violating),
            )
        }),
        Some(wanted) => broken(summary, wanted),
    };
    if let Some((reason, message)) = broken {
        return Finding::new(COMPLIANT, false, reason, message);
    }
    if summary.resources == 0 {
        return Finding::new(
            COMPLIANT,
            Answer::Unknown,
            reason::NOTHING_JUDGED,
            "no resource was in scope of the policy",
        );
    }
    if !summary.complete {
        let message = "what was seen is compliant, and not everything was seen";
        return Finding::new(COMPLIANT, Answer::Unknown, reason::INCOMPLETE, message);
    }
    let score = summary.score.as_deref().unwrap_or("100.0");
    Finding::new(
        COMPLIANT,
        true,
        reason::COMPLIANT,
        format!("score {score} %, {} violations", summary.violations),
    )
}

/// What of the wanted does not hold.
fn broken(summary: &Summary, wanted: &CompliantWhen) -> Option<(&'static str, String)> {
    for (severity, most) in &wanted.max_by_severity {
        let found = summary.by_severity.get(severity).copied().unwrap_or_default();
        if found > i64::from(*most) {
            let message =
                format!("{found} violations of severity {severity}, and at most {most} are accepted");
            return Some((reason::TOO_MANY_VIOLATIONS, message));
        }
    }
    let least = i128::from(wanted.min_score?);
    if i128::from(summary.compliant) * 100 >= least * i128::from(summary.resources) {
        return None;
    }
    let score = summary.score.as_deref().unwrap_or_default();
    Some((reason::SCORE_TOO_LOW, format!("the score is {score} %, and at least {least} % is wanted")))
}

/// `412s`.
fn duration(from: Timestamp, to: Timestamp) -> String {
    format!("{}s", to.duration_since(from).as_secs().max(0))
}

/// The status, made small enough for the API: what is least worth is shortened first. Only texts full of characters
/// of several bytes ever need it.
fn fit(mut status: ComplianceAuditStatus) -> ComplianceAuditStatus {
    let size = |status: &ComplianceAuditStatus| serde_json::to_string(status).map_or(0, |text| text.len());
    for length in [10, 5, 2, 0] {
        if size(&status) <= STATUS_BYTES_MAX {
            return status;
        }
        status.top_tags.truncate(length);
        if let Some(accounts) = &mut status.accounts {
            accounts.failing.truncate(length);
        }
        for condition in &mut status.conditions {
            condition.message = bounded(&condition.message, 100 + 40 * length);
        }
    }
    status
}
