//! What can go wrong with a store, in sentences that say what to do.

use std::path::PathBuf;

use crate::text;

/// Why the store could not do what it was asked. No message contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not a store this version knows.
    #[error(
        "`{scheme}` is not a kind of store: write sqlite:PATH, postgres://USER@HOST/DATABASE or postgresql://…"
    )]
    UnknownKind {
        /// What stands before the first colon; the rest may hold a password.
        scheme: String,
    },
    /// The URL has the right scheme, and something wrong after it.
    #[error("the store URL is not usable: {reason}")]
    BadUrl {
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The directory of a SQLite file is not there.
    #[error("the store {path:?} cannot be created: there is no directory {directory:?}; create it first", path = path.display(), directory = directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The file of a SQLite store can be neither opened nor created.
    #[error("the store {path:?} cannot be opened: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: String,
    },
    /// The database does not let us in.
    #[error("the store {store} cannot be opened: {cause}")]
    Connect {
        /// The store, without user and password.
        store: String,
        /// What the database says.
        cause: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the store {store} was written by a newer version (schema {found}, this version knows {known}): \
         upgrade tagwarden or use another store"
    )]
    Newer {
        /// The store, without user and password.
        store: String,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A statement failed.
    #[error("the store failed to {action}: {cause}")]
    Database {
        /// What it was doing.
        action: &'static str,
        /// What the database says.
        cause: String,
    },
    /// A name that cannot be a key.
    #[error("`{value}` cannot be a {what}: expected 1 to {max} characters, none of them a control character", max = text::MAX_NAME)]
    BadName {
        /// `tenant` or `run id`.
        what: &'static str,
        /// The beginning of it.
        value: String,
    },
    /// A scope that does not fit its column.
    #[error("the scope of run `{run_id}` takes {bytes} bytes, and the store keeps at most {max}: name fewer things in it", max = text::MAX_JSON)]
    ScopeTooLong {
        /// The run.
        run_id: String,
        /// Its size as JSON.
        bytes: usize,
    },
    /// A plan that has no places left.
    #[error("the run has {count} accounts, and at most {most} are possible: split the audit")]
    TooManyAccounts {
        /// How many there are.
        count: usize,
        /// How many are possible.
        most: usize,
    },
    /// A run of this id is there already.
    #[error("run `{0}` is in the store already: choose another run id")]
    RunExists(String),
    /// No such run, or none with results, for this tenant.
    #[error("run `{0}` was not found, or has no results")]
    RunNotFound(String),
    /// The run has ended, or was abandoned or pruned meanwhile.
    #[error("run `{0}` is not running any more: it was finished, abandoned or pruned")]
    NotRunning(String),
    /// The report of one run was given to the recorder of another.
    #[error("the report is of run `{reported}`, and run `{recorded}` is being recorded")]
    OtherRun {
        /// The run of the recorder.
        recorded: String,
        /// The run of the report.
        reported: String,
    },
    /// No key of this id.
    #[error("there is no key `{0}`: `tagwarden keys list` shows the ids")]
    KeyNotFound(String),
    /// More keys than a server keeps in mind.
    #[error("there are {max} valid keys already: revoke those that are not needed", max = tagwarden_app::keys::KEYS_MAX)]
    TooManyKeys,
    /// A row that this program did not write.
    #[error(
        "the store holds `{value}` where {expected} belongs: restore it from a backup or use another store"
    )]
    Corrupt {
        /// What was expected.
        expected: &'static str,
        /// The beginning of what was found.
        value: String,
    },
}

impl StoreError {
    /// Turns an error of the driver into one that says what was being done.
    pub(crate) fn database(action: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::Database { action, cause: cause(&error) }
    }

    pub(crate) fn corrupt(expected: &'static str, value: impl std::fmt::Display) -> Self {
        Self::Corrupt { expected, value: text::excerpt(&value.to_string()) }
    }
}

/// What the driver says, at most a few hundred characters of it.
pub(crate) fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => "no connection became free in time; the database is overloaded".into(),
        other => text::excerpt(&other.to_string()),
    }
}
