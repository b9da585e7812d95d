//! Two contenders for one lease, on the embedded plane: never both, and never nobody for long.

use std::time::{Duration, Instant};

use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_operator::metrics::Metrics;
use tagwarden_operator::{Elector, Fence, Timing};
use tokio_util::sync::CancellationToken;

/// A tenth of what is usual, so that a takeover is seen soon. A lease counts in whole seconds, rounded up.
const TIMING: Timing = Timing {
    duration: Duration::from_millis(1500),
    renew_deadline: Duration::from_secs(1),
    retry: Duration::from_millis(100),
};

/// Far longer than a takeover takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(1);

struct Replica {
    fence: Fence,
    release: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn replica(client: &kube::Client, name: &str) -> Replica {
    let (fence, release) = (Fence::closed(), CancellationToken::new());
    let metrics = Metrics::new().unwrap();
    let elector = Elector::new(client.clone(), "default", "tagwarden", name, TIMING, fence.clone(), metrics);
    Replica { fence, release: release.clone(), task: tokio::spawn(elector.run(release)) }
}

impl Replica {
    async fn leads(&self) {
        tokio::time::timeout(WITHIN, self.fence.leading()).await.expect("it leads soon");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_takes_over_at_once_after_a_release_and_later_after_a_death() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::sqlite(directory.path().join("plane.db"));
    let plane = ControlPlane::open(location, tagwarden_api::crds(), Options::new("default")).await.unwrap();
    let client = plane.client("default");

    let first = replica(&client, "first");
    first.leads().await;
    let second = replica(&client, "second");
    // Released: the other one does not wait for the lease to run out.
    first.release.cancel();
    first.task.await.unwrap();
    assert!(first.fence.check().is_err());
    second.leads().await;

    // Dies without a word: the other one waits until the lease has run out, and the dead one's fence closes before.
    let third = replica(&client, "third");
    second.task.abort();
    let died = Instant::now();
    third.leads().await;
    assert!(died.elapsed() >= Duration::from_millis(500), "{:?}", died.elapsed());
    assert!(second.fence.check().is_err(), "both lead");
    third.release.cancel();
    third.task.await.unwrap();
    plane.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_start_at_once_one_leads() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::sqlite(directory.path().join("plane.db"));
    let plane = ControlPlane::open(location, tagwarden_api::crds(), Options::new("default")).await.unwrap();
    let client = plane.client("default");
    let replicas: Vec<Replica> =
        (0..8).map(|number| replica(&client, &format!("replica-{number}"))).collect();
    for replica in &replicas {
        let any = futures_util::future::select_all(replicas.iter().map(|replica| Box::pin(replica.leads())));
        any.await;
        let leading = replicas.iter().filter(|replica| replica.fence.check().is_ok()).count();
        assert!(leading <= 1, "{leading} lead");
        replica.release.cancel();
    }
    for replica in replicas {
        replica.task.await.unwrap();
    }
    plane.shutdown().await;
}
