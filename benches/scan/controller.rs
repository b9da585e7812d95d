//! The controller with a thousand accounts of a hundred resources each: how long the first pass takes, what a restart
//! costs when nothing has changed, and how little it needs when there is nothing to do.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::ComplianceAudit;
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_apiserver::{ControlPlane, Location, Options};

use super::estate::Estate;
use super::measured::{cpu_seconds, peak_megabytes};
use super::policy;
use super::product::in_aws;
use super::stub::Stub;

const ACCOUNTS: u32 = 1000;
const RESOURCES: u32 = 100;
const NAMESPACE: &str = "default";
/// Between two looks at the metrics.
const GLANCE: Duration = Duration::from_millis(100);
const START_GLANCE: Duration = Duration::from_millis(2);
/// How long the idle controller is left alone.
const IDLE: Duration = Duration::from_secs(5);
/// Far longer than anything takes.
const WITHIN: Duration = Duration::from_mins(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A running controller.
struct Controller {
    child: Child,
    metrics: SocketAddr,
    started: Instant,
}

/// What it took up to now.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu_seconds: f64,
    peak_megabytes: f64,
}

/// Measures all three, and prints them beside what they aim at.
pub fn measure(directory: &Path) -> Outcome<()> {
    let stub = Stub::start(Estate::ec2(RESOURCES), true)?;
    idle(&stub, directory)?;
    let store = directory.join("controller.db");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(declare(&store))?;

    let controller = Controller::start(&stub, directory, &store)?;
    controller.until("tagwarden_audit_runs_total", 1.0)?;
    let spent = controller.spent()?;
    controller.stop()?;
    let before = runtime.block_on(check(&store, &stub))?;
    spent.print("first pass", [20.0, 15.0, 100.0]);
    println!("     {} requests, {} throttled", stub.traffic().total(), stub.traffic().throttled);

    stub.forget();
    let controller = Controller::start(&stub, directory, &store)?;
    controller
        .until("controller_runtime_reconcile_total{controller=\"clientaccount\"", f64::from(ACCOUNTS))?;
    let spent = controller.spent()?;
    controller.stop()?;
    let after = runtime.block_on(versions(&store))?;
    let written = after.iter().filter(|version| !before.contains(version)).count();
    spent.print("resync", [f64::INFINITY, 2.0, f64::INFINITY]);
    println!("{} resync: {written} objects written, aim 0", verdict(written == 0));
    Ok(())
}

fn idle(stub: &Stub, directory: &Path) -> Outcome<()> {
    let controller = Controller::start(stub, directory, &directory.join("idle.db"))?;
    let ready = controller.started.elapsed();
    std::thread::sleep(IDLE);
    let spent = controller.spent()?;
    controller.stop()?;
    let (ready, peak) = (ready.as_secs_f64() * 1e3, spent.peak_megabytes);
    println!("{} idle: {peak:.0} MB peak memory, aim at most 20", verdict(peak <= 20.0));
    println!("{} idle: {ready:.0} ms from start to ready, aim at most 100", verdict(ready <= 100.0));
    Ok(())
}

fn verdict(hit: bool) -> &'static str {
    if hit { "HIT " } else { "MISS" }
}

impl Spent {
    fn print(&self, name: &str, [wall, cpu, peak]: [f64; 3]) {
        let lines = [
            (self.wall.as_secs_f64(), wall, "seconds of wall time"),
            (self.cpu_seconds, cpu, "seconds of CPU time"),
            (self.peak_megabytes, peak, "megabytes of peak memory"),
        ];
        for (found, aim, what) in lines {
            if aim.is_finite() {
                println!("{} {name}: {found:.1} {what}, aim at most {aim}", verdict(found <= aim));
            } else {
                println!("     {name}: {found:.1} {what}");
            }
        }
    }
}

async fn open(store: &Path) -> Outcome<ControlPlane> {
    let plane =
        ControlPlane::open(Location::sqlite(store), tagwarden_api::crds(), Options::new(NAMESPACE)).await?;
    plane.wait_ready().await;
    Ok(plane)
}

