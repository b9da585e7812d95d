//! Writing one object: the next version, the object, the log, in one transaction.

use serde_json::Value;
use sqlx::{AnyConnection, Connection, Row as _};

use k8s_openapi::jiff::Timestamp;

use super::connection::{CHANNEL, written_within};
use super::{Change, Key, Row, Store, StoreError};

/// Under what namespaces are stored.
pub(crate) const NAMESPACES: &str = "namespaces";

/// What a writer saw before it wrote.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// As it was stored.
    pub(crate) row: Row,
    /// The same, read.
    pub(crate) value: Value,
}

/// What a write left.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// The object as stored, or as it last was.
    pub(crate) body: String,
}

/// Why nothing was written, although the database is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// On create: the name is taken.
    Exists,
    /// It was written or deleted since it was read.
    Stale,
    /// There is no such namespace.
    NoNamespace,
    /// The namespace is being deleted.
    Terminating,
    /// There are as many of the kind as there may be.
    Full,
}

/// What is written.
struct Write<'a> {
    key: &'a Key,
    change: Change,
    object: &'a mut Value,
    before: Option<&'a Before>,
    most: u64,
}

impl Store {
    /// Stores a new object, if there are fewer than `most` of its kind. The version is put into it.
    pub(crate) async fn create(
        &self,
        key: &Key,
        object: &mut Value,
        most: u64,
    ) -> Result<Result<Committed, Refusal>, StoreError> {
        self.write(Write { key, change: Change::Added, object, before: None, most }).await
    }

    /// Replaces what was read before by another state of the same object, unless somebody else did.
    pub(crate) async fn update(
        &self,
        key: &Key,
        before: &Before,
        object: &mut Value,
    ) -> Result<Result<Committed, Refusal>, StoreError> {
        let before = Some(before);
        self.write(Write { key, change: Change::Modified, object, before, most: 0 }).await
    }

    /// Removes what was read before, unless somebody else has changed it. `object` is its last state.
    pub(crate) async fn delete(
        &self,
        key: &Key,
        before: &Before,
        object: &mut Value,
    ) -> Result<Result<Committed, Refusal>, StoreError> {
        let before = Some(before);
        self.write(Write { key, change: Change::Deleted, object, before, most: 0 }).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Result<Committed, Refusal>, StoreError> {
        let mut connection = self.writer().await?;
        let notify = self.listen_url().is_some();
        let outcome = written_within(transact(&mut connection, self.begin(), notify, write)).await;
        let outcome = self.settle(connection, outcome)?;
        if outcome.is_ok() {
            self.written().notify_one();
        }
        Ok(outcome)
    }
}

async fn transact(
    connection: &mut AnyConnection,
    begin: &'static str,
    notify: bool,
    write: Write<'_>,
) -> Result<Result<Committed, Refusal>, StoreError> {
    let mut transaction = connection.begin_with(begin).await?;
    let rv = next_version(&mut transaction).await?;
    set_version(write.object, rv);
    let body = write.object.to_string();
    let outcome = match write.change {
        Change::Added => insert(&mut transaction, &write, rv, &body).await?,
        Change::Modified => replace(&mut transaction, &write, rv, &body).await?,
        Change::Deleted => remove(&mut transaction, &write).await?,
    };
    if let Err(refusal) = outcome {
        transaction.rollback().await?;
        return Ok(Err(refusal));
    }
    keep_owners(&mut transaction, &write).await?;
    append(&mut transaction, &write, rv, &body).await?;
    if notify {
        sqlx::raw_sql(NOTIFY).execute(&mut *transaction).await?;
    }
    transaction.commit().await.map_err(|error| match StoreError::from(error) {
        // Only SQLite says that it is busy, and then nothing was written.
        StoreError::Away(why) if notify => StoreError::Unknown(why),
        other => other,
    })?;
    Ok(Ok(Committed { body }))
}

const NOTIFY: &str = "NOTIFY tagwarden_api";
const _: () = assert!(CHANNEL.len() + "NOTIFY ".len() == NOTIFY.len());

/// Takes the next version, and with it the turn to write: everybody else waits here.
pub(super) async fn next_version(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let rv = sqlx::query_scalar("UPDATE api_meta SET rv = rv + 1 RETURNING rv").fetch_one(connection).await?;
    Ok(rv)
}

fn set_version(object: &mut Value, rv: i64) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), Value::String(rv.to_string()));
    }
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

