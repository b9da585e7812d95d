//! The flags, exactly as typed. What they mean is resolved by the commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tagwarden_app::ask::Scope;
use tagwarden_core::account::AccountId;

use crate::settings::SettingFlags;

/// Declarative tag compliance for AWS accounts: a policy, a scan, an honest answer.
#[derive(Debug, Parser)]
#[command(name = "tagwarden", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Extends or overrides the built-in resource types with this file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TAGWARDEN_RESOURCE_TYPES",
        hide_env_values = true,
        display_order = 1000
    )]
    resource_types: Option<OsString>,
}

impl Cli {
    /// The file of resource types. An empty variable is how a shell says that there is none.
    pub fn resource_types(&self) -> Option<&Path> {
        self.resource_types.as_deref().map(Path::new).filter(|path| !path.as_os_str().is_empty())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scan AWS accounts against a tagging policy.
    ///
    /// Prints what breaks the policy, and what could not be seen. Reads AWS, never changes it; finds credentials as the AWS
    /// CLI does.
    #[command(after_long_help = EXIT_STATUS)]
    Scan(Box<Scan>),
    /// Check or convert policy files.
    #[command(subcommand)]
    Policy(Policy),
    /// Show the scores of past runs.
    ///
    /// STARTED is in UTC. SCOPE counts the accounts, regions and types that were asked for, `2a 1r 3t`; `all` where none
    /// was. Scores of different scopes cannot be compared. A run without gaps is complete.
    History(History),
    /// List the resource types that can be named in a policy.
    Types(Types),
    /// Print the least-privilege IAM policy that a scan needs.
    IamPolicy(IamPolicy),
    /// Run the controller: keep looking at accounts, by the policies and audits that are declared.
    ///
    /// Objects live in a store of its own or in a Kubernetes cluster, and are declared with manifest files or `kubectl`.
    /// Reads AWS, never changes it; finds credentials as the AWS CLI does.
    Run(Box<SettingFlags>),
    /// Serve the tools for agents (MCP) over standard input and output.
    ///
    /// An MCP client starts it. Behind the tools is a controller as with `run`; several clients may share one SQLite store,
    /// and one of their processes reconciles. With --url there is none: questions go on to a running server. Reads AWS,
    /// never changes it. The log goes to standard error.
    Mcp(Box<Mcp>),
    /// Print the settings that `run` would go by, and where each comes from.
    Config(Box<Config>),
    /// Ask a running controller whether it is alive, or ready: 0 if so, else 1.
    ///
    /// For container images without a shell. Takes the settings of `run`, which say where it listens.
    Healthcheck(Box<Healthcheck>),
    /// Print objects, as `kubectl get` does.
    Get(Get),
    /// Print a kubeconfig for the API that `run --api-listen` serves.
    Kubeconfig(Kubeconfig),
    /// Print the role that lets Tagwarden look at an account, as a CloudFormation template.
    ///
    /// Its owner deploys it. It can be assumed by Tagwarden alone, and only reads.
    ClientRole(Box<ClientRole>),
    /// Make a token for the API that `run --api-listen` serves, and print the line that makes it known there.
    Token(Token),
    /// Make, list and revoke the API keys for what `run --listen` serves.
    ///
    /// A key opens one tenant, which is a namespace. A running server knows of a new or revoked key within a second.
    #[command(subcommand)]
    Keys(Keys),
    /// Print the custom resource definitions, to be applied to a cluster.
    Crds(Crds),
    /// Print a reference page.
    #[command(hide = true)]
    Docs {
        /// Which one.
        page: Page,
    },
}

const EXIT_STATUS: &str = "Exit status:
  0  scanned; what could not be seen is named in the result
  1  the score is below --fail-under
  2  bad flags or files
  3  nothing could be scanned
  4  something could not be seen, and --fail-on-partial is given
  Where several are true, the first of 2, 3, 4, 1 holds.
  Ctrl-C or SIGTERM stops a scan, whose result is then partial as any other: 0, or 4 with --fail-on-partial. A second
  one ends it at once and writes nothing (130).";

/// The flags of `mcp`.
#[derive(Debug, Args)]
#[command(mut_args(|arg| if arg.get_help_heading() == Some("Listeners") { arg.hide(true) } else { arg }))]
pub struct Mcp {
    #[command(flatten)]
    pub settings: SettingFlags,
    #[command(flatten)]
    pub remote: Remote,
}

/// The way to a running server.
#[derive(Debug, Args)]
#[command(next_help_heading = "A running server")]
pub struct Remote {
    /// Answer from this server, `https://tagwarden.example.com`, instead of a controller of its own: without a store,
    /// and without credentials of a cloud. A URL without a path means `/mcp`.
    #[arg(long, value_name = "URL", env = "TAGWARDEN_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// The file that holds the API key for it, and nothing else. Read for every request, so that a new key counts at
    /// once.
    #[arg(
        long,
        value_name = "FILE",
        env = "TAGWARDEN_API_KEY_FILE",
        hide_env_values = true,
        requires = "url"
    )]
    pub api_key_file: Option<PathBuf>,
    /// Certificates to trust besides those of the system, in PEM.
    #[arg(long, value_name = "FILE", env = "TAGWARDEN_CA_FILE", hide_env_values = true, requires = "url")]
    pub ca_file: Option<PathBuf>,
}

