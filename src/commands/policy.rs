//! `tagwarden policy check` and `tagwarden policy convert`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_api::yaml::to_yaml;
use tagwarden_core::registry::Registry;

use super::{Failure, USAGE, warn};
use crate::cli::Policy;
use crate::input::{self, InputError};
use crate::render::writer::Output;

pub(super) fn run(command: &Policy, registry: &Arc<Registry>) -> Result<u8, Failure> {
    match command {
        Policy::Check { files } => check(files, registry),
        Policy::Convert { file, name, output } => convert(file, name.as_deref(), output.as_deref(), registry),
    }
}

/// Checks all files, and says all that is wrong with any of them.
fn check(files: &[PathBuf], registry: &Arc<Registry>) -> Result<u8, Failure> {
    let mut bad = false;
    for file in files {
        if let Err(error) = check_file(file, registry) {
            bad = true;
            crate::report(&error);
        }
    }
    Ok(if bad { USAGE } else { 0 })
}

fn check_file(file: &Path, registry: &Arc<Registry>) -> Result<(), Failure> {
    let manifests = input::manifests(file)?;
    if manifests.policies().is_empty() {
        return Err(InputError::Without { path: file.display().to_string(), kind: "TaggingPolicy" }.into());
    }
    for manifest in manifests.policies() {
        let compiled = manifest.compile(registry).map_err(InputError::Manifests)?;
        for warning in input::told(&compiled, &manifest.origin.to_string(), Timestamp::now()) {
            warn(&warning);
        }
        let policy = &compiled.policy;
        writeln!(
            std::io::stdout(),
            "{}: policy {} is valid: {} required, {} optional, {} forbidden tags, {} exemptions; revision {}",
            manifest.origin.file,
            policy.name(),
            policy.required().count(),
            policy.optional().count(),
            policy.forbidden_count(),
            policy.exemptions().len(),
            policy.revision()
        )?;
    }
    Ok(())
}

fn convert(file: &Path, name: Option<&str>, output: Option<&Path>, registry: &Arc<Registry>) -> Result<u8, Failure> {
    let output = Output::open(output)?;
    let manifests = input::manifests(file)?;
    let without = || InputError::Without { path: file.display().to_string(), kind: "tagging policy" };
    let manifest = manifests.policies().first().ok_or_else(without)?;
    // A manifest that would be refused later is of no use; the errors are in the terms of the file that was given.
    let compiled = manifest.compile(registry).map_err(InputError::Manifests)?;
    for warning in input::told(&compiled, &manifest.origin.to_string(), Timestamp::now()) {
        warn(&warning);
    }
    let mut policy = manifest.object.clone();
    // Where it is applied decides.
    policy.metadata.namespace = None;
    if let Some(name) = name {
        policy.metadata.name = Some(name.to_owned());
    }
    let manifest = to_yaml(&policy).map_err(std::io::Error::other)?;
    output.write(|out| out.write_all(manifest.as_bytes()))?;
    Ok(0)
}
