//! `testbed`: a simulated AWS with an estate in it, or a real Kubernetes API server, for the demo and for trying
//! things by hand.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use tagwarden_testbed::manifests::{NamedAccount, client_accounts};
use tagwarden_testbed::{
    Account, Estate, Fault, Kubernetes, Moto, Proxy, Question, REGIONS, Rule, chain, estate,
};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated AWS with an estate in it, or a real Kubernetes API server. Everything is on loopback and ends with this program.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts it and stays until standard input ends, Ctrl-C or SIGTERM.
    Up(Setup),
    /// Starts it, runs a command with the environment that leads there, and ends with the command's status.
    Run {
        #[command(flatten)]
        setup: Setup,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Compares the JSON report of a scan with `expected.json`.
    Check {
        /// The file that `up` or `run` wrote.
        #[arg(long)]
        expected: PathBuf,
        /// The report.
        report: PathBuf,
    },
    /// Starts an empty Kubernetes API server (etcd and kube-apiserver, built on first use), prints the path of an
    /// administrator's kubeconfig, and stays until standard input ends, Ctrl-C or SIGTERM.
    Kubernetes,
}

/// What is set up.
#[derive(Debug, Args)]
struct Setup {
    /// Where `accounts.yaml`, `env`, `truth.json` and `expected.json` are written.
    #[arg(long)]
    dir: PathBuf,
    /// Account ids; the last of several asks for its external id.
    #[arg(long, value_delimiter = ',', default_values = ["111122223333", "444455556666"])]
    accounts: Vec<String>,
    /// Regions, the only enabled ones.
    #[arg(long, value_delimiter = ',', default_values = REGIONS)]
    regions: Vec<String>,
    /// What chance is made of.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// 1 makes about a hundred resources an account and region.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Services (as they are signed for: `ec2`, `rds`, `tagging` …) that refuse every call, to see gaps.
    #[arg(long, value_delimiter = ',')]
    deny: Vec<String>,
    /// Lists come in pages of this many items.
    #[arg(long)]
    page_size: Option<usize>,
    /// The policy that `expected.json` is computed with.
    #[arg(long, default_value_os_t = estate::demo_policy())]
    policy: PathBuf,
}

/// The failure of a step.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Failed {
    what: String,
    #[source]
    source: Box<dyn std::error::Error>,
}

fn failed<E: std::error::Error + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |source| Failed { what, source: Box::new(source) }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result =
        tokio::runtime::Runtime::new().map_err(failed("the runtime did not start")).and_then(|runtime| {
            let result = runtime.block_on(async {
                match command {
                    Command::Up(setup) => up(&setup).await,
                    Command::Run { setup, command } => run(&setup, &command).await,
                    Command::Check { expected, report } => check(&expected, &report),
                    Command::Kubernetes => kubernetes().await,
                }
            });
            // A thread that still reads standard input would hold up the end.
            runtime.shutdown_background();
            result
        });
    result.unwrap_or_else(|error| {
        say(&chain(&error));
        ExitCode::from(2)
    })
}

async fn up(setup: &Setup) -> Result<ExitCode, Failed> {
    let bed = start(setup)?;
    say(&format!("ready: `. {}`, end with Ctrl-D or Ctrl-C", setup.dir.join("env").display()));
    end_is_asked_for().await?;
    Ok(bed.end())
}

async fn kubernetes() -> Result<ExitCode, Failed> {
    say(
        "starting a Kubernetes API server (the first time it is built into the user's cache, which takes minutes) …",
    );
    let server = Kubernetes::start().map_err(failed("no Kubernetes API server"))?;
    let path = server.kubeconfig();
    writeln!(io::stdout(), "{}", path.display()).map_err(failed("standard output"))?;
    say(&format!("ready: `export KUBECONFIG={}`, end with Ctrl-D or Ctrl-C", path.display()));
    end_is_asked_for().await?;
    Ok(ExitCode::SUCCESS)
}

async fn end_is_asked_for() -> Result<(), Failed> {
    let mut terminated = signal(SignalKind::terminate()).map_err(failed("cannot wait for SIGTERM"))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed("cannot wait for Ctrl-C"))?;
    tokio::select! {
        () = end_of_input() => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 1024];
    while input.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

async fn run(setup: &Setup, command: &[String]) -> Result<ExitCode, Failed> {
    let bed = start(setup)?;
    let Some((program, arguments)) = command.split_first() else { return Ok(ExitCode::from(2)) };
    let mut command = std::process::Command::new(program);
    bed.proxy.equip(&mut command).args(arguments);
    // Ctrl-C is for the command, which is in our process group; what it makes of it decides.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed("cannot wait for Ctrl-C"))?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed("cannot wait for SIGTERM"))?;
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed(format!("`{program}` cannot be run")))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed(format!("`{program}` was lost")))?,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => return Ok(ExitCode::from(143)),
        }
    };
    let tripped = bed.end();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(tripped),
        Some(code) => Ok(ExitCode::from(code)),
        None => Ok(ExitCode::from(1)),
    }
}

struct Bed {
    proxy: Proxy,
    // Outlives the proxy.
    _moto: Moto,
}

