//! The record of calls: one row for each, whatever came of it and however it ended, over both databases; and nothing
//! secret in rows, logs and errors.

use std::collections::BTreeMap;

use serde_json::json;
use tagwarden_app::ask::ports::{AuditRow, AuditRows as _};
use tagwarden_store::Store;
use tagwarden_testbed::{AMBIENT_ACCOUNT, Fault, Proxy, Rule, Testbed, postgres};

use super::mcp::{ask, call};
use super::*;
use crate::site::HERE;

/// Calls of a key in an hour.
const BUDGET: usize = 9;

/// A server of one tenant, which may look at the account of the server itself.
struct Desk {
    controller: Controller,
    proxy: Proxy,
    store: String,
    anyone: Client,
}

impl Desk {
    fn on(store: Option<String>) -> Self {
        let proxy = Testbed::shared().proxy();
        let mut setup = guarded().behind(&proxy).args(["--mcp-calls-per-hour", &BUDGET.to_string()]);
        let file = setup.directory().join("tagwarden.db");
        if let Some(url) = &store {
            setup = setup.args(["--store", url]);
        }
        let controller = setup.start();
        controller.readiness(200);
        let store = store.unwrap_or_else(|| format!("sqlite:{}", file.display()));
        let anyone = Client::new(&controller, "");
        Self { controller, proxy, store, anyone }
    }

    /// A client with a key of its own.
    fn client(&self, scope: &str) -> Client {
        let made = Program::alone().args(["keys", "create", "--scope", scope, "--store", &self.store]).run();
        assert_eq!(made.status, Some(0), "{}", made.stderr);
        self.anyone.with(made.stdout.trim())
    }

    fn revoke(&self, client: &Client) {
        let ended = Program::alone().args(["keys", "revoke", id(&client.key), "--store", &self.store]).run();
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    }

    fn rows(&self) -> Vec<AuditRow> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = Store::open(&self.store).await.unwrap();
            store.newest("default", 1000).await.unwrap()
        })
    }

    /// The row of the call of this name, once there is one.
    #[track_caller]
    fn row(&self, operation: &str) -> AuditRow {
        self.row_that(|row| row.operation == operation)
    }

    #[track_caller]
    fn row_that(&self, holds: impl Fn(&AuditRow) -> bool) -> AuditRow {
        let deadline = Instant::now() + WITHIN;
        loop {
            let rows = self.rows();
            if let Some(row) = rows.iter().find(|row| holds(row)) {
                return row.clone();
            }
            assert!(Instant::now() < deadline, "not in the record: {rows:#?}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// A run that takes longer than anybody waits.
    fn long_run(&self, client: &Client) -> String {
        self.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_secs(40))));
        let check = json!({"resource_types": ["ec2:volume"], "regions": [HERE]});
        let started = call(client, "start_compliance_check", &check).content();
        self.looks(1);
        started["run_id"].as_str().unwrap().to_owned()
    }

    /// Waits until the cloud was asked so often for what it does not tell in time.
    #[track_caller]
    fn looks(&self, times: usize) {
        let deadline = Instant::now() + WITHIN;
        while self.proxy.count("ec2", "DescribeVolumes") < times {
            assert!(Instant::now() < deadline, "the cloud was not asked");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }
}

fn over_both(case: impl Fn(Desk)) {
    case(Desk::on(None));
    case(Desk::on(Some(Testbed::postgres().fresh_database().unwrap())));
}

