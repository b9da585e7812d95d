//! Runs the real program as a user would, and reads what it printed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tagwarden_testbed::manifests::{NamedAccount, client_accounts};
use tagwarden_testbed::{Account, Proxy};
use tempfile::TempDir;

/// Far longer than any run takes on a slow machine. A program that hangs is ended, and the test fails.
const RUN_WITHIN: Duration = Duration::from_mins(5);

/// What `policy` requires of every type.
pub const OWNER_REQUIRED: &str = "
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {name: owner}
spec:
  requiredTags:
    - key: Owner
";

/// One run of the program, not started yet: what it talks to, and a directory for its files.
pub struct Program {
    command: Command,
    directory: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// The program, talking to this proxy with the caller's own account.
    pub fn behind(proxy: &Proxy) -> Self {
        Self::new(|command| {
            proxy.equip(command);
        })
    }

    /// The same, with this account as the caller's own.
    pub fn inside(proxy: &Proxy, account: &Account) -> Self {
        Self::new(|command| {
            proxy.equip_as(account, command);
        })
    }

    /// The program on its own: what it needs AWS for will fail.
    pub fn alone() -> Self {
        Self::new(|command| {
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("AWS_") {
                    command.env_remove(name);
                }
            }
        })
    }

    fn new(equip: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        equip(&mut command);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TAGWARDEN_") {
                command.env_remove(name);
            }
        }
        command.current_dir(directory.path()).env("HOME", directory.path());
        Self { command, directory }
    }

    /// Where it runs. Relative paths in its arguments lead here; it goes with this value.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file for it.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Adds arguments.
    pub fn args<Arg: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = Arg>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away.
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// `--policy` with this text.
    pub fn policy(self, text: &str) -> Self {
        self.file("policy.yaml", text);
        self.args(["--policy", "policy.yaml"])
    }

    /// `--accounts` with a manifest for each of these.
    pub fn accounts(self, accounts: &[&Account]) -> Self {
        let names: Vec<String> = (1..=accounts.len()).map(|number| format!("account-{number}")).collect();
        let manifests: Vec<_> = names
            .iter()
            .zip(accounts)
            .map(|(name, account)| NamedAccount { name, labels: &[], account })
            .collect();
        self.file("accounts.yaml", client_accounts(&manifests));
        self.args(["--accounts", "accounts.yaml"])
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> Ended {
        self.start().end()
    }

    /// Starts it.
    pub fn start(&mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
        Running { child, stdout, stderr }
    }
}

/// One run of the program, under way. Ends with this value.
pub struct Running {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Running {
    /// What Ctrl-C does.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the program was gone already");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let printed = self.stdout.recv_timeout(RUN_WITHIN);
        let told = self.stderr.recv_timeout(RUN_WITHIN);
        let (Ok(stdout), Ok(stderr)) = (printed, told) else {
            panic!("the program did not end within {RUN_WITHIN:?}");
        };
        Ended { status: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, besides whatever else is done.
fn read(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

impl Ended {
    /// The JSON report of a run that succeeded.
    #[track_caller]
    pub fn report(&self) -> Report {
        assert_eq!(self.status, Some(0), "stderr: {}\nstdout: {}", self.stderr, self.stdout);
        self.document()
    }

    /// The JSON report, whatever the exit status.
    #[track_caller]
    pub fn document(&self) -> Report {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => Report(value),
            Err(error) => panic!("{error}: {}\nstderr: {}", self.stdout, self.stderr),
        }
    }
}

/// A `ScanReport` as printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Report(pub Value);

impl Report {
    /// Whether everything in scope was seen.
    pub fn complete(&self) -> bool {
        self.0["complete"].as_bool().expect("`complete` is a boolean")
    }

    /// A counter of the summary.
    #[track_caller]
    pub fn summary(&self, counter: &str) -> u64 {
        self.0["summary"][counter].as_u64().unwrap_or_else(|| panic!("no {counter} in {}", self.0["summary"]))
    }

    /// The coverage of one region and type; `*` and `global` are regions, too. There must be exactly one.
    #[track_caller]
    pub fn cell(&self, account: &str, region: &str, resource_type: &str) -> Cell {
        let found: Vec<Cell> = self
            .cells()
            .into_iter()
            .filter(|cell| {
                cell.account == account && cell.region == region && cell.resource_type == resource_type
            })
            .collect();
        match <[Cell; 1]>::try_from(found) {
            Ok([cell]) => cell,
            Err(found) => {
                panic!(
                    "{} cells for {account} {region} {resource_type} in {:#}",
                    found.len(),
                    self.0["coverage"]
                )
            }
        }
    }

    /// The whole coverage.
    pub fn cells(&self) -> Vec<Cell> {
        let cells = self.0["coverage"].as_array().expect("`coverage` is a list");
        cells.iter().map(Cell::from).collect()
    }

    /// The violations that a predicate picks.
    pub fn violations(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let rows = self.0["violations"].as_array().expect("`violations` is a list");
        rows.iter().filter(|row| wanted(row)).cloned().collect()
    }

    /// The ARNs of all violations, sorted, each once.
    pub fn violating_arns(&self) -> Vec<String> {
        let mut arns: Vec<String> =
            self.violations(|_| true).iter().map(|row| row["arn"].as_str().unwrap().to_owned()).collect();
        arns.sort();
        arns.dedup();
        arns
    }
}

/// One row of the coverage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub account: String,
    pub region: String,
    pub resource_type: String,
    pub state: String,
    pub resources: u64,
    /// Empty where there is none.
    pub cause: String,
}

impl From<&Value> for Cell {
    fn from(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            account: text("accountId"),
            region: text("region"),
            resource_type: text("resourceType"),
            state: text("state"),
            resources: value["resources"].as_u64().expect("`resources` is a number"),
            cause: text("cause"),
        }
    }
}
