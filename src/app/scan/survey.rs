//! The survey: enters every account and learns which regions it has.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{CellState, Gap};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Progress, ScanRequest};
use crate::ports::{AccountTarget, Inventory, Session};

/// How many accounts are entered side by side for each one that is listed: entering is two small calls.
const SURVEYS_PER_ACCOUNT: usize = 4;

/// An account, and whether it could be entered.
#[derive(Debug)]
pub(super) struct Surveyed<S> {
    pub target: AccountTarget,
    pub result: Result<Entered<S>, Gap>,
}

/// An account that was entered.
#[derive(Debug)]
pub(super) struct Entered<S> {
    pub session: Arc<S>,
    pub account_id: AccountId,
    pub default_region: Arc<str>,
    /// The enabled regions, or why they could not be discovered.
    pub regions: Result<Vec<Arc<str>>, Gap>,
}

impl<S> Surveyed<S> {
    pub fn entered(&self) -> Option<&Entered<S>> {
        self.result.as_ref().ok()
    }

    /// The regions that the account has enabled, where they could be discovered.
    pub fn enabled(&self) -> Option<&[Arc<str>]> {
        self.entered().and_then(|entered| entered.regions.as_deref().ok())
    }

    /// Whether the owner of the account lets us look at a region.
    pub fn allows(&self, region: &str) -> bool {
        let target = &self.target;
        (target.include_regions.is_empty() || target.include_regions.iter().any(|name| name == region))
            && !target.exclude_regions.iter().any(|name| name == region)
    }
}

/// Surveys all accounts, and returns them in the order of the request.
pub(super) async fn survey<I: Inventory>(
    inventory: &Arc<I>,
    request: &ScanRequest,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Vec<Surveyed<I::Session>> {
    let silence = request.bounds.silence;
    progress.send_modify(|now| now.accounts = request.accounts.len());
    // Owned targets: a borrowed item would tie the stream's future to one lifetime.
    let targets: Vec<AccountTarget> = request.accounts.clone();
    stream::iter(targets.into_iter().map(|target| {
        let inventory = Arc::clone(inventory);
        async move {
            let result = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(interrupted()),
                result = tokio::time::timeout(silence, enter(&*inventory, &target)) => {
                    result.unwrap_or_else(|_| Err(silent(silence.as_secs())))
                }
            };
            progress.send_modify(|now| now.accounts_surveyed += 1);
            Surveyed { target, result }
        }
    }))
    .buffered(request.bounds.accounts.saturating_mul(SURVEYS_PER_ACCOUNT).max(1))
    .collect()
    .await
}

async fn enter<I: Inventory>(inventory: &I, target: &AccountTarget) -> Result<Entered<I::Session>, Gap> {
    let session = inventory.enter(target).await?;
    let regions = session.regions().await;
    Ok(Entered {
        account_id: session.account_id().clone(),
        default_region: session.default_region(),
        session: Arc::new(session),
        regions,
    })
}

pub(super) fn interrupted() -> Gap {
    Gap { state: CellState::Interrupted, cause: "the scan was stopped".into() }
}

pub(super) fn silent(seconds: u64) -> Gap {
    Gap { state: CellState::TimedOut, cause: format!("no answer for {seconds} s") }
}
