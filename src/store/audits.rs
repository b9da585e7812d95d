//! Runs of audits: claimed once for each occasion, taken by one worker after the other, done account by account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_app::audit::outcome::{AccountOutcome, RunOutcome};
use tagwarden_app::audit::ports::{
    Claim, Ending, Held, NewRun, Pending, PlannedAccount, RecordedResults, RunKey, RunRecord, Runs, RunsError,
};
use tagwarden_app::ports::FindingSink;
use tagwarden_core::account::AccountId;
use tagwarden_core::finding::Severity;
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::run::{RunState, Slot, Trigger, run_id};
use tagwarden_core::tally::Tally;

use crate::bulk::{self, RunTable, tally_columns};
use crate::finding_row::{self, finding_columns, instant};
use crate::record::{End, write_coverage};
use crate::stream::{FindingStream, Grip};
use crate::{Retention, Store, StoreError, checkpoint, text};

/// Runs of one audit that begin in the same minute.
const MAX_SAME_MINUTE: u32 = 1000;

/// Places for the findings, and for the cells, of one account: about a million million.
const PLACES: u32 = 40;

/// Accounts of a run: fewer than have places.
const MAX_ACCOUNTS: usize = 1 << 20;

/// Rows deleted by one statement.
const LEFTOVERS: i64 = 2000;

/// Accounts read at a time.
const PAGE: i64 = 200;

const CLAIM: &str = "INSERT INTO tagwarden_runs (tenant, run_id, policy_name, policy_revision, triggered_by, \
     scope_digest, scope, started_at, state, audit_uid, slot, slot_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10, $11) ON CONFLICT DO NOTHING";

const CLAIMED: &str = "SELECT run_id FROM tagwarden_runs \
     WHERE tenant = $1 AND audit_uid = $2 AND slot = $3 AND state <> 'pruned'";

const PLAN: RunTable = RunTable { name: "tagwarden_run_accounts", columns: "ordinal, name, account_id" };

const TAKE: &str = "UPDATE tagwarden_runs SET epoch = epoch + 1, holder = $3, state = 'running', \
     started_at = CASE WHEN state = 'queued' THEN $4 ELSE started_at END \
     WHERE tenant = $1 AND run_id = $2 AND audit_uid IS NOT NULL AND state IN ('queued', 'running') \
     RETURNING epoch, started_at";

const ACCOUNTS: &str = "SELECT ordinal, name, account_id, done, seen FROM tagwarden_run_accounts \
     WHERE tenant = $1 AND run_id = $2 ORDER BY ordinal";

const DELETE_LEFTOVERS: &str = "DELETE FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND seq IN \
     (SELECT seq FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND seq >= $3 AND seq < $4 \
      ORDER BY seq LIMIT $5)";

const DONE: &str = "UPDATE tagwarden_run_accounts SET done = 1, account_id = $4, seen = $5, outcome = $6 \
     WHERE tenant = $1 AND run_id = $2 AND ordinal = $3 AND done = 0";

const OUTCOMES: &str = "SELECT ordinal, outcome FROM tagwarden_run_accounts \
     WHERE tenant = $1 AND run_id = $2 AND done = 1 AND ordinal > $3 ORDER BY ordinal LIMIT $4";

const RECENT: &str = concat!(
    "SELECT r.run_id, r.triggered_by, r.slot, r.slot_at, r.state, r.policy_name, r.policy_revision, r.started_at, \
     r.finished_at, r.reason, r.cause, r.holder, r.reported, r.complete, \
     (SELECT COUNT(*) FROM tagwarden_run_accounts a WHERE a.tenant = r.tenant AND a.run_id = r.run_id), \
     (SELECT COUNT(*) FROM tagwarden_run_accounts a WHERE a.tenant = r.tenant AND a.run_id = r.run_id AND a.done = 1), ",
    tally_columns!("r."),
    " FROM tagwarden_runs r WHERE r.tenant = $1 AND r.audit_uid = $2 AND r.state <> 'pruned' \
     ORDER BY r.started_at DESC, r.run_id DESC LIMIT $3"
);

/// Where the tally begins in a row of [`RECENT`].
const RECENT_TALLY: usize = 16;

const WORST: &str = concat!(
    "SELECT ",
    finding_columns!(),
    " FROM tagwarden_findings WHERE tenant = $1 AND run_id = $2 AND kind = 'violation' AND exempted_by IS NULL \
     AND severity <= $3 ORDER BY severity, arn, tag_key, violation_type LIMIT $4"
);

/// The runs of audits in a store, kept for as long as the retention says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditRuns {
    store: Store,
    retention: Retention,
}

