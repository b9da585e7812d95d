//! The table as documents: the reference page and the sample file.

use std::fmt::Write as _;

use super::table::{Default, Setting, table};

/// `docs/reference/settings.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         <!-- Written by `tagwarden docs settings`; change src/settings/table.rs, not this page. -->\n\n\
         Everything that `tagwarden run` can be told. Each setting is a flag, an environment variable and a key of the\n\
         YAML file that `--config FILE` (or `TAGWARDEN_CONFIG`) names; the first of these that has a value wins, then the\n\
         default. `tagwarden config` takes the same flags, and prints what comes of them and where each value is from.\n\
         [config/tagwarden.yaml](../../config/tagwarden.yaml) is a file with all of them.\n\n\
         An empty variable counts as none. Lists are repeated flags, or separated by commas; in the file, a list. Paths\n\
         are relative to the working directory. AWS credentials, region, endpoint, proxies and `AWS_CA_BUNDLE` are taken\n\
         from where the AWS CLI takes them.\n",
    );
    let mut section = "";
    for setting in table() {
        if setting.section != section {
            section = setting.section;
            let _ = write!(
                page,
                "\n## {section}\n\n| Flag and variable | In the file | Default | |\n|---|---|---|---|\n"
            );
        }
        let Setting { flag, variable, key, placeholder, about, .. } = setting;
        let value = placeholder.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `--{flag}` {value}<br>`{variable}` | `{key}` | {} | {} |",
            default(setting),
            about.replace('|', "\\|")
        );
    }
    page
}

/// `config/tagwarden.yaml`.
pub fn sample() -> String {
    let mut file = String::from(
        "# Settings of `tagwarden run --config FILE`. Everything here is commented out, and shows its default.\n\
         # Flags and variables override this file; `tagwarden config --config FILE` prints what comes of it.\n",
    );
    let mut section = "";
    for setting in table() {
        if setting.section != section {
            section = setting.section;
            let _ = write!(file, "\n# --- {section}\n");
        }
        let _ = write!(file, "\n{}", comment(&setting.about));
        let _ = match setting.default {
            Default::Nothing => writeln!(file, "# {}:", setting.key),
            Default::Text(text) => writeln!(file, "# {}: {text}", setting.key),
            Default::Depends(words, _) => writeln!(file, "# Default: {words}.\n# {}:", setting.key),
        };
    }
    file
}

fn default(setting: &Setting) -> String {
    match setting.default {
        Default::Nothing => String::new(),
        Default::Text(text) => format!("`{text}`"),
        Default::Depends(words, _) => words.to_owned(),
    }
}

/// The text as comments of at most a hundred columns.
fn comment(text: &str) -> String {
    const COLUMNS: usize = 100;
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            lines.push_str(&line);
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}
