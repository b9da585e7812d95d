//! The programs that documents tell people to run: their flags are known to the pinned versions, their files are there or
//! were made on the page, charts render with the values that are given, and addresses lead to something that is served.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use tagwarden_testbed::documents::{Document, Typed, documents, root};
use tagwarden_testbed::tools;

use super::Wrong;

/// Programs of others that nothing here can try.
const FOREIGN: [&str; 15] = [
    "apt-get", "argocd", "aws", "cargo", "cat", "cd", "claude", "command", "cp", "date", "docker", "export",
    "flux", "git", "mkdir",
];

/// The same, less often.
const RARE: [&str; 2] = ["openssl", "umask"];

/// Where people are told that the program may be.
const INSTALLED: &str = "/usr/local/bin/tagwarden";

/// Where the chart is published.
const PUBLISHED: &str = "oci://ghcr.io/tagwarden/charts/tagwarden";

/// Whether a file of the repository has this name, or the page has made it before.
fn exists(name: &str, made: &BTreeSet<String>) -> bool {
    let bare = name.trim_end_matches('/');
    let below = |made: &String| made == bare || made.starts_with(&format!("{bare}/"));
    name == "-" || root().join(bare).exists() || made.iter().any(below)
}

/// The values of flags, in both spellings.
fn values<'a>(words: &'a [String], flags: &[&str]) -> Vec<&'a str> {
    let joined = words.iter().filter_map(|word| {
        let (flag, value) = word.split_once('=')?;
        flags.contains(&flag).then_some(value)
    });
    let apart =
        words.windows(2).filter(|pair| flags.contains(&pair[0].as_str())).map(|pair| pair[1].as_str());
    joined.chain(apart).collect()
}

/// The arguments of a program up to `--`, behind which another program begins.
fn own(words: &[String]) -> &[String] {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    &words[1..end]
}

/// What is not a flag or the value of one that these programs are given in documents.
fn positional(arguments: &[String]) -> Vec<&str> {
    const WITH_VALUE: [&str; 14] = [
        "-n",
        "--namespace",
        "-f",
        "--filename",
        "-l",
        "--selector",
        "-o",
        "--output",
        "--set",
        "--values",
        "--kubeconfig",
        "--for",
        "--timeout",
        "--version",
    ];
    let mut found = Vec::new();
    let mut skip = false;
    for word in arguments {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word.starts_with('-') && word != "-" {
            skip = WITH_VALUE.contains(&word.as_str());
        } else {
            found.push(word.as_str());
        }
    }
    found
}

/// The flags that a program knows for a verb, asked once for each.
#[derive(Default)]
struct Flags(BTreeMap<String, String>);

impl Flags {
    fn unknown(&mut self, arguments: &[String], key: &str, ask: impl FnOnce() -> String) -> Option<String> {
        let help = self.0.entry(key.to_owned()).or_insert_with(ask);
        let known: BTreeSet<&str> = help
            .split(|symbol: char| !(symbol.is_ascii_alphanumeric() || symbol == '-'))
            .filter(|word| word.starts_with('-'))
            .collect();
        let flags = arguments.iter().filter(|word| word.starts_with('-') && word.len() > 1);
        let mut names = flags.map(|word| word.split_once('=').map_or(word.as_str(), |(name, _)| name));
        names.find(|name| !known.contains(name)).map(str::to_owned)
    }
}

fn kubectl() -> Command {
    Command::new(tools::directory("kubernetes").join("kubectl"))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What people call our kinds on the command line.
fn kinds() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for definition in tagwarden_api::crds() {
        let names = definition.spec.names;
        known.extend([names.plural.clone(), format!("{}.tagwarden.io", names.plural)]);
        known.extend(names.singular.into_iter().chain(names.short_names.into_iter().flatten()));
        known.extend(names.categories.into_iter().flatten());
    }
    known
}

