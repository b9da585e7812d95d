//! `tagwarden mcp`, as the official Python SDK sees it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tagwarden_app::ask::ports::AuditRow;
use tagwarden_testbed::{Account, Fault, MCP_MODES, Proxy, Rule, Testbed, mcp_session};
use tempfile::TempDir;

use crate::cloud::{BARE, Cloud, OWNED};
use crate::program::{OWNER_REQUIRED, Program};
use crate::site::HERE;
use crate::wire::{ERAS, Wire, record, until};

/// An account that belongs to the server itself, and a directory for its files.
struct Desk {
    proxy: Proxy,
    account: Account,
    cloud: Cloud,
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        let proxy = Testbed::shared().proxy();
        let account = proxy.fresh_account();
        let cloud = Cloud::of(&proxy, &account);
        let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("manifests")).unwrap();
        std::fs::write(directory.path().join("manifests/owner.yaml"), OWNER_REQUIRED).unwrap();
        Self { proxy, account, cloud, directory }
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.directory.path().join("tagwarden.db").display())
    }

    /// `tagwarden mcp` with these further flags.
    fn server(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        self.proxy.equip_as(&self.account, &mut command);
        command
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .args(["mcp", "--control-plane", "embedded", "--manifests", "manifests"])
            .args(["--store", &self.store()])
            .args(flags);
        command
    }

    /// What comes of these steps.
    #[track_caller]
    fn session(&self, flags: &[&str], steps: &[Value]) -> Vec<Value> {
        mcp_session(&self.server(flags), "auto", &steps.into()).0
    }

    /// The record of calls, oldest first.
    fn record(&self) -> Vec<AuditRow> {
        let mut rows = record(&self.store(), "default");
        rows.reverse();
        rows
    }
}

#[allow(clippy::needless_pass_by_value)] // literals
fn call(name: &str, arguments: Value) -> Value {
    json!({"do": "call", "name": name, "arguments": arguments})
}

/// What a call answered.
#[track_caller]
fn content(answer: &Value) -> &Value {
    assert_ne!(answer["isError"], true, "{answer}");
    let text: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, answer["structuredContent"], "the text says the same");
    &answer["structuredContent"]
}

