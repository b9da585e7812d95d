//! The ledger of runs, as questions are answered out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Row;
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::{
    Answer, FindingCount, FindingPage, FindingQuery, Ledger, RunLine, RunNumbers, RunQuery,
};
use tagwarden_app::audit::AuditProgress;
use tagwarden_app::audit::outcome::{AccountLine, GapLine, RunOutcome};
use tagwarden_app::audit::ports::{RunKey, Runs as _};
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{ANY, Cell, Gap};
use tagwarden_core::finding::Severity;
use tagwarden_core::scope::Scope;

use crate::finding_row::{self, finding_columns};
use crate::results::page_size;
use crate::{Abandoned, AuditRuns, RunCursor, RunFilter, RunSummary, Store, StoreError, bulk};

/// What a finding must be; a list is `,one,two,`, and empty where it does not restrict.
macro_rules! matching {
    () => {
        " FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND seq > $3 AND severity <= $4 \
         AND ($5 = '' OR kind = $5) AND ($6 = '' OR violation_type = $6) AND ($7 = 1 OR exempted_by IS NULL) \
         AND ($8 = '' OR $8 LIKE '%,' || resource_type || ',%') AND ($9 = '' OR $9 LIKE '%,' || account_id || ',%') \
         AND ($10 = '' OR $10 LIKE '%,' || region || ',%')"
    };
}

const PAGE: &str = concat!("SELECT ", finding_columns!(), matching!(), " ORDER BY seq LIMIT $11");

const COUNT: &str = concat!("SELECT COUNT(*), COUNT(DISTINCT arn)", matching!());

const PROGRESS: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(done), 0) AS BIGINT), \
     CAST(COALESCE(SUM(CASE WHEN done = 1 THEN seen ELSE 0 END), 0) AS BIGINT) \
     FROM tagwarden_run_accounts WHERE tenant = $1 AND run_id = $2";

const SLOT: &str = "SELECT run_id FROM tagwarden_runs WHERE tenant = $1 AND audit_uid = $2 AND slot = $3 AND state <> 'pruned'";

/// Gaps that are told of a run that has no plan.
const GAPS_TOLD: usize = 50;

/// The error, for people who cannot see the store.
pub(crate) fn told(error: StoreError) -> AskError {
    match error {
        StoreError::RunNotFound(run) => AskError::not_found(
            "run",
            &run,
            "take a run_id that an answer gave; runs are forgotten after a while",
        ),
        StoreError::Database { .. } | StoreError::Connect { .. } => {
            tracing::warn!(%error, "the store does not work");
            AskError::unavailable("the store of results does not answer")
        }
        other => AskError::internal(&other),
    }
}

