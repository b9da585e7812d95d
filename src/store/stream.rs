//! Writing findings while they come, for as long as the run is in the writer's hands.

use std::sync::Arc;

use sqlx::{Any, Transaction};
use tagwarden_core::report::ViolationRow;

use crate::bulk::{self, BATCH};
use crate::finding_row::{FINDINGS, FindingRow};
use crate::{Store, StoreError};

/// Findings of one transaction.
const TRANSACTION: usize = 10 * BATCH;

/// Also makes everybody who wants to take, end or prune this run wait for the transaction.
const COUNT_FINDINGS: &str = "UPDATE tagwarden_runs SET findings = findings + $4 \
     WHERE tenant = $1 AND run_id = $2 AND epoch = $3 AND state = 'running'";

/// A run in somebody's hands.
#[derive(Debug, Clone)]
pub(crate) struct Grip {
    pub(crate) store: Store,
    pub(crate) tenant: Arc<str>,
    pub(crate) run_id: Arc<str>,
    /// 0 for runs that change hands never.
    pub(crate) epoch: i64,
}

impl Grip {
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.tenant, &self.run_id)
    }

    /// Makes sure that the run is still in these hands, and stays there until the transaction ends; counts findings
    /// that are written or, below zero, deleted.
    pub(crate) async fn hold(
        &self,
        transaction: &mut Transaction<'static, Any>,
        findings: i64,
    ) -> Result<(), StoreError> {
        let held = sqlx::query(COUNT_FINDINGS)
            .bind(self.tenant.to_string())
            .bind(self.run_id.to_string())
            .bind(self.epoch)
            .bind(findings)
            .execute(&mut **transaction)
            .await
            .map_err(StoreError::database("record findings"))?;
        if held.rows_affected() == 0 {
            return Err(StoreError::NotRunning(self.run_id.to_string()));
        }
        Ok(())
    }
}

/// Findings on their way into the store.
#[derive(Debug)]
pub(crate) struct FindingStream {
    pub(crate) grip: Grip,
    /// The place of the first finding.
    first: i64,
    /// Less than a batch between two calls.
    pending: Vec<FindingRow>,
    written: usize,
}

impl FindingStream {
    pub(crate) fn new(grip: Grip, first: i64) -> Self {
        Self { grip, first, pending: Vec::with_capacity(BATCH), written: 0 }
    }

    /// Takes findings, and writes them once they are enough for a transaction.
    pub(crate) async fn push(&mut self, rows: &[ViolationRow]) -> Result<(), StoreError> {
        for row in rows {
            self.pending.push(row.into());
            if self.pending.len() >= TRANSACTION {
                self.flush().await?;
            }
        }
        if self.pending.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Writes all that is pending. After an error, or when dropped on the way, nothing of it was written.
    pub(crate) async fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut transaction = self.grip.store.begin("record findings").await?;
        self.grip.hold(&mut transaction, bulk::count(self.pending.len() as u64)).await?;
        let next = self.first + bulk::count(self.written as u64);
        let rows: Vec<(i64, &FindingRow)> = (next..).zip(&self.pending).collect();
        FINDINGS
            .insert(&mut transaction, self.grip.key(), &rows, |statement, (seq, row)| {
                row.bind(*seq, statement)
            })
            .await?;
        transaction.commit().await.map_err(StoreError::database("record findings"))?;
        self.written += self.pending.len();
        self.pending.clear();
        Ok(())
    }
}
