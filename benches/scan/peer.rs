//! The peer, where there is one: a reader of sixteen threads in Python, with boto3.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bed::estate::{Kind, Truth};
use crate::bed::process::{self, Usage};
use crate::bed::stub::Stub;
use crate::bed::{Outcome, in_aws, policy};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scan/boto3_reader.py");

/// A Python that has boto3: that of the simulator which the tests install, else the system's.
pub fn python() -> Option<PathBuf> {
    let cache = std::env::home_dir()?.join(".cache/tagwarden");
    let installed =
        fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path().join("bin/python"));
    installed.chain([PathBuf::from("python3")]).find(|python| {
        let asked = Command::new(python).args(["-c", "import boto3"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    })
}

/// One reading. An error if it fails, or miscounts.
pub fn read(stub: &Stub, python: &Path, directory: &Path) -> Outcome<Usage> {
    let output = directory.join("counts.json");
    let types: Vec<&str> = stub.estate.kinds().map(Kind::type_name).collect();
    let mut command = Command::new(python);
    command
        .arg(SCRIPT)
        .arg(stub.estate.regions.join(","))
        .arg(types.join(","))
        .arg(policy::rules().to_string());
    in_aws(&mut command, stub, directory).stdout(File::create(&output)?);
    // A python3 that is found by its name may need these to find itself.
    command.envs(
        ["PATH", "PYENV_ROOT", "PYENV_VERSION"]
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    let usage = process::run(&mut command, &directory.join("log"))?;
    let found = Truth { by_type: serde_json::from_reader::<_, BTreeMap<_, _>>(File::open(&output)?)? };
    let truth = stub.estate.truth(false);
    if found == truth {
        Ok(usage)
    } else {
        Err(format!("the peer says {found:?}, the truth is {truth:?}").into())
    }
}
