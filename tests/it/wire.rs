//! A client of MCP that says exactly what a test wants said, line by line, and hears everything in its order.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagwarden_app::ask::ports::{AuditRow, AuditRows};
use tagwarden_store::Store;

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);

/// Between two looks at something that does not call.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How clients of a version say which one they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Once, at the start.
    Initialized,
    /// In every request.
    Stateless,
}

/// Both of them.
pub const ERAS: [Era; 2] = [Era::Initialized, Era::Stateless];

/// A server on standard input and output. It is killed with this value.
pub struct Wire {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    era: Era,
    asked: u64,
}

impl Wire {
    /// Starts the server, and does what clients of this era do first.
    pub fn start(command: &mut Command, era: Era) -> Self {
        let mut wire = Self::silent(command, era);
        if era == Era::Initialized {
            let hello = json!({
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
            });
            let id = wire.ask("initialize", hello);
            let answer = wire.answer(id);
            assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
            wire.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        }
        wire
    }

    /// Starts the server, and says nothing yet.
    pub fn silent(command: &mut Command, era: Era) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, lines, era, asked: 0 }
    }

    /// Says this.
    pub fn say(&mut self, message: &Value) {
        self.line(&message.to_string());
    }

    /// Says this, whatever it is.
    pub fn line(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Asks, and gives the id of the request.
    pub fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.asked += 1;
        if self.era == Era::Stateless {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        self.say(&json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params}));
        self.asked
    }

    /// Calls a tool. It is told how far the call is, under the id of the request.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> u64 {
        let token = self.asked + 1;
        self.ask(
            "tools/call",
            json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": token}}),
        )
    }

    /// Takes a request back.
    pub fn cancel(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "not needed any more"});
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    }

    /// The next line that the server says.
    #[track_caller]
    pub fn heard(&self) -> String {
        self.lines.recv_timeout(WITHIN).expect("the server says something")
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> Value {
        let line = self.heard();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The answer to this request, which must be the next, but for notifications.
    #[track_caller]
    pub fn answer(&self, id: u64) -> Value {
        self.answer_with_progress(id).0
    }

    /// The same, with how far the call was now and then.
    #[track_caller]
    pub fn answer_with_progress(&self, id: u64) -> (Value, Vec<Value>) {
        let mut progress = Vec::new();
        loop {
            let message = self.next();
            if message["method"] == "notifications/progress" {
                assert_eq!(message["params"]["progressToken"], id, "{message}");
                progress.push(message["params"].clone());
                continue;
            }
            assert_eq!(message["id"], id, "{message}");
            return (message, progress);
        }
    }

    /// Calls a tool that answers as it should.
    #[track_caller]
    pub fn called(&mut self, tool: &str, arguments: &Value) -> Value {
        let id = self.call(tool, arguments);
        let answer = self.answer(id);
        assert!(answer["result"]["structuredContent"].is_object(), "{tool}: {answer}");
        answer["result"]["structuredContent"].clone()
    }

    /// Says nothing any more, and still listens.
    pub fn hang_up(&mut self) {
        drop(self.input.take());
    }

    /// Says nothing any more. Gives the exit status, and what the log says.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        self.hang_up();
        let deadline = Instant::now() + WITHIN;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the program does not end");
            std::thread::park_timeout(LOOK_AGAIN);
        }
        let mut log = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut log);
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The record of calls of a tenant in a store, the newest first.
pub fn record(store: &str, tenant: &str) -> Vec<AuditRow> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Store::open(store).await.unwrap().newest(tenant, 1000).await.unwrap() })
}

/// Waits until something is there.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
