//! Reading objects: one, or many as of one version.
//!
//! A list is never read in a transaction. It names the version it wants, and what has changed since is put back from
//! the log: an object whose version is newer is replaced by what the first newer log row had before. That makes a list
//! consistent, its next pages too, at any isolation level and for as long as the log reaches.

use sqlx::{AnyConnection, Row as _};

use super::connection::within;
use super::{Change, Key, LogRow, Row, Store, StoreError};

/// Which objects of a resource.
#[derive(Clone, Debug)]
pub(crate) struct Range<'a> {
    /// Plural and group.
    pub(crate) resource: &'a str,
    /// One namespace, or all.
    pub(crate) namespace: Option<&'a str>,
    /// Only what comes after this namespace and name.
    pub(crate) after: Option<(&'a str, &'a str)>,
    /// At most so many.
    pub(crate) limit: Option<i64>,
}

impl Range<'_> {
    /// After which namespace and name it begins.
    fn start(&self) -> (&str, &str) {
        self.after.unwrap_or((self.namespace.unwrap_or(""), ""))
    }

    /// How many rows to ask for, to learn whether there are more.
    fn one_more(&self) -> i64 {
        self.limit.map_or(i64::MAX, |limit| limit.saturating_add(1))
    }
}

/// What a list found.
#[derive(Debug)]
pub(crate) struct Page {
    /// The version that it shows.
    pub(crate) rv: i64,
    /// In order of namespace and name.
    pub(crate) rows: Vec<Row>,
    /// Whether the limit left something out.
    pub(crate) more: bool,
}

/// How far the versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The newest.
    pub(crate) current: i64,
    /// Up to here the log is gone.
    pub(crate) compacted: i64,
}

/// How a read as of a version can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AsOf {
    /// The log no longer reaches back to the version.
    #[error("the log reaches back to version {0} only")]
    Compacted(i64),
    /// There is no such version yet.
    #[error("the newest version is {0}")]
    Future(i64),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// After every namespace, which are lower-case letters, digits and dashes.
const LAST: &str = "~";

/// How often a list begins again because the log was compacted under it.
const ATTEMPTS: usize = 3;

impl Store {
    /// How far the versions are.
    pub(crate) async fn versions(&self) -> Result<Versions, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(versions(&mut connection)).await;
        self.settle(connection, outcome)
    }

    /// The same, even while the database is thought to be away.
    pub(super) async fn probe_versions(&self) -> Result<Versions, StoreError> {
        let mut connection = self.probe().await?;
        let outcome = within(versions(&mut connection)).await;
        self.settle(connection, outcome)
    }

    /// One object.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        // Nothing has such a name, and PostgreSQL would be upset.
        if key.name.contains('\0') || key.namespace.contains('\0') {
            return Ok(None);
        }
        let mut connection = self.reader().await?;
        let outcome = within(get(&mut connection, key)).await;
        self.settle(connection, outcome)
    }

    /// Objects as of a version, or as of now.
    pub(crate) async fn list(&self, range: &Range<'_>, at: Option<i64>) -> Result<Page, AsOf> {
        let mut connection = self.reader().await?;
        let outcome = within(list(&mut connection, range, at)).await;
        self.settle(connection, outcome)?
    }

    /// How many objects there are now.
    pub(crate) async fn count(&self, range: &Range<'_>) -> Result<i64, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(count(&mut connection, range)).await;
        self.settle(connection, outcome)
    }

    /// What was written after a version, at most `limit` rows of all resources or of one, and how far the log is
    /// compacted.
    pub(crate) async fn log(
        &self,
        after: i64,
        resource: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<LogRow>, Versions), StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(log(&mut connection, after, resource, limit)).await;
        self.settle(connection, outcome)
    }

    /// The same for all resources, even while the database is thought to be away.
    pub(super) async fn probe_log(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<(Vec<LogRow>, Versions), StoreError> {
        let mut connection = self.probe().await?;
        let outcome = within(log(&mut connection, after, None, limit)).await;
        self.settle(connection, outcome)
    }
}

async fn versions(connection: &mut AnyConnection) -> Result<Versions, StoreError> {
    let row = sqlx::query("SELECT rv, compacted FROM api_meta").fetch_one(connection).await?;
    Ok(Versions { current: row.try_get(0)?, compacted: row.try_get(1)? })
}

async fn get(connection: &mut AnyConnection, key: &Key) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query(
        "SELECT namespace, name, rv, body FROM api_objects WHERE resource = $1 AND namespace = $2 AND name = $3",
    )
    .bind(&*key.resource)
    .bind(&key.namespace)
    .bind(&key.name)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(object).transpose()?)
}

