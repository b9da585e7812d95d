//! An empty database for each test.

use tagwarden_testbed::Testbed;
use tempfile::TempDir;

use crate::Store;

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

    pub(crate) fn postgres() -> Self {
        sqlx::any::install_default_drivers();
        let url = Testbed::postgres().fresh_database().unwrap();
        Self { url, _directory: None }
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
