//! The tools for agents at `/mcp`: behind the same gate as everything else.

use serde_json::json;
use tagwarden_app::ask::ports::AuditRows as _;
use tagwarden_store::Store;
use tagwarden_testbed::{MCP_MODES, Testbed, mcp_session_at};

use super::*;
use crate::cloud::Cloud;
use crate::mcp::{everything_is_answered, everything_to_ask};
use crate::program::OWNER_REQUIRED;

const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2025-11-25"),
];

/// One request of the protocol, by a client that keeps no session.
pub(super) fn ask(client: &Client, headers: &[(&str, &str)], method: &str, params: &Value) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    client.send("POST /mcp", &[HEADERS, headers].concat(), &body)
}

/// A call of a tool.
pub(super) fn call(client: &Client, tool: &str, arguments: &Value) -> Answer {
    ask(client, &[], "tools/call", &json!({"name": tool, "arguments": arguments}))
}

impl Answer {
    /// What a tool answered.
    #[track_caller]
    pub(super) fn content(&self) -> Value {
        let result = &self.json()["result"];
        assert!(self.status == 200 && result["isError"] != true, "{self:?}");
        result["structuredContent"].clone()
    }

    /// The error that a tool answered with; nothing where it answered.
    #[track_caller]
    pub(super) fn error(&self) -> Option<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        let result = &self.json()["result"];
        let text = result["content"][0]["text"].as_str().filter(|_| result["isError"] == true)?;
        let error: Value = serde_json::from_str(text).unwrap();
        for field in ["code", "message", "fix"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        }
        Some(error)
    }

    /// `ok`, or the code of the error that a tool answered with.
    #[track_caller]
    pub(super) fn code(&self) -> String {
        self.error().map_or_else(|| "ok".to_owned(), |error| error["code"].as_str().unwrap().to_owned())
    }
}

#[test]
fn every_tool_answers_over_http_as_over_standard_input() {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account();
    let setup = guarded().behind_as(&proxy, &account).file("manifests/owner.yaml", OWNER_REQUIRED);
    let controller = setup.args(["--mcp-same-calls", "100"]).with_manifests();
    controller.logs(&["manifests applied"]);
    controller.readiness(200);
    let url = format!("http://{}/mcp", controller.address("listen"));
    let made = key(controller.directory(), &["--scope", "audit:write"]);
    let steps = everything_to_ask(&Cloud::of(&proxy, &account), &account);
    for mode in MCP_MODES {
        everything_is_answered(&mcp_session_at(&url, &made, mode, &steps).0, mode);
    }
    controller.stop();
}

#[test]
fn agents_come_in_by_the_same_door() {
    let controller = guarded().start();
    controller.readiness(200);
    let made = key(controller.directory(), &["--tenant", "acme"]);
    let client = Client::new(&controller, &made);
    let list = ask(&client, &[], "tools/list", &json!({}));
    assert_eq!(list.status, 200, "{list:?}");
    assert!(list.text.contains("list_audits"), "{list:?}");

    let call = json!({"name": "list_audits", "arguments": {}});
    let answer = ask(&client, &[("x-request-id", "from-me")], "tools/call", &call);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.json()["result"]["isError"], true, "{answer:?}");
    let page = ask(&client, &[("origin", "http://localhost:6274")], "tools/call", &call);
    assert_eq!(page.status, 200, "a page of this machine may ask: {page:?}");
    assert!(page.head.contains("access-control-allow-origin: http://localhost:6274"), "{page:?}");
    ask(&client, &[("origin", "https://evil.example")], "tools/call", &call).is(403, "origin_not_allowed");
    ask(&client.with(""), &[], "tools/list", &json!({})).is(401, "unauthorized");

    let url = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let rows = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { Store::open(&url).await.unwrap().newest("acme", 10).await.unwrap() });
    let told = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(
        told.starts_with("from-me.") && rows.iter().any(|row| row.correlation_id == told),
        "{told}: {rows:?}"
    );
    let rows: Vec<_> = rows.iter().map(|row| (row.channel, row.operation.as_str())).collect();
    assert_eq!(
        rows,
        [("mcp", "list_audits"), ("mcp", "list_audits")],
        "one row for each call, and one alone"
    );

    assert_eq!(keys(controller.directory(), &["revoke", id(&made)]).status, Some(0));
    client.until("/v1/audits", |answer| answer.status == 401);
    ask(&client, &[], "tools/list", &json!({})).is(401, "invalid_token");
    controller.stop();
}
