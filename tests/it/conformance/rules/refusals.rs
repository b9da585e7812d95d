//! Refusals: their shape is what clients decide by.

use axum::http::{Method, Request, header};
use kube::client::Body;
use serde_json::json;

use super::{account, on_every_target, refused};
use crate::conformance::reply::send;
use crate::conformance::target::Site;

on_every_target!(
    refusals_name_what_they_are_about,
    every_mistake_is_told_with_its_field,
    a_namespace_has_to_be_there,
    a_body_of_four_megabytes,
    patches_that_nobody_can_apply,
);

async fn refusals_name_what_they_are_about(site: Site) {
    let path = site.path("clientaccounts");
    let missing = site.get(&format!("{path}/none")).await;
    refused(&missing, 404, "NotFound", &[]);
    let details = json!({"name": "none", "group": "tagwarden.io", "kind": "clientaccounts"});
    assert_eq!(missing.body["details"], details);
    assert_eq!(missing.body["message"], r#"clientaccounts.tagwarden.io "none" not found"#);

    site.account("one").await;
    let twice = site.post(&path, &account("one")).await;
    refused(&twice, 409, "AlreadyExists", &[]);
    assert_eq!(twice.body["message"], r#"clientaccounts.tagwarden.io "one" already exists"#);

    let future = site.get(&format!("{path}?resourceVersion=999999999999")).await;
    refused(&future, 504, "Timeout", &[("ResourceVersionTooLarge", "")]);
}

async fn every_mistake_is_told_with_its_field(site: Site) {
    let mut bad = account("Not_A_Name");
    bad["metadata"]["labels"] = json!({"tier": "a b"});
    bad["metadata"]["finalizers"] = json!(["tagwarden.io/not a name"]);
    let reply = site.post(&site.path("clientaccounts"), &bad).await;
    assert_eq!((reply.code, &reply.body["reason"]), (422, &json!("Invalid")), "{reply:?}");
    let mut fields: Vec<&str> = reply.body["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .filter(|field| *field != "<nil>")
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["metadata.finalizers", "metadata.labels", "metadata.name"], "{reply:?}");

    let mut bad = account("one");
    bad["spec"]["accountId"] = "12".into();
    let reply = site.post(&site.path("clientaccounts"), &bad).await;
    refused(&reply, 422, "Invalid", &[("FieldValueInvalid", "spec.accountId")]);
}

async fn a_namespace_has_to_be_there(site: Site) {
    let path = "/apis/tagwarden.io/v1alpha1/namespaces/nowhere-at-all/clientaccounts";
    let reply = site.post(path, &account("one")).await;
    refused(&reply, 404, "NotFound", &[]);
    assert_eq!(reply.body["details"], json!({"name": "nowhere-at-all", "kind": "namespaces"}));
}

/// Servers need not read to the end what they refuse; a client that still writes may then see a broken connection.
async fn a_body_of_four_megabytes(site: Site) {
    let mut big = account("big");
    big["metadata"]["annotations"] = json!({"a": "x".repeat(4 * 1024 * 1024)});
    let request = Request::post(site.path("clientaccounts")).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(big.to_string().into_bytes())).unwrap();
    if let Ok(reply) = send(&site.client, request, None).await {
        refused(&reply, 413, "RequestEntityTooLarge", &[]);
    }
    refused(&site.get(&(site.path("clientaccounts") + "/big")).await, 404, "NotFound", &[]);
    site.account("small").await;
}

async fn patches_that_nobody_can_apply(site: Site) {
    site.account("one").await;
    let path = site.path("clientaccounts") + "/one";
    let body = json!({"spec": {"suspend": true}});
    let strategic = "application/strategic-merge-patch+json";
    let reply = site.ask(Method::PATCH, &path, strategic, Some(&body)).await;
    refused(&reply, 415, "UnsupportedMediaType", &[]);
    let json_patch = "application/json-patch+json";
    let test = json!([{"op": "test", "path": "/spec/suspend", "value": true}]);
    refused(&site.ask(Method::PATCH, &path, json_patch, Some(&test)).await, 422, "Invalid", &[]);
    refused(&site.ask(Method::PATCH, &path, json_patch, Some(&body)).await, 400, "BadRequest", &[]);
}
