//! The AWS simulator: moto, installed once for each set of pinned requirements, served on a free loopback port.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::child::{Guarded, tail, wait_for};
use crate::estate;
use crate::packages;

const REQUIREMENTS: &str = include_str!("../estate/requirements.txt");
/// What Debian calls an interpreter that can make environments.
const PACKAGE: &str = "python3-venv";
const START_WITHIN: Duration = Duration::from_mins(2);

/// Why moto could not be installed or started.
#[derive(Debug, thiserror::Error)]
pub enum MotoError {
    /// There is no interpreter.
    #[error(
        "`python3` is not in PATH; the AWS simulator needs it: install the packages python3 and python3-venv"
    )]
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
    #[error(
        "installing the pinned packages of tests/estate/requirements.txt failed; is the package index reachable? {0}"
    )]
    Install(String),
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("neither XDG_CACHE_HOME nor HOME is set: there is nowhere to keep the AWS simulator")]
    NoHome,
    /// The cache or a child process.
    #[error("`{path}` could not be used")]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not come up.
    #[error("moto did not answer within {START_WITHIN:?}; the end of its log:\n{0}")]
    NotUp(String),
}

/// A running moto server. It ends with this value, and with this process.
#[derive(Debug)]
pub struct Moto {
    address: String,
    python: PathBuf,
    // Ends the server before its directory goes.
    _server: Guarded,
    directory: TempDir,
}

impl Moto {
    /// Installs moto into the user's cache where it is not there yet, and starts it.
    pub fn start() -> Result<Self, MotoError> {
        let python = installed()?;
        let directory = tempfile::Builder::new()
            .prefix("tagwarden-moto-")
            .tempdir()
            .map_err(at(Path::new("temporary directory")))?;
        let port_file = directory.path().join("port");
        let mut command = Command::new(&python);
        command
            .arg(estate::directory().join("serve.py"))
            .arg(&port_file)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .env("MOTO_LAMBDA_STUB_ECR", "true");
        let mut server = Guarded::spawn(&command, "TERM", directory.path()).map_err(at(&python))?;
        let port = wait_for(START_WITHIN, || {
            let port =
                std::fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse::<u16>().ok());
            match port {
                Some(port) if TcpStream::connect(("127.0.0.1", port)).is_ok() => Some(Some(port)),
                _ if server.ended() => Some(None),
                _ => None,
            }
        });
        let port = port.flatten().ok_or_else(|| MotoError::NotUp(tail(directory.path())))?;
        Ok(Self { address: format!("127.0.0.1:{port}"), python, _server: server, directory })
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A directory that goes with the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The interpreter that has boto3.
    pub fn python(&self) -> &Path {
        &self.python
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> MotoError + use<> {
    let path = path.to_owned();
    move |source| MotoError::Io { path, source }
}

/// The interpreter of an environment that holds exactly the pinned packages.
///
/// An environment cannot be moved once made, so it is made in place, under a lock, and marked when whole.
fn installed() -> Result<PathBuf, MotoError> {
    let cache = cache_directory()?;
    std::fs::create_dir_all(&cache).map_err(at(&cache))?;
    let version = match python_version() {
        Err(MotoError::NoPython) if packages::install(PACKAGE).is_ok() => python_version()?,
        version => version?,
    };
    let digest = hex(&Sha256::digest(format!("{version}\n{REQUIREMENTS}")));
    let home = cache.join(format!("moto-{}", &digest[..16]));
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
        install(&home)?;
        std::fs::write(&complete, "").map_err(at(&complete))?;
    }
    Ok(python)
}

fn install(home: &Path) -> Result<(), MotoError> {
    if home.exists() {
        std::fs::remove_dir_all(home).map_err(at(home))?;
    }
    let mut made = make_environment(home)?;
    if !made.status.success() && packages::install(PACKAGE).is_ok() {
        made = make_environment(home)?;
    }
    if !made.status.success() {
        return Err(MotoError::NoVenv { path: home.to_owned(), output: text_of(&made) });
    }
    let requirements = home.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS).map_err(at(&requirements))?;
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
    if done.status.success() { Ok(()) } else { Err(MotoError::Install(text_of(&done))) }
}

fn make_environment(home: &Path) -> Result<Output, MotoError> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))
}

/// An environment is tied to the interpreter that made it.
fn python_version() -> Result<String, MotoError> {
    Ok(text_of(
        &run(Command::new("python3").args(["-c", "import sys; print(sys.version, sys.base_prefix)"]))?,
    ))
}

fn run(command: &mut Command) -> Result<Output, MotoError> {
    command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => MotoError::NoPython,
        _ => MotoError::Io { path: command.get_program().into(), source },
    })
}

fn text_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let start = text.char_indices().rev().nth(2000).map_or(0, |(index, _)| index);
    text[start..].trim().to_owned()
}

fn cache_directory() -> Result<PathBuf, MotoError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(MotoError::NoHome)?.join("tagwarden"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
