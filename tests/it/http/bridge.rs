//! `tagwarden mcp --url`: what passes, what is told when something does not, and who never learns the key.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use serde_json::json;
use tagwarden_testbed::{Fault, MCP_MODES, Rule, Testbed, mcp_session};

use super::*;
use crate::program::OWNER_REQUIRED;
use crate::site::HERE;
use crate::wire::{ERAS, Era, Wire, record, until};

/// A key that is right in form.
const KEY: &str = "tw_0123456789ab_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A laptop: a directory, a key in a file, and nothing else.
struct Laptop {
    directory: tempfile::TempDir,
    url: String,
}

impl Laptop {
    fn new(url: &str, key: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
        let laptop = Self { directory, url: url.to_owned() };
        laptop.put_key(key);
        laptop
    }

    /// With a key to this server.
    fn of(controller: &Controller, key: &str) -> Self {
        Self::new(&format!("http://{}", controller.address("listen")), key)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put_key(&self, key: &str) {
        std::fs::write(self.file("key"), format!("{key}\n")).unwrap();
    }

    /// The bridge, without any variable that could be meant for something else.
    fn bridge(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["TAGWARDEN_", "AWS_", "KUBE", "SSL_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .args(["mcp", "--url", &self.url, "--api-key-file", "key"])
            .args(flags);
        command
    }

    fn wire(&self, era: Era) -> Wire {
        Wire::start(&mut self.bridge(&[]), era)
    }
}

/// The error that a request was answered with.
#[track_caller]
fn error(answer: &Value) -> &Value {
    let error = &answer["error"]["data"];
    for field in ["code", "message", "fix"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(told.contains(error["fix"].as_str().unwrap()), "people see the message alone: {answer}");
    error
}

/// Answers one request with this text, and gives what was asked.
fn stub(answer: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {
            let line = head.trim_end().lines().last().unwrap_or_default().to_lowercase();
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        head + &String::from_utf8(body).unwrap()
    });
    (url, asked)
}

/// An answer that ends with its connection.
fn answering(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")
}

#[test]
fn clients_of_every_era_get_across_without_credentials_of_a_cloud() {
    let proxy = Testbed::shared().proxy();
    // Slow enough that there is something to tell on the way.
    proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_secs(6))));
    let setup = guarded().behind(&proxy).file("manifests/owner.yaml", OWNER_REQUIRED);
    let controller = setup.args(["--mcp-same-calls", "100"]).with_manifests();
    controller.logs(&["manifests applied"]);
    let laptop = Laptop::of(&controller, &key(controller.directory(), &["--scope", "audit:write"]));
    let call = |name: &str, arguments: Value| json!({"do": "call", "name": name, "arguments": arguments});
    let about = json!({"resource_types": ["ec2:volume"], "regions": [HERE], "force_refresh": true});
    let steps = json!([
        {"do": "instructions"},
        {"do": "tools"},
        call("get_tagging_policy", json!({})),
        call("check_tag_compliance", about),
        call("get_audit_status", json!({"audit": "nope"})),
        {"do": "prompt", "name": "find_and_fix", "arguments": {"account": "prod"}},
        {"do": "read", "name": "tagwarden://policy/owner"},
        {"do": "read", "name": "tagwarden://policy/nope"},
    ]);
    for mode in MCP_MODES {
        let (answers, progress) = mcp_session(&laptop.bridge(&[]), mode, &steps);
        let [hello, tools, policy, check, nope, prompt, read, missing] = &answers[..] else {
            panic!("{answers:#?}")
        };
        assert_eq!(hello["version"], if mode == "legacy" { "2025-11-25" } else { "2026-07-28" });
        assert_eq!(tools["tools"].as_array().unwrap().len(), 14);
        assert_eq!(policy["structuredContent"]["name"], "owner");
        assert_eq!(check["structuredContent"]["status"], "completed", "{check}");
        assert!(!progress.is_empty(), "{mode}: a call that takes long says how far it is");
        assert!(progress[0][2].as_str().unwrap().contains("of 1 accounts"), "{progress:?}");
        assert!(
            nope["isError"] == true && nope["content"][0]["text"].as_str().unwrap().contains("not_found")
        );
        assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("in account prod"));
        assert!(read["contents"][0]["text"].as_str().unwrap().contains("Owner"), "{read}");
        assert_eq!(missing["error"]["code"], if mode == "legacy" { -32002 } else { -32602 }, "{missing}");
    }
    let files: Vec<_> = std::fs::read_dir(laptop.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "key")
        .collect();
    assert!(files.is_empty(), "a bridge keeps nothing: {files:?}");
    controller.stop();
}

