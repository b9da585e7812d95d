//! The life of keys: made, used, expired and revoked while the server runs; and what is written down of it.

use tagwarden_app::ask::ports::AuditRows as _;
use tagwarden_store::Store;

use super::*;

#[test]
fn a_key_is_picked_up_opens_its_scope_and_ends_when_it_is_revoked() {
    let controller = guarded().start();
    controller.readiness(200);
    let directory = controller.directory();
    let reader = key(directory, &["--note", "for the pipeline"]);
    assert!(reader.starts_with("tw_") && reader.len() == 3 + 12 + 1 + 64, "{}", reader.len());
    let client = Client::new(&controller, &reader);
    assert_eq!(client.get("/v1/policies").status, 200, "a new key is known without a restart");

    let order = r#"{"schedule": "0 2 * * *"}"#;
    let refused = client.send("PUT /v1/audits/nightly", &[], order);
    refused.is(403, "insufficient_scope");
    assert!(
        refused.head.contains(
            "www-authenticate: bearer realm=\"tagwarden\", error=\"insufficient_scope\", scope=\"audit:write\""
        ),
        "{}",
        refused.head
    );
    client.post("/v1/runs", r#"{"audit": "nightly"}"#).is(403, "insufficient_scope");
    let writer = key(directory, &["--scope", "audit:write"]);
    let allowed = client.with(&writer).send("PUT /v1/audits/nightly", &[], order);
    // Let in, and told what is missing.
    allowed.is(409, "conflict");

    let stranger = client.with("").get("/v1/policies");
    stranger.is(401, "unauthorized");
    assert!(stranger.head.contains("www-authenticate: bearer realm=\"tagwarden\", scope=\"tag:read\""));
    let wrong = format!("{}{}", &reader[..reader.len() - 1], if reader.ends_with('0') { '1' } else { '0' });
    let wrong = client.with(&wrong).get("/v1/policies");
    wrong.is(401, "invalid_token");
    assert!(wrong.head.contains("error=\"invalid_token\""), "{}", wrong.head);

    let listed = keys(directory, &["list", "--format", "json"]);
    let list: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(list["items"][0]["id"], id(&reader));
    assert_eq!(list["items"][0]["state"], "valid");
    assert_eq!(list["items"][1]["scopes"][0], "audit:write");
    assert!(!listed.stdout.contains(&reader[16..]), "a list shows no secret");
    let table = keys(directory, &["list"]).stdout;
    assert!(table.contains("for the pipeline") && !table.contains(&reader[16..]), "{table}");

    let revoked = keys(directory, &["revoke", id(&reader)]);
    assert_eq!(revoked.status, Some(0), "{}", revoked.stderr);
    client.until("/v1/policies", |answer| answer.status == 401).is(401, "invalid_token");
    assert_eq!(client.with(&writer).get("/v1/policies").status, 200, "the others stay");
    let stopped = controller.stop();
    let log = stopped.log.join("\n");
    for key in [&reader, &writer] {
        assert!(!log.contains(&key[16..]), "a log shows no secret");
    }
}

#[test]
fn a_key_that_has_expired_opens_nothing() {
    let controller = guarded().start();
    controller.readiness(200);
    let made = key(controller.directory(), &["--expires", "1d"]);
    let client = Client::new(&controller, &made);
    assert_eq!(client.get("/v1/policies").status, 200);
    let database = controller.directory().join("tagwarden.db");
    let yesterday = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); \
                     store.execute('UPDATE tagwarden_keys SET expires_at = expires_at - 90000000'); store.commit()";
    let python = tagwarden_testbed::Testbed::shared().moto().python();
    let done = std::process::Command::new(python).args(["-c", yesterday]).arg(&database).status().unwrap();
    assert!(done.success());
    client.until("/v1/policies", |answer| answer.status == 401).is(401, "invalid_token");
    let listed = keys(controller.directory(), &["list"]).stdout;
    assert!(listed.contains("expired"), "{listed}");
    controller.stop();
}

#[test]
fn keys_that_make_no_sense_are_refused() {
    let program = Program::alone();
    let directory = program.directory();
    for (arguments, expected) in [
        (&["create", "--expires", "2020-01-01"][..], "is over"),
        (&["create", "--expires", "soon"], "expected 1d to 3650d"),
        (&["create", "--scope", "tag:all"], "is no scope"),
        (&["revoke", "0123456789ab"], "there is no key `0123456789ab`"),
    ] {
        let ended = keys(directory, arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn every_call_leaves_one_row_and_no_row_a_secret() {
    let controller = guarded().start();
    controller.readiness(200);
    let made = key(controller.directory(), &["--scope", "audit:write"]);
    let reader = key(controller.directory(), &[]);
    let client = Client::new(&controller, &made);
    let calls: [(&str, &str, &str, u16); 8] = [
        ("GET /v1/policies", "", "ok", 200),
        ("GET /v1/policies/none", "", "not_found", 404),
        ("GET /v1/runs?limit=0", "", "invalid_input", 400),
        ("GET /v1/runs/none/violations?format=csv", "", "not_found", 404),
        ("GET /v1/nothing", "", "not_found", 404),
        ("DELETE /v1/runs", "", "method_not_allowed", 405),
        ("POST /v1/runs", "nonsense", "invalid_input", 400),
        ("PUT /v1/audits/x", r#"{"schedule": "0 2 * * *"}"#, "conflict", 409),
    ];
    for (line, body, _, status) in calls {
        let answer = client.send(line, &[("x-request-id", "from-me")], body);
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        assert!(answer.head.contains("x-request-id: from-me."), "{}", answer.head);
    }
    client.get(&format!("/v1/runs?policy={made}"));
    client.with(&reader).send("PUT /v1/audits/x", &[], "{}").is(403, "insufficient_scope");
    // Strangers have no tenant to keep a row for.
    client.with("").get("/v1/policies").is(401, "unauthorized");
    let url = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let rows = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { Store::open(&url).await.unwrap().newest("default", 1000).await.unwrap() });
    let mut found: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
    found.reverse();
    let mut expected: Vec<&str> = calls.iter().map(|(_, _, code, _)| *code).collect();
    expected.extend(["ok", "insufficient_scope"]);
    assert_eq!(found, expected);
    for row in &rows {
        assert_eq!((row.channel, row.tenant.as_str()), ("rest", "default"));
        assert!([id(&made), id(&reader)].iter().any(|id| row.principal == format!("key:{id}")), "{row:?}");
        assert!(!format!("{row:?}").contains(&made[16..]), "{row:?}");
    }
    assert_eq!(rows[9].operation, "listPolicies");
    controller.stop();
}
