//! Writes: what is taken from a body, what is made of it, and what deleting means.

use serde_json::json;

use super::{account, configmap, made, on_every_target, refused, version};
use crate::conformance::target::{Site, Target};

on_every_target!(
    spec_and_status_are_written_apart,
    what_servers_set_cannot_be_forged,
    defaults_come_first_then_unknown_fields_go_then_rules_hold,
    a_rule_sees_what_was_there_before,
    a_dry_run_says_what_would_be_and_writes_nothing,
    a_finalizer_holds_an_object_until_it_goes,
    deleting_what_nothing_holds_answers_with_a_status,
    names_are_generated_apart,
    owners_are_kept,
);

async fn spec_and_status_are_written_apart(site: Site) {
    let object = site.account("one").await;
    assert_eq!(object["status"], json!({"observedGeneration": -1}));
    let path = site.path("clientaccounts") + "/one";
    let both = json!({"spec": {"displayName": "One"}, "status": {"observedGeneration": 5}});
    let by_spec = made(site.merge(&path, &both).await);
    assert_eq!((&by_spec["spec"]["displayName"], &by_spec["status"]), (&json!("One"), &object["status"]));
    let both = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"displayName": "Two"}, "status": {"observedGeneration": 5}});
    let by_status = made(site.merge(&(path.clone() + "/status"), &both).await);
    assert_eq!(by_status["spec"], by_spec["spec"]);
    assert_eq!(by_status["status"], json!({"observedGeneration": 5}));
    assert_eq!(by_status["metadata"]["labels"], by_spec["metadata"]["labels"]);
    assert_eq!(made(site.get(&path).await), by_status);
}

