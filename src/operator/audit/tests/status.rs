//! What a status says, and that it is never too large.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde_json::json;
use tagwarden_api::audit::{ComplianceAuditStatus, CompliantWhen, RunPhase, RunResult};
use tagwarden_api::condition::{COMPLIANT, READY, RECONCILING, STALLED};
use tagwarden_app::audit::AuditProgress;
use tagwarden_app::audit::outcome::{AccountOutcome, GapLine, RunOutcome};
use tagwarden_app::audit::ports::{RecordedResults, RunRecord};
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::finding::{Finding, FindingKind, Severity, ViolationType};
use tagwarden_core::report::{TagTally, ViolationRow};
use tagwarden_core::run::{RunState, Slot};
use tagwarden_core::tally::Tally;

use crate::audit::decide::Accounts;
use crate::audit::dereference::Standing;
use crate::audit::runner::{Setback, Underway};
use crate::audit::status::{Obstacle, Published, View, score, status};
use crate::conditions::find;
use crate::key::Key;
use crate::report;
use crate::write::STATUS_BYTES_MAX;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn record(run_id: &str, state: RunState, seconds: i64) -> RunRecord {
    RunRecord {
        run_id: run_id.into(),
        slot: Slot::schedule(at(seconds)),
        state,
        policy_name: "corp".into(),
        policy_revision: "sha256:1".into(),
        scope_digest: "sha256:2".into(),
        started_at: at(seconds),
        finished_at: state.ended().then(|| at(seconds + 42)),
        reason: None,
        cause: None,
        results: None,
        accounts: 3,
        accounts_done: if state.ended() { 3 } else { 1 },
        holder: Some("pod-1".into()),
    }
}

fn tally(compliant: u64, violating: u64) -> Tally {
    Tally { compliant, violating, by_severity: [0, violating, 0, 0, 0], ..Tally::default() }
}

/// One account that was seen, and so many that were closed.
fn outcome(found: Tally, closed: usize) -> RunOutcome {
    let mut outcome = RunOutcome::default();
    let complete = found.unknown == 0;
    outcome.add(AccountOutcome {
        name: "open".into(),
        complete,
        summary: found,
        cells: 4,
        ..AccountOutcome::default()
    });
    for n in 0..closed {
        outcome.add(AccountOutcome {
            name: format!("closed-{n}"),
            failure: Some(Gap { state: CellState::Denied, cause: "the role does not trust us".into() }),
            cells: 1,
            gaps: 1,
            ..AccountOutcome::default()
        });
    }
    outcome
}

fn succeeded(run_id: &str, seconds: i64, outcome: RunOutcome) -> Published {
    let mut record = record(run_id, RunState::Succeeded, seconds);
    record.results = Some(RecordedResults { complete: outcome.complete, summary: outcome.summary });
    Published { record, outcome: Some(outcome), reported: true }
}

fn failed(run_id: &str, seconds: i64, reason: &str) -> Published {
    let mut record = record(run_id, RunState::Failed, seconds);
    record.reason = Some(reason.into());
    record.cause = Some("because".into());
    Published { record, outcome: None, reported: true }
}

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("tenant", "nightly"));
static NOBODY: BTreeMap<String, Standing> = BTreeMap::new();

const READY_ACCOUNTS: Accounts = Accounts { found: 3, unobserved: 0, ready: 3 };

/// What becomes of a status when these runs have ended.
fn after(
    before: &ComplianceAuditStatus,
    ended: &[Published],
    wanted: Option<&CompliantWhen>,
) -> ComplianceAuditStatus {
    let runs: Vec<RunRecord> = ended.iter().rev().map(|one| one.record.clone()).collect();
    status(&View { compliant_when: wanted, runs: &runs, ended, ..view(before) })
}

