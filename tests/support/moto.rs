//! The AWS simulator: moto, installed once for each set of pinned requirements, served on a free loopback port.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Guarded, tail, wait_for};
use crate::estate;
use crate::python::{self, PythonError};

const REQUIREMENTS: &str = include_str!("../estate/requirements.txt");
const START_WITHIN: Duration = Duration::from_mins(2);

/// Why moto could not be installed or started.
#[derive(Debug, thiserror::Error)]
pub enum MotoError {
    /// Its packages.
    #[error("the AWS simulator could not be installed")]
    Install(#[from] PythonError),
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
        let python = python::installed("moto", REQUIREMENTS)?;
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
