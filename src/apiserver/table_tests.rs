//! Tables: what `kubectl get` would print.

use super::*;
use crate::kind::Kinds;
use crate::kind::tests::fixture;

fn kinds() -> &'static Kinds {
    fixture()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn printed(group: &str, version: &str, plural: &str, object: &Value) -> Vec<(String, Value)> {
    let kinds = kinds();
    let kind = kinds.get(group, version, plural).unwrap();
    let table = table(kind, [object], &json!({}), Include::None, true, now());
    let names = table["columnDefinitions"].as_array().unwrap().iter();
    let names = names.map(|column| column["name"].as_str().unwrap().to_owned());
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(names.len(), cells.len());
    names.zip(cells.iter().cloned()).collect()
}

#[test]
fn custom_columns() {
    let object = json!({
        "metadata": {"name": "corp", "creationTimestamp": "2026-11-21T11:55:30Z"},
        "spec": {"requiredTags": [{"key": "Owner"}, {"key": "Env"}]},
    });
    let printed = printed("tagwarden.io", "v1alpha1", "taggingpolicies", &object);
    assert_eq!(printed.first(), Some(&("Name".to_owned(), json!("corp"))));
    assert_eq!(printed.last(), Some(&("Age".to_owned(), json!("4m30s"))));
}

#[test]
fn cells_by_type() {
    let column = |type_: &str, path: &str| Column {
        name: "X".to_owned(),
        type_: type_.to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        path: Path::parse(path).unwrap(),
    };
    let object = json!({"s": "text", "i": 3, "f": 1.5, "b": true, "d": "2026-11-20T12:00:00Z", "n": null, "o": {"a": 1}});
    let cases = [
        ("string", ".s", json!("text")),
        ("string", ".i", json!("3")),
        ("string", ".o", json!("{\"a\":1}")),
        ("string", ".n", Value::Null),
        ("string", ".gone", Value::Null),
        ("integer", ".i", json!(3)),
        ("integer", ".f", json!(1)),
        ("integer", ".s", Value::Null),
        ("number", ".f", json!(1.5)),
        ("boolean", ".b", json!(true)),
        ("boolean", ".s", Value::Null),
        ("date", ".d", json!("24h")),
        ("date", ".s", json!("<invalid>")),
        ("date", ".gone", Value::Null),
    ];
    for (type_, path, wanted) in cases {
        assert_eq!(cell(&column(type_, path), &object, now()), wanted, "{type_} {path}");
    }
}

#[test]
fn built_in_columns() {
    let meta = json!({"name": "x", "creationTimestamp": "2026-11-11T12:00:00Z"});
    let cells = |group: &str, plural: &str, object: Value| {
        let mut object = object;
        object["metadata"] = meta.clone();
        let cells = printed(group, "v1", plural, &object);
        cells.into_iter().map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let namespace = json!({"status": {"phase": "Active"}});
    assert_eq!(cells("", "namespaces", namespace), [json!("x"), json!("Active"), json!("10d")]);
    let lease = json!({"spec": {"holderIdentity": "me"}});
    assert_eq!(cells("coordination.k8s.io", "leases", lease), [json!("x"), json!("me"), json!("10d")]);
    let map = json!({"data": {"a": "b"}, "binaryData": {"c": "ZA=="}});
    assert_eq!(cells("", "configmaps", map), [json!("x"), json!(2), json!("10d")]);
    let secret = json!({"type": "Opaque", "data": {"a": "Yg=="}});
    assert_eq!(cells("", "secrets", secret), [json!("x"), json!("Opaque"), json!(1), json!("10d")]);
}

#[test]
fn both_faces_of_an_event_print_the_same() {
    let reference = json!({"kind": "ClientAccount", "name": "acme"});
    let core = json!({
        "metadata": {"name": "x"}, "involvedObject": reference, "type": "Normal", "reason": "Verified",
        "message": " is fine\n", "reportingComponent": "tagwarden", "reportingInstance": "pod",
        "eventTime": "2026-11-21T11:00:00.000000Z", "firstTimestamp": null,
        "series": {"count": 4, "lastObservedTime": "2026-11-21T11:59:50.000000Z"},
    });
    let new = json!({
        "metadata": {"name": "x"}, "regarding": reference, "type": "Normal", "reason": "Verified",
        "note": " is fine\n", "reportingController": "tagwarden", "reportingInstance": "pod",
        "eventTime": "2026-11-21T11:00:00.000000Z",
        "series": {"count": 4, "lastObservedTime": "2026-11-21T11:59:50.000000Z"},
    });
    let printed_core = printed("", "v1", "events", &core);
    let cells: Vec<Value> = printed_core.iter().map(|(_, cell)| cell.clone()).collect();
    assert_eq!(
        json!(cells),
        json!([
            "10s",
            "Normal",
            "Verified",
            "clientaccount/acme",
            "",
            "tagwarden, pod",
            "is fine",
            "60m",
            4,
            "x"
        ])
    );
    assert_eq!(printed("events.k8s.io", "v1", "events", &new), printed_core);
}

#[test]
fn ages_are_said_as_kubectl_says_them() {
    let day = 86_400;
    let cases = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_060, "3h21m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (8 * day, "8d"),
        (729 * day, "729d"),
        (730 * day, "2y"),
        (735 * day, "2y5d"),
        (9 * 365 * day, "9y"),
    ];
    for (seconds, wanted) in cases {
        assert_eq!(age(seconds), wanted, "{seconds}");
    }
}

#[test]
fn rows_carry_what_was_asked_for() {
    let kinds = kinds();
    let kind = kinds.get("", "v1", "configmaps").unwrap();
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}});
    let rows = |include| table(kind, [&object], &json!({"resourceVersion": "7"}), include, false, now());
    assert_eq!(rows(Include::None)["rows"][0]["object"], Value::Null);
    assert_eq!(rows(Include::Object)["rows"][0]["object"], object);
    let table = rows(Include::Metadata);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"].get("data"), None);
    assert_eq!(
        (&table["columnDefinitions"], &table["metadata"]["resourceVersion"]),
        (&Value::Null, &json!("7"))
    );
    assert_eq!(Include::parse(Some("Everything")).unwrap_err().code, 400);
}

#[test]
fn accept_headers() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let cases = [
        (None, Some(Form::Object)),
        (Some("*/*"), Some(Form::Object)),
        (Some("application/json"), Some(Form::Object)),
        (
            Some(
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            ),
            Some(Form::Table),
        ),
        (Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"), Some(Form::Object)),
        (Some("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Object)),
        (Some("application/vnd.kubernetes.protobuf"), None),
        (Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Some(Form::Metadata)),
        (Some(table), Some(Form::Table)),
        (Some("application/json;as=Nothing;v=v1;g=meta.k8s.io"), None),
    ];
    for (accept, wanted) in cases {
        assert_eq!(form(accept).ok(), wanted, "{accept:?}");
    }
    assert_eq!(form(Some("text/html")).unwrap_err().code, 406);
}
