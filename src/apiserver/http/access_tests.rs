//! Roles: a table of who may do what.

use std::sync::Arc;

use super::*;
use crate::kind::tests::fixture;
use crate::rest::path::{self, Asked};

fn user(role: Role) -> User {
    User { name: "ann".to_owned(), role }
}

fn attempt(method: &str, uri: &str) -> Attempt {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let Some(Asked::Objects(target)) = path::parse(fixture(), Face::Http, path) else { panic!("{uri}") };
    Attempt::new(&method.parse().unwrap(), query, target).unwrap()
}

const OURS: &str = "/apis/tagwarden.io/v1alpha1/namespaces/n/clientaccounts";

#[test]
fn roles_are_a_ladder() {
    let cases = [
        // method, path, verb, view, edit (admin may everything)
        ("GET", OURS.to_owned(), "list", true, true),
        ("GET", format!("{OURS}?watch=true"), "watch", true, true),
        ("GET", format!("{OURS}/a"), "get", true, true),
        ("POST", OURS.to_owned(), "create", false, true),
        ("PUT", format!("{OURS}/a"), "update", false, true),
        ("PATCH", format!("{OURS}/a"), "patch", false, true),
        ("DELETE", format!("{OURS}/a"), "delete", false, true),
        ("DELETE", OURS.to_owned(), "deletecollection", false, true),
        ("GET", format!("{OURS}/a/status"), "get", true, true),
        ("PATCH", format!("{OURS}/a/status"), "patch", false, false),
        ("POST", "/api/v1/namespaces/n/configmaps".to_owned(), "create", false, true),
        ("POST", "/api/v1/namespaces/n/events".to_owned(), "create", false, true),
        ("POST", "/apis/events.k8s.io/v1/namespaces/n/events".to_owned(), "create", false, true),
        ("GET", "/api/v1/namespaces".to_owned(), "list", true, true),
        ("POST", "/api/v1/namespaces".to_owned(), "create", false, false),
        ("DELETE", "/api/v1/namespaces/n".to_owned(), "delete", false, false),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l".to_owned(), "get", true, true),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l".to_owned(), "update", false, false),
    ];
    for (method, uri, verb, view, edit) in cases {
        let attempt = attempt(method, &uri);
        assert_eq!(attempt.verb, verb, "{method} {uri}");
        assert_eq!(attempt.writes(), !READ.contains(&verb));
        assert_eq!(attempt.authorize(&user(Role::View)).is_ok(), view, "view {method} {uri}");
        assert_eq!(attempt.authorize(&user(Role::Edit)).is_ok(), edit, "edit {method} {uri}");
        assert_eq!(attempt.authorize(&user(Role::Admin)), Ok(()), "admin {method} {uri}");
    }
}

#[test]
fn refusals_speak_as_kubernetes_does() {
    let error = attempt("POST", OURS).authorize(&user(Role::View)).unwrap_err();
    assert_eq!(
        error.message,
        "clientaccounts.tagwarden.io is forbidden: User \"ann\" cannot create resource \"clientaccounts\" in API \
         group \"tagwarden.io\" in the namespace \"n\""
    );
    assert_eq!((error.code, error.reason), (403, "Forbidden"));
    let error = attempt("DELETE", "/api/v1/namespaces/n").authorize(&user(Role::Edit)).unwrap_err();
    assert_eq!(
        error.message,
        "namespaces \"n\" is forbidden: User \"ann\" cannot delete resource \"namespaces\" in API group \"\" at the \
         cluster scope"
    );
}

#[test]
fn secrets_are_no_resource_here() {
    assert!(path::parse(fixture(), Face::Http, "/api/v1/namespaces/n/secrets").is_none());
    assert!(path::parse(fixture(), Face::InProcess, "/api/v1/namespaces/n/secrets").is_some());
    assert!(!rules(fixture(), &user(Role::Admin)).to_string().contains("secrets"));
}

#[test]
fn questions_are_answered_as_requests_are() {
    let kinds: Vec<Arc<Kind>> = fixture().seen_by(Face::Http).cloned().collect();
    for role in [Role::View, Role::Edit, Role::Admin] {
        for kind in &kinds {
            for verb in kind.verbs() {
                let review = json!({"spec": {"resourceAttributes": {
                    "verb": verb, "group": kind.group, "resource": kind.plural,
                }}});
                let answer = Question::from_review(&review).answer(fixture(), &user(role));
                let wanted = allows(role, kind, false, verb);
                assert_eq!(answer["status"]["allowed"], wanted, "{role:?} {verb} {}", kind.plural);
            }
        }
    }
    let ask = |attributes: Value, role| {
        let review = json!({"spec": {"resourceAttributes": attributes}});
        Question::from_review(&review).answer(fixture(), &user(role))["status"]["allowed"] == true
    };
    assert!(!ask(json!({"verb": "get", "resource": "secrets"}), Role::Admin));
    assert!(ask(json!({"verb": "*", "resource": "*", "group": "*"}), Role::Admin));
    assert!(!ask(json!({"verb": "*", "resource": "*", "group": "*"}), Role::Edit));
    let ours = |subresource: &str| json!({"verb": "patch", "resource": "clientaccounts", "group": "tagwarden.io", "subresource": subresource});
    assert!(
        ask(ours("status"), Role::Admin)
            && !ask(ours("status"), Role::Edit)
            && !ask(ours("scale"), Role::Admin)
    );
    let path = json!({"spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}}});
    assert_eq!(Question::from_review(&path).answer(fixture(), &user(Role::View))["status"]["allowed"], true);
}
