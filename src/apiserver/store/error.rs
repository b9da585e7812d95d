//! What can go wrong between us and the database, told apart by what to do about it.

use crate::status::ApiError;

/// Why the store did not do what it was asked. No message contains a connection string.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database cannot be reached, is full, or refuses everybody: the next request may do better.
    #[error("the database is not available: {0}")]
    Away(String),
    /// It answers, and so many ask that no connection to it became free in time.
    #[error("the database is busy: no connection to it became free in time")]
    Busy,
    /// The answer to a commit was lost: the write may have happened.
    #[error("the connection to the database was lost while writing: {0}")]
    Unknown(String),
    /// A statement failed; a bug, or a database that something else has changed.
    #[error("the database refused a statement: {0}")]
    Broken(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy;
        }
        let cause = cause(&error);
        if is_away(&error) { Self::Away(cause) } else { Self::Broken(cause) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(_) => {
                Self::unavailable("the database of the control plane is not available; try again")
            }
            StoreError::Busy => Self::too_many_requests("the control plane has too much to do; try again", 1),
            StoreError::Unknown(_) => Self::timeout(
                "the connection to the database was lost while writing; read the object to see whether the \
                 change was made, and try again",
            ),
            StoreError::Broken(cause) => {
                tracing::error!(cause, "the database refused a statement");
                Self::internal("the database refused a statement; the log of the server says more")
            }
        }
    }
}

/// The most characters of a driver's message.
const MAX_CAUSE: usize = 400;

/// What the driver says. Its messages name no passwords.
pub(super) fn cause(error: &sqlx::Error) -> String {
    error.to_string().chars().take(MAX_CAUSE).collect()
}

fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Configuration(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| away_on_postgres(&code) || away_on_sqlite(&code))
        }
        _ => false,
    }
}

/// Connections, authorisation, a missing database, resources, operators' interventions, read-only standby,
/// serialisation and deadlock.
fn away_on_postgres(code: &str) -> bool {
    code.len() == 5
        && (["08", "28", "3D", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
            || code == "25006")
}

/// Busy, locked, read-only, input/output, full, cannot open; the lower byte of an extended code.
fn away_on_sqlite(code: &str) -> bool {
    code.len() < 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}
