//! Opening a database, keeping connections to it, and the few things in which the two kinds differ.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Executor};
use tokio::sync::Notify;

use super::error::cause;
use super::health::Health;
use super::location::Place;
use super::{Location, StoreError, migrations};

/// How long a request waits for a connection, and then for its statements.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long one attempt to reach a database may take. A machine with too much to do needs seconds for a handshake.
const KNOCK: Duration = Duration::from_secs(5);

/// Any number that only this program locks: the migrations of one database run one after the other.
const MIGRATION_LOCK: &str =
    "SET LOCAL client_min_messages TO warning; SELECT pg_advisory_xact_lock(8388354891241973611)";

/// The channel on which writers tell other processes that there is something new.
pub(super) const CHANNEL: &str = "tagwarden_api";

/// Objects in a database. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    pools: Pools,
    begin: &'static str,
    location: Location,
    health: Health,
    /// Something was written by this process.
    written: Notify,
}

/// Connections by what they are for, so that those who wait for one thing keep nobody from another. For a database in
/// memory they are one and the same, as is its one connection.
struct Pools {
    readers: AnyPool,
    /// All writers wait for one row anyway; a few connections hide the way to a server.
    writers: AnyPool,
    /// For the one who follows the log, and finds out whether the database answers: however many requests wait, that
    /// it is busy must not look as if it were away.
    follower: AnyPool,
}

/// Why a database cannot be used, now or ever.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    /// It may be there later.
    #[error("{0}")]
    Away(String),
    /// The directory of a SQLite file is not there.
    #[error("there is no directory {directory:?}; create it first", directory = .0.display())]
    NoDirectory(PathBuf),
    /// The file can be neither opened nor created.
    #[error("{0}")]
    File(String),
    /// Written by a later version of this program.
    #[error(
        "it was written by a newer version (schema {found}, this version knows {known}): upgrade tagwarden or use \
         another store",
        known = migrations::KNOWN
    )]
    Newer {
        /// The schema it has.
        found: i64,
    },
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Store").field(&self.0.location).finish()
    }
}

impl Store {
    /// Makes the pools, without a connection yet. A SQLite file is created if need be, readable by its owner alone.
    pub(crate) fn new(location: Location) -> Result<Self, Closed> {
        sqlx::any::install_default_drivers();
        let url = match location.place() {
            Place::SqliteFile(path) => file_url(path)?,
            Place::SqliteMemory => "sqlite::memory:".to_owned(),
            Place::Postgres { url, .. } => url.clone(),
        };
        let options: AnyConnectOptions = url.parse().map_err(|error| Closed::Away(cause(&error)))?;
        // Statements are told apart by the errors; their log would show what is in the objects.
        let options = options.disable_statement_logging();
        let pools = pools(&options, &location);
        let begin = match location.place() {
            Place::Postgres { .. } => "BEGIN",
            // A transaction that reads first and writes later could fail half way because another wrote meanwhile.
            _ => "BEGIN IMMEDIATE",
        };
        let (health, written) = (Health::new(), Notify::new());
        Ok(Self(Arc::new(Inner { pools, begin, location, health, written })))
    }

    /// Connects, and creates or upgrades the tables.
    pub(crate) async fn prepare(&self) -> Result<(), Closed> {
        match tokio::time::timeout(KNOCK, self.migrate()).await {
            Ok(Ok(found)) if found > migrations::KNOWN => Err(Closed::Newer { found }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Closed::Away(cause(&error))),
            Err(_) => Err(Closed::Away(format!("no answer within {} seconds", KNOCK.as_secs()))),
        }
    }