/// The id that an answer tells.
fn request_id(answer: &Answer) -> String {
    let line = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    line.unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[test]
fn every_call_is_one_row_whatever_came_of_it() {
    over_both(|desk| {
        let [writer, reader, spender, guesser] =
            ["audit:write", "tag:read", "tag:read", "tag:read"].map(|scope| desk.client(scope));
        let mut made: BTreeMap<String, (&str, String, String, String)> = BTreeMap::new();
        let mut note = |client: &Client, channel, operation: &str, status: &str, answer: &Answer| {
            let row = (channel, operation.to_owned(), status.to_owned(), format!("key:{}", id(&client.key)));
            assert!(made.insert(request_id(answer), row).is_none());
        };
        let mut tool = |client: &Client, tool: &str, arguments: Value, status: &str| {
            let answer = call(client, tool, &arguments);
            assert_eq!(answer.code(), status, "{tool} {arguments}: {answer:?}");
            note(client, "mcp", tool, status, &answer);
        };
        for status in ["ok", "ok", "ok", "loop_detected"] {
            tool(&reader, "list_accounts", json!({}), status);
        }
        tool(&reader, "list_audits", json!({"dry_run": true}), "ok");
        tool(&reader, "list_audits", json!({"surprise": 1}), "invalid_input");
        tool(&reader, "list_audits", json!({"cursor": "x".repeat(2000)}), "invalid_input");
        tool(&reader, "schedule_compliance_audit", json!({}), "insufficient_scope");
        tool(&reader, "get_audit_status", json!({"audit": "none"}), "not_found");
        tool(&writer, "schedule_compliance_audit", json!({"name": "nightly"}), "conflict");
        for limit in 1..=BUDGET {
            tool(&spender, "list_audits", json!({"limit": limit}), "ok");
        }
        tool(&spender, "list_audits", json!({"limit": 100}), "budget_exhausted");
        tool(&spender, "get_run", json!({"run_id": "adhoc-none"}), "not_found");
        for number in 0..10 {
            tool(&guesser, &format!("tool_{number}"), json!({}), "unknown_tool");
        }
        tool(&guesser, "one_more", json!({}), "rate_limited");
        tool(&guesser, "list_audits", json!({}), "ok");
        let read = ask(&reader, &[], "resources/read", &json!({"uri": "tagwarden://policy/none"}));
        note(&reader, "mcp", "get_tagging_policy", "not_found", &read);
        for (line, body, operation, status) in [
            ("GET /v1/policies", "", "listPolicies", "ok"),
            ("GET /v1/policies/none", "", "getPolicy", "not_found"),
            ("GET /v1/runs?limit=0", "", "listRuns", "invalid_input"),
            ("GET /v1/runs/none/violations?format=ndjson", "", "listViolations", "not_found"),
            ("POST /v1/runs", "{", "startRun", "invalid_input"),
            ("PUT /v1/audits/x", "{}", "putAudit", "insufficient_scope"),
            ("DELETE /v1/runs", "", "unknown", "method_not_allowed"),
        ] {
            let answer = reader.send(line, &[], body);
            note(&reader, "rest", operation, status, &answer);
        }
        // Nobody in particular, or nothing that was read: refused at the door.
        desk.anyone.get("/v1/policies").is(401, "unauthorized");
        call(&reader, "list_audits", &json!({"cursor": "x".repeat(1 << 20)})).is(413, "too_large");

        let rows = desk.rows();
        let mut missing = made.clone();
        for row in &rows {
            let expected = missing.remove(&row.correlation_id);
            let found = (row.channel, row.operation.clone(), row.status.clone(), row.principal.clone());
            assert_eq!(expected, Some(found), "{row:?}");
            assert_eq!((row.arguments_digest.len(), row.tenant.as_str()), (71, "default"));
            assert!(row.duration < WITHIN && row.at.as_second() > 0, "{row:?}");
        }
        assert!(missing.is_empty(), "not in the record: {missing:#?}");
        desk.controller.stop();
    });
}

#[test]
fn a_call_whose_client_goes_or_whose_key_ends_is_over_and_in_the_record() {
    over_both(|desk| {
        let keeper = desk.client("tag:read");
        let run_id = desk.long_run(&keeper);
        let arn = format!("arn:aws:ec2:{HERE}:{AMBIENT_ACCOUNT}:volume/vol-0");
        let look = json!({"resource_arns": [arn]});

        // A key that is taken back while its calls are under way.
        let taken = desk.client("tag:read");
        assert_eq!(call(&taken, "list_audits", &json!({})).code(), "ok");
        let began = Instant::now();
        std::thread::scope(|scope| {
            let over_rest = scope.spawn(|| taken.get(&format!("/v1/runs/{run_id}?waitSeconds=25")));
            let over_mcp = scope.spawn(|| call(&taken, "validate_resource_tags", &look));
            desk.looks(2);
            desk.revoke(&taken);
            for answer in [over_mcp.join().unwrap(), over_rest.join().unwrap()] {
                answer.is(401, "invalid_token");
                assert!(answer.head.contains("error=\"invalid_token\""), "{answer:?}");
            }
        });
        assert!(began.elapsed() < Duration::from_secs(24), "{:?}", began.elapsed());
        for operation in ["validate_resource_tags", "getRun"] {
            let row = desk.row(operation);
            assert_eq!(
                (row.status.as_str(), row.principal),
                ("cancelled", format!("key:{}", id(&taken.key)))
            );
        }
        // The run is the tenant's, not the key's: it goes on.
        let run = keeper.get(&format!("/v1/runs/{run_id}")).json();
        assert_eq!(run["state"], "running", "{run}");

        // A client that goes away in the middle of its call.
        let params = json!({"name": "validate_resource_tags", "arguments": look});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{body}",
            keeper.key,
            body.to_string().len()
        );
        let mut leaving = TcpStream::connect(desk.anyone.address).unwrap();
        leaving.write_all(request.as_bytes()).unwrap();
        desk.looks(3);
        drop(leaving);
        let left = |row: &AuditRow| row.principal == format!("key:{}", id(&keeper.key));
        desk.row_that(|row| {
            row.operation == "validate_resource_tags" && left(row) && row.status == "cancelled"
        });
        let calls = desk.rows().iter().filter(|row| row.operation == "validate_resource_tags").count();
        assert_eq!(calls, 2, "one row each");
        desk.proxy.clear_rules();
        desk.controller.stop();
    });
}

