//! Where a store is, as `--store` says it. The password in a URL is used and never shown.

use std::fmt;
use std::path::PathBuf;

use sqlx::any::AnyConnectOptions;

use crate::StoreError;

/// A store that a URL names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file.
    SqliteFile(PathBuf),
    /// Gone with the process; for tests.
    SqliteMemory,
    /// A database of a server.
    Postgres {
        /// With the password.
        url: String,
        /// Host, port and database only.
        shown: String,
    },
}

impl Location {
    /// Reads `sqlite:PATH`, `postgres://…` or `postgresql://…`.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match scheme {
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => postgres(url, rest),
            // Something with an `@` may be a URL that lost its scheme.
            _ if scheme.contains('@') => Err(StoreError::UnknownKind { scheme: "…".into() }),
            _ => Err(StoreError::UnknownKind { scheme: crate::text::excerpt(scheme) }),
        }
    }
}

fn sqlite(rest: &str) -> Result<Location, StoreError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path == ":memory:" {
        return Ok(Location::SqliteMemory);
    }
    if path.is_empty() {
        return Err(bad("no path after `sqlite:`; write for example sqlite:tagwarden.db"));
    }
    if path.contains(['?', '\0']) {
        return Err(bad("a SQLite store is `sqlite:PATH`, without `?` and options"));
    }
    Ok(Location::SqliteFile(path.into()))
}

fn postgres(url: &str, rest: &str) -> Result<Location, StoreError> {
    // With one of these unescaped in the password, part of it would be taken for the host or the database, and shown.
    let after_host =
        rest.trim_start_matches('/').find(['/', '?', '#']).map(|at| &rest.trim_start_matches('/')[at..]);
    if rest.matches('@').count() > 1 || after_host.is_some_and(|text| text.contains(['@', '#'])) {
        return Err(bad(
            "in the user, the password and the database name, write @ as %40, / as %2F, ? as %3F and # as %23",
        ));
    }
    let parsed: AnyConnectOptions = url
        .parse()
        .map_err(|_| bad("it does not have the form postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    let parsed = parsed.database_url;
    let host = parsed.host_str().unwrap_or_default();
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(Location::Postgres { url: url.into(), shown: format!("postgres://{host}{port}{}", parsed.path()) })
}

fn bad(reason: &str) -> StoreError {
    StoreError::BadUrl { reason: reason.into() }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::SqliteMemory => formatter.write_str("sqlite::memory:"),
            Self::Postgres { shown, .. } => formatter.write_str(shown),
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
            ("postgres://[::1]/tags", "postgres://[::1]/tags"),
            ("postgres:///tags?host=/run/postgresql", "postgres:///tags"),
        ] {
            assert_eq!(Location::parse(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_without_a_word_of_the_password() {
        for url in [
            "",
            "tags.db",
            "mysql://me:secret@db/tags",
            "me@secret:x",
            "Sqlite:secret",
            "sqlite:",
            "sqlite://",
            "sqlite:secret.db?mode=ro",
            "postgres://me:p@secret@db/tags",
            "postgres://me:p@db/secret@tags",
            "postgres://me:12/secret@db/tags",
            "postgres://me:12?secret@db/tags",
            "postgres://me:p@secret#word",
            "postgres://me:secret",
            "postgres://me:secret@db:port/tags",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(
                !error.to_string().contains("secret") && !format!("{error:?}").contains("secret"),
                "{url}: {error}"
            );
        }
    }
}