fn view(before: &ComplianceAuditStatus) -> View<'_> {
    View {
        now: at(100_000),
        generation: 2,
        before,
        suspended: false,
        events_refused: None,
        compliant_when: None,
        obstacle: None,
        accounts: READY_ACCOUNTS,
        key: &KEY,
        standings: &NOBODY,
        runs: &[],
        underway: None,
        setback: None,
        ended: &[],
        token: None,
        slot: None,
        next_due: None,
    }
}

/// `status reason` of a condition, or `-`.
fn says(status: &ComplianceAuditStatus, condition: &str) -> String {
    find(&status.conditions, condition)
        .map_or("-".into(), |found| format!("{} {}", found.status, found.reason))
}

#[test]
fn the_work_and_the_finding_are_two_questions() {
    let new = ComplianceAuditStatus::default();
    let unread = Tally { unknown: 1, ..tally(10, 0) };
    let table = [
        (
            "all is well",
            vec![succeeded("r", 0, outcome(tally(10, 0), 0))],
            "True Succeeded",
            "True Compliant",
        ),
        (
            "violations",
            vec![succeeded("r", 0, outcome(tally(9, 1), 0))],
            "True Succeeded",
            "False ViolationsFound",
        ),
        ("partial", vec![succeeded("r", 0, outcome(tally(10, 0), 1))], "True Partial", "Unknown Incomplete"),
        (
            "partial and violations",
            vec![succeeded("r", 0, outcome(tally(9, 1), 1))],
            "True Partial",
            "False ViolationsFound",
        ),
        ("unread tags", vec![succeeded("r", 0, outcome(unread, 0))], "True Partial", "Unknown Incomplete"),
        (
            "nothing judged",
            vec![succeeded("r", 0, outcome(tally(0, 0), 0))],
            "True Succeeded",
            "Unknown NothingJudged",
        ),
        (
            "no account opens",
            vec![failed("r", 0, "NoUsableAccount")],
            "False NoUsableAccount",
            "Unknown NoRunYet",
        ),
        ("too much", vec![failed("r", 0, "TooManyResources")], "False TooManyResources", "Unknown NoRunYet"),
        ("some other reason", vec![failed("r", 0, "Bad luck")], "False Failed", "Unknown NoRunYet"),
        (
            "failed after a success",
            vec![succeeded("r1", 0, outcome(tally(10, 0), 0)), failed("r2", 60, "TimedOut")],
            "False TimedOut",
            "True Compliant",
        ),
    ];
    for (case, ended, ready, compliant) in table {
        let status = after(&new, &ended, None);
        assert_eq!(says(&status, READY), ready, "{case}");
        assert_eq!(says(&status, COMPLIANT), compliant, "{case}");
        assert_eq!((says(&status, STALLED), says(&status, RECONCILING)), ("-".into(), "-".into()), "{case}");
        assert_eq!(status.observed_generation, Some(2));
    }
}