    async fn migrate(&self) -> Result<i64, sqlx::Error> {
        // The connection that is there from the start is the one that finds out whether the database answers.
        let pool = &self.0.pools.follower;
        let mut connection = pool.acquire().await?;
        let words = match self.0.location.place() {
            Place::Postgres { .. } => &migrations::POSTGRES,
            _ => &migrations::SQLITE,
        };
        if matches!(self.0.location.place(), Place::SqliteFile(_)) {
            prefer_wal(&mut connection).await;
        }
        drop(connection);
        let mut transaction = pool.begin_with(self.0.begin).await?;
        if matches!(self.0.location.place(), Place::Postgres { .. }) {
            sqlx::raw_sql(MIGRATION_LOCK).execute(&mut *transaction).await?;
        }
        let found = migrations::apply(&mut transaction, words).await?;
        transaction.commit().await?;
        Ok(found)
    }

    /// Whether the database answers.
    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Rings when this process has written.
    pub(super) fn written(&self) -> &Notify {
        &self.0.written
    }

    /// The URL for a listener, on PostgreSQL.
    pub(super) fn listen_url(&self) -> Option<&str> {
        match self.0.location.place() {
            Place::Postgres { url, .. } => Some(url),
            _ => None,
        }
    }

    /// What begins a transaction that is going to write.
    pub(super) fn begin(&self) -> &'static str {
        self.0.begin
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.acquire(&self.0.pools.readers).await
    }

    /// A connection to write with.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.acquire(&self.0.pools.writers).await
    }

    async fn acquire(&self, pool: &AnyPool) -> Result<PoolConnection<Any>, StoreError> {
        // While the database is away, everybody hears so at once instead of waiting in line.
        tokio::select! {
            biased;
            why = self.0.health.failed() => Err(StoreError::Away(why.to_string())),
            acquired = pool.acquire() => acquired.map_err(|error| self.judge(error)),
        }
    }

    /// A connection to find out whether the database is back.
    pub(super) async fn probe(&self) -> Result<PoolConnection<Any>, StoreError> {
        let acquiring = self.0.pools.follower.acquire();
        if matches!(self.0.location.place(), Place::SqliteMemory) {
            // It cannot be away, so that this is a matter of waiting for one's turn.
            return acquiring.await.map_err(StoreError::from);
        }
        match tokio::time::timeout(KNOCK, acquiring).await {
            Ok(acquired) => acquired.map_err(StoreError::from),
            Err(_) => Err(StoreError::Away("no connection to it could be made".into())),
        }
    }

    /// Gives a connection back after its work. One that failed is not used again.
    pub(super) fn settle<T>(
        &self,
        mut connection: PoolConnection<Any>,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Away(why) | StoreError::Unknown(why)) = &outcome {
            // A database in memory is the connection.
            if self.listen_url().is_some() {
                connection.close_on_drop();
            }
            self.0.health.down(why);
        }
        outcome
    }

    fn judge(&self, error: sqlx::Error) -> StoreError {
        let error = StoreError::from(error);
        if let StoreError::Away(why) = &error {
            self.0.health.down(why);
        }
        error
    }

    /// Waits for what is under way, but not for a database that is silent, and closes all connections.
    pub(crate) async fn close(&self) {
        let closing = async {
            let Pools { readers, writers, follower } = &self.0.pools;
            readers.close().await;
            writers.close().await;
            follower.close().await;
        };
        if tokio::time::timeout(KNOCK, closing).await.is_err() {
            tracing::debug!("connections to the database were left to end by themselves");
        }
    }
}

/// Waits for work on a connection, but not for ever.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Away("it did not answer in time".into());
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}

/// The same for a write, of which nobody knows in the end whether it was made.
pub(super) async fn written_within<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || StoreError::Unknown("it did not answer in time".into());
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}

