//! What a scan prints: the same facts in every format, whatever the tags hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tagwarden_testbed::{Fault, Rule};

use crate::program::{Ended, Program, Report};
use crate::site::{Site, site};

const POLICY: &str = r#"
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {name: formats}
spec:
  requiredTags:
    - key: Owner
      values: {regex: "[a-z.]+@example\\.com"}
    - key: Tier
      severity: medium
      values: {allowed: [gold, silver]}
  optionalTags:
    - key: Project
      values: {maxLength: 3}
  exemptions:
    - name: untiered
      reason: Disks have no tier.
      arns: ["arn:aws:ec2:*:*:volume/*"]
      tagKeys: [Tier]
      expiresAt: "2099-12-31T00:00:00Z"
"#;

const GOOD_OWNER: (&str, &str) = ("Owner", "ada@example.com");
const GOLD: (&str, &str) = ("Tier", "gold");
const FORMULA: &str = "=cmd|' /C calc'!A1";
/// Clears the screen, colours, moves to the next line, and an eight-bit control character.
const CONTROLS: &str = "\u{1b}[2J\u{1b}[31mred\r\nnext\u{9b}1m";
const MARKUP: &str = "a|b`*_[l](http://x)<script>";
const REGION: &str = "eu-west-1";

/// One account with a compliant resource, three that violate the policy, one exempt, and databases that nobody may list.
fn hostile() -> Site {
    let site = site();
    site.cloud.cluster(REGION, "good", &[GOOD_OWNER, GOLD, ("Project", "too-long")]);
    site.cloud.cluster(REGION, "formula", &[("Owner", FORMULA), GOLD]);
    site.cloud.cluster(REGION, "controls", &[("Owner", CONTROLS), ("Tier", MARKUP)]);
    site.cloud.volume(REGION, &[]);
    site.cloud.volume(REGION, &[GOOD_OWNER]);
    site.proxy.rule(Rule::on("rds", "*", Fault::Deny));
    site
}

fn program(site: &Site, format: &str) -> Program {
    let program = Program::behind(&site.proxy).args(["scan", "--format", format, "--region", REGION]);
    program.policy(POLICY).accounts(&[&site.account]).args(["--type", "ec2:volume,ecs:cluster,rds:db"])
}

fn scan(site: &Site, format: &str, more: &[&str]) -> Ended {
    program(site, format).args(more).run()
}

#[track_caller]
fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stderr, ended.stdout);
    ended.stdout
}

#[test]
fn every_format_names_the_gap() {
    let site = hostile();
    for format in ["table", "json", "ndjson", "csv", "markdown"] {
        let ended = scan(&site, format, &[]);
        assert_eq!(
            ended.stderr.contains("warning: partial: 1 of 3 cells"),
            format != "table",
            "{}",
            ended.stderr
        );
        let text = succeeded(ended);
        let partial = match format {
            "json" | "ndjson" => "\"complete\":false",
            "table" => "PARTIAL: 1 of 3 cells",
            "csv" => "# partial: 1 of 3 cells",
            _ => "**Partial.** 1 of 3 cells",
        };
        assert!(text.contains(partial), "{format}: no {partial:?} in\n{text}");
        let plain = text.replace('\\', "");
        for fragment in ["denied", "rds:db", REGION, &site.account.id, "rds:DescribeDBInstances"] {
            assert!(plain.contains(fragment), "{format}: no {fragment:?} in\n{text}");
        }
    }
}

/// Exactly these fields: `?` marks those that may be absent.
#[track_caller]
fn fields(object: &Value, names: &str) {
    let found: BTreeSet<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = names.split_whitespace().map(|name| name.trim_end_matches('?')).collect();
    let needed: BTreeSet<&str> = names.split_whitespace().filter(|name| !name.ends_with('?')).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    let missing: Vec<_> = needed.difference(&found).collect();
    assert!(
        unknown.is_empty() && missing.is_empty(),
        "unknown {unknown:?}, missing {missing:?} in {object:#}"
    );
}

