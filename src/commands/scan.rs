//! `tagwarden scan`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_app::scan::{Bounds, Progress, ScanError, ScanRequest, scan};
use tagwarden_core::policy::Requested;
use tagwarden_core::registry::Registry;
use tagwarden_core::report::ScanReport;
use tagwarden_core::scope::Scope;
use tagwarden_store::{Abandoned, Retention, RunRecorder, RunStart, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::cli::{Format, Scan};
use crate::input::{self, Chosen};
use crate::render::gaps;
use crate::render::style::{BAD, paint};
use crate::render::table::{percent, printable};
use crate::render::writer::{Output, OutputError, ReportWriter};
use crate::wire::{self, Recorded};

/// Exit status: nothing could be scanned.
const NOTHING_SCANNED: u8 = 3;
/// Exit status: something in scope could not be seen, and the caller minds.
const PARTIAL: u8 = 4;
/// Exit status: the score is too low.
const BELOW: u8 = 1;
/// Exit status of a second Ctrl-C, which does not wait for anything.
pub(super) const ABORTED: i32 = 130;

/// How many reasons are told when nothing could be scanned.
const GAPS_TOLD: usize = 5;

/// The tenant of one-shot commands.
pub const TENANT: &str = "default";

pub(super) async fn run(flags: &Scan, registry: Arc<Registry>) -> Result<u8, Failure> {
    let chosen = input::choose(flags, &registry)?;
    for warning in &chosen.warnings {
        super::warn(warning);
    }
    let output = Output::open(flags.output.as_deref())?;
    let started_at = Timestamp::now();
    let request = request(flags, chosen, &registry, started_at);
    let store = match &flags.store {
        Some(url) => Some(Store::open(url).await?),
        None => None,
    };
    let inventory = Arc::new(wire::inventory(&registry).await?);
    let recorder = match &store {
        Some(store) => Some(record(store, &request, started_at).await?),
        None => None,
    };

    let mut sink = Recorded::new(ReportWriter::new(flags.format, flags.severity, output), recorder);
    let (progress, shown) = watch::channel(Progress::default());
    let display = tokio::spawn(crate::progress::show(shown));
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(stop_on_signal(cancel.clone()));
    let result = scan(inventory, &request, &mut sink, &progress, &cancel, Timestamp::now).await;
    drop(progress);
    signals.abort();
    // The bar is gone from the screen before anything else is printed.
    let _ = display.await;
    let kept = sink.close();
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            let failure = failure(error);
            abandon(store.as_ref(), &request.run_id, &failure).await;
            return Err(failure);
        }
    };
    if let Err(error) = kept {
        let failure = Failure::from(error);
        abandon(store.as_ref(), &request.run_id, &failure).await;
        return Err(failure);
    }
    if let Some(store) = &store
        && let Err(error) = store.prune(TENANT, Timestamp::now(), retention(flags)).await
    {
        super::warn(&format!("old runs were not forgotten: {error}"));
    }
    let place = flags.output.as_ref().map(|path| printable(&path.display().to_string()));
    if let Some(place) = &place {
        anstream::eprintln!("{place}: {}", in_short(&report));
    }
    if cancel.is_cancelled() && !report.complete() {
        let place = place.map_or_else(|| "the result".to_owned(), |place| format!("`{place}`"));
        super::warn(&format!("the scan was stopped: {place} is partial; what was not seen is `interrupted`"));
    }
    Ok(conclude(&report, flags))
}

/// For those who do not see the result itself.
fn in_short(report: &ScanReport) -> String {
    let summary = &report.summary;
    match summary.resources() {
        0 => "no resource got a verdict".to_owned(),
        all => format!("{} compliant, {} of {all} resources violating", percent(summary), summary.violating),
    }
}

/// Ends a run that will have no report.
async fn abandon(store: Option<&Store>, run_id: &str, failure: &Failure) {
    let Some(store) = store else { return };
    let how = Abandoned::Failed(failure.to_string());
    if let Err(error) = store.abandon(TENANT, run_id, &how, Timestamp::now()).await {
        super::warn(&error.to_string());
    }
}

fn failure(error: ScanError<OutputError>) -> Failure {
    match error {
        error @ ScanError::UnavailableRegion { .. } => Failure::Region(error.to_string()),
        ScanError::Sink(error) => error.into(),
    }
}