/// Takes the findings of one account of a run; its report marks the account as done.
#[derive(Debug)]
pub struct AccountRecorder {
    findings: FindingStream,
    account: Pending,
}

impl AuditRuns {
    /// The runs in this store.
    pub fn new(store: Store, retention: Retention) -> Self {
        Self { store, retention }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn grip(&self, held: &Held) -> Grip {
        Grip {
            store: self.store.clone(),
            tenant: held.key.tenant.clone(),
            run_id: held.key.run_id.clone(),
            epoch: held.epoch,
        }
    }

    async fn try_claim(&self, run: &NewRun) -> Result<Claim, StoreError> {
        let tenant = text::name("tenant", &run.tenant)?;
        if run.accounts.len() > MAX_ACCOUNTS {
            return Err(StoreError::TooManyAccounts { count: run.accounts.len(), most: MAX_ACCOUNTS });
        }
        let scope =
            serde_json::to_string(&run.scope).map_err(|error| StoreError::corrupt("a scope", error))?;
        if scope.len() > text::MAX_JSON {
            let run_id = run_id(&run.audit, run.slot.at, 1);
            return Err(StoreError::ScopeTooLong { run_id, bytes: scope.len() });
        }
        let failed = StoreError::database("begin a run");
        let mut transaction = self.store.begin("begin a run").await?;
        for attempt in 1..=MAX_SAME_MINUTE {
            let id = run_id(&run.audit, run.slot.at, attempt);
            let id = text::name("run id", &id)?;
            let inserted = sqlx::query(CLAIM)
                .bind(tenant.to_owned())
                .bind(id.to_owned())
                .bind(text::stored(&run.policy_name).into_owned())
                .bind(text::stored(&run.policy_revision).into_owned())
                .bind(run.slot.trigger.as_str().to_owned())
                .bind(run.scope.digest())
                .bind(scope.clone())
                .bind(run.now.as_millisecond())
                .bind(run.audit_uid.clone())
                .bind(run.slot.key.clone())
                .bind(run.slot.at.as_millisecond())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
            let key = |id: &str| RunKey { tenant: tenant.into(), run_id: id.into() };
            if inserted.rows_affected() == 1 {
                let plan: Vec<(i64, &PlannedAccount)> = (0..).zip(&run.accounts).collect();
                PLAN.insert(&mut transaction, (tenant, id), &plan, |statement, (ordinal, account)| {
                    statement
                        .bind(*ordinal)
                        .bind(text::stored(&account.name).into_owned())
                        .bind(account.account_id.as_ref().map(ToString::to_string))
                })
                .await?;
                transaction.commit().await.map_err(&failed)?;
                return Ok(Claim::New(key(id)));
            }
            let known: Option<String> = sqlx::query_scalar(CLAIMED)
                .bind(tenant.to_owned())
                .bind(run.audit_uid.clone())
                .bind(run.slot.key.clone())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&failed)?;
            if let Some(known) = known {
                return Ok(Claim::Known(key(&known)));
            }
        }
        Err(StoreError::RunExists(run_id(&run.audit, run.slot.at, MAX_SAME_MINUTE)))
    }

    async fn try_take(&self, run: &RunKey, holder: &str, now: Timestamp) -> Result<Held, StoreError> {
        let failed = StoreError::database("take a run");
        let row = sqlx::query(TAKE)
            .bind(run.tenant.to_string())
            .bind(run.run_id.to_string())
            .bind(text::stored(holder).into_owned())
            .bind(now.as_millisecond())
            .fetch_optional(self.store.pool())
            .await
            .map_err(&failed)?;
        let Some(row) = row else {
            self.store.run(&run.tenant, &run.run_id).await?;
            return Err(StoreError::NotRunning(run.run_id.to_string()));
        };
        let mut held = Held {
            key: run.clone(),
            epoch: row.try_get(0).map_err(&failed)?,
            started_at: instant(row.try_get(1).map_err(&failed)?)?,
            accounts: 0,
            seen: 0,
            pending: Vec::new(),
        };
        let rows = sqlx::query(ACCOUNTS)
            .bind(run.tenant.to_string())
            .bind(run.run_id.to_string())
            .fetch_all(self.store.pool())
            .await
            .map_err(&failed)?;
        for row in &rows {
            held.accounts += 1;
            if row.try_get::<i64, _>(3).map_err(&failed)? != 0 {
                held.seen += bulk::counted(row.try_get(4).map_err(&failed)?);
                continue;
            }
            let ordinal: i64 = row.try_get(0).map_err(&failed)?;
            held.pending.push(Pending {
                ordinal: u32::try_from(ordinal).map_err(|_| StoreError::corrupt("a place", ordinal))?,
                account: PlannedAccount {
                    name: row.try_get(1).map_err(&failed)?,
                    account_id: account(row.try_get(2).map_err(&failed)?)?,
                },
            });
        }
        Ok(held)
    }