#[track_caller]
fn rows<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object[name].as_array().unwrap_or_else(|| panic!("{name} is no list in {object:#}"))
}

const COUNTERS: &str =
    "score resources compliant violating exempt unknown violations advice bySeverity byViolationType";

/// The report without its violations.
#[track_caller]
fn check_report(report: &Value, more: &str) {
    let names = "apiVersion kind runId startedAt finishedAt policy complete accounts summary byAccount byRegion \
                 byResourceType byTag coverage requests throttled";
    fields(report, &format!("{names} {more}"));
    assert_eq!(report["apiVersion"], "tagwarden.io/v1alpha1");
    assert_eq!(report["kind"], "ScanReport");
    fields(&report["policy"], "name revision");
    for account in rows(report, "accounts") {
        fields(account, "accountId name? state cause? regions discoveryFailed discoveryError?");
    }
    fields(&report["summary"], COUNTERS);
    fields(&report["summary"]["bySeverity"], "critical high medium low info");
    let types = "missing_required_tag invalid_value invalid_format wrong_case forbidden_tag naming_rule";
    fields(&report["summary"]["byViolationType"], types);
    for (list, key) in
        [("byAccount", "accountId"), ("byRegion", "region"), ("byResourceType", "resourceType")]
    {
        for row in rows(report, list) {
            fields(row, &format!("{key} {COUNTERS}"));
        }
        let sum: u64 = rows(report, list).iter().map(|row| row["resources"].as_u64().unwrap()).sum();
        assert_eq!(report["summary"]["resources"], sum, "{list} adds up");
    }
    for row in rows(report, "byTag") {
        fields(row, "tagKey missing invalid");
    }
    for cell in rows(report, "coverage") {
        fields(cell, "accountId region resourceType state resources cause?");
        assert_eq!(cell["state"] == "complete", cell.get("cause").is_none(), "{cell:#}");
    }
    for (operation, count) in report["requests"].as_object().unwrap() {
        assert!(operation.contains('.') && count.as_u64() > Some(0), "{operation}: {count}");
    }
}

#[track_caller]
fn check_violation(row: &Value) {
    let names = "arn resourceId resourceType accountId region tagKey violationType severity kind currentValue? \
                 allowedValues? expectedFormat? exemptedBy? exemptUntil? message";
    fields(row, names);
    assert!(row["arn"].as_str().unwrap().starts_with("arn:aws:"));
}

#[test]
fn json_is_one_document_with_the_names_that_were_promised() {
    let site = hostile();
    let report = scan(&site, "json", &[]).report();
    check_report(&report.0, "violations");
    for row in rows(&report.0, "violations") {
        check_violation(row);
    }
    for (counter, count) in
        [("resources", 4), ("compliant", 1), ("violating", 3), ("exempt", 1), ("unknown", 0)]
    {
        assert_eq!(report.summary(counter), count, "{counter}");
    }
    assert_eq!(report.0["summary"]["score"], 0.25);
    let about = |id: &str, key: &str| {
        let found = report.violations(|row| row["resourceId"] == id && row["tagKey"] == key);
        <[Value; 1]>::try_from(found).unwrap_or_else(|found| panic!("{id} {key}: {found:?}"))[0].clone()
    };
    // Nothing of a value is lost.
    assert_eq!(about("formula", "Owner")["currentValue"], FORMULA);
    assert_eq!(about("controls", "Owner")["currentValue"], CONTROLS);
    assert_eq!(about("controls", "Tier")["allowedValues"], serde_json::json!(["gold", "silver"]));
    assert_eq!(about("good", "Project")["kind"], "advice");
    let exempt = report.violations(|row| row.get("exemptedBy").is_some());
    assert_eq!(exempt.len(), 2);
    assert!(
        exempt
            .iter()
            .all(|row| row["exemptedBy"] == "untiered" && row["exemptUntil"] == "2099-12-31T00:00:00Z")
    );
}