#[test]
fn what_counts_as_compliant_can_be_said() {
    let wanted = |value| serde_json::from_value::<CompliantWhen>(value).unwrap();
    let new = ComplianceAuditStatus::default();
    for (when, found, closed, expected) in [
        (json!({"minScore": 90}), tally(9, 1), 0, "True Compliant"),
        (json!({"minScore": 91}), tally(9, 1), 0, "False ScoreTooLow"),
        (json!({"minScore": 90}), tally(9, 1), 1, "Unknown Incomplete"),
        (json!({"minScore": 91}), tally(9, 1), 1, "False ScoreTooLow"),
        (json!({"maxBySeverity": {"critical": 0}}), tally(1, 9), 0, "True Compliant"),
        (json!({"maxBySeverity": {"high": 8}}), tally(1, 9), 0, "False TooManyViolations"),
        (json!({"minScore": 10, "maxBySeverity": {"high": 9}}), tally(1, 9), 0, "True Compliant"),
        (json!({"minScore": 100}), tally(0, 0), 0, "Unknown NothingJudged"),
    ] {
        let status = after(&new, &[succeeded("r", 0, outcome(found, closed))], Some(&wanted(when.clone())));
        assert_eq!(says(&status, COMPLIANT), expected, "{when}");
    }
    // Other wishes are held against the last result without another run.
    let before = after(&new, &[succeeded("r", 0, outcome(tally(9, 1), 0))], None);
    let wished = wanted(json!({"minScore": 50}));
    let status = status(&View { compliant_when: Some(&wished), ..view(&before) });
    assert_eq!(says(&status, COMPLIANT), "True Compliant");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let before =
        after(&ComplianceAuditStatus::default(), &[succeeded("r", 0, outcome(tally(10, 0), 0))], None);
    let table = [
        (
            Obstacle::Invalid { reason: "InvalidSchedule", message: "m".into() },
            "False InvalidSchedule",
            "True InvalidSchedule",
            "-",
        ),
        (Obstacle::Policy("there is none".into()), "False DependencyNotReady", "-", "-"),
        (Obstacle::NoAccounts("there is none".into()), "False NoAccounts", "-", "-"),
        (Obstacle::Forbidden("no".into()), "False Forbidden", "-", "True ProgressingWithRetry"),
        (Obstacle::Store("away".into()), "True Succeeded", "-", "True ProgressingWithRetry"),
    ];
    for (obstacle, ready, stalled, reconciling) in table {
        let status = status(&View { obstacle: Some(obstacle.clone()), ..view(&before) });
        assert_eq!(says(&status, READY), ready, "{obstacle:?}");
        assert_eq!(says(&status, STALLED), stalled, "{obstacle:?}");
        assert_eq!(says(&status, RECONCILING), reconciling, "{obstacle:?}");
        assert_eq!(status.summary, before.summary, "what was found stays");
    }
}

#[test]
fn before_the_first_result_it_says_what_it_waits_for() {
    let new = ComplianceAuditStatus::default();
    for (accounts, expected) in [
        (READY_ACCOUNTS, "Unknown NoRunYet"),
        (Accounts { found: 3, unobserved: 1, ready: 0 }, "Unknown NoRunYet"),
        (Accounts { found: 3, unobserved: 0, ready: 0 }, "False NoUsableAccount"),
    ] {
        assert_eq!(says(&status(&View { accounts, ..view(&new) }), READY), expected);
    }
    let runs = [record("r", RunState::Running, 0)];
    let progress = AuditProgress { accounts: 3, accounts_done: 2, resources: 9 };
    let underway = Underway { run_id: "r".into(), progress };
    let first = status(&View { runs: &runs, underway: Some(&underway), ..view(&new) });
    assert_eq!(
        (says(&first, READY), says(&first, RECONCILING)),
        ("Unknown Progressing".into(), "True Progressing".into())
    );
    let run = first.run.unwrap();
    assert_eq!((run.phase, run.accounts_done, run.accounts_total), (RunPhase::Running, 2, 3));
    let elsewhere = status(&View { runs: &runs, ..view(&new) }).run.unwrap();
    assert_eq!((elsewhere.accounts_done, elsewhere.holder.as_deref()), (1, Some("pod-1")));
}

#[test]
fn what_was_not_seen_is_told_as_what_it_is() {
    let message = |outcome: RunOutcome| {
        let status = after(&ComplianceAuditStatus::default(), &[succeeded("r", 0, outcome)], None);
        find(&status.conditions, READY).unwrap().message.clone()
    };
    let mut patchy = outcome(Tally { unknown: 1, ..tally(9, 1) }, 1);
    patchy.add(AccountOutcome { name: "patchy".into(), cells: 7, gaps: 2, ..AccountOutcome::default() });
    assert_eq!(
        message(patchy),
        "run r judged 10 resources; 1 of 3 accounts could not be entered or read; 2 cells of account, region and type \
         could not be fully seen; 1 resource has tags that could not be read"
    );
    assert_eq!(
        message(outcome(tally(10, 0), 2)),
        "run r judged 10 resources; 2 of 3 accounts could not be entered or read"
    );
}

