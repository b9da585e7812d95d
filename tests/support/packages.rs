//! System packages that tests need: installed where that is possible, else the caller names them.

use std::process::Command;

use crate::child::find_program;

/// Installs a Debian package. The error says why that was not possible.
pub(crate) fn install(package: &str) -> Result<(), String> {
    if find_program("apt-get", &[]).is_none() {
        return Err("there is no apt-get to do it".to_owned());
    }
    if !is_root() {
        return Err("only root can do it".to_owned());
    }
    // The lists at hand may do, should they be out of reach.
    let _ = apt(&["update", "-qq"]);
    apt(&["install", "-y", "-qq", "--no-install-recommends", package])
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    id(&["-u"]).is_some_and(|id| id == "0")
}

/// What `id` says, if it knows.
pub(crate) fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    let output = command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().chars().take(1000).collect()),
        Err(error) => Err(error.to_string()),
    }
}
