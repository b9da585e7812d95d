//! A sign of life, and the one thing about all tenants together that may be told to anybody.

use jiff::Timestamp;

use crate::finding_row::instant;
use crate::{Store, StoreError};

const LAST: &str = "SELECT MAX(finished_at) FROM tagwarden_runs WHERE state = 'succeeded'";

impl Store {
    /// When a run last succeeded, of any tenant. Whoever gets an answer knows that the store works.
    pub async fn last_success(&self) -> Result<Option<Timestamp>, StoreError> {
        let last: Option<i64> = sqlx::query_scalar(LAST)
            .fetch_one(self.pool())
            .await
            .map_err(StoreError::database("read the last run"))?;
        last.map(instant).transpose()
    }
}
