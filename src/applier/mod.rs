//! Applies a directory of manifests to the embedded control plane, at start, whenever its contents change, and where
//! somebody else changed what it holds.
//!
//! Every two seconds the directory is read (`folder.rs`), and when something differs, what it wants is worked out
//! (`wanted.rs`), compared with what is there (`change.rs`) and written where it differs (`write.rs`). Once a minute the
//! same is done with the files as they are, which mends what was edited by hand.
//!
//! The rules:
//! - Of several replicas only the one that leads applies, the whole of its own directory. Give all the same one.
//! - An object belongs to the file that declares it. What a file no longer declares stays, and is named in the log once;
//!   with `--manifests-prune` it is deleted, but never while a file has a mistake, nor while there are no files.
//! - A Namespace is never deleted, because too much would go with it.
//! - A bad file keeps nothing else away, and what it declared before stays as it was.

mod change;
mod folder;
mod wanted;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use tagwarden_operator::Fence;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use folder::{Folder, FolderError};
use wanted::{Identity, Object, Problem, Wanted, wanted};
use write::{Counts, Leftover, WriteError, Writer};

/// How often the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A lease that is free is taken at once: who does not lead by then has somebody else to apply what is declared.
const ANOTHER_LEADS: Duration = Duration::from_secs(2);

/// How often all is compared, although no file has changed.
const COMPARE_EVERY: Duration = Duration::from_mins(1);

/// Between two looks that have to agree: whoever is writing gets time to finish.
const SETTLE_FOR: Duration = Duration::from_millis(250);

/// Looks before giving up on a directory that changes all the time, until the next round.
const SETTLE_LOOKS: usize = 20;

/// How soon what failed is tried again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_mins(1);

/// Objects named one by one that stay although no file declares them.
const LEFTOVERS_TOLD: usize = 20;

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

/// Applies until it is cancelled, while this replica leads. Failures are logged, told as events, and tried again.
/// `once` is cancelled when it was tried for the first time, or when it is plain that another replica leads.
pub async fn run(
    client: Client,
    fence: Fence,
    manifests: Manifests,
    once: CancellationToken,
    cancel: CancellationToken,
) {
    let (leading, began) = (fence.clone(), Instant::now());
    let mut applier = Applier {
        writer: Writer::new(client, fence.clone(), manifests.namespace.clone()),
        fence,
        manifests,
        applied: None,
        compare: Instant::now(),
        retry: None,
        told: Told::default(),
        away: None,
        standing_by: false,
    };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
            _ = leading.leading(), if applier.standing_by => {}
        }
        if applier.stands_by() {
            if began.elapsed() >= ANOTHER_LEADS {
                once.cancel();
            }
            continue;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = applier.look() => once.cancel(),
        }
    }
}

struct Applier {
    fence: Fence,
    manifests: Manifests,
    writer: Writer,
    /// The digest of what was applied last.
    applied: Option<u64>,
    /// When all is compared again.
    compare: Instant,
    /// When to try again, and how long was waited for it.
    retry: Option<(Instant, Duration)>,
    told: Told,
    /// Why the directory cannot be used, if people know.
    away: Option<FolderError>,
    /// Whether people know that another replica applies.
    standing_by: bool,
}

/// What people know of already.
#[derive(Default)]
struct Told {
    problems: BTreeSet<Problem>,
    leftovers: BTreeSet<Identity>,
    /// Why nothing is pruned.
    held: Option<&'static str>,
    failed: usize,
}

impl Applier {
    /// Whether it is left to the replica that leads. Whatever that one does, all is compared when this one leads.
    fn stands_by(&mut self) -> bool {
        let leads = self.fence.check().is_ok();
        if leads && self.standing_by {
            tracing::info!("this replica leads: its manifest directory is in force");
        } else if !leads && !self.standing_by {
            tracing::info!("the manifest directory is applied once this replica leads");
        }
        if !leads {
            (self.applied, self.retry, self.told) = (None, None, Told::default());
        }
        self.standing_by = !leads;
        !leads
    }

