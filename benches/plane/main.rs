//! The embedded control plane, measured through the client that the controller uses:
//! `cargo bench --bench plane [-- memory|file|postgres|http …]`.
//!
//! For each way to run it: writes and reads a second, alone and sixteen at a time; the time to list two thousand
//! objects; and how long after a write was acknowledged a watch shows it. Every count is checked; times are printed
//! and never fail the bench, because they depend on the machine.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::format_collect, unreachable_pub)]

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tagwarden_api::account::ClientAccount;
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_testbed::Testbed;

/// Objects that are created, and then listed.
const OBJECTS: usize = 2000;
/// Requests of each kind that are timed.
const REQUESTS: usize = 1000;
/// Writes whose way to a watch is timed.
const WATCHED: usize = 300;
const NAMESPACE: &str = "default";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Line {
    name: String,
    figures: Vec<String>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let directory = tempfile::tempdir()?;
    let mut lines = Vec::new();
    if wants("memory") {
        let plane = open("sqlite::memory:").await?;
        lines.push(measure("memory", plane.client(NAMESPACE)).await?);
        plane.shutdown().await;
    }
    if wants("file") {
        let plane = open(&format!("sqlite:{}", directory.path().join("plane.db").display())).await?;
        lines.push(measure("file", plane.client(NAMESPACE)).await?);
        plane.shutdown().await;
    }
    if wants("http") {
        let plane = open(&format!("sqlite:{}", directory.path().join("http.db").display())).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse()?;
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        let server = tokio::spawn(axum::serve(listener, plane.router()).into_future());
        lines.push(measure("file, over loopback", Client::try_from(kube::Config::new(url))?).await?);
        server.abort();
        plane.shutdown().await;
    }
    if wants("postgres") {
        let url = tokio::task::spawn_blocking(|| Testbed::postgres().fresh_database()).await??;
        let plane = open(&url).await?;
        lines.push(measure("PostgreSQL", plane.client(NAMESPACE)).await?);
        plane.shutdown().await;
    }
    print(&lines);
    Ok(())
}

async fn open(location: &str) -> Outcome<ControlPlane> {
    let location: Location = location.parse()?;
    Ok(ControlPlane::open(location, tagwarden_api::crds(), Options::new(NAMESPACE)).await?)
}

fn account(number: usize) -> Outcome<ClientAccount> {
    let id = format!("{:012}", 100_000_000_000 + number as u64);
    let role = format!("arn:aws:iam::{id}:role/tagwarden-reader");
    Ok(serde_json::from_value(json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount",
        "metadata": {"name": format!("account-{number}"), "labels": {"tier": "gold"}},
        "spec": {"accountId": id, "displayName": format!("Account {number}"), "auth": {"roleArn": role}},
    }))?)
}

async fn measure(name: &str, client: Client) -> Outcome<Line> {
    let accounts: Api<ClientAccount> = Api::namespaced(client, NAMESPACE);
    let create = |number: usize| {
        let accounts = accounts.clone();
        async move { Ok(accounts.create(&PostParams::default(), &account(number)?).await.map(drop)?) }
    };
    let half = OBJECTS / 2;
    let created_alone = rate(0..half, 1, create).await?;
    let created_together = rate(half..OBJECTS, 16, create).await?;

    let get = |number: usize| {
        let accounts = accounts.clone();
        async move { Ok(accounts.get(&format!("account-{}", number % OBJECTS)).await.map(drop)?) }
    };
    let read_alone = rate(0..REQUESTS, 1, get).await?;
    let read_together = rate(0..REQUESTS, 16, get).await?;

    let patch = |number: usize| {
        let accounts = accounts.clone();
        async move {
            let status = Patch::Merge(json!({"status": {"callerArn": format!("arn:aws:sts::{number}")}}));
            let name = format!("account-{}", number % OBJECTS);
            Ok(accounts.patch_status(&name, &PatchParams::default(), &status).await.map(drop)?)
        }
    };
    let patched_alone = rate(0..REQUESTS, 1, patch).await?;
    let patched_together = rate(REQUESTS..2 * REQUESTS, 16, patch).await?;

    let before = Instant::now();
    let listed = accounts.list(&ListParams::default()).await?;
    let list = before.elapsed();
    assert_eq!(listed.items.len(), OBJECTS);
    let version = listed.metadata.resource_version.unwrap_or_default();
    let (middle, late) = watch(&accounts, &version).await?;
    let figures = vec![
        format!("{created_alone:.0} / {created_together:.0}"),
        format!("{read_alone:.0} / {read_together:.0}"),
        format!("{patched_alone:.0} / {patched_together:.0}"),
        format!("{:.0} ms", list.as_secs_f64() * 1e3),
        format!("{:.2} / {:.2} ms", middle.as_secs_f64() * 1e3, late.as_secs_f64() * 1e3),
    ];
    Ok(Line { name: name.to_owned(), figures })
}

/// Requests a second, so many at a time.
async fn rate<F, T>(numbers: std::ops::Range<usize>, at_once: usize, request: F) -> Outcome<f64>
where
    F: Fn(usize) -> T,
    T: Future<Output = Outcome<()>>,
{
    let count = numbers.len();
    let before = Instant::now();
    stream::iter(numbers).map(request).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
    Ok(count as f64 / before.elapsed().as_secs_f64())
}

/// How long after the answer to a write a watch shows it: the median and the 99th percentile. An event that is
/// there before the answer counts as zero.
async fn watch(accounts: &Api<ClientAccount>, version: &str) -> Outcome<(Duration, Duration)> {
    let mut events = accounts.watch(&WatchParams::default(), version).await?.boxed();
    let mut times = Vec::with_capacity(WATCHED);
    for number in 0..WATCHED {
        let status = Patch::Merge(json!({"status": {"callerArn": format!("arn:aws:sts::watched-{number}")}}));
        let seen = async {
            loop {
                match events.try_next().await? {
                    Some(WatchEvent::Modified(account)) => {
                        break Outcome::Ok((account.name_any(), Instant::now()));
                    }
                    Some(_) => {}
                    None => break Err("the watch ended".into()),
                }
            }
        };
        let written = async {
            let name = format!("account-{number}");
            accounts.patch_status(&name, &PatchParams::default(), &status).await?;
            Outcome::Ok(Instant::now())
        };
        let ((name, seen), written) = tokio::try_join!(seen, written)?;
        assert_eq!(name, format!("account-{number}"));
        times.push(seen.saturating_duration_since(written));
    }
    times.sort_unstable();
    Ok((times[WATCHED / 2], times[WATCHED * 99 / 100]))
}

fn print(lines: &[Line]) {
    const HEADER: [&str; 5] =
        ["create/s 1/16", "get/s 1/16", "patch status/s 1/16", "list 2,000", "watch p50/p99"];
    println!("{:22}{}", "", HEADER.map(|title| format!("{title:>22}")).concat());
    for Line { name, figures } in lines {
        let figures: String = figures.iter().map(|figure| format!("{figure:>22}")).collect();
        println!("{name:22}{figures}");
    }
}
