//! Two tenants at `/mcp`: every tool, resource, prompt and cursor, tried by each with everything that the other has a name
//! for. What the server offers and this walk does not know fails the test, so that a new tool is walked, too.

use std::collections::BTreeSet;

use serde_json::json;
use tagwarden_testbed::{Fault, Rule};

use super::mcp::{ask, call};
use super::tenants::{Tenant, Two};
use super::*;
use crate::site::HERE;

/// What a tool says to somebody who asks for what is another's.
enum Says {
    /// An error with this code.
    Code(&'static str),
    /// An answer that is one's own, and in which this holds.
    Own(fn(&Value) -> bool),
}
use Says::{Code, Own};

const ABSENT: Says = Code("not_found");
const NO_CURSOR: Says = Code("invalid_input");
const ANY: Says = Own(|_| true);

/// Cursors of every tool that gives some.
struct Cursors(Vec<(&'static str, String)>);

impl Cursors {
    /// Those that a tenant gets for pages of one.
    fn of(tenant: &Tenant) -> Self {
        let check = json!({"resource_types": ["ec2:volume"], "limit": 1});
        let plain = json!({"limit": 1});
        let run = json!({"run_id": tenant.run_id, "limit": 1});
        let asked = [
            ("check_tag_compliance", &check),
            ("export_violations_csv", &check),
            ("find_untagged_resources", &check),
            ("get_run", &run),
            ("list_accounts", &plain),
            ("list_audits", &plain),
        ];
        let cursor = |(tool, arguments): (&'static str, &Value)| {
            let first = call(&tenant.client, tool, arguments).content();
            let cursor =
                first["next_cursor"].as_str().unwrap_or_else(|| panic!("{tool}: {first}")).to_owned();
            let mut second = arguments.clone();
            second["cursor"] = json!(cursor);
            assert_ne!(call(&tenant.client, tool, &second).content(), first, "{tool} goes on");
            (tool, cursor)
        };
        Self(asked.map(cursor).into())
    }

    fn get(&self, tool: &str) -> &str {
        &self.0.iter().find(|(name, _)| *name == tool).unwrap().1
    }
}

/// Every tool with what is another's in each of its arguments.
fn calls(one: &Tenant, other: &Tenant, cursors: &Cursors) -> Vec<(&'static str, Value, Says)> {
    let (policy, audit) = (format!("policy-{}", other.name), format!("audit-{}", other.name));
    let account = format!("account-{}", other.name);
    let spare = format!("spare-{}", other.name);
    // Ids of runs are unique within a tenant alone: the same one may lead to one's own.
    let run = || if one.run_id == other.run_id { ANY } else { ABSENT };
    let mut all = vec![
        ("cancel_run", json!({"run_id": other.run_id}), run()),
        ("get_audit_status", json!({"audit": audit}), ABSENT),
        ("get_run", json!({"run_id": other.run_id}), run()),
        ("get_run", json!({"run_id": other.run_id, "wait_seconds": 1, "severity": "all"}), run()),
        ("get_run", json!({"run_id": one.run_id, "cursor": cursors.get("get_run")}), NO_CURSOR),
        ("get_tagging_policy", json!({"policy": policy}), ABSENT),
        ("get_violation_history", json!({"audit": audit}), ABSENT),
        ("get_violation_history", json!({}), ANY),
        ("list_accounts", json!({}), Own(|answer| answer["total"] == 2)),
        ("list_accounts", json!({"cursor": cursors.get("list_accounts")}), NO_CURSOR),
        ("list_audits", json!({}), Own(|answer| answer["total"] == 2)),
        ("list_audits", json!({"cursor": cursors.get("list_audits")}), NO_CURSOR),
        ("schedule_compliance_audit", json!({"policy": policy, "name": "mine"}), ABSENT),
        (
            "schedule_compliance_audit",
            json!({"name": audit, "dry_run": true}),
            Own(|answer| answer["dry_run"].as_str().is_some_and(|said| said.contains("would be created"))),
        ),
        ("start_compliance_check", json!({"audit": audit}), ABSENT),
        (
            "validate_resource_tags",
            json!({"resource_arns": [other.arn]}),
            Own(|answer| {
                answer["results"][0]["status"] == "not_seen" && answer["results"][0]["current_tags"].is_null()
            }),
        ),
        ("validate_resource_tags", json!({"resource_arns": [one.arn], "policy": policy}), ABSENT),
    ];
    let checks = [
        "check_tag_compliance",
        "export_violations_csv",
        "find_untagged_resources",
        "generate_compliance_report",
        "start_compliance_check",
    ];
    for tool in checks {
        for account in [&other.account, &account, &other.spare, &spare] {
            all.push((tool, json!({"accounts": [account]}), ABSENT));
        }
        all.push((tool, json!({"policy": policy}), ABSENT));
    }
    for account in [&other.account, &account] {
        all.push(("check_tag_compliance", json!({"filters": {"account_id": account}}), ABSENT));
    }
    for tool in &checks[..3] {
        let of_run = format!("{}~1", other.run_id);
        for cursor in [cursors.get(tool), &other.cursors[0], &other.cursors[1], &of_run] {
            all.push((tool, json!({"cursor": cursor}), NO_CURSOR));
        }
    }
    all
}

/// What a page of a list names, sorted.
fn named(answer: &Answer, list: &str, field: &str) -> BTreeSet<String> {
    let value = answer.json();
    let items = value["result"][list].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    assert!(value["result"]["nextCursor"].is_null(), "one page is all: {answer:?}");
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// The texts in some arguments, and the parts of ARNs: an answer may repeat them.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => [text.as_str()]
            .into_iter()
            .chain(text.split([':', '/']).filter(|part| part.len() >= 12))
            .map(str::to_owned)
            .collect(),
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn tools(one: &Tenant, other: &Tenant, cursors: &Cursors) {
    let walked = calls(one, other, cursors);
    let offered = named(&ask(&one.client, &[], "tools/list", &json!({})), "tools", "name");
    let known: BTreeSet<String> = walked.iter().map(|(tool, ..)| (*tool).to_owned()).collect();
    assert_eq!(offered, known, "the walk knows every tool");
    for (tool, arguments, says) in walked {
        let answer = call(&one.client, tool, &arguments);
        other.is_hidden_in(&answer, &texts(&arguments));
        match says {
            Code(code) => assert_eq!(answer.code(), code, "{tool} {arguments}: {answer:?}"),
            Own(holds) => assert!(holds(&answer.content()), "{tool} {arguments}: {answer:?}"),
        }
        // A rehearsal knows no more.
        let mut rehearsal = arguments.clone();
        rehearsal["dry_run"] = json!(true);
        let answer = call(&one.client, tool, &rehearsal);
        other.is_hidden_in(&answer, &texts(&arguments));
        if let Code(code) = says {
            assert_eq!(answer.code(), code, "{tool} {rehearsal}: {answer:?}");
        }
    }
}

fn resources(one: &Tenant, other: &Tenant) {
    let client = &one.client;
    let list = ask(client, &[], "resources/list", &json!({}));
    other.is_hidden_in(&list, &[]);
    let listed = named(&list, "resources", "uri");
    let known = ["tagwarden://accounts", "tagwarden://policy/", "tagwarden://audit/", "tagwarden://report/"];
    for uri in &listed {
        assert!(known.iter().any(|kind| uri.starts_with(kind)), "the walk does not know {uri}");
        let read = ask(client, &[], "resources/read", &json!({"uri": uri}));
        assert!(read.json()["result"]["contents"][0]["text"].is_string(), "{read:?}");
        other.is_hidden_in(&read, &[]);
    }
    assert!(listed.len() >= 5, "{listed:?}");
    let templates = ask(client, &[], "resources/templates/list", &json!({}));
    other.is_hidden_in(&templates, &[]);
    let templates = named(&templates, "resourceTemplates", "uriTemplate");
    let names: Vec<String> = other.names().into_iter().filter(|name| *name != one.run_id).collect();
    for template in &templates {
        let (kind, _) = template.split_once('{').unwrap();
        assert!(known.contains(&kind), "the walk does not know {template}");
        for name in &names {
            for uri in [format!("{kind}{name}"), format!("{kind}{}/{name}", other.name)] {
                let read = ask(client, &[], "resources/read", &json!({"uri": uri}));
                assert!(read.json()["error"]["code"].is_i64(), "{uri}: {read:?}");
                assert!(read.text.contains("there is no such resource"), "{uri}: {read:?}");
                other.is_hidden_in(&read, &[uri]);
            }
        }
    }
    assert_eq!(templates.len(), 3);
}

fn prompts(one: &Tenant, other: &Tenant) {
    let client = &one.client;
    let list = ask(client, &[], "prompts/list", &json!({}));
    other.is_hidden_in(&list, &[]);
    let names = named(&list, "prompts", "name");
    let known = ["executive_summary", "find_and_fix", "monthly_audit", "onboard_account"];
    assert!(names.iter().eq(known), "the walk knows every prompt: {names:?}");
    for prompt in list.json()["result"]["prompts"].as_array().unwrap() {
        let arguments = prompt["arguments"].as_array().unwrap();
        for name in other.names() {
            let given: serde_json::Map<String, Value> = arguments
                .iter()
                .map(|argument| (argument["name"].as_str().unwrap().to_owned(), json!(name)))
                .collect();
            let got = ask(client, &[], "prompts/get", &json!({"name": prompt["name"], "arguments": given}));
            assert!(got.json()["result"]["messages"][0]["content"]["text"].is_string(), "{got:?}");
            other.is_hidden_in(&got, &[name]);
        }
    }
}

#[test]
fn nothing_of_one_tenant_is_found_by_the_agents_of_the_other() {
    let Two { controller, proxy, acme, rival } = Two::new();
    let cursors = [&acme, &rival].map(Cursors::of);
    let before = [&acme, &rival].map(Tenant::sees);
    for (one, other, theirs) in [(&acme, &rival, &cursors[1]), (&rival, &acme, &cursors[0])] {
        tools(one, other, theirs);
        resources(one, other);
        prompts(one, other);
        // A cursor of a tool is none of REST.
        for path in [format!("/v1/runs/{}/violations", one.run_id), "/v1/runs".to_owned()] {
            for (_, cursor) in &theirs.0 {
                one.client.get(&format!("{path}?cursor={cursor}")).is(400, "invalid_input");
            }
        }
        // What else the protocol has is not offered.
        for method in ["completion/complete", "logging/setLevel", "resources/subscribe", "tasks/get"] {
            let answer = ask(&one.client, &[], method, &json!({"uri": "tagwarden://accounts"}));
            assert!(answer.json()["result"].is_null(), "the walk does not know {method}: {answer:?}");
            other.is_hidden_in(&answer, &[]);
        }
    }
    assert_eq!([&acme, &rival].map(Tenant::sees), before, "nothing has changed");

    // A run that is under way is not ended by somebody else, however they try.
    let slow = Fault::Delay(Duration::from_secs(20));
    proxy.rule(Rule::on("ec2", "DescribeVolumes", slow).in_account(&rival.account));
    let check = json!({"resource_types": ["ec2:volume"], "regions": [HERE]});
    let started = call(&rival.client, "start_compliance_check", &check).content();
    let run_id = started["run_id"].as_str().unwrap();
    assert_eq!(call(&acme.client, "cancel_run", &json!({"run_id": run_id})).code(), "not_found");
    acme.client.post(&format!("/v1/runs/{run_id}/cancel"), "").is(404, "not_found");
    let run = rival.client.get(&format!("/v1/runs/{run_id}")).json();
    assert!(["queued", "running"].contains(&run["state"].as_str().unwrap()), "{run}");
    let ended = call(&rival.client, "cancel_run", &json!({"run_id": run_id})).content();
    assert_eq!(ended["status"], "cancelled");
    controller.stop();
}