    async fn try_open(&self, held: &Held, account: &Pending) -> Result<AccountRecorder, StoreError> {
        let failed = StoreError::database("begin an account");
        let (grip, first) = (self.grip(held), first_place(account.ordinal));
        loop {
            let mut transaction = self.store.begin("begin an account").await?;
            grip.hold(&mut transaction, 0).await?;
            let deleted = sqlx::query(DELETE_LEFTOVERS)
                .bind(grip.tenant.to_string())
                .bind(grip.run_id.to_string())
                .bind(first)
                .bind(first_place(account.ordinal + 1))
                .bind(LEFTOVERS)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?
                .rows_affected();
            grip.hold(&mut transaction, -bulk::count(deleted)).await?;
            transaction.commit().await.map_err(&failed)?;
            if deleted < LEFTOVERS.unsigned_abs() {
                break;
            }
        }
        Ok(AccountRecorder { findings: FindingStream::new(grip, first), account: account.clone() })
    }

    async fn try_outcome(&self, run: &RunKey) -> Result<RunOutcome, StoreError> {
        let failed = StoreError::database("read the accounts of a run");
        let (mut outcome, mut last) = (RunOutcome::default(), -1_i64);
        loop {
            let rows = sqlx::query(OUTCOMES)
                .bind(run.tenant.to_string())
                .bind(run.run_id.to_string())
                .bind(last)
                .bind(PAGE)
                .fetch_all(self.store.pool())
                .await
                .map_err(&failed)?;
            for row in &rows {
                last = row.try_get(0).map_err(&failed)?;
                let json: String = row.try_get(1).map_err(&failed)?;
                outcome.add(checkpoint::read(&json)?);
            }
            if rows.len() < usize::try_from(PAGE).unwrap_or_default() {
                return Ok(outcome);
            }
        }
    }

    async fn try_finish(
        &self,
        held: &Held,
        outcome: &RunOutcome,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut by_account: BTreeMap<AccountId, Tally> = BTreeMap::new();
        for line in outcome.accounts.iter().filter(|line| line.failure.is_none()) {
            if let Some(id) = &line.account_id {
                by_account.entry(id.clone()).or_default().merge(&line.summary);
            }
        }
        let end = End {
            state: ending.state,
            reason: ending.reason,
            cause: ending.cause.as_deref(),
            finished_at: now,
            complete: outcome.complete,
            gaps: outcome.gaps,
            summary: &outcome.summary,
            by_account: &by_account,
            by_region: &outcome.by_region,
            by_resource_type: &outcome.by_resource_type,
        };
        let grip = self.grip(held);
        let mut transaction = self.store.begin("record a report").await?;
        end.write(&grip, &mut transaction).await?;
        transaction.commit().await.map_err(StoreError::database("record a report"))
    }

    async fn try_recent(
        &self,
        tenant: &str,
        audit_uid: &str,
        limit: usize,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let failed = StoreError::database("list the runs of an audit");
        let rows = sqlx::query(RECENT)
            .bind(tenant.to_owned())
            .bind(audit_uid.to_owned())
            .bind(crate::results::page_size(limit))
            .fetch_all(self.store.pool())
            .await
            .map_err(&failed)?;
        rows.iter().map(record).collect()
    }

    async fn try_worst(
        &self,
        run: &RunKey,
        at_least: Severity,
        limit: usize,
    ) -> Result<Vec<ViolationRow>, StoreError> {
        let rows = sqlx::query(WORST)
            .bind(run.tenant.to_string())
            .bind(run.run_id.to_string())
            .bind(at_least as i64)
            .bind(crate::results::page_size(limit))
            .fetch_all(self.store.pool())
            .await
            .map_err(StoreError::database("read findings"))?;
        rows.iter().map(|row| finding_row::read(row).map(|(_, finding)| finding)).collect()
    }
}

impl AccountRecorder {
    async fn done(&mut self, report: &ScanReport) -> Result<(), StoreError> {
        self.findings.flush().await?;
        let outcome = AccountOutcome::of(&self.account.account, report);
        let grip = &self.findings.grip;
        let mut transaction = grip.store.begin("record an account").await?;
        grip.hold(&mut transaction, 0).await?;
        let done = sqlx::query(DONE)
            .bind(grip.tenant.to_string())
            .bind(grip.run_id.to_string())
            .bind(i64::from(self.account.ordinal))
            .bind(outcome.account_id.as_ref().map(ToString::to_string))
            .bind(bulk::count(outcome.seen))
            .bind(checkpoint::write(&outcome)?)
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::database("record an account"))?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotRunning(grip.run_id.to_string()));
        }
        write_coverage(grip, &mut transaction, first_place(self.account.ordinal), &report.coverage).await?;
        transaction.commit().await.map_err(StoreError::database("record an account"))
    }
}

