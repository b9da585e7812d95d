//! Opening a store, and the few things in which the two databases differ.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Transaction};

use crate::error::cause;
use crate::location::Location;
use crate::{StoreError, migrations};

/// How long to wait for a server, a free connection or another process's transaction.
const PATIENCE: Duration = Duration::from_secs(15);

/// Any number that only this program locks: the migrations of one database run one after the other.
const MIGRATION_LOCK: &str =
    "SET LOCAL client_min_messages TO warning; SELECT pg_advisory_xact_lock(8388354891241973610)";

/// Past runs and their findings. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    begin: &'static str,
    location: Arc<Location>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Store").field(&self.location).finish()
    }
}

impl Store {
    /// Opens `sqlite:PATH`, `postgres://…` or `postgresql://…`, and creates or upgrades its tables.
    ///
    /// A SQLite file is created if need be, readable by its owner alone, in a directory that exists. Any number of
    /// processes may open the same store at the same time. A store of a newer version is refused and left as it is.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let location = Location::parse(url)?;
        sqlx::any::install_default_drivers();
        let (url, begin) = match &location {
            Location::SqliteFile(path) => (file_url(path)?, SQLITE_BEGIN),
            Location::SqliteMemory => ("sqlite::memory:".to_owned(), SQLITE_BEGIN),
            Location::Postgres { url, .. } => (url.clone(), POSTGRES_BEGIN),
        };
        let options = connect_options(&url, &location)?;
        // The pool retries a refused connection until its patience ends, and forgets why: ask once without it.
        let mut first = connect(&options, &location).await?;
        if matches!(location, Location::SqliteFile(_)) {
            prefer_wal(&mut first).await;
        }
        first.close().await.map_err(|error| refused(&location, &error))?;

        let store = Self { pool: pool(options, &location), begin, location: Arc::new(location) };
        store.migrate().await?;
        Ok(store)
    }

    /// Waits for what is under way and closes all connections, those of the clones too.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The connections, for single statements that only read.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// A transaction that is going to write. On SQLite it is the only one, from its beginning: one that reads first
    /// and writes later could fail half way because another wrote meanwhile.
    pub(crate) async fn begin(&self, action: &'static str) -> Result<Transaction<'static, Any>, StoreError> {
        self.pool.begin_with(self.begin).await.map_err(StoreError::database(action))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let failed = |error| refused(&self.location, &error);
        let mut transaction = self.pool.begin_with(self.begin).await.map_err(failed)?;
        if matches!(*self.location, Location::Postgres { .. }) {
            sqlx::raw_sql(MIGRATION_LOCK).execute(&mut *transaction).await.map_err(failed)?;
        }
        migrations::apply(&mut transaction, &self.location).await?;
        transaction.commit().await.map_err(failed)
    }
}

const SQLITE_BEGIN: &str = "BEGIN IMMEDIATE";
const POSTGRES_BEGIN: &str = "BEGIN";

fn connect_options(url: &str, location: &Location) -> Result<AnyConnectOptions, StoreError> {
    let options: AnyConnectOptions = url.parse().map_err(|error| refused(location, &error))?;
    // Statements are told apart by the errors; their log would show values of tags.
    Ok(options.disable_statement_logging())
}

async fn connect(options: &AnyConnectOptions, location: &Location) -> Result<AnyConnection, StoreError> {
    match tokio::time::timeout(PATIENCE, options.connect()).await {
        Ok(connected) => connected.map_err(|error| refused(location, &error)),
        Err(_) => Err(StoreError::Connect {
            store: location.to_string(),
            cause: format!(
                "no answer within {} seconds; check the host, the port and the network",
                PATIENCE.as_secs()
            ),
        }),
    }
}

/// The database does not let us in, or not further.
pub(crate) fn refused(location: &Location, error: &sqlx::Error) -> StoreError {
    StoreError::Connect { store: location.to_string(), cause: cause(error) }
}

fn pool(options: AnyConnectOptions, location: &Location) -> AnyPool {
    let pool = AnyPoolOptions::new().acquire_timeout(PATIENCE);
    match location {
        Location::Postgres { .. } => pool.max_connections(8),
        Location::SqliteFile(_) => {
            // A file does not go away while it is open, so that there is no need to ask before every statement.
            pool.max_connections(4)
                .test_before_acquire(false)
                .after_connect(|connection, _| Box::pin(pragmas(connection)))
        }
        // Every connection would be a database of its own, and the last one takes it along.
        Location::SqliteMemory => pool
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| Box::pin(pragmas(connection))),
    }
    .connect_lazy_with(options)
}

async fn pragmas(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA foreign_keys = ON").await?;
    connection.execute("PRAGMA busy_timeout = 15000").await?;
    Ok(())
}

/// Readers and the writer do not wait for each other in WAL mode. It is kept in the file, and not every file system
/// can do it: where it cannot, the rollback journal stays, which is slower and as safe.
async fn prefer_wal(connection: &mut AnyConnection) {
    match sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(connection).await {
        Ok(mode) => tracing::debug!(mode, "SQLite journal"),
        // Another process is switching, or writing, right now.
        Err(error) => tracing::debug!(%error, "SQLite journal left as it is"),
    }
}

/// Makes sure that the file is there, and says it in the words of the driver.
fn file_url(path: &Path) -> Result<String, StoreError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let missing = || StoreError::NoDirectory { path: path.to_owned(), directory: parent.to_owned() };
    // The driver's URL loses `..`, which after a symbolic link is not what the path means.
    let directory = parent.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(),
        _ => unusable(path, &error),
    })?;
    if !directory.is_dir() {
        return Err(missing());
    }
    let name = path.file_name().ok_or_else(|| unusable(path, &io::ErrorKind::IsADirectory.into()))?;
    let file = directory.join(name);
    create_private(&file).map_err(|error| unusable(path, &error))?;
    let text = file.to_str().ok_or_else(|| unusable(path, &io::ErrorKind::InvalidFilename.into()))?;
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

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), cause: error.to_string() }
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
