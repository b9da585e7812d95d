//! What becomes of watches when the real API server goes away and comes back, having forgotten its history.

use std::pin::pin;

use futures_util::StreamExt;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tagwarden_api::account::ClientAccount;

use super::{account, made};
use crate::conformance::target::Site;

/// A server of its own: the others share theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_a_restart_that_forgets_history() {
    let site = Site::on_its_own().await;
    let object = made(site.post(&site.path("clientaccounts"), &account("one")).await);

    let api = site.api::<ClientAccount>();
    let watching = tokio::spawn(renamed(api.clone()));
    // Versions that nobody will remember, between the list of the watcher and its next one.
    for number in 0..5 {
        let patch = json!({"spec": {"displayName": format!("Name {number}")}});
        made(site.merge(&(site.path("clientaccounts") + "/one"), &patch).await);
    }
    site.restart_compacted().await;
    assert_eq!(
        site.get(&(site.path("clientaccounts") + "/one")).await.body["metadata"]["uid"],
        object["metadata"]["uid"]
    );
    assert!(!watching.is_finished());
    let mut old = site.watch(&site.path("clientaccounts"), &super::version(&object), "", 1).await;
    // A server that has just started may ask for patience.
    while old.code == 429 {
        old = site.watch(&site.path("clientaccounts"), &super::version(&object), "", 1).await;
    }
    assert_eq!(old.body[0]["object"]["code"], 410, "{old:?}");

    let patch = Patch::Merge(json!({"spec": {"displayName": "Renamed"}}));
    api.patch("one", &PatchParams::default(), &patch).await.unwrap();
    let within = std::time::Duration::from_mins(1);
    tokio::time::timeout(within, watching).await.expect("noticed in time").unwrap();
}

/// Watches as controllers do, through errors, until the account has its last name.
async fn renamed(api: Api<ClientAccount>) {
    let events = watcher(api, watcher::Config::default()).default_backoff().touched_objects();
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        if event.is_ok_and(|object| object.spec.display_name.as_deref() == Some("Renamed")) {
            return;
        }
    }
}
