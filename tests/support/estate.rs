//! The estate: resources seeded into the simulator, the truth about them, and an independent reader.
//!
//! All three are Python (`tests/estate`), so that what a scan is compared with shares no code with it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::moto::Moto;

/// Why the estate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum EstateError {
    /// The interpreter or a file.
    #[error("`{what}` could not be used")]
    Io {
        /// The program or file.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A Python program failed.
    #[error("{program} failed:\n{output}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        output: String,
    },
    /// It printed something else than JSON.
    #[error("{program} did not print what was expected")]
    Shape {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// An estate to be made. The same one is planned from the same values; ids are the simulator's.
#[derive(Debug, Clone, PartialEq)]
pub struct Estate<'a> {
    /// Twelve digits each.
    pub accounts: &'a [&'a str],
    /// Where.
    pub regions: &'a [&'a str],
    /// What chance is made of.
    pub seed: u64,
    /// 1 makes about a hundred resources an account and region.
    pub scale: f64,
    /// So many more of a type, in the first region of the first account: `rds=105,lambda=60`.
    pub many: &'a str,
}

/// What was made, and what exists by default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Truth {
    /// Sorted by ARN.
    pub resources: Vec<TrueResource>,
}

/// One resource as it really is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TrueResource {
    /// The full ARN.
    pub arn: String,
    /// `service:type`
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// All tags, system tags included.
    pub tags: std::collections::BTreeMap<String, String>,
    /// Why a scan must leave it out; empty for one that counts.
    pub ignored: String,
}

/// What to evaluate, and by which policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// A file with one `TaggingPolicy`.
    pub policy: &'a Path,
    /// Ids separated by commas, or the path of `[{"accountId": …, "labels": {…}}]`.
    pub accounts: &'a str,
    /// All that are given; none for all of the truth (the reader needs them).
    pub regions: &'a [&'a str],
    /// None for all that the policy asks for.
    pub types: &'a [&'a str],
}

/// Where the Python files are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../estate")
}

/// The policy of the demo.
pub fn demo_policy() -> PathBuf {
    directory().join("policy.yaml")
}

/// Makes an estate and writes its truth to `out`.
pub fn seed(moto: &Moto, estate: &Estate<'_>, out: &Path) -> Result<Truth, EstateError> {
    run(moto, "estate.py", |command| {
        command
            .args(["seed", "--endpoint", &moto.url(), "--accounts", &estate.accounts.join(",")])
            .args(["--regions", &estate.regions.join(","), "--seed", &estate.seed.to_string()])
            .args(["--scale", &estate.scale.to_string(), "--many", estate.many, "--out"])
            .arg(out);
    })?;
    let text =
        std::fs::read(out).map_err(|source| EstateError::Io { what: out.display().to_string(), source })?;
    serde_json::from_slice(&text).map_err(|source| EstateError::Shape { program: "estate.py", source })
}

/// What a scan of the simulator should print, by the independent reader.
pub fn read(moto: &Moto, question: &Question<'_>) -> Result<Value, EstateError> {
    let printed = run(moto, "reader.py", |command| {
        command.args(["read", "--endpoint", &moto.url()]);
        question.put(command);
    })?;
    parse(&printed)
}

/// What a scan should print, computed from the truth that [`seed`] wrote to `truth`.
pub fn expect(moto: &Moto, truth: &Path, question: &Question<'_>) -> Result<Value, EstateError> {
    let printed = run(moto, "reader.py", |command| {
        command.arg("expect").arg("--truth").arg(truth);
        question.put(command);
    })?;
    parse(&printed)
}

impl Question<'_> {
    fn put(&self, command: &mut Command) {
        command.arg("--policy").arg(self.policy).args(["--accounts", self.accounts]);
        command.args(["--regions", &self.regions.join(","), "--types", &self.types.join(",")]);
    }
}

fn parse(printed: &[u8]) -> Result<Value, EstateError> {
    serde_json::from_slice(printed).map_err(|source| EstateError::Shape { program: "reader.py", source })
}

fn run(
    moto: &Moto,
    program: &'static str,
    arguments: impl FnOnce(&mut Command),
) -> Result<Vec<u8>, EstateError> {
    let mut command = Command::new(moto.python());
    // The developer's own AWS settings must not reach boto3.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(directory().join(program));
    arguments(&mut command);
    let output = command
        .output()
        .map_err(|source| EstateError::Io { what: moto.python().display().to_string(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let start = text.char_indices().rev().nth(3000).map_or(0, |(index, _)| index);
    Err(EstateError::Failed { program, output: text[start..].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{REGIONS, Testbed};

    /// Two ways to the same numbers: by reading everything, and from what was made.
    #[test]
    fn the_reader_finds_the_truth() {
        let bed = Testbed::shared();
        let accounts = ["311111111111", "322222222222"];
        let estate =
            Estate { accounts: &accounts, regions: &REGIONS, seed: 3, scale: 0.3, many: "lambda=12" };
        let (truth, file) = bed.seed(&estate);
        assert!(truth.resources.iter().any(|resource| resource.ignored == "terminated"));
        let accounts = accounts.join(",");
        let policy = demo_policy();
        let question = Question { policy: &policy, accounts: &accounts, regions: &REGIONS, types: &[] };
        let expected = bed.expect(&file, &question);
        assert_eq!(bed.read(&question), expected);
        assert!(expected["summary"]["violating"].as_u64() > Some(20));
    }
}
