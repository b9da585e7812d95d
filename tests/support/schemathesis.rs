//! schemathesis: holds a server against its own description of itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::chain;
use crate::python;

const REQUIREMENTS: &str = include_str!("../schemathesis/requirements.txt");
const CONFIGURATION: &str = include_str!("../schemathesis/schemathesis.toml");

/// Fuzzes the server at this URL as whoever holds the key, in a scratch directory. `fill` are the values of the places
/// `{name}` in the configuration. `Err` with everything that it said unless the server does as it says.
#[track_caller]
pub fn schemathesis(directory: &Path, url: &str, key: &str, fill: &[(&str, &str)]) -> Result<String, String> {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        python::installed("schemathesis", REQUIREMENTS).unwrap_or_else(|error| panic!("{}", chain(&error)))
    });
    let configuration = fill
        .iter()
        .fold(CONFIGURATION.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    std::fs::write(directory.join("schemathesis.toml"), configuration).expect("the configuration is written");
    let output = Command::new(python.with_file_name("schemathesis"))
        .args(["run", &format!("{url}/openapi.json"), "--no-color", "--warnings", "off"])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .current_dir(directory)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", directory)
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}
