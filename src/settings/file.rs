//! The settings file: YAML, one key for each setting, nothing else.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value as Tree;

use super::resolve::SettingsError;
use super::table::{Setting, table};
use super::value::Shape;

/// The most bytes a settings file may have.
const BYTES_MAX: u64 = 256 << 10;

/// The settings of a file, by field, as texts.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static str, String)>, SettingsError> {
    let shown = path.display().to_string();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|source| SettingsError::Read { path: shown.clone(), source })?;
    if text.len() as u64 > BYTES_MAX {
        return Err(SettingsError::File {
            path: shown,
            message: format!("it has more than {BYTES_MAX} bytes"),
        });
    }
    parse(&text).map_err(|problems| match problems {
        Problems::Syntax(message) => SettingsError::File { path: shown, message },
        Problems::Entries(entries) => {
            SettingsError::Values(entries.into_iter().map(|entry| format!("{shown}: {entry}")).collect())
        }
    })
}

#[derive(Debug)]
enum Problems {
    Syntax(String),
    Entries(Vec<String>),
}

fn parse(text: &str) -> Result<Vec<(&'static str, String)>, Problems> {
    // Nothing but comments is a file that leaves everything to its default.
    if text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! {
        with_snippet: false, // it would show a store's password
    };
    let entries: BTreeMap<String, Tree> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Problems::Syntax(format!("not a YAML mapping of settings: {}", place(&error))))?;
    let mut values = Vec::new();
    let mut wrong = Vec::new();
    for (key, tree) in entries {
        match table().iter().find(|setting| setting.key == key) {
            None => wrong.push(unknown(&key)),
            Some(setting) => match flat(setting, &tree) {
                Ok(text) => values.extend(text.map(|text| (setting.field, text))),
                Err(message) => wrong.push(message),
            },
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(Problems::Entries(wrong)) }
}

/// The message without the text around the fault.
fn place(error: &serde_saphyr::Error) -> String {
    error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter)
}

fn unknown(key: &str) -> String {
    // `metrics-listen` and `METRICS_LISTEN` are the same word, only written as a flag or a variable.
    let folded = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let shown: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    let wanted = folded(&shown);
    let nearest = table()
        .iter()
        .map(|setting| (strsim::osa_distance(&folded(&setting.key), &wanted), setting.key.as_str()))
        .filter(|(distance, key)| *distance <= key.len().div_ceil(3))
        .min();
    match nearest {
        Some((_, nearest)) => format!("{shown}: unknown setting; did you mean `{nearest}`?"),
        None => format!("{shown}: unknown setting; `tagwarden config` lists all"),
    }
}

/// The text of a value, as a flag would have it; `None` where the key has no value.
fn flat(setting: &Setting, tree: &Tree) -> Result<Option<String>, String> {
    let key = &setting.key;
    match tree {
        Tree::Null => Ok(None),
        Tree::Array(items) if setting.shape == Shape::Many => {
            let texts: Result<Vec<String>, String> = items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    scalar(item).ok_or_else(|| format!("{key}[{index}]: expected a single value"))
                })
                .collect();
            Ok(Some(texts?.join(",")))
        }
        other => match scalar(other) {
            Some(text) => Ok(Some(text)),
            None if setting.shape == Shape::Many => Err(format!("{key}: expected a list")),
            None => Err(format!("{key}: expected a single value")),
        },
    }
}

fn scalar(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Bool(flag) => Some(flag.to_string()),
        Tree::Number(number) => Some(number.to_string()),
        Tree::String(text) => Some(text.clone()),
        Tree::Null | Tree::Array(_) | Tree::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_the_texts_that_flags_would_have() {
        let text = "---\n# a comment\nstore: sqlite:a.db\nkeepDays: 30\nmanifestsPrune: true\nwatchNamespaces: [a, b]\nmanifests:\n";
        let values = parse(text).unwrap();
        let expected = [
            ("keep_days", "30"),
            ("manifests_prune", "true"),
            ("store", "sqlite:a.db"),
            ("watch_namespaces", "a,b"),
        ];
        assert_eq!(values, expected.map(|(field, text)| (field, text.to_owned())));
        assert_eq!(parse("# nothing\n\n---\n").unwrap(), []);
    }

    #[test]
    fn mistakes_name_their_key_and_what_was_meant() {
        for (text, expected) in [
            ("metricListen: a", "metricListen: unknown setting; did you mean `metricsListen`?"),
            ("metrics-listen: a", "metrics-listen: unknown setting; did you mean `metricsListen`?"),
            ("zebra: a", "zebra: unknown setting; `tagwarden config` lists all"),
            ("store: [a]", "store: expected a single value"),
            ("watchNamespaces: [a, [b]]", "watchNamespaces[1]: expected a single value"),
            ("watchNamespaces: {a: b}", "watchNamespaces: expected a list"),
        ] {
            match parse(text) {
                Err(Problems::Entries(entries)) => assert_eq!(entries, [expected]),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["store: a\nstore: secret", "- store", "store: {secret", "secret"] {
            match parse(text) {
                Err(Problems::Syntax(message)) => assert!(!message.contains("secret"), "{text}: {message}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
