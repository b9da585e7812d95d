//! Writing a run: its findings while they come, everything else at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Any, Transaction};
use tagwarden_app::ports::FindingSink;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{Cell, CellState};
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::run::RunState;
use tagwarden_core::tally::Tally;

use crate::bulk::{self, RunTable, tally_columns};
use crate::stream::{FindingStream, Grip};
use crate::{Store, StoreError, text};

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

/// A run of an audit ends only when all its accounts are done.
const END_RUN: &str = "UPDATE tagwarden_runs SET reported = 1, state = $4, finished_at = $5, complete = $6, \
     gaps = $7, score = $8, reason = $9, cause = $10, compliant = $11, violating = $12, exempt = $13, \
     unknown = $14, critical = $15, high = $16, medium = $17, low = $18, info = $19, \
     missing_required_tag = $20, invalid_value = $21, invalid_format = $22, wrong_case = $23, \
     forbidden_tag = $24, naming_rule = $25, advice = $26 \
     WHERE tenant = $1 AND run_id = $2 AND epoch = $3 AND state = 'running' AND NOT EXISTS ( \
         SELECT 1 FROM tagwarden_run_accounts a WHERE a.tenant = $1 AND a.run_id = $2 AND a.done = 0)";

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
    findings: FindingStream,
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
        let grip = Grip { store: self.clone(), tenant: tenant.into(), run_id: run_id.into(), epoch: 0 };
        Ok(RunRecorder { findings: FindingStream::new(grip, 0) })
    }
}

impl RunRecorder {
    /// The run being recorded.
    pub fn run_id(&self) -> &str {
        &self.findings.grip.run_id
    }

    async fn write_report(&self, report: &ScanReport) -> Result<(), StoreError> {
        let grip = &self.findings.grip;
        let end = End {
            state: outcome(report),
            reason: None,
            cause: None,
            finished_at: report.finished_at,
            complete: report.complete(),
            gaps: report.gaps().count() as u64,
            summary: &report.summary,
            by_account: &report.by_account,
            by_region: &report.by_region,
            by_resource_type: &report.by_resource_type,
        };
        let mut transaction = grip.store.begin("record a report").await?;
        end.write(grip, &mut transaction).await?;
        write_coverage(grip, &mut transaction, 0, &report.coverage).await?;
        transaction.commit().await.map_err(StoreError::database("record a report"))
    }
}

/// The coverage of a run, or of an account of it, from this place on.
pub(crate) async fn write_coverage(
    grip: &Grip,
    transaction: &mut Transaction<'static, Any>,
    first: i64,
    coverage: &[Cell],
) -> Result<(), StoreError> {
    let cells: Vec<(i64, &Cell)> = (first..).zip(coverage).collect();
    COVERAGE
        .insert(transaction, grip.key(), &cells, |statement, (seq, cell)| {
            statement
                .bind(*seq)
                .bind(cell.account_id.to_string())
                .bind(text::stored(&cell.region).into_owned())
                .bind(text::stored(&cell.resource_type).into_owned())
                .bind(cell.state.as_str().to_owned())
                .bind(bulk::count(cell.resources))
                .bind(cell.cause.as_deref().map(|cause| text::stored(cause).into_owned()))
        })
        .await
}

/// How a run ends that has results.
pub(crate) struct End<'a> {
    pub(crate) state: RunState,
    pub(crate) reason: Option<&'a str>,
    pub(crate) cause: Option<&'a str>,
    pub(crate) finished_at: Timestamp,
    pub(crate) complete: bool,
    pub(crate) gaps: u64,
    pub(crate) summary: &'a Tally,
    pub(crate) by_account: &'a BTreeMap<AccountId, Tally>,
    pub(crate) by_region: &'a BTreeMap<Arc<str>, Tally>,
    pub(crate) by_resource_type: &'a BTreeMap<Arc<str>, Tally>,
}

impl End<'_> {
    pub(crate) async fn write(
        &self,
        grip: &Grip,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<(), StoreError> {
        let statement = sqlx::query(END_RUN)
            .bind(grip.tenant.to_string())
            .bind(grip.run_id.to_string())
            .bind(grip.epoch)
            .bind(self.state.as_str().to_owned())
            .bind(self.finished_at.as_millisecond())
            .bind(i64::from(self.complete))
            .bind(bulk::count(self.gaps))
            .bind(self.summary.score())
            .bind(self.reason.map(|reason| text::stored(reason).into_owned()))
            .bind(self.cause.map(|cause| text::stored(cause).into_owned()));
        let ended = bulk::bind_tally(statement, self.summary)
            .execute(&mut **transaction)
            .await
            .map_err(StoreError::database("record a report"))?;
        if ended.rows_affected() == 0 {
            return Err(StoreError::NotRunning(grip.run_id.to_string()));
        }
        self.write_counts(grip, transaction).await
    }

    async fn write_counts(
        &self,
        grip: &Grip,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<(), StoreError> {
        let by_account: BTreeMap<Arc<str>, Tally> =
            self.by_account.iter().map(|(account, tally)| (account.as_str().into(), *tally)).collect();
        let dimensions =
            [("account", &by_account), ("region", self.by_region), ("resource_type", self.by_resource_type)];
        for (dimension, tallies) in dimensions {
            let rows: Vec<_> = tallies.iter().collect();
            RUN_COUNTS
                .insert(transaction, grip.key(), &rows, |statement, (name, tally)| {
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
        self.findings.push(rows).await
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), StoreError> {
        if report.run_id != *self.run_id() {
            return Err(StoreError::OtherRun {
                recorded: self.run_id().to_owned(),
                reported: report.run_id.clone(),
            });
        }
        self.findings.flush().await?;
        self.write_report(report).await
    }
}
