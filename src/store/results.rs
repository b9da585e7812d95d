//! Reading what a run found: findings page by page, coverage and counts. Only runs with a report have results.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::Row;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{Cell, CellState};
use tagwarden_core::finding::{FindingKind, Severity};
use tagwarden_core::report::ViolationRow;
use tagwarden_core::tally::Tally;

use crate::bulk::{self, tally_columns};
use crate::finding_row::{self, finding_columns};
use crate::{Store, StoreError};

/// The most rows of a page.
pub const MAX_PAGE: usize = 1000;

const FINDINGS: &str = concat!(
    "SELECT ",
    finding_columns!(),
    " FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND seq > $3 AND severity <= $4 \
     AND ($5 IS NULL OR kind = $5) AND ($6 IS NULL OR resource_type = $6) AND ($7 IS NULL OR account_id = $7) \
     AND ($8 IS NULL OR region = $8) ORDER BY seq LIMIT $9"
);

const COVERAGE: &str = "SELECT account_id, region, resource_type, state, resources, cause FROM tagwarden_coverage \
     WHERE tenant = $1 AND run_id = $2 ORDER BY seq";

const COUNTS: &str = concat!(
    "SELECT dimension, name, ",
    tally_columns!(""),
    " FROM tagwarden_run_counts WHERE tenant = $1 AND run_id = $2"
);

const REPORTED: &str = "SELECT COUNT(*) FROM tagwarden_runs \
     WHERE tenant = $1 AND run_id = $2 AND reported = 1 AND state <> 'pruned'";

/// Which findings to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FindingFilter {
    /// Only findings at least as severe.
    pub min_severity: Option<Severity>,
    /// Only violations, or only advice.
    pub kind: Option<FindingKind>,
    /// Only findings on resources of this type.
    pub resource_type: Option<String>,
    /// Only findings of this account.
    pub account: Option<AccountId>,
    /// Only findings of this region.
    pub region: Option<String>,
}

/// Some findings of a run, in the order in which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingsPage {
    /// The findings.
    pub findings: Vec<ViolationRow>,
    /// What to pass as `after` for the next page; `None` after the last.
    pub next: Option<u64>,
}

/// The counters of a run by what they are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunCounts {
    /// Per account.
    pub by_account: BTreeMap<AccountId, Tally>,
    /// Per region.
    pub by_region: BTreeMap<Arc<str>, Tally>,
    /// Per resource type.
    pub by_resource_type: BTreeMap<Arc<str>, Tally>,
}

impl Store {
    /// A page of at most `limit` findings, from 1 to [`MAX_PAGE`], that come after the place `after`.
    pub async fn findings(
        &self,
        tenant: &str,
        run_id: &str,
        filter: &FindingFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<FindingsPage, StoreError> {
        let size = page_size(limit);
        let rows = sqlx::query(FINDINGS)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .bind(after.map_or(-1, bulk::count))
            .bind(filter.min_severity.unwrap_or(Severity::Info) as i64)
            .bind(filter.kind.map(|kind| kind.as_str().to_owned()))
            .bind(filter.resource_type.clone())
            .bind(filter.account.as_ref().map(ToString::to_string))
            .bind(filter.region.clone())
            .bind(size + 1)
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("read findings"))?;
        self.must_have_results(tenant, run_id).await?;

        let (findings, next) = finding_row::page(&rows, size)?;
        Ok(FindingsPage { findings: findings.map(|(_, finding)| finding).collect(), next })
    }

    /// The coverage of a run, in the order of its report.
    pub async fn coverage(&self, tenant: &str, run_id: &str) -> Result<Vec<Cell>, StoreError> {
        let failed = StoreError::database("read the coverage");
        let rows = sqlx::query(COVERAGE)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        self.must_have_results(tenant, run_id).await?;
        rows.iter()
            .map(|row| {
                let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
                Ok(Cell {
                    account_id: account(&text(0)?)?,
                    region: text(1)?.into(),
                    resource_type: text(2)?.into(),
                    state: cell_state(&text(3)?)?,
                    resources: bulk::counted(row.try_get(4).map_err(&failed)?),
                    cause: row.try_get(5).map_err(&failed)?,
                })
            })
            .collect()
    }

    /// The counters of a run per account, region and resource type.
    pub async fn counts(&self, tenant: &str, run_id: &str) -> Result<RunCounts, StoreError> {
        let failed = StoreError::database("read the counts");
        let rows = sqlx::query(COUNTS)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        self.must_have_results(tenant, run_id).await?;

        let mut counts = RunCounts::default();
        for row in &rows {
            let dimension: String = row.try_get(0).map_err(&failed)?;
            let name: String = row.try_get(1).map_err(&failed)?;
            let tally = bulk::read_tally(row, 2).map_err(&failed)?.unwrap_or_default();
            match dimension.as_str() {
                "account" => drop(counts.by_account.insert(account(&name)?, tally)),
                "region" => drop(counts.by_region.insert(name.into(), tally)),
                "resource_type" => drop(counts.by_resource_type.insert(name.into(), tally)),
                other => return Err(StoreError::corrupt("a dimension", other)),
            }
        }
        Ok(counts)
    }

    /// To be asked after reading: a run loses its results before it loses its rows, so what was read is whole.
    pub(crate) async fn must_have_results(&self, tenant: &str, run_id: &str) -> Result<(), StoreError> {
        let found: i64 = sqlx::query_scalar(REPORTED)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .fetch_one(self.pool())
            .await
            .map_err(StoreError::database("read a run"))?;
        if found == 0 { Err(StoreError::RunNotFound(run_id.to_owned())) } else { Ok(()) }
    }
}

/// A limit that a caller may choose.
pub(crate) fn page_size(limit: usize) -> i64 {
    bulk::count(limit.clamp(1, MAX_PAGE) as u64)
}

fn account(text: &str) -> Result<AccountId, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt("an account id", text))
}

fn cell_state(word: &str) -> Result<CellState, StoreError> {
    let known = CellState::ALL.into_iter().find(|state| state.as_str() == word);
    known.ok_or_else(|| StoreError::corrupt("the state of a coverage cell", word))
}
