//! Runs whose audit was deleted while no replica looked: nobody would ever end them. They are looked for once in each
//! term, in the namespaces in scope, and an audit counts as gone only if the API server itself does not know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tagwarden_api::audit::ComplianceAudit;
use tagwarden_app::audit::cancelled;
use tagwarden_app::audit::ports::{RunKey, Runs, RunsError, Unfinished};

use super::DELETED;
use crate::context::{Frame, Scope};
use crate::failure::ObjectError;
use crate::lease::Term;

/// Runs read at a time.
const PAGE: usize = 200;

/// Pages read in one term.
const PAGES: usize = 50;

/// How soon to look again when the store or the API server does not work.
const AGAIN: Duration = Duration::from_secs(15);

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Unswept {
    /// The store does not work.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The API server does not, or this replica leads no more.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Ends such runs beside everything else, for as long as the term lasts.
pub(super) fn start<R: Runs>(frame: &Arc<Frame>, runs: &Arc<R>, term: Term) {
    let (beside, frame, runs) = (frame.beside.clone(), Arc::clone(frame), Arc::clone(runs));
    beside.spawn(async move {
        let sweeping = async {
            while let Err(error) = sweep(&frame, &*runs).await {
                tracing::warn!(%error, "runs of deleted audits were not looked for, and will be");
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            () = frame.stop.cancelled() => {}
            () = term.over().cancelled() => {}
            () = sweeping => {}
        }
    });
}

async fn sweep<R: Runs>(frame: &Frame, runs: &R) -> Result<(), Unswept> {
    match &frame.settings.scope {
        Scope::All => sweep_tenant(frame, runs, None).await,
        Scope::Namespaces(namespaces) => {
            for namespace in namespaces {
                sweep_tenant(frame, runs, Some(namespace)).await?;
            }
            Ok(())
        }
    }
}

async fn sweep_tenant<R: Runs>(frame: &Frame, runs: &R, tenant: Option<&str>) -> Result<(), Unswept> {
    let mut after = None;
    for _ in 0..PAGES {
        let page = runs.unfinished(tenant, after.as_ref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|last| last.key.clone());
        let known = frame.audits.uids();
        let orphans = page.into_iter().filter(|run| !known.contains(&run.audit_uid));
        end(frame, runs, orphans.collect()).await?;
        if !full {
            break;
        }
    }
    Ok(())
}

/// Ends those of these runs whose audits are gone. What is known here may be a moment old, so the server is asked.
async fn end<R: Runs>(frame: &Frame, runs: &R, orphans: Vec<Unfinished>) -> Result<(), Unswept> {
    let mut there: BTreeMap<Arc<str>, BTreeSet<String>> = BTreeMap::new();
    for Unfinished { key, audit_uid } in orphans {
        if !there.contains_key(&key.tenant) {
            let uids = frame.writer.uids::<ComplianceAudit>(&key.tenant).await?;
            there.insert(Arc::clone(&key.tenant), uids);
        }
        if there.get(&key.tenant).is_some_and(|uids| !uids.contains(&audit_uid)) {
            stop(frame, runs, &key).await?;
        }
    }
    Ok(())
}

async fn stop<R: Runs>(frame: &Frame, runs: &R, run: &RunKey) -> Result<(), Unswept> {
    frame.fence.check().map_err(ObjectError::from)?;
    runs.stop(run, &cancelled(DELETED.into()), frame.clock.now()).await?;
    tracing::info!(namespace = %run.tenant, run_id = %run.run_id, "ended: its audit was deleted while nobody looked");
    Ok(())
}