#[test]
fn ndjson_is_a_finding_a_line_and_the_report_at_the_end() {
    let site = hostile();
    let text = succeeded(scan(&site, "ndjson", &[]));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, findings) = lines.split_last().unwrap();
    check_report(report, "");
    findings.iter().for_each(check_violation);
    assert_eq!(findings.len(), 7);
}

#[test]
fn csv_is_a_finding_a_row_that_no_spreadsheet_runs() {
    let site = hostile();
    let text = succeeded(scan(&site, "csv", &[]));
    let (comments, table) = text.split_at(text.find("arn,").expect("a header"));
    assert!(comments.lines().all(|line| line.starts_with("# ")), "{comments}");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    let at =
        |name: &str| header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
    let (id, key, value, allowed) = (at("resourceId"), at("tagKey"), at("currentValue"), at("allowedValues"));
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 7);
    let find =
        |name: &str, tag: &str| records.iter().find(|row| &row[id] == name && &row[key] == tag).unwrap();
    assert_eq!(&find("formula", "Owner")[value], format!("'{FORMULA}"));
    assert_eq!(&find("controls", "Owner")[value], "\u{fffd}[2J\u{fffd}[31mred\u{fffd}\nnext\u{fffd}1m");
    assert_eq!(&find("controls", "Tier")[value], MARKUP);
    assert_eq!(&find("controls", "Tier")[allowed], "gold; silver");
    for cell in records.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
}

#[track_caller]
fn fits_a_terminal(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
    let control = text.chars().find(|symbol| symbol.is_control() && *symbol != '\n');
    assert_eq!(control, None, "in\n{text}");
}

#[test]
fn a_table_fits_a_terminal_and_cannot_be_made_to_control_it() {
    let site = hostile();
    let text = succeeded(scan(&site, "table", &[]));
    fits_a_terminal(&text);
    let order =
        ["25.0 % compliant  1 of 4 resources", "3 violating", "1 exempt, 0 unknown", "PARTIAL", "WORST TAGS"];
    let places: Vec<_> =
        order.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))).collect();
    assert!(places.is_sorted(), "the score, the counts, then the gaps:\n{text}");
    for part in [
        "ACCOUNT",
        "REGION",
        "RESOURCE TYPE",
        "cluster/controls",
        "`=cmd|' /C calc'!A1`",
        "(exempt by `untiered`",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }

    let coloured = program(&site, "table").env("CLICOLOR_FORCE", "1").run().stdout;
    assert!(coloured.contains("\u{1b}[1m") && !coloured.contains("\u{1b}[2J"), "{coloured}");
}

#[test]
fn markdown_keeps_what_tags_hold_inside_its_cells() {
    let site = hostile();
    let text = succeeded(scan(&site, "markdown", &[]));
    assert!(text.starts_with("# Tag Compliance Report\n"), "{text}");
    assert!(text.contains("- Score: 25.0 %"), "{text}");
    assert!(!text.contains("<script") && !text.contains("[l]("), "{text}");
    assert!(text.contains(r"a\|b\`\*\_\[l\](http://x)&lt;script>"), "{text}");
    let columns = |line: &str| line.replace(r"\\", "").replace(r"\|", "").matches('|').count();
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("| Severity")).collect();
    assert!(table.len() > 5 && table.iter().all(|line| columns(line) == 4), "{table:#?}");
}

#[test]
fn a_severity_changes_what_is_listed_and_never_the_score() {
    let site = hostile();
    for (severity, listed) in [("all", 7), ("errors", 6), ("warnings", 1)] {
        let report = scan(&site, "json", &["--severity", severity]).report();
        assert_eq!(rows(&report.0, "violations").len(), listed, "{severity}");
        assert_eq!(report.0["summary"]["score"], 0.25, "{severity}");
        assert_eq!((report.summary("violations"), report.summary("advice")), (4, 1), "{severity}");
        let kind = if severity == "warnings" { "advice" } else { "violation" };
        assert!(report.violations(|row| row["kind"] == kind).len() >= listed.min(6), "{severity}");
    }
}

