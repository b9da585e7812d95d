//! Where objects are kept: SQLite or PostgreSQL, one set of SQL texts for both.
//!
//! Every write takes the next version from one row, inside its transaction. The lock on that row makes the order of
//! versions the order of commits on PostgreSQL too (a sequence would let a late committer slip a lower version past a
//! watcher). Every write also leaves a row in a log, with the object before and after, from which watches are served
//! and lists are answered as of an older version. [`Tail`](tail::Tail) follows the log, once per process.
//!
//! The same file or database may hold the store of findings; the tables and their migrations are apart.

mod commit;
mod connection;
mod error;
mod health;
mod location;
mod migrations;
mod read;
mod sweep;
pub(crate) mod tail;

use std::sync::Arc;

pub(crate) use commit::{Before, NAMESPACES, Refusal};
pub(crate) use connection::{Closed, Store};
pub(crate) use error::StoreError;
pub use health::NotReady;
pub use location::{BadLocation, Location};
pub(crate) use read::{AsOf, PAGE_BYTES, PART_BYTES, Page, Range};

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Plural and group, like `taggingpolicies.tagwarden.io`.
    pub(crate) resource: Arc<str>,
    /// Empty for cluster-wide kinds.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) rv: i64,
    /// JSON, with the version in it.
    pub(crate) body: String,
}

/// What a write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The object is new.
    Added,
    /// It was there before.
    Modified,
    /// It is gone; the row holds its last state.
    Deleted,
}

impl Change {
    /// The word of watches, and of the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "ADDED" => Self::Added,
            "DELETED" => Self::Deleted,
            _ => Self::Modified,
        }
    }
}

/// One write, from the log.
#[derive(Debug)]
pub(crate) struct LogRow {
    /// The version it made.
    pub(crate) rv: i64,
    /// Of what.
    pub(crate) key: Key,
    /// What it was.
    pub(crate) change: Change,
    /// The object after it, as JSON.
    pub(crate) body: String,
    /// The object before it.
    pub(crate) prev: Option<String>,
}

impl LogRow {
    /// About how much memory it takes.
    fn weight(&self) -> usize {
        const ROW: usize = 256;
        ROW + self.body.len() + self.prev.as_ref().map_or(0, String::len)
    }
}
