//! What the documents tell people to type is typed here, into the real command line: every command and every entry of an
//! MCP client. And the other way round: what can be typed says what it is for.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde_json::Value;
use tagwarden_testbed::documents::{Typed, documents};

use crate::cli::Cli;

/// The command lines of this program in a command: its own, one behind `--`, or one in a container, which has its store.
fn ours(typed: &Typed) -> Option<(&[String], bool)> {
    let words = &typed.words;
    let first = words.first().map(String::as_str)?;
    if is_us(first) {
        return Some((&words[1..], false));
    }
    let contained = words.iter().any(|word| word == "exec" || word == "run");
    if first == "docker" && contained {
        let last = words.iter().rposition(|word| word == "tagwarden")?;
        return Some((&words[last + 1..], true));
    }
    let behind = words.iter().position(|word| word == "--")? + 1;
    is_us(words.get(behind)?).then(|| (&words[behind + 1..], first == "kubectl"))
}

/// Whether this is our program: by its name, by a path, or by what says its path.
fn is_us(program: &str) -> bool {
    program == "tagwarden" || program.ends_with("/tagwarden") || program == "$(command -v tagwarden)"
}

/// What is wrong with these arguments.
fn refusal(arguments: &[String], contained: bool) -> Option<String> {
    let told = |more: &[&str]| {
        let all = arguments.iter().map(String::as_str).chain(more.iter().copied());
        Cli::try_parse_from(std::iter::once("tagwarden").chain(all)).err()
    };
    let missing = |error: &clap::Error| error.kind() == ErrorKind::MissingRequiredArgument;
    let error = match told(&[]) {
        // The environment of containers names the store.
        Some(error) if contained && missing(&error) => told(&["--store", "sqlite:tagwarden.db"]),
        error => error,
    }?;
    let answer = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind());
    (!answer).then(|| error.to_string())
}

#[test]
fn commands_in_documents_are_commands() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for typed in document.commands() {
            let Some((arguments, contained)) = ours(&typed) else { continue };
            seen += 1;
            if let Some(why) = refusal(arguments, contained) {
                wrong.push(format!(
                    "{}: `tagwarden {}`: {why}",
                    document.place(typed.line),
                    arguments.join(" ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "only {seen} commands were found");
}

#[test]
fn a_mistake_is_seen() {
    for (script, right) in [
        ("tagwarden scan --policy a.yaml --fail-under 0.9", true),
        ("tagwarden --help", true),
        ("tagwarden scan --polcy a.yaml", false),
        ("tagwarden scan --fail-under 9", false),
        ("tagwarden scn", false),
        ("tagwarden history", std::env::var_os("TAGWARDEN_STORE").is_some()),
        ("kubectl exec deployment/tagwarden -- tagwarden history", true),
        ("kubectl exec deployment/tagwarden -- tagwarden histry", false),
        ("docker compose exec tagwarden tagwarden keys list", true),
        ("docker compose exec tagwarden tagwarden keys lst", false),
        ("claude mcp add tagwarden -- /usr/local/bin/tagwarden mcp --store sqlite:a.db", true),
        ("claude mcp add tagwarden -- /usr/local/bin/tagwarden mcp --stor sqlite:a.db", false),
    ] {
        let typed = &tagwarden_testbed::documents::commands(script, 1)[0];
        let (arguments, contained) = ours(typed).unwrap();
        assert_eq!(refusal(arguments, contained).is_none(), right, "{script}");
    }
}

/// Every object that names a program to start, however deep.
fn started(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let own = value.get("command").is_some().then_some(value);
    own.into_iter().chain(inner.into_iter().flat_map(started)).collect()
}

#[test]
fn entries_of_mcp_clients_start_something() {
    let mut seen = 0;
    for document in documents() {
        for block in document.blocks().into_iter().filter(|block| block.language == "json") {
            let place = document.place(block.line);
            let json: Value =
                serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
            for entry in started(&json) {
                seen += 1;
                let words: Option<Vec<String>> = entry["args"]
                    .as_array()
                    .and_then(|args| args.iter().map(|word| word.as_str().map(str::to_owned)).collect());
                let arguments = words.unwrap_or_else(|| panic!("{place}: args is no list of texts"));
                match entry["command"].as_str() {
                    Some("npx") => {
                        let bridge = arguments.iter().find(|word| word.starts_with("mcp-remote"));
                        assert!(bridge.is_some_and(|word| word.contains('@')), "{place}: which mcp-remote?");
                    }
                    Some(program) if is_us(program) => {
                        let why = refusal(&arguments, false);
                        assert!(why.is_none(), "{place}: {arguments:?}: {}", why.unwrap_or_default());
                        assert_eq!(arguments[0], "mcp", "{place}");
                    }
                    other => panic!("{place}: nobody knows {other:?}"),
                }
            }
        }
    }
    assert!(seen >= 5, "only {seen} entries were found");
}

/// Flags of other programs that pages speak of.
const OF_OTHERS: [&str; 3] = ["--", "--env", "--set"];

/// Every long flag of a command and those below it.
fn flags(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_long).map(|name| format!("--{name}"));
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

#[test]
fn flags_that_pages_speak_of_exist() {
    let mut command = Cli::command();
    command.build();
    let known = flags(&command);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for (line, text) in document.prose() {
            // What stands between backquotes.
            for code in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("--")) {
                let name = code.split([' ', '=', '[']).next().unwrap_or_default();
                seen += 1;
                if !known.contains(name) && !OF_OTHERS.contains(&name) {
                    wrong.push(format!("{}: there is no flag {name}", document.place(line)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "only {seen} flags were found");
}

#[test]
fn whatever_can_be_typed_says_what_it_is_for() {
    fn walk(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path} has no help");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.trim().is_empty(), "{path}: {argument} has no help");
        }
        for inner in command.get_subcommands() {
            walk(inner, &format!("{path} {}", inner.get_name()));
        }
    }
    let mut command = Cli::command();
    command.build();
    walk(&command, "tagwarden");
}
