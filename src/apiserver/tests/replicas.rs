//! Several processes on one database: what each sees is the same, whole and in order.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kube::Client;
use serde_json::{Value, json};

use super::bed::{On, WIDGETS, ask, bed, get, open, watch, widget, within};
use crate::Options;

const WRITERS: usize = 16;
const ROUNDS: usize = 12;

/// Creates, changes and deletes objects; gives how many writes that were.
async fn write(client: Client, writer: usize) -> usize {
    let mut count = 0;
    for round in 0..ROUNDS {
        let name = format!("w{writer}-{}", round % 4);
        let one = format!("{WIDGETS}/{name}");
        let (code, _) = ask(&client, "POST", WIDGETS, &widget(&name)).await;
        count += usize::from(code == 201);
        let change = json!({ "spec": { "size": round + 2 } });
        let (code, answer) = ask(&client, "PATCH", &one, &change).await;
        assert_eq!(code, 200, "{answer}");
        count += 1;
        if round % 3 == 2 {
            let (code, answer) = ask(&client, "DELETE", &one, &json!({})).await;
            assert_eq!(code, 200, "{answer}");
            count += 1;
        }
    }
    count
}

/// Reads so many events, and checks what can be checked without knowing the others: that versions rise, and that each
/// object is added, changed and deleted in an order that makes sense.
async fn follow(client: Client, from: String, count: usize) -> Vec<(i64, String, String)> {
    let mut events = watch(&client, &format!("{WIDGETS}?watch=true&resourceVersion={from}")).await;
    let mut seen = Vec::new();
    let mut there = BTreeSet::new();
    while seen.len() < count {
        let event = events.next().await.expect("the watch goes on");
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let (kind, name) = (text("/type"), text("/object/metadata/name"));
        let version: i64 = text("/object/metadata/resourceVersion").parse().unwrap();
        assert!(seen.last().is_none_or(|(last, _, _)| *last < version), "{version} after {:?}", seen.last());
        let sensible = match kind.as_str() {
            "ADDED" => there.insert(name.clone()),
            "MODIFIED" => there.contains(&name),
            "DELETED" => there.remove(&name),
            _ => false,
        };
        assert!(sensible, "{kind} of {name}");
        seen.push((version, kind, name));
    }
    seen
}

async fn storm(on: On) {
    let bed = bed(on).await;
    let other = open(&bed.location, Options::new("default")).await;
    let clients = [bed.client.clone(), other.client("default")];
    let from = get(&clients[0], WIDGETS).await.1["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    // How many writes there will be: every writer creates four objects, and again what it has deleted.
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(clients[writer % 2].clone(), writer)));
    let deletes = ROUNDS / 3;
    let expected = WRITERS * (ROUNDS + deletes + created());
    let watchers = clients.iter().flat_map(|client| [client, client]);
    let watchers = watchers.map(|client| tokio::spawn(follow(client.clone(), from.clone(), expected)));
    let watchers: Vec<_> = watchers.collect();
    let written: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(written, expected, "{on:?}");
    let seen = within(join_all(watchers)).await;
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    for other in &seen[1..] {
        assert_eq!(other, &seen[0], "{on:?}: all watchers see the same");
    }
    // Versions are the plane's alone, so that none is missing between the first and the last.
    let versions: Vec<i64> = seen[0].iter().map(|(version, _, _)| *version).collect();
    assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{on:?}: {versions:?}");
    let (_, first) = get(&clients[0], WIDGETS).await;
    let (_, second) = get(&clients[1], WIDGETS).await;
    assert_eq!(first, second, "{on:?}");
    other.shutdown().await;
    bed.plane.shutdown().await;
}

/// How often one writer finds its object missing.
fn created() -> usize {
    let mut there = [false; 4];
    let mut created = 0;
    for round in 0..ROUNDS {
        created += usize::from(!there[round % 4]);
        there[round % 4] = round % 3 != 2;
    }
    created
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_on_two_planes_over_one_postgresql() {
    storm(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_on_two_planes_over_one_file() {
    storm(On::File).await;
}

/// A name is taken once, whoever asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_gets_the_name() {
    let bed = bed(On::Postgres).await;
    let other = open(&bed.location, Options::new("default")).await;
    let clients = [bed.client.clone(), other.client("default")];
    let contend = |n: usize| {
        let client = clients[n % 2].clone();
        async move { ask(&client, "POST", WIDGETS, &widget("leader")).await.0 }
    };
    let codes = join_all((0..WRITERS).map(contend)).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 409).count(), WRITERS - 1, "{codes:?}");
    other.shutdown().await;
    bed.plane.shutdown().await;
}

/// What one plane has stored, the next one that opens the database has.
#[tokio::test]
async fn objects_outlive_the_process() {
    for on in [On::File, On::Postgres] {
        let bed = bed(on).await;
        let (_, made) = ask(&bed.client, "POST", WIDGETS, &widget("a")).await;
        bed.plane.shutdown().await;
        let again = open(&bed.location, Options::new("default")).await;
        let client = again.client("default");
        assert_eq!(get(&client, &format!("{WIDGETS}/a")).await.1, made, "{on:?}");
        let from = made["metadata"]["resourceVersion"].as_str().unwrap();
        let mut events = watch(&client, &format!("{WIDGETS}?watch=true&resourceVersion={from}")).await;
        ask(&client, "DELETE", &format!("{WIDGETS}/a"), &json!({})).await;
        assert_eq!(events.next_short().await, ("DELETED".to_owned(), "a".to_owned()));
        again.shutdown().await;
    }
}
