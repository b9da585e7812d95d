//! The scan: from accounts and a policy to a report and a stream of findings.
//!
//! Three steps, in this order. The `survey` enters every account and learns its regions, so that a bad region
//! is refused before anything is listed and progress has a true total. The `listing` tasks stream pages from
//! accounts × regions × types in bounded parallel. The collector judges page after page, and is the only
//! one to touch counters and the sink. Memory is proportional to the pages in flight and to what a report
//! shows, not to the estate.

mod collect;
mod listing;
mod regions;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::policy::{Policy, Requested};
use tagwarden_core::registry::Registry;
use tagwarden_core::report::ScanReport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ports::{AccountTarget, FindingSink, Inventory};

/// What to scan, and how hard.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// Names the run everywhere.
    pub run_id: String,
    /// What tags must look like.
    pub policy: Arc<Policy>,
    /// What types there are.
    pub registry: Arc<Registry>,
    /// Where to look; never empty.
    pub accounts: Vec<AccountTarget>,
    /// The regions asked for; empty means all that each account has enabled.
    pub regions: Vec<String>,
    /// The types asked for.
    pub types: Requested,
    /// How hard to look.
    pub bounds: Bounds,
}

/// The bounds of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Accounts looked at side by side.
    pub accounts: usize,
    /// Listings side by side in one region of one account. Every region has its own, so that a slow one holds
    /// up nobody else.
    pub listings_per_region: usize,
    /// How long a listing may bring nothing before its region counts as timed out.
    pub silence: Duration,
}

/// How far a scan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Accounts asked for.
    pub accounts: usize,
    /// Accounts entered, or found closed.
    pub accounts_surveyed: usize,
    /// (account, region, type) cells in scope; 0 until the survey is over.
    pub cells: usize,
    /// Cells that are decided.
    pub cells_done: usize,
    /// Resources judged.
    pub resources: u64,
    /// Requests refused by a rate limit so far.
    pub throttled: u64,
}

/// Why a scan has no report.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E: std::error::Error + 'static> {
    /// A region was asked for that no account has.
    #[error("region `{asked}` does not exist or is not enabled; available: {}", .available.join(", "))]
    UnavailableRegion {
        /// As asked.
        asked: String,
        /// What could have been asked for, sorted.
        available: Vec<String>,
    },
    /// The findings could not be handed on.
    #[error("the findings could not be written")]
    Sink(#[source] E),
}

/// Scans, and hands every finding and at last the report to the sink.
///
/// A cancelled scan still returns its report; what was not seen is `interrupted` in the coverage. Dropping the
/// future stops all work at once.
pub async fn scan<I: Inventory, S: FindingSink>(
    inventory: Arc<I>,
    request: &ScanRequest,
    sink: &mut S,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
    clock: impl Fn() -> Timestamp,
) -> Result<ScanReport, ScanError<S::Error>> {
    let started_at = clock();
    let surveys = survey::survey(&inventory, request, progress, cancel).await;
    let fields = regions::choose(&request.regions, &surveys).map_err(|missing| {
        ScanError::UnavailableRegion { asked: missing.asked, available: missing.available }
    })?;
    let scene = Scene { surveys, fields, started_at };
    look(inventory, request, scene, sink, progress, cancel, clock).await.map_err(ScanError::Sink)
}

/// A [`scan`] of some accounts out of many: a region that none of them has is a gap, because another may have it.
pub async fn scan_part<I: Inventory, S: FindingSink>(
    inventory: Arc<I>,
    request: &ScanRequest,
    sink: &mut S,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
    clock: impl Fn() -> Timestamp,
) -> Result<ScanReport, S::Error> {
    let started_at = clock();
    let surveys = survey::survey(&inventory, request, progress, cancel).await;
    let fields = regions::fields(&request.regions, &surveys);
    let scene = Scene { surveys, fields, started_at };
    look(inventory, request, scene, sink, progress, cancel, clock).await
}

/// What is known before anything is listed.
struct Scene<S> {
    surveys: Vec<survey::Surveyed<S>>,
    fields: Vec<regions::Field>,
    started_at: Timestamp,
}

async fn look<I: Inventory, S: FindingSink>(
    inventory: Arc<I>,
    request: &ScanRequest,
    scene: Scene<I::Session>,
    sink: &mut S,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
    clock: impl Fn() -> Timestamp,
) -> Result<ScanReport, S::Error> {
    let Scene { surveys, fields, started_at } = scene;
    let types = request.policy.types_in_scope(&request.types);

    let mut collector = collect::Collector::new(request, &surveys, started_at);
    let itineraries = collector.open_cells(&types, &fields);
    progress.send_modify(|now| now.cells = collector.cells());
    let mut messages = listing::start(surveys, itineraries, request.bounds, cancel);
    while let Some(message) = messages.next().await {
        collector.take(message, sink).await?;
        progress.send_modify(|now| {
            now.resources = collector.resources();
            now.cells_done = collector.cells_done();
            now.throttled = inventory.throttled();
        });
    }
    let report = collector.report(clock(), inventory.traffic(), cancel.is_cancelled());
    sink.finish(&report).await?;
    Ok(report)
}

#[cfg(test)]
mod tests;