async fn list(
    connection: &mut AnyConnection,
    range: &Range<'_>,
    at: Option<i64>,
) -> Result<Result<Page, AsOf>, StoreError> {
    for _ in 0..ATTEMPTS {
        let before = versions(connection).await?;
        let rv = at.unwrap_or(before.current);
        if rv > before.current {
            return Ok(Err(AsOf::Future(before.current)));
        }
        if rv == before.current {
            let rows = newest(connection, range).await?;
            // Nobody wrote in between, so that this is the version; as it mostly is.
            if versions(connection).await?.current == rv {
                return Ok(Ok(page(rows, rv, range.limit)));
            }
        }
        let rows = if rv < before.compacted { Vec::new() } else { as_of(connection, range, rv).await? };
        // Looked at afterwards: rows of the log that were needed may just have gone.
        let after = versions(connection).await?;
        if rv >= after.compacted {
            return Ok(Ok(page(rows, rv, range.limit)));
        }
        if at.is_some() {
            return Ok(Err(AsOf::Compacted(after.compacted)));
        }
    }
    Err(StoreError::Away("its log is compacted faster than a list can be read".into()))
}

async fn count(connection: &mut AnyConnection, range: &Range<'_>) -> Result<i64, StoreError> {
    let (namespace, name) = range.start();
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM api_objects \
         WHERE resource = $1 AND (namespace, name) > ($2, $3) AND namespace <= $4",
    )
    .bind(range.resource)
    .bind(namespace)
    .bind(name)
    .bind(range.namespace.unwrap_or(LAST))
    .fetch_one(connection)
    .await?;
    Ok(count)
}

async fn newest(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Vec<Row>, StoreError> {
    let (namespace, name) = range.start();
    let rows = sqlx::query(
        "SELECT namespace, name, rv, body FROM api_objects \
         WHERE resource = $1 AND (namespace, name) > ($2, $3) AND namespace <= $4 \
         ORDER BY namespace, name LIMIT $5",
    )
    .bind(range.resource)
    .bind(namespace)
    .bind(name)
    .bind(range.namespace.unwrap_or(LAST))
    .bind(range.one_more())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(object).collect::<Result<_, _>>()?)
}

async fn as_of(connection: &mut AnyConnection, range: &Range<'_>, rv: i64) -> Result<Vec<Row>, StoreError> {
    let (namespace, name) = range.start();
    let rows = sqlx::query(
        "SELECT namespace, name, rv, body FROM api_objects \
         WHERE resource = $1 AND (namespace, name) > ($2, $3) AND namespace <= $4 AND rv <= $5 \
         UNION ALL \
         SELECT later.namespace, later.name, later.rv, later.prev FROM api_log later \
         WHERE later.resource = $1 AND (later.namespace, later.name) > ($2, $3) AND later.namespace <= $4 \
         AND later.rv > $5 AND later.prev IS NOT NULL AND NOT EXISTS (SELECT 1 FROM api_log earlier \
         WHERE earlier.resource = later.resource AND earlier.namespace = later.namespace \
         AND earlier.name = later.name AND earlier.rv > $5 AND earlier.rv < later.rv) \
         ORDER BY 1, 2 LIMIT $6",
    )
    .bind(range.resource)
    .bind(namespace)
    .bind(name)
    .bind(range.namespace.unwrap_or(LAST))
    .bind(rv)
    .bind(range.one_more())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(object).collect::<Result<_, _>>()?)
}

fn page(mut rows: Vec<Row>, rv: i64, limit: Option<i64>) -> Page {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page { rv, rows, more }
}

pub(super) fn object(row: &sqlx::any::AnyRow) -> Result<Row, sqlx::Error> {
    Ok(Row { namespace: row.try_get(0)?, name: row.try_get(1)?, rv: row.try_get(2)?, body: row.try_get(3)? })
}

async fn log(
    connection: &mut AnyConnection,
    after: i64,
    resource: Option<&str>,
    limit: i64,
) -> Result<(Vec<LogRow>, Versions), StoreError> {
    // First the versions: a row that comes in between is read next time, and `current` is never ahead of the rows.
    let before = versions(connection).await?;
    if before.current <= after {
        return Ok((Vec::new(), before));
    }
    let rows = match resource {
        None => {
            sqlx::query(
                "SELECT rv, resource, namespace, name, change, body, prev FROM api_log WHERE rv > $1 \
                 ORDER BY rv LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?
        }
        Some(resource) => {
            sqlx::query(
                "SELECT rv, resource, namespace, name, change, body, prev FROM api_log \
                 WHERE resource = $3 AND rv > $1 ORDER BY rv LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .bind(resource)
            .fetch_all(&mut *connection)
            .await?
        }
    };
    let rows = rows.iter().map(logged).collect::<Result<_, _>>()?;
    let compacted = versions(connection).await?.compacted;
    Ok((rows, Versions { current: before.current, compacted }))
}

fn logged(row: &sqlx::any::AnyRow) -> Result<LogRow, sqlx::Error> {
    let resource: String = row.try_get(1)?;
    let change: String = row.try_get(4)?;
    Ok(LogRow {
        rv: row.try_get(0)?,
        key: Key { resource: resource.into(), namespace: row.try_get(2)?, name: row.try_get(3)? },
        change: Change::from_word(&change),
        body: row.try_get(5)?,
        prev: row.try_get(6)?,
    })
}