async fn what_servers_set_cannot_be_forged(site: Site) {
    let mut forged = account("one");
    forged["metadata"]["uid"] = "0f3c1e0e-1111-4222-8333-444455556666".into();
    forged["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    let object = made(site.post(&site.path("clientaccounts"), &forged).await);
    assert_ne!(object["metadata"]["uid"], forged["metadata"]["uid"]);
    assert_ne!(object["metadata"]["creationTimestamp"], forged["metadata"]["creationTimestamp"]);

    let path = site.path("clientaccounts") + "/one";
    let mut other = object.clone();
    other["metadata"]["uid"] = forged["metadata"]["uid"].clone();
    refused(&site.put(&path, &other).await, 409, "Conflict", &[]);
    assert_eq!(made(site.get(&path).await), object);
}

async fn defaults_come_first_then_unknown_fields_go_then_rules_hold(site: Site) {
    let mut object = account("one");
    object["spec"]["colour"] = "red".into();
    let reply = site.post(&site.path("clientaccounts"), &object).await;
    assert_eq!(reply.warnings, [r#"299 - "unknown field \"spec.colour\"""#]);
    let made = made(reply);
    assert_eq!(made["spec"], account("one")["spec"]);
    assert_eq!(made["status"]["observedGeneration"], -1);

    object["metadata"]["name"] = "two".into();
    let strict = site.path("clientaccounts") + "?fieldValidation=Strict";
    let reply = site.post(&strict, &object).await;
    refused(&reply, 400, "BadRequest", &[]);
    assert!(reply.body["message"].as_str().unwrap().contains(r#"unknown field "spec.colour""#), "{reply:?}");

    let broken = json!({"apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount", "metadata": {"name": "three"},
        "spec": {"accountId": "111122223333", "auth": {}}});
    let reply = site.post(&site.path("clientaccounts"), &broken).await;
    refused(&reply, 422, "Invalid", &[("FieldValueInvalid", "spec.auth")]);
    let message = reply.body["details"]["causes"][0]["message"].as_str().unwrap();
    assert!(
        message.ends_with("mode AssumeRole (the default) needs roleArn; mode Ambient takes none"),
        "{message}"
    );
}

async fn a_rule_sees_what_was_there_before(site: Site) {
    site.account("one").await;
    let path = site.path("clientaccounts") + "/one";
    let reply = site.merge(&path, &json!({"spec": {"accountId": "444455556666"}})).await;
    refused(&reply, 422, "Invalid", &[("FieldValueInvalid", "spec.accountId")]);
    made(site.merge(&path, &json!({"spec": {"accountId": "111122223333", "displayName": "One"}})).await);
}

async fn a_dry_run_says_what_would_be_and_writes_nothing(site: Site) {
    let (path, all) = (site.path("clientaccounts"), "?dryRun=All");
    made(site.post(&format!("{path}{all}"), &account("ghost")).await);
    assert_eq!(site.get(&format!("{path}/ghost")).await.code, 404);

    let object = site.account("one").await;
    let one = format!("{path}/one");
    let changed = made(site.merge(&format!("{one}{all}"), &json!({"spec": {"suspend": true}})).await);
    assert_eq!((&changed["spec"]["suspend"], &changed["metadata"]["generation"]), (&json!(true), &json!(2)));
    made(site.put(&format!("{one}{all}"), &changed).await);
    let status = json!({"status": {"observedGeneration": 1}});
    made(site.merge(&format!("{one}/status{all}"), &status).await);
    made(site.delete(&format!("{one}{all}"), None).await);
    made(site.delete(&one, Some(&json!({"dryRun": ["All"]}))).await);
    assert_eq!(made(site.get(&one).await), object);

    let list = made(site.get(&path).await);
    let nothing = site.watch(&path, &version(&object), "&timeoutSeconds=1", 1).await;
    assert_eq!(nothing.body, json!([]), "{list}");
    let reply = site.post(&format!("{path}?dryRun=Some"), &account("ghost")).await;
    refused(&reply, 422, "Invalid", &[("FieldValueNotSupported", "dryRun")]);
}

async fn a_finalizer_holds_an_object_until_it_goes(site: Site) {
    let mut object = account("one");
    object["metadata"]["finalizers"] = json!(["tagwarden.io/finalizer"]);
    made(site.post(&site.path("clientaccounts"), &object).await);
    let path = site.path("clientaccounts") + "/one";

    let going = made(site.delete(&path, None).await);
    assert_eq!(going["kind"], "ClientAccount");
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    assert_eq!(made(site.delete(&path, None).await), going);
    refused(&site.post(&site.path("clientaccounts"), &object).await, 409, "AlreadyExists", &[]);
    let more = json!({"metadata": {"finalizers": ["tagwarden.io/finalizer", "tagwarden.io/second"]}});
    assert_eq!(site.merge(&path, &more).await.code, 422);
    made(site.merge(&path, &json!({"metadata": {"deletionTimestamp": null}})).await);
    assert_eq!(made(site.get(&path).await), going);

    made(site.merge(&path, &json!({"metadata": {"finalizers": null}})).await);
    refused(&site.get(&path).await, 404, "NotFound", &[]);
}

async fn deleting_what_nothing_holds_answers_with_a_status(site: Site) {
    let object = site.account("one").await;
    let path = site.path("clientaccounts") + "/one";
    let reply = made(site.delete(&path, None).await);
    assert_eq!((&reply["kind"], &reply["status"]), (&json!("Status"), &json!("Success")));
    let details = json!({"group": "tagwarden.io", "kind": "clientaccounts", "name": "one", "uid": object["metadata"]["uid"]});
    assert_eq!(reply["details"], details);
    refused(&site.delete(&path, None).await, 404, "NotFound", &[]);
    let again = site.account("one").await;
    assert_ne!(again["metadata"]["uid"], object["metadata"]["uid"]);
}

async fn names_are_generated_apart(site: Site) {
    let mut wanted = configmap("", "a");
    wanted["metadata"] = json!({"generateName": "made-"});
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let object = made(site.post(&site.configmaps(), &wanted).await);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(name.strip_prefix("made-").map(str::len), Some(5), "{name}");
        assert!(names.insert(name));
    }
}

/// A controller-manager collects in a cluster, and the embedded plane by itself; here only the latter is there.
async fn owners_are_kept(site: Site) {
    let owner = site.account("owner").await;
    let mut owned = configmap("owned", "a");
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount",
        "name": "owner", "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]);
    let object = made(site.post(&site.configmaps(), &owned).await);
    assert_eq!(object["metadata"]["ownerReferences"], owned["metadata"]["ownerReferences"]);
    let path = site.configmaps() + "/owned";
    assert_eq!(made(site.get(&path).await), object);

    made(site.delete(&(site.path("clientaccounts") + "/owner"), None).await);
    if site.target != Target::Real {
        let gone = site.watch(&site.configmaps(), &version(&object), "", 1).await;
        assert_eq!(
            (&gone.body[0]["type"], &gone.body[0]["object"]["metadata"]["name"]),
            (&json!("DELETED"), &json!("owned"))
        );
    }
}
