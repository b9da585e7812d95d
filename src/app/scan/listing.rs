//! The listing tasks: accounts × regions × listings in bounded parallel, each streaming its pages.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tagwarden_core::coverage::Gap;
use tagwarden_core::listing::Listing;
use tagwarden_core::resource::Resource;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Bounds;
use super::survey::{Surveyed, interrupted, silent};
use crate::ports::{ListError, Session};

/// Starting a listing over cures an expired page token or session; more than this and something else is wrong.
const RESTARTS: u32 = 2;

/// Pages waiting to be judged, over all listings. A page of instances is megabytes, so few.
const PAGES_WAITING: usize = 2;

/// What a listing task says.
#[derive(Debug)]
pub(super) enum Message {
    /// Some resources, none of which came before.
    Page { account: usize, region: Arc<str>, resources: Vec<Resource> },
    /// Nothing more will come for the types of this listing.
    Done { account: usize, region: Arc<str>, listing: Listing, result: Result<(), ListError> },
}

/// The messages of all listing tasks, until the last one is done. Dropping them stops the tasks.
#[derive(Debug)]
pub(super) struct Messages {
    receiver: mpsc::Receiver<Message>,
    _tasks: JoinSet<()>,
}

impl Messages {
    pub async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }
}

/// What the listings of an account share.
struct Context<S> {
    session: Arc<S>,
    account: usize,
    silence: Duration,
    cancel: CancellationToken,
    messages: mpsc::Sender<Message>,
}

/// One listing to make.
struct Job<S> {
    context: Arc<Context<S>>,
    region: Arc<str>,
    listing: Listing,
}

/// What to list in an account: the listings of each region.
pub(super) type Itinerary = Vec<(Arc<str>, Vec<Listing>)>;

/// Starts the itinerary of every account that was entered.
pub(super) fn start<S: Session>(
    surveys: Vec<Surveyed<S>>,
    itineraries: Vec<Itinerary>,
    bounds: Bounds,
    cancel: &CancellationToken,
) -> Messages {
    let (messages, receiver) = mpsc::channel(PAGES_WAITING);
    let accounts = Arc::new(Semaphore::new(bounds.accounts.max(1)));
    let mut tasks = JoinSet::new();
    for (account, (survey, itinerary)) in surveys.into_iter().zip(itineraries).enumerate() {
        let Ok(entered) = survey.result else { continue };
        let context = Context {
            session: entered.session,
            account,
            silence: bounds.silence,
            cancel: cancel.clone(),
            messages: messages.clone(),
        };
        let accounts = Arc::clone(&accounts);
        tasks.spawn(async move {
            // The semaphore is never closed; if it were, running unbounded by it is the lesser evil.
            let _permit = accounts.acquire_owned().await.ok();
            run_account(&Arc::new(context), itinerary, bounds.listings_per_region).await;
        });
    }
    Messages { receiver, _tasks: tasks }
}

/// Runs all listings of an account, region by region side by side.
async fn run_account<S: Session>(context: &Arc<Context<S>>, itinerary: Itinerary, side_by_side: usize) {
    let mut running = JoinSet::new();
    for (region, listings) in itinerary {
        let permits = Arc::new(Semaphore::new(side_by_side.max(1)));
        for listing in listings {
            let permits = Arc::clone(&permits);
            let job = Job { context: Arc::clone(context), region: Arc::clone(&region), listing };
            running.spawn(async move {
                let _permit = permits.acquire_owned().await.ok();
                job.run().await;
            });
        }
    }
    // A listing that ended without a word leaves its cell open, and the report says so.
    while running.join_next().await.is_some() {}
}

impl<S: Session> Job<S> {
    async fn run(self) {
        let mut seen = Seen::default();
        let mut restarts = 0;
        let result = loop {
            match self.attempt(&mut seen).await {
                Ok(()) => break Ok(()),
                Err(error) if error.restart && restarts < RESTARTS => restarts += 1,
                Err(error) => break Err(error),
            }
        };
        let Self { context, region, listing } = self;
        // A closed receiver means that the scan is gone, and nobody waits for this.
        let _ =
            context.messages.send(Message::Done { account: context.account, region, listing, result }).await;
    }

    /// Lists once, to the end or to the first error, passing on what was not seen before.
    async fn attempt(&self, seen: &mut Seen) -> Result<(), ListError> {
        let (sender, mut pages) = mpsc::channel(1);
        let Context { session, silence, cancel, .. } = &*self.context;
        let work = session.list(&self.listing, &self.region, &sender);
        tokio::pin!(work);
        let mut deadline = Instant::now() + *silence;
        let stop = |gap: Gap| Err(ListError { gap, types: None, restart: false });
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return stop(interrupted()),
                Some(page) = pages.recv() => {
                    self.forward(page, seen).await;
                    deadline = Instant::now() + *silence;
                }
                result = &mut work => {
                    while let Ok(page) = pages.try_recv() {
                        self.forward(page, seen).await;
                    }
                    return result;
                }
                () = sleep_until(deadline) => return stop(silent(silence.as_secs())),
            }
        }
    }

    async fn forward(&self, mut page: Vec<Resource>, seen: &mut Seen) {
        page.retain(|resource| seen.is_new(&resource.arn));
        if !page.is_empty() {
            let region = Arc::clone(&self.region);
            let message = Message::Page { account: self.context.account, region, resources: page };
            let _ = self.context.messages.send(message).await;
        }
    }
}

/// Which resources of a listing came already: pages may overlap, and a restarted listing begins anew. Keeps 16
/// bytes a resource, for as long as the listing runs, so that nothing is counted twice.
#[derive(Default)]
struct Seen {
    digests: HashSet<(u64, u64)>,
    hashers: (RandomState, RandomState),
}

impl Seen {
    fn is_new(&mut self, arn: &str) -> bool {
        self.digests.insert((self.hashers.0.hash_one(arn), self.hashers.1.hash_one(arn)))
    }
}