fn line(summary: RunSummary) -> RunLine {
    let names = |field: &str| {
        let values = summary.scope[field].as_array().map(Vec::as_slice).unwrap_or_default();
        values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    RunLine {
        scope: Scope {
            accounts: names("accounts"),
            regions: names("regions"),
            resource_types: names("resourceTypes"),
        },
        run_id: summary.run_id,
        trigger: summary.trigger,
        state: summary.state,
        policy: summary.policy_name,
        policy_revision: summary.policy_revision,
        started_at: summary.started_at,
        finished_at: summary.finished_at,
        cause: summary.cause.filter(|cause| !cause.is_empty()),
        results: summary.results.map(|results| RunNumbers {
            complete: results.complete,
            gaps: results.gaps,
            findings: results.findings,
            summary: results.summary,
        }),
    }
}

/// `,one,two,`
fn list<T: std::fmt::Display>(values: &[T]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let joined: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!(",{},", joined.join(","))
}

impl Store {
    async fn matching(
        &self,
        tenant: &str,
        run_id: &str,
        query: &FindingQuery,
        after: Option<u64>,
        limit: usize,
    ) -> Result<FindingPage, StoreError> {
        let size = page_size(limit);
        let rows = bound(sqlx::query(PAGE), (tenant, run_id), query, after)
            .bind(size + 1)
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("read findings"))?;
        self.must_have_results(tenant, run_id).await?;
        let (findings, next) = finding_row::page(&rows, size)?;
        Ok(FindingPage { findings: findings.collect(), next })
    }

    async fn counted(
        &self,
        tenant: &str,
        run_id: &str,
        query: &FindingQuery,
    ) -> Result<FindingCount, StoreError> {
        let failed = StoreError::database("count findings");
        let row = bound(sqlx::query(COUNT), (tenant, run_id), query, None)
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        self.must_have_results(tenant, run_id).await?;
        Ok(FindingCount {
            findings: bulk::counted(row.try_get(0).map_err(&failed)?),
            resources: bulk::counted(row.try_get(1).map_err(&failed)?),
        })
    }

    async fn progress_of(&self, tenant: &str, run_id: &str) -> Result<AuditProgress, StoreError> {
        let failed = StoreError::database("read the progress of a run");
        let row = sqlx::query(PROGRESS)
            .bind(tenant.to_owned())
            .bind(run_id.to_owned())
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        // PostgreSQL sums up into a numeric; the cast makes it the same for both.
        let number = |column: usize| row.try_get::<i64, _>(column).map_err(&failed).map(bulk::counted);
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(AuditProgress {
            accounts: count(number(0)?),
            accounts_done: count(number(1)?),
            resources: number(2)?,
        })
    }

    async fn run_for(&self, tenant: &str, audit_uid: &str, slot: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar(SLOT)
            .bind(tenant.to_owned())
            .bind(audit_uid.to_owned())
            .bind(slot.to_owned())
            .fetch_optional(self.pool())
            .await
            .map_err(StoreError::database("find a run"))
    }

    /// What came of a run that has no plan: of `tagwarden scan`.
    async fn outcome_without_plan(&self, tenant: &str, run: &RunSummary) -> Result<RunOutcome, StoreError> {
        let results = run.results.ok_or_else(|| StoreError::RunNotFound(run.run_id.clone()))?;
        let counts = self.counts(tenant, &run.run_id).await?;
        let coverage = self.coverage(tenant, &run.run_id).await?;
        let closed = |cell: &&Cell| *cell.region == *ANY && *cell.resource_type == *ANY;
        let mut gaps: BTreeMap<&AccountId, u64> = BTreeMap::new();
        for cell in coverage.iter().filter(|cell| cell.state.is_gap()) {
            *gaps.entry(&cell.account_id).or_default() += 1;
        }
        let gaps_of = |id: &AccountId| gaps.get(id).copied().unwrap_or_default();
        let mut accounts: Vec<AccountLine> = counts
            .by_account
            .iter()
            .map(|(id, tally)| AccountLine {
                name: id.to_string(),
                account_id: Some(id.clone()),
                failure: None,
                complete: gaps_of(id) == 0,
                gaps: gaps_of(id),
                summary: *tally,
            })
            .collect();
        accounts.extend(coverage.iter().filter(closed).map(|cell| AccountLine {
            name: cell.account_id.to_string(),
            account_id: Some(cell.account_id.clone()),
            failure: Some(Gap { state: cell.state, cause: cell.cause.clone().unwrap_or_default() }),
            complete: false,
            gaps: gaps_of(&cell.account_id),
            summary: tagwarden_core::tally::Tally::default(),
        }));
        let told = coverage.iter().filter(|cell| cell.state.is_gap()).take(GAPS_TOLD).map(|cell| {
            let gap = GapLine {
                region: cell.region.to_string(),
                resource_type: Arc::clone(&cell.resource_type),
                state: cell.state.as_str().into(),
                cause: cell.cause.clone().unwrap_or_default(),
            };
            (cell.account_id.to_string(), gap)
        });
        Ok(RunOutcome {
            accounts,
            complete: results.complete,
            cells: coverage.len() as u64,
            gaps: results.gaps,
            told: told.collect(),
            seen: coverage.iter().map(|cell| cell.resources).sum(),
            summary: results.summary,
            by_region: counts.by_region,
            by_resource_type: counts.by_resource_type,
            ..RunOutcome::default()
        })
    }
}

