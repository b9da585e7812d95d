//! The controller with a thousand accounts of a hundred resources each: how long the first pass takes, what a restart
//! costs when nothing has changed, and how little it needs when there is nothing to do.

use std::path::Path;
use std::time::Duration;

use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::ComplianceAudit;
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_apiserver::{ControlPlane, Location, Options};

use crate::bed::controller::Controller;
use crate::bed::estate::Estate;
use crate::bed::process::{Memory, cpu_seconds};
use crate::bed::stub::Stub;
use crate::bed::{Outcome, policy, verdict};

const ACCOUNTS: u32 = 1000;
const RESOURCES: u32 = 100;
const NAMESPACE: &str = "default";
/// How long the idle controller is left alone.
const IDLE: Duration = Duration::from_secs(5);

/// What it took up to now.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu_seconds: f64,
    memory: Memory,
}

/// Measures all three, and prints them beside what they aim at.
pub fn measure(directory: &Path) -> Outcome<()> {
    let stub = Stub::start(Estate::ec2(RESOURCES), true)?;
    idle(&stub, directory)?;
    let store = directory.join("controller.db");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(declare(&store))?;

    let controller = Controller::start(&stub, directory, &store, &[])?;
    controller.until("tagwarden_audit_runs_total", 1.0)?;
    let spent = Spent::of(&controller)?;
    controller.stop()?;
    let before = runtime.block_on(check(&store, &stub))?;
    spent.print("first pass", [20.0, 15.0, 100.0]);
    println!("     {} requests, {} throttled", stub.traffic().total(), stub.traffic().throttled);

    stub.forget();
    let controller = Controller::start(&stub, directory, &store, &[])?;
    controller
        .until("controller_runtime_reconcile_total{controller=\"clientaccount\"", f64::from(ACCOUNTS))?;
    let spent = Spent::of(&controller)?;
    controller.stop()?;
    let after = runtime.block_on(versions(&store))?;
    let written = after.iter().filter(|version| !before.contains(version)).count();
    spent.print("resync", [f64::INFINITY, 2.0, f64::INFINITY]);
    println!("{} resync: {written} objects written, aim 0", verdict(written == 0));
    Ok(())
}

fn idle(stub: &Stub, directory: &Path) -> Outcome<()> {
    let controller = Controller::start(stub, directory, &directory.join("idle.db"), &[])?;
    let ready = controller.started.elapsed();
    std::thread::sleep(IDLE);
    let spent = Spent::of(&controller)?;
    controller.stop()?;
    let (ready, Memory { peak, own, .. }) = (ready.as_secs_f64() * 1e3, spent.memory);
    println!("{} idle: {peak:.0} MB peak memory, aim at most 20", verdict(peak <= 20.0));
    println!("     idle: {own:.1} MB of it its own; the rest is files, mostly the program");
    println!("{} idle: {ready:.0} ms from start to ready, aim at most 100", verdict(ready <= 100.0));
    Ok(())
}

impl Spent {
    fn of(controller: &Controller) -> Outcome<Self> {
        let id = controller.id();
        let (_, cpu_seconds) = cpu_seconds(&id).ok_or("the controller has ended")?;
        let memory = Memory::of(&id).ok_or("the controller has ended")?;
        Ok(Self { wall: controller.started.elapsed(), cpu_seconds, memory })
    }

    fn print(&self, name: &str, [wall, cpu, peak]: [f64; 3]) {
        let lines = [
            (self.wall.as_secs_f64(), wall, "seconds of wall time"),
            (self.cpu_seconds, cpu, "seconds of CPU time"),
            (self.memory.peak, peak, "megabytes of peak memory"),
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
