//! Much at once: many who write and watch, and objects that are many bytes together.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::bed::{Bed, CONFIG_MAPS, On, WIDGETS, ask, bed, bed_with, get, watch, widget};
use crate::Options;
use crate::store::PAGE_BYTES;
use crate::store::tail::News;

const WRITERS: usize = 16;
const WATCHERS: usize = 50;
const WRITES: usize = 20;

async fn version(bed: &Bed, path: &str) -> i64 {
    let (_, list) = get(&bed.client, &format!("{path}?limit=1")).await;
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_write_and_many_more_watch() {
    for on in On::ALL {
        let bed = bed(on).await;
        let from = version(&bed, WIDGETS).await;
        let path = format!("{WIDGETS}?watch=true&resourceVersion={from}");
        let watchers = join_all((0..WATCHERS).map(|_| watch(&bed.client, &path))).await;
        let watching = join_all(watchers.into_iter().map(|mut events| async move {
            let mut versions = Vec::new();
            while versions.len() < WRITERS * (WRITES + 1) {
                let event = events.next().await.expect("the watch goes on");
                assert_ne!(event["type"], "ERROR", "{event}");
                versions.push(event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
            }
            versions
        }));
        let writing = join_all((0..WRITERS).map(|writer| {
            let client = bed.client.clone();
            async move {
                let name = format!("w{writer}");
                let (code, made) = ask(&client, "POST", WIDGETS, &widget(&name)).await;
                assert_eq!(code, 201, "{made}");
                for size in 0..WRITES {
                    let size = json!({ "spec": { "size": 100 + size } });
                    let (code, answer) = ask(&client, "PATCH", &format!("{WIDGETS}/{name}"), &size).await;
                    assert_eq!(code, 200, "{on:?}: {answer}");
                }
            }
        }));
        let (seen, _) = tokio::join!(watching, writing);
        assert!(seen.iter().all(|versions| versions == &seen[0]), "{on:?}: all see the same, in one order");
        bed.plane.ready().unwrap();
        bed.plane.shutdown().await;
    }
}

/// Few rows may be many bytes.
#[tokio::test]
async fn the_log_is_bounded_in_bytes() {
    for on in On::ALL {
        let options =
            Options { log_bytes: 2 << 20, log_age: Duration::from_hours(1), ..Options::new("default") };
        let bed = bed_with(on, options).await;
        let mut versions = vec![version(&bed, CONFIG_MAPS).await];
        for name in ["a", "b", "c", "d"] {
            assert_eq!(ask(&bed.client, "POST", CONFIG_MAPS, &large(name)).await.0, 201);
            versions.push(version(&bed, CONFIG_MAPS).await);
        }
        crate::compaction::once(&bed.plane.api).await.unwrap();
        // Two of them are less than the bound, three are more.
        for (version, word) in versions.into_iter().zip(["ERROR", "ERROR", "ADDED", "ADDED"]) {
            let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}");
            assert_eq!(watch(&bed.client, &path).await.next().await.unwrap()["type"], word, "{on:?}");
        }
        bed.plane.shutdown().await;
    }
}

/// More than a list may be: all of it goes, for each is deleted by itself.
async fn deleted_at_once(bed: &Bed, count: usize) {
    let (code, answer) = ask(&bed.client, "DELETE", CONFIG_MAPS, &json!({})).await;
    assert_eq!(code, 200);
    let told = answer["items"].as_array().unwrap().len();
    assert!(told > 0 && told <= count, "{told}");
    assert_eq!(get(&bed.client, CONFIG_MAPS).await.1["items"], json!([]));
}

/// Nearly as large as one may be.
fn large(name: &str) -> Value {
    let text = "x".repeat(900 << 10);
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "size": "large" } },
        "data": { "text": text } })
}

#[tokio::test]
async fn large_objects_come_in_parts() {
    let bed = bed(On::File).await;
    let client = &bed.client;
    let from = version(&bed, CONFIG_MAPS).await;
    let count = PAGE_BYTES / (900 << 10) + 2;
    for index in 0..count {
        let (code, _) = ask(client, "POST", CONFIG_MAPS, &large(&format!("m{index:02}"))).await;
        assert_eq!(code, 201);
    }
    for selector in ["", "labelSelector=size%3Dlarge"] {
        let (code, whole) = get(client, &format!("{CONFIG_MAPS}?{selector}")).await;
        assert_eq!((code, &whole["reason"]), (413, &json!("RequestEntityTooLarge")));
        assert!(whole["message"].as_str().unwrap().contains("ask for it in pages"), "{whole}");
        let (mut names, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (code, page) =
                get(client, &format!("{CONFIG_MAPS}?limit=500&{selector}&continue={token}")).await;
            assert_eq!(code, 200, "{page}");
            pages += 1;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() < count);
            names.extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        let all: Vec<String> = (0..count).map(|index| format!("m{index:02}")).collect();
        assert_eq!((pages, names), (2, all));
    }
    // Whoever watches from the start gets all of them, too, and who catches up is given a few at a time.
    let mut events = watch(client, &format!("{CONFIG_MAPS}?watch=true")).await;
    for index in 0..count {
        assert_eq!(events.next_short().await, ("ADDED".to_owned(), format!("m{index:02}")));
    }
    let (mut seen, mut rounds, last) = (from, 0, version(&bed, CONFIG_MAPS).await);
    while seen < last {
        let News::Rows { rows, seen: now } = bed.plane.api.tail.after(seen, "configmaps").await.unwrap()
        else {
            panic!("the log reaches back")
        };
        let bytes: usize = rows.iter().map(|row| row.body.len()).sum();
        assert!(bytes < 6 << 20, "{bytes}");
        assert!(now > seen);
        (seen, rounds) = (now, rounds + 1);
    }
    assert!(rounds > 5, "{rounds}");
    deleted_at_once(&bed, count).await;
}
