//! Brings the tables up to what this version expects, all of it or nothing.
//!
//! The embedded API keeps its own tables and its own record of them; the two never meet.

use sqlx::{Any, Transaction};

use crate::StoreError;
use crate::connection::refused;
use crate::location::Location;

/// The texts, oldest first; the schema version is the number of texts applied. A released text never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_runs.sql"),
    include_str!("migrations/0002_audits.sql"),
    include_str!("migrations/0003_invocations.sql"),
    include_str!("migrations/0004_keys.sql"),
];

/// The schema that this version knows.
#[allow(clippy::cast_possible_wrap)] // a handful
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing. The caller holds a transaction that keeps every other starter waiting.
pub(crate) async fn apply(
    transaction: &mut Transaction<'static, Any>,
    location: &Location,
) -> Result<(), StoreError> {
    let failed = |error| refused(location, &error);
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS tagwarden_store_migrations (version BIGINT NOT NULL PRIMARY KEY)",
    )
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM tagwarden_store_migrations")
        .fetch_one(&mut **transaction)
        .await
        .map_err(failed)?;
    if found > KNOWN {
        return Err(StoreError::Newer { store: location.to_string(), found, known: KNOWN });
    }
    for (version, &text) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(text).execute(&mut **transaction).await.map_err(failed)?;
        sqlx::query("INSERT INTO tagwarden_store_migrations (version) VALUES ($1)")
            .bind(version)
            .execute(&mut **transaction)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
