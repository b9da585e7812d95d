//! A real PostgreSQL of this process's own, on loopback, empty, and gone when dropped.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Guarded, find_program, tail, wait_for};
use crate::packages::{id, install, is_root};

const START_WITHIN: Duration = Duration::from_mins(1);
/// Another process may take the free port first; then the next one is tried.
const PORTS_TO_TRY: u32 = 5;

/// Why PostgreSQL could not be installed or started.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The server is not there and cannot be installed.
    #[error(
        "`initdb` and `postgres` are neither in PATH nor below /usr/lib/postgresql: install the package postgresql ({0})"
    )]
    Missing(String),
    /// PostgreSQL does not run as root, and no other user is known.
    #[error("PostgreSQL refuses to run as root, and neither user `postgres` nor `nobody` exists to run it")]
    NoUser,
    /// A program failed.
    #[error("`{program}` failed: {output}")]
    Failed {
        /// Which.
        program: String,
        /// What it said.
        output: String,
    },
    /// Files or processes.
    #[error("{what} could not be used")]
    Io {
        /// The file or program.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not come up.
    #[error("PostgreSQL did not answer within {START_WITHIN:?}; the end of its log:\n{0}")]
    NotUp(String),
}

/// A running server. It ends with this value, and with this process.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    programs: Programs,
    names: Mutex<u32>,
    // Ends the server before its directory goes.
    _server: Guarded,
    _directory: TempDir,
}

impl Postgres {
    /// Starts an empty server; installs PostgreSQL first where that is needed and possible.
    pub fn start() -> Result<Self, PostgresError> {
        let programs = Programs::find()?;
        let directory =
            tempfile::Builder::new().prefix("tagwarden-postgres-").tempdir().map_err(at("a directory"))?;
        let data = directory.path().join("data");
        std::fs::create_dir(&data).map_err(at("the data directory"))?;
        programs.give(directory.path())?;
        programs.give(&data)?;
        let initdb = programs.run("initdb", |command| {
            command.args([
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ]);
            command.arg("--pgdata").arg(&data);
        })?;
        succeeded("initdb", &initdb)?;
        let mut last = PostgresError::NotUp(String::new());
        for _ in 0..PORTS_TO_TRY {
            let port = free_port()?;
            match serve(&programs, directory.path(), &data, port) {
                Ok(server) => {
                    return Ok(Self {
                        port,
                        programs,
                        names: Mutex::new(0),
                        _server: server,
                        _directory: directory,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The URL of the database `postgres`, as its superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes an empty database that nothing else uses, and gives its URL.
    pub fn fresh_database(&self) -> Result<String, PostgresError> {
        let name = {
            let mut number = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *number += 1;
            format!("test_{number}")
        };
        let made = self.programs.run("psql", |command| {
            command.args(["--no-psqlrc", "--quiet", "--dbname", &self.url(), "--command"]);
            command.arg(format!("CREATE DATABASE {name}"));
        })?;
        succeeded("psql", &made)?;
        Ok(self.url_of(&name))
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

fn serve(programs: &Programs, directory: &Path, data: &Path, port: u16) -> Result<Guarded, PostgresError> {
    let mut command = programs.command("postgres");
    command.arg("-D").arg(data).arg("-p").arg(port.to_string()).arg("-k").arg(directory);
    for setting in [
        "listen_addresses=127.0.0.1",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=100",
    ] {
        command.arg("-c").arg(setting);
    }
    let mut server = Guarded::spawn(&command, "INT", directory).map_err(at("postgres"))?;
    let up = wait_for(START_WITHIN, || {
        let ready = std::fs::read_to_string(directory.join("log"))
            .is_ok_and(|log| log.contains("ready to accept connections"));
        if ready && TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(true);
        }
        server.ended().then_some(false)
    });
    if up == Some(true) { Ok(server) } else { Err(PostgresError::NotUp(tail(directory))) }
}

fn free_port() -> Result<u16, PostgresError> {
    let socket = TcpListener::bind("127.0.0.1:0").map_err(at("a loopback port"))?;
    Ok(socket.local_addr().map_err(at("a loopback port"))?.port())
}

/// Where the programs are, and whom they run as.
#[derive(Debug)]
struct Programs {
    directories: Vec<PathBuf>,
    /// Set where this process is root.
    user: Option<&'static str>,
}

impl Programs {
    fn find() -> Result<Self, PostgresError> {
        let user = if is_root() { Some(other_user()?) } else { None };
        let mut found = Self { directories: version_directories(), user };
        if !found.complete() {
            install("postgresql").map_err(PostgresError::Missing)?;
            found.directories = version_directories();
        }
        if found.complete() {
            Ok(found)
        } else {
            Err(PostgresError::Missing("it is installed, and they are not there".to_owned()))
        }
    }

    fn complete(&self) -> bool {
        ["initdb", "postgres", "psql"].iter().all(|name| find_program(name, &self.directories).is_some())
    }

    fn command(&self, name: &str) -> Command {
        let program = find_program(name, &self.directories).unwrap_or_else(|| name.into());
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", user, "--regid"])
                    .arg(group_of(user))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
        };
        command.current_dir("/").env("LC_ALL", "C").env_remove("PGDATA").env_remove("PGPORT");
        command
    }

    fn run(&self, name: &str, arguments: impl FnOnce(&mut Command)) -> Result<Output, PostgresError> {
        let mut command = self.command(name);
        arguments(&mut command);
        command.output().map_err(at(name))
    }

    /// Makes a directory usable for the user that the server runs as.
    fn give(&self, directory: &Path) -> Result<(), PostgresError> {
        let Some(user) = self.user else { return Ok(()) };
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(directory, mode).map_err(at("the data directory"))?;
        let given = Command::new("chown").arg(user).arg(directory).output().map_err(at("chown"))?;
        succeeded("chown", &given)
    }
}

/// The newest version first.
fn version_directories() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, directory)| directory.join("initdb").is_file())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, directory)| directory).collect()
}

fn other_user() -> Result<&'static str, PostgresError> {
    ["postgres", "nobody"].into_iter().find(|user| id(&["-u", user]).is_some()).ok_or(PostgresError::NoUser)
}

fn group_of(user: &str) -> String {
    id(&["-g", user]).unwrap_or_else(|| "65534".to_owned())
}

fn succeeded(program: &str, output: &Output) -> Result<(), PostgresError> {
    if output.status.success() {
        return Ok(());
    }
    Err(PostgresError::Failed { program: program.to_owned(), output: text_of(output) })
}

fn text_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim().chars().take(2000).collect()
}

fn at(what: &str) -> impl FnOnce(io::Error) -> PostgresError + use<> {
    let what = what.to_owned();
    move |source| PostgresError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_database_answers() {
        let server = Postgres::start().unwrap();
        let (one, other) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
        assert_ne!(one, other);
        let answer = server.programs.run("psql", |command| {
            command.args(["--no-psqlrc", "--tuples-only", "--dbname", &other, "--command", "SELECT 6 * 7"]);
        });
        assert_eq!(String::from_utf8_lossy(&answer.unwrap().stdout).trim(), "42");
    }
}
