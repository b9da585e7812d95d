//! A PostgreSQL of our own on loopback, one for all tests of this process, gone when the process is.
//!
//! `TAGWARDEN_TEST_POSTGRES` names a server to use instead: `postgres://USER:PASSWORD@127.0.0.1:PORT/postgres`, with
//! the right to create databases.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

pub(crate) const PASSWORD: &str = "s3cret w@rd/?#";
const PASSWORD_IN_URL: &str = "s3cret%20w%40rd%2F%3F%23";

/// Ends when its standard input does, so with this process, however that ends.
const SCRIPT: &str = r#"
set -e
cleanup() { rm -rf "$DATA"; }
trap cleanup EXIT
cd "$DATA"
"$BIN/initdb" -D "$DATA/db" -U tagwarden -A scram-sha-256 --pwfile="$DATA/password" -E UTF8 --no-sync >"$DATA/initdb.log" 2>&1 \
    || { cat "$DATA/initdb.log"; exit 1; }
"$BIN/postgres" -D "$DATA/db" -p "$PORT" -k "$DATA" -c listen_addresses=127.0.0.1 \
    -c fsync=off -c max_connections=200 2>&1 </dev/null &
server=$!
read -r _ || true
kill -INT "$server"
wait "$server" || true
"#;

struct Server {
    url: String,
    /// Closed by the operating system when this process ends.
    _leash: Option<ChildStdin>,
}

/// The server, with the right to create databases in it.
pub(crate) fn url() -> &'static str {
    static SERVER: LazyLock<Server> = LazyLock::new(|| match std::env::var("TAGWARDEN_TEST_POSTGRES") {
        Ok(url) => Server { url, _leash: None },
        Err(_) => start(),
    });
    &SERVER.url
}

fn start() -> Server {
    let binaries = binaries().expect(
        "these tests need a PostgreSQL server: install it (`apt-get install postgresql`), or set \
         TAGWARDEN_TEST_POSTGRES=postgres://USER:PASSWORD@127.0.0.1:PORT/postgres",
    );
    // The script removes it: by the time this process ends, nobody here could.
    let data = tempfile::Builder::new().prefix("tagwarden-postgres-").tempdir().unwrap().keep();
    fs::File::create(data.join("password")).unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let mut child = unprivileged(&data)
        .env("BIN", binaries)
        .env("DATA", &data)
        .env("PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let leash = child.stdin.take();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (ready, readiness) = mpsc::channel();
    std::thread::spawn(move || {
        let mut log = String::new();
        for line in output.lines().map_while(Result::ok) {
            if line.contains("ready to accept connections") {
                let _ = ready.send(Ok(()));
            } else if log.len() < 10_000 {
                log += &(line + "\n");
            }
        }
        let _ = child.wait();
        let _ = ready.send(Err(log));
    });
    match readiness.recv_timeout(Duration::from_mins(2)) {
        Ok(Ok(())) => {}
        Ok(Err(log)) => panic!("PostgreSQL did not start: {log}"),
        Err(error) => panic!("PostgreSQL did not start within two minutes: {error}"),
    }
    Server { url: format!("postgres://tagwarden:{PASSWORD_IN_URL}@127.0.0.1:{port}/postgres"), _leash: leash }
}

/// The directory of the newest server found.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort_by_key(|bin| version(bin));
    std::env::split_paths(&path)
        .chain(packaged.into_iter().rev())
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

fn version(bin: &Path) -> Option<u32> {
    bin.parent()?.file_name()?.to_str()?.parse().ok()
}

/// The script as somebody who is not root, whom PostgreSQL refuses.
fn unprivileged(data: &Path) -> Command {
    use std::os::unix::fs::{MetadataExt, chown};
    let mut command = if fs::metadata(data).unwrap().uid() == 0 {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let (uid, gid) = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| ids(&users, name))
            .expect("root cannot run PostgreSQL, and there is no user `postgres` or `nobody` to run it as");
        for path in [data.to_owned(), data.join("password")] {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".into(),
            "sh".into(),
        ]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", SCRIPT]);
    command
}

fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}