fn pools(options: &AnyConnectOptions, location: &Location) -> Pools {
    let pool = || AnyPoolOptions::new().acquire_timeout(PATIENCE);
    let local = || pool().test_before_acquire(false).idle_timeout(None).max_lifetime(None);
    match location.place() {
        Place::Postgres { .. } => {
            let make = |most| pool().max_connections(most).connect_lazy_with(options.clone());
            Pools { readers: make(5), writers: make(3), follower: make(1) }
        }
        Place::SqliteFile(_) => {
            let make = |most| {
                local()
                    .max_connections(most)
                    .after_connect(|connection, _| Box::pin(pragmas(connection)))
                    .connect_lazy_with(options.clone())
            };
            Pools { readers: make(4), writers: make(1), follower: make(1) }
        }
        // Every connection would be a database of its own, and the last one takes it along.
        Place::SqliteMemory => {
            let one = local().max_connections(1).connect_lazy_with(options.clone());
            Pools { readers: one.clone(), writers: one.clone(), follower: one }
        }
    }
}

async fn pragmas(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA busy_timeout = 15000").await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if mode == "wal" {
        // Whole after a crash of the process or of the machine; only a loss of power can cost the last writes, which
        // the controllers then make again. Without WAL it could cost the file.
        connection.execute("PRAGMA synchronous = NORMAL").await?;
    }
    Ok(())
}

/// Readers and the writer do not wait for each other in WAL mode. It is kept in the file, and not every file system
/// can do it: where it cannot, the rollback journal stays, which is slower and as safe.
async fn prefer_wal(connection: &mut AnyConnection) {
    match sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await {
        Ok(mode) => tracing::debug!(mode, "SQLite journal"),
        // Another process is switching, or writing, right now.
        Err(error) => tracing::debug!(%error, "SQLite journal left as it is"),
    }
    if let Err(error) = pragmas(connection).await {
        tracing::debug!(%error, "SQLite settings left as they are");
    }
}

/// Makes sure that the file is there, and says it in the words of the driver.
fn file_url(path: &Path) -> Result<String, Closed> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The driver's URL loses `..`, which after a symbolic link is not what the path means.
    let directory = match parent.canonicalize() {
        Ok(directory) if directory.is_dir() => directory,
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Closed::File(error.to_string()));
        }
        _ => return Err(Closed::NoDirectory(parent.to_owned())),
    };
    let unusable = |error: io::Error| Closed::File(error.to_string());
    let name = path.file_name().ok_or_else(|| unusable(io::ErrorKind::IsADirectory.into()))?;
    let file = directory.join(name);
    create_private(&file).map_err(unusable)?;
    let text = file.to_str().ok_or_else(|| unusable(io::ErrorKind::InvalidFilename.into()))?;
    Ok(format!("sqlite://{}", percent_encoded(text)))
}

fn create_private(file: &PathBuf) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if file.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Ok(()),
    }
}

fn percent_encoded(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::with_capacity(path.len()), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use tagwarden_testbed::Testbed;

    use super::*;

    /// All connections that a pool has.
    async fn all(pool: &AnyPool) -> Vec<PoolConnection<Any>> {
        let mut held = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            held.push(pool.acquire().await.unwrap());
        }
        held
    }

    async fn stores() -> (tempfile::TempDir, Vec<Store>) {
        let directory = tempfile::tempdir().unwrap();
        let url =
            tokio::task::spawn_blocking(|| Testbed::postgres().fresh_database().unwrap()).await.unwrap();
        let locations = [Location::sqlite(directory.path().join("plane.db")), url.parse().unwrap()];
        let mut stores = Vec::new();
        for location in locations {
            let store = Store::new(location).unwrap();
            store.prepare().await.unwrap();
            store.health().up();
            stores.push(store);
        }
        (directory, stores)
    }

    #[tokio::test]
    async fn nobody_waits_for_those_who_want_something_else() {
        let (_directory, stores) = stores().await;
        for store in stores {
            let writing = all(&store.0.pools.writers).await;
            store.versions().await.unwrap();
            let reading = all(&store.0.pools.readers).await;
            store.probe_versions().await.unwrap();
            assert!(store.health().get().is_ok(), "{store:?} is busy, not away");
            drop((writing, reading));
            store.close().await;
        }
    }
}