#[test]
fn nothing_secret_is_in_rows_logs_or_errors() {
    over_both(|desk| {
        let client = desk.client("audit:write");
        let secrets = ["AKIAIOSFODNN7EXAMPLE", "hunter2", "s3cret", &client.key[16..], postgres::PASSWORD];
        let url = "postgres://tagwarden:hunter2@db.internal/tags";
        let mut told = String::new();
        for (tool, arguments) in [
            ("get_tagging_policy", json!({"policy": "AKIAIOSFODNN7EXAMPLE"})),
            ("get_tagging_policy", json!({"policy": client.key})),
            ("get_run", json!({"run_id": url})),
            ("list_audits", json!({"limit": url})),
            ("list_audits", json!({"external_id": "hunter2", "password": "hunter2", "ApiKey": "hunter2"})),
            (client.key.as_str(), json!({})),
            ("validate_resource_tags", json!({"resource_arns": [url]})),
            ("schedule_compliance_audit", json!({"cron": "Bearer hunter2"})),
        ] {
            told.push_str(&call(&client, tool, &arguments).text);
        }
        for (line, body) in [
            (format!("GET /v1/policies/{}", client.key), String::new()),
            ("GET /v1/policies/AKIAIOSFODNN7EXAMPLE".to_owned(), String::new()),
            (format!("GET /v1/runs?policy={}", client.key), String::new()),
            ("GET /v1/runs?password=hunter2".to_owned(), String::new()),
            ("POST /v1/runs".to_owned(), json!({"audit": url}).to_string()),
            ("POST /v1/runs".to_owned(), json!({"externalId": "hunter2"}).to_string()),
            ("POST /v1/runs".to_owned(), "password=hunter2".to_owned()),
        ] {
            told.push_str(&client.send(&line, &[], &body).text);
        }
        let rows = format!("{:?}", desk.rows());
        assert_eq!(desk.rows().len(), 15);
        let log = desk.controller.stop().log.join("\n");
        for (text, what) in [(&told, "an answer"), (&rows, "a row"), (&log, "the log")] {
            for secret in secrets {
                assert!(!text.contains(secret), "{what} tells {secret}: {text}");
            }
        }
        assert!(rows.contains("…"), "{rows}");
    });
}
