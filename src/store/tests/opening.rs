//! Opening: what is created, what is refused, and who may do it at the same time.

use std::os::unix::fs::PermissionsExt as _;

use tagwarden_testbed::postgres::PASSWORD;

use crate::migrations::KNOWN;
use crate::tests::bed::{TestBed, rows};
use crate::tests::on_both;
use crate::tests::samples::*;
use crate::{Store, StoreError};

async fn refused(url: &str) -> StoreError {
    Store::open(url).await.unwrap_err()
}

on_both! {
    async fn what_one_process_wrote_the_next_one_reads(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("r1", 0), &findings(3)).await;
        store.close().await;
        assert_eq!(read_all(&bed.open().await, TENANT, "r1", 10).await, findings(3));
    }

    async fn a_store_of_a_newer_version_is_refused_and_left_alone(bed) {
        let store = bed.open().await;
        record(&store, TENANT, start("r1", 0), &findings(3)).await;
        let newer = "INSERT INTO tagwarden_store_migrations (version) VALUES (7)";
        sqlx::query(newer).execute(store.pool()).await.unwrap();
        let before = rows(&store).await;

        let error = refused(&bed.url).await;
        assert!(matches!(error, StoreError::Newer { found: 7, known: KNOWN, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("written by a newer version (schema 7, this version knows 4)"), "{text}");
        assert!(text.contains("upgrade tagwarden or use another store") && !text.contains(PASSWORD), "{text}");
        assert_eq!(rows(&store).await, before);
    }

    async fn a_migration_that_fails_leaves_nothing_behind(bed) {
        let store = bed.open().await;
        for table in ["findings", "coverage", "run_counts", "store_migrations"] {
            let drop = sqlx::AssertSqlSafe(format!("DROP TABLE tagwarden_{table}"));
            sqlx::query(drop).execute(store.pool()).await.unwrap();
        }
        // `tagwarden_runs` is in the way of the first migration.
        let error = refused(&bed.url).await;
        assert!(error.to_string().contains("already exists"), "{error}");
        let half = sqlx::query("SELECT 1 FROM tagwarden_store_migrations").fetch_optional(store.pool()).await;
        assert!(half.is_err(), "the record of migrations was left behind");
    }

    async fn any_number_may_start_at_the_same_time(bed) {
        let starters: Vec<_> = (0..8)
            .map(|n| {
                let url = bed.url.clone();
                // Threads with nothing in common, as processes have.
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let store = Store::open(&url).await.unwrap();
                        record(&store, TENANT, start(&format!("r{n}"), n), &findings(120)).await;
                    });
                })
            })
            .collect();
        for starter in starters {
            starter.join().unwrap();
        }
        let store = bed.open().await;
        assert_eq!(rows(&store).await, [8, 72, 216, 960]);
        let versions: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tagwarden_store_migrations")
            .fetch_one(store.pool())
            .await
            .unwrap();
        assert_eq!(versions, KNOWN);
    }

    async fn rows_belong_to_a_run(bed) {
        let store = bed.open().await;
        let orphan = "INSERT INTO tagwarden_coverage \
             (tenant, run_id, seq, account_id, region, resource_type, state, resources) \
             VALUES ('t', 'nowhere', 0, '', '', '', 'failed', 0)";
        let error = sqlx::query(orphan).execute(store.pool()).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("foreign key"), "{error}");
    }

    async fn debug_shows_no_password(bed) {
        let store = bed.open().await;
        let shown = format!("{store:?} {:?}", store.record(TENANT, start("r1", 0)).await.unwrap());
        assert!(shown.contains("Store(") && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn a_new_file_is_private_and_keeps_a_write_ahead_log() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("odd %41 #name ü");
    std::fs::create_dir(&nested).unwrap();
    let file = nested.join("my store.db");
    let store = Store::open(&format!("sqlite:{}", file.display())).await.unwrap();
    record(&store, TENANT, start("r1", 0), &findings(3)).await;
    for entry in std::fs::read_dir(&nested).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert!(file.is_file());
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(store.pool()).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_store_in_memory_lasts_as_long_as_it_is_open() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let found = findings(300);
    let (_, _) = tokio::join!(
        record(&store, TENANT, start("r1", 0), &found),
        record(&store, TENANT, start("r2", 0), &found)
    );
    assert_eq!(read_all(&store, TENANT, "r1", 1000).await, found);
}

#[tokio::test]
async fn files_that_cannot_be_stores_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().display();

    let error = refused(&format!("sqlite:{base}/missing/store.db")).await;
    assert!(matches!(error, StoreError::NoDirectory { .. }), "{error:?}");
    assert!(error.to_string().contains("create it first") && !directory.path().join("missing").exists());

    for url in [format!("sqlite:{base}"), format!("sqlite:{base}/.."), "sqlite:/".into()] {
        assert!(matches!(refused(&url).await, StoreError::File { .. }), "{url}");
    }

    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "no database, but long enough to be taken for one; ".repeat(100)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let error = refused(&format!("sqlite:{}", text.display())).await;
    assert!(
        error.to_string().contains("notes.txt") && error.to_string().contains("file is not a database"),
        "{error}"
    );
    assert_eq!(std::fs::read(&text).unwrap(), before);
    assert!(
        refused(&format!("sqlite:{}/store.db", text.display()))
            .await
            .to_string()
            .contains("there is no directory")
    );
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_named_without_the_password() {
    let bed = TestBed::postgres();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_, host) = bed.url.rsplit_once('@').unwrap();
    for (url, hint) in [
        (format!("postgres://nobody-here:hunter2@{host}"), "nobody-here"),
        (format!("postgres://tagwarden:hunter2@127.0.0.1:{free}/postgres"), "refused"),
        (format!("{}_missing", bed.url), "does not exist"),
        (format!("{}?sslmode=never", bed.url), "ssl"),
    ] {
        let error = refused(&url).await;
        let text = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Connect { .. }), "{text}");
        assert!(text.contains(hint) && text.contains("postgres://127.0.0.1:"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("hunter2"), "{text}");
    }
}