#[test]
fn an_account_that_failed_says_why_itself_and_how_to_look_again_once_it_is_mended() {
    let standing = |ready_since: Option<i64>, reason: &str| {
        BTreeMap::from([(
            "closed-0".to_owned(),
            Standing { ready_since: ready_since.map(at), reason: reason.into() },
        )])
    };
    let ended = [succeeded("r", 100, outcome(tally(10, 0), 2))];
    let runs = [ended[0].record.clone()];
    let shut = standing(None, "ExternalIdNotAllowed");
    let before = ComplianceAuditStatus::default();
    let before = status(&View { runs: &runs, ended: &ended, standings: &shut, ..view(&before) });
    let failing = &before.accounts.as_ref().unwrap().failing;
    assert_eq!((&*failing[0].reason, &*failing[1].reason), ("ExternalIdNotAllowed", "AccessDenied"));

    let message = |standings: &BTreeMap<String, Standing>, suspended: bool| {
        let status = status(&View { runs: &runs, standings, suspended, ..view(&before) });
        find(&status.conditions, READY).unwrap().message.clone()
    };
    let hint = "; ClientAccount closed-0 is Ready since: to look again now, kubectl annotate --overwrite \
                complianceaudit nightly -n tenant tagwarden.io/requestedAt=\"$(date)\"";
    assert!(message(&standing(Some(500), "Succeeded"), false).ends_with(hint));
    // It was Ready all the time: another look would not help.
    for (standings, suspended) in [
        (standing(Some(50), "Succeeded"), false),
        (shut.clone(), false),
        (standing(Some(500), "Succeeded"), true),
    ] {
        assert!(!message(&standings, suspended).contains("kubectl"), "{standings:?}");
    }
}

#[test]
fn a_run_that_does_not_go_on_says_so() {
    let runs = [record("r", RunState::Running, 0)];
    let setback = Setback::for_test("r", "the store is corrupt");
    let before = ComplianceAuditStatus::default();
    let status = status(&View { runs: &runs, setback: Some(&setback), ..view(&before) });
    assert_eq!(says(&status, RECONCILING), "True ProgressingWithRetry");
    assert!(find(&status.conditions, RECONCILING).unwrap().message.ends_with("the store is corrupt"));
}

#[test]
fn a_suspended_audit_keeps_its_answer() {
    let before =
        after(&ComplianceAuditStatus::default(), &[succeeded("r", 0, outcome(tally(10, 0), 0))], None);
    let runs = [succeeded("r", 0, outcome(tally(10, 0), 0)).record];
    let suspended = status(&View { suspended: true, runs: &runs, ..view(&before) });
    assert_eq!(says(&suspended, READY), "True Suspended");
    let new = status(&View { suspended: true, ..view(&ComplianceAuditStatus::default()) });
    assert_eq!(says(&new, READY), "Unknown Suspended");
    // What is said of events is said once.
    let noted = status(&View { events_refused: Some(true), ..view(&before) });
    let again = status(&View { events_refused: Some(true), ..view(&noted) });
    assert_eq!(again.conditions, noted.conditions);
    assert_ne!(noted.conditions, before.conditions);
    // Also when the store has forgotten the run, or is away: then, and afterwards.
    let away = || Some(Obstacle::Store("away".into()));
    for obstacle in [None, away()] {
        let again = status(&View { suspended: true, obstacle: obstacle.clone(), ..view(&suspended) });
        assert_eq!(find(&again.conditions, READY), find(&suspended.conditions, READY));
        let resumed = status(&View { obstacle, ..view(&suspended) });
        assert_eq!(find(&resumed.conditions, READY), find(&before.conditions, READY));
    }
    let mended = status(&View { obstacle: Some(Obstacle::Policy("gone".into())), ..view(&before) });
    assert_eq!(says(&status(&view(&mended)), READY), "True Succeeded", "what stood in the way is forgotten");
}