#[test]
fn messages_pass_as_they_are() {
    let message = r#"{"jsonrpc":"2.0","id":7,"method":"x/new","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01"},"big":12345678901234567890123,"ä":[null,1.0]},"later":{}}"#;
    let event = r#"{"jsonrpc":"2.0","method":"notifications/new","params":{"big":12345678901234567890123},"later":1}"#;
    let result = r#"{"jsonrpc":"2.0","id":7,"result":{"big":12345678901234567890123,"ä":1.0},"later":[]}"#;
    let stream = format!(": hello\n\nid: 1\nevent: message\ndata: {event}\n\ndata: {result}\n\n");
    let (url, asked) = stub(&answering("200 OK", "content-type: text/event-stream\r\n", &stream));
    let laptop = Laptop::new(&url, KEY);
    let mut wire = Wire::silent(&mut laptop.bridge(&[]), Era::Stateless);
    wire.line(message);
    assert_eq!((wire.heard().as_str(), wire.heard().as_str()), (event, result));
    let asked = asked.join().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, message);
    let head = head.to_lowercase();
    for line in [
        "post /mcp http/1.1",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "mcp-protocol-version: 2099-01-01",
        "mcp-method: x/new",
        &format!("authorization: bearer {KEY}"),
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    // Lines that are no messages are told apart from those that are.
    for (line, code) in [("hello", -32700), ("[]", -32600)] {
        wire.line(line);
        assert_eq!(wire.next()["error"]["code"], code);
    }
    let (status, log) = wire.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains(&KEY[16..]), "{log}");
}

#[test]
fn what_goes_wrong_on_the_way_is_the_answer_and_says_what_to_do() {
    let json = "content-type: application/json\r\n";
    let refusal = r#"{"code":"host_not_allowed","message":"this name is not served here","fix":"add it to --allowed-hosts"}"#;
    let leak = format!(r#"{{"code":"invalid_token","message":"no {KEY}","fix":"{KEY}"}}"#);
    let cases = [
        (answering("401 Unauthorized", json, &leak), "invalid_token", "401", "--api-key-file"),
        (answering("403 Forbidden", json, refusal), "host_not_allowed", "not served here", "--allowed-hosts"),
        (answering("404 Not Found", "", ""), "not_found", "404", "/mcp"),
        (answering("413 Payload Too Large", json, "{}"), "invalid_input", "413", "ask for less"),
        (answering("429 Too Many Requests", "retry-after: 9\r\n", ""), "rate_limited", "429", "wait"),
        (answering("503 Service Unavailable", json, "{}"), "unavailable", "503", "/health"),
        (answering("301 Moved", "location: http://evil.example/\r\n", ""), "not_found", "301", "--url"),
        (
            answering("200 OK", "content-type: text/html\r\n", "<p>Sign in"),
            "not_found",
            "not speak MCP",
            "--url",
        ),
        (answering("200 OK", "content-length: 99\r\n", "{"), "unavailable", "hung up", "ask again"),
        (
            answering("200 OK", "content-type: text/event-stream\r\n", ":\n\n"),
            "unavailable",
            "hung up",
            "ask again",
        ),
        ("nonsense\r\n\r\n".to_owned(), "not_found", "does not speak HTTP", "--url"),
        (String::new(), "unavailable", "hung up", "ask again"),
    ];
    for (answer, code, message, fix) in cases {
        let (url, asked) = stub(&answer);
        let laptop = Laptop::new(&url, KEY);
        let mut wire = Wire::silent(&mut laptop.bridge(&[]), Era::Stateless);
        let id = wire.ask("tools/list", json!({}));
        let told = wire.answer(id);
        assert_eq!(error(&told)["code"], code, "{answer}: {told}");
        assert!(error(&told)["message"].as_str().unwrap().contains(message), "{answer}: {told}");
        assert!(error(&told)["fix"].as_str().unwrap().contains(fix), "{answer}: {told}");
        if answer.contains("retry-after") {
            assert_eq!(error(&told)["retry_after"], 9);
        }
        assert!(!told.to_string().contains(&KEY[16..]), "{told}");
        asked.join().unwrap();
        let (_, log) = wire.end();
        assert!(!log.contains(&KEY[16..]), "{log}");
    }
    // Errors of the protocol are none of the bridge's.
    let refused = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"no","data":[1]}}"#;
    let (url, asked) = stub(&answering("400 Bad Request", json, refused));
    let laptop = Laptop::new(&url, KEY);
    let mut wire = Wire::silent(&mut laptop.bridge(&[]), Era::Stateless);
    let id = wire.ask("tools/list", json!({}));
    assert_eq!(wire.answer(id)["error"], json!({"code": -32020, "message": "no", "data": [1]}));
    asked.join().unwrap();
}