/// Declares the policy, the accounts, and an audit of them all.
async fn declare(store: &Path) -> Outcome<()> {
    let plane = open(store).await?;
    let client = plane.client(NAMESPACE);
    let bench: TaggingPolicy = serde_saphyr::from_str(&policy::manifest())?;
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &bench).await?;
    let accounts: Api<ClientAccount> = Api::default_namespaced(client.clone());
    for number in 0..ACCOUNTS {
        let id = format!("{:012}", 200_000_000_000 + u64::from(number));
        let account = serde_json::from_value(json!({
            "apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount",
            "metadata": {"name": format!("account-{number}")},
            "spec": {"accountId": id, "auth": {"roleArn": format!("arn:aws:iam::{id}:role/reader")}},
        }))?;
        accounts.create(&PostParams::default(), &account).await?;
    }
    let audit: ComplianceAudit = serde_json::from_value(json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": "ComplianceAudit", "metadata": {"name": "all"},
        "spec": {
            "policyRef": {"name": "bench"}, "accounts": {"all": true, "maxConcurrent": 50},
            "resources": {"include": ["ec2:instance"]},
        },
    }))?;
    Api::default_namespaced(client).create(&PostParams::default(), &audit).await?;
    plane.shutdown().await;
    Ok(())
}

/// Holds what the controller wrote against the truth; returns the versions of all objects.
async fn check(store: &Path, stub: &Stub) -> Outcome<Vec<String>> {
    let plane = open(store).await?;
    let audits: Api<ComplianceAudit> = Api::default_namespaced(plane.client(NAMESPACE));
    let status = audits.get("all").await?.status.unwrap_or_default();
    let summary = status.summary.ok_or("the audit has no summary")?;
    let truth = stub.estate.truth(true).total();
    let accounts = u64::from(ACCOUNTS);
    let found = (u64::try_from(summary.resources)?, u64::try_from(summary.violations)?);
    if found != (truth.resources * accounts, truth.violations * accounts) {
        return Err(format!("the status says {found:?}, the truth is {accounts} times {truth:?}").into());
    }
    plane.shutdown().await;
    versions(store).await
}

async fn versions(store: &Path) -> Outcome<Vec<String>> {
    let plane = open(store).await?;
    let client = plane.client(NAMESPACE);
    let mut versions = Vec::new();
    let accounts =
        Api::<ClientAccount>::default_namespaced(client.clone()).list(&ListParams::default()).await?;
    versions.extend(accounts.items.into_iter().filter_map(|object| object.metadata.resource_version));
    let audits =
        Api::<ComplianceAudit>::default_namespaced(client.clone()).list(&ListParams::default()).await?;
    versions.extend(audits.items.into_iter().filter_map(|object| object.metadata.resource_version));
    let policies = Api::<TaggingPolicy>::default_namespaced(client).list(&ListParams::default()).await?;
    versions.extend(policies.items.into_iter().filter_map(|object| object.metadata.resource_version));
    plane.shutdown().await;
    Ok(versions)
}

impl Controller {
    /// Starts it, and waits until it is ready.
    fn start(stub: &Stub, directory: &Path, store: &Path) -> Outcome<Self> {
        let metrics = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        in_aws(&mut command, stub, directory)
            .args(["run", "--control-plane", "embedded", "--metrics-listen", &metrics.to_string()])
            .args(["--listen", "127.0.0.1:0"])
            .args(["--log-level", "warn", "--store"])
            .arg(format!("sqlite:{}", store.display()))
            .stdin(Stdio::null())
            .stderr(File::create(directory.join("controller.log"))?);
        let started = Instant::now();
        let controller = Self { child: command.spawn()?, metrics, started };
        while !controller.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            if started.elapsed() > WITHIN {
                return Err("the controller is not ready".into());
            }
            std::thread::sleep(START_GLANCE);
        }
        Ok(controller)
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.metrics).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Waits until the series that begin so add up to this.
    fn until(&self, series: &str, value: f64) -> Outcome<()> {
        loop {
            let text = self.get("/metrics").unwrap_or_default();
            let values = text.lines().filter(|line| line.starts_with(series));
            let sum: f64 = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            if sum >= value {
                return Ok(());
            }
            if self.started.elapsed() > WITHIN {
                return Err(format!("{series} is {sum}, not {value}").into());
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn spent(&self) -> Outcome<Spent> {
        let id = self.child.id().to_string();
        let (_, cpu_seconds) = cpu_seconds(&id).ok_or("the controller has ended")?;
        let peak_megabytes = peak_megabytes(&id).ok_or("the controller has ended")?;
        Ok(Spent { wall: self.started.elapsed(), cpu_seconds, peak_megabytes })
    }

    fn stop(mut self) -> Outcome<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the controller ended with {status}").into()) }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