fn json_of(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_result_goes_where_it_was_sent_and_nowhere_else() {
    let site = hostile();
    let mut program = program(&site, "json").args(["--output", "reports/latest.json"]);
    let place = |name: &str| program.directory().join(name);
    std::fs::create_dir(place("reports")).unwrap();
    std::fs::write(place("reports/first.json"), "old").unwrap();
    std::os::unix::fs::symlink("first.json", place("reports/latest.json")).unwrap();
    let (first, latest, reports) =
        (place("reports/first.json"), place("reports/latest.json"), place("reports"));
    let ended = program.run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    check_report(&json_of(&first), "violations");
    let in_short = "reports/latest.json: 25.0 % compliant, 3 of 4 resources violating";
    assert!(ended.stderr.contains(in_short), "{}", ended.stderr);
    assert!(latest.is_symlink(), "the link was replaced");
    assert_eq!(std::fs::read_dir(&reports).unwrap().count(), 2, "something else was left there");

    // What is no file is written to, not replaced.
    let ended = scan(&site, "json", &["--output", "/dev/stderr"]);
    assert!(ended.stderr.contains("\"kind\":\"ScanReport\"") && ended.stdout.is_empty(), "{}", ended.stderr);
}

#[test]
fn stdout_is_for_the_result_alone() {
    let site = hostile();
    site.proxy.rule(Rule::on("ecs", "ListClusters", Fault::Delay(Duration::from_secs(6))).once());
    let ended = program(&site, "json").env("TAGWARDEN_LOG_LEVEL", "debug").run();
    assert!(ended.stderr.contains("scanning: ") && ended.stderr.contains("/3 cells"), "{}", ended.stderr);
    assert_eq!(ended.report().summary("resources"), 4);
}

#[test]
fn exit_statuses_and_which_comes_first() {
    let site = hostile();
    let status = |more: &[&str]| {
        let ended = scan(&site, "json", more);
        (ended.status, ended.stderr)
    };
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 0, "partial"),
        (&["--fail-under", "0.25"], 0, "partial"),
        (&["--fail-under", "0.26"], 1, "the score 0.2500 is below --fail-under 0.26"),
        (&["--fail-on-partial"], 4, "--fail-on-partial: 1 of 3 cells"),
        (&["--fail-on-partial", "--fail-under", "1"], 4, "--fail-on-partial"),
        (&["--fail-on-partial", "--region", "mars-1"], 2, "mars-1"),
    ];
    for (more, wanted, says) in cases {
        let (status, stderr) = status(more);
        assert_eq!(status, Some(*wanted), "{more:?}: {stderr}");
        assert!(stderr.contains(says), "{more:?}: {stderr}");
    }
    site.proxy.distrust(&site.account.role_arn);
    let (status, stderr) = status(&["--fail-on-partial", "--fail-under", "1"]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("nothing could be scanned"), "{stderr}");
}

#[test]
fn a_complete_scan_is_silent() {
    let site = site();
    site.cloud.volume(REGION, &[GOOD_OWNER]);
    let run = |more: &[&str]| {
        let program = Program::behind(&site.proxy).args(["scan", "--region", REGION, "--type", "ec2:volume"]);
        program.policy(POLICY).accounts(&[&site.account]).args(more).run()
    };
    let ended = run(&["--fail-on-partial", "--fail-under", "1"]);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert!(!ended.stdout.contains("PARTIAL"), "{}", ended.stdout);
    assert!(!run(&["--format", "csv"]).stdout.contains('#'));
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupted_scan_reports_what_it_saw_and_what_it_did_not() {
    let site = site();
    for _ in 0..4 {
        site.cloud.volume(REGION, &[]);
    }
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Repage { size: 1 }));
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_mins(10))).after(2));
    let mut program =
        site.program(&[&site.account], &["ec2:volume"], &[REGION]).args(["--store", "sqlite:runs.db"]);
    // An earlier result, which is replaced.
    program.file("report.json", "{}");
    program = program.args(["--output", "report.json"]);
    let running = program.start();
    // Its third request means that its first page was judged.
    until("the third page", || site.proxy.count("ec2", "DescribeVolumes") >= 3);
    running.interrupt();
    let ended = running.end();
    assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("warning: the scan was stopped: `report.json` is partial"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let report = Report(json_of(&program.directory().join("report.json")));
    assert!(!report.complete());
    let cell = site.cell(&report, REGION, "ec2:volume");
    assert_eq!(cell.state, "interrupted");
    assert!(cell.resources >= 1, "{cell:?}");
    let store = format!("sqlite:{}", program.directory().join("runs.db").display());
    let history =
        Program::behind(&site.proxy).args(["history", "--format", "json", "--store", &store]).run().stdout;
    assert!(history.contains("\"cancelled\""), "{history}");
}

