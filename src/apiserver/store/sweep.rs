//! What the background tasks ask: what is old, what has lost its owner, how far the log may be cut.

use sqlx::{AnyConnection, Connection};

use super::commit::key;
use super::connection::within;
use super::{Key, Store, StoreError};

/// Rows of the log dropped in one transaction, so that writers wait little.
const BATCH: i64 = 1_000;

impl Store {
    /// Objects of a resource that were last written before an instant (milliseconds since 1970), the oldest first.
    pub(crate) async fn older(
        &self,
        resource: &str,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Key>, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(older(&mut connection, resource, before, limit)).await;
        self.settle(connection, outcome)
    }

    /// Objects with an owner reference to something that is not there, in order, those after this one.
    pub(crate) async fn orphans(&self, after: Option<&Key>, limit: i64) -> Result<Vec<Key>, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(orphans(&mut connection, after, limit)).await;
        self.settle(connection, outcome)
    }

    /// Where the object of this uid is.
    pub(crate) async fn find(&self, uid: &str) -> Result<Option<Key>, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(find(&mut connection, uid)).await;
        self.settle(connection, outcome)
    }

    /// The digest of the schema that the objects of a resource were last checked against.
    pub(crate) async fn schema_digest(&self, resource: &str) -> Result<Option<String>, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(schema_digest(&mut connection, resource)).await;
        self.settle(connection, outcome)
    }

    /// Notes the digest of the schema that all objects of a resource have been checked against.
    pub(crate) async fn set_schema_digest(&self, resource: &str, digest: &str) -> Result<(), StoreError> {
        let mut connection = self.writer().await?;
        let outcome = within(set_schema_digest(&mut connection, resource, digest)).await;
        self.settle(connection, outcome)
    }

    /// Drops from the log what was written before an instant (milliseconds since 1970), all but the newest `most` rows,
    /// and what is more than so many bytes. Says up to which version the log is gone. Any number of processes may do so at once.
    pub(crate) async fn compact(&self, before: i64, most: i64, bytes: i64) -> Result<i64, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(too_much(&mut connection, bytes)).await;
        let too_much = self.settle(connection, outcome)?;
        let mut connection = self.writer().await?;
        let outcome = within(compact(&mut connection, self.begin(), before, most, too_much)).await;
        let target = self.settle(connection, outcome)?;
        loop {
            let mut connection = self.writer().await?;
            let outcome = within(drop_batch(&mut connection, target)).await;
            if self.settle(connection, outcome)? == 0 {
                return Ok(target);
            }
        }
    }
}

async fn older(
    connection: &mut AnyConnection,
    resource: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let rows = sqlx::query(
        "SELECT resource, namespace, name FROM api_objects WHERE resource = $1 AND written_at < $2 \
         ORDER BY written_at LIMIT $3",
    )
    .bind(resource)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
}

async fn orphans(
    connection: &mut AnyConnection,
    after: Option<&Key>,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let (resource, namespace, name) =
        after.map_or(("", "", ""), |key| (&*key.resource, key.namespace.as_str(), key.name.as_str()));
    let rows = sqlx::query(
        "SELECT DISTINCT resource, namespace, name FROM api_owners \
         WHERE (resource, namespace, name) > ($1, $2, $3) AND NOT EXISTS \
         (SELECT 1 FROM api_objects WHERE api_objects.uid = api_owners.owner_uid) \
         ORDER BY resource, namespace, name LIMIT $4",
    )
    .bind(resource)
    .bind(namespace)
    .bind(name)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
}

async fn find(connection: &mut AnyConnection, uid: &str) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query("SELECT resource, namespace, name FROM api_objects WHERE uid = $1")
        .bind(uid)
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(key).transpose()?)
}

async fn schema_digest(connection: &mut AnyConnection, resource: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT schema_digest FROM api_kinds WHERE resource = $1")
        .bind(resource)
        .fetch_optional(connection)
        .await?)
}

async fn set_schema_digest(
    connection: &mut AnyConnection,
    resource: &str,
    digest: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO api_kinds (resource, objects, schema_digest) VALUES ($1, 0, $2) \
         ON CONFLICT (resource) DO UPDATE SET schema_digest = excluded.schema_digest",
    )
    .bind(resource)
    .bind(digest)
    .execute(connection)
    .await?;
    Ok(())
}

async fn compact(
    connection: &mut AnyConnection,
    begin: &'static str,
    before: i64,
    most: i64,
    too_much: i64,
) -> Result<i64, StoreError> {
    let mut transaction = connection.begin_with(begin).await?;
    let current: i64 = sqlx::query_scalar("SELECT rv FROM api_meta").fetch_one(&mut *transaction).await?;
    let oldest_kept: Option<i64> =
        sqlx::query_scalar("SELECT rv FROM api_log WHERE written_at >= $1 ORDER BY rv LIMIT 1")
            .bind(before)
            .fetch_optional(&mut *transaction)
            .await?;
    let by_age = oldest_kept.map_or(current, |rv| rv - 1);
    // Every version is one row.
    let target = by_age.max(current.saturating_sub(most)).max(too_much);
    // Announced first, dropped afterwards: whoever needs a row that is gone can see that it is.
    sqlx::query("UPDATE api_meta SET compacted = $1 WHERE compacted < $1")
        .bind(target)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(target)
}

/// Up to which version the log is more than so many bytes; 0 when it is not. Neither database reads the texts for it.
async fn too_much(connection: &mut AnyConnection, bytes: i64) -> Result<i64, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT rv FROM (SELECT rv, SUM(OCTET_LENGTH(body) + COALESCE(OCTET_LENGTH(prev), 0)) \
         OVER (ORDER BY rv DESC) AS total FROM api_log) AS sized WHERE total > $1 ORDER BY rv DESC LIMIT 1",
    )
    .bind(bytes)
    .fetch_optional(connection)
    .await?;
    Ok(found.unwrap_or(0))
}

async fn drop_batch(connection: &mut AnyConnection, target: i64) -> Result<u64, StoreError> {
    let dropped = sqlx::query(
        "DELETE FROM api_log WHERE rv IN (SELECT rv FROM api_log WHERE rv <= $1 ORDER BY rv LIMIT $2)",
    )
    .bind(target)
    .bind(BATCH)
    .execute(connection)
    .await?;
    Ok(dropped.rows_affected())
}
