//! API keys: made and revoked by an administrator, read by the server again and again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_app::ask::Scope;
use tagwarden_app::keys::{Digest, KEYS_MAX, KeyRecord, Keys, KeysError};

use crate::finding_row::instant;
use crate::{Store, StoreError, text};

const INSERT: &str = "INSERT INTO tagwarden_keys \
     (key_id, digest, tenant, scopes, note, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";

const COUNT: &str = "SELECT COUNT(*) FROM tagwarden_keys \
     WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)";

const FORGET: &str = "DELETE FROM tagwarden_keys WHERE revoked_at < $1 OR expires_at < $1";

macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT key_id, digest, tenant, scopes, note, created_at, expires_at, revoked_at, used_at \
             FROM tagwarden_keys ",
            $rest
        )
    };
}

const VALID: &str = select_keys!(
    "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) ORDER BY created_at, key_id LIMIT $2"
);

const OF_TENANT: &str =
    select_keys!("WHERE ($1 IS NULL OR tenant = $1) ORDER BY created_at, key_id LIMIT $2");

const REVOKE: &str = "UPDATE tagwarden_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE key_id = $1";

const USED: &str =
    "UPDATE tagwarden_keys SET used_at = $2 WHERE key_id = $1 AND (used_at IS NULL OR used_at < $2)";

/// The most characters of a note.
const NOTE_MAX: usize = 200;

/// The most keys that one list shows, those that have ended included.
const LISTED: i64 = 100_000;

/// How long a key that has ended stays in the list: who used it last may still be asked.
const REMEMBERED_MS: i64 = 365 * 24 * 3600 * 1000;

impl Store {
    /// Keeps a new key. What ended more than a year ago is forgotten on the occasion.
    pub async fn add_key(&self, key: &KeyRecord) -> Result<(), StoreError> {
        text::name("tenant", &key.tenant)?;
        let now = key.created_at.as_millisecond();
        let mut transaction = self.begin("keep a key").await?;
        sqlx::query(FORGET)
            .bind(now.saturating_sub(REMEMBERED_MS))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::database("forget keys"))?;
        let valid: i64 = sqlx::query_scalar(COUNT)
            .bind(now)
            .fetch_one(&mut *transaction)
            .await
            .map_err(StoreError::database("count keys"))?;
        if usize::try_from(valid).unwrap_or(usize::MAX) >= KEYS_MAX {
            return Err(StoreError::TooManyKeys);
        }
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let note: Option<String> = key.note.as_ref().map(|note| note.chars().take(NOTE_MAX).collect());
        sqlx::query(INSERT)
            .bind(key.id.clone())
            .bind(key.digest.to_hex())
            .bind(key.tenant.clone())
            .bind(scopes.join(" "))
            .bind(note.map(|note| text::stored(&note).into_owned()))
            .bind(now)
            .bind(key.expires_at.map(Timestamp::as_millisecond))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::database("keep a key"))?;
        transaction.commit().await.map_err(StoreError::database("keep a key"))
    }

    /// The keys of a tenant, or of all, oldest first; those that have ended, too.
    pub async fn keys(&self, tenant: Option<&str>) -> Result<Vec<KeyRecord>, StoreError> {
        let failed = StoreError::database("list keys");
        let rows = sqlx::query(OF_TENANT)
            .bind(tenant.map(ToOwned::to_owned))
            .bind(LISTED)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        rows.iter().map(record).collect()
    }

    /// Takes a key back, for good. One that was taken back before stays so.
    pub async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let revoked = sqlx::query(REVOKE)
            .bind(id.to_owned())
            .bind(now.as_millisecond())
            .execute(self.pool())
            .await
            .map_err(StoreError::database("revoke a key"))?;
        if revoked.rows_affected() == 0 {
            return Err(StoreError::KeyNotFound(text::excerpt(id)));
        }
        Ok(())
    }

    async fn valid_keys(&self, now: Timestamp) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = sqlx::query(VALID)
            .bind(now.as_millisecond())
            .bind(i64::try_from(KEYS_MAX).unwrap_or(i64::MAX))
            .fetch_all(self.pool())
            .await
            .map_err(StoreError::database("read keys"))?;
        // A row that cannot be read must not lock everybody out.
        Ok(rows
            .iter()
            .filter_map(|row| {
                record(row).inspect_err(|error| tracing::error!(%error, "a key is left out")).ok()
            })
            .collect())
    }
}

impl Keys for Store {
    async fn valid(&self, now: Timestamp) -> Result<Vec<KeyRecord>, KeysError> {
        self.valid_keys(now).await.map_err(|error| KeysError(error.to_string()))
    }

    async fn used(&self, uses: &[(String, Timestamp)]) -> Result<(), KeysError> {
        let failed = |error: &StoreError| KeysError(error.to_string());
        let mut transaction = self.begin("note the use of keys").await.map_err(|error| failed(&error))?;
        for (id, at) in uses {
            sqlx::query(USED)
                .bind(id.clone())
                .bind(at.as_millisecond())
                .execute(&mut *transaction)
                .await
                .map_err(StoreError::database("note the use of a key"))
                .map_err(|error| failed(&error))?;
        }
        transaction
            .commit()
            .await
            .map_err(StoreError::database("note the use of keys"))
            .map_err(|error| failed(&error))
    }
}

fn record(row: &AnyRow) -> Result<KeyRecord, StoreError> {
    let failed = StoreError::database("read a key");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let at = |column: usize| -> Result<Option<Timestamp>, StoreError> {
        row.try_get::<Option<i64>, _>(column).map_err(&failed)?.map(instant).transpose()
    };
    let scopes = text(3)?;
    let scopes: Result<BTreeSet<Scope>, _> = scopes.split_whitespace().map(str::parse).collect();
    Ok(KeyRecord {
        id: text(0)?,
        digest: Digest::from_hex(&text(1)?).ok_or_else(|| StoreError::corrupt("the digest of a key", "…"))?,
        tenant: text(2)?,
        scopes: scopes.map_err(|error| StoreError::corrupt("the scopes of a key", error))?,
        note: row.try_get(4).map_err(&failed)?,
        created_at: instant(row.try_get(5).map_err(&failed)?)?,
        expires_at: at(6)?,
        revoked_at: at(7)?,
        used_at: at(8)?,
    })
}
