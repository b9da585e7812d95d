//! Clients that others wrote: the Inspector, which judges schemas strictly, and the bridge from standard input to HTTP.

use std::process::Command;

use serde_json::{Value, json};
use tagwarden_testbed::{Testbed, mcp_session, node};

use super::{first_steps, guarded, has_reached};
use crate::controller::{Controller, Setup};
use crate::program::OWNER_REQUIRED;
use crate::site::HERE;

/// Both eras of the protocol.
const ERAS: [&str; 2] = ["legacy", "modern"];

/// What the Inspector prints. It has to have nothing to say besides.
#[track_caller]
fn inspected(controller: &Controller, arguments: &[String]) -> Value {
    let mut command = node::program("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let url = format!("http://{}/mcp", controller.address("listen"));
    command.args(["--cli", "--transport", "http", "--server-url", &url]).args(arguments);
    let output = command.env("HOME", controller.directory()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {:?}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A call of a tool, which has to succeed.
#[track_caller]
fn called(controller: &Controller, era: &str, tool: &str, arguments: &Value) -> Value {
    let mut words =
        ["--protocol-era", era, "--method", "tools/call", "--tool-name", tool].map(str::to_owned).to_vec();
    for (name, value) in arguments.as_object().unwrap() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        words.extend(["--tool-arg".to_owned(), format!("{name}={value}")]);
    }
    let answer = inspected(controller, &words);
    assert_eq!(answer["isError"], false, "{tool}: {answer}");
    answer["structuredContent"].clone()
}

#[test]
fn the_inspector_has_nothing_to_say() {
    let proxy = Testbed::shared().proxy();
    let setup = Setup::new().behind(&proxy).file("manifests/owner.yaml", OWNER_REQUIRED);
    let controller = setup.args(["--mcp-same-calls", "100"]).with_manifests();
    controller.readiness(200);
    let mut names: Vec<Vec<String>> = Vec::new();
    for era in ERAS {
        let words = ["--protocol-era", era, "--method", "tools/list", "--strict"].map(str::to_owned);
        let listed = inspected(&controller, &words);
        let listed = listed["tools"].as_array().unwrap();
        names.push(listed.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect());
    }
    assert_eq!(names[0], names[1]);

    let about = json!({"resource_types": ["ec2:volume"], "regions": [HERE]});
    let started = called(&controller, "modern", "start_compliance_check", &about);
    let run = started["run_id"].as_str().unwrap();
    let audit = json!({"name": "weekly", "schedule": "weekly", "resource_types": ["ec2:volume"]});
    called(&controller, "legacy", "schedule_compliance_audit", &audit);
    let arn = format!("arn:aws:ec2:{HERE}:{}:volume/vol-0", tagwarden_testbed::AMBIENT_ACCOUNT);
    let rest = [
        ("get_run", json!({"run_id": run, "wait_seconds": 25})),
        ("cancel_run", json!({"run_id": run})),
        ("check_tag_compliance", about.clone()),
        ("find_untagged_resources", about.clone()),
        ("validate_resource_tags", json!({"resource_arns": [arn]})),
        ("get_tagging_policy", json!({})),
        ("generate_compliance_report", about.clone()),
        ("get_violation_history", json!({})),
        ("export_violations_csv", about),
        ("list_accounts", json!({})),
        ("list_audits", json!({})),
        ("get_audit_status", json!({"audit": "weekly"})),
    ];
    let mut known: Vec<&str> = rest.iter().map(|(tool, _)| *tool).collect();
    known.extend(["start_compliance_check", "schedule_compliance_audit"]);
    known.sort_unstable();
    assert_eq!(names[0], known, "every tool is called");
    // Most of the time of a call is that of starting a program.
    std::thread::scope(|scope| {
        for (index, calls) in rest.chunks(rest.len() / 2).enumerate() {
            let controller = &controller;
            scope.spawn(move || {
                for (tool, arguments) in calls {
                    called(controller, ERAS[index % 2], tool, arguments);
                }
            });
        }
    });
    controller.stop();
}

#[test]
fn the_bridge_brings_clients_of_standard_input_with_a_key() {
    let (controller, key) = guarded();
    let home = controller.directory();
    std::fs::write(home.join("headers"), format!("Authorization: Bearer {key}\n")).unwrap();
    for (protocol, mode) in [(&[][..], "legacy"), (&["--protocol", "auto"][..], "auto")] {
        let bridge = node::program("mcp-remote/dist/proxy.js");
        let mut command = Command::new(bridge.get_program());
        command.args(bridge.get_args());
        command.arg(format!("http://{}/mcp", controller.address("listen")));
        command.args(["--transport", "http-only", "--header-file", "headers"]).args(protocol);
        command.current_dir(home).env("HOME", home);
        has_reached(&mcp_session(&command, mode, &first_steps()).0);
    }
    controller.stop();
}
