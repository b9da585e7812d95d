//! What happens in the background, and what is bounded.

use std::time::Duration;

use serde_json::{Value, json};

use super::bed::{
    Bed, CONFIG_MAPS, On, WIDGETS, ask, bed, bed_with, get, open, until, watch, widget, widgets,
};
use crate::{ControlPlane, Identity, Options};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const NAMESPACES: &str = "/api/v1/namespaces";
const EVENTS: &str = "/api/v1/namespaces/default/events";

async fn made(bed: &Bed, path: &str, object: &Value) -> Value {
    let (code, made) = ask(&bed.client, "POST", path, object).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn gone(bed: &Bed, path: &str) {
    until(path, || async { get(&bed.client, path).await.0 == 404 }).await;
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } })
}

fn owned(name: &str, owners: &[&Value]) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            })
        })
        .collect();
    let mut object = config_map(name);
    object["metadata"]["ownerReferences"] = json!(references);
    object
}

#[tokio::test]
async fn what_is_owned_goes_with_its_last_owner() {
    for on in On::ALL {
        let bed = bed(on).await;
        let (a, b) = (made(&bed, WIDGETS, &widget("a")).await, made(&bed, WIDGETS, &widget("b")).await);
        made(&bed, CONFIG_MAPS, &owned("of-a", &[&a])).await;
        made(&bed, CONFIG_MAPS, &owned("of-both", &[&a, &b])).await;
        let child = made(&bed, CONFIG_MAPS, &owned("child", &[&b])).await;
        made(&bed, CONFIG_MAPS, &owned("grandchild", &[&child])).await;
        let stranger = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "d", "uid": "0-0" } });
        made(&bed, CONFIG_MAPS, &owned("of-a-stranger", &[&stranger])).await;
        made(&bed, CONFIG_MAPS, &config_map("free")).await;
        ask(&bed.client, "DELETE", &format!("{WIDGETS}/a"), &json!({})).await;
        gone(&bed, &format!("{CONFIG_MAPS}/of-a")).await;
        until("the reference to the owner that is gone is taken away", || async {
            let (_, both) = get(&bed.client, &format!("{CONFIG_MAPS}/of-both")).await;
            both["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.len() == 1)
        })
        .await;
        ask(&bed.client, "DELETE", &format!("{WIDGETS}/b"), &json!({})).await;
        for name in ["of-both", "child", "grandchild"] {
            gone(&bed, &format!("{CONFIG_MAPS}/{name}")).await;
        }
        for name in ["free", "of-a-stranger"] {
            assert_eq!(get(&bed.client, &format!("{CONFIG_MAPS}/{name}")).await.0, 200, "{on:?} {name}");
        }
        // Made for an owner that is gone already.
        made(&bed, CONFIG_MAPS, &owned("late", &[&a])).await;
        gone(&bed, &format!("{CONFIG_MAPS}/late")).await;
        bed.plane.shutdown().await;
    }
}