fn request(flags: &Scan, chosen: Chosen, registry: &Arc<Registry>, started_at: Timestamp) -> ScanRequest {
    let id = uuid::Uuid::new_v4().simple().to_string();
    ScanRequest {
        run_id: format!("adhoc-{}-{}", started_at.strftime("%Y%m%d-%H%M%S"), &id[..8]),
        policy: chosen.policy,
        registry: Arc::clone(registry),
        accounts: chosen.accounts,
        regions: flags.region.clone(),
        types: chosen.types,
        bounds: Bounds {
            accounts: usize::from(flags.concurrency),
            listings_per_region: wire::LISTINGS_PER_REGION,
            silence: Duration::from_secs(flags.region_timeout.into()),
        },
    }
}

fn retention(flags: &Scan) -> Retention {
    Retention {
        max_age: Duration::from_secs(u64::from(flags.keep_days) * 24 * 3600),
        max_runs: flags.keep_runs,
    }
}

async fn record(store: &Store, request: &ScanRequest, started_at: Timestamp) -> Result<RunRecorder, Failure> {
    let scope = scope(request);
    let start = RunStart {
        run_id: request.run_id.clone(),
        policy_name: request.policy.name().to_string(),
        policy_revision: request.policy.revision().to_string(),
        trigger: "command".into(),
        scope_digest: scope.digest(),
        scope: serde_json::to_value(&scope).map_err(std::io::Error::from)?,
        started_at,
    };
    Ok(store.record(TENANT, start).await?)
}

fn scope(request: &ScanRequest) -> Scope {
    let ids = request.accounts.iter().filter_map(|account| account.account_id.as_ref());
    let types = match &request.types {
        Requested::All => BTreeSet::new(),
        Requested::Types(types) => {
            types.iter().map(|id| request.registry.row(*id).name.to_string()).collect()
        }
    };
    Scope {
        accounts: ids.map(ToString::to_string).collect(),
        regions: request.regions.iter().cloned().collect(),
        resource_types: types,
    }
}

/// What a report says, as an exit status; and on stderr, where the result itself may not be seen, why.
fn conclude(report: &ScanReport, flags: &Scan) -> u8 {
    let status = status(report, flags);
    let (gaps, cells) = gaps::counts(report);
    let unseen = || match gaps {
        0 => "not everything could be seen".to_owned(),
        _ => format!("{gaps} of {cells} cells (account, region, type) could not be fully seen"),
    };
    if report.nothing_judged() && report.summary.exempt == 0 && flags.fail_under.is_some() && status == 0 {
        super::warn("--fail-under: nothing in scope was seen, and an empty scope has the score 1");
    }
    match status {
        NOTHING_SCANNED => {
            anstream::eprintln!("{} nothing could be scanned", paint(BAD, "error:"));
            for gap in gaps::of(report).iter().take(GAPS_TOLD) {
                anstream::eprintln!("       {}: {}", printable(&gap.place), printable(&gap.cause));
            }
        }
        PARTIAL => anstream::eprintln!("{} --fail-on-partial: {}", paint(BAD, "error:"), unseen()),
        BELOW if unproven(report) => {
            anstream::eprintln!(
                "{} --fail-under: no tag could be read, so there is no score",
                paint(BAD, "error:")
            );
        }
        BELOW => {
            let (score, least) = (report.summary.score(), flags.fail_under.unwrap_or_default());
            anstream::eprintln!(
                "{} the score {score:.4} is below --fail-under {least}",
                paint(BAD, "error:")
            );
        }
        _ if !report.complete() && (flags.format != Format::Table || flags.output.is_some()) => {
            super::warn(&format!("partial: {}", unseen()));
        }
        _ => (),
    }
    status
}

/// Whether the score would say that all is well, only because no tag could be read.
fn unproven(report: &ScanReport) -> bool {
    report.nothing_judged() && report.summary.unknown > 0
}

fn status(report: &ScanReport, flags: &Scan) -> u8 {
    if report.saw_nothing() {
        NOTHING_SCANNED
    } else if flags.fail_on_partial && !report.complete() {
        PARTIAL
    } else if flags.fail_under.is_some_and(|least| report.summary.score() < least || unproven(report)) {
        BELOW
    } else {
        0
    }
}

/// The first signal stops the scan, which then says what is incomplete; the second stops the process.
async fn stop_on_signal(cancel: CancellationToken) {
    signal().await;
    anstream::eprintln!("stopping: what was not seen will be marked; press Ctrl-C again to quit at once");
    cancel.cancel();
    signal().await;
    std::process::exit(ABORTED);
}

#[cfg(unix)]
pub(super) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => (),
            _ = terminate.recv() => (),
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
pub(super) async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
