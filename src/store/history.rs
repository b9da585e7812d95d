//! Reading past runs: one line of history each.

use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_core::account::AccountId;
use tagwarden_core::run::RunState;
use tagwarden_core::tally::Tally;

use crate::bulk::{self, TALLY_COLUMNS, tally_columns};
use crate::finding_row::instant;
use crate::results::page_size;
use crate::{Store, StoreError};

/// Selects runs of tenant `$1` with, where there is one, the tally of account `$2`.
macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT r.run_id, r.policy_name, r.policy_revision, r.triggered_by, r.scope_digest, r.scope, \
             r.started_at, r.finished_at, r.state, r.cause, r.reported, r.complete, r.gaps, r.findings, ",
            tally_columns!("r."),
            ", ",
            tally_columns!("a."),
            " FROM tagwarden_runs r LEFT JOIN tagwarden_run_counts a ON a.tenant = r.tenant AND a.run_id = r.run_id \
             AND a.dimension = 'account' AND a.name = $2 WHERE r.tenant = $1 AND r.state <> 'pruned' ",
            $rest
        )
    };
}

/// Where the tally of the run begins in a row of [`select_runs`], and where that of the account.
const RUN_TALLY: usize = 14;
const ACCOUNT_TALLY: usize = RUN_TALLY + TALLY_COLUMNS;

const RUNS: &str = select_runs!(
    "AND (r.started_at, r.run_id) < ($3, $4) AND ($5 IS NULL OR r.policy_name = $5) \
     AND ($6 IS NULL OR r.scope_digest = $6) \
     AND ($2 IS NULL OR EXISTS (SELECT 1 FROM tagwarden_coverage c \
         WHERE c.tenant = r.tenant AND c.run_id = r.run_id AND c.account_id = $2)) \
     ORDER BY r.started_at DESC, r.run_id DESC LIMIT $7"
);

const RUN: &str = select_runs!("AND r.run_id = $3");

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// At most this many, from 1 to [`MAX_PAGE`](crate::MAX_PAGE).
    pub limit: usize,
    /// Only runs that come after this one in the list, so older ones.
    pub before: Option<RunCursor>,
    /// Only runs of the policy of this name.
    pub policy: Option<String>,
    /// Only runs of the scope of this digest.
    pub scope_digest: Option<String>,
    /// Only runs with a report on this account, and its tally with each.
    pub account: Option<AccountId>,
}

/// A place in the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCursor {
    /// When the run began.
    pub started_at: Timestamp,
    /// The run.
    pub run_id: String,
}

/// One run, without its details.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Unique within the tenant.
    pub run_id: String,
    /// The name of the policy.
    pub policy_name: String,
    /// The digest of the compiled policy.
    pub policy_revision: String,
    /// What made it run.
    pub trigger: String,
    /// The digest of the scope; only runs of the same scope can be compared.
    pub scope_digest: String,
    /// The accounts, regions and types asked for.
    pub scope: serde_json::Value,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is under way.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub state: RunState,
    /// Why it was abandoned.
    pub cause: Option<String>,
    /// Its results; `None` before its report is in, and forever when it was abandoned.
    pub results: Option<RunResults>,
}

/// What a run found, in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunResults {
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// Cells of the coverage that could not be fully seen.
    pub gaps: u64,
    /// Findings in the store: violations, exempt ones and advice.
    pub findings: u64,
    /// The counters over everything.
    pub summary: Tally,
    /// The counters of the account of the filter; `None` without one, and when nothing of it was judged.
    pub account: Option<Tally>,
}

impl RunSummary {
    /// Where it stands in the list of runs.
    pub fn cursor(&self) -> RunCursor {
        RunCursor { started_at: self.started_at, run_id: self.run_id.clone() }
    }

    /// How long it took; `None` while it is under way.
    pub fn duration(&self) -> Option<SignedDuration> {
        self.finished_at.map(|finished_at| finished_at.duration_since(self.started_at))
    }
}

impl Store {
    /// The runs of a tenant, the newest first.
    pub async fn runs(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunSummary>, StoreError> {
        let (before, before_id) = match &filter.before {
            Some(cursor) => (cursor.started_at.as_millisecond(), cursor.run_id.clone()),
            None => (i64::MAX, String::new()),
        };
        let rows = sqlx::query(RUNS)
            .bind(tenant.to_owned())
            .bind(filter.account.as_ref().map(ToString::to_string))
            .bind(before)
            .bind(before_id)
            .bind(filter.policy.clone())
            .bind(filter.scope_digest.clone())
            .bind(page_size(filter.limit))
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("list runs"))?;
        rows.iter().map(summary).collect()
    }

    /// One run of a tenant.
    pub async fn run(&self, tenant: &str, run_id: &str) -> Result<RunSummary, StoreError> {
        let row = sqlx::query(RUN)
            .bind(tenant.to_owned())
            .bind(None::<String>)
            .bind(run_id.to_owned())
            .fetch_optional(self.pool())
            .await
            .map_err(StoreError::database("read a run"))?;
        row.as_ref().map_or_else(|| Err(StoreError::RunNotFound(run_id.to_owned())), summary)
    }
}

fn summary(row: &AnyRow) -> Result<RunSummary, StoreError> {
    let failed = StoreError::database("read a run");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let finished_at: Option<i64> = row.try_get(7).map_err(&failed)?;
    let word = text(8)?;
    Ok(RunSummary {
        run_id: text(0)?,
        policy_name: text(1)?,
        policy_revision: text(2)?,
        trigger: text(3)?,
        scope_digest: text(4)?,
        scope: serde_json::from_str(&text(5)?).map_err(|error| StoreError::corrupt("a scope", error))?,
        started_at: instant(row.try_get(6).map_err(&failed)?)?,
        finished_at: finished_at.map(instant).transpose()?,
        state: RunState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| StoreError::corrupt("the state of a run", &word))?,
        cause: row.try_get(9).map_err(&failed)?,
        results: results(row).map_err(&failed)?,
    })
}

fn results(row: &AnyRow) -> Result<Option<RunResults>, sqlx::Error> {
    if row.try_get::<i64, _>(10)? == 0 {
        return Ok(None);
    }
    Ok(Some(RunResults {
        complete: row.try_get::<i64, _>(11)? != 0,
        gaps: bulk::counted(row.try_get(12)?),
        findings: bulk::counted(row.try_get(13)?),
        summary: bulk::read_tally(row, RUN_TALLY)?.unwrap_or_default(),
        account: bulk::read_tally(row, ACCOUNT_TALLY)?,
    }))
}
