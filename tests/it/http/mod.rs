//! `tagwarden run --listen`: who comes in, what they see, and what a client can do to it.

mod agents;
mod bridge;
mod document;
mod door;
mod fuzz;
mod guardrails;
mod health;
mod keys;
mod mcp;
mod record;
mod tenants;
mod tls;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::controller::{Controller, Setup};
use crate::program::Program;

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(3);

/// Between two looks at something that does not call.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a server answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    text: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Self { status, head: head.to_lowercase(), text: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.json()["message"].is_string() && self.json()["fix"].is_string(), "{self:?}");
    }
}

/// A server, and what a client says to it by default.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    key: String,
}

impl Client {
    fn new(controller: &Controller, key: &str) -> Self {
        Self { address: controller.address("listen"), key: key.to_owned() }
    }

    fn with(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// One request on a connection of its own.
    fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str("host: localhost\r\n");
        }
        if !self.key.is_empty() {
            let _ = write!(text, "authorization: Bearer {}\r\n", self.key);
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        // A server that refuses does not read to the end.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::of(&answer)
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[], "")
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path}"), &[], body)
    }

    /// Asks again and again until the answer is so.
    #[track_caller]
    fn until(&self, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + WITHIN;
        loop {
            let answer = self.get(path);
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {answer:?}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }
}

/// A server that asks for keys, with its store in its directory.
fn guarded() -> Setup {
    Setup::new().args(["--auth", "keys", "--tenant-rate", "10000", "--address-rate", "10000"])
}

/// `tagwarden keys` with the store of a controller.
fn keys(directory: &Path, arguments: &[&str]) -> crate::program::Ended {
    let store = format!("sqlite:{}", directory.join("tagwarden.db").display());
    Program::alone().args(["keys"]).args(arguments).args(["--store", &store]).run()
}

/// A new key.
#[track_caller]
fn key(directory: &Path, arguments: &[&str]) -> String {
    let made = keys(directory, &[&["create"], arguments].concat());
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    made.stdout.trim().to_owned()
}

/// The part of a key that may be told.
fn id(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}
