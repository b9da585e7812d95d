//! Agents, measured from the outside: `cargo bench --bench agents [-- --seconds N --clients N --resources N]`.
//!
//! The release binary audits an estate that the stub of AWS serves. Then it is asked over `/mcp`, with keys: by one
//! client that waits for each answer, and by many at once for a while. And it is started over standard input and
//! output, again and again. Every answer is held against the truth about the estate.
//!
//! It fails if an answer is wrong or missing, if one that should come out of the store made a call to AWS, or if the
//! server keeps more memory than [`GROWTH_MEGABYTES`]. Times are printed beside what they aim at, and never fail it.

#![allow(clippy::print_stdout, unreachable_pub)]

#[allow(dead_code)] // each bench uses a part of it
#[path = "../bed/mod.rs"]
mod bed;
mod client;
mod first_answer;
mod load;
mod times;
mod truth;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use bed::controller::Controller;
use bed::estate::{ACCOUNT, Counts, Estate};
use bed::process::Memory;
use bed::stub::Stub;
use bed::{Outcome, in_aws, policy, verdict};
use client::{Answer, Client};
use load::{Load, listed};
use times::Times;
use truth::Expected;

/// How much more the server may have of its own in the last sixth of the load than in the second, in megabytes. What
/// it keeps of a call on purpose, so that it knows loops and budgets, are two instants of 16 bytes.
const GROWTH_MEGABYTES: f64 = 8.0;

/// Calls before it is measured, and while it is.
const WARM_UP: usize = 100;
const CALLS: usize = 1000;

/// The most bytes of an answer.
const ANSWER_BYTES: usize = 64 << 10;

/// What is measured.
struct Plan {
    duration: Duration,
    clients: usize,
    resources: u32,
}

fn main() -> Outcome<()> {
    let mut plan = Plan { duration: Duration::from_mins(1), clients: 50, resources: 10_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or_else(|| format!("{argument} needs a number"));
        match argument.as_str() {
            // Cargo says so to every bench.
            "--bench" => (),
            "--seconds" => plan.duration = Duration::from_secs(number()?.parse()?),
            "--clients" => plan.clients = number()?.parse::<usize>()?.max(1),
            "--resources" => plan.resources = number()?.parse()?,
            other => return Err(format!("{other}: give --seconds, --clients or --resources").into()),
        }
    }
    // One thread: what is measured has the other one.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&plan))
}

async fn measure(plan: &Plan) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let stub = Stub::start(Estate::mixed(plan.resources, 4), true)?;
    let counts = stub.estate.truth(true).total();
    let Counts { resources, compliant, violations } = counts;
    println!("{resources} resources, {compliant} compliant, {violations} violations");
    println!("\n{:34} {:>8} {:>8} {:>8} {:>8} {:>9}", "", "calls", "p50 ms", "p95 ms", "p99 ms", "bytes");

    let store = directory.path().join("agents.db");
    let keys = keys(plan.clients, &stub, directory.path(), &store)?;
    let manifests = declare(directory.path())?;
    let manifests = manifests.to_str().ok_or("an odd directory")?;
    let raised = "1000000";
    let controller = Controller::start(
        &stub,
        directory.path(),
        &store,
        &[
            ["--manifests", manifests],
            ["--auth", "keys"],
            ["--tenant-rate", "100000"],
            ["--address-rate", "100000"],
            ["--mcp-calls-per-hour", raised],
            ["--mcp-same-calls", raised],
        ]
        .concat(),
    )?;
    let ready = Memory::of(&controller.id()).ok_or("the controller has ended")?;
    controller.until("tagwarden_audit_runs_total", 1.0)?;

    let mut client = Client::connect(controller.listen, &keys[0]).await?;
    let looked = look(&mut client, &counts).await?;
    let expected = expected(&mut client, counts).await?;
    stub.forget();
    let cached = one_client(&mut client, &expected).await?;
    println!(
        "{:34} {:>8} {:>8.0}\n     {:.0} times as long as a cached check",
        "a check that looks at the cloud",
        1,
        looked.as_secs_f64() * 1e3,
        looked.as_secs_f64() * 1e3 / cached.times.median()
    );
    drop(client);
    let settled = Memory::of(&controller.id()).ok_or("the controller has ended")?;

    let load = load::run(controller.listen, &keys, &controller.id(), &expected, plan.duration).await?;
    row(&format!("{} clients, {} s", plan.clients, plan.duration.as_secs()), &load.times, None);
    let called = stub.traffic().total();
    controller.stop()?;
    tell(&load, ready, settled);

    let (new, known) = first_answer::measure(&stub, directory.path())?;
    aims(&cached, &new, &known);
    let growth = load.own_megabytes(5.0 / 6.0, 1.0) - load.own_megabytes(1.0 / 6.0, 2.0 / 6.0);
    println!(
        "{} memory grew by {growth:.1} MB, at most {GROWTH_MEGABYTES}",
        verdict(growth <= GROWTH_MEGABYTES)
    );
    if called > 0 {
        return Err(format!("{called} calls were made to AWS for answers that are in the store").into());
    }
    if growth <= GROWTH_MEGABYTES { Ok(()) } else { Err(format!("memory grew by {growth:.1} MB").into()) }
}

