//! The pinned programs that judge what is shipped beside the program itself: charts, workflows, images, health checks.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{chain, go_tools};

/// A pinned program of `hack/tools` that has the name of its directory there, built first where that has not been done.
///
/// # Panics
/// When it cannot be built.
#[track_caller]
pub fn program(name: &'static str) -> Command {
    let mut command = Command::new(directory(name).join(name));
    command.stdin(Stdio::null());
    command
}

/// The directory of what `hack/tools` holds under this name: for what is no program.
///
/// # Panics
/// When it cannot be had.
#[track_caller]
pub fn directory(name: &'static str) -> PathBuf {
    go_tools::directory(name).unwrap_or_else(|error| panic!("{}", chain(&error)))
}
