//! Discovery: both forms tell the same, and no Secret shows over HTTP.

use super::*;
use crate::kind::tests::fixture;

fn kinds() -> &'static Kinds {
    fixture()
}

#[test]
fn secrets_are_seen_in_process_only() {
    let kinds = kinds();
    let all = |face| {
        let mut text = aggregated(kinds, face, true).to_string() + &groups(kinds, face).to_string();
        text += &resources(kinds, face, "", "v1").unwrap().to_string();
        text
    };
    assert!(all(Face::InProcess).contains("secrets"));
    assert!(!all(Face::Http).to_lowercase().contains("secret"));
}

#[test]
fn both_forms_name_the_same_resources() {
    let kinds = kinds();
    for core in [true, false] {
        let aggregated = aggregated(kinds, Face::Http, core);
        for group in aggregated["items"].as_array().unwrap() {
            let name = group["metadata"].get("name").and_then(Value::as_str).unwrap_or_default();
            let version = group["versions"][0]["version"].as_str().unwrap();
            let plain = resources(kinds, Face::Http, name, version).unwrap();
            let names = plain["resources"].as_array().unwrap().iter();
            let names = names.map(|each| each["name"].as_str().unwrap().to_owned());
            let expected: Vec<String> = group["versions"][0]["resources"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|each| {
                    let name = each["resource"].as_str().unwrap();
                    let status = each.get("subresources").map(|_| format!("{name}/status"));
                    std::iter::once(name.to_owned()).chain(status)
                })
                .collect();
            assert_eq!(names.collect::<Vec<_>>(), expected);
        }
    }
    let ours = group(kinds, Face::Http, "tagwarden.io").unwrap();
    assert_eq!(ours["preferredVersion"]["groupVersion"], "tagwarden.io/v1alpha1");
    assert_eq!(group(kinds, Face::Http, ""), None);
    assert_eq!(group(kinds, Face::Http, "nothing.io"), None);
    assert_eq!(resources(kinds, Face::Http, "tagwarden.io", "v1"), None);
}

#[test]
fn only_who_can_read_v2_gets_it() {
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    assert!(wants_aggregated(Some(&format!("{v2},{v2beta1},application/json"))));
    assert!(!wants_aggregated(Some(&format!("{v2beta1},application/json"))));
    assert!(!wants_aggregated(Some("application/json")));
    assert!(!wants_aggregated(None));
    assert!(wants_aggregated(Some(AGGREGATED)));
}

#[test]
fn the_version_parses_as_one() {
    let version = version();
    let text = version["gitVersion"].as_str().unwrap();
    assert!(text.starts_with("v1.36."), "{text}");
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
}