#[test]
fn a_new_key_in_the_file_is_used_at_once() {
    let controller = guarded().start();
    controller.readiness(200);
    let (old, new) = (key(controller.directory(), &[]), key(controller.directory(), &[]));
    for era in ERAS {
        let laptop = Laptop::of(&controller, KEY);
        let mut wire = Wire::silent(&mut laptop.bridge(&[]), era);
        let id = wire.ask("ping", json!({}));
        let told = wire.answer(id);
        assert_eq!(error(&told)["code"], "invalid_token", "{told}");
        assert!(!told.to_string().contains(&KEY[16..]), "{told}");
    }
    let laptop = Laptop::of(&controller, &old);
    let mut wire = laptop.wire(Era::Stateless);
    assert_eq!(wire.called("list_audits", &json!({}))["total"], 0);
    assert_eq!(keys(controller.directory(), &["revoke", id(&old)]).status, Some(0));
    let told = until("the server forgets the key", || {
        let id = wire.ask("tools/list", json!({}));
        let answer = wire.answer(id);
        answer["error"].is_object().then_some(answer)
    });
    assert_eq!(error(&told)["code"], "invalid_token", "{told}");
    laptop.put_key(&new);
    assert_eq!(wire.called("list_audits", &json!({"limit": 1}))["total"], 0);
    let (status, log) = wire.end();
    assert_eq!(status, Some(0), "{log}");
    let told = log + &controller.stop().log.join("\n");
    for key in [&old, &new] {
        assert!(!told.contains(&key[16..]), "a log shows no secret");
    }
}

#[test]
fn a_server_may_go_and_come_back() {
    let controller = guarded().start();
    controller.readiness(200);
    let address = controller.address("listen").to_string();
    let laptop = Laptop::of(&controller, &key(controller.directory(), &[]));
    let mut wires = ERAS.map(|era| laptop.wire(era));
    for wire in &mut wires {
        assert_eq!(wire.called("list_audits", &json!({}))["total"], 0);
    }
    let stopped = controller.stop();
    for wire in &mut wires {
        let id = wire.call("list_audits", &json!({"limit": 1}));
        let told = wire.answer(id);
        assert_eq!(error(&told)["code"], "unavailable", "{told}");
        assert!(error(&told)["retry_after"].is_number() && told.to_string().contains(&address), "{told}");
    }
    let controller = stopped.again().args(["--auth", "keys", "--listen", &address]).start();
    controller.readiness(200);
    for wire in &mut wires {
        assert_eq!(wire.called("list_audits", &json!({"limit": 2}))["total"], 0);
    }
    controller.stop();
}

