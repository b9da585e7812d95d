//! Writing a run: its findings while they come, everything else at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Any, Transaction};
use tagwarden_app::ports::FindingSink;
use tagwarden_core::coverage::{Cell, CellState};
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::tally::Tally;

use crate::bulk::{self, BATCH, RunTable, tally_columns};
use crate::finding_row::{FINDINGS, FindingRow};
use crate::history::RunState;
use crate::{Store, StoreError, text};

/// Findings of one transaction.
const TRANSACTION: usize = 10 * BATCH;

const RUN_COUNTS: RunTable = RunTable {
    name: "tagwarden_run_counts",
    columns: concat!("dimension, name, score, ", tally_columns!("")),
};

const COVERAGE: RunTable = RunTable {
    name: "tagwarden_coverage",
    columns: "seq, account_id, region, resource_type, state, resources, cause",
};

const START_RUN: &str = "INSERT INTO tagwarden_runs \
     (tenant, run_id, policy_name, policy_revision, triggered_by, scope_digest, scope, started_at, state) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running') ON CONFLICT DO NOTHING";

/// Also makes everybody who wants to end or prune this run wait for the transaction.
const COUNT_FINDINGS: &str = "UPDATE tagwarden_runs SET findings = findings + $3 \
     WHERE tenant = $1 AND run_id = $2 AND state = 'running'";

const END_RUN: &str = "UPDATE tagwarden_runs SET reported = 1, state = $3, finished_at = $4, complete = $5, \
     gaps = $6, score = $7, compliant = $8, violating = $9, exempt = $10, unknown = $11, critical = $12, \
     high = $13, medium = $14, low = $15, info = $16, missing_required_tag = $17, invalid_value = $18, \
     invalid_format = $19, wrong_case = $20, forbidden_tag = $21, naming_rule = $22, advice = $23 \
     WHERE tenant = $1 AND run_id = $2 AND state = 'running'";

/// What is known of a run before its first call.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStart {
    /// Unique within the tenant, at most 253 characters.
    pub run_id: String,
    /// The name of the policy.
    pub policy_name: String,
    /// The digest of the compiled policy.
    pub policy_revision: String,
    /// What made it run, in one word: `command`, `schedule` …
    pub trigger: String,
    /// The digest of the scope; only runs of the same scope can be compared.
    pub scope_digest: String,
    /// The accounts, regions and types asked for; at most 64 KiB as JSON.
    pub scope: serde_json::Value,
    /// When it begins; kept to the millisecond, as every instant.
    pub started_at: Timestamp,
}

/// Takes the findings and the report of one run.
///
/// Findings are written a thousand at a time at most, and show as results only after [`FindingSink::finish`]. A
/// recorder that is dropped before leaves its run `running`, until [`Store::abandon`] or its age ends it.
#[derive(Debug)]
pub struct RunRecorder {
    store: Store,
    tenant: Arc<str>,
    run_id: Arc<str>,
    /// Less than a batch between two calls.
    pending: Vec<FindingRow>,
    written: usize,
}

impl Store {
    /// Begins a run.
    pub async fn record(&self, tenant: &str, start: RunStart) -> Result<RunRecorder, StoreError> {
        let tenant = text::name("tenant", tenant)?;
        let run_id = text::name("run id", &start.run_id)?;
        let scope = start.scope.to_string();
        if scope.len() > text::MAX_JSON {
            return Err(StoreError::ScopeTooLong { run_id: start.run_id, bytes: scope.len() });
        }
        let inserted = sqlx::query(START_RUN)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .bind(text::stored(&start.policy_name).into_owned())
            .bind(text::stored(&start.policy_revision).into_owned())
            .bind(text::stored(&start.trigger).into_owned())
            .bind(text::stored(&start.scope_digest).into_owned())
            .bind(scope)
            .bind(start.started_at.as_millisecond())
            .execute(self.pool())
            .await
            .map_err(StoreError::database("begin a run"))?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::RunExists(start.run_id));
        }
        Ok(RunRecorder {
            store: self.clone(),
            tenant: tenant.into(),
            run_id: run_id.into(),
            pending: Vec::with_capacity(BATCH),
            written: 0,
        })
    }
}

