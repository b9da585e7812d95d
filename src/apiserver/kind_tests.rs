//! Admission as a whole: bodies as clients send them, answers as they read them.

#![allow(clippy::needless_pass_by_value)] // cases are written where they are used

use std::sync::LazyLock;

use serde_json::json;

use super::*;

/// All kinds, compiled once: that takes longer than most tests.
pub(crate) fn fixture() -> &'static Kinds {
    static KINDS: LazyLock<Kinds> = LazyLock::new(|| Kinds::new(&tagwarden_api::crds()).unwrap());
    &KINDS
}

fn kind(plural: &str) -> Arc<Kind> {
    let kinds = fixture();
    kinds.iter().find(|kind| kind.plural == plural && kind.group != "events.k8s.io").unwrap().clone()
}

fn account(spec: Value) -> Value {
    json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount",
        "metadata": {"name": "acme", "namespace": "default"}, "spec": spec,
    })
}

#[test]
fn definitions_become_kinds() {
    let policy = kind("taggingpolicies");
    assert_eq!(policy.api_version(), "tagwarden.io/v1alpha1");
    assert_eq!(policy.qualified(), "taggingpolicies.tagwarden.io");
    assert_eq!(
        (policy.list_kind.as_str(), policy.short_names.as_slice()),
        ("TaggingPolicyList", &["tagpol".to_owned()][..])
    );
    assert!(policy.categories.contains(&"tagwarden".to_owned()));
    let kinds = fixture();
    let events: Vec<_> =
        kinds.iter().filter(|kind| kind.kind == "Event").map(|kind| kind.storage()).collect();
    assert_eq!(events, ["events", "events"], "both faces of an event are one object");
    assert!(kinds.seen_by(Face::Http).all(|kind| kind.kind != "Secret"));
    assert!(kinds.seen_by(Face::InProcess).any(|kind| kind.kind == "Secret"));
    assert_eq!(kinds.of("v1", "Secret").unwrap().plural, "secrets");
}

#[test]
fn unknown_fields_are_warned_about_or_refused() {
    let kind = kind("clientaccounts");
    let body = || account(json!({"accountId": "123456789012", "colour": "red"}));
    let mut object = body();
    assert_eq!(kind.decode(&mut object, FieldValidation::Warn).unwrap(), ["unknown field \"spec.colour\""]);
    assert_eq!(object["spec"].get("colour"), None);
    assert!(kind.decode(&mut body(), FieldValidation::Ignore).unwrap().is_empty());
    let error = kind.decode(&mut body(), FieldValidation::Strict).unwrap_err();
    assert_eq!((error.code, error.reason), (400, "BadRequest"));
    assert_eq!(
        error.message,
        "ClientAccount in version \"v1alpha1\" cannot be handled as a ClientAccount: strict decoding error: unknown \
         field \"spec.colour\""
    );
    let error = kind.decode_patched(&mut body(), FieldValidation::Strict).unwrap_err();
    assert_eq!((error.code, error.details.causes[0].field.as_str()), (422, "patch"));
    assert!(
        error.message.ends_with("strict decoding error: unknown field \"spec.colour\""),
        "{}",
        error.message
    );
}

#[test]
fn bodies_that_are_no_such_object() {
    let kind = kind("clientaccounts");
    let refused = |body: Value| {
        let mut body = body;
        let error = kind.decode(&mut body, FieldValidation::Warn).unwrap_err();
        (error.code, error.message.clone())
    };
    assert_eq!(refused(json!([])).0, 400);
    assert_eq!(
        refused(json!({"apiVersion": "v1"})),
        (400, "ClientAccount in version \"v1alpha1\" cannot be handled as a ClientAccount: Object 'Kind' is missing in the body".to_owned())
    );
    assert_eq!(
        refused(json!({"apiVersion": "v1", "kind": "ClientAccount"})),
        (400, "the API version in the data (v1) does not match the expected API version (tagwarden.io/v1alpha1)".to_owned())
    );
    assert_eq!(
        refused(json!({"apiVersion": "tagwarden.io/v1alpha1", "kind": "Other", "metadata": {"name": "x"}})),
        (
            422,
            "Other.tagwarden.io \"x\" is invalid: kind: Invalid value: \"Other\": must be ClientAccount"
                .to_owned()
        )
    );
}

