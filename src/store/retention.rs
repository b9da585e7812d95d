//! Ending runs that will not end themselves, and forgetting old ones.
//!
//! A run first stops being visible, with one statement, and then loses its rows, a bounded number a transaction. So
//! nobody sees half a run, nobody waits long, and what a stopped process leaves behind is taken by the next.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;

use crate::{Store, StoreError, text};

/// Rows deleted by one statement.
const BATCH: i64 = 2000;

/// Runs chosen at a time.
const VICTIMS: i64 = 100;

const CHOOSE: &str = "SELECT run_id FROM tagwarden_runs \
         WHERE tenant = $1 AND (state = 'pruned' OR started_at < $2) \
     UNION \
     SELECT run_id FROM ( \
         SELECT run_id, state, ROW_NUMBER() OVER (ORDER BY started_at DESC, run_id DESC) AS place \
         FROM tagwarden_runs WHERE tenant = $1 AND state <> 'pruned' \
     ) AS ranked WHERE place > $3 AND state NOT IN ('queued', 'running') \
     LIMIT $4";

const HIDE: &str = "UPDATE tagwarden_runs SET state = 'pruned' WHERE tenant = $1 AND run_id = $2";

const DELETE_FINDINGS: &str = "DELETE FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND seq IN \
     (SELECT seq FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 ORDER BY seq LIMIT $3)";

const DELETE_COVERAGE: &str = "DELETE FROM tagwarden_coverage WHERE tenant = $1 AND run_id = $2 AND seq IN \
     (SELECT seq FROM tagwarden_coverage WHERE tenant = $1 AND run_id = $2 ORDER BY seq LIMIT $3)";

const DELETE_CALLS: &str = "DELETE FROM tagwarden_invocations WHERE tenant = $1 AND at < $2";

/// The record of calls is kept for two years.
const CALLS_KEPT_MS: i64 = 2 * 365 * 24 * 3600 * 1000;

const DELETE_COUNTS: &str = "DELETE FROM tagwarden_run_counts WHERE tenant = $1 AND run_id = $2";

const DELETE_ACCOUNTS: &str = "DELETE FROM tagwarden_run_accounts WHERE tenant = $1 AND run_id = $2";

const DELETE_RUN: &str = "DELETE FROM tagwarden_runs WHERE tenant = $1 AND run_id = $2 AND state = 'pruned'";

/// Whoever has the run loses it.
const ABANDON: &str = "UPDATE tagwarden_runs SET state = $3, cause = $4, finished_at = $5, reason = $6, \
     epoch = epoch + 1 WHERE tenant = $1 AND run_id = $2 AND state IN ('queued', 'running')";

/// How long runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs that began longer ago are forgotten, whatever their state.
    pub max_age: Duration,
    /// The newest this many are kept; runs under way are never forgotten for their number.
    pub max_runs: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: Duration::from_hours(90 * 24), max_runs: 1000 }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Their findings.
    pub findings: u64,
}

/// How a run that has no report ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abandoned {
    /// It could not go on, for this reason.
    Failed(String),
    /// Somebody stopped it, for this reason.
    Cancelled(String),
}

impl Store {
    /// Forgets the runs of a tenant that `retention` does not keep. May run at any time, anywhere, also twice.
    pub async fn prune(
        &self,
        tenant: &str,
        now: Timestamp,
        retention: Retention,
    ) -> Result<Pruned, StoreError> {
        let age = i64::try_from(retention.max_age.as_millis()).unwrap_or(i64::MAX);
        let oldest = now.as_millisecond().saturating_sub(age);
        let mut pruned = Pruned::default();
        let forgotten = now.as_millisecond().saturating_sub(CALLS_KEPT_MS);
        sqlx::query(DELETE_CALLS)
            .bind(tenant.to_owned())
            .bind(forgotten)
            .execute(self.pool())
            .await
            .map_err(StoreError::database("forget calls"))?;
        loop {
            let victims = self.choose(tenant, oldest, retention.max_runs).await?;
            if victims.is_empty() {
                return Ok(pruned);
            }
            for run_id in victims {
                self.each(HIDE, "forget a run", tenant, &run_id).await?;
                pruned.findings += self.batches(DELETE_FINDINGS, tenant, &run_id).await?;
                self.batches(DELETE_COVERAGE, tenant, &run_id).await?;
                self.each(DELETE_COUNTS, "forget counts", tenant, &run_id).await?;
                self.each(DELETE_ACCOUNTS, "forget accounts", tenant, &run_id).await?;
                pruned.runs += self.each(DELETE_RUN, "forget a run", tenant, &run_id).await?;
            }
        }
    }

    /// Ends a run that nobody is going to finish, for example after a crash, and drops the findings it had so far.
    pub async fn abandon(
        &self,
        tenant: &str,
        run_id: &str,
        how: &Abandoned,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (state, cause) = match how {
            Abandoned::Failed(cause) => ("failed", cause),
            Abandoned::Cancelled(cause) => ("cancelled", cause),
        };
        self.end(tenant, run_id, (state, None, cause), now).await
    }

    /// Ends a run without results, and drops the findings it had so far.
    pub(crate) async fn end(
        &self,
        tenant: &str,
        run_id: &str,
        (state, reason, cause): (&'static str, Option<&str>, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ended = sqlx::query(ABANDON)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .bind(state)
            .bind(text::stored(cause).into_owned())
            .bind(now.as_millisecond())
            .bind(reason.map(|reason| text::stored(reason).into_owned()))
            .execute(self.pool())
            .await
            .map_err(StoreError::database("end a run"))?;
        if ended.rows_affected() == 0 {
            self.run(tenant, run_id).await?;
            return Err(StoreError::NotRunning(run_id.to_owned()));
        }
        self.batches(DELETE_FINDINGS, tenant, run_id).await?;
        Ok(())
    }

    async fn choose(&self, tenant: &str, oldest: i64, max_runs: u32) -> Result<Vec<String>, StoreError> {
        let failed = StoreError::database("choose what to forget");
        let rows = sqlx::query(CHOOSE)
            .bind(tenant.to_owned())
            .bind(oldest)
            .bind(i64::from(max_runs))
            .bind(VICTIMS)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        rows.iter().map(|row| row.try_get(0).map_err(&failed)).collect()
    }

    async fn batches(&self, delete: &'static str, tenant: &str, run_id: &str) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let deleted = sqlx::query(delete)
                .bind(tenant.to_owned())
                .bind(run_id.to_owned())
                .bind(BATCH)
                .execute(self.pool())
                .await
                .map_err(StoreError::database("forget findings"))?
                .rows_affected();
            total += deleted;
            if deleted < BATCH.unsigned_abs() {
                return Ok(total);
            }
        }
    }

    async fn each(
        &self,
        statement: &'static str,
        action: &'static str,
        tenant: &str,
        run_id: &str,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(statement)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .execute(self.pool())
            .await
            .map_err(StoreError::database(action))?;
        Ok(done.rows_affected())
    }
}
