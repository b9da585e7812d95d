//! Follows the log, once per process, for everybody who watches.
//!
//! The newest rows are kept in memory, bounded by number and bytes. A watcher asks for what came after the version it
//! has seen: it gets rows from memory, or from the database when it is too far behind, or learns that the log was cut.
//! Nobody is pushed, so a watcher that does not read costs nothing and holds up nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};

use super::read::{LogPage, PART_BYTES};
use super::{Change, LogRow, NAMESPACES, Store, StoreError};

/// How often other processes' writes are looked for when nothing rings.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait before a lost listener connects again.
const RECONNECT: Duration = Duration::from_secs(2);

/// Rows read from the database at once.
const BATCH: i64 = 256;

/// Rows given to a watcher at once; what it is given is copied for it, so the bytes count, too.
const AT_ONCE: usize = 256;

/// The most rows kept in memory, and their most bytes.
const MAX_ROWS: usize = 1_024;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Rows of the log as they come in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    ring: Mutex<Ring>,
    /// Up to which version everything has been read; 0 until the first time.
    position: watch::Sender<i64>,
    /// Something that may have orphaned others was written.
    collect: Notify,
    /// A namespace was written, or may have become empty.
    namespaces: Notify,
    /// Counts up when versions went backwards: the database was restored from a backup.
    epoch: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    rows: VecDeque<Arc<LogRow>>,
    bytes: usize,
    /// Rows up to this version are not in memory.
    floor: i64,
}

/// What comes after a version.
#[derive(Debug)]
pub(crate) enum News {
    /// These rows; everything up to `seen` has now been looked at.
    Rows {
        /// Of the resource asked for, in order.
        rows: Vec<Arc<LogRow>>,
        /// The version up to which nothing else is to come.
        seen: i64,
    },
    /// The log was cut above the version; up to which version.
    Gone(i64),
}

impl Tail {
    pub(crate) fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            ring: Mutex::default(),
            position: watch::Sender::new(0),
            collect: Notify::new(),
            namespaces: Notify::new(),
            epoch: watch::Sender::new(0),
        }))
    }

    /// Hears when there is more to read.
    pub(crate) fn position(&self) -> watch::Receiver<i64> {
        self.0.position.subscribe()
    }

    /// Changes when a watcher's version has lost its meaning.
    pub(crate) fn epoch(&self) -> watch::Receiver<u64> {
        self.0.epoch.subscribe()
    }

    /// Rings when something may have lost its owner.
    pub(crate) fn collect(&self) -> &Notify {
        &self.0.collect
    }

    /// Rings when a namespace may be going.
    pub(crate) fn namespaces(&self) -> &Notify {
        &self.0.namespaces
    }

    /// What happened to a resource after a version.
    pub(crate) async fn after(&self, version: i64, resource: &str) -> Result<News, StoreError> {
        if let Some(news) = self.recent(version, resource) {
            return Ok(news);
        }
        let LogPage { rows, more, versions } = self.0.store.log(version, Some(resource), BATCH).await?;
        if versions.compacted > version {
            return Ok(News::Gone(versions.compacted));
        }
        let last = rows.last().map_or(version, |row| row.rv);
        let seen = if more { last } else { last.max(versions.current) };
        Ok(News::Rows { rows: rows.into_iter().map(Arc::new).collect(), seen })
    }

    fn recent(&self, version: i64, resource: &str) -> Option<News> {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let position = *self.0.position.borrow();
        if version < ring.floor || position == 0 {
            return None;
        }
        let from = ring.rows.partition_point(|row| row.rv <= version);
        let rows = ring.rows.range(from..).filter(|row| &*row.key.resource == resource);
        let mut bytes = 0;
        let mut given: Vec<Arc<LogRow>> = Vec::new();
        for row in rows {
            // There is one more than is given at once: it is for the next time.
            if given.len() == AT_ONCE || bytes >= PART_BYTES {
                let seen = given.last().map_or(version, |last| last.rv);
                return Some(News::Rows { rows: given, seen });
            }
            bytes += row.weight();
            given.push(Arc::clone(row));
        }
        Some(News::Rows { rows: given, seen: position.max(version) })
    }

    /// Follows the log for ever, through every outage.
    pub(crate) async fn follow(&self) {
        let reader = async {
            loop {
                self.catch_up().await;
                tokio::select! {
                    () = self.0.store.written().notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        };
        tokio::join!(self.listen(), reader);
    }

    /// Reads until nothing is left. This is also what notices that the database is away, or back.
    pub(crate) async fn catch_up(&self) {
        let health = self.0.store.health();
        loop {
            match self.advance().await {
                Ok(true) => {}
                Ok(false) => return health.up(),
                Err(error) => return health.down(&error.to_string()),
            }
        }
    }

    /// Reads once; whether there may be more.
    async fn advance(&self) -> Result<bool, StoreError> {
        let position = *self.0.position.borrow();
        if position == 0 {
            let versions = self.0.store.probe_versions().await?;
            self.begin_at(versions.current, false);
            return Ok(false);
        }
        let LogPage { rows, more, versions } = self.0.store.probe_log(position, BATCH).await?;
        if versions.current < position {
            self.begin_at(versions.current, true);
            return Ok(false);
        }
        if versions.compacted > position {
            self.begin_at(versions.current, false);
            return Ok(true);
        }
        let last = rows.last().map_or(position, |row| row.rv);
        self.push(rows, if more { last } else { last.max(versions.current) });
        Ok(more)
    }

    fn begin_at(&self, version: i64, restored: bool) {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring { floor: version, ..Ring::default() };
        if restored {
            tracing::warn!(version, "the database is older than it was: watches begin again");
            self.0.epoch.send_modify(|epoch| *epoch += 1);
        }
        self.0.position.send_replace(version);
        self.0.collect.notify_one();
    }

    fn push(&self, rows: Vec<LogRow>, position: i64) {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut collect, mut namespaces) = (false, false);
        for row in rows {
            // What held a namespace is gone with the last object in it.
            namespaces |= &*row.key.resource == NAMESPACES || row.change == Change::Deleted;
            collect |= match row.change {
                Change::Deleted => true,
                Change::Added => row.body.contains("\"ownerReferences\""),
                Change::Modified => false,
            };
            ring.bytes += row.weight();
            ring.rows.push_back(Arc::new(row));
        }
        while ring.rows.len() > MAX_ROWS || ring.bytes > MAX_BYTES {
            let Some(row) = ring.rows.pop_front() else { break };
            ring.bytes -= row.weight();
            ring.floor = row.rv;
        }
        // Still under the lock: who sees the position finds the rows.
        self.0.position.send_replace(position);
        if collect {
            self.0.collect.notify_one();
        }
        if namespaces {
            self.0.namespaces.notify_one();
        }
    }

    /// On PostgreSQL, passes on what other processes ring; the poll stands behind.
    async fn listen(&self) {
        let Some(url) = self.0.store.listen_url() else { return };
        loop {
            if let Err(error) = self.ring_when_notified(url).await {
                tracing::debug!(%error, "no notifications from PostgreSQL; polling");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn ring_when_notified(&self, url: &str) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect(url).await?;
        listener.listen(super::connection::CHANNEL).await?;
        while listener.try_recv().await?.is_some() {
            self.0.store.written().notify_one();
        }
        Ok(())
    }
}
