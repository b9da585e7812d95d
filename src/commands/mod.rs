//! The commands: each reads its input, calls a use case, and renders what comes back.

mod client_role;
mod config;
mod crds;
mod get;
mod healthcheck;
mod history;
mod keys;
mod kubeconfig;
mod mcp;
mod policy;
mod registry;
mod run;
mod scan;
mod token;

pub use scan::TENANT;

use std::io::Write as _;
use std::net::SocketAddr;

use tagwarden_aws::AwsError;
use tagwarden_store::StoreError;

use crate::cli::{Cli, Command, Page};
use crate::input::InputError;
use crate::plane::PlaneError;
use crate::reference;
use crate::render::writer::OutputError;
use crate::settings::{SettingsError, page};
use crate::{connection, telemetry};

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
    /// There is nothing to look at.
    #[error(
        "--store: there is no file `{}`: give the store that `scan --store` or `run --store` writes; without --store, \
         `run` writes tagwarden.db where it is started", .0.display()
    )]
    NoStore(std::path::PathBuf),
    /// The set-up of the AWS client.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The role of an account.
    #[error(transparent)]
    Role(#[from] client_role::RoleError),
    /// The control plane of the controller.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// A key that cannot be made.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// What is served over HTTP.
    #[error("--listen: {0}")]
    Serve(#[from] tagwarden_http::BindError),
    /// The API over HTTP.
    #[error(transparent)]
    Expose(#[from] tagwarden_apiserver::http::ExposeError),
    /// An address that cannot be listened at.
    #[error("{flag}: nothing can be served at {address}")]
    Listen {
        flag: &'static str,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// Metrics that contradict each other, which takes a broken build.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// The API of a control plane, or what is asked of it.
    #[error(transparent)]
    Connection(#[from] connection::ConnectionError),
    /// A setting that has no effect here.
    #[error("--{0}: `tagwarden mcp` serves standard input and output alone; `tagwarden run` has listeners")]
    OnlyRun(String),
    /// A setting that somebody else has.
    #[error(
        "--{0}: with --url (or TAGWARDEN_URL) a running server answers, by settings of its own; give one or the other"
    )]
    OnlyOwn(String),
    /// A bridge that leads nowhere.
    #[error(transparent)]
    Bridge(#[from] tagwarden_mcp::BridgeError),
    /// What stands on standard input is no client.
    #[error(transparent)]
    Stdio(#[from] tagwarden_mcp::StdioError),
    /// A region that no account has.
    #[error("--region: {0}")]
    Region(String),
    /// A file that cannot be made, or is there already.
    #[error("`{path}` cannot be created")]
    Create {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The answer could not be printed.
    #[error("the answer could not be written to standard output")]
    Write(#[from] std::io::Error),
    /// The asynchronous runtime did not start.
    #[error("the runtime did not start")]
    Runtime(#[source] std::io::Error),
}

impl Failure {
    /// Whether the reader of standard output went away, as `head` does when it has seen enough.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Runs a command, and returns its exit status.
pub fn run(arguments: Cli) -> Result<u8, Failure> {
    let registry = crate::input::registry(arguments.resource_types());
    let command = match arguments.command {
        Command::Run(flags) => return run::run(*flags),
        Command::Mcp(flags) => return mcp::run(*flags),
        command => command,
    };
    telemetry::of_command();
    match command {
        Command::Run(_) | Command::Mcp(_) => Ok(0),
        Command::Scan(flags) => runtime()?.block_on(scan::run(&flags, registry?)),
        Command::Policy(command) => policy::run(&command, &registry?),
        Command::History(flags) => runtime()?.block_on(history::run(&flags)),
        Command::Types(flags) => registry::types(&flags, &*registry?),
        Command::IamPolicy(flags) => registry::iam_policy(&flags, &*registry?),
        Command::Config(flags) => config::run(*flags),
        Command::Healthcheck(flags) => healthcheck::run(*flags),
        Command::Get(flags) => runtime()?.block_on(get::run(&flags)),
        Command::Kubeconfig(flags) => kubeconfig::run(&flags),
        Command::Crds(flags) => crds::run(&flags),
        Command::ClientRole(flags) => runtime()?.block_on(client_role::run(&flags, registry?)),
        Command::Keys(command) => runtime()?.block_on(keys::run(command)),
        Command::Token(flags) => token::run(&flags),
        Command::Docs { page } => docs(page),
    }
}

/// Prints a reference page.
fn docs(page: Page) -> Result<u8, Failure> {
    let text = match page {
        Page::Settings => page::reference(),
        Page::SettingsFile => page::sample(),
        Page::Conditions => reference::conditions(),
        Page::Api => reference::api(),
        Page::Openapi => tagwarden_http::document(),
        Page::Tools => tagwarden_mcp::reference_page(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(0)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)
}

/// Says something that does not stop the work, on stderr.
fn warn(text: &str) {
    use crate::render::style::{WARN, paint};
    anstream::eprintln!("{} {text}", paint(WARN, "warning:"));
}
