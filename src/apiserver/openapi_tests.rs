//! `OpenAPI`: what kubectl looks for is there.

use super::*;
use crate::kind::tests::fixture;

fn kinds() -> &'static Kinds {
    fixture()
}

#[test]
fn every_group_has_a_document_and_no_secret_is_in_it() {
    let kinds = kinds();
    let index = index(kinds, Face::Http);
    let paths = index["paths"].as_object().unwrap();
    assert!(paths.contains_key("api/v1") && paths.contains_key("apis/tagwarden.io/v1alpha1"), "{paths:?}");
    for (name, entry) in paths {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{name}?hash=")), "{url}");
    }
    assert!(!document(kinds, Face::Http, "", "v1").unwrap().to_string().contains("Secret"));
    assert!(document(kinds, Face::InProcess, "", "v1").unwrap().to_string().contains("Secret"));
    assert_eq!(document(kinds, Face::Http, "nothing.io", "v1"), None);
}

#[test]
fn a_patch_says_what_it_is_of_and_what_it_takes() {
    let kinds = kinds();
    let ours = document(kinds, Face::Http, "tagwarden.io", "v1alpha1").unwrap();
    let patch =
        &ours["paths"]["/apis/tagwarden.io/v1alpha1/namespaces/{namespace}/taggingpolicies/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "tagwarden.io", "version": "v1alpha1", "kind": "TaggingPolicy"})
    );
    let named = |name: &str| patch["parameters"].as_array().unwrap().iter().any(|each| each["name"] == name);
    assert!(named("fieldValidation") && named("dryRun"));
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert_eq!(
        content.keys().collect::<Vec<_>>(),
        ["application/json-patch+json", "application/merge-patch+json"]
    );
    let core = document(kinds, Face::Http, "", "v1").unwrap();
    let patch = &core["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
}

#[test]
fn references_lead_somewhere() {
    let kinds = kinds();
    for (group, version) in
        [("tagwarden.io", "v1alpha1"), ("", "v1"), ("events.k8s.io", "v1"), ("coordination.k8s.io", "v1")]
    {
        let document = document(kinds, Face::InProcess, group, version).unwrap();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
    let ours = document(kinds, Face::Http, "tagwarden.io", "v1alpha1").unwrap();
    let policy = &ours["components"]["schemas"]["io.tagwarden.v1alpha1.TaggingPolicy"];
    assert_eq!(policy["x-kubernetes-group-version-kind"][0]["kind"], "TaggingPolicy");
    assert!(policy["properties"]["spec"]["properties"].get("requiredTags").is_some());
}

#[test]
fn the_empty_document_is_what_it_says() {
    let (_, body) = v2();
    assert_eq!(body.len(), 13);
    assert_eq!(&body[..5], b"\x0a\x032.0");
}