/// The error that a call was answered with.
#[track_caller]
fn error(answer: &Value) -> Value {
    assert_eq!(answer["isError"], true, "{answer}");
    let error: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
    for field in ["code", "message", "fix"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
    error
}

/// A call of every tool, and of whatever else there is, about three volumes of which two lack their owner.
pub fn everything_to_ask(cloud: &Cloud, account: &Account) -> Value {
    let owned = cloud.volume(HERE, OWNED);
    let bare = [cloud.volume(HERE, BARE), cloud.volume(HERE, BARE)];
    let absent = format!("arn:aws:ec2:{HERE}:{}:volume/vol-0", account.id);
    let about = json!({"resource_types": ["ec2:volume"], "regions": [HERE]});
    let with = |more: Value| {
        let mut about = about.clone();
        about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        about
    };
    json!([
        {"do": "instructions"},
        {"do": "tools"},
        call("get_tagging_policy", json!({})),
        call("list_accounts", json!({})),
        call("check_tag_compliance", with(json!({"dry_run": true, "force_refresh": true}))),
        call("check_tag_compliance", with(json!({"limit": 1, "force_refresh": true}))),
        call("check_tag_compliance", with(json!({"limit": 1, "cursor": "<check_tag_compliance.next_cursor>"}))),
        call("find_untagged_resources", about.clone()),
        call("generate_compliance_report", with(json!({"format": "markdown"}))),
        call("export_violations_csv", about.clone()),
        call("validate_resource_tags", json!({"resource_arns": [owned, bare[0], absent]})),
        call("start_compliance_check", about.clone()),
        call("get_run", json!({"run_id": "<start_compliance_check.run_id>", "wait_seconds": 25})),
        call("cancel_run", json!({"run_id": "<start_compliance_check.run_id>"})),
        call("schedule_compliance_audit", json!({"schedule": "weekly", "time": "06:30", "resource_types": ["ec2:volume"]})),
        call("list_audits", json!({})),
        call("get_audit_status", json!({"audit": "nope"})),
        call("get_violation_history", json!({"group_by": "week"})),
        {"do": "prompts"},
        {"do": "prompt", "name": "find_and_fix", "arguments": {"account": "prod"}},
        {"do": "resources"},
        {"do": "templates"},
        {"do": "read", "name": "tagwarden://policy/owner"},
        {"do": "read", "name": "tagwarden://policy/nope"},
    ])
}

/// What was asked has its answers, in the words of the era of this mode. The first mode of a server finds nothing there.
#[track_caller]
pub fn everything_is_answered(answers: &[Value], mode: &str) {
    let [
        hello,
        tools,
        policy,
        accounts,
        rehearsal,
        first,
        second,
        untagged,
        report,
        csv,
        validated,
        started,
        run,
        cancelled,
        scheduled,
        audits,
        nope,
        history,
        prompts,
        prompt,
        resources,
        templates,
        read,
        missing,
    ] = answers
    else {
        panic!("{answers:#?}")
    };
    // A client that is pinned to a version asks for nothing at the start.
    if mode != "2026-07-28" {
        assert!(hello["instructions"].as_str().unwrap().contains("data_quality"), "{hello}");
    }
    let expected = if mode == "legacy" { "2025-11-25" } else { "2026-07-28" };
    assert_eq!(hello["version"], expected);
    let listed = tools["tools"].as_array().unwrap();
    let names: BTreeSet<&str> = listed.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), listed.len()), (14, 14));
    assert_eq!(content(policy)["required_tags"][0]["name"], "Owner");
    assert_eq!(content(accounts)["total"], 0);
    assert!(content(rehearsal)["dry_run"].as_str().unwrap().contains("would start a run over 1 accounts"));

    let first = content(first);
    assert_eq!(
        (&first["status"], &first["complete"], &first["cached"]),
        (&json!("completed"), &json!(true), &json!(false))
    );
    assert_eq!(
        (&first["total_resources"], &first["non_compliant_resources"]),
        (&json!(3), &json!(2)),
        "{first}"
    );
    assert_eq!((first["total"].as_u64(), first["violations"].as_array().unwrap().len()), (Some(2), 1));
    assert_eq!(first["scope"]["regions"], json!([HERE]));
    let second = content(second);
    assert_eq!((&second["run_id"], &second["cached"]), (&first["run_id"], &json!(true)));
    assert!(second["next_cursor"].is_null() && second["violations"][0] != first["violations"][0]);

    let untagged = content(untagged);
    assert_eq!((&untagged["total_untagged"], &untagged["cached"]), (&json!(2), &json!(true)));
    assert_eq!(untagged["resources"][0]["missing_required_tags"], json!(["Owner"]));
    let report = content(report);
    assert!(report["formatted_output"].as_str().unwrap().contains("## Top Violations by Count"), "{report}");
    let csv = content(csv);
    assert_eq!((&csv["row_count"], csv["csv_data"].as_str().unwrap().lines().count()), (&json!(2), 3));
    let verdicts: Vec<&str> = content(validated)["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["status"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["compliant", "non_compliant", "not_found"], "{validated}");

    assert!(content(started)["run_id"].as_str().unwrap().starts_with("adhoc-"));
    let run = content(run);
    assert_eq!((&run["status"], &run["total_resources"]), (&json!("succeeded"), &json!(3)), "{run}");
    assert!(content(cancelled)["message"].as_str().unwrap().contains("ended already"), "{cancelled}");
    let scheduled = content(scheduled);
    assert_eq!(scheduled["cron_expression"], "30 6 * * 1");
    assert_eq!(scheduled["status"], if mode == "legacy" { "created" } else { "unchanged" }, "{scheduled}");
    assert_eq!(content(audits)["total"], 1);
    assert_eq!(error(nope)["code"], "not_found");
    assert_eq!(content(history)["trend_direction"], "stable");
    assert_eq!(prompts["prompts"].as_array().unwrap().len(), 4);
    assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("in account prod"));
    assert!(resources["resources"].as_array().unwrap().len() >= 3, "{resources}");
    assert_eq!(templates["resourceTemplates"].as_array().unwrap().len(), 3);
    assert!(read["contents"][0]["text"].as_str().unwrap().contains("Owner"), "{read}");
    let code = if mode == "legacy" { -32002 } else { -32602 };
    assert_eq!(missing["error"]["code"], code, "{missing}");
}

