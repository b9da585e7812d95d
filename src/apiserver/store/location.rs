//! Where objects are kept, as `--store` says it. The password in a URL is used and never shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;

/// Where the control plane keeps its objects: `sqlite:PATH`, `sqlite::memory:`, `postgres://…` or `postgresql://…`.
/// It may be the store of findings too.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    SqliteFile(PathBuf),
    /// Gone with the process.
    SqliteMemory,
    Postgres {
        /// With the password.
        url: String,
        /// Host, port and database only.
        shown: String,
    },
}

/// A text that names no store. No message quotes what may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// Not a store this version knows.
    #[error(
        "`{0}` is not a kind of store: write sqlite:PATH, postgres://USER@HOST/DATABASE or postgresql://…"
    )]
    UnknownKind(String),
    /// The scheme is right and something after it is wrong.
    #[error("the store URL is not usable: {0}")]
    BadUrl(&'static str),
}

/// The most characters of a refused scheme that a message quotes.
const MAX_QUOTE: usize = 40;

impl Location {
    /// A SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Place::SqliteFile(path.into()))
    }

    /// Memory of this process, gone with the control plane.
    pub fn memory() -> Self {
        Self(Place::SqliteMemory)
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(url: &str) -> Result<Self, BadLocation> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match scheme {
            "sqlite" => sqlite(rest).map(Self),
            "postgres" | "postgresql" => postgres(url, rest).map(Self),
            // Something with an `@` may be a URL that lost its scheme.
            _ if scheme.contains('@') => Err(BadLocation::UnknownKind("…".into())),
            _ => Err(BadLocation::UnknownKind(scheme.chars().take(MAX_QUOTE).collect())),
        }
    }
}

fn sqlite(rest: &str) -> Result<Place, BadLocation> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match path {
        ":memory:" => Ok(Place::SqliteMemory),
        "" => Err(BadLocation::BadUrl("no path after `sqlite:`; write for example sqlite:tagwarden.db")),
        _ if path.contains(['?', '\0']) => {
            Err(BadLocation::BadUrl("a SQLite store is `sqlite:PATH`, without `?` and options"))
        }
        _ => Ok(Place::SqliteFile(path.into())),
    }
}

fn postgres(url: &str, rest: &str) -> Result<Place, BadLocation> {
    // With one of these unescaped in the password, part of it would be taken for the host or the database, and shown.
    let rest = rest.trim_start_matches('/');
    let after_host = rest.find(['/', '?', '#']).map(|at| &rest[at..]);
    if rest.matches('@').count() > 1 || after_host.is_some_and(|text| text.contains(['@', '#'])) {
        return Err(BadLocation::BadUrl(
            "in the user, the password and the database name, write @ as %40, / as %2F, ? as %3F and # as %23",
        ));
    }
    let parsed: AnyConnectOptions = url.parse().map_err(|_| {
        BadLocation::BadUrl("it does not have the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    })?;
    let parsed = parsed.database_url;
    let host = parsed.host_str().unwrap_or_default();
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(Place::Postgres { url: url.into(), shown: format!("postgres://{host}{port}{}", parsed.path()) })
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::SqliteFile(path) => write!(formatter, "sqlite:{}", path.display()),
            Place::SqliteMemory => formatter.write_str("sqlite::memory:"),
            Place::Postgres { shown, .. } => formatter.write_str(shown),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_are_stores() {
        for (url, shown) in [
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite:///var/lib/a b%41.db", "sqlite:/var/lib/a b%41.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgres://me:secret@db:5433/tags", "postgres://db:5433/tags"),
            ("postgresql://me:s%40cret@db/tags?sslmode=require&password=secret", "postgres://db/tags"),
        ] {
            let location: Location = url.parse().unwrap();
            assert_eq!(location.to_string(), shown, "{url}");
            assert_eq!(format!("{location:?}"), shown, "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_without_a_word_of_the_password() {
        for url in [
            "",
            "tags.db",
            "mysql://me:secret@db/tags",
            "me@secret:x",
            "sqlite:",
            "sqlite:secret.db?mode=ro",
            "postgres://me:p@secret@db/tags",
            "postgres://me:12/secret@db/tags",
            "postgres://me:p@secret#word",
            "postgres://me:secret@db:port/tags",
        ] {
            let error = Location::from_str(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{url}: {error}");
        }
    }
}
