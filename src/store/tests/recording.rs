//! What a recorder takes, and what of it can be read when.

use tagwarden_app::ports::FindingSink as _;
use tagwarden_core::coverage::{ANY, Cell, CellState};
use tagwarden_core::finding::{FindingKind, Severity};
use tagwarden_core::tally::Tally;

use crate::tests::bed::{TestBed, rows};
use crate::tests::on_both;
use crate::tests::samples::*;
use crate::{Abandoned, FindingFilter, RunState, StoreError};

on_both! {
    async fn a_run_reads_back_as_it_was_recorded(bed) {
        let store = bed.open().await;
        let found = findings(1234);
        let mut expected = report("r1", 90, &found);
        expected.coverage[3].state = CellState::Denied;
        expected.coverage[3].cause = Some("no ec2:DescribeInstances".into());
        expected.coverage.push(cell(&account(9), ANY, ANY, CellState::Failed));
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        stream(&mut recorder, &found).await;
        recorder.finish(&expected).await.unwrap();

        let run = store.run(TENANT, "r1").await.unwrap();
        assert_eq!(run.state, RunState::Succeeded);
        assert_eq!((run.started_at, run.finished_at), (at(0), Some(at(90))));
        assert_eq!(run.duration().unwrap().as_secs(), 90);
        assert_eq!(run.scope, start("r1", 0).scope);
        let results = run.results.unwrap();
        assert_eq!((results.complete, results.gaps, results.findings), (false, 2, 1234));
        assert_eq!(results.summary, expected.summary);

        assert_eq!(read_all(&store, TENANT, "r1", 100).await, found);
        assert_eq!(store.coverage(TENANT, "r1").await.unwrap(), expected.coverage);
        let counts = store.counts(TENANT, "r1").await.unwrap();
        assert_eq!(counts.by_account, expected.by_account);
        assert_eq!(counts.by_region, expected.by_region);
        assert_eq!(counts.by_resource_type, expected.by_resource_type);
        let stored_score: f64 =
            sqlx::query_scalar("SELECT score FROM tagwarden_runs").fetch_one(store.pool()).await.unwrap();
        assert!((stored_score - expected.summary.score()).abs() < 1e-12);
    }

    async fn a_run_without_findings_is_a_run(bed) {
        let store = bed.open().await;
        let expected = record(&store, TENANT, start("empty", 0), &[]).await;
        assert_eq!(read_all(&store, TENANT, "empty", 10).await, []);
        let results = store.run(TENANT, "empty").await.unwrap().results.unwrap();
        assert_eq!((results.complete, results.findings, results.summary), (true, 0, expected.summary));
    }

    async fn findings_show_only_once_the_report_is_in(bed) {
        let store = bed.open().await;
        let found = findings(250);
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        stream(&mut recorder, &found).await;
        assert!(rows(&store).await[3] >= 200, "nothing was streamed");

        let missing = Err(StoreError::RunNotFound("r1".into()));
        assert_eq!(store.findings(TENANT, "r1", &FindingFilter::default(), None, 10).await, missing);
        assert!(store.coverage(TENANT, "r1").await.is_err() && store.counts(TENANT, "r1").await.is_err());
        let run = store.run(TENANT, "r1").await.unwrap();
        assert_eq!((run.state, run.finished_at, run.results), (RunState::Running, None, None));

        recorder.finish(&report("r1", 9, &found)).await.unwrap();
        assert_eq!(read_all(&store, TENANT, "r1", 1000).await, found);
    }

    async fn a_scan_that_was_stopped_is_cancelled_and_shows_what_it_saw(bed) {
        let store = bed.open().await;
        let found = findings(10);
        let mut stopped = report("r1", 9, &found);
        stopped.coverage[0].state = CellState::Interrupted;
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        stream(&mut recorder, &found).await;
        recorder.finish(&stopped).await.unwrap();
        let run = store.run(TENANT, "r1").await.unwrap();
        assert_eq!(run.state, RunState::Cancelled);
        assert!(!run.results.unwrap().complete);
        assert_eq!(read_all(&store, TENANT, "r1", 1000).await, found);
    }

    async fn a_scan_that_saw_nothing_has_failed(bed) {
        let store = bed.open().await;
        let mut blind = report("r1", 9, &[]);
        blind.summary = Tally::default();
        blind.coverage = vec![Cell { resources: 0, ..cell(&account(0), ANY, ANY, CellState::Denied) }];
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        recorder.finish(&blind).await.unwrap();
        let run = store.run(TENANT, "r1").await.unwrap();
        assert_eq!(run.state, RunState::Failed);
        let results = run.results.unwrap();
        assert_eq!((results.complete, results.gaps), (false, 1));
        assert_eq!(store.coverage(TENANT, "r1").await.unwrap(), blind.coverage);
    }

    async fn a_run_belongs_to_its_tenant(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("same", 0), &findings(30)).await;
        record(&store, "team-b", start("same", 5), &findings(20)).await;
        assert_eq!(read_all(&store, TENANT, "same", 1000).await.len(), 30);
        assert_eq!(read_all(&store, "team-b", "same", 1000).await.len(), 20);
        assert_eq!(store.coverage("team-b", "same").await.unwrap().len(), 27);

        record(&store, TENANT, start("only-a", 9), &findings(5)).await;
        let open = store.record(TENANT, start("open-a", 9)).await.unwrap();
        let missing = |id: &str| StoreError::RunNotFound(id.into());
        for other in ["team-b", "team", "team-a ", "TEAM-A", "", "%"] {
            let all = FindingFilter::default();
            assert_eq!(store.run(other, "only-a").await.unwrap_err(), missing("only-a"));
            assert_eq!(store.findings(other, "only-a", &all, None, 9).await.unwrap_err(), missing("only-a"));
            assert_eq!(store.coverage(other, "only-a").await.unwrap_err(), missing("only-a"));
            assert_eq!(store.counts(other, "only-a").await.unwrap_err(), missing("only-a"));
            let how = Abandoned::Failed("not yours".into());
            assert_eq!(store.abandon(other, "open-a", &how, at(1)).await.unwrap_err(), missing("open-a"));
        }
        assert_eq!(store.run(TENANT, open.run_id()).await.unwrap().state, RunState::Running);
    }

    async fn what_cannot_be_recorded_is_refused(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("r1", 0), &[]).await;
        let refused = |tenant: &'static str, run: crate::RunStart| {
            let store = store.clone();
            async move { store.record(tenant, run).await.unwrap_err() }
        };
        assert_eq!(refused(TENANT, start("r1", 1)).await, StoreError::RunExists("r1".into()));
        assert!(matches!(refused(TENANT, start("a\0b", 1)).await, StoreError::BadName { what: "run id", .. }));
        assert!(matches!(refused("", start("r2", 1)).await, StoreError::BadName { what: "tenant", .. }));
        let wide = crate::RunStart { scope: "x".repeat(70_000).into(), ..start("r2", 1) };
        assert!(matches!(refused(TENANT, wide).await, StoreError::ScopeTooLong { bytes: 70_002, .. }));

        let mut recorder = store.record(TENANT, start("r2", 1)).await.unwrap();
        let other = StoreError::OtherRun { recorded: "r2".into(), reported: "r1".into() };
        assert_eq!(recorder.finish(&report("r1", 2, &[])).await, Err(other));
        recorder.finish(&report("r2", 2, &[])).await.unwrap();
        let over = Err(StoreError::NotRunning("r2".into()));
        assert_eq!(recorder.finish(&report("r2", 2, &[])).await, over);
        assert_eq!(recorder.findings(&findings(200)).await, over);
        assert_eq!(rows(&store).await[3], 0);
    }

    async fn a_report_is_written_whole_or_not_at_all(bed) {
        let store = bed.open().await;
        let found = findings(40);
        let mut recorder = store.record(TENANT, start("r1", 0)).await.unwrap();
        stream(&mut recorder, &found).await;
        // In the way of the last statements of the report.
        sqlx::query(
            "INSERT INTO tagwarden_coverage (tenant, run_id, seq, account_id, region, resource_type, state, resources) \
             VALUES ($1, 'r1', 20, '', '', '', 'failed', 0)",
        )
        .bind(TENANT)
        .execute(store.pool())
        .await
        .unwrap();
        assert!(matches!(recorder.finish(&report("r1", 9, &found)).await, Err(StoreError::Database { .. })));
        let run = store.run(TENANT, "r1").await.unwrap();
        assert_eq!((run.state, run.results), (RunState::Running, None));
        assert_eq!(rows(&store).await, [1, 0, 1, 40]);

        sqlx::query("DELETE FROM tagwarden_coverage").execute(store.pool()).await.unwrap();
        recorder.finish(&report("r1", 9, &found)).await.unwrap();
        assert_eq!(read_all(&store, TENANT, "r1", 1000).await, found);
    }

    async fn filters_keep_what_they_name(bed) {
        let store = bed.open().await;
        let found = findings(700);
        record(&store, TENANT, start("r1", 0), &found).await;
        let all = FindingFilter::default();
        let mut filters = vec![
            FindingFilter { kind: Some(FindingKind::Violation), ..all.clone() },
            FindingFilter { kind: Some(FindingKind::Advice), ..all.clone() },
            FindingFilter { resource_type: Some("s3:bucket".into()), ..all.clone() },
            FindingFilter { resource_type: Some("s3:%".into()), ..all.clone() },
            FindingFilter { account: Some(account(1)), region: Some("global".into()), ..all.clone() },
            FindingFilter { region: Some("global".into()), min_severity: Some(Severity::High), ..all.clone() },
        ];
        filters.extend(Severity::ALL.map(|severity| FindingFilter { min_severity: Some(severity), ..all.clone() }));
        for filter in filters {
            let expected: Vec<_> = found
                .iter()
                .filter(|row| filter.min_severity.is_none_or(|severity| row.finding.severity <= severity))
                .filter(|row| filter.kind.is_none_or(|kind| row.finding.kind == kind))
                .filter(|row| filter.resource_type.as_deref().is_none_or(|name| *row.resource_type == *name))
                .filter(|row| filter.account.as_ref().is_none_or(|account| row.account_id == *account))
                .filter(|row| filter.region.as_deref().is_none_or(|region| *row.region == *region))
                .cloned()
                .collect();
            let page = store.findings(TENANT, "r1", &filter, None, 1000).await.unwrap();
            assert_eq!((page.findings, page.next), (expected, None), "{filter:?}");
        }
    }

    async fn pages_meet_without_gap_or_overlap(bed) {
        let store = bed.open().await;
        let found = findings(1001);
        record(&store, TENANT, start("r1", 0), &found).await;
        for limit in [0, 91, 143, 1000, 1001, usize::MAX] {
            let step = limit.clamp(1, crate::MAX_PAGE);
            let page = store.findings(TENANT, "r1", &FindingFilter::default(), None, limit).await.unwrap();
            assert_eq!(page.findings, found[..step], "limit {limit}");
            assert!(page.next.is_some());
            if limit > 1 {
                assert_eq!(read_all(&store, TENANT, "r1", limit).await, found, "limit {limit}");
            }
        }
        let exact = FindingFilter { min_severity: Some(Severity::Critical), ..FindingFilter::default() };
        let page = store.findings(TENANT, "r1", &exact, None, 201).await.unwrap();
        assert_eq!((page.findings.len(), page.next), (201, None));
        let beyond = store.findings(TENANT, "r1", &FindingFilter::default(), Some(u64::MAX), 9).await.unwrap();
        assert_eq!((beyond.findings.len(), beyond.next), (0, None));
    }

    async fn recorders_work_side_by_side(bed) {
        let store = bed.open().await;
        let elsewhere = bed.open().await;
        let (found, fewer) = (findings(3000), findings(777));
        tokio::join!(
            record(&store, TENANT, start("r1", 0), &found),
            record(&store, TENANT, start("r2", 1), &fewer),
            record(&elsewhere, TENANT, start("r3", 2), &found),
            record(&elsewhere, "team-b", start("r1", 3), &fewer),
        );
        assert_eq!(read_all(&elsewhere, TENANT, "r1", 1000).await, found);
        assert_eq!(read_all(&store, TENANT, "r2", 1000).await, fewer);
        assert_eq!(read_all(&store, TENANT, "r3", 1000).await, found);
        assert_eq!(read_all(&store, "team-b", "r1", 1000).await, fewer);
    }

    async fn a_large_run_streams_in_and_out(bed) {
        let store = bed.open().await;
        let found = findings(20_000);
        let report = record(&store, TENANT, start("large", 0), &found).await;
        let read = read_all(&store, TENANT, "large", 1000).await;
        assert_eq!(read.len(), found.len());
        let counted = read.iter().filter(|row| row.finding.counts()).count() as u64;
        assert_eq!(counted, report.summary.violations());
        let counts = store.counts(TENANT, "large").await.unwrap();
        assert_eq!(counts.by_account.values().map(Tally::violations).sum::<u64>(), counted);
    }
}
