//! Abandoning and pruning, also while others record.

use std::time::Duration;

use tagwarden_app::ports::FindingSink as _;

use crate::tests::bed::{TestBed, rows};
use crate::tests::on_both;
use crate::tests::samples::*;
use crate::{Abandoned, Pruned, Retention, RunFilter, RunState, Store, StoreError};

const FOREVER: Retention = Retention { max_age: Duration::MAX, max_runs: u32::MAX };

async fn left(store: &Store, tenant: &str) -> Vec<String> {
    let runs = store.runs(tenant, &RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap();
    runs.into_iter().map(|run| run.run_id).collect()
}

#[test]
fn runs_are_kept_for_ninety_days_unless_told_otherwise() {
    assert_eq!(Retention::default(), Retention { max_age: Duration::from_hours(2160), max_runs: 1000 });
}

on_both! {
    async fn old_runs_go_with_everything_they_had(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("old", 0), &findings(2500)).await;
        record(&store, "team-b", start("old", 1), &findings(10)).await;
        let dead = store.record(TENANT, start("dead", 2)).await.unwrap();
        drop(dead);
        record(&store, TENANT, start("new", 100), &findings(20)).await;

        assert_eq!(store.prune(at(200), FOREVER).await.unwrap(), Pruned::default());
        let retention = Retention { max_age: Duration::from_secs(100), ..FOREVER };
        assert_eq!(store.prune(at(200), retention).await.unwrap(), Pruned { runs: 3, findings: 2510 });
        assert_eq!(left(&store, TENANT).await, ["new"]);
        assert_eq!(rows(&store).await, [1, 9, 27, 20]);
        assert_eq!(store.prune(at(201), retention).await.unwrap(), Pruned { runs: 1, findings: 20 });
        assert_eq!(rows(&store).await, [0; 4]);
    }

    async fn each_tenant_keeps_its_newest_runs(bed) {
        let store = bed.open().await;
        for (n, run_id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            record(&store, TENANT, start(run_id, i64::try_from(n).unwrap()), &findings(5)).await;
        }
        record(&store, "team-b", start("a", 0), &findings(5)).await;
        let under_way = store.record(TENANT, start("0", -5)).await.unwrap();
        let retention = Retention { max_runs: 2, ..FOREVER };
        assert_eq!(store.prune(at(9), retention).await.unwrap(), Pruned { runs: 2, findings: 10 });
        assert_eq!(left(&store, TENANT).await, ["d", "c", under_way.run_id()]);
        assert_eq!(left(&store, "team-b").await, ["a"]);
        assert_eq!(store.prune(at(9), retention).await.unwrap(), Pruned::default());
    }

    async fn more_runs_than_are_chosen_at_a_time_are_pruned(bed) {
        let store = bed.open().await;
        for n in 0..130 {
            drop(store.record(TENANT, start(&format!("r{n}"), n)).await.unwrap());
        }
        let retention = Retention { max_age: Duration::from_secs(10), ..FOREVER };
        assert_eq!(store.prune(at(130), retention).await.unwrap(), Pruned { runs: 120, findings: 0 });
        assert_eq!(rows(&store).await[0], 10);
    }

    async fn a_half_pruned_run_is_invisible_and_taken_next_time(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("r1", 0), &findings(30)).await;
        sqlx::query("UPDATE tagwarden_runs SET state = 'pruned'").execute(store.pool()).await.unwrap();
        assert_eq!(left(&store, TENANT).await, [""; 0]);
        assert!(store.run(TENANT, "r1").await.is_err() && store.coverage(TENANT, "r1").await.is_err());
        assert_eq!(store.prune(at(1), FOREVER).await.unwrap(), Pruned { runs: 1, findings: 30 });
        assert_eq!(rows(&store).await, [0; 4]);
    }

    async fn pruning_leaves_those_who_record_alone(bed) {
        let store = bed.open().await;
        for n in 0..20 {
            record(&store, TENANT, start(&format!("old{n:02}"), n), &findings(150)).await;
        }
        let elsewhere = bed.open().await;
        let found = findings(3000);
        let retention = Retention { max_age: Duration::from_secs(100), max_runs: 1 };
        let (_, first, second) = tokio::join!(
            record(&store, TENANT, start("new", 1000), &found),
            store.prune(at(1001), retention),
            elsewhere.prune(at(1001), retention),
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.runs + second.runs, first.findings + second.findings), (20, 3000));
        assert_eq!(left(&store, TENANT).await, ["new"]);
        assert_eq!(read_all(&store, TENANT, "new", 1000).await, found);
    }

    async fn a_recorder_whose_run_was_pruned_is_told(bed) {
        let store = bed.open().await;
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        stream(&mut recorder, &findings(640)).await;
        let retention = Retention { max_age: Duration::from_secs(1), ..FOREVER };
        assert_eq!(store.prune(at(10), retention).await.unwrap().runs, 1);
        let over = Err(StoreError::NotRunning("r1".into()));
        assert_eq!(recorder.findings(&findings(200)).await, over);
        assert_eq!(recorder.finish(&report("r1", 9, &[])).await, over);
        assert_eq!(rows(&store).await, [0; 4]);
    }

    async fn an_abandoned_run_says_why_and_shows_nothing(bed) {
        let store = bed.open().await;
        for (run_id, how, state) in [
            ("r1", Abandoned::Failed("no account could be entered".into()), RunState::Failed),
            ("r2", Abandoned::Cancelled("stopped by its owner".into()), RunState::Cancelled),
        ] {
            let mut recorder = store.record(TENANT, start(run_id, 0)).await.unwrap();
            stream(&mut recorder, &findings(640)).await;
            store.abandon(TENANT, run_id, &how, at(7)).await.unwrap();
            let run = store.run(TENANT, run_id).await.unwrap();
            assert_eq!((run.state, run.finished_at, run.results), (state, Some(at(7)), None));
            let (Abandoned::Failed(cause) | Abandoned::Cancelled(cause)) = &how;
            assert_eq!(run.cause.as_ref(), Some(cause));
            assert_eq!(rows(&store).await[3], 0);

            let over = Err(StoreError::NotRunning(run_id.into()));
            assert_eq!(recorder.findings(&findings(200)).await, over);
            assert_eq!(recorder.finish(&report(run_id, 9, &[])).await, over);
            assert_eq!(store.abandon(TENANT, run_id, &how, at(8)).await, over);
        }
        let missing = Err(StoreError::RunNotFound("r3".into()));
        assert_eq!(store.abandon(TENANT, "r3", &Abandoned::Failed("gone".into()), at(8)).await, missing);
    }
}
