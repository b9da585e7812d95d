//! Settings: which of flag, variable, file and default wins, what is refused, and that the pages say the same.

use std::path::Path;

use serde_json::Value;

use crate::program::{Ended, Program};

/// `tagwarden config --format json` with these arguments, variables and this file.
fn config(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Ended {
    let mut program = Program::alone().args(["config", "--format", "json"]).args(flags);
    for (name, value) in variables {
        program = program.env(name, value);
    }
    if let Some(text) = file {
        program.file("settings.yaml", text);
        program = program.args(["--config", "settings.yaml"]);
    }
    program.run()
}

#[track_caller]
fn setting(ended: &Ended, key: &str) -> (String, String) {
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let settings: Value = serde_json::from_str(&ended.stdout).unwrap();
    let text = |field: &str| {
        settings[key][field].as_str().unwrap_or_else(|| panic!("{key}: {settings:#}")).to_owned()
    };
    (text("value"), text("from"))
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let flag: &[&str] = &["--keep-days", "1"];
    let variable: &[(&str, &str)] = &[("TAGWARDEN_KEEP_DAYS", "2")];
    let file = Some("keepDays: 3\n");
    for (flags, variables, file, expected, from) in [
        (flag, variable, file, "1", "flag --keep-days"),
        (flag, &[][..], None, "1", "flag --keep-days"),
        (&[][..], variable, file, "2", "variable TAGWARDEN_KEEP_DAYS"),
        (&[], &[], file, "3", "file settings.yaml"),
        (&[], &[("TAGWARDEN_KEEP_DAYS", "")], file, "3", "file settings.yaml"),
        (&[], &[], Some("# keepDays: 3\n"), "90", "default"),
        (&[], &[], Some("keepDays:\n"), "90", "default"),
        (&[], &[], None, "90", "default"),
    ] {
        let found = setting(&config(flags, variables, file), "keepDays");
        assert_eq!(found, (expected.to_owned(), from.to_owned()), "{flags:?} {variables:?} {file:?}");
    }
}

#[test]
fn switches_lists_and_shared_flags_have_all_their_forms() {
    for (flags, variables, file, key, expected) in [
        (&["--manifests=a", "--manifests-prune"][..], &[][..], None, "manifestsPrune", "true"),
        (
            &["--manifests=a", "--manifests-prune=false"],
            &[("TAGWARDEN_MANIFESTS_PRUNE", "true")],
            None,
            "manifestsPrune",
            "false",
        ),
        (&["--watch-namespaces", "a,b", "--watch-namespaces", "c"], &[], None, "watchNamespaces", "a,b,c"),
        (&[], &[("TAGWARDEN_WATCH_NAMESPACES", "a, b")], None, "watchNamespaces", "a,b"),
        (&[], &[], Some("watchNamespaces: [a, b]\n"), "watchNamespaces", "a,b"),
        (
            &["--resource-types", "types.yaml"],
            &[],
            Some("resourceTypes: other.yaml\n"),
            "resourceTypes",
            "types.yaml",
        ),
        (&[], &[], Some("resourceTypes: other.yaml\n"), "resourceTypes", "other.yaml"),
        (&[], &[("TAGWARDEN_CONFIG", "")], None, "namespace", "default"),
    ] {
        assert_eq!(
            setting(&config(flags, variables, file), key).0,
            expected,
            "{flags:?} {variables:?} {file:?}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place_and_the_remedy() {
    for (flags, file, expected) in [
        (
            &[][..],
            Some("metricListen: a\n"),
            "settings.yaml: metricListen: unknown setting; did you mean `metricsListen`?",
        ),
        (
            &[],
            Some("keepDays: 0\n"),
            "settings.yaml: keepDays: `0` cannot be used: expected a whole number from 1 to 3650",
        ),
        (&[], Some("keepDays: [1]\n"), "settings.yaml: keepDays: expected a single value"),
        (&[], Some("keepDays: 1\nkeepDays: 2\n"), "the settings file `settings.yaml`: "),
        (
            &["--metrics-listen", "8081"],
            None,
            "--metrics-listen: `8081` cannot be used: expected an address and a port",
        ),
        (&["--control-plane", "k8s"], None, "expected `embedded` or `kubernetes`"),
        (&["--manifests-prune"], None, "--manifests-prune: needs --manifests"),
        (&["--api-listen", "127.0.0.1:1"], None, "--api-listen: needs --api-tokens"),
        (
            &["--api-listen", "0.0.0.0:1", "--api-tokens", "t"],
            None,
            "an address that others can reach needs --api-tls-cert and --api-tls-key",
        ),
        (
            &["--api-listen", "127.0.0.1:1", "--api-tokens", "t", "--api-tls-key", "k"],
            None,
            "--api-tls-cert and --api-tls-key: one needs the other",
        ),
        (
            &["--control-plane", "kubernetes", "--manifests", "m"],
            None,
            "--manifests: a cluster has its own tools for this: apply the directory with `kubectl apply -f DIR`",
        ),
        (&["--config", "absent.yaml"], None, "the settings file `absent.yaml` cannot be read"),
    ] {
        let ended = config(flags, &[], file);
        assert_eq!(ended.status, Some(2), "{flags:?} {file:?}: {}", ended.stdout);
        assert!(ended.stderr.contains(expected), "{flags:?} {file:?}: {}", ended.stderr);
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let ended = config(&["--keep-days", "0"], &[("TAGWARDEN_LOG_FORMAT", "xml")], Some("namespace: A\n"));
    assert_eq!(ended.status, Some(2));
    for place in ["--keep-days: `0`", "TAGWARDEN_LOG_FORMAT: `xml`", "settings.yaml: namespace: `A`"] {
        assert!(ended.stderr.contains(place), "{place}: {}", ended.stderr);
    }
}

#[test]
fn passwords_are_never_printed() {
    let good = "postgres://tags:pa55@db/tags?password=pa55";
    let bad = "mysql://tags:pa55@db/tags";
    for ended in [
        config(&["--store", good], &[], None),
        config(&[], &[("TAGWARDEN_STORE", good)], None),
        config(&[], &[], Some(&format!("store: {good}\n"))),
        config(&["--store", bad], &[], None),
        config(&[], &[], Some(&format!("store: {bad}\nx: [\n"))),
        Program::alone().args(["config"]).env("TAGWARDEN_STORE", good).run(),
        Program::alone().args(["run", "--help"]).env("TAGWARDEN_STORE", good).run(),
    ] {
        assert!(!ended.stdout.contains("pa55") && !ended.stderr.contains("pa55"), "{ended:?}");
    }
}

fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a page anew where that is wanted.
fn update(path: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), text).unwrap();
    }
}

#[test]
fn pages_that_are_made_from_code_are_up_to_date() {
    for (page, path) in [
        ("settings", "docs/reference/settings.md"),
        ("settings-file", "config/tagwarden.yaml"),
        ("conditions", "docs/reference/conditions.md"),
        ("api", "docs/reference/api.md"),
        ("tools", "docs/reference/tools.md"),
    ] {
        let printed = Program::alone().args(["docs", page]).run().stdout;
        assert!(printed.len() > 1000, "{page} is empty");
        update(path, &printed);
        assert!(
            printed == committed(path),
            "{path} is out of date; run\n    UPDATE_DOCS=1 cargo test --test it settings"
        );
    }
}

#[test]
fn the_sample_file_is_one_and_changes_nothing() {
    // Uncommented: a line is a setting where a key stands right behind the comment sign.
    let is_setting = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default();
        line.contains(':') && key.chars().all(char::is_alphanumeric) && key.starts_with(char::is_lowercase)
    };
    let sample = committed("config/tagwarden.yaml");
    let settings: Vec<&str> =
        sample.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
    let ended = config(&[], &[], Some(&(settings.join("\n") + "\n")));
    let (with, without): (Value, Value) = (
        serde_json::from_str(&ended.stdout).unwrap(),
        serde_json::from_str(&config(&[], &[], None).stdout).unwrap(),
    );
    assert_eq!(settings.len(), without.as_object().unwrap().len());
    for (key, entry) in without.as_object().unwrap() {
        assert_eq!(with[key]["value"], entry["value"], "{key}");
    }
    assert_eq!(config(&[], &[], Some(&sample)).status, Some(0));
}