fn check_kubectl(flags: &mut Flags, typed: &Typed, made: &BTreeSet<String>) -> Result<(), String> {
    let arguments = own(&typed.words);
    let places = positional(arguments);
    let verb = *places.first().ok_or("there is no verb")?;
    // Some verbs have verbs of their own, and those have the flags.
    let deep = match places[..] {
        ["create", "secret", ..] => 3,
        ["create" | "rollout" | "config", ..] => 2,
        _ => 1,
    };
    let verbs = &places[..deep.min(places.len())];
    let unknown = flags.unknown(arguments, &format!("kubectl {}", verbs.join(" ")), || {
        said(kubectl().args(verbs).arg("--help")) + &said(kubectl().arg("options"))
    });
    if let Some(flag) = unknown {
        return Err(format!("kubectl {verb} knows no {flag}"));
    }
    for file in values(arguments, &["-f", "--filename", "-k", "--kustomize", "--kubeconfig"]) {
        if !exists(file, made) {
            return Err(format!("`{file}` is neither in the repository nor made on the page"));
        }
    }
    let ours = ["get", "describe", "delete", "annotate", "wait", "explain", "patch", "edit"];
    if ours.contains(&verb)
        && let Some(named) = places.get(1)
    {
        let known = kinds();
        for kind in named.split(',').map(|one| one.split(['/', '.']).next().unwrap_or_default()) {
            if (kind.starts_with("tag") || kind.contains("audit")) && !known.contains(kind) {
                return Err(format!("there is no kind `{kind}`"));
            }
        }
    }
    Ok(())
}

fn check_helm(flags: &mut Flags, typed: &Typed, made: &BTreeSet<String>) -> Result<(), String> {
    let arguments = own(&typed.words);
    let places = positional(arguments);
    let verb = *places.first().ok_or("there is no verb")?;
    let help = || said(tools::program("helm").args([verb, "--help"]));
    if let Some(flag) = flags.unknown(arguments, &format!("helm {verb}"), help) {
        return Err(format!("helm {verb} knows no {flag}"));
    }
    if !["install", "upgrade", "template", "lint"].contains(&verb) {
        return Ok(());
    }
    let chart = *places.last().ok_or("there is no chart")?;
    if chart != PUBLISHED && !root().join(chart).join("Chart.yaml").is_file() {
        return Err(format!("`{chart}` is no chart"));
    }
    for file in values(arguments, &["-f", "--values"]) {
        if !exists(file, made) {
            return Err(format!("`{file}` is neither in the repository nor made on the page"));
        }
    }
    let mut rendered = tools::program("helm");
    rendered.args(["template", "tagwarden"]).arg(root().join("charts/tagwarden"));
    for value in values(arguments, &["--set"]) {
        rendered.args(["--set", value]);
    }
    for file in values(arguments, &["-f", "--values"]).into_iter().filter(|file| root().join(file).is_file())
    {
        rendered.arg("--values").arg(root().join(file));
    }
    // Once for each set of values.
    if let Entry::Vacant(first) = flags.0.entry(format!("{rendered:?}")) {
        let output = rendered.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        first.insert(String::new());
    }
    Ok(())
}

/// The paths that are served, with `{}` for what differs.
fn served() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/reference/openapi.json")).unwrap();
    let described: Value = serde_json::from_str(&text).unwrap();
    let beside = ["/mcp", "/healthz", "/readyz", "/metrics", "/health", "/openapi.json"];
    let paths = described["paths"].as_object().unwrap().keys().cloned();
    paths.chain(beside.map(str::to_owned)).collect()
}

fn is_served(url: &str, paths: &[String]) -> bool {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path).split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    paths.iter().any(|known| {
        let known: Vec<&str> = known.trim_start_matches('/').split('/').collect();
        known.len() == parts.len()
            && known.iter().zip(&parts).all(|(known, part)| known.starts_with('{') || known == part)
    })
}

fn check_curl(typed: &Typed, paths: &[String]) -> Result<(), String> {
    let urls = typed.words.iter().filter(|word| word.contains("://") || word.starts_with("$URL"));
    for url in urls {
        if !is_served(url, paths) {
            return Err(format!("nothing is served at {url}"));
        }
    }
    Ok(())
}

fn check_make(typed: &Typed, targets: &BTreeSet<String>) -> Result<(), String> {
    let asked = typed.words[1..].iter().filter(|word| !word.contains('='));
    for target in asked {
        if !targets.contains(target) {
            return Err(format!("the Makefile has no target `{target}`"));
        }
    }
    Ok(())
}