#[test]
fn numbers_times_and_history_follow_the_runs() {
    let mut now = ComplianceAuditStatus::default();
    let mut all: Vec<RunRecord> = Vec::new();
    for n in 0..14_i64 {
        let run_id = format!("r{n:02}");
        let ended = match n % 4 {
            3 => failed(&run_id, n * 100, "TimedOut"),
            _ => succeeded(&run_id, n * 100, outcome(tally(10, u64::try_from(n).unwrap()), 2)),
        };
        all.insert(0, ended.record.clone());
        // The store remembers five.
        all.truncate(5);
        let ended = [ended];
        now = status(&View { runs: &all, ended: &ended, ..view(&now) });
    }
    assert_eq!(now.history.len(), 10);
    let ids: Vec<&str> = now.history.iter().map(|line| line.id.as_str()).collect();
    assert_eq!(ids, ["r13", "r12", "r11", "r10", "r09", "r08", "r07", "r06", "r05", "r04"]);
    assert_eq!(now.history[2].result, RunResult::Failed);
    assert_eq!((now.history[0].score.as_deref(), now.history[0].violations), (Some("43.4"), Some(13)));
    assert_eq!(now.consecutive_failures, 0);
    assert_eq!(now.last_duration.as_deref(), Some("42s"));
    assert_eq!(now.last_successful_time.as_ref().unwrap().0, at(1342));
    assert_eq!(now.last_attempt_time.as_ref().unwrap().0, at(1300));
    assert_eq!(now.report_ref.as_ref().unwrap().name, "r13");
    let accounts = now.accounts.as_ref().unwrap();
    assert_eq!((accounts.total, accounts.succeeded, accounts.failed), (3, 1, 2));
    assert_eq!(accounts.failing[0].reason, "AccessDenied");

    let twice = [failed("f1", 2000, "TimedOut"), failed("f2", 2100, "TimedOut")];
    let later = after(&now, &twice, None);
    assert_eq!(later.consecutive_failures, 2);
    assert_eq!(later.summary, now.summary, "a failure changes no number");
    let cancelled =
        Published { record: record("c", RunState::Cancelled, 2200), outcome: None, reported: false };
    let still = after(&later, &[cancelled], None);
    assert_eq!((still.consecutive_failures, still.history[0].result), (2, RunResult::Cancelled));
}

#[test]
fn a_status_that_is_up_to_date_stays_as_it_is() {
    let ended = [succeeded("r", 0, outcome(tally(9, 1), 1))];
    let before = after(&ComplianceAuditStatus::default(), &ended, None);
    let runs = [ended[0].record.clone()];
    assert_eq!(status(&View { runs: &runs, now: at(900_000), ..view(&before) }), before);
    let restarted = status(&View { now: at(900_000), ..view(&before) });
    assert_eq!(
        restarted,
        ComplianceAuditStatus { next_schedule_time: None, ..before.clone() },
        "without the store's memory"
    );
}

#[test]
fn a_score_is_never_rounded_up() {
    for (compliant, violating, expected) in [
        (1, 0, Some("100.0")),
        (9_999, 1, Some("99.9")),
        (0, 1, Some("0.0")),
        (2, 1, Some("66.6")),
        (0, 0, None),
    ] {
        assert_eq!(score(&tally(compliant, violating)).as_deref(), expected);
    }
}

