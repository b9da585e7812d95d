//! Watches: what is seen, in which order, and when to begin again.

use std::time::Duration;

use futures_util::TryStreamExt;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::bed::{On, WIDGETS, ask, bed, bed_with, get, watch, watch_as, widget, within};
use crate::Options;

fn short(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn version(client: &kube::Client) -> String {
    get(client, WIDGETS).await.1["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn changes_come_as_they_are_made() {
    for on in On::ALL {
        let bed = bed(on).await;
        let client = &bed.client;
        let from = version(client).await;
        let mut events = watch(client, &format!("{WIDGETS}?watch=true&resourceVersion={from}")).await;
        let one = format!("{WIDGETS}/a");
        let (_, made) = ask(client, "POST", WIDGETS, &widget("a")).await;
        let (_, changed) = ask(client, "PATCH", &one, &json!({ "spec": { "size": 2 } })).await;
        ask(client, "PATCH", &one, &json!({ "spec": { "size": 2 } })).await;
        ask(client, "DELETE", &one, &json!({})).await;
        let added = events.next().await.unwrap();
        assert_eq!((&added["type"], &added["object"]), (&json!("ADDED"), &made), "{on:?}");
        let modified = events.next().await.unwrap();
        assert_eq!((&modified["type"], &modified["object"]), (&json!("MODIFIED"), &changed), "{on:?}");
        let deleted = events.next().await.unwrap();
        assert_eq!(deleted["type"], "DELETED");
        assert_eq!(deleted["object"]["spec"], changed["spec"]);
        assert_ne!(deleted["object"]["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
        // The same again, from the log, and from the middle of it.
        let mut again = watch(client, &format!("{WIDGETS}?watch=1&resourceVersion={from}")).await;
        for event in [&added, &modified, &deleted] {
            assert_eq!(again.next().await.as_ref(), Some(event), "{on:?}");
        }
        let middle = made["metadata"]["resourceVersion"].as_str().unwrap();
        let mut rest = watch(client, &format!("{WIDGETS}?watch=1&resourceVersion={middle}")).await;
        assert_eq!(rest.next().await, Some(modified));
        bed.plane.shutdown().await;
        assert_eq!(events.next().await, None, "the end of the plane is the end of its watches");
    }
}

/// What one who watches a selection sees when objects move into it and out of it.
#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let bed = bed(On::Memory).await;
    let client = &bed.client;
    let from = version(client).await;
    let begin = |query: &str| format!("{WIDGETS}?watch=true&resourceVersion={from}&{query}");
    let mut by_label = watch(client, &begin("labelSelector=tier=gold")).await;
    let mut by_field = watch(client, &begin("fieldSelector=spec.mode=Hard")).await;
    let mut by_name = watch(client, &begin("fieldSelector=metadata.name=b")).await;
    let one = format!("{WIDGETS}/a");
    ask(client, "POST", WIDGETS, &widget("a")).await;
    for patch in [
        json!({ "metadata": { "labels": { "tier": "gold" } } }),
        json!({ "spec": { "size": 3 } }),
        json!({ "spec": { "mode": "Hard" } }),
        json!({ "metadata": { "labels": { "tier": "tin" } } }),
        json!({ "spec": { "size": 4 } }),
        json!({ "metadata": { "labels": { "tier": "gold" } } }),
    ] {
        assert_eq!(ask(client, "PATCH", &one, &patch).await.0, 200);
    }
    ask(client, "DELETE", &one, &json!({})).await;
    ask(client, "POST", WIDGETS, &widget("b")).await;
    for (kind, size) in
        [("ADDED", 1), ("MODIFIED", 3), ("MODIFIED", 3), ("DELETED", 3), ("ADDED", 4), ("DELETED", 4)]
    {
        let event = by_label.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["spec"]["size"]), (&json!(kind), &json!(size)));
        assert_eq!(event["object"]["metadata"]["labels"]["tier"], "gold", "as it was when it was selected");
    }
    for kind in ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"] {
        assert_eq!(by_field.next_short().await, short(kind, "a"));
    }
    assert_eq!(by_name.next_short().await, short("ADDED", "b"));
}

#[tokio::test]
async fn without_a_version_what_is_there_comes_first() {
    let bed = bed(On::Memory).await;
    let client = &bed.client;
    for name in ["a", "b"] {
        ask(client, "POST", WIDGETS, &widget(name)).await;
    }
    for query in ["", "&resourceVersion=0"] {
        let mut events = watch(client, &format!("{WIDGETS}?watch=true{query}")).await;
        assert_eq!(events.next_short().await, short("ADDED", "a"));
        assert_eq!(events.next_short().await, short("ADDED", "b"));
    }
    let streaming =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = watch(client, &format!("{WIDGETS}?{streaming}")).await;
    events.next().await;
    events.next().await;
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], version(client).await);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut rows = watch_as(client, &format!("{WIDGETS}?watch=true"), table).await;
    let (first, second) = (rows.next().await.unwrap(), rows.next().await.unwrap());
    assert_eq!(first["object"]["rows"][0]["cells"], json!(["a", 1]));
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(second["object"]["rows"][0]["cells"], json!(["b", 1]));
}