#[test]
fn a_server_is_trusted_only_by_its_certificate() {
    let setup = guarded().args(["--tls-cert", "tls.crt", "--tls-key", "tls.key"]);
    super::tls::renew(setup.directory());
    let controller = setup.start();
    controller.readiness(200);
    let port = controller.address("listen").port();
    let laptop = Laptop::new(&format!("https://localhost:{port}"), &key(controller.directory(), &[]));
    std::fs::copy(controller.directory().join("tls.crt"), laptop.file("ca.crt")).unwrap();
    let stranger = tempfile::tempdir().unwrap();
    super::tls::renew(stranger.path());
    let stranger = stranger.path().join("tls.crt");

    let list = |mut command: Command| {
        let mut wire = Wire::silent(&mut command, Era::Stateless);
        let id = wire.ask("tools/list", json!({}));
        wire.answer(id)
    };
    let mut distrusting = laptop.bridge(&[]);
    distrusting.env("SSL_CERT_FILE", &stranger);
    let told = list(distrusting);
    assert!(error(&told)["message"].as_str().unwrap().contains("nobody whom this machine trusts"), "{told}");
    assert!(error(&told)["fix"].as_str().unwrap().contains("--ca-file"), "{told}");

    let mut told = laptop.bridge(&["--ca-file", "ca.crt"]);
    told.env("SSL_CERT_FILE", &stranger);
    assert!(list(told)["result"]["tools"].is_array());
    let mut system = laptop.bridge(&[]);
    system.env("SSL_CERT_FILE", laptop.file("ca.crt"));
    assert!(list(system)["result"]["tools"].is_array());
    // Whoever speaks to it in the clear gets no answer, and is told so.
    let plain = Laptop::new(&format!("http://localhost:{port}"), KEY);
    error(&list(plain.bridge(&[])));
    controller.stop();
}

#[test]
fn requests_go_side_by_side_and_a_cancelled_one_ends_at_the_server() {
    let proxy = Testbed::shared().proxy();
    proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_mins(1))));
    let controller = guarded().behind(&proxy).args(["--mcp-same-calls", "100"]).start();
    controller.readiness(200);
    let store = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let made = key(controller.directory(), &[]);
    let (client, laptop) = (Client::new(&controller, &made), Laptop::of(&controller, &made));
    for (index, era) in ERAS.into_iter().enumerate() {
        let mut wire = laptop.wire(era);
        let before = proxy.count("ec2", "DescribeVolumes");
        let slow = json!({"resource_types": ["ec2:volume"], "regions": [HERE]});
        let check = wire.call("check_tag_compliance", &slow);
        until("the check reads the cloud", || (proxy.count("ec2", "DescribeVolumes") > before).then_some(()));
        let ids: Vec<u64> =
            (1..=20).map(|limit| wire.call("list_audits", &json!({"limit": limit}))).collect();
        let mut answered: Vec<u64> = Vec::new();
        while answered.len() < ids.len() {
            let message = wire.next();
            if message["method"].is_null() {
                assert!(message["result"].is_object(), "{message}");
                answered.push(message["id"].as_u64().unwrap());
            }
        }
        answered.sort_unstable();
        assert_eq!(answered, ids, "{era:?}: the slow one holds nobody up");
        wire.cancel(check);
        until("the server knows that nobody waits", || {
            let rows = record(&store, "default");
            let ended = rows
                .iter()
                .filter(|row| row.operation == "check_tag_compliance" && row.status == "cancelled");
            (ended.count() == index + 1).then_some(())
        });
        client.until("/v1/runs?limit=1", |answer| answer.json()["items"][0]["state"] == "cancelled");
        // Nothing is said about it any more; the next answer is the next thing said.
        let ping = wire.ask("tools/list", json!({}));
        loop {
            let message = wire.next();
            if message["method"] != "notifications/progress" {
                assert_eq!(message["id"], ping, "{era:?}: {message}");
                break;
            }
        }
        let (status, log) = wire.end();
        assert_eq!(status, Some(0), "{log}");
    }
    controller.stop();
}