/// The policy of the estate, the account that it is in, and an audit of it.
fn declare(directory: &Path) -> Outcome<std::path::PathBuf> {
    let manifests = directory.join("manifests");
    fs::create_dir(&manifests)?;
    let types: Vec<&str> = bed::estate::Kind::ALL.into_iter().map(bed::estate::Kind::type_name).collect();
    let head = "apiVersion: tagwarden.io/v1alpha1\nkind";
    for (name, text) in [
        ("policy.yaml", policy::manifest()),
        (
            "account.yaml",
            format!(
                "{head}: ClientAccount\nmetadata: {{name: estate}}\nspec: {{accountId: \"{ACCOUNT}\", auth: {{mode: Ambient}}}}\n"
            ),
        ),
        (
            "audit.yaml",
            format!(
                "{head}: ComplianceAudit\nmetadata: {{name: estate}}\nspec:\n  policyRef: {{name: bench}}\n  \
                 accounts: {{all: true}}\n  resources: {}\n",
                json!({"include": types})
            ),
        ),
    ] {
        fs::write(manifests.join(name), text)?;
    }
    Ok(manifests)
}

/// A key for each client, made as an operator makes them.
fn keys(count: usize, stub: &Stub, directory: &Path, store: &Path) -> Outcome<Vec<String>> {
    let made = (0..count).map(|_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        let output = in_aws(&mut command, stub, directory)
            .args(["keys", "create", "--tenant", "default", "--scope", "tag:read", "--store"])
            .arg(format!("sqlite:{}", store.display()))
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    });
    made.collect()
}

/// How long a check takes that is not answered out of the store.
async fn look(client: &mut Client, counts: &Counts) -> Outcome<Duration> {
    let began = Instant::now();
    let answer = client.call("check_tag_compliance", &json!({"force_refresh": true})).await?;
    let took = began.elapsed();
    truth::counts(counts, &answer.value)?;
    Ok(took)
}

/// What all later answers must say.
async fn expected(client: &mut Client, counts: Counts) -> Outcome<Expected> {
    let answer = client.call("check_tag_compliance", &json!({})).await?;
    let run_id = answer.value["run_id"].as_str().unwrap_or_default().to_owned();
    let tools = listed(&client.ask("tools/list", &json!({})).await?.value["tools"]);
    Ok(Expected { counts, run_id, tools })
}

/// What one client saw of cached checks.
struct Cached {
    times: Times,
    /// The largest answer, whatever was asked for.
    bytes: usize,
    /// Reading a policy.
    policy: Times,
}

async fn one_client(client: &mut Client, expected: &Expected) -> Outcome<Cached> {
    let mut floor = Times::default();
    for _ in 0..CALLS {
        let began = Instant::now();
        client.health().await?;
        floor.push(began.elapsed());
    }
    row("GET /health: there and back", &floor, None);
    let (policy, bytes) = timed(client, "get_tagging_policy", &json!({}), |_| Ok(())).await?;
    row("get_tagging_policy", &policy, Some(bytes));
    let check = |answer: &Answer| expected.check(answer);
    let (times, bytes) = timed(client, "check_tag_compliance", &json!({}), check).await?;
    row("check_tag_compliance, cached", &times, Some(bytes));
    let most = json!({"limit": 500});
    let (full, largest) = timed(client, "check_tag_compliance", &most, check).await?;
    row("check_tag_compliance, full pages", &full, Some(largest));
    let paged = pages(client, expected).await?;
    println!("     {:.0} times as long as there and back", times.median() / floor.median());
    Ok(Cached { times, bytes: bytes.max(largest).max(paged), policy })
}

