//! An empty database for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AnyConnection, Connection, Executor};
use tempfile::TempDir;

use crate::Store;
use crate::tests::postgres;

/// A database of its own.
pub(crate) struct TestBed {
    pub(crate) url: String,
    /// Holds the SQLite file.
    _directory: Option<TempDir>,
}

impl TestBed {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { url: format!("sqlite:{}/store.db", directory.path().display()), _directory: Some(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sqlx::any::install_default_drivers();
        let server = postgres::url();
        let name = format!("store_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = AnyConnection::connect(server).await.unwrap();
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        }
        admin.close().await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{before}/{name}"), _directory: None }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }
}

/// How many rows the store has left of everything.
pub(crate) async fn rows(store: &Store) -> [i64; 4] {
    [
        count(store, "SELECT COUNT(*) FROM tagwarden_runs").await,
        count(store, "SELECT COUNT(*) FROM tagwarden_run_counts").await,
        count(store, "SELECT COUNT(*) FROM tagwarden_coverage").await,
        count(store, "SELECT COUNT(*) FROM tagwarden_findings").await,
    ]
}

async fn count(store: &Store, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(store.pool()).await.unwrap()
}
