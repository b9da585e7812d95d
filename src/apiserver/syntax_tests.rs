//! Metadata: what is accepted, and what the API server would say about the rest.

#![allow(clippy::needless_pass_by_value)] // cases are written where they are used

use proptest::prelude::*;

use super::*;
use crate::kind::tests::fixture;

fn causes(plural: &str, metadata: Value) -> Vec<String> {
    let kinds = fixture();
    let kind = kinds.iter().find(|kind| kind.plural == plural).unwrap();
    let causes = super::metadata(kind, &json!({"metadata": metadata}));
    causes.iter().map(|cause| format!("{} {}: {}", cause.reason, cause.field, cause.message)).collect()
}

#[test]
fn metadata_that_is_wrong() {
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
        and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let name_part = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
        an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases = [
        ("clientaccounts", json!({"name": "a.b-c", "namespace": "n"}), vec![]),
        ("clientaccounts", json!({"namespace": "n"}), vec!["FieldValueRequired metadata.name: Required value: name or generateName is required".to_owned()]),
        ("clientaccounts", json!({"name": "A", "namespace": "n"}), vec![format!("FieldValueInvalid metadata.name: Invalid value: \"A\": {subdomain}")]),
        ("clientaccounts", json!({"name": "a"}), vec!["FieldValueRequired metadata.namespace: Required value".to_owned()]),
        ("clientaccounts", json!({"name": "a", "namespace": "n.m"}), vec!["FieldValueInvalid metadata.namespace: Invalid value: \"n.m\": must not contain dots".to_owned()]),
        ("namespaces", json!({"name": "a", "namespace": "n"}), vec!["FieldValueForbidden metadata.namespace: Forbidden: not allowed on this type".to_owned()]),
        ("namespaces", json!({"name": "a.b"}), vec!["FieldValueInvalid metadata.name: Invalid value: \"a.b\": must not contain dots".to_owned()]),
        ("clientaccounts", json!({"name": "a-x1", "generateName": "a-", "namespace": "n"}), vec![]),
        (
            "clientaccounts",
            json!({"name": "a", "namespace": "n", "labels": {"/x": "y", "z": "-"}, "finalizers": ["-"]}),
            vec![
                "FieldValueInvalid metadata.labels: Invalid value: \"/x\": prefix part must be non-empty".to_owned(),
                "FieldValueInvalid metadata.labels: Invalid value: \"-\": a valid label must be an empty string or \
                 consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                 character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned(),
                format!("FieldValueInvalid metadata.finalizers: Invalid value: \"-\": {name_part}"),
            ],
        ),
        (
            "clientaccounts",
            json!({"name": "a", "namespace": "n", "ownerReferences": [{"apiVersion": "v1", "kind": "", "name": "x", "uid": "u"}]}),
            vec!["FieldValueInvalid metadata.ownerReferences.kind: Invalid value: \"\": must not be empty".to_owned()],
        ),
        (
            "clientaccounts",
            json!({"name": "a", "namespace": "n", "annotations": {"X.io/Y": "x".repeat(300_000)}}),
            vec!["FieldValueTooLong metadata.annotations: Too long: may not be more than 262144 bytes".to_owned()],
        ),
    ];
    for (plural, metadata, wanted) in cases {
        let found = causes(plural, metadata);
        assert_eq!(found, wanted);
    }
    let long = causes("clientaccounts", json!({"name": "a".repeat(254), "namespace": "n"}));
    assert!(long[0].ends_with("must be no more than 253 bytes"), "{long:?}");
    let owner =
        |name: &str| json!({"apiVersion": "v1", "kind": "K", "name": name, "uid": name, "controller": true});
    let two = causes(
        "clientaccounts",
        json!({"name": "a", "namespace": "n", "ownerReferences": [owner("x"), owner("y")]}),
    );
    assert!(two[0].contains("Only one reference can have Controller set to true"), "{two:?}");
}

#[test]
fn what_may_not_change() {
    let kinds = fixture();
    let kind = kinds.get("tagwarden.io", "v1alpha1", "clientaccounts").unwrap();
    let old = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "finalizers": ["x.io/y"]}});
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        new["metadata"][pointer] = value;
        metadata_update(kind, &new, &old)
            .iter()
            .map(|cause| (cause.field.clone(), cause.message.clone()))
            .collect::<Vec<_>>()
    };
    let immutable = |field: &str, value: &str| {
        (field.to_owned(), format!("Invalid value: \"{value}\": field is immutable"))
    };
    assert_eq!(change("labels", json!({"a": "b"})), []);
    assert_eq!(change("name", json!("b")), [immutable("metadata.name", "b")]);
    assert_eq!(change("uid", json!("v")), [immutable("metadata.uid", "v")]);
    assert_eq!(change("resourceVersion", json!(""))[0].0, "metadata.resourceVersion");
    let mut going = old.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    let mut more = going.clone();
    more["metadata"]["finalizers"] = json!(["x.io/y", "x.io/z"]);
    let causes = metadata_update(kind, &more, &going);
    assert_eq!(causes[0].reason, "FieldValueForbidden");
    assert!(causes[0].message.contains("no new finalizers can be added"), "{causes:?}");
}

#[test]
fn shape_is_brought() {
    let mut object = json!({"metadata": {
        "name": "a", "labels": {}, "creationTimestamp": null, "managedFields": [{"manager": "x"}], "colour": "red",
    }});
    assert_eq!(shape(&mut object).unwrap(), ["metadata.colour"]);
    assert_eq!(object, json!({"metadata": {"name": "a"}}));
    for wrong in
        [json!({"name": 1}), json!([]), json!({"labels": {"a": 1}}), json!({"creationTimestamp": "soon"})]
    {
        assert!(shape(&mut json!({"metadata": wrong})).unwrap_err().starts_with("metadata cannot be read: "));
    }
    let mut nothing = json!({});
    assert_eq!(shape(&mut nothing).unwrap(), Vec::<String>::new());
    assert_eq!(nothing, json!({"metadata": {}}));
}

#[test]
fn names_are_generated() {
    assert_eq!(generated_name("audit-", "x7k2p"), "audit-x7k2p");
    assert_eq!(generated_name(&"a".repeat(90), "x7k2p").len(), 63);
    assert_eq!(generated_name(&"ä".repeat(40), "x"), format!("{}x", "ä".repeat(29)));
}

#[test]
fn keys_of_data() {
    for key in ["a", "A_b-c.d", "1"] {
        assert_eq!(data_key(key), None, "{key}");
    }
    for key in ["", ".", "..", "..a", "a/b", "ä", &"a".repeat(254)] {
        assert!(data_key(key).is_some(), "{key}");
    }
}

proptest! {
    #[test]
    fn what_is_a_label_is_a_subdomain(text in "[a-zA-Z0-9.-]{0,70}") {
        if dns_label(&text).is_none() {
            prop_assert_eq!(dns_subdomain(&text), None);
            prop_assert_eq!(qualified_name(&text), Vec::<String>::new());
            prop_assert_eq!(label_value(&text), Vec::<String>::new());
        }
    }

    #[test]
    fn any_text_can_be_asked_about(text in "\\PC{0,80}") {
        let _ = (dns_label(&text), dns_subdomain(&text), qualified_name(&text), label_value(&text), data_key(&text));
        let _ = generated_name(&text, "abcde");
    }
}