/// As many as are looked at together, and one after them.
#[tokio::test]
async fn nothing_is_held_up_by_what_has_to_stay() {
    let bed = bed(On::File).await;
    let owner = made(&bed, WIDGETS, &widget("owner")).await;
    let stranger =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "uid": "0-0" } });
    for index in 0..500 {
        made(&bed, CONFIG_MAPS, &owned(&format!("a{index}"), &[&stranger])).await;
    }
    made(&bed, CONFIG_MAPS, &owned("b", &[&owner])).await;
    ask(&bed.client, "DELETE", &format!("{WIDGETS}/owner"), &json!({})).await;
    gone(&bed, &format!("{CONFIG_MAPS}/b")).await;

    made(
        &bed,
        NAMESPACES,
        &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } }),
    )
    .await;
    let maps = CONFIG_MAPS.replace("/default/", "/team/");
    let mut held = config_map("");
    for index in 0..200 {
        held["metadata"] = json!({ "name": format!("a{index}"), "finalizers": ["x.io/a"] });
        made(&bed, &maps, &held).await;
    }
    made(&bed, &maps, &config_map("b")).await;
    ask(&bed.client, "DELETE", &format!("{NAMESPACES}/team"), &json!({})).await;
    gone(&bed, &format!("{maps}/b")).await;
    let (_, one) = get(&bed.client, &format!("{maps}/a199")).await;
    assert!(one["metadata"]["deletionTimestamp"].is_string(), "{one}");
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let bed = bed(On::File).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
    let created = made(&bed, NAMESPACES, &namespace).await;
    assert_eq!(created["status"]["phase"], "Active");
    assert_eq!(created["metadata"]["labels"]["kubernetes.io/metadata.name"], "team");
    let widgets = WIDGETS.replace("/default/", "/team/");
    let mut held = widget("held");
    held["metadata"] = json!({ "name": "held", "finalizers": ["x.io/a"] });
    made(&bed, &widgets, &held).await;
    made(&bed, &CONFIG_MAPS.replace("/default/", "/team/"), &config_map("a")).await;
    let one = format!("{NAMESPACES}/team");
    let (code, going) = ask(&bed.client, "DELETE", &one, &json!({})).await;
    assert_eq!((code, &going["status"]["phase"]), (200, &json!("Terminating")));
    gone(&bed, &CONFIG_MAPS.replace("/default/configmaps", "/team/configmaps/a")).await;
    let (code, answer) = ask(&bed.client, "POST", &widgets, &json!({
        "apiVersion": "test.tagwarden.io/v1", "kind": "Widget", "metadata": { "name": "n" }, "spec": { "size": 1 } }))
    .await;
    assert_eq!(
        (code, &answer["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating")),
        "{answer}"
    );
    assert_eq!(get(&bed.client, &one).await.0, 200, "somebody has to clean up first");
    let done = json!({ "metadata": { "finalizers": null } });
    ask(&bed.client, "PATCH", &format!("{widgets}/held"), &done).await;
    gone(&bed, &one).await;
    let (code, _) = ask(&bed.client, "DELETE", &format!("{NAMESPACES}/default"), &json!({})).await;
    assert_eq!(code, 403);
}

#[tokio::test]
async fn the_namespaces_asked_for_are_there() {
    let bed = bed_with(On::Memory, Options::new("tenant")).await;
    for name in ["default", "tenant"] {
        assert_eq!(get(&bed.client, &format!("{NAMESPACES}/{name}")).await.0, 200, "{name}");
    }
}

#[tokio::test]
async fn secrets_exist_in_this_process_only() {
    let bed = bed(On::Memory).await;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "a": "b" } });
    made(&bed, SECRETS, &secret).await;
    let remote = bed.plane.router().layer(axum::Extension(Identity::Remote { user: "ann".into() }));
    let remote = kube::Client::new(remote, "default");
    let one = format!("{SECRETS}/s");
    assert_eq!(get(&bed.client, &one).await.1["data"]["a"], "Yg==");
    for (method, path) in [
        ("GET", SECRETS),
        ("GET", &one),
        ("GET", &format!("{SECRETS}?watch=true")),
        ("GET", "/api/v1/secrets"),
        ("POST", SECRETS),
        ("PUT", &one),
        ("PATCH", &one),
        ("DELETE", &one),
        ("DELETE", SECRETS),
    ] {
        let (code, answer) = ask(&remote, method, path, &secret).await;
        assert_eq!((code, &answer["reason"]), (404, &json!("NotFound")), "{method} {path}: {answer}");
    }
    let (_, resources) = get(&remote, "/api/v1").await;
    assert!(!resources.to_string().contains("secrets"));
    assert_eq!(get(&remote, CONFIG_MAPS).await.0, 200);
}

fn event(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name }, "reason": "Done", "type": "Normal",
        "message": "m", "action": "Do", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "test", "reportingInstance": "test-0", "involvedObject": { "kind": "Widget", "name": "a", "namespace": "default" },
    })
}

#[tokio::test]
async fn events_have_two_faces_and_make_room() {
    let options = Options { event_count: 300, ..Options::new("default") };
    let bed = bed_with(On::Memory, options).await;
    let face = "/apis/events.k8s.io/v1/namespaces/default/events";
    let mut events = watch(&bed.client, &format!("{face}?watch=true&fieldSelector=regarding.name=a")).await;
    for index in 0..301 {
        made(&bed, EVENTS, &event(&format!("e{index:03}"))).await;
    }
    let seen = events.next().await.unwrap();
    assert_eq!(
        (&seen["object"]["apiVersion"], &seen["object"]["note"]),
        (&json!("events.k8s.io/v1"), &json!("m"))
    );
    let (_, old_face) = get(&bed.client, &format!("{EVENTS}?fieldSelector=involvedObject.name=a")).await;
    let items = old_face["items"].as_array().unwrap();
    assert!(items.len() <= 300 && items.len() >= 100, "{}", items.len());
    assert_eq!(items.last().unwrap()["metadata"]["name"], "e300", "the newest stay");
    let (_, list) = get(&bed.client, face).await;
    assert_eq!(list["items"][0]["regarding"], items[0]["involvedObject"]);
    let name = items[0]["metadata"]["name"].as_str().unwrap();
    let series = json!({ "series": { "count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z" } });
    let (code, changed) = ask(&bed.client, "PATCH", &format!("{face}/{name}"), &series).await;
    assert_eq!((code, &changed["series"]["count"]), (200, &json!(2)), "{changed}");
    assert_eq!(get(&bed.client, &format!("{EVENTS}/{name}")).await.1["series"]["count"], 2);
    crate::compaction::expire_events(&bed.plane.api, i64::MAX).await.unwrap();
    assert_eq!(get(&bed.client, EVENTS).await.1["items"], json!([]));
}