async fn insert(
    connection: &mut AnyConnection,
    write: &Write<'_>,
    rv: i64,
    body: &str,
) -> Result<Result<(), Refusal>, StoreError> {
    let key = write.key;
    if !key.namespace.is_empty()
        && let Err(refusal) = namespace(connection, &key.namespace).await?
    {
        return Ok(Err(refusal));
    }
    let inserted = sqlx::query(
        "INSERT INTO api_objects (resource, namespace, name, uid, rv, written_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (resource, namespace, name) DO NOTHING",
    )
    .bind(&*key.resource)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(text(write.object, "/metadata/uid"))
    .bind(rv)
    .bind(now())
    .bind(body)
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(Err(Refusal::Exists));
    }
    let count: i64 = sqlx::query_scalar(
        "INSERT INTO api_kinds (resource, objects, schema_digest) VALUES ($1, 1, '') \
         ON CONFLICT (resource) DO UPDATE SET objects = api_kinds.objects + 1 RETURNING objects",
    )
    .bind(&*key.resource)
    .fetch_one(connection)
    .await?;
    Ok(if u64::try_from(count).unwrap_or(0) > write.most { Err(Refusal::Full) } else { Ok(()) })
}

async fn namespace(connection: &mut AnyConnection, name: &str) -> Result<Result<(), Refusal>, StoreError> {
    let body: Option<String> = sqlx::query_scalar(
        "SELECT body FROM api_objects WHERE resource = $1 AND namespace = '' AND name = $2",
    )
    .bind(NAMESPACES)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    let Some(body) = body else { return Ok(Err(Refusal::NoNamespace)) };
    let terminating = serde_json::from_str::<Value>(&body)
        .is_ok_and(|namespace| namespace.pointer("/metadata/deletionTimestamp").is_some());
    Ok(if terminating { Err(Refusal::Terminating) } else { Ok(()) })
}

async fn replace(
    connection: &mut AnyConnection,
    write: &Write<'_>,
    rv: i64,
    body: &str,
) -> Result<Result<(), Refusal>, StoreError> {
    let updated = sqlx::query(
        "UPDATE api_objects SET rv = $5, written_at = $6, body = $7 \
         WHERE resource = $1 AND namespace = $2 AND name = $3 AND rv = $4",
    )
    .bind(&*write.key.resource)
    .bind(&write.key.namespace)
    .bind(&write.key.name)
    .bind(write.before.map_or(0, |before| before.row.rv))
    .bind(rv)
    .bind(now())
    .bind(body)
    .execute(connection)
    .await?;
    Ok(if updated.rows_affected() == 0 { Err(Refusal::Stale) } else { Ok(()) })
}

async fn remove(
    connection: &mut AnyConnection,
    write: &Write<'_>,
) -> Result<Result<(), Refusal>, StoreError> {
    let key = write.key;
    let deleted = sqlx::query(
        "DELETE FROM api_objects WHERE resource = $1 AND namespace = $2 AND name = $3 AND rv = $4",
    )
    .bind(&*key.resource)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(write.before.map_or(0, |before| before.row.rv))
    .execute(&mut *connection)
    .await?;
    if deleted.rows_affected() == 0 {
        return Ok(Err(Refusal::Stale));
    }
    sqlx::query("UPDATE api_kinds SET objects = objects - 1 WHERE resource = $1")
        .bind(&*key.resource)
        .execute(connection)
        .await?;
    Ok(Ok(()))
}

async fn append(
    connection: &mut AnyConnection,
    write: &Write<'_>,
    rv: i64,
    body: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO api_log (rv, resource, namespace, name, change, written_at, body, prev) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(rv)
    .bind(&*write.key.resource)
    .bind(&write.key.namespace)
    .bind(&write.key.name)
    .bind(write.change.word())
    .bind(now())
    .bind(body)
    .bind(write.before.map(|before| before.row.body.as_str()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the table of owners in step with the object.
async fn keep_owners(connection: &mut AnyConnection, write: &Write<'_>) -> Result<(), StoreError> {
    let was = write.before.map(|before| owners(&before.value)).unwrap_or_default();
    let is = if write.change == Change::Deleted { Vec::new() } else { owners(write.object) };
    if was == is {
        return Ok(());
    }
    let key = write.key;
    sqlx::query("DELETE FROM api_owners WHERE resource = $1 AND namespace = $2 AND name = $3")
        .bind(&*key.resource)
        .bind(&key.namespace)
        .bind(&key.name)
        .execute(&mut *connection)
        .await?;
    for uid in is {
        sqlx::query(
            "INSERT INTO api_owners (owner_uid, resource, namespace, name) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(uid)
        .bind(&*key.resource)
        .bind(&key.namespace)
        .bind(&key.name)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn owners(object: &Value) -> Vec<&str> {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str()).collect()
}

/// One row of what a look-up of keys found.
pub(super) fn key(row: &sqlx::any::AnyRow) -> Result<Key, sqlx::Error> {
    let resource: String = row.try_get(0)?;
    Ok(Key { resource: resource.into(), namespace: row.try_get(1)?, name: row.try_get(2)? })
}