#[test]
fn committed_definitions_are_those_of_the_program() {
    const BYTES_MAX: usize = 200 << 10;
    let program = Program::alone().args(["crds", "--out", "crds"]);
    let directory = program.directory().join("crds");
    let mut program = program;
    assert_eq!(program.run().status, Some(0));
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in &names {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(
            text.len() < BYTES_MAX,
            "{name} has {} bytes; clients cannot apply more than 256 KiB",
            text.len()
        );
        assert!(
            text == committed(&format!("crds/{name}")),
            "crds/{name} is out of date; run\n    cargo run -- crds --out crds"
        );
    }
    let committed = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")).unwrap();
    assert_eq!(committed.count(), names.len(), "crds/ holds a file that `tagwarden crds` does not write");
}

#[test]
fn a_kubeconfig_names_the_token_and_holds_the_certificates() {
    let program = Program::alone();
    program.file("token", "opensesame\n");
    program.file("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let token = program.directory().join("token");
    let ended = program
        .args(["kubeconfig", "--server", "https://tags.example.com:6443", "--token-file", "token"])
        .args(["--ca", "ca.pem", "--namespace", "finops"])
        .run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for expected in [
        "https://tags.example.com:6443",
        &token.display().to_string(),
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "namespace: finops",
        "current-context: tagwarden",
    ] {
        assert!(ended.stdout.contains(expected), "{expected}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("opensesame"));
    for (arguments, expected) in [
        (
            ["--server", "tags.example.com", "--token-file", "token"],
            "--server: `tags.example.com` cannot be used",
        ),
        (["--server", "https://a", "--token-file", "absent"], "--token-file: `absent` cannot be read"),
        (
            ["--server", "https://a", "--token-file", "ca.pem"],
            "--token-file: `ca.pem` holds more than a token",
        ),
    ] {
        let program = Program::alone();
        program.file("token", "opensesame\n");
        program.file("ca.pem", "-----BEGIN CERTIFICATE-----\n");
        let ended = program.args(["kubeconfig"]).args(arguments).run();
        assert_eq!(ended.status, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_kubeconfig_for_plain_http_says_that_it_will_not_do() {
    let program = Program::alone();
    program.file("token", "a-token");
    let plain = ["kubeconfig", "--server", "http://127.0.0.1:6443", "--token-file", "token"];
    let ended = program.args(plain).run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("kubectl sends no token over plain HTTP"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--api-tls-self-signed"), "{}", ended.stderr);
}

#[test]
fn files_that_are_not_there_are_named() {
    let program = Program::alone();
    program.file("tokens", "");
    let flags = [
        "--manifests",
        "manifests",
        "--api-listen",
        "127.0.0.1:0",
        "--api-tokens",
        "tokens",
        "--api-tls-cert",
        "a.crt",
        "--api-tls-key",
        "a.key",
        "--store",
        "sqlite:away/tags.db",
    ];
    let ended = program.args(["config"]).args(flags).run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for told in [
        "--manifests: there is no directory `manifests` here",
        "--api-tls-cert: there is no file `a.crt` here",
        "--api-tls-key: there is no file `a.key` here",
        "--store: there is no directory `away` here",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("--api-tokens"), "{}", ended.stderr);
}
