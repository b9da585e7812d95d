//! Whatever is written: a list as of a version shows that version, and a list with what was watched since is the list
//! of now.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bed::{On, WIDGETS, ask, bed_with, get, watch, widget};
use crate::Options;

/// What is done to one of four objects.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u8),
    Gold(u8, bool),
    Resize(u8, u8),
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..4_u8;
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, gold)| Step::Gold(name, gold)),
        2 => (name.clone(), any::<u8>()).prop_map(|(name, size)| Step::Resize(name, size)),
        1 => name.prop_map(Step::Delete),
    ]
}

async fn take(client: &kube::Client, step: Step) {
    let one = |name: u8| format!("{WIDGETS}/w{name}");
    let (code, answer) = match step {
        Step::Create(name) => ask(client, "POST", WIDGETS, &widget(&format!("w{name}"))).await,
        Step::Gold(name, gold) => {
            let tier = if gold { json!("gold") } else { json!(null) };
            ask(client, "PATCH", &one(name), &json!({ "metadata": { "labels": { "tier": tier } } })).await
        }
        Step::Resize(name, size) => {
            ask(client, "PATCH", &one(name), &json!({ "spec": { "size": size } })).await
        }
        Step::Delete(name) => ask(client, "DELETE", &one(name), &json!({})).await,
    };
    assert!(matches!(code, 200 | 201 | 404 | 409), "{step:?}: {answer}");
}

const GOLD: &str = "labelSelector=tier=gold";

async fn list(client: &kube::Client, query: &str) -> Value {
    let (code, list) = get(client, &format!("{WIDGETS}?{query}")).await;
    assert_eq!(code, 200, "{list}");
    list
}

fn version(list: &Value) -> i64 {
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn by_name(list: &Value) -> BTreeMap<String, Value> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| (item["metadata"]["name"].to_string(), item.clone())).collect()
}

/// Brings a list up to date with what is watched after it.
async fn catch_up(client: &kube::Client, then: &Value, now: i64) -> BTreeMap<String, Value> {
    let mut objects = by_name(then);
    let path =
        format!("{WIDGETS}?watch=true&{GOLD}&allowWatchBookmarks=true&resourceVersion={}", version(then));
    let mut events = watch(client, &path).await;
    // A bookmark says that all up to there has been told.
    let mut seen = version(then);
    while seen < now {
        let event = events.next().await.expect("the watch goes on");
        seen = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        let name = event["object"]["metadata"]["name"].to_string();
        match event["type"].as_str() {
            Some("ADDED") => assert!(objects.insert(name, event["object"].clone()).is_none()),
            Some("MODIFIED") => assert!(objects.insert(name, event["object"].clone()).is_some()),
            Some("DELETED") => assert!(objects.remove(&name).is_some()),
            other => assert_eq!(other, Some("BOOKMARK")),
        }
    }
    objects
}

async fn holds(steps: Vec<Step>) {
    let options = Options { bookmark_interval: Duration::from_millis(10), ..Options::new("default") };
    let bed = bed_with(On::Memory, options).await;
    let client = &bed.client;
    let mut lists = vec![(list(client, "").await, list(client, GOLD).await)];
    for step in steps {
        take(client, step).await;
        lists.push((list(client, "").await, list(client, GOLD).await));
    }
    let (_, gold_now) = lists.last().unwrap();
    for (whole, gold) in &lists {
        let exact = format!("resourceVersion={}&resourceVersionMatch=Exact", version(whole));
        assert_eq!(&list(client, &exact).await, whole);
        assert_eq!(list(client, &format!("{exact}&{GOLD}")).await["items"], gold["items"]);
    }
    // From the first and from the middle.
    for (_, gold) in [&lists[0], &lists[lists.len() / 2]] {
        assert_eq!(catch_up(client, gold, version(gold_now)).await, by_name(gold_now));
    }
    bed.plane.shutdown().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn history_is_consistent(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(holds(steps));
    }
}
