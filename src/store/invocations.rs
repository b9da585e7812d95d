//! The record of who called what: rows are only ever added.

use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_app::ask::ports::{Answer, AuditRow, AuditRows};

use crate::finding_row::instant;
use crate::ledger::told;
use crate::results::page_size;
use crate::{Store, StoreError, bulk, text};

const APPEND: &str = "INSERT INTO tagwarden_invocations (tenant, correlation_id, at, principal, channel, operation, \
     arguments_digest, arguments, status, duration_ms, summary) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const NEWEST: &str = "SELECT correlation_id, at, principal, channel, operation, arguments_digest, arguments, status, \
     duration_ms, summary FROM tagwarden_invocations WHERE tenant = $1 ORDER BY at DESC, correlation_id DESC LIMIT $2";

/// The ways in that are known.
const CHANNELS: [&str; 3] = ["stdio", "mcp", "rest"];

impl Store {
    async fn append_invocation(&self, row: &AuditRow) -> Result<(), StoreError> {
        let tenant = text::name("tenant", &row.tenant)?;
        sqlx::query(APPEND)
            .bind(tenant.to_owned())
            .bind(text::stored(&row.correlation_id).into_owned())
            .bind(row.at.as_millisecond())
            .bind(text::stored(&row.principal).into_owned())
            .bind(row.channel.to_owned())
            .bind(text::stored(&row.operation).into_owned())
            .bind(text::stored(&row.arguments_digest).into_owned())
            .bind(text::stored(&row.arguments).into_owned())
            .bind(text::stored(&row.status).into_owned())
            .bind(i64::try_from(row.duration.as_millis()).unwrap_or(i64::MAX))
            .bind(text::stored(&row.summary).into_owned())
            .execute(self.pool())
            .await
            .map(drop)
            .map_err(StoreError::database("record a call"))
    }

    async fn newest_invocations(&self, tenant: &str, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let rows = sqlx::query(NEWEST)
            .bind(tenant.to_owned())
            .bind(page_size(limit))
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("read calls"))?;
        rows.iter().map(|row| read(tenant, row)).collect()
    }
}

fn read(tenant: &str, row: &AnyRow) -> Result<AuditRow, StoreError> {
    let failed = StoreError::database("read calls");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(&failed);
    let word = text(3)?;
    let channel = CHANNELS.into_iter().find(|channel| *channel == word);
    Ok(AuditRow {
        at: instant(number(1)?)?,
        correlation_id: text(0)?,
        principal: text(2)?,
        tenant: tenant.to_owned(),
        channel: channel.ok_or_else(|| StoreError::corrupt("a channel", &word))?,
        operation: text(4)?,
        arguments_digest: text(5)?,
        arguments: text(6)?,
        status: text(7)?,
        duration: Duration::from_millis(bulk::counted(number(8)?)),
        summary: text(9)?,
    })
}

impl AuditRows for Store {
    fn append<'a>(&'a self, row: &'a AuditRow) -> Answer<'a, ()> {
        Box::pin(async move { self.append_invocation(row).await.map_err(told) })
    }

    fn newest<'a>(&'a self, tenant: &'a str, limit: usize) -> Answer<'a, Vec<AuditRow>> {
        Box::pin(async move { self.newest_invocations(tenant, limit).await.map_err(told) })
    }
}