impl Bed {
    /// Reports what the simulator could not answer.
    fn end(self) -> ExitCode {
        let tripwires = self.proxy.take_tripwires();
        for tripwire in &tripwires {
            say(tripwire);
        }
        if tripwires.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn start(setup: &Setup) -> Result<Bed, Failed> {
    std::fs::create_dir_all(&setup.dir)
        .map_err(failed(format!("`{}` cannot be made", setup.dir.display())))?;
    say(
        "starting the AWS simulator (the first time it is installed into the user's cache, which takes a minute) …",
    );
    let moto = Moto::start().map_err(failed("the AWS simulator cannot be started"))?;
    let proxy = Proxy::start(moto.address()).map_err(failed("the fault proxy cannot be started"))?;
    let regions: Vec<&str> = setup.regions.iter().map(String::as_str).collect();
    proxy.enable_regions(&regions);
    for service in &setup.deny {
        proxy.rule(Rule::on(service, "*", Fault::Deny));
    }
    if let Some(size) = setup.page_size {
        proxy.rule(Rule::on("*", "*", Fault::Repage { size }));
    }

    say("seeding the estate …");
    let ids: Vec<&str> = setup.accounts.iter().map(String::as_str).collect();
    let wanted = Estate { accounts: &ids, regions: &regions, seed: setup.seed, scale: setup.scale, many: "" };
    let truth_file = setup.dir.join("truth.json");
    let truth = estate::seed(&moto, &wanted, &truth_file).map_err(failed("the estate cannot be seeded"))?;
    let accounts = ids.join(",");
    let question = Question { policy: &setup.policy, accounts: &accounts, regions: &regions, types: &[] };
    let expected =
        estate::expect(&moto, &truth_file, &question).map_err(failed("the truth cannot be evaluated"))?;
    write(&setup.dir.join("expected.json"), &expected.to_string())?;
    write(&setup.dir.join("accounts.yaml"), &admit(&proxy, &setup.accounts))?;
    let exports: Vec<String> =
        proxy.env().iter().map(|(name, value)| format!("export {name}='{value}'")).collect();
    write(&setup.dir.join("env"), &(exports.join("\n") + "\n"))?;
    let counted = truth.resources.iter().filter(|resource| resource.ignored.is_empty()).count();
    say(&format!("{counted} resources in {} accounts and {} regions", ids.len(), regions.len()));
    Ok(Bed { proxy, _moto: moto })
}

/// Opens the accounts, and gives the manifests with which a scan gets in.
fn admit(proxy: &Proxy, ids: &[String]) -> String {
    const NAMES: [(&str, &str); 4] =
        [("shop", "gold"), ("analytics", "silver"), ("sandbox", "bronze"), ("archive", "bronze")];
    let accounts: Vec<Account> = ids
        .iter()
        .enumerate()
        .map(|(index, id)| {
            let asks = ids.len() > 1 && index + 1 == ids.len();
            proxy.admit(id.clone(), asks.then(|| format!("tagwarden-{id}")))
        })
        .collect();
    let mut text = String::new();
    for (index, account) in accounts.iter().enumerate() {
        let (name, tier) = NAMES[index % NAMES.len()];
        let name =
            if index < NAMES.len() { name.to_owned() } else { format!("{name}-{}", index / NAMES.len()) };
        text.push_str(&client_accounts(&[NamedAccount { name: &name, labels: &[("tier", tier)], account }]));
    }
    text
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(failed(format!("`{}` cannot be written", path.display())))
}

fn check(expected: &Path, report: &Path) -> Result<ExitCode, Failed> {
    let load = |path: &Path| -> Result<Value, Failed> {
        let text = std::fs::read(path).map_err(failed(format!("`{}` cannot be read", path.display())))?;
        serde_json::from_slice(&text).map_err(failed(format!("`{}` is not JSON", path.display())))
    };
    let (expected, report) = (load(expected)?, load(report)?);
    let mut differences = Vec::new();
    for field in ["resources", "compliant", "violating", "exempt", "unknown"] {
        let (wanted, found) = (&expected["summary"][field], &report["summary"][field]);
        if wanted != found {
            differences.push(format!("summary.{field}: expected {wanted}, the scan says {found}"));
        }
    }
    let (wanted, found) = (violations(&expected), violations(&report));
    differences.extend(wanted.difference(&found).map(|row| format!("not in the scan: {row}")));
    differences.extend(found.difference(&wanted).map(|row| format!("only in the scan: {row}")));
    if differences.is_empty() {
        say(&format!("the scan equals the truth: {} findings", found.len()));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("the scan differs from the truth in {} places:", differences.len()));
    for difference in differences.iter().take(20) {
        say(&format!("  {difference}"));
    }
    Ok(ExitCode::FAILURE)
}

fn violations(report: &Value) -> BTreeSet<String> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let fields = ["arn", "tagKey", "violationType", "severity", "kind"];
    let rows = report["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| fields.map(|field| text(row, field)).join(" ")).collect()
}

/// One line for the person at the terminal; standard output belongs to the command that is run.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "testbed: {line}");
}