/// The flags of `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// `TaggingPolicy` manifests, or the predecessor's `tagging_policy.json`: a file, or a directory of them.
    /// Without it, `CostCenter`, `Owner` and `Environment` are required.
    #[arg(long, value_name = "FILE|DIR")]
    pub policy: Option<PathBuf>,
    /// The policy to use where there are several.
    #[arg(long, value_name = "NAME", requires = "policy")]
    pub policy_name: Option<String>,
    /// `ClientAccount` manifests: a file, or a directory of them. Without it, the caller's own account.
    #[arg(long, value_name = "FILE|DIR")]
    pub accounts: Option<PathBuf>,
    /// Scan only this account (repeatable, or comma-separated).
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub account: Vec<AccountId>,
    /// Scan only this region (repeatable, or comma-separated). Without it, all that are enabled.
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    pub region: Vec<String>,
    /// Scan only this resource type, `ec2:instance` or `rds:*` (repeatable, or comma-separated). Without it,
    /// every type the policy is about.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Which findings to list. The score counts the same whatever is listed.
    #[arg(long, value_enum, default_value_t = Listed::All)]
    pub severity: Listed,
    /// How to print the result. Findings come in the order in which AWS answers, which differs from run to run: sort
    /// them before you compare two results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write the result to this file instead of stdout. The file appears once it is whole; what a stopped scan has
    /// seen replaces it as well, with a warning.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Record the run in this store: `sqlite:PATH` or `postgres://…`.
    #[arg(long, value_name = "URL", env = "TAGWARDEN_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// Forget runs older than this many days in the store.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub keep_days: u32,
    /// Keep at most this many runs in the store.
    #[arg(long, value_name = "RUNS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub keep_runs: u32,
    /// Exit with 1 when the score, 0 to 1, is below this.
    #[arg(long, value_name = "SCORE", value_parser = score)]
    pub fail_under: Option<f64>,
    /// Exit with 4 when something in scope could not be seen.
    #[arg(long)]
    pub fail_on_partial: bool,
    /// Give up on a listing that brings nothing for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(10..=300))]
    pub region_timeout: u16,
    /// Accounts to scan side by side.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub concurrency: u16,
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check policy files, and say what is wrong where.
    Check {
        /// Files or directories.
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
    },
    /// Convert the predecessor's `tagging_policy.json` to a `TaggingPolicy` manifest.
    Convert {
        /// The JSON file.
        file: PathBuf,
        /// The name of the policy. Without it, that of the file.
        #[arg(long)]
        name: Option<String>,
        /// Write the manifest here instead of stdout.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct History {
    /// The store: `sqlite:PATH` or `postgres://…`.
    #[arg(long, value_name = "URL", env = "TAGWARDEN_STORE", hide_env_values = true)]
    pub store: String,
    /// Whose runs: those of a namespace of the controller. Runs of `scan` are in `default`.
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// How many runs to show, the newest first.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

#[derive(Debug, Args)]
pub struct Types {
    /// How to print them.
    #[arg(long, value_enum, default_value_t = TypesFormat::Table)]
    pub format: TypesFormat,
}

#[derive(Debug, Args)]
pub struct IamPolicy {
    /// Only for this type, `ec2:instance` or `rds:*` (repeatable, or comma-separated). Without it, for all.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Ask whether there is all that work needs, `/readyz`, not merely whether the process answers, `/healthz`.
    #[arg(long)]
    pub ready: bool,
    /// Ask at this address. Without it, where --metrics-listen says, on this machine.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    #[command(flatten)]
    pub settings: SettingFlags,
}

#[derive(Debug, Args)]
pub struct Crds {
    /// Write a file for each into this directory instead.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// How to reach an API.
#[derive(Debug, Args)]
pub struct Connection {
    /// The URL of the API, as given to `kubeconfig --server`. Without it, what the kubeconfig says.
    #[arg(
        long,
        value_name = "URL",
        env = "TAGWARDEN_SERVER",
        hide_env_values = true,
        requires = "token_file"
    )]
    pub server: Option<String>,
    /// The file that holds the token, and nothing else.
    #[arg(long, value_name = "FILE", env = "TAGWARDEN_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// A file with the certificates to trust, in PEM, where the system's are not enough.
    #[arg(long, value_name = "FILE", env = "TAGWARDEN_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// The kubeconfig. Without it, `KUBECONFIG`, then the user's own, then that of the pod.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "token_file", "ca"])]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Kinds, separated by commas: `tagpol`, `clientaccounts`, `events` …, or `tagwarden` for all of Tagwarden's; then
    /// names, to see only those objects. Or `KIND/NAME`, any number of times.
    #[arg(value_name = "KINDS [NAME]", required = true)]
    pub what: Vec<String>,
    /// The namespace. Without it, that of the kubeconfig, then `default`.
    #[arg(long, short, conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// Of all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Only objects with these labels, for example `tier=gold`.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Print all columns: the same as `--output wide`.
    #[arg(long, conflicts_with = "output")]
    pub wide: bool,
    /// How to print them. Without it, as a table.
    #[arg(long, short, value_enum)]
    pub output: Option<GetOutput>,
    /// Print each change as well, until stopped. One kind at a time.
    #[arg(long, short)]
    pub watch: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct ClientRole {
    /// The `ClientAccount` whose role it is, with the external id that was generated for it. Asks the control plane.
    pub account: Option<String>,
    /// The namespace of the `ClientAccount`.
    #[arg(long, short, value_name = "NAME", requires = "account")]
    pub namespace: Option<String>,
    /// How many seconds to wait until the controller has written the template.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "account", value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub timeout: u16,
    /// What the role asks for: nobody else may use the same.
    #[arg(long, value_name = "ID", conflicts_with = "account")]
    pub external_id: Option<String>,
    /// Let the role ask for no external id. Only for roles of your own organisation.
    #[arg(long, conflicts_with_all = ["account", "external_id"])]
    pub no_external_id: bool,
    /// Who may assume the role: the ARN of the role or user that Tagwarden runs with. Without it, who you are.
    #[arg(long, value_name = "ARN", conflicts_with = "account")]
    pub principal: Option<String>,
    /// The name of the role.
    #[arg(long, value_name = "NAME", default_value = tagwarden_core::onboarding::ROLE_NAME, conflicts_with = "account")]
    pub name: String,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct Kubeconfig {
    /// The URL of the API, for example `https://tagwarden.example.com:6443`.
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The file that holds the token, and nothing else. The kubeconfig names it, and does not hold the token.
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// A file with the certificates to trust, in PEM. They become part of the kubeconfig.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The namespace of commands that name none.
    #[arg(long, default_value = "default")]
    pub namespace: String,
}

#[derive(Debug, Args)]
pub struct Token {
    /// Who holds the token: the name in the log, and in the objects they change.
    #[arg(value_parser = user)]
    pub user: String,
    /// What they may do.
    #[arg(long, value_enum)]
    pub role: Role,
    /// Write the token to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key, and print it. It cannot be shown again.
    ///
    /// The key is printed to stdout, and what it opens to stderr.
    Create {
        #[command(flatten)]
        store: KeyStore,
        /// The tenant that it opens: a namespace.
        #[arg(long, value_name = "NAMESPACE", default_value = "default", value_parser = user)]
        tenant: String,
        /// What it allows: `tag:read`, `audit:write` to create and change audits, `admin` for everything but approving
        /// (repeatable, or comma-separated).
        #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_value = "tag:read")]
        scope: Vec<Scope>,
        /// When it ends: after so many days, `90d`, at a date, `2027-01-31`, or `never`.
        #[arg(long, value_name = "WHEN", default_value = "90d")]
        expires: Expiry,
        /// What it is for, to be found again in the list.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// List the keys, without what would open anything.
    List {
        #[command(flatten)]
        store: KeyStore,
        /// Only keys of this tenant.
        #[arg(long, value_name = "NAMESPACE")]
        tenant: Option<String>,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Revoke a key, for good. What is under way with it ends.
    Revoke {
        #[command(flatten)]
        store: KeyStore,
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// Where keys are kept.
#[derive(Debug, Args)]
pub struct KeyStore {
    /// The store of the server: `sqlite:PATH` or `postgres://…`.
    #[arg(long, value_name = "URL", env = "TAGWARDEN_STORE", hide_env_values = true)]
    pub store: String,
}

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// After so many days.
    Days(u16),
    /// When this day begins, in UTC.
    On(jiff::civil::Date),
    /// Not at all.
    Never,
}

impl std::str::FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok())
            && (1..=3650).contains(&days)
        {
            return Ok(Self::Days(days));
        }
        let date = text.parse().map(Self::On);
        date.map_err(|_| "expected 1d to 3650d, a date like 2027-01-31, or never".into())
    }
}

/// What somebody may do with the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Look.
    View,
    /// Look, and change policies, accounts and audits.
    Edit,
    /// Everything.
    Admin,
}

impl Role {
    /// As in the token file.
    pub fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Admin => "admin",
        }
    }
}