/// The largest run that can be: many accounts, types and tags, and every text as long and wide as it can be.
fn enormous() -> RunOutcome {
    let wide = "\u{1F4A5}".repeat(600);
    let control = "\u{1}".repeat(600);
    let mut outcome = RunOutcome::default();
    for n in 0..2_000_u64 {
        let text = if n % 2 == 0 { &wide } else { &control };
        let name = |what: &str, n: u64| -> Arc<str> { format!("{what}-{n}-{text}").into() };
        let found = Tally { compliant: u64::MAX >> 24, ..tally(u64::MAX >> 24, u64::MAX >> 24) };
        let gap = |n: u64| GapLine {
            region: text.clone(),
            resource_type: name("type", n),
            state: "denied".into(),
            cause: text.clone(),
        };
        outcome.add(AccountOutcome {
            name: name("account", n).to_string(),
            account_id: Some("123456789012".parse().unwrap()),
            failure: (n % 3 == 0).then(|| Gap { state: CellState::Denied, cause: text.clone() }),
            told: (0..10).map(gap).collect(),
            types: (0..3).map(|n| name("type", n)).collect(),
            summary: found,
            by_resource_type: (0..3).map(|m| (name("type", n * 3 + m), found)).collect(),
            by_tag: (0..3)
                .map(|m| (name("tag", n * 3 + m), TagTally { missing: u64::MAX >> 24, invalid: 1 }))
                .collect(),
            ..AccountOutcome::default()
        });
    }
    outcome
}

#[test]
fn a_status_and_a_report_stay_small_whatever_the_estate() {
    let wide = "\u{1F4A5}".repeat(3_000);
    let mut before = ComplianceAuditStatus::default();
    for n in 0..12_i64 {
        let mut ended = succeeded(&format!("{n:02}-{}", "x".repeat(250)), n * 100, enormous());
        ended.record.policy_name = wide.clone();
        ended.record.cause = Some(wide.clone());
        let runs = [record(&"y".repeat(253), RunState::Running, 9_999), ended.record.clone()];
        let ended = [ended];
        before = status(&View { runs: &runs, ended: &ended, token: Some("t".repeat(256)), ..view(&before) });
        let size = serde_json::to_string(&before).unwrap().len();
        assert!(size <= STATUS_BYTES_MAX, "{size} bytes");
    }
    assert!(before.summary.is_some() && before.history.len() == 10);

    let violation = |n: usize| ViolationRow {
        arn: format!("arn:aws:s3:::{n}-{}", "\u{1F4A5}".repeat(2_000)),
        resource_id: wide.clone(),
        resource_type: wide.as_str().into(),
        account_id: "123456789012".parse().unwrap(),
        region: wide.as_str().into(),
        finding: Finding {
            kind: FindingKind::Violation,
            violation_type: ViolationType::InvalidValue,
            severity: Severity::Critical,
            tag_key: wide.as_str().into(),
            current_value: Some(wide.as_str().into()),
            allowed_values: None,
            expected_format: Some(wide.as_str().into()),
            exempted: None,
        },
    };
    let worst: Vec<ViolationRow> = (0..100).map(violation).collect();
    let big = enormous();
    let mut ended = record("r", RunState::Succeeded, 0);
    ended.cause = Some(wide.clone());
    let report = report::status(&ended, Some(&big), &worst, &before.conditions, at(0));
    let size = serde_json::to_string(&report).unwrap().len();
    assert!(size <= report::REPORT_BYTES_MAX, "{size} bytes");
    assert!(report.summary.is_some());
}

#[test]
fn a_report_of_an_ordinary_run_leaves_nothing_out() {
    let mut big = outcome(tally(900, 100), 20);
    big.by_tag = BTreeMap::from([("Owner".into(), TagTally { missing: 90, invalid: 10 })]);
    let report = report::status(&record("r", RunState::Succeeded, 0), Some(&big), &[], &[], at(0));
    assert_eq!((report.by_account.len(), report.by_tag.len()), (21, 1));
    assert_eq!(report.by_account[0].name, "closed-0", "what could not be seen comes first");
    assert_eq!(report.message.as_deref(), Some("20 of 21 accounts could not be entered or read"));
    let coverage = report.coverage.unwrap();
    assert_eq!((coverage.accounts, coverage.cells, coverage.gaps), (1, 24, 20));
}