fn types_in_scope(site: &Site, applies_to: &str, more: &[&str]) -> BTreeSet<String> {
    let rule = format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {{name: scope}}\nspec:\n  requiredTags:\n  \
         - key: Owner\n    appliesTo: {{resourceTypes: {applies_to}}}\n"
    );
    let program = Program::behind(&site.proxy).args(["scan", "--format", "json", "--region", REGION]);
    let report = program.policy(&rule).accounts(&[&site.account]).args(more).run().report();
    report.cells().into_iter().map(|cell| cell.resource_type).collect()
}

#[test]
fn all_means_what_costs_money_and_what_a_rule_names() {
    let site = site();
    let everything = types_in_scope(&site, "['*']", &[]);
    assert_eq!(everything.len(), 42, "{everything:?}");
    assert!(!everything.contains("sns:topic"), "free, and not named");
    assert_eq!(types_in_scope(&site, "[]", &[]), everything);
    assert_eq!(types_in_scope(&site, "['*', sns:topic]", &[]).len(), 43);
    let ec2 = types_in_scope(&site, "['ec2:*']", &[]);
    assert!(ec2.contains("ec2:vpc") && ec2.contains("ec2:volume") && !ec2.contains("s3:bucket"), "{ec2:?}");
    assert_eq!(
        types_in_scope(&site, "['*']", &["--type", "sns:topic"]),
        BTreeSet::from(["sns:topic".to_owned()])
    );
    assert_eq!(types_in_scope(&site, "['*']", &["--type", "all"]), everything);
}

fn told(args: &[&str]) -> Ended {
    let proxy = tagwarden_testbed::Testbed::shared().proxy();
    let ended = Program::behind(&proxy).args(args).run();
    assert_eq!(proxy.calls(), []);
    ended
}

#[test]
fn the_types_fit_a_terminal_and_are_whole() {
    let text = succeeded(told(&["types"]));
    fits_a_terminal(&text);
    let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split("  ").next()).collect();
    for name in ["ec2:instance", "elasticloadbalancing:targetgroup", "sns:topic", "iam:role"] {
        assert!(names.contains(&name), "{name}:\n{text}");
    }
    assert!(
        text.lines().any(|line| line.starts_with("iam:role ") && line.contains("free, global")),
        "{text}"
    );
    let page = succeeded(told(&["types", "--format", "markdown"]));
    assert!(page.contains("| `ec2:instance`") && page.lines().count() > 50, "{page}");
}

#[test]
fn the_permissions_are_those_of_the_types_and_only_read() {
    let policy = |args: &[&str]| -> Value { serde_json::from_str(&succeeded(told(args))).unwrap() };
    let actions = |policy: &Value| -> BTreeSet<String> {
        let statements = rows(policy, "Statement");
        let actions = statements.iter().flat_map(|statement| rows(statement, "Action"));
        actions.map(|action| action.as_str().unwrap().to_owned()).collect()
    };
    let one = policy(&["iam-policy", "--type", "ec2:volume"]);
    assert_eq!(one["Version"], "2012-10-17");
    let wanted = ["ec2:DescribeRegions", "ec2:DescribeVolumes"].map(str::to_owned);
    assert_eq!(actions(&one), BTreeSet::from(wanted));
    let all = actions(&policy(&["iam-policy"]));
    assert!(all.is_superset(&actions(&one)) && all.len() > 20, "{all:?}");
    assert_eq!(all, actions(&policy(&["iam-policy", "--type", "all"])));
    for action in &all {
        let (_, verb) = action.split_once(':').unwrap();
        assert!(["Describe", "List", "Get"].iter().any(|read| verb.starts_with(read)), "{action}");
    }
}

