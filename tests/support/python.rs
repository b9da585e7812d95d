//! Programs of the Python world that tests need: each in an environment of its own with exactly the pinned packages,
//! installed once into the user's cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

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
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("neither XDG_CACHE_HOME nor HOME is set: there is nowhere to keep {0}")]
    NoHome(&'static str),
    /// The cache or a child process.
    #[error("`{path}` could not be used")]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PythonError + use<> {
    let path = path.to_owned();
    move |source| PythonError::Io { path, source }
}

/// The interpreter of the environment of this name, which holds exactly these packages, pinned with their digests.
///
/// An environment cannot be moved once made, so it is made in place, under a lock, and marked when whole.
pub(crate) fn installed(name: &'static str, requirements: &str) -> Result<PathBuf, PythonError> {
    let cache = cache_directory(name)?;
    std::fs::create_dir_all(&cache).map_err(at(&cache))?;
    let version = match python_version() {
        Err(PythonError::NoPython) if packages::install(PACKAGE).is_ok() => python_version()?,
        version => version?,
    };
    let digest = hex(&Sha256::digest(format!("{version}\n{requirements}")));
    let home = cache.join(format!("{name}-{}", &digest[..16]));
    let python = home.join("bin/python");
    let complete = home.join("complete");

    let lock_path = home.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(at(&lock_path))?;
    File::lock(&lock).map_err(at(&lock_path))?;
    if !complete.is_file() {
        install(name, requirements, &home)?;
        std::fs::write(&complete, "").map_err(at(&complete))?;
    }
    Ok(python)
}

fn install(name: &'static str, pinned: &str, home: &Path) -> Result<(), PythonError> {
    if home.exists() {
        std::fs::remove_dir_all(home).map_err(at(home))?;
    }
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
        _ => PythonError::Io { path: command.get_program().into(), source },
    })
}

fn text_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let start = text.char_indices().rev().nth(2000).map_or(0, |(index, _)| index);
    text[start..].trim().to_owned()
}

fn cache_directory(name: &'static str) -> Result<PathBuf, PythonError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(PythonError::NoHome(name))?.join("tagwarden"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