/// A reference page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// docs/reference/settings.md.
    Settings,
    /// config/tagwarden.yaml.
    SettingsFile,
    /// docs/reference/conditions.md.
    Conditions,
    /// docs/reference/api.md.
    Api,
    /// docs/reference/openapi.json.
    Openapi,
    /// docs/reference/tools.md.
    Tools,
}

/// Which findings are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Violations and advice.
    All,
    /// Violations only.
    Errors,
    /// Advice only.
    Warnings,
}

/// How a scan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One finding a line, then the report.
    Ndjson,
    /// One finding a row.
    Csv,
    /// For a ticket or a wiki.
    Markdown,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// One document.
    Json,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetOutput {
    /// A table with all columns.
    Wide,
    /// Kind and name, one a line.
    Name,
    /// The objects themselves.
    Json,
    /// The objects themselves.
    Yaml,
}

/// How the resource types are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypesFormat {
    /// For people.
    Table,
    /// The reference page.
    Markdown,
}

fn user(text: &str) -> Result<String, String> {
    let plain = |symbol: char| symbol != ':' && !symbol.is_whitespace() && !symbol.is_control();
    if (1..=253).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("expected a name of at most 253 characters, without spaces and colons".into())
}

fn score(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err("expected a number from 0 to 1, for example 0.9".into()),
    }
}
