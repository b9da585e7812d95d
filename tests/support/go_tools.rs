//! The tools that are written in Go: built once, from the pinned modules under `hack/tools`, into the user's cache.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a tool could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GoToolError {
    /// The build; what it said stands on standard error.
    #[error("`hack/tools/build.sh {0}` failed; what it said stands above")]
    Build(&'static str),
    /// The script itself.
    #[error("`{path}` could not be run")]
    Script {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The directory with the programs of `hack/tools/<name>`, built first where that has not been done.
pub(crate) fn directory(name: &'static str) -> Result<PathBuf, GoToolError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/tools/build.sh");
    let mut command = Command::new(&script);
    command.arg(name).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|source| GoToolError::Script { path: script, source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim() {
        directory if output.status.success() && !directory.is_empty() => Ok(directory.into()),
        _ => Err(GoToolError::Build(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_pinned_is_refused() {
        assert!(matches!(directory("minikube"), Err(GoToolError::Build("minikube"))));
    }
}
