//! Reading objects: one, or many as of one version.
//!
//! A list is never read in a transaction. It names the version it wants, and what has changed since is put back from
//! the log: an object whose version is newer is replaced by what the first newer log row had before. That makes a list
//! consistent, its next pages too, at any isolation level and for as long as the log reaches.

use futures_util::TryStreamExt as _;
use futures_util::stream::Stream;
use sqlx::any::AnyRow;
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
    /// And no more after so many bytes of them.
    pub(crate) bytes: usize,
}

impl Range<'_> {
    /// After which namespace and name it begins.
    fn start(&self) -> (&str, &str) {
        self.after.unwrap_or((self.namespace.unwrap_or(""), ""))
    }

    /// How many rows to ask for, to learn whether there are more. What is read of them is bounded in bytes, too.
    fn one_more(&self) -> i64 {
        self.limit.map_or(i64::MAX, |limit| limit.saturating_add(1))
    }
}

/// What a list found.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The version that it shows.
    pub(crate) rv: i64,
    /// In order of namespace and name.
    pub(crate) rows: Vec<Row>,
    /// Whether the limit, or the bound in bytes, left something out.
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

/// A part of the log.
#[derive(Debug)]
pub(crate) struct LogPage {
    /// In order.
    pub(crate) rows: Vec<LogRow>,
    /// Whether there may be more of them.
    pub(crate) more: bool,
    /// As they were when the rows were read.
    pub(crate) versions: Versions,
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

/// The most bytes of objects in one answer, about: it ends with the object that brings it there.
pub(crate) const PAGE_BYTES: usize = 32 << 20;

/// The same for those who take all in parts, of objects and of the log.
pub(crate) const PART_BYTES: usize = 1 << 20;

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

    /// What was written after a version, at most `limit` rows of all resources or of one and not many bytes more than
    /// [`PART_BYTES`]; whether there may be more; and how far the log is compacted.
    pub(crate) async fn log(
        &self,
        after: i64,
        resource: Option<&str>,
        limit: i64,
    ) -> Result<LogPage, StoreError> {
        let mut connection = self.reader().await?;
        let outcome = within(log(&mut connection, after, resource, limit)).await;
        self.settle(connection, outcome)
    }

    /// The same for all resources, even while the database is thought to be away.
    pub(super) async fn probe_log(&self, after: i64, limit: i64) -> Result<LogPage, StoreError> {
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
            let page = newest(connection, range).await?;
            // Nobody wrote in between, so that this is the version; as it mostly is.
            if versions(connection).await?.current == rv {
                return Ok(Ok(Page { rv, ..page }));
            }
        }
        let page = if rv < before.compacted { Page::default() } else { as_of(connection, range, rv).await? };
        // Looked at afterwards: rows of the log that were needed may just have gone.
        let after = versions(connection).await?;
        if rv >= after.compacted {
            return Ok(Ok(Page { rv, ..page }));
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

async fn newest(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Page, StoreError> {
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
    .fetch(connection);
    page(rows, range.limit, range.bytes).await
}

async fn as_of(connection: &mut AnyConnection, range: &Range<'_>, rv: i64) -> Result<Page, StoreError> {
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
    .fetch(connection);
    page(rows, range.limit, range.bytes).await
}

/// Reads rows as they come, and no more than are wanted.
async fn page(
    found: impl Stream<Item = Result<AnyRow, sqlx::Error>>,
    limit: Option<i64>,
    most: usize,
) -> Result<Page, StoreError> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let mut found = std::pin::pin!(found);
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = found.try_next().await? {
        if page.rows.len() == limit || bytes >= most {
            page.more = true;
            break;
        }
        let row = object(&row)?;
        bytes += row.body.len();
        page.rows.push(row);
    }
    Ok(page)
}

pub(super) fn object(row: &AnyRow) -> Result<Row, sqlx::Error> {
    Ok(Row { namespace: row.try_get(0)?, name: row.try_get(1)?, rv: row.try_get(2)?, body: row.try_get(3)? })
}

async fn log(
    connection: &mut AnyConnection,
    after: i64,
    resource: Option<&str>,
    limit: i64,
) -> Result<LogPage, StoreError> {
    // First the versions: a row that comes in between is read next time, and `current` is never ahead of the rows.
    let before = versions(connection).await?;
    if before.current <= after {
        return Ok(LogPage { rows: Vec::new(), more: false, versions: before });
    }
    let (rows, more) = match resource {
        None => {
            let rows = sqlx::query(
                "SELECT rv, resource, namespace, name, change, body, prev FROM api_log WHERE rv > $1 \
                 ORDER BY rv LIMIT $2",
            )
            .bind(after)
            .bind(limit);
            logged(rows.fetch(&mut *connection), limit).await?
        }
        Some(resource) => {
            let rows = sqlx::query(
                "SELECT rv, resource, namespace, name, change, body, prev FROM api_log \
                 WHERE resource = $3 AND rv > $1 ORDER BY rv LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .bind(resource);
            logged(rows.fetch(&mut *connection), limit).await?
        }
    };
    let compacted = versions(connection).await?.compacted;
    Ok(LogPage { rows, more, versions: Versions { current: before.current, compacted } })
}

/// Reads rows of the log as they come, and whether there may be more.
async fn logged(
    found: impl Stream<Item = Result<AnyRow, sqlx::Error>>,
    limit: i64,
) -> Result<(Vec<LogRow>, bool), StoreError> {
    let mut found = std::pin::pin!(found);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await? {
        let row = log_row(&row)?;
        bytes += row.weight();
        rows.push(row);
        if bytes >= PART_BYTES {
            return Ok((rows, true));
        }
    }
    let more = i64::try_from(rows.len()).is_ok_and(|found| found == limit);
    Ok((rows, more))
}

fn log_row(row: &AnyRow) -> Result<LogRow, sqlx::Error> {
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
