//! Runs of audits: claimed once, taken over, and never counted twice.

use std::time::Duration;

use tagwarden_app::audit::cancelled;
use tagwarden_app::audit::outcome::AccountOutcome;
use tagwarden_app::audit::ports::{
    Claim, Ending, Held, NewRun, Pending, PlannedAccount, RunKey, Runs as _, RunsError,
};
use tagwarden_app::ports::FindingSink as _;
use tagwarden_core::coverage::CellState;
use tagwarden_core::finding::Severity;
use tagwarden_core::report::{AccountState, ScanReport, ViolationRow};
use tagwarden_core::run::{RunState, Slot, Trigger};
use tagwarden_core::scope::Scope;

use crate::tests::bed::{TestBed, rows};
use crate::tests::on_both;
use crate::tests::samples::*;
use crate::{AuditRuns, FindingFilter, Retention, RunFilter, Store};

const UID: &str = "uid-1";

fn runs(store: &Store) -> AuditRuns {
    AuditRuns::new(store.clone(), Retention::default())
}

fn new_run(slot: Slot, accounts: usize) -> NewRun {
    NewRun {
        tenant: TENANT.into(),
        audit_uid: UID.into(),
        audit: "nightly".into(),
        slot,
        policy_name: "company".into(),
        policy_revision: "sha256:0123".into(),
        scope: Scope::default(),
        accounts: (0..accounts)
            .map(|n| PlannedAccount { name: format!("account-{n}"), account_id: Some(account(n)) })
            .collect(),
        now: at(0),
    }
}

/// The findings of one account.
fn found(n: usize, count: usize) -> Vec<ViolationRow> {
    findings(count * 3)
        .into_iter()
        .filter(|row| row.account_id == account(n % 3))
        .map(|mut row| {
            row.account_id = account(n);
            row
        })
        .collect()
}

fn report_of(run: &RunKey, n: usize, rows: &[ViolationRow]) -> ScanReport {
    let mut report = report(&run.run_id, 9, rows);
    if n != 0 {
        report.by_account.remove(&account(0));
        report.accounts.retain(|entry| entry.account_id == Some(account(n)));
        report.coverage.retain(|cell| cell.account_id == account(n));
    }
    report
}

async fn claimed(runs: &AuditRuns, run: &NewRun) -> RunKey {
    match runs.claim(run).await.unwrap() {
        Claim::New(key) => key,
        Claim::Known(key) => panic!("{key:?} was there"),
    }
}

async fn do_account(runs: &AuditRuns, held: &Held, pending: &Pending, count: usize) -> ScanReport {
    let n = usize::try_from(pending.ordinal).unwrap();
    let rows = found(n, count);
    let mut sink = runs.open(held, pending).await.unwrap();
    for page in rows.chunks(64) {
        sink.findings(page).await.unwrap();
    }
    let report = report_of(&held.key, n, &rows);
    sink.finish(&report).await.unwrap();
    report
}

fn succeeded() -> Ending {
    Ending { state: RunState::Succeeded, reason: None, cause: None }
}

async fn finish(runs: &AuditRuns, held: &Held, seconds: i64) {
    let outcome = runs.outcome(&held.key).await.unwrap();
    runs.finish(held, &outcome, &succeeded(), at(seconds)).await.unwrap();
}