impl RunRecorder {
    /// The run being recorded.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    fn key(&self) -> (&str, &str) {
        (&self.tenant, &self.run_id)
    }

    /// Writes all that is pending. After an error, or when dropped on the way, nothing of it was written.
    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store.begin("record findings").await?;
        let counted = sqlx::query(COUNT_FINDINGS)
            .bind(self.tenant.to_string())
            .bind(self.run_id.to_string())
            .bind(bulk::count(self.pending.len() as u64))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::database("record findings"))?;
        if counted.rows_affected() == 0 {
            return Err(StoreError::NotRunning(self.run_id.to_string()));
        }
        let rows: Vec<(i64, &FindingRow)> = (bulk::count(self.written as u64)..).zip(&self.pending).collect();
        FINDINGS
            .insert(&mut transaction, self.key(), &rows, |statement, (seq, row)| row.bind(*seq, statement))
            .await?;
        transaction.commit().await.map_err(StoreError::database("record findings"))?;
        self.written += self.pending.len();
        self.pending.clear();
        Ok(())
    }

    async fn write_report(&self, report: &ScanReport) -> Result<(), StoreError> {
        let mut transaction = self.store.begin("record a report").await?;
        self.end_run(&mut transaction, report).await?;
        self.write_counts(&mut transaction, report).await?;
        let cells: Vec<(i64, &Cell)> = (0..).zip(&report.coverage).collect();
        COVERAGE
            .insert(&mut transaction, self.key(), &cells, |statement, (seq, cell)| {
                statement
                    .bind(*seq)
                    .bind(cell.account_id.to_string())
                    .bind(text::stored(&cell.region).into_owned())
                    .bind(text::stored(&cell.resource_type).into_owned())
                    .bind(cell.state.as_str().to_owned())
                    .bind(bulk::count(cell.resources))
                    .bind(cell.cause.as_deref().map(|cause| text::stored(cause).into_owned()))
            })
            .await?;
        transaction.commit().await.map_err(StoreError::database("record a report"))
    }

    async fn end_run(
        &self,
        transaction: &mut Transaction<'static, Any>,
        report: &ScanReport,
    ) -> Result<(), StoreError> {
        let state = outcome(report);
        let statement = sqlx::query(END_RUN)
            .bind(self.tenant.to_string())
            .bind(self.run_id.to_string())
            .bind(state.as_str().to_owned())
            .bind(report.finished_at.as_millisecond())
            .bind(i64::from(report.complete()))
            .bind(bulk::count(report.gaps().count() as u64))
            .bind(report.summary.score());
        let ended = bulk::bind_tally(statement, &report.summary)
            .execute(&mut **transaction)
            .await
            .map_err(StoreError::database("record a report"))?;
        if ended.rows_affected() == 0 {
            return Err(StoreError::NotRunning(self.run_id.to_string()));
        }
        Ok(())
    }

    async fn write_counts(
        &self,
        transaction: &mut Transaction<'static, Any>,
        report: &ScanReport,
    ) -> Result<(), StoreError> {
        let by_account: BTreeMap<Arc<str>, Tally> =
            report.by_account.iter().map(|(account, tally)| (account.as_str().into(), *tally)).collect();
        let dimensions = [
            ("account", &by_account),
            ("region", &report.by_region),
            ("resource_type", &report.by_resource_type),
        ];
        for (dimension, tallies) in dimensions {
            let rows: Vec<_> = tallies.iter().collect();
            RUN_COUNTS
                .insert(transaction, self.key(), &rows, |statement, (name, tally)| {
                    let statement = statement
                        .bind(dimension.to_owned())
                        .bind(text::stored(name).into_owned())
                        .bind(tally.score());
                    bulk::bind_tally(statement, tally)
                })
                .await?;
        }
        Ok(())
    }
}

/// Seeing nothing is no success: its score of 1 would say that all is well.
fn outcome(report: &ScanReport) -> RunState {
    if report.coverage.iter().any(|cell| cell.state == CellState::Interrupted) {
        RunState::Cancelled
    } else if report.saw_nothing() {
        RunState::Failed
    } else {
        RunState::Succeeded
    }
}

impl FindingSink for RunRecorder {
    type Error = StoreError;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), StoreError> {
        for row in rows {
            self.pending.push(row.into());
            if self.pending.len() >= TRANSACTION {
                self.flush().await?;
            }
        }
        if self.pending.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), StoreError> {
        if report.run_id != *self.run_id {
            return Err(StoreError::OtherRun {
                recorded: self.run_id.to_string(),
                reported: report.run_id.clone(),
            });
        }
        self.flush().await?;
        self.write_report(report).await
    }
}
