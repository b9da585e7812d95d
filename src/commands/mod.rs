//! The commands: each reads its input, calls a use case, and renders what comes back.

mod history;
mod policy;
mod registry;
mod scan;

pub use scan::TENANT;

use tagwarden_aws::AwsError;
use tagwarden_store::StoreError;

use crate::cli::{Cli, Command};
use crate::input::InputError;
use crate::render::writer::OutputError;

/// Exit status: bad flags or files.
pub const USAGE: u8 = 2;

/// Why a command could not do its work. Printed once, with its sources; exits with [`USAGE`].
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file, or what is in it.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The target of the result.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The set-up of the AWS client.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A region that no account has.
    #[error("--region: {0}")]
    Region(String),
    /// The result could not be printed.
    #[error("the result could not be written")]
    Write(#[from] std::io::Error),
    /// The asynchronous runtime did not start.
    #[error("the runtime did not start")]
    Runtime(#[source] std::io::Error),
}

/// Runs a command, and returns its exit status.
pub fn run(arguments: Cli) -> Result<u8, Failure> {
    let registry = crate::input::registry(arguments.resource_types.as_deref())?;
    match arguments.command {
        Command::Scan(flags) => runtime()?.block_on(scan::run(&flags, registry)),
        Command::Policy(command) => policy::run(&command, &registry),
        Command::History(flags) => runtime()?.block_on(history::run(&flags)),
        Command::Types(flags) => registry::types(&flags, &registry),
        Command::IamPolicy(flags) => registry::iam_policy(&flags, &registry),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)
}

/// Says something that does not stop the work, on stderr.
fn warn(text: &str) {
    use crate::render::style::{WARN, paint};
    anstream::eprintln!("{} {text}", paint(WARN, "warning:"));
}