on_both! {
    async fn of_all_who_claim_an_occasion_one_gets_a_run(bed) {
        let (store, elsewhere) = (bed.open().await, bed.open().await);
        let slot = Slot::schedule(at(0));
        let run = new_run(slot.clone(), 3);
        let (here, there) = (runs(&store), runs(&elsewhere));
        let claims = tokio::join!(
            here.claim(&run), there.claim(&run), here.claim(&run), there.claim(&run), here.claim(&run),
        );
        let claims = [claims.0, claims.1, claims.2, claims.3, claims.4].map(Result::unwrap);
        let new = claims.iter().filter(|claim| matches!(claim, Claim::New(_))).count();
        assert_eq!(new, 1, "{claims:?}");
        for claim in &claims {
            let (Claim::New(key) | Claim::Known(key)) = claim;
            assert_eq!(&*key.run_id, "nightly-20231114-2213");
        }
        let recent = here.recent(TENANT, UID, 9).await.unwrap();
        assert_eq!(recent.len(), 1);
        assert_eq!((recent[0].slot.clone(), recent[0].state), (slot, RunState::Queued));
        assert_eq!((recent[0].accounts, recent[0].accounts_done), (3, 0));
    }

    async fn runs_of_one_minute_have_names_of_their_own(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let first = claimed(&runs, &new_run(Slot::schedule(at(0)), 1)).await;
        let second = claimed(&runs, &new_run(Slot::on_demand("a", at(0)), 1)).await;
        let third = claimed(&runs, &new_run(Slot::on_demand("b", at(0)), 1)).await;
        let other_tenant = NewRun { tenant: "team-b".into(), ..new_run(Slot::on_demand("a", at(0)), 1) };
        let fourth = claimed(&runs, &other_tenant).await;
        assert_eq!(&*first.run_id, "nightly-20231114-2213");
        assert_eq!(&*second.run_id, "nightly-20231114-2213-2");
        assert_eq!(&*third.run_id, "nightly-20231114-2213-3");
        assert_eq!(fourth.run_id, first.run_id);
        let again = runs.claim(&new_run(Slot::on_demand("a", at(60)), 1)).await.unwrap();
        assert_eq!(again, Claim::Known(second), "a token counts once, whenever it is seen");
    }

    async fn a_whole_run_reads_back_as_one(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 3)).await;
        let held = runs.take(&key, "pod-1", at(5)).await.unwrap();
        assert_eq!((held.epoch, held.started_at, held.accounts, held.pending.len()), (1, at(5), 3, 3));
        let mut expected = tagwarden_app::audit::outcome::RunOutcome::default();
        // Out of order, as they come.
        for ordinal in [2, 0, 1] {
            do_account(&runs, &held, &held.pending[ordinal], 150 + 50 * ordinal).await;
        }
        for pending in &held.pending {
            let n = usize::try_from(pending.ordinal).unwrap();
            let report = report_of(&key, n, &found(n, 150 + 50 * n));
            expected.add(AccountOutcome::of(&pending.account, &report));
        }
        let outcome = runs.outcome(&key).await.unwrap();
        assert_eq!(outcome, expected);
        assert!(store.counts(TENANT, &key.run_id).await.is_err(), "results show only at the end");
        runs.finish(&held, &outcome, &succeeded(), at(95)).await.unwrap();

        let run = store.run(TENANT, &key.run_id).await.unwrap();
        assert_eq!((run.state, run.trigger.as_str()), (RunState::Succeeded, "schedule"));
        assert_eq!((run.started_at, run.finished_at), (at(5), Some(at(95))));
        let results = run.results.unwrap();
        assert_eq!((results.findings, results.summary), (600, expected.summary));
        let read = read_all(&store, TENANT, &key.run_id, 77).await;
        let all: Vec<_> = (0..3).flat_map(|n| found(n, 150 + 50 * n)).collect();
        assert_eq!(read, all, "by account, each in its own order");
        let counts = store.counts(TENANT, &key.run_id).await.unwrap();
        assert_eq!(counts.by_account.len(), 3);
        assert_eq!(counts.by_region, expected.by_region);
        assert_eq!(store.coverage(TENANT, &key.run_id).await.unwrap().len(), 27);

        let worst = runs.worst(&key, Severity::High, 5).await.unwrap();
        // The critical ones of the samples are all exempt.
        assert_eq!(worst.len(), 5);
        assert!(worst.iter().all(|row| row.finding.counts() && row.finding.severity == Severity::High));
        assert!(worst.is_sorted_by(|one, other| one.arn <= other.arn));
        let listed = store.runs(TENANT, &RunFilter { limit: 9, ..RunFilter::default() }).await.unwrap();
        assert_eq!(listed.len(), 1, "the history has it like any other run");
    }

    async fn who_takes_over_counts_nothing_twice(bed) {
        let (store, elsewhere) = (bed.open().await, bed.open().await);
        let (first, second) = (runs(&store), runs(&elsewhere));
        let key = claimed(&first, &new_run(Slot::schedule(at(0)), 3)).await;
        let held = first.take(&key, "pod-1", at(1)).await.unwrap();
        do_account(&first, &held, &held.pending[0], 40).await;
        // Stopped in the middle of the second account, with findings in the store already.
        let mut left = first.open(&held, &held.pending[1]).await.unwrap();
        left.findings(&found(1, 250)).await.unwrap();
        assert_eq!(rows(&store).await[3], 40 + 250);

        let taken = second.take(&key, "pod-2", at(60)).await.unwrap();
        assert_eq!((taken.epoch, taken.started_at), (2, at(1)), "the time runs from the first start");
        assert_eq!(taken.pending, held.pending[1..]);
        assert_eq!(taken.seen, 9 * 12, "what the first account saw");

        // The first one does not know yet.
        let lost = RunsError::Superseded(key.run_id.to_string());
        assert_eq!(left.findings(&found(1, 250)).await, Err(lost.clone()));
        assert_eq!(left.finish(&report_of(&key, 1, &found(1, 250))).await, Err(lost.clone()));
        assert_eq!(first.open(&held, &held.pending[2]).await.unwrap_err(), lost);

        for pending in &taken.pending {
            do_account(&second, &taken, pending, 70).await;
        }
        let outcome = second.outcome(&key).await.unwrap();
        assert_eq!(first.finish(&held, &outcome, &succeeded(), at(99)).await, Err(lost));
        second.finish(&taken, &outcome, &succeeded(), at(99)).await.unwrap();

        let all: Vec<_> = [found(0, 40), found(1, 70), found(2, 70)].concat();
        assert_eq!(read_all(&store, TENANT, &key.run_id, 1000).await, all);
        let results = store.run(TENANT, &key.run_id).await.unwrap().results.unwrap();
        assert_eq!(results.findings, all.len() as u64);
        let counted = all.iter().filter(|row| row.finding.counts()).count() as u64;
        assert_eq!(results.summary.violations(), counted);
        assert_eq!(store.coverage(TENANT, &key.run_id).await.unwrap().len(), 27);
    }

    async fn two_workers_who_both_believe_to_have_the_run_do_not_both(bed) {
        let (store, elsewhere) = (bed.open().await, bed.open().await);
        let (first, second) = (runs(&store), runs(&elsewhere));
        let key = claimed(&first, &new_run(Slot::schedule(at(0)), 1)).await;
        let held = first.take(&key, "pod-1", at(1)).await.unwrap();
        let taken = second.take(&key, "pod-2", at(2)).await.unwrap();
        let work = |runs: AuditRuns, held: Held| async move {
            let mut sink = runs.open(&held, &held.pending[0]).await?;
            for page in found(0, 2000).chunks(64) {
                sink.findings(page).await?;
            }
            sink.finish(&report_of(&held.key, 0, &found(0, 2000))).await
        };
        let (loser, winner) = tokio::join!(work(first.clone(), held), work(second.clone(), taken.clone()));
        assert_eq!(loser, Err(RunsError::Superseded(key.run_id.to_string())));
        winner.unwrap();
        finish(&second, &taken, 9).await;
        assert_eq!(read_all(&store, TENANT, &key.run_id, 1000).await, found(0, 2000));
    }

    async fn an_account_is_begun_anew(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 2)).await;
        let held = runs.take(&key, "pod-1", at(1)).await.unwrap();
        do_account(&runs, &held, &held.pending[0], 30).await;
        let mut broken = runs.open(&held, &held.pending[1]).await.unwrap();
        broken.findings(&found(1, 2600)).await.unwrap();
        drop(broken);
        do_account(&runs, &held, &held.pending[1], 20).await;
        let twice = runs.open(&held, &held.pending[1]).await.unwrap().finish(&report_of(&key, 1, &[])).await;
        assert_eq!(twice, Err(RunsError::Superseded(key.run_id.to_string())), "it is done");
        finish(&runs, &held, 5).await;
        assert_eq!(store.run(TENANT, &key.run_id).await.unwrap().results.unwrap().findings, 30);
    }

    async fn a_run_does_not_end_before_its_accounts(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 2)).await;
        let held = runs.take(&key, "pod-1", at(1)).await.unwrap();
        do_account(&runs, &held, &held.pending[0], 10).await;
        let outcome = runs.outcome(&key).await.unwrap();
        let early = runs.finish(&held, &outcome, &succeeded(), at(2)).await;
        assert_eq!(early, Err(RunsError::Superseded(key.run_id.to_string())));
        assert_eq!(store.run(TENANT, &key.run_id).await.unwrap().state, RunState::Running);
    }

    async fn an_account_that_failed_is_kept_with_its_cause(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::on_demand("now", at(0)), 1)).await;
        let held = runs.take(&key, "pod-1", at(1)).await.unwrap();
        let mut report = report_of(&key, 0, &[]);
        report.accounts[0].state = AccountState::Failed { cause: "the role does not trust us".into() };
        report.coverage.truncate(1);
        report.coverage[0].state = CellState::Denied;
        report.coverage[0].cause = Some("the role does not trust us".into());
        runs.open(&held, &held.pending[0]).await.unwrap().finish(&report).await.unwrap();
        let outcome = runs.outcome(&key).await.unwrap();
        let (line, gap) = outcome.failing().next().unwrap();
        assert_eq!((line.name.as_str(), gap.state), ("account-0", CellState::Denied));
        assert!(gap.cause.contains("trust") && outcome.saw_nothing() && !outcome.complete);
        let ending = Ending { state: RunState::Failed, reason: Some("NoUsableAccount"), cause: Some("none".into()) };
        runs.finish(&held, &outcome, &ending, at(3)).await.unwrap();
        let record = runs.recent(TENANT, UID, 1).await.unwrap().remove(0);
        assert_eq!((record.state, record.reason.as_deref()), (RunState::Failed, Some("NoUsableAccount")));
        assert_eq!(record.slot.trigger, Trigger::OnDemand);
        assert_eq!((record.accounts, record.accounts_done, record.holder.as_deref()), (1, 1, Some("pod-1")));
    }

    async fn a_stopped_run_shows_nothing_and_stays_stopped(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 2)).await;
        let held = runs.take(&key, "pod-1", at(1)).await.unwrap();
        do_account(&runs, &held, &held.pending[0], 300).await;
        let mut sink = runs.open(&held, &held.pending[1]).await.unwrap();
        runs.stop(&key, &cancelled("its audit is gone".into()), at(7)).await.unwrap();
        assert!(sink.findings(&found(1, 200)).await.is_err());
        assert_eq!(rows(&store).await[3], 0);
        let record = runs.recent(TENANT, UID, 1).await.unwrap().remove(0);
        assert_eq!((record.state, record.results), (RunState::Cancelled, None));
        assert_eq!(record.cause.as_deref(), Some("its audit is gone"));
        assert!(matches!(runs.take(&key, "pod-2", at(8)).await, Err(RunsError::Superseded(_))));
        runs.stop(&key, &cancelled("again".into()), at(9)).await.unwrap();
        assert_eq!(runs.recent(TENANT, UID, 1).await.unwrap().remove(0), record);
        let other = runs.claim(&new_run(Slot::schedule(at(0)), 2)).await.unwrap();
        assert_eq!(other, Claim::Known(key), "its occasion is used up");
    }

    async fn runs_are_forgotten_whole(bed) {
        let store = bed.open().await;
        let keep = Retention { max_age: Duration::from_secs(100), max_runs: 10 };
        let runs = AuditRuns::new(store.clone(), keep);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 2)).await;
        let held = runs.take(&key, "pod-1", at(1)).await.unwrap();
        for pending in &held.pending {
            do_account(&runs, &held, pending, 20).await;
        }
        finish(&runs, &held, 9).await;
        runs.prune(TENANT, at(50)).await.unwrap();
        assert_eq!(runs.recent(TENANT, UID, 9).await.unwrap().len(), 1);
        runs.prune(TENANT, at(200)).await.unwrap();
        assert_eq!(rows(&store).await, [0; 4]);
        let accounts: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tagwarden_run_accounts")
            .fetch_one(store.pool())
            .await
            .unwrap();
        assert_eq!(accounts, 0);
        assert!(matches!(runs.take(&key, "pod-1", at(201)).await, Err(RunsError::NotFound(_))));
    }

    async fn runs_that_have_not_ended_are_found_page_by_page(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let of = |tenant: &str, token: &str| NewRun {
            tenant: tenant.into(), audit_uid: format!("uid-{token}"), ..new_run(Slot::on_demand(token, at(0)), 1)
        };
        let mut keys = Vec::new();
        for (tenant, token) in [("team-a", "1"), ("team-a", "2"), ("team-a", "3"), ("team-b", "4"), ("team-c", "5")] {
            keys.push(claimed(&runs, &of(tenant, token)).await);
        }
        runs.take(&keys[0], "pod", at(1)).await.unwrap();
        runs.stop(&keys[1], &cancelled("enough".into()), at(2)).await.unwrap();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = runs.unfinished(None, after.as_ref(), 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            found.extend(page.into_iter().map(|run| (run.key, run.audit_uid)));
        }
        let wanted = [(0, "uid-1"), (2, "uid-3"), (3, "uid-4"), (4, "uid-5")];
        let wanted = wanted.map(|(index, uid): (usize, &str)| (keys[index].clone(), uid.to_owned()));
        assert_eq!(found, wanted);
        let one = runs.unfinished(Some("team-b"), None, 9).await.unwrap();
        assert_eq!(one.into_iter().map(|run| run.key).collect::<Vec<_>>(), [keys[3].clone()]);
        assert_eq!(runs.recent("team-a", "uid-1", 1).await.unwrap()[0].scope_digest, Scope::default().digest());
    }

    async fn nobody_sees_the_runs_of_another_tenant(bed) {
        let store = bed.open().await;
        let runs = runs(&store);
        let key = claimed(&runs, &new_run(Slot::schedule(at(0)), 1)).await;
        let elsewhere = RunKey { tenant: "team-b".into(), ..key.clone() };
        assert!(matches!(runs.take(&elsewhere, "pod", at(1)).await, Err(RunsError::NotFound(_))));
        assert_eq!(runs.recent("team-b", UID, 9).await.unwrap(), []);
        assert_eq!(runs.outcome(&elsewhere).await.unwrap().accounts, []);
        let all = FindingFilter::default();
        assert!(store.findings("team-b", &key.run_id, &all, None, 9).await.is_err());
    }
}