fn targets() -> BTreeSet<String> {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).unwrap();
    phony.split_whitespace().map(str::to_owned).collect()
}

/// Files that a command leaves behind.
fn makes(typed: &Typed) -> Vec<String> {
    let outputs = ["--out", "--output", "-o"];
    let mut made: Vec<String> = values(&typed.words, &outputs).into_iter().map(str::to_owned).collect();
    made.extend(typed.writes.iter().cloned());
    match typed.words.first().map(String::as_str) {
        Some("mkdir") => made.extend(typed.words[1..].iter().cloned()),
        Some("cp") => made.extend(typed.words.last().cloned()),
        _ => {}
    }
    made.into_iter().map(|name| name.trim_end_matches('/').to_owned()).collect()
}

/// Files that a page shows: blocks that begin with a comment of nothing but a name.
fn shown(document: &Document) -> BTreeSet<String> {
    let blocks = document.blocks().into_iter().filter(|block| block.language == "yaml");
    let names = blocks.filter_map(|block| block.text.lines().next()?.strip_prefix("# ").map(str::to_owned));
    names.filter(|name| name.strip_suffix(".yaml").is_some_and(|stem| !stem.contains(' '))).collect()
}

#[test]
fn what_is_told_to_be_typed_can_be_typed() {
    let (paths, targets) = (served(), targets());
    let mut flags = Flags::default();
    let mut wrong = Wrong::default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for document in documents() {
        let mut made = shown(&document);
        for typed in document.commands() {
            let program = typed.words[0].clone();
            let result = match program.as_str() {
                "kubectl" => check_kubectl(&mut flags, &typed, &made),
                "helm" => check_helm(&mut flags, &typed, &made),
                "curl" => check_curl(&typed, &paths),
                "make" => check_make(&typed, &targets),
                "tagwarden" | INSTALLED => Ok(()),
                program if FOREIGN.contains(&program) || RARE.contains(&program) => Ok(()),
                program if program.contains('/') => {
                    let known = program.starts_with("target/debug/") || root().join(program).is_file();
                    known.then_some(()).ok_or_else(|| format!("`{program}` is not there"))
                }
                program => Err(format!("nobody knows the program `{program}`")),
            };
            if let Err(why) = result {
                wrong.add(&document, typed.line, why);
            }
            *seen.entry(program).or_default() += 1;
            made.extend(makes(&typed));
        }
    }
    wrong.must_be_nothing();
    for (program, least) in [("kubectl", 15), ("helm", 5), ("curl", 5), ("make", 2), ("tagwarden", 20)] {
        assert!(seen.get(program).is_some_and(|seen| *seen >= least), "{program}: {seen:?}");
    }
}

#[test]
fn a_mistake_is_seen() {
    let paths = served();
    let made = BTreeSet::from(["made/one.yaml".to_owned()]);
    let mut flags = Flags::default();
    for (script, expected) in [
        ("kubectl apply -f made/", ""),
        ("kubectl apply -f policies/starter.yaml", ""),
        ("kubectl apply -f absent.yaml", "absent.yaml"),
        ("kubectl apply --no-such-flag -f -", "--no-such-flag"),
        ("kubectl get tagpol,tagaudits", "tagaudits"),
        ("helm install x charts/tagwarden --set server.enabled=true", ""),
        ("helm install x charts/tagwarden --set server.enable=true", "enable"),
        ("helm install x charts/nothing", "charts/nothing"),
        ("helm install x charts/tagwarden --bogus", "--bogus"),
        ("curl http://127.0.0.1:8080/v1/audits?limit=1", ""),
        ("curl http://127.0.0.1:8080/v1/audit", "/v1/audit"),
        ("make demo KEEP=1", ""),
        ("make everything", "everything"),
    ] {
        let typed = &tagwarden_testbed::documents::commands(script, 1)[0];
        let result = match typed.words[0].as_str() {
            "kubectl" => check_kubectl(&mut flags, typed, &made),
            "helm" => check_helm(&mut flags, typed, &made),
            "curl" => check_curl(typed, &paths),
            _ => check_make(typed, &targets()),
        };
        match result {
            Ok(()) => assert!(expected.is_empty(), "{script} passes"),
            Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{script}: {why}"),
        }
    }
}