impl FindingSink for AccountRecorder {
    type Error = RunsError;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), RunsError> {
        self.findings.push(rows).await.map_err(told)
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), RunsError> {
        self.done(report).await.map_err(told)
    }
}

impl Runs for AuditRuns {
    type Sink = AccountRecorder;

    async fn claim(&self, run: &NewRun) -> Result<Claim, RunsError> {
        self.try_claim(run).await.map_err(told)
    }

    async fn take(&self, run: &RunKey, holder: &str, now: Timestamp) -> Result<Held, RunsError> {
        self.try_take(run, holder, now).await.map_err(told)
    }

    async fn open(&self, held: &Held, account: &Pending) -> Result<AccountRecorder, RunsError> {
        self.try_open(held, account).await.map_err(told)
    }

    async fn outcome(&self, run: &RunKey) -> Result<RunOutcome, RunsError> {
        self.try_outcome(run).await.map_err(told)
    }

    async fn finish(
        &self,
        held: &Held,
        outcome: &RunOutcome,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), RunsError> {
        self.try_finish(held, outcome, ending, now).await.map_err(told)
    }

    async fn stop(&self, run: &RunKey, ending: &Ending, now: Timestamp) -> Result<(), RunsError> {
        let end = (ending.state.as_str(), ending.reason, ending.cause.as_deref().unwrap_or_default());
        match self.store.end(&run.tenant, &run.run_id, end, now).await {
            Err(StoreError::NotRunning(_)) => Ok(()),
            result => result.map_err(told),
        }
    }

    async fn recent(&self, tenant: &str, audit_uid: &str, limit: usize) -> Result<Vec<RunRecord>, RunsError> {
        self.try_recent(tenant, audit_uid, limit).await.map_err(told)
    }

    async fn worst(
        &self,
        run: &RunKey,
        at_least: Severity,
        limit: usize,
    ) -> Result<Vec<ViolationRow>, RunsError> {
        self.try_worst(run, at_least, limit).await.map_err(told)
    }

    async fn prune(&self, tenant: &str, now: Timestamp) -> Result<(), RunsError> {
        self.store.prune(tenant, now, self.retention).await.map(drop).map_err(told)
    }
}

/// The place of the first finding, and the first cell, of an account.
fn first_place(ordinal: u32) -> i64 {
    i64::from(ordinal) << PLACES
}

fn told(error: StoreError) -> RunsError {
    match error {
        StoreError::NotRunning(run) => RunsError::Superseded(run),
        StoreError::RunNotFound(run) => RunsError::NotFound(run),
        StoreError::Database { .. } | StoreError::Connect { .. } => RunsError::Unavailable(error.to_string()),
        other => RunsError::Refused(other.to_string()),
    }
}

fn account(text: Option<String>) -> Result<Option<AccountId>, StoreError> {
    text.map(|id| id.parse().map_err(|_| StoreError::corrupt("an account id", &id))).transpose()
}

fn record(row: &AnyRow) -> Result<RunRecord, StoreError> {
    let failed = StoreError::database("list the runs of an audit");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(&failed);
    let maybe = |column: usize| row.try_get::<Option<String>, _>(column).map_err(&failed);
    let finished_at: Option<i64> = row.try_get(8).map_err(&failed)?;
    let (word, state) = (text(1)?, text(4)?);
    let results = match number(12)? {
        0 => None,
        _ => Some(RecordedResults {
            complete: number(13)? != 0,
            summary: bulk::read_tally(row, RECENT_TALLY).map_err(&failed)?.unwrap_or_default(),
        }),
    };
    Ok(RunRecord {
        run_id: text(0)?,
        slot: Slot {
            trigger: Trigger::ALL
                .into_iter()
                .find(|trigger| trigger.as_str() == word)
                .ok_or_else(|| StoreError::corrupt("a trigger", &word))?,
            at: instant(number(3)?)?,
            key: text(2)?,
        },
        state: RunState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| StoreError::corrupt("the state of a run", &state))?,
        policy_name: text(5)?,
        policy_revision: text(6)?,
        started_at: instant(number(7)?)?,
        finished_at: finished_at.map(instant).transpose()?,
        reason: maybe(9)?,
        cause: maybe(10)?,
        results,
        accounts: u32::try_from(number(14)?).unwrap_or(u32::MAX),
        accounts_done: u32::try_from(number(15)?).unwrap_or(u32::MAX),
        holder: maybe(11)?,
    })
}