#[test]
fn every_tool_answers_in_every_era_of_the_protocol() {
    let desk = Desk::new();
    let steps = everything_to_ask(&desk.cloud, &desk.account);
    for mode in MCP_MODES {
        let (answers, _) = mcp_session(&desk.server(&["--mcp-same-calls", "100"]), mode, &steps);
        everything_is_answered(&answers, mode);
    }
    let unnamed = desk.record().into_iter().find(|row| row.principal != "stdio" || row.tenant != "default");
    assert_eq!(unnamed, None);
}

#[test]
fn what_makes_no_sense_is_refused_in_band_and_every_call_is_in_the_record_once() {
    let desk = Desk::new();
    let cases = [
        (call("nope", json!({})), "unknown_tool"),
        (call("list_audits", json!({"surprise": 1})), "invalid_input"),
        (call("list_audits", json!({"cursor": "../../etc/passwd"})), "invalid_input"),
        (call("get_audit_status", json!({})), "invalid_input"),
        (call("get_audit_status", json!({"audit": "x\u{1b}[2J"})), "invalid_input"),
        (call("get_audit_status", json!({"audit": "x".repeat(2000)})), "invalid_input"),
        (call("get_run", json!({"run_id": "adhoc-none"})), "not_found"),
        (call("get_run", json!({"run_id": "a", "wait_seconds": 26})), "invalid_input"),
        (call("cancel_run", json!({"run_id": "' OR 1=1 --"})), "not_found"),
        (call("check_tag_compliance", json!({"resource_types": ["ec2:instanc"]})), "invalid_input"),
        (call("check_tag_compliance", json!({"regions": ["mars"]})), "invalid_input"),
        (call("check_tag_compliance", json!({"accounts": ["999999999999"]})), "not_found"),
        (call("check_tag_compliance", json!({"policy": "other"})), "not_found"),
        (call("check_tag_compliance", json!({"cursor": "adhoc-none~1"})), "invalid_input"),
        (call("validate_resource_tags", json!({"resource_arns": ["not-an-arn"]})), "invalid_input"),
        (call("validate_resource_tags", json!({"resource_arns": []})), "invalid_input"),
        (call("schedule_compliance_audit", json!({"cron": "0 3 31 2 *"})), "invalid_input"),
        (call("schedule_compliance_audit", json!({"timezone": "Mars"})), "invalid_input"),
        (call("schedule_compliance_audit", json!({"time": "25:00"})), "invalid_input"),
        (call("schedule_compliance_audit", json!({"name": "../x"})), "invalid_input"),
        (call("get_violation_history", json!({"days_back": 91})), "invalid_input"),
        (call("get_tagging_policy", json!({"policy": "AKIAIOSFODNN7EXAMPLE"})), "not_found"),
        (call("start_compliance_check", json!({"audit": "a", "regions": [HERE]})), "invalid_input"),
    ];
    let steps: Vec<Value> = cases.iter().map(|(step, _)| step.clone()).collect();
    let answers = desk.session(&[], &steps);
    for ((step, code), answer) in cases.iter().zip(&answers) {
        let error = error(answer);
        assert_eq!(error["code"], *code, "{step}: {error}");
        let text = error.to_string();
        assert!(!text.contains('\u{1b}') && !text.contains("/src/"), "{text}");
    }
    assert!(error(&answers[9])["message"].as_str().unwrap().contains("did you mean `ec2:instance`"));

    let record = desk.record();
    assert_eq!(record.len(), cases.len(), "one row a call: {record:#?}");
    for ((step, code), row) in cases.iter().zip(&record) {
        assert_eq!((row.operation.as_str(), row.status.as_str()), (step["name"].as_str().unwrap(), *code));
        assert_eq!((row.channel, row.arguments_digest.len()), ("stdio", 71));
        assert!(!row.arguments.contains("AKIA"), "{row:?}");
    }
    let ids: BTreeSet<&str> = record.iter().map(|row| row.correlation_id.as_str()).collect();
    assert_eq!(ids.len(), record.len());
}

