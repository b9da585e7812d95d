//! The rules of writing: versions, generations, identity, conflicts, what a request may change.

use kube::Client;
use serde_json::{Value, json};

use super::bed::{Bed, CONFIG_MAPS, On, WIDGETS, ask, ask_as, bed, get, widget};

async fn made(bed: &Bed, name: &str) -> Value {
    let (code, made) = ask(&bed.client, "POST", WIDGETS, &widget(name)).await;
    assert_eq!(code, 201, "{made}");
    made
}

fn version(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn json_patch(client: &Client, path: &str, operations: &Value) -> (u16, Value) {
    ask_as(client, "PATCH", path, "application/json-patch+json", operations.to_string()).await
}

/// Patches of one object after another, and what each does to generation and version.
#[tokio::test]
async fn generations_count_intentions_and_versions_count_writes() {
    let bed = bed(On::Memory).await;
    made(&bed, "a").await;
    let one = format!("{WIDGETS}/a");
    let status = format!("{one}/status");
    // Path, merge patch, whether the generation rises, whether anything is written.
    let steps = [
        (&one, json!({ "spec": { "size": 2 } }), true, true),
        (&one, json!({ "spec": { "size": 2 } }), false, false),
        (&one, json!({ "metadata": { "labels": { "a": "b" } } }), false, true),
        (&one, json!({ "metadata": { "labels": { "a": "b" } } }), false, false),
        (&one, json!({ "status": { "phase": "Ready" } }), false, false),
        (&status, json!({ "status": { "phase": "Ready" } }), false, true),
        (&status, json!({ "status": { "phase": "Ready" } }), false, false),
        (&status, json!({ "spec": { "size": 9 }, "metadata": { "labels": { "x": "y" } } }), false, false),
        (&one, json!({ "metadata": { "generation": 77, "managedFields": [] } }), false, false),
        (&one, json!({ "spec": { "unknown": true } }), false, false),
        (&one, json!({ "spec": { "mode": null } }), false, false),
        (&one, json!({ "spec": { "mode": "Hard" } }), true, true),
    ];
    let mut before = get(&bed.client, &one).await.1;
    for (path, patch, rises, writes) in steps {
        let (code, after) = ask(&bed.client, "PATCH", path, &patch).await;
        assert_eq!(code, 200, "{patch}: {after}");
        let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
        assert_eq!(generation(&after) - generation(&before), i64::from(rises), "{patch}");
        assert_eq!(version(&after) > version(&before), writes, "{patch}");
        before = after;
    }
    assert_eq!(before["status"], json!({ "observedGeneration": -1, "phase": "Ready" }));
    assert_eq!(before["spec"], json!({ "size": 2, "mode": "Hard" }));
}

#[tokio::test]
async fn what_the_server_decides_cannot_be_brought_along() {
    let bed = bed(On::Memory).await;
    let mut object = widget("a");
    object["metadata"]["uid"] = json!("mine");
    object["metadata"]["generation"] = json!(7);
    object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    object["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    object["metadata"]["managedFields"] = json!([{ "manager": "me" }]);
    object["status"] = json!({ "phase": "Ready" });
    let (code, made) = ask(&bed.client, "POST", WIDGETS, &object).await;
    assert_eq!(code, 201, "{made}");
    let metadata = &made["metadata"];
    assert_ne!(metadata["uid"], "mine");
    assert_eq!(metadata["generation"], 1);
    assert_ne!(metadata["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(metadata.get("deletionTimestamp").is_none() && metadata.get("managedFields").is_none());
    assert_eq!(made["status"], json!({ "observedGeneration": -1 }));
}

/// What a PUT may say, and how it is refused otherwise: the first thing that is wrong decides.
#[tokio::test]
async fn a_put_is_refused_in_order() {
    let bed = bed(On::Memory).await;
    let made = made(&bed, "a").await;
    let put = |change: Value| {
        let mut object = made.clone();
        json_patch::merge(&mut object, &change);
        object
    };
    let invalid = json!({ "size": -1 });
    // Change, code, reason.
    let cases = [
        (json!({ "metadata": { "name": "b", "uid": "x", "resourceVersion": "1" } }), 400, "BadRequest"),
        (json!({ "metadata": { "namespace": "other" } }), 400, "BadRequest"),
        (json!({ "kind": "Gadget" }), 422, "Invalid"),
        (json!({ "apiVersion": "test.tagwarden.io/v2" }), 400, "BadRequest"),
        (json!({ "metadata": { "uid": "x", "resourceVersion": "1" }, "spec": invalid }), 409, "Conflict"),
        (json!({ "metadata": { "resourceVersion": "1" }, "spec": invalid }), 409, "Conflict"),
        (json!({ "metadata": { "resourceVersion": null }, "spec": { "size": 5 } }), 422, "Invalid"),
        (json!({ "metadata": { "deletionTimestamp": "2001-01-01T00:00:00Z" } }), 422, "Invalid"),
        (json!({ "spec": invalid }), 422, "Invalid"),
    ];
    let one = format!("{WIDGETS}/a");
    for (change, code, reason) in cases {
        let (found, answer) = ask(&bed.client, "PUT", &one, &put(change.clone())).await;
        assert_eq!((found, answer["reason"].as_str()), (code, Some(reason)), "{change}: {answer}");
    }
    assert_eq!(get(&bed.client, &one).await.1, made);
    let (code, _) = ask(&bed.client, "PUT", &format!("{WIDGETS}/b"), &widget("b")).await;
    assert_eq!(code, 404);
    let (code, changed) = ask(&bed.client, "PUT", &one, &put(json!({ "spec": { "size": 5 } }))).await;
    assert_eq!((code, &changed["spec"]["size"]), (200, &json!(5)));
    let (code, _) = ask(&bed.client, "PUT", &one, &put(json!({ "spec": { "size": 6 } }))).await;
    assert_eq!(code, 409, "the version is no longer the newest");
}

#[tokio::test]
async fn requests_that_are_none() {
    let bed = bed(On::Memory).await;
    made(&bed, "a").await;
    let one = format!("{WIDGETS}/a");
    // Method, path, content type, body, code.
    let cases = [
        ("POST", WIDGETS, "application/json", "[1]", 400),
        ("POST", WIDGETS, "application/json", "{", 400),
        ("POST", WIDGETS, "application/vnd.kubernetes.protobuf", "x", 415),
        ("POST", "/apis/test.tagwarden.io/v1/namespaces/nowhere/widgets", "application/json", "{}", 400),
        ("PATCH", &one, "application/apply-patch+yaml", "{}", 415),
        ("PATCH", &one, "application/strategic-merge-patch+json", "{}", 415),
        ("GET", "/apis/test.tagwarden.io/v1/gadgets", "", "", 404),
        ("GET", "/apis/test.tagwarden.io/v1/widgets/a", "", "", 404),
        ("GET", "/nothing", "", "", 404),
        ("PUT", WIDGETS, "application/json", "{}", 400),
        ("DELETE", "/apis/test.tagwarden.io/v1/widgets", "", "", 405),
        ("GET", "/apis/test.tagwarden.io/v1/widgets?resourceVersion=abc", "", "", 400),
        ("GET", "/apis/test.tagwarden.io/v1/widgets?watch=1&resourceVersion=abc", "", "", 400),
        ("GET", "/apis/test.tagwarden.io/v1/widgets?resourceVersion=99999", "", "", 504),
        ("GET", "/apis/test.tagwarden.io/v1/widgets?fieldSelector=spec.size=1", "", "", 400),
        ("GET", "/apis/test.tagwarden.io/v1/widgets?resourceVersionMatch=Exact", "", "", 422),
        ("DELETE", "/apis/test.tagwarden.io/v1/namespaces/default/widgets/a?dryRun=Some", "", "", 422),
    ];
    for (method, path, content_type, body, code) in cases {
        let (found, answer) = ask_as(&bed.client, method, path, content_type, body.to_owned()).await;
        assert_eq!(found, code, "{method} {path}: {answer}");
        assert_eq!(answer["kind"], "Status", "{method} {path}");
    }
    let mut nowhere = widget("a");
    nowhere["metadata"]["namespace"] = json!("nowhere");
    let path = WIDGETS.replace("/default/", "/nowhere/");
    let (code, answer) = ask(&bed.client, "POST", &path, &nowhere).await;
    assert_eq!((code, &answer["details"]["kind"]), (404, &json!("namespaces")), "{answer}");
    let large = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "l" },
        "data": { "a": "x".repeat(4 << 20) } });
    assert_eq!(ask(&bed.client, "POST", CONFIG_MAPS, &large).await.0, 413);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let bed = bed(On::Memory).await;
    let made = made(&bed, "a").await;
    let one = format!("{WIDGETS}/a");
    let change = json!({ "spec": { "size": 7 } });
    let mut whole = made.clone();
    whole["spec"]["size"] = json!(7);
    let dry = |path: &str| format!("{path}?dryRun=All");
    assert_eq!(ask(&bed.client, "POST", &dry(WIDGETS), &widget("b")).await.0, 201);
    assert_eq!(ask(&bed.client, "POST", &dry(WIDGETS), &widget("a")).await.0, 409);
    let (code, patched) = ask(&bed.client, "PATCH", &dry(&one), &change).await;
    assert_eq!((code, &patched["spec"]["size"]), (200, &json!(7)));
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(ask(&bed.client, "PUT", &dry(&one), &whole).await.0, 200);
    assert_eq!(ask(&bed.client, "DELETE", &one, &json!({ "dryRun": ["All"] })).await.0, 200);
    assert_eq!(ask(&bed.client, "DELETE", &dry(WIDGETS), &json!({})).await.0, 200);
    let (_, list) = get(&bed.client, WIDGETS).await;
    assert_eq!(list["items"], json!([made]));
    assert_eq!(list["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn preconditions_of_a_delete() {
    let bed = bed(On::Memory).await;
    let made = made(&bed, "a").await;
    let one = format!("{WIDGETS}/a");
    let (uid, rv) = (&made["metadata"]["uid"], &made["metadata"]["resourceVersion"]);
    for (options, code) in [
        (json!({ "preconditions": { "uid": "x" } }), 409),
        (json!({ "preconditions": { "uid": uid, "resourceVersion": "1" } }), 409),
        (json!({ "propagationPolicy": "Orphan" }), 422),
        (json!({ "propagationPolicy": "Foreground" }), 422),
        (
            json!({ "preconditions": { "uid": uid, "resourceVersion": rv }, "propagationPolicy": "Background" }),
            200,
        ),
        (json!({}), 404),
    ] {
        assert_eq!(ask(&bed.client, "DELETE", &one, &options).await.0, code, "{options}");
    }
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_done() {
    let bed = bed(On::Memory).await;
    let mut object = widget("a");
    object["metadata"]["finalizers"] = json!(["x.io/a", "x.io/b"]);
    assert_eq!(ask(&bed.client, "POST", WIDGETS, &object).await.0, 201);
    let one = format!("{WIDGETS}/a");
    let (code, going) = ask(&bed.client, "DELETE", &one, &json!({})).await;
    assert_eq!((code, &going["kind"]), (200, &json!("Widget")), "the object, not a Status");
    assert_eq!(going["metadata"]["generation"], 2);
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 0);
    let (_, again) = ask(&bed.client, "DELETE", &one, &json!({})).await;
    assert_eq!(again, going, "a second delete changes nothing");
    let more = json!({ "metadata": { "finalizers": ["x.io/a", "x.io/b", "x.io/c"] } });
    assert_eq!(ask(&bed.client, "PATCH", &one, &more).await.0, 422);
    // The way kube's finalizer helper removes its own.
    let remove = json!([
        { "op": "test", "path": "/metadata/finalizers/0", "value": "x.io/a" },
        { "op": "remove", "path": "/metadata/finalizers/0" },
    ]);
    assert_eq!(json_patch(&bed.client, &one, &remove).await.0, 200);
    assert_eq!(get(&bed.client, &one).await.0, 200);
    assert_eq!(json_patch(&bed.client, &one, &remove).await.0, 422, "another one is first now");
    let none = json!({ "metadata": { "finalizers": null } });
    assert_eq!(ask(&bed.client, "PATCH", &one, &none).await.0, 200);
    assert_eq!(get(&bed.client, &one).await.0, 404);
}

#[tokio::test]
async fn names_are_generated() {
    let bed = bed(On::Memory).await;
    let mut object = widget("");
    object["metadata"] = json!({ "generateName": "run-" });
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (code, made) = ask(&bed.client, "POST", WIDGETS, &object).await;
        assert_eq!(code, 201, "{made}");
        names.insert(made["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 20);
    assert!(names.iter().all(|name| name.starts_with("run-") && name.len() == 9), "{names:?}");
}

#[tokio::test]
async fn many_patches_of_one_object_all_count() {
    for on in On::ALL {
        let bed = bed(on).await;
        made(&bed, "a").await;
        let one = format!("{WIDGETS}/a");
        let label = |n: usize| {
            let (client, one) = (bed.client.clone(), one.clone());
            async move {
                let mut labels = serde_json::Map::new();
                labels.insert(format!("l{n}"), json!("x"));
                ask(&client, "PATCH", &one, &json!({ "metadata": { "labels": labels } })).await.0
            }
        };
        let codes = futures_util::future::join_all((0..16).map(label)).await;
        assert_eq!(codes, [200; 16], "{on:?}");
        let (_, object) = get(&bed.client, &one).await;
        assert_eq!(object["metadata"]["labels"].as_object().unwrap().len(), 16, "{on:?}");
        bed.plane.shutdown().await;
    }
}

#[tokio::test]
async fn rules_and_unknown_fields() {
    let bed = bed(On::Memory).await;
    let mut object = widget("a");
    object["spec"]["account"] = json!("1");
    object["spec"]["colour"] = json!("red");
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let twice = r#"{"apiVersion":"test.tagwarden.io/v1","kind":"Widget","spec":{"size":1,"size":2}}"#;
    let (code, answer) = ask_as(&bed.client, "POST", &strict, "application/json", twice.to_owned()).await;
    assert_eq!(code, 400);
    assert!(answer["message"].as_str().unwrap().contains("duplicate field \"spec.size\""), "{answer}");
    let (code, answer) = ask(&bed.client, "POST", &strict, &object).await;
    assert_eq!(code, 400);
    assert!(
        answer["message"].as_str().unwrap().contains("strict decoding error: unknown field \"spec.colour\"")
    );
    let request = http::Request::post(WIDGETS)
        .header("content-type", "application/json")
        .body(kube::client::Body::from(object.to_string().into_bytes()))
        .unwrap();
    let response = bed.client.send(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(response.headers()["warning"], "299 - \"unknown field \\\"spec.colour\\\"\"");
    let one = format!("{WIDGETS}/a");
    let (code, answer) = ask(&bed.client, "PATCH", &one, &json!({ "spec": { "account": "2" } })).await;
    assert_eq!(code, 422);
    assert!(answer["message"].as_str().unwrap().contains("account is immutable"), "{answer}");
}
