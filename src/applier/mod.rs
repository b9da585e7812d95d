//! Applies a directory of manifests to the embedded control plane, at start and whenever its contents change.
//!
//! Every two seconds the directory is read (`folder.rs`), and when something differs, what it wants is worked out
//! (`wanted.rs`), compared with what is there (`change.rs`) and written where it differs (`write.rs`). A bad file keeps
//! nothing else away, and what it declared before stays as it was.

mod change;
mod folder;
mod wanted;
mod write;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use folder::{Folder, FolderError};
use wanted::{Object, Problem, Wanted, wanted};
use write::Writer;

/// How often the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Between two looks that have to agree: whoever is writing gets time to finish.
const SETTLE_FOR: Duration = Duration::from_millis(250);

/// Looks before giving up on a directory that changes all the time, until the next round.
const SETTLE_LOOKS: usize = 20;

/// How soon what failed is tried again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_mins(1);

/// What to apply, and how.
#[derive(Debug, Clone)]
pub struct Manifests {
    pub directory: PathBuf,
    /// Of objects that name none.
    pub namespace: String,
    /// Whether objects that are gone from the directory are deleted.
    pub prune: bool,
    /// The namespaces that are looked after; none means all.
    pub watched: Vec<String>,
}

/// Applies until it is cancelled. Failures are logged, told as events, and tried again. `once` is cancelled when it was
/// tried for the first time.
pub async fn run(client: Client, manifests: Manifests, once: CancellationToken, cancel: CancellationToken) {
    let mut applier = Applier {
        writer: Writer::new(client, manifests.namespace.clone()),
        manifests,
        applied: None,
        retry: None,
        told: BTreeSet::new(),
        away: None,
    };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = applier.look() => once.cancel(),
        }
    }
}

struct Applier {
    manifests: Manifests,
    writer: Writer,
    /// The digest of what was applied last.
    applied: Option<u64>,
    /// When to try again, and how long was waited for it.
    retry: Option<(Instant, Duration)>,
    /// Problems that people know of already.
    told: BTreeSet<Problem>,
    /// Why the directory cannot be used, if people know.
    away: Option<FolderError>,
}

impl Applier {
    async fn look(&mut self) {
        let due = self.retry.is_some_and(|(at, _)| Instant::now() >= at);
        let folder = match self.settled().await {
            Ok(Some(folder)) => folder,
            Ok(None) => return,
            Err(error) => return self.gone(error),
        };
        if self.away.take().is_some() {
            tracing::info!("the manifest directory is back");
        }
        let digest = folder.digest();
        if self.applied == Some(digest) && !due {
            return;
        }
        if self.applied != Some(digest) {
            self.retry = None;
        }
        let wanted = wanted(&folder, &self.manifests.namespace);
        self.apply(wanted, folder.files.is_empty()).await;
        self.applied = Some(digest);
    }

    /// The directory, once two looks at it agree; nothing while it keeps changing.
    async fn settled(&self) -> Result<Option<Folder>, FolderError> {
        let mut before = self.read().await?;
        if self.applied == Some(before.digest()) {
            return Ok(Some(before));
        }
        for _ in 0..SETTLE_LOOKS {
            sleep(SETTLE_FOR).await;
            let now = self.read().await?;
            if now == before {
                return Ok(Some(now));
            }
            before = now;
        }
        Ok(None)
    }

    async fn read(&self) -> Result<Folder, FolderError> {
        let directory = self.manifests.directory.clone();
        let read = tokio::task::spawn_blocking(move || Folder::read(&directory)).await;
        read.unwrap_or_else(|error| Err(FolderError::Unreadable(error.to_string())))
    }

    /// Objects stay as they are while nobody can say what they should be.
    fn gone(&mut self, error: FolderError) {
        if self.away.as_ref() != Some(&error) {
            tracing::error!(directory = %self.manifests.directory.display(), "{error}; objects stay as they are");
            self.away = Some(error);
        }
    }

    async fn apply(&mut self, wanted: Wanted, empty: bool) {
        let mut problems: BTreeSet<Problem> = wanted.problems.into_iter().collect();
        let sound = problems.is_empty();
        problems.extend(wanted.objects.iter().filter_map(|object| self.unwatched(object)));
        let mut counts = write::Counts::default();
        let mut failed = false;
        for object in &wanted.objects {
            match self.writer.apply(object).await {
                Ok(written) => counts.add(written),
                Err(error) => {
                    failed = true;
                    let text = format!("{}: {}: {error}", object.place, object.identity);
                    problems.insert(Problem { about: Some(object.identity.clone()), text });
                }
            }
        }
        if self.manifests.prune {
            if !sound {
                tracing::warn!("nothing is pruned while a manifest file has mistakes");
            } else if empty {
                tracing::warn!("nothing is pruned while the manifest directory holds no file");
            } else {
                match self.writer.prune(&wanted.objects).await {
                    Ok(pruned) => counts.pruned += pruned,
                    Err(error) => {
                        failed = true;
                        problems.insert(Problem { about: None, text: format!("pruning: {error}") });
                    }
                }
            }
        }
        if counts.any() || self.applied.is_none() {
            let write::Counts { created, changed, unchanged, pruned } = counts;
            tracing::info!(created, changed, unchanged, pruned, "manifests applied");
        }
        self.tell(problems).await;
        self.retry = failed.then(|| {
            let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_LAST));
            (Instant::now() + wait, wait)
        });
    }

    /// An object that is applied and that nobody will act upon.
    fn unwatched(&self, object: &Object) -> Option<Problem> {
        let (identity, watched) = (&object.identity, &self.manifests.watched);
        let ignored =
            !identity.namespace.is_empty() && !watched.is_empty() && !watched.contains(&identity.namespace);
        ignored.then(|| Problem {
            about: Some(identity.clone()),
            text: format!(
                "{}: {identity} is in a namespace that --watch-namespaces leaves out",
                object.place
            ),
        })
    }

    /// Tells each problem once, and that it is over.
    async fn tell(&mut self, problems: BTreeSet<Problem>) {
        for problem in problems.difference(&self.told) {
            tracing::error!("{}", problem.text);
            self.writer.event(problem).await;
        }
        if problems.is_empty() && !self.told.is_empty() {
            tracing::info!("all manifests are fine again");
        }
        self.told = problems;
    }
}