#[test]
fn loops_and_spent_budgets_end_and_polling_is_free() {
    let desk = Desk::new();
    let again = call("list_audits", json!({}));
    let answers = desk.session(&[], &[again.clone(), again.clone(), again.clone(), again]);
    assert_eq!(content(&answers[2])["total"], 0);
    let refused = error(&answers[3]);
    assert_eq!(refused["code"], "loop_detected");
    assert!(refused["retry_after"].as_u64().is_some_and(|after| (1..=300).contains(&after)), "{refused}");

    let mut steps: Vec<Value> = (1..=3).map(|limit| call("list_audits", json!({"limit": limit}))).collect();
    steps.push(call("get_run", json!({"run_id": "adhoc-none"})));
    steps.push(call("list_audits", json!({"limit": 9, "dry_run": true})));
    let answers = desk.session(&["--mcp-calls-per-hour", "2"], &steps);
    assert_eq!(content(&answers[1])["total"], 0);
    assert_eq!(error(&answers[2])["code"], "budget_exhausted");
    assert_eq!(error(&answers[3])["code"], "not_found");
    assert!(content(&answers[4])["dry_run"].is_string());
}

#[test]
fn what_is_not_offered_cannot_be_called() {
    let desk = Desk::new();
    let steps = [
        json!({"do": "tools"}),
        call("schedule_compliance_audit", json!({})),
        call("cancel_run", json!({"run_id": "a"})),
        call("list_accounts", json!({})),
    ];
    let answers = desk.session(&["--mcp-read-only", "--mcp-without-tools", "list_accounts"], &steps);
    let listed = answers[0]["tools"].as_array().unwrap();
    assert_eq!(listed.len(), 11, "{listed:#?}");
    assert!(listed.iter().all(|tool| tool["annotations"]["readOnlyHint"] == true), "{listed:#?}");
    for answer in &answers[1..] {
        assert_eq!(error(answer)["code"], "unknown_tool");
    }
    let answers = desk.session(&["--mcp-toolsets", "read"], &[json!({"do": "tools"})]);
    assert!(
        answers[0]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .all(|tool| tool["annotations"]["openWorldHint"] == false)
    );
    for (flags, says) in [
        (["--mcp-toolsets", "nope"], "`nope` cannot be used: the toolsets are read, scan, policy"),
        (
            ["--mcp-without-tools", "list_audit"],
            "`list_audit` cannot be used: the tools are cancel_run, check_tag",
        ),
        (["--metrics-listen", "127.0.0.1:0"], "`tagwarden run` has listeners"),
    ] {
        let ended = desk.server(&flags).stdin(Stdio::null()).output().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&ended.stderr).contains(says), "{ended:?}");
    }
}

#[test]
fn several_clients_share_a_file_and_one_process_reconciles() {
    let desk = Desk::new();
    let mut first = desk.server(&[]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let second = desk.session(&[], &[call("get_tagging_policy", json!({})), call("list_audits", json!({}))]);
    assert_eq!(content(&second[0])["name"], "owner");
    let mut run = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    run.current_dir(desk.directory.path()).args([
        "run",
        "--control-plane",
        "embedded",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--store",
        &desk.store(),
    ]);
    let refused = run.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the store is in use"), "{refused:?}");
    // Without a client there is nothing to do.
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_call_that_takes_long_says_how_far_it_is() {
    let desk = Desk::new();
    desk.cloud.volume(HERE, BARE);
    desk.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_secs(8))));
    let about = json!({"resource_types": ["ec2:volume"], "regions": [HERE], "force_refresh": true});
    for era in ERAS {
        let mut wire = Wire::start(&mut desk.server(&["--mcp-same-calls", "100"]), era);
        let check = wire.call("check_tag_compliance", &about);
        let (answer, progress) = wire.answer_with_progress(check);
        assert_eq!(answer["result"]["structuredContent"]["status"], "completed", "{answer}");
        is_progress(&progress);
        let started = wire
            .called("start_compliance_check", &json!({"resource_types": ["ec2:volume"], "regions": [HERE]}));
        let run = wire.call("get_run", &json!({"run_id": started["run_id"], "wait_seconds": 25}));
        let (answer, progress) = wire.answer_with_progress(run);
        assert_eq!(answer["result"]["structuredContent"]["status"], "succeeded", "{answer}");
        is_progress(&progress);
        assert_eq!(wire.end().0, Some(0));
    }
}