#[test]
fn whoever_says_all_at_once_still_gets_every_answer() {
    // Without keys, as a server on the same machine is: a key that is sent all the same does no harm.
    let controller = Setup::new().start();
    controller.readiness(200);
    let laptop = Laptop::of(&controller, KEY);
    let mut wire = Wire::silent(&mut laptop.bridge(&[]), Era::Stateless);
    let ids: Vec<u64> = (0..40).map(|_| wire.ask("tools/list", json!({}))).collect();
    wire.hang_up();
    let mut answered: Vec<u64> = ids.iter().map(|_| wire.next()["id"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
    let (status, log) = wire.end();
    assert_eq!(status, Some(0), "{log}");
    controller.stop();
}

#[test]
fn what_leads_nowhere_is_refused_at_the_start() {
    let laptop = Laptop::new("https://tags.example.com", KEY);
    std::fs::write(laptop.file("empty"), " \n").unwrap();
    std::fs::write(laptop.file("two"), format!("{KEY} {KEY}")).unwrap();
    let url = "https://tags.example.com";
    for (flags, expected) in [
        (&["--url", "http://tags.example.com"][..], "use https"),
        (&["--url", "tags.example.com"], "expected a URL like https://"),
        (&["--url", "https://me:secret@tags.example.com"], "a URL is no place for a key"),
        (&["--url", url, "--api-key-file", "absent"], "--api-key-file: `absent` cannot be read"),
        (&["--url", url, "--api-key-file", "empty"], "--api-key-file: `empty` is empty"),
        (&["--url", url, "--api-key-file", "two"], "--api-key-file: `two` holds more than a key"),
        (&["--url", url, "--ca-file", "key"], "--ca-file: `key` holds no certificate in PEM"),
        (&["--api-key-file", "key"], "--url"),
        (
            &["--url", url, "--store", "sqlite:a.db"],
            "--store: with --url (or TAGWARDEN_URL) a running server answers",
        ),
        (&["--url", url, "--manifests", "m"], "--manifests: with --url"),
        (&["--url", url, "--mcp-read-only"], "--mcp-read-only: with --url"),
        (&["--url", url, "--listen", "127.0.0.1:0"], "--listen: with --url"),
        (&["--url", url, "--config", "c.yaml"], "--config: with --url"),
        (&["--url", url, "--resource-types", "c.yaml"], "--resource-types: with --url"),
    ] {
        let program = Program::alone().args(["mcp"]).args(flags);
        for name in ["key", "empty", "two"] {
            program.file(name, std::fs::read(laptop.file(name)).unwrap());
        }
        let mut program = program;
        let ended = program.run();
        assert_eq!(ended.status, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{flags:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains(&KEY[16..]) && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn the_default_policy_and_the_tools_on_offer_hold_for_whoever_asks() {
    let second = OWNER_REQUIRED.replace("name: owner", "name: second");
    let started = |flags: &[&str]| {
        let setup =
            guarded().file("manifests/owner.yaml", OWNER_REQUIRED).file("manifests/second.yaml", &second);
        let controller = setup.args(flags).with_manifests();
        controller.logs(&["manifests applied"]);
        controller.readiness(200);
        controller
    };
    let controller = started(&[]);
    let client = Client::new(&controller, &key(controller.directory(), &[]));
    let refused = client.post("/v1/runs", "{}");
    refused.is(400, "invalid_input");
    assert!(refused.text.contains("owner") && refused.text.contains("second"), "{refused:?}");
    controller.stop();

    let flags =
        ["--default-policy", "second", "--mcp-toolsets", "read", "--mcp-without-tools", "list_accounts"];
    let controller = started(&flags);
    let made = key(controller.directory(), &[]);
    let client = Client::new(&controller, &made);
    let begun = client.post("/v1/runs", "{}");
    assert_eq!(begun.status, 202, "{begun:?}");
    let run = client.get(&format!("/v1/runs/{}", begun.json()["runId"].as_str().unwrap()));
    assert_eq!(run.json()["policy"]["name"], "second", "{run:?}");
    let laptop = Laptop::of(&controller, &made);
    let mut wire = laptop.wire(Era::Stateless);
    assert_eq!(wire.called("get_tagging_policy", &json!({}))["name"], "second");
    let id = wire.ask("tools/list", json!({}));
    let tools = wire.answer(id);
    let names: Vec<&str> = tools["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"list_audits"), "{names:?}");
    for name in ["list_accounts", "check_tag_compliance", "schedule_compliance_audit"] {
        assert!(!names.contains(&name), "{name} is not on offer");
        let id = wire.call(name, &json!({}));
        assert!(wire.answer(id).to_string().contains("unknown_tool"), "{name}");
    }
    controller.stop();
}