/// The same call again and again.
async fn timed(
    client: &mut Client,
    tool: &str,
    arguments: &Value,
    check: impl Fn(&Answer) -> Outcome<()>,
) -> Outcome<(Times, usize)> {
    let (mut times, mut bytes) = (Times::default(), 0);
    for call in 0..WARM_UP + CALLS {
        let began = Instant::now();
        let answer = client.call(tool, arguments).await?;
        let took = began.elapsed();
        check(&answer)?;
        bytes = bytes.max(answer.bytes);
        if call >= WARM_UP {
            times.push(took);
        }
    }
    Ok((times, bytes))
}

/// Turns all pages of a check, and holds what is on them against the truth. The bytes of the largest.
async fn pages(client: &mut Client, expected: &Expected) -> Outcome<usize> {
    let (mut largest, mut seen) = (0, 0);
    let mut arguments = json!({"limit": 500});
    loop {
        let answer = client.call("check_tag_compliance", &arguments).await?;
        expected.check(&answer)?;
        largest = largest.max(answer.bytes);
        seen += listed(&answer.value["violations"]) as u64;
        match answer.value.get("next_cursor") {
            Some(cursor) => arguments["cursor"] = cursor.clone(),
            None => break,
        }
    }
    if seen == expected.counts.violations {
        Ok(largest)
    } else {
        Err(format!("all pages have {seen} violations, not {}", expected.counts.violations).into())
    }
}

fn row(name: &str, times: &Times, bytes: Option<usize>) {
    let [middle, late, last] = [50, 95, 99].map(|percent| times.percentile(percent));
    let bytes = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    println!("{name:34} {:>8} {middle:>8.2} {late:>8.2} {last:>8.2} {bytes:>9}", times.len());
}

/// What the load came to.
fn tell(load: &Load, ready: Memory, settled: Memory) {
    #[allow(clippy::cast_precision_loss)] // a few hundred thousand
    let rate = load.times.len() as f64 / load.elapsed.as_secs_f64();
    println!("     {rate:.0} requests a second, no error");
    let [early, late] =
        [(1.0 / 6.0, 2.0 / 6.0), (5.0 / 6.0, 1.0)].map(|(from, to)| load.own_megabytes(from, to));
    println!("\n{:34} {:>8} {:>9}", "memory of the server", "own MB", "RSS MB");
    for (name, own, resident) in [
        ("ready", ready.own, Some(ready.resident)),
        ("after one client", settled.own, Some(settled.resident)),
        ("second sixth of the load", early, None),
        ("last sixth of the load", late, None),
        ("peak", f64::NAN, Some(load.peak_megabytes())),
    ] {
        let shown = |figure: f64| if figure.is_nan() { String::new() } else { format!("{figure:.1}") };
        println!("{name:34} {:>8} {:>9}", shown(own), resident.map(shown).unwrap_or_default());
    }
}

/// The figures that have one.
fn aims(cached: &Cached, new: &Times, known: &Times) {
    println!();
    let late = cached.times.percentile(95);
    println!("{} cached check: p95 {late:.2} ms, aim at most 5", verdict(late <= 5.0));
    let policy = cached.policy.percentile(95);
    println!("{} policy: p95 {policy:.2} ms, aim at most 1", verdict(policy <= 1.0));
    let (bytes, most) = (cached.bytes, ANSWER_BYTES);
    println!("{} largest answer: {bytes} bytes, aim at most {most}", verdict(bytes <= most));
    for (name, times) in [("a new store", new), ("a store that is there", known)] {
        let (middle, worst) = (times.median(), times.worst());
        println!(
            "{} initialize, {name}: {middle:.0} ms after exec, at worst {worst:.0} of {} starts, aim at most 100",
            verdict(middle <= 100.0),
            times.len()
        );
    }
}