    async fn look(&mut self) {
        let now = Instant::now();
        let due = now >= self.compare || self.retry.is_some_and(|(at, _)| now >= at);
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
        if self.apply(wanted, folder.files.is_empty()).await.is_ok() {
            self.applied = Some(digest);
            self.compare = Instant::now() + COMPARE_EVERY;
        }
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

    /// Makes objects what the files want, as long as this replica leads.
    async fn apply(&mut self, wanted: Wanted, empty: bool) -> Result<(), WriteError> {
        let mut problems: BTreeSet<Problem> = wanted.problems.into_iter().collect();
        let sound = problems.is_empty();
        problems.extend(wanted.objects.iter().filter_map(|object| self.unwatched(object)));
        let mut counts = Counts::default();
        self.writer.begin();
        for object in &wanted.objects {
            match self.writer.apply(object).await {
                Ok(written) => counts.add(written),
                Err(WriteError::NotLeading) => return Err(WriteError::NotLeading),
                Err(error) => {
                    counts.failed += 1;
                    let text = format!("{}: {}: {error}", object.place, object.identity);
                    problems.insert(Problem { about: Some(object.identity.clone()), text });
                }
            }
        }
        match self.leave(&wanted.objects, sound, empty).await {
            Ok(pruned) => counts.pruned = pruned,
            Err(WriteError::NotLeading) => return Err(WriteError::NotLeading),
            Err(error) => {
                counts.failed += 1;
                problems.insert(Problem { about: None, text: format!("what no file declares: {error}") });
            }
        }
        if counts.any() || counts.failed != self.told.failed || self.applied.is_none() {
            let Counts { created, changed, unchanged, pruned, failed } = counts;
            tracing::info!(created, changed, unchanged, pruned, failed, "manifests applied");
        }
        self.told.failed = counts.failed;
        self.tell(problems).await;
        self.retry = (counts.failed > 0).then(|| {
            let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_LAST));
            (Instant::now() + wait, wait)
        });
        Ok(())
    }

    /// Deletes what came from a file and no file declares any more, or says that it stays; how much was deleted.
    async fn leave(&mut self, objects: &[Object], sound: bool, empty: bool) -> Result<usize, WriteError> {
        let prune = self.manifests.prune;
        let held = match (prune, sound, empty) {
            (true, false, _) => Some("nothing is pruned while a manifest file has mistakes"),
            (true, true, true) => Some("nothing is pruned while the manifest directory holds no file"),
            _ => None,
        };
        if let Some(held) = held.filter(|_| held != self.told.held) {
            tracing::warn!("{held}");
        }
        self.told.held = held;
        // What a file with a mistake declares is not known.
        if !sound || held.is_some() {
            return Ok(0);
        }
        let (mut pruned, mut stay) = (0, BTreeMap::new());
        for Leftover { identity, file, object } in self.writer.leftovers(objects).await? {
            if prune && identity.may_be_pruned() {
                self.writer.delete(&identity, &file, &object).await?;
                pruned += 1;
            } else {
                stay.insert(identity, file);
            }
        }
        self.tell_leftovers(stay);
        Ok(pruned)
    }

    /// Names once what stays although no file declares it.
    fn tell_leftovers(&mut self, stay: BTreeMap<Identity, String>) {
        let news: Vec<_> =
            stay.iter().filter(|(identity, _)| !self.told.leftovers.contains(identity)).collect();
        for (identity, file) in news.iter().take(LEFTOVERS_TOLD) {
            let remedy = if identity.may_be_pruned() {
                "delete it with kubectl, or let --manifests-prune do so"
            } else {
                "delete it with kubectl, and all that is in it"
            };
            tracing::warn!(object = %identity, file, "stays, although no manifest declares it any more: {remedy}");
        }
        if let Some(more) = news.len().checked_sub(LEFTOVERS_TOLD).filter(|more| *more > 0) {
            tracing::warn!(more, "more objects stay, although no manifest declares them any more");
        }
        self.told.leftovers = stay.into_keys().collect();
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
        for problem in problems.difference(&self.told.problems) {
            tracing::error!("{}", problem.text);
            self.writer.event(problem).await;
        }
        if problems.is_empty() && !self.told.problems.is_empty() {
            tracing::info!("all manifests are fine again");
        }
        self.told.problems = problems;
    }
}
