//! Watches: nothing is lost, nothing comes twice, and who is too late is told so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{account, configmap, made, number, on_every_target, refused, version};
use crate::conformance::target::Site;

on_every_target!(
    a_list_and_a_watch_from_it_lose_nothing,
    what_a_selector_matches_comes_and_goes,
    bookmarks_are_never_ahead_of_events,
    who_is_too_late_is_told_so,
    a_list_that_is_continued_too_late_begins_again,
);

async fn a_list_and_a_watch_from_it_lose_nothing(site: Site) {
    const CLIENTS: usize = 8;
    const EACH: usize = 5;
    let list = made(site.get(&site.configmaps()).await);
    let watching = {
        let site = site.clone();
        let version = version(&list);
        tokio::spawn(async move { site.watch(&site.configmaps(), &version, "", CLIENTS * EACH * 3).await })
    };
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let site = site.clone();
        clients.spawn(async move {
            for each in 0..EACH {
                let name = format!("c{client}-{each}");
                made(site.post(&site.configmaps(), &configmap(&name, "a")).await);
                let path = format!("{}/{name}", site.configmaps());
                made(site.merge(&path, &json!({"data": {"key": "b"}})).await);
                made(site.delete(&path, None).await);
            }
        });
    }
    clients.join_all().await;
    let seen = watching.await.expect("the watch").body;
    let events = seen.as_array().expect("events");
    let versions: Vec<u64> = events.iter().map(|event| number(&event["object"])).collect();
    assert!(versions.is_sorted_by(|before, after| before < after), "{versions:?}");
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events {
        let name = event["object"]["metadata"]["name"].as_str().unwrap();
        lives.entry(name).or_default().push(event["type"].as_str().unwrap());
    }
    assert_eq!(lives.len(), CLIENTS * EACH);
    for (name, life) in lives {
        assert_eq!(life, ["ADDED", "MODIFIED", "DELETED"], "{name}");
    }
}

async fn what_a_selector_matches_comes_and_goes(site: Site) {
    let path = site.path("clientaccounts");
    let list = made(site.get(&path).await);
    site.account("one").await;
    let label = |value: Value| json!({"metadata": {"labels": {"tier": value}}});
    for change in [label("gold".into()), json!({"spec": {"suspend": true}}), label("silver".into())] {
        made(site.merge(&format!("{path}/one"), &change).await);
    }
    let last = made(site.merge(&format!("{path}/one"), &label("gold".into())).await);
    let deleted = made(site.delete(&format!("{path}/one"), None).await);
    assert_eq!(deleted["status"], "Success");
    let seen = site.watch(&path, &version(&list), "&labelSelector=tier%3Dgold", 5).await;
    let found: Vec<(&str, &str)> = seen.body.as_array().unwrap().iter().map(event).collect();
    // An object that no longer matches is shown as it was, at the version of the change.
    let expected = [
        ("ADDED", "gold"),
        ("MODIFIED", "gold"),
        ("DELETED", "gold"),
        ("ADDED", "gold"),
        ("DELETED", "gold"),
    ];
    assert_eq!(found, expected, "{}", seen.body);
    assert_eq!(version(&seen.body[3]["object"]), version(&last));
}

fn event(event: &Value) -> (&str, &str) {
    let tier = event["object"]["metadata"]["labels"]["tier"].as_str();
    (event["type"].as_str().unwrap_or_default(), tier.unwrap_or_default())
}

async fn bookmarks_are_never_ahead_of_events(site: Site) {
    let names = ["a", "b", "c"];
    for name in names {
        site.account(name).await;
    }
    let path = site.path("clientaccounts");
    let query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let writing = {
        let (site, path) = (site.clone(), path.clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let change = json!({"spec": {"displayName": format!("round {round}")}});
                made(site.merge(&format!("{path}/a"), &change).await);
            }
        })
    };
    let seen = site.watch(&path, "", query, 4).await;
    writing.await.expect("the writer");
    let events = seen.body.as_array().expect("events").clone();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ADDED", "ADDED", "ADDED", "BOOKMARK"], "{}", seen.body);
    let end = &events[3]["object"];
    assert_eq!(end["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(events[..3].iter().all(|event| number(&event["object"]) <= number(end)), "{}", seen.body);
    // Whatever came after is delivered to who goes on from there.
    let last = made(site.get(&format!("{path}/a")).await);
    let missed = (number(&last) > number(end)).then_some(()).map(|()| version(end));
    if let Some(version) = missed {
        let more = site.watch(&path, &version, "&timeoutSeconds=1", usize::MAX).await;
        let newest = more.body.as_array().and_then(|events| events.last()).expect("events").clone();
        assert_eq!(newest["object"], last);
    }
}

async fn who_is_too_late_is_told_so(site: Site) {
    let object = site.account("one").await;
    made(site.merge(&(site.path("clientaccounts") + "/one"), &json!({"spec": {"suspend": true}})).await);
    site.compact().await;
    let seen = site.watch(&site.path("clientaccounts"), "1", "", 1).await;
    let status = if seen.code == 200 { &seen.body[0]["object"] } else { &seen.body };
    assert_eq!(
        (&status["kind"], &status["code"], &status["reason"]),
        (&json!("Status"), &json!(410), &json!("Expired"))
    );
    // Who begins again with a list misses nothing.
    let list = made(site.get(&site.path("clientaccounts")).await);
    assert_eq!(list["items"][0]["metadata"]["uid"], object["metadata"]["uid"]);
    let changed =
        made(site.merge(&(site.path("clientaccounts") + "/one"), &json!({"spec": {"suspend": null}})).await);
    let seen = site.watch(&site.path("clientaccounts"), &version(&list), "", 1).await;
    assert_eq!(seen.body[0]["object"], changed);
}

async fn a_list_that_is_continued_too_late_begins_again(site: Site) {
    for name in ["a", "b", "c"] {
        made(site.post(&site.path("clientaccounts"), &account(name)).await);
    }
    let path = site.path("clientaccounts");
    let first = made(site.get(&format!("{path}?limit=2")).await);
    let token = first["metadata"]["continue"].as_str().expect("more").to_owned();
    let next = format!("{path}?limit=2&continue={token}");
    // A page later on shows what was there at the first one.
    made(site.delete(&format!("{path}/c"), None).await);
    site.account("d").await;
    let second = made(site.get(&next).await);
    let names: Vec<&Value> =
        second["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["c"]);
    assert_eq!(version(&second), version(&first));

    site.compact().await;
    let late = site.get(&next).await;
    if late.code == 410 {
        refused(&late, 410, "Expired", &[]);
    } else {
        // The real server may still have that version in memory.
        assert_eq!(made(late)["items"], second["items"]);
    }
}
