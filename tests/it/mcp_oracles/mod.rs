//! What others say of the MCP server: the official conformance suites, the Inspector, a bridge, and the packer of bundles.
//!
//! All of them are pinned in `tests/mcp-node`. What they judge is the program itself, and [`fixture`]: a handler with what
//! the suites look for, on the program's own gate and transport.

mod bundle;
mod clients;
mod conformance;
mod fixture;
pub mod page;

use serde_json::{Value, json};

use crate::controller::{Controller, Setup};
use crate::program::Program;

/// A server that asks for keys, and a key.
fn guarded() -> (Controller, String) {
    let controller = Setup::new().args(["--auth", "keys"]).with_manifests();
    controller.readiness(200);
    let store = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let made = Program::alone().args(["keys", "create", "--tenant", "default", "--store", &store]).run();
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    (controller, made.stdout.trim().to_owned())
}

/// What a client does to see whether it has reached the server.
fn first_steps() -> Value {
    json!([
        {"do": "instructions"},
        {"do": "tools"},
        {"do": "call", "name": "list_audits", "arguments": {}},
    ])
}

/// The answers to the first steps.
#[track_caller]
fn has_reached(answers: &[Value]) {
    assert!(answers[0]["instructions"].as_str().unwrap().contains("data_quality"), "{answers:#?}");
    assert!(answers[1]["tools"].as_array().unwrap().len() > 10, "{answers:#?}");
    assert_eq!(answers[2]["structuredContent"]["total"], 0, "{answers:#?}");
}
