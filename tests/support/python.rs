//! Programs of the Python world that tests need: each in an environment of its own with exactly the pinned packages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::installed::{self, CacheError, at, text_of};
use crate::packages;

/// What Debian calls an interpreter that can make environments.
const PACKAGE: &str = "python3-venv";

/// Why packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is no interpreter.
    #[error("`python3` is not in PATH: install the packages python3 and python3-venv")]
    NoPython,
    /// The interpreter cannot make environments.
    #[error("`python3 -m venv {path}` failed; install the package python3-venv: {output}")]
    NoVenv {
        /// Where the environment should have been.
        path: PathBuf,
        /// What Python said.
        output: String,
    },
    /// A package could not be installed.
    #[error("installing the pinned packages of {name} failed; is the package index reachable? {output}")]
    Install {
        /// What they are for.
        name: &'static str,
        /// What pip said.
        output: String,
    },
    /// The cache or a child process.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The interpreter of the environment of this name, which holds exactly these packages, pinned with their digests.
pub(crate) fn installed(name: &'static str, requirements: &str) -> Result<PathBuf, PythonError> {
    let version = match python_version() {
        Err(PythonError::NoPython) if packages::install(PACKAGE).is_ok() => python_version()?,
        version => version?,
    };
    let home = installed::once(name, &[&version, requirements], |home| install(name, requirements, home))?;
    Ok(home.join("bin/python"))
}

fn install(name: &'static str, pinned: &str, home: &Path) -> Result<(), PythonError> {
    let mut made = make_environment(home)?;
    if !made.status.success() && packages::install(PACKAGE).is_ok() {
        made = make_environment(home)?;
    }
    if !made.status.success() {
        return Err(PythonError::NoVenv { path: home.to_owned(), output: text_of(&made) });
    }
    let requirements = home.join("requirements.txt");
    std::fs::write(&requirements, pinned).map_err(at(&requirements))?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--requirement",
    ]);
    let done = run(pip.arg(&requirements))?;
    if done.status.success() { Ok(()) } else { Err(PythonError::Install { name, output: text_of(&done) }) }
}

fn make_environment(home: &Path) -> Result<Output, PythonError> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))
}

/// An environment is tied to the interpreter that made it.
fn python_version() -> Result<String, PythonError> {
    Ok(text_of(
        &run(Command::new("python3").args(["-c", "import sys; print(sys.version, sys.base_prefix)"]))?,
    ))
}

fn run(command: &mut Command) -> Result<Output, PythonError> {
    command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => PythonError::NoPython,
        _ => at(Path::new(command.get_program()))(source).into(),
    })
}
