//! The record of who asked what: rows are added, read, and forgotten when they are two years old.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::{Answer, AuditRow, AuditRows};
use uuid::Uuid;

use crate::finding_row::instant;
use crate::{Store, StoreError, text};

const INSERT: &str = "INSERT INTO tagwarden_audit_rows (tenant, row_id, at, correlation_id, principal, channel, \
     operation, arguments_digest, arguments, status, duration_ms, summary) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const NEWEST: &str = "SELECT at, correlation_id, principal, tenant, channel, operation, arguments_digest, \
     arguments, status, duration_ms, summary FROM tagwarden_audit_rows WHERE tenant = $1 \
     ORDER BY at DESC, row_id LIMIT $2";

const FORGET: &str = "DELETE FROM tagwarden_audit_rows WHERE tenant = $1 AND at < $2";

/// How long rows are kept.
const KEPT_MS: i64 = 2 * 365 * 24 * 3600 * 1000;

/// The most rows read at a time.
const READ_MAX: usize = 1000;

/// The ways in which a call can come, as rows have them.
const CHANNELS: &[&str] = &["stdio", "mcp", "rest"];

impl Store {
    /// Forgets the rows of a tenant that are older than two years.
    pub(crate) async fn forget_audit_rows(&self, tenant: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(FORGET)
            .bind(tenant.to_owned())
            .bind(now.as_millisecond().saturating_sub(KEPT_MS))
            .execute(self.pool())
            .await
            .map_err(StoreError::database("forget audit rows"))?;
        Ok(())
    }

    async fn add_audit_row(&self, row: &AuditRow) -> Result<(), StoreError> {
        text::name("tenant", &row.tenant)?;
        let kept = |value: &str| text::stored(value).into_owned();
        sqlx::query(INSERT)
            .bind(row.tenant.clone())
            .bind(Uuid::new_v4().simple().to_string())
            .bind(row.at.as_millisecond())
            .bind(kept(&row.correlation_id))
            .bind(kept(&row.principal))
            .bind(row.channel)
            .bind(kept(&row.operation))
            .bind(kept(&row.arguments_digest))
            .bind(kept(&row.arguments))
            .bind(kept(&row.status))
            .bind(i64::try_from(row.duration.as_millis()).unwrap_or(i64::MAX))
            .bind(kept(&row.summary))
            .execute(self.pool())
            .await
            .map_err(StoreError::database("add an audit row"))?;
        Ok(())
    }

    async fn newest_audit_rows(&self, tenant: &str, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let rows = sqlx::query(NEWEST)
            .bind(tenant.to_owned())
            .bind(i64::try_from(limit.clamp(1, READ_MAX)).unwrap_or(i64::MAX))
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("read audit rows"))?;
        rows.iter().map(audit_row).collect()
    }
}

impl AuditRows for Store {
    fn append<'a>(&'a self, row: &'a AuditRow) -> Answer<'a, ()> {
        Box::pin(async move { self.add_audit_row(row).await.map_err(|error| refused(&error)) })
    }

    fn newest<'a>(&'a self, tenant: &'a str, limit: usize) -> Answer<'a, Vec<AuditRow>> {
        Box::pin(
            async move { self.newest_audit_rows(tenant, limit).await.map_err(|error| refused(&error)) },
        )
    }
}

fn refused(error: &StoreError) -> AskError {
    match error {
        StoreError::Connect { .. } | StoreError::Database { .. } => {
            tracing::warn!(%error, "the record of calls cannot be kept");
            AskError::unavailable("the store of results does not answer")
        }
        error => AskError::internal(error),
    }
}

fn audit_row(row: &AnyRow) -> Result<AuditRow, StoreError> {
    let failed = StoreError::database("read an audit row");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(&failed);
    let channel = text(4)?;
    Ok(AuditRow {
        at: instant(number(0)?)?,
        correlation_id: text(1)?,
        principal: text(2)?,
        tenant: text(3)?,
        channel: CHANNELS
            .iter()
            .find(|known| **known == channel)
            .ok_or_else(|| StoreError::corrupt("the channel of a call", &channel))?,
        operation: text(5)?,
        arguments_digest: text(6)?,
        arguments: text(7)?,
        status: text(8)?,
        duration: Duration::from_millis(number(9)?.unsigned_abs()),
        summary: text(10)?,
    })
}