fn bound(
    statement: bulk::Statement,
    (tenant, run_id): (&str, &str),
    query: &FindingQuery,
    after: Option<u64>,
) -> bulk::Statement {
    statement
        .bind(tenant.to_owned())
        .bind(run_id.to_owned())
        .bind(after.map_or(-1, bulk::count))
        .bind(query.min_severity.unwrap_or(Severity::Info) as i64)
        .bind(query.kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default())
        .bind(query.violation_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default())
        .bind(i64::from(query.with_exempt))
        .bind(list(&query.resource_types))
        .bind(list(&query.accounts))
        .bind(list(&query.regions))
}

impl Ledger for AuditRuns {
    fn runs<'a>(&'a self, tenant: &'a str, query: &'a RunQuery) -> Answer<'a, Vec<RunLine>> {
        Box::pin(async move {
            let before = query.before.clone();
            let filter = RunFilter {
                limit: query.limit,
                before: before.map(|(started_at, run_id)| RunCursor { started_at, run_id }),
                policy: query.policy.clone(),
                scope_digest: query.scope_digest.clone(),
                account: None,
            };
            let runs = self.store().runs(tenant, &filter).await.map_err(told)?;
            Ok(runs.into_iter().map(line).collect())
        })
    }

    fn run<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, RunLine> {
        Box::pin(async move { self.store().run(tenant, run_id).await.map(line).map_err(told) })
    }

    fn run_of_slot<'a>(
        &'a self,
        tenant: &'a str,
        audit_uid: &'a str,
        slot_key: &'a str,
    ) -> Answer<'a, Option<String>> {
        Box::pin(async move { self.store().run_for(tenant, audit_uid, slot_key).await.map_err(told) })
    }

    fn progress<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, AuditProgress> {
        Box::pin(async move { self.store().progress_of(tenant, run_id).await.map_err(told) })
    }

    fn outcome<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, RunOutcome> {
        Box::pin(async move {
            let key = RunKey { tenant: tenant.into(), run_id: run_id.into() };
            let run = self.store().run(tenant, run_id).await.map_err(told)?;
            if run.results.is_none() {
                return Err(told(StoreError::RunNotFound(run_id.to_owned())));
            }
            let outcome = tagwarden_app::audit::ports::Runs::outcome(self, &key).await?;
            if outcome.accounts.is_empty() {
                return self.store().outcome_without_plan(tenant, &run).await.map_err(told);
            }
            Ok(outcome)
        })
    }

    fn coverage<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, Vec<Cell>> {
        Box::pin(async move { self.store().coverage(tenant, run_id).await.map_err(told) })
    }

    fn findings<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        query: &'a FindingQuery,
        after: Option<u64>,
        limit: usize,
    ) -> Answer<'a, FindingPage> {
        Box::pin(
            async move { self.store().matching(tenant, run_id, query, after, limit).await.map_err(told) },
        )
    }

    fn count<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        query: &'a FindingQuery,
    ) -> Answer<'a, FindingCount> {
        Box::pin(async move { self.store().counted(tenant, run_id, query).await.map_err(told) })
    }

    fn cancel<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        why: &'a str,
        now: Timestamp,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let key = RunKey { tenant: tenant.into(), run_id: run_id.into() };
            let ending = tagwarden_app::audit::cancelled(why.to_owned());
            Ok(self.stop(&key, &ending, now).await?)
        })
    }

    fn give_up<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        why: &'a str,
        now: Timestamp,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let how = Abandoned::Failed(why.to_owned());
            match self.store().abandon(tenant, run_id, &how, now).await {
                Ok(()) | Err(StoreError::NotRunning(_)) => Ok(()),
                Err(error) => Err(told(error)),
            }
        })
    }
}