#[test]
fn help_fits_a_terminal() {
    let commands: [&[&str]; 8] = [
        &[],
        &["scan"],
        &["policy"],
        &["policy", "check"],
        &["policy", "convert"],
        &["history"],
        &["types"],
        &["iam-policy"],
    ];
    for command in commands {
        for flag in ["-h", "--help"] {
            let text = succeeded(told(&[command, &[flag]].concat()));
            assert!(text.contains("Usage: tagwarden"), "{text}");
            fits_a_terminal(&text);
        }
    }
    let scan = succeeded(told(&["scan", "--help"]));
    assert!(scan.contains("Exit status:") && scan.contains("3  nothing could be scanned"), "{scan}");
}

#[test]
fn good_policies_are_called_good_and_old_ones_become_manifests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| root.join(name).display().to_string();
    let text = succeeded(told(&["policy", "check", &file("policies"), &file("tests/estate/policy.yaml")]));
    assert!(text.lines().count() >= 4 && text.lines().all(|line| line.contains(" is valid: ")), "{text}");

    let proxy = tagwarden_testbed::Testbed::shared().proxy();
    let old = file("tests/cases/manifests/predecessor.json");
    let mut convert = Program::behind(&proxy);
    let target = convert.directory().join("converted.yaml").display().to_string();
    convert = convert.args(["policy", "convert", &old, "--name", "inherited", "--output", &target]);
    assert_eq!(succeeded(convert.run()), "");
    let manifest = std::fs::read_to_string(&target).unwrap();
    assert!(manifest.contains("kind: TaggingPolicy") && manifest.contains("name: inherited"), "{manifest}");
    assert!(!manifest.contains("namespace"), "{manifest}");
    let counts = |text: &str| {
        text.split_once(" is valid: ").and_then(|(_, rest)| rest.split(';').next()).map(str::to_owned)
    };
    let checked = succeeded(told(&["policy", "check", &target]));
    assert!(checked.contains("policy inherited is valid"), "{checked}");
    assert_eq!(counts(&checked), counts(&succeeded(told(&["policy", "check", &old]))));
    let printed = succeeded(told(&["policy", "convert", &old, "--name", "inherited"]));
    assert_eq!(printed, manifest);
}

#[test]
fn no_log_level_shows_an_external_id() {
    let site = site();
    site.cloud.volume(REGION, &[GOOD_OWNER]);
    let secret = site.account.external_id.as_deref().unwrap();
    let precise = "debug,aws_smithy_runtime::client=trace,aws_smithy_runtime::client::orchestrator=trace,\
                   aws_smithy_runtime::client::http=trace,aws_sdk_sts=trace,aws_runtime=trace,aws_sigv4::http_request=trace,\
                   hyper_util::client=trace,hyper::proto=trace,[invoke]=trace";
    for level in ["trace", precise] {
        let program = Program::behind(&site.proxy).args(["scan", "--region", REGION, "--type", "ec2:volume"]);
        let program = program.args(["--store", "sqlite:runs.db"]).env("TAGWARDEN_LOG_LEVEL", level);
        let ended = program.policy(POLICY).accounts(&[&site.account]).run();
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("DEBUG tagwarden"), "{level}: nothing was logged: {}", ended.stderr);
        assert!(!ended.stderr.contains(secret), "{level}: {}", ended.stderr);
        assert!(!ended.stderr.contains("transmitting request"), "{level}: {}", ended.stderr);
    }
}
