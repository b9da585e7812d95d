//! `tagwarden mcp` as a client starts it: how long from its start to its first answer.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::bed::stub::Stub;
use crate::bed::{Outcome, in_aws};
use crate::times::Times;

/// Starts it so often: an odd number, for the median.
const STARTS: usize = 21;

/// Times from exec to the answer to `initialize`: with a store that has to be made first, and with one that is there.
pub fn measure(stub: &Stub, directory: &Path) -> Outcome<(Times, Times)> {
    let (mut new, mut known) = (Times::default(), Times::default());
    for number in 0..STARTS {
        let store = directory.join(format!("stdio-{number}.db"));
        new.push(start(stub, directory, &store)?);
        known.push(start(stub, directory, &store)?);
    }
    Ok((new, known))
}

fn start(stub: &Stub, directory: &Path, store: &Path) -> Outcome<std::time::Duration> {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"},
    }});
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    in_aws(&mut command, stub, directory)
        .args(["mcp", "--control-plane", "embedded", "--log-level", "error", "--store"])
        .arg(format!("sqlite:{}", store.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let began = Instant::now();
    let mut child = command.spawn()?;
    let mut line = String::new();
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let said = input.ok_or("no input").and_then(|mut input| {
        writeln!(input, "{hello}").map_err(|_| "it does not listen")?;
        BufReader::new(output.ok_or("no output")?).read_line(&mut line).map_err(|_| "it does not speak")?;
        Ok(began.elapsed())
    });
    // Its input is closed by now, which is how a client takes its leave.
    let status = child.wait()?;
    let answer: Value = serde_json::from_str(&line)?;
    if !status.success() || answer["result"]["serverInfo"]["name"] != "tagwarden" {
        return Err(format!("{status}, after it answered: {line}").into());
    }
    Ok(said?)
}