#[test]
fn what_is_invalid_says_where() {
    let kind = kind("clientaccounts");
    let mut object = account(json!({"accountId": "12"}));
    kind.decode(&mut object, FieldValidation::Warn).unwrap();
    let error = kind.validate(&object, None).unwrap_err();
    assert_eq!((error.code, error.reason), (422, "Invalid"));
    assert!(
        error.message.starts_with("ClientAccount.tagwarden.io \"acme\" is invalid: "),
        "{}",
        error.message
    );
    let status = error.status();
    assert_eq!(status["details"]["kind"], "ClientAccount");
    assert_eq!(status["details"]["group"], "tagwarden.io");
    assert!(
        status["details"]["causes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|cause| cause["field"] == "spec.accountId"),
        "{status}"
    );
}

#[test]
fn built_in_objects_are_prepared() {
    let namespace = kind("namespaces");
    let mut object = json!({"metadata": {"name": "team"}});
    namespace.decode(&mut object, FieldValidation::Strict).unwrap();
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "kind": "Namespace", "status": {"phase": "Active"},
            "metadata": {"name": "team", "labels": {"kubernetes.io/metadata.name": "team"}},
        })
    );
    let secret = kind("secrets");
    let mut object = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"a": "Yg=="}, "stringData": {"id": "b"}});
    secret.decode(&mut object, FieldValidation::Strict).unwrap();
    assert_eq!(object["data"], json!({"a": "Yg==", "id": "Yg=="}));
    assert_eq!((object.get("stringData"), &object["type"]), (None, &json!("Opaque")));
    let mut wrong = json!({"metadata": {"name": "s"}, "stringData": {"id": 7}});
    assert_eq!(secret.decode(&mut wrong, FieldValidation::Warn).unwrap_err().code, 400);
}

#[test]
fn built_in_rules() {
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n", "resourceVersion": "1"}, "data": data});
    let config_map = kind("configmaps");
    assert_eq!(config_map.validate(&map(json!({"a": "b"})), None), Ok(()));
    let error = config_map.validate(&map(json!({"a/b": "c"})), None).unwrap_err();
    assert_eq!(error.details.causes[0].field, "data[a/b]");
    let error = config_map.validate(&map(json!({"a": "x".repeat(2 << 20)})), None).unwrap_err();
    assert_eq!(error.details.causes[0].reason, "FieldValueTooLong");
    let mut fixed = map(json!({"a": "b"}));
    fixed["immutable"] = json!(true);
    let error = config_map.validate(&map(json!({"a": "c"})), Some(&fixed)).unwrap_err();
    assert_eq!(error.details.causes.len(), 2);

    let secret = kind("secrets");
    let hidden = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"bad/key": "aHVzaA=="}});
    assert!(!secret.validate(&hidden, None).unwrap_err().status().to_string().contains("aHVzaA=="));

    let event = kind("events");
    let about = |namespace: &str| json!({"metadata": {"name": "e", "namespace": "n"}, "involvedObject": {"namespace": namespace}});
    assert_eq!(event.validate(&about("n"), None), Ok(()));
    assert_eq!(
        event.validate(&about("m"), None).unwrap_err().details.causes[0].field,
        "involvedObject.namespace"
    );

    let lease = kind("leases");
    let held = |seconds: i32| json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"leaseDurationSeconds": seconds}});
    assert_eq!(lease.validate(&held(15), None), Ok(()));
    assert!(lease.validate(&held(0), None).is_err());
}

#[test]
fn words_for_field_validation() {
    assert_eq!(FieldValidation::parse(None, "CreateOptions"), Ok(FieldValidation::Warn));
    assert_eq!(FieldValidation::parse(Some("Strict"), "CreateOptions"), Ok(FieldValidation::Strict));
    let error = FieldValidation::parse(Some("Loose"), "CreateOptions").unwrap_err();
    assert_eq!((error.code, error.details.causes[0].reason), (422, "FieldValueNotSupported"));
    assert!(
        error
            .message
            .starts_with("CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value"),
        "{}",
        error.message
    );
}

#[test]
fn answers_have_the_shape_of_a_status() {
    let kind = kind("clientaccounts");
    assert_eq!(
        ApiError::not_found(&kind, "x").status(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "clientaccounts.tagwarden.io \"x\" not found", "reason": "NotFound", "code": 404,
            "details": {"name": "x", "group": "tagwarden.io", "kind": "clientaccounts"},
        })
    );
    let error = ApiError::version_too_large(9, 3);
    assert_eq!((error.code, error.details.causes[0].reason), (504, "ResourceVersionTooLarge"));
    let forbidden = ApiError::forbidden("tagwarden.io", "clientaccounts", "", "no");
    assert_eq!(forbidden.message, "clientaccounts.tagwarden.io is forbidden: no");
    let causes: Vec<Cause> = (0..200).map(|at| Cause::required(format!("f{at}"), "")).collect();
    assert_eq!(ApiError::invalid(&kind, "x", causes).details.causes.len(), crate::status::MAX_CAUSES);
}