/// It goes up, to something known, and says so in words.
#[track_caller]
fn is_progress(told: &[Value]) {
    assert!(!told.is_empty(), "nothing was told");
    let done: Vec<f64> = told.iter().map(|one| one["progress"].as_f64().unwrap()).collect();
    assert!(done.is_sorted(), "{told:?}");
    for one in told {
        assert!(one["total"].as_f64().unwrap() >= one["progress"].as_f64().unwrap(), "{one}");
        assert!(one["message"].as_str().unwrap().contains("of 1 accounts"), "{one}");
    }
}

#[test]
fn a_client_that_wants_no_answer_any_more_ends_the_work() {
    let desk = Desk::new();
    let volume = desk.cloud.volume(HERE, BARE);
    desk.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_mins(1))));
    let slow = [
        ("check_tag_compliance", json!({"resource_types": ["ec2:volume"], "regions": [HERE]})),
        ("validate_resource_tags", json!({"resource_arns": [volume]})),
    ];
    for era in ERAS {
        let mut wire = Wire::start(&mut desk.server(&[]), era);
        for (tool, arguments) in &slow {
            let (calls, rows) = (desk.proxy.calls().len(), desk.record().len());
            let call = wire.call(tool, arguments);
            until("the cloud is asked", || {
                let under_way =
                    |call: &tagwarden_testbed::Call| call.service == "ec2" && call.status.is_none();
                desk.proxy.calls().iter().skip(calls).any(under_way).then_some(())
            });
            wire.cancel(call);
            let row = until("the call ends", || desk.record().into_iter().nth(rows));
            assert_eq!((row.operation.as_str(), row.status.as_str()), (*tool, "cancelled"), "{era:?}");
        }
        // Nobody else had asked for the check, so that it ended with the call.
        until("the run ends", || {
            let mut runs = Program::alone().args(["history", "--store", &desk.store(), "--format", "json"]);
            let told = runs.run().stdout;
            (told.contains("cancelled") && !told.contains("running")).then_some(())
        });
        assert_eq!(wire.end().0, Some(0), "{era:?}");
    }
    // Nothing was asked again, and nothing waited for.
    assert!(desk.proxy.calls_of("ec2", "DescribeVolumes").iter().all(|call| call.status.is_none()));
}

#[test]
fn an_audit_that_is_asked_to_run_runs_to_its_end() {
    let desk = Desk::new();
    desk.cloud.volume(HERE, OWNED);
    desk.cloud.volume(HERE, BARE);
    let audit = format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: ComplianceAudit\nmetadata: {{name: yearly}}\nspec: {{schedule: '0 3 1 1 *', \
         policyRef: {{name: owner}}, accounts: {{all: true}}, regions: {{include: [{HERE}]}}, \
         resources: {{include: ['ec2:volume']}}}}\n---\n\
         apiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata: {{name: own}}\nspec: {{accountId: '{}', \
         auth: {{mode: Ambient}}}}\n",
        desk.account.id
    );
    std::fs::write(desk.directory.path().join("manifests/yearly.yaml"), audit).unwrap();
    for era in ERAS {
        let mut wire =
            Wire::start(&mut desk.server(&["--mcp-same-calls", "9999", "--mcp-calls-per-hour", "9999"]), era);
        until("the account is ready", || {
            let accounts = wire.called("list_accounts", &json!({}));
            (accounts["ready"] == 1).then_some(())
        });
        let started = wire.called("start_compliance_check", &json!({"audit": "yearly"}));
        let run_id = started["run_id"].as_str().unwrap().to_owned();
        assert!(run_id.starts_with("yearly-"), "{started}");
        let run = until("the run ends", || {
            let run = wire.called("get_run", &json!({"run_id": run_id, "wait_seconds": 25}));
            (run["status"] != "running" && run["status"] != "queued").then_some(run)
        });
        assert_eq!((&run["status"], &run["complete"]), (&json!("succeeded"), &json!(true)), "{run}");
        assert_eq!(
            (&run["total_resources"], &run["non_compliant_resources"]),
            (&json!(2), &json!(1)),
            "{run}"
        );
        let status = wire.called("get_audit_status", &json!({"audit": "yearly"}));
        assert!(status.to_string().contains(&run_id), "{status}");
        assert_eq!(wire.end().0, Some(0));
    }
}
