//! The official Python SDK of MCP, as a client of what is tested.

use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::chain;
use crate::python;

const REQUIREMENTS: &str = include_str!("../mcp/requirements.txt");

/// Which era of the protocol the client speaks.
pub const MODES: [&str; 3] = ["legacy", "2026-07-28", "auto"];

/// Starts this command as a server on standard input and output, lets the SDK do these steps with it, and gives what came
/// of each, and the progress that was told.
#[track_caller]
pub fn mcp_session(server: &Command, mode: &str, steps: &Value) -> (Vec<Value>, Vec<Value>) {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let env: serde_json::Map<String, Value> =
        server.get_envs().filter_map(|(name, value)| Some((text(name), text(value?).into()))).collect();
    session(&json!({
        "command": text(server.get_program()),
        "args": server.get_args().map(text).collect::<Vec<_>>(),
        "env": env,
        "cwd": server.get_current_dir().expect("the server has a directory"),
        "mode": mode,
        "steps": steps,
    }))
}

/// The same with a server that runs, at this URL and with this key.
#[track_caller]
pub fn mcp_session_at(url: &str, key: &str, mode: &str, steps: &Value) -> (Vec<Value>, Vec<Value>) {
    session(&json!({"url": url, "key": key, "mode": mode, "steps": steps}))
}

#[track_caller]
fn session(task: &Value) -> (Vec<Value>, Vec<Value>) {
    let mut log = tempfile::tempfile().expect("the log can be made");
    let mut child = Command::new(interpreter())
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../mcp/session.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().expect("the log is a file"))
        .spawn()
        .expect("the interpreter starts");
    let mut input = child.stdin.take().expect("its input is piped");
    input.write_all(task.to_string().as_bytes()).expect("it reads its task");
    drop(input);
    let output = child.wait_with_output().expect("the session ends");
    let mut said = String::new();
    let _ = log.rewind().and_then(|()| log.read_to_string(&mut said));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}\n{said}", task["mode"], String::from_utf8_lossy(&output.stdout))
    });
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    (list("answers"), list("progress"))
}

fn interpreter() -> &'static PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        python::installed("mcp", REQUIREMENTS).unwrap_or_else(|error| panic!("{}", chain(&error)))
    })
}
