//! The list of runs.

use crate::tests::bed::TestBed;
use crate::tests::on_both;
use crate::tests::samples::*;
use crate::{RunFilter, RunStart, RunSummary, Store};

async fn ids(store: &Store, tenant: &str, filter: RunFilter) -> Vec<String> {
    store.runs(tenant, &filter).await.unwrap().into_iter().map(|run| run.run_id).collect()
}

fn all() -> RunFilter {
    RunFilter { limit: 1000, ..RunFilter::default() }
}

on_both! {
    async fn the_last_success_is_that_of_any_tenant(bed) {
        let store = bed.open().await;
        assert_eq!(store.last_success().await.unwrap(), None);
        record(&store, TENANT, start("a", 10), &[]).await;
        record(&store, "team-b", start("b", 20), &[]).await;
        let last = store.run("team-b", "b").await.unwrap().finished_at;
        assert!(last.is_some());
        assert_eq!(store.last_success().await.unwrap(), last);
    }

    async fn runs_are_listed_newest_first_page_by_page(bed) {
        let store = bed.open().await;
        // Two begin at the same moment: the id decides.
        for (run_id, seconds) in [("b", 20), ("a", 10), ("e", 30), ("d", 30), ("c", 25)] {
            record(&store, TENANT, start(run_id, seconds), &[]).await;
        }
        record(&store, "team-b", start("z", 99), &[]).await;
        let expected = ["e", "d", "c", "b", "a"];
        assert_eq!(ids(&store, TENANT, all()).await, expected);
        assert_eq!(ids(&store, "team-b", all()).await, ["z"]);
        assert_eq!(ids(&store, "nobody", all()).await, [""; 0]);
        for limit in 1..=5 {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let page = store.runs(TENANT, &RunFilter { limit, before, ..all() }).await.unwrap();
                before = page.last().map(RunSummary::cursor);
                seen.extend(page.into_iter().map(|run| run.run_id));
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "pages of {limit}");
        }
        let foreign = store.run("team-b", "z").await.unwrap().cursor();
        assert_eq!(ids(&store, TENANT, RunFilter { before: Some(foreign), ..all() }).await, expected);
    }

    async fn runs_are_found_by_policy_scope_and_account(bed) {
        let store = bed.open().await;
        let found = findings(60);
        let report = record(&store, TENANT, start("three-accounts", 0), &found).await;
        let one: Vec<_> = found.iter().filter(|row| row.account_id == account(1)).cloned().collect();
        record(&store, TENANT, RunStart { policy_name: "strict".into(), ..start("one-account", 1) }, &one).await;
        record(&store, TENANT, RunStart { scope_digest: "eu".into(), ..start("nothing-found", 2) }, &[]).await;

        let policy = RunFilter { policy: Some("strict".into()), ..all() };
        assert_eq!(ids(&store, TENANT, policy).await, ["one-account"]);
        let scope = RunFilter { scope_digest: Some("all".into()), ..all() };
        assert_eq!(ids(&store, TENANT, scope).await, ["one-account", "three-accounts"]);

        let filter = RunFilter { account: Some(account(1)), ..all() };
        let runs = store.runs(TENANT, &filter).await.unwrap();
        assert_eq!(runs.len(), 2);
        for run in runs {
            let results = run.results.unwrap();
            assert_eq!(results.account, Some(report.by_account[&account(1)]), "{}", run.run_id);
            assert_eq!(results.summary == report.summary, run.run_id == "three-accounts");
        }
        let filter = RunFilter { account: Some(account(2)), ..all() };
        assert_eq!(ids(&store, TENANT, filter).await, ["three-accounts"]);
        let runs = store.runs(TENANT, &all()).await.unwrap();
        assert!(runs.iter().all(|run| run.results.unwrap().account.is_none()));
    }
}
