//! Brings the tables up to what this version expects, all of it or nothing.
//!
//! The store of findings may share the database; it keeps its own tables and its own record of them.

use sqlx::{Any, AssertSqlSafe, Transaction};

/// The texts, oldest first; the schema version is the number of texts applied. A released text never changes.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_objects.sql")];

/// The schema that this version knows.
#[allow(clippy::cast_possible_wrap)] // a handful
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// What differs between the databases in the texts.
pub(super) struct Words {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

pub(super) const SQLITE: Words = Words { id: "INTEGER NOT NULL PRIMARY KEY", name: "TEXT" };
pub(super) const POSTGRES: Words = Words { id: "BIGINT NOT NULL PRIMARY KEY", name: "TEXT COLLATE \"C\"" };

/// Applies what is missing and gives the version found before, which may be newer than this program. The caller holds
/// a transaction that keeps every other starter waiting.
pub(super) async fn apply(
    transaction: &mut Transaction<'static, Any>,
    words: &Words,
) -> Result<i64, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS tagwarden_api_migrations (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut **transaction)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM tagwarden_api_migrations")
        .fetch_one(&mut **transaction)
        .await?;
    for (version, text) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let text = text.replace("{id}", words.id).replace("{name}", words.name);
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **transaction).await?;
        sqlx::query("INSERT INTO tagwarden_api_migrations (version) VALUES ($1)")
            .bind(version)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(found)
}