#[tokio::test]
async fn kinds_and_objects_are_bounded() {
    let bed = bed(On::Memory).await;
    let most = bed.plane.kinds().get("coordination.k8s.io", "v1", "leases").unwrap().limits.objects;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = |index: u64| json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": format!("l{index}") } });
    for index in 0..most {
        made(&bed, leases, &lease(index)).await;
    }
    let (code, answer) = ask(&bed.client, "POST", leases, &lease(most)).await;
    assert_eq!(code, 403);
    assert!(answer["message"].as_str().unwrap().contains("too many objects of kind Lease"), "{answer}");
    ask(&bed.client, "DELETE", &format!("{leases}/l0"), &json!({})).await;
    made(&bed, leases, &lease(most)).await;
}

/// A new version has another default, and a bound that one of the stored objects breaks.
#[tokio::test]
async fn stored_objects_meet_a_new_schema() {
    let bed = bed(On::File).await;
    let mut large = widget("large");
    large["spec"]["size"] = json!(900);
    made(&bed, WIDGETS, &large).await;
    let small = made(&bed, WIDGETS, &widget("small")).await;
    bed.plane.shutdown().await;
    let mut definition = serde_json::to_value(widgets()).unwrap();
    let spec =
        definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    spec["size"]["maximum"] = json!(500);
    spec["colour"] = json!({ "type": "string", "default": "grey" });
    let definitions = vec![serde_json::from_value(definition).unwrap()];
    let plane = ControlPlane::open(bed.location.clone(), definitions, Options::new("default")).await.unwrap();
    let client = plane.client("default");
    let (_, now) = get(&client, &format!("{WIDGETS}/small")).await;
    assert_eq!(now["spec"]["colour"], "grey");
    assert_eq!(now["metadata"]["generation"], small["metadata"]["generation"], "nobody meant anything new");
    let (_, kept) = get(&client, &format!("{WIDGETS}/large")).await;
    assert_eq!(kept["spec"]["size"], 900, "kept as it is");
    let (_, events) = get(&client, EVENTS).await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert_eq!(events["items"][0]["reason"], "SchemaMismatch");
    assert_eq!(events["items"][0]["involvedObject"]["name"], "large");
    assert_eq!(
        ask(&client, "PATCH", &format!("{WIDGETS}/large"), &json!({ "spec": { "size": 400 } })).await.0,
        200
    );
    plane.shutdown().await;
    // The same schema again: nothing is looked at twice.
    let before = now["metadata"]["resourceVersion"].clone();
    let again = open(&bed.location, Options::new("default")).await;
    assert_eq!(
        get(&again.client("default"), &format!("{WIDGETS}/small")).await.1["metadata"]["resourceVersion"],
        before
    );
    again.shutdown().await;
}

#[tokio::test]
async fn an_old_version_asks_too_much() {
    let options = Options { log_rows: 5, log_age: Duration::from_mins(10), ..Options::new("default") };
    let bed = bed_with(On::Memory, options).await;
    made(&bed, WIDGETS, &widget("a")).await;
    for size in 2..20 {
        ask(&bed.client, "PATCH", &format!("{WIDGETS}/a"), &json!({ "spec": { "size": size } })).await;
    }
    crate::compaction::once(&bed.plane.api).await.unwrap();
    let (_, list) = get(&bed.client, WIDGETS).await;
    let current: i64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for (version, code) in [(current - 5, 200), (current - 6, 410)] {
        let path = format!("{WIDGETS}?resourceVersion={version}&resourceVersionMatch=Exact");
        assert_eq!(get(&bed.client, &path).await.0, code, "{version} of {current}");
    }
}
