//! The workflows: what actionlint says of them, and that they run nothing that somebody else can change.

use std::path::Path;

use serde_json::Value;
use tagwarden_testbed::tools;

fn workflows() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let mut found: Vec<(String, String)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn actionlint_has_nothing_to_say() {
    let workflows = workflows();
    assert_eq!(workflows.len(), 2);
    let mut command = tools::program("actionlint");
    // What a machine happens to have besides must not change the result.
    command.args(["-shellcheck=", "-pyflakes="]).args(workflows.iter().map(|(path, _)| path));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn actions_are_pinned_by_digest_and_say_their_version() {
    let mut pinned = 0;
    for (path, text) in workflows() {
        for line in
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "))
        {
            let (_, pin) = line.split_once('@').unwrap_or_else(|| panic!("{path}: {line}"));
            let (digest, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("{path}: {line}"));
            assert!(
                digest.len() == 40 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{path}: {line}"
            );
            assert!(version.split('.').count() == 3, "{path}: {line}");
            pinned += 1;
        }
    }
    assert!(pinned > 5);
}

#[test]
fn the_tests_are_those_of_every_machine_and_rights_are_few() {
    for (path, text) in workflows() {
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert!(workflow["permissions"]["contents"] != "write", "{path}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_u64(), "{path}: {name} may run for ever");
            let checkouts = job["steps"].as_array().unwrap().iter();
            let checkouts = checkouts.filter(|step| {
                step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout"))
            });
            for checkout in checkouts {
                assert_eq!(checkout["with"]["persist-credentials"], false, "{path}: {name}");
            }
        }
        if path.ends_with("ci.yaml") {
            let steps = workflow["jobs"]["test"]["steps"].as_array().unwrap();
            assert_eq!(steps.last().unwrap()["run"], "make test");
        }
    }
}
