//! Child processes that never outlive their parent.
//!
//! A test process may be killed at any moment, and Rust's statics are never dropped. So every child runs under
//! a small shell that waits for the end of its own standard input, a pipe whose other end only this process
//! holds, and then signals the child.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command until it ends or standard input does; then the command gets a signal, and its directory goes.
/// The arguments are the signal, the directory and the command.
const WATCH: &str = r#"
directory=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ cat <&3 >/dev/null; : >"$directory/leaving"; kill -"$0" "$child" 2>/dev/null; } &
watch=$!
wait "$child"
status=$?
if [ -e "$directory/leaving" ]; then rm -rf -- "$directory"; else kill "$watch" 2>/dev/null; fi
exit "$status"
"#;

/// How long a child may take to leave after its signal.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// A child process that ends when this value is dropped, and when this process ends.
#[derive(Debug)]
pub(crate) struct Guarded {
    watcher: Child,
}

impl Guarded {
    /// Starts a prepared command under the watching shell. `signal` (`TERM`, `INT` …) asks it to leave.
    /// The environment and the working directory of `command` are kept; what it prints goes to `log` in
    /// `directory`, which is removed at the end, because a static value of this process never is.
    pub(crate) fn spawn(command: &Command, signal: &str, directory: &Path) -> io::Result<Self> {
        let output = std::fs::File::create(directory.join("log"))?;
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(WATCH)
            .arg(signal)
            .arg(directory)
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        let watcher = shell
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Its own group: Ctrl-C in a terminal reaches us, and we take the children down in order.
            .process_group(0)
            .spawn()?;
        Ok(Self { watcher })
    }

    /// Whether the child has ended on its own.
    pub(crate) fn ended(&mut self) -> bool {
        matches!(self.watcher.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let deadline = Instant::now() + LEAVE_WITHIN;
        while Instant::now() < deadline {
            match self.watcher.try_wait() {
                Ok(None) => std::thread::park_timeout(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let group = format!("-{}", self.watcher.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.watcher.wait();
    }
}

/// Calls `probe` until it gives something, for at most `within`.
pub(crate) fn wait_for<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The first of these programs that exists in `PATH` or in one of the `extra` directories.
pub(crate) fn find_program(name: &str, extra: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    extra
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// The last lines that a child in this directory printed, for error messages.
pub(crate) fn tail(directory: &Path) -> String {
    let text = std::fs::read(directory.join("log"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone_and_so_is_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/pid\"; exec sleep 1000"]).arg(directory.path());
        let mut child = Guarded::spawn(&command, "TERM", directory.path()).unwrap();
        let read =
            || std::fs::read_to_string(directory.path().join("pid")).ok().filter(|pid| pid.ends_with('\n'));
        let pid = wait_for(LEAVE_WITHIN, read).unwrap();
        assert!(!child.ended());
        drop(child);
        assert!(!directory.path().exists());
        let alive = Command::new("kill").args(["-0", pid.trim()]).output().unwrap();
        assert!(!alive.status.success(), "{pid} is still there");
    }

    #[test]
    fn a_child_that_fails_is_noticed_and_leaves_its_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out of luck >&2; exit 3"]);
        let mut child = Guarded::spawn(&command, "TERM", directory.path()).unwrap();
        assert_eq!(wait_for(LEAVE_WITHIN, || child.ended().then_some(())), Some(()));
        drop(child);
        assert_eq!(tail(directory.path()), "out of luck");
    }
}