#[tokio::test]
async fn a_quiet_watch_says_how_far_it_is() {
    let options = Options { bookmark_interval: Duration::from_millis(50), ..Options::new("default") };
    let bed = bed_with(On::Memory, options).await;
    let client = &bed.client;
    let from = version(client).await;
    let path =
        format!("{WIDGETS}?watch=true&resourceVersion={from}&allowWatchBookmarks=true&labelSelector=none");
    let mut events = watch(client, &path).await;
    let (_, made) = ask(client, "POST", WIDGETS, &widget("a")).await;
    let wanted = &made["metadata"]["resourceVersion"];
    loop {
        let event = events.next().await.unwrap();
        assert_eq!(event["type"], "BOOKMARK", "{event}");
        if &event["object"]["metadata"]["resourceVersion"] == wanted {
            break;
        }
    }
    let mut short =
        watch(client, &format!("{WIDGETS}?watch=true&resourceVersion={from}&timeoutSeconds=1")).await;
    assert_eq!(short.next().await.unwrap()["type"], "ADDED");
    assert_eq!(short.next().await, None, "it was to end after a second");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_or_unknown_version_begins_again() {
    let bed = bed(On::Memory).await;
    let client = &bed.client;
    let from = version(client).await;
    ask(client, "POST", WIDGETS, &widget("a")).await;
    bed.plane.compact().await.unwrap();
    for version in [from.as_str(), "99999"] {
        let mut events = watch(client, &format!("{WIDGETS}?watch=true&resourceVersion={version}")).await;
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
        assert_eq!(events.next().await, None);
    }
}

/// A client that was away while the log was cut: its watcher lists again and misses nothing.
#[tokio::test]
async fn kubes_watcher_recovers_from_compaction() {
    let options = Options { bookmark_interval: Duration::from_mins(10), ..Options::new("default") };
    let bed = bed_with(On::File, options).await;
    let kind = GroupVersionKind::gvk("test.tagwarden.io", "v1", "Widget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "widgets");
    let api: Api<DynamicObject> = Api::default_namespaced_with(bed.client.clone(), &resource);
    // Each of its watches ends after a second, so that the next one begins at a version that is gone by then.
    let mut events = Box::pin(watcher(api, watcher::Config::default().timeout(1).disable_bookmarks()));
    let mut inits = 0;
    let mut round = 0;
    while inits < 2 {
        match within(events.try_next()).await {
            Ok(Some(watcher::Event::InitDone)) => {
                inits += 1;
                ask(&bed.client, "POST", WIDGETS, &widget(&format!("w{round}"))).await;
            }
            Ok(Some(watcher::Event::Apply(object))) => {
                assert_eq!(object.name_any(), format!("w{round}"));
                round += 1;
                // Not seen by this watch: another kind's write, and then all history is gone.
                let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m{round}") } });
                ask(&bed.client, "POST", super::bed::CONFIG_MAPS, &map).await;
                bed.plane.compact().await.unwrap();
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => panic!("a watcher does not end"),
        }
    }
    let list: Value = get(&bed.client, WIDGETS).await.1;
    assert!(!list["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_may_have_so_many_watches() {
    let options = Options { watches_per_client: 2, ..Options::new("default") };
    let bed = bed_with(On::Memory, options).await;
    let path = format!("{WIDGETS}?watch=true");
    let first = watch(&bed.client, &path).await;
    let _second = watch(&bed.client, &path).await;
    let (code, answer) = get(&bed.client, &path).await;
    assert_eq!((code, &answer["reason"]), (429, &json!("TooManyRequests")), "{answer}");
    drop(first);
    let _third = watch(&bed.client, &path).await;
}

#[tokio::test]
async fn a_watch_that_nobody_reads_loses_nothing() {
    let bed = bed(On::File).await;
    let from = version(&bed.client).await;
    let mut slow = watch(&bed.client, &format!("{WIDGETS}?watch=true&resourceVersion={from}")).await;
    ask(&bed.client, "POST", WIDGETS, &widget("a")).await;
    // More than is kept in memory.
    for size in 0..1100 {
        let size = json!({ "spec": { "size": size % 1000 } });
        ask(&bed.client, "PATCH", &format!("{WIDGETS}/a"), &size).await;
    }
    let mut versions = Vec::new();
    for _ in 0..1101 {
        let event = slow.next().await.unwrap();
        versions
            .push(event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<i64>().unwrap());
    }
    assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "every version, once, in order");
}
