//! Who may do what: each request is a verb on a resource, and a role allows it or not.

use http::Method;
use serde_json::{Value, json};

use super::tokens::{Role, User};
use crate::kind::{Face, Kind, Kinds, Rows};
use crate::rest::path::Target;
use crate::status::ApiError;

/// The verbs that change nothing.
const READ: [&str; 3] = ["get", "list", "watch"];

/// What a request does to objects.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub verb: &'static str,
    pub target: Target,
}

impl Attempt {
    /// `None` for a method that no resource has.
    pub fn new(method: &Method, query: &str, target: Target) -> Option<Self> {
        let one = target.name.is_some();
        let watch = || {
            url::form_urlencoded::parse(query.as_bytes())
                .any(|(key, value)| key == "watch" && value != "false" && value != "0")
        };
        let verb = match *method {
            Method::GET if watch() => "watch",
            Method::GET if one => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if one => "delete",
            Method::DELETE => "deletecollection",
            _ => return None,
        };
        Some(Self { verb, target })
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        !READ.contains(&self.verb)
    }

    /// 403 unless the user may.
    pub fn authorize(&self, user: &User) -> Result<(), ApiError> {
        let target = &self.target;
        if allows(user.role, &target.kind, target.status, self.verb) {
            return Ok(());
        }
        let kind = &target.kind;
        let resource = if target.status { format!("{}/status", kind.plural) } else { kind.plural.clone() };
        let place = match &target.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
            user.name, self.verb, kind.group
        );
        Err(ApiError::forbidden(&kind.group, &kind.plural, target.name.as_deref().unwrap_or_default(), &why))
    }
}

/// Whether a role may do this to objects of a kind. Statuses are written by controllers: who may edit what is wanted
/// may not edit what was found.
pub(super) fn allows(role: Role, kind: &Kind, status: bool, verb: &str) -> bool {
    match role {
        Role::Admin => true,
        Role::Edit if kind.custom || matches!(kind.rows, Rows::ConfigMap | Rows::Event) => {
            READ.contains(&verb) || (!status && kind.verbs().contains(&verb))
        }
        Role::Edit | Role::View => READ.contains(&verb),
    }
}

/// What `kubectl auth can-i` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Question {
    pub namespace: String,
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub path: String,
}

impl Question {
    /// From a `SelfSubjectAccessReview` in JSON.
    pub fn from_review(review: &Value) -> Self {
        let attributes = &review["spec"]["resourceAttributes"];
        let other = &review["spec"]["nonResourceAttributes"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verb = if other.is_object() { &other["verb"] } else { &attributes["verb"] };
        Self {
            namespace: text(&attributes["namespace"]),
            verb: text(verb),
            group: text(&attributes["group"]),
            version: text(&attributes["version"]),
            resource: text(&attributes["resource"]),
            subresource: text(&attributes["subresource"]),
            name: text(&attributes["name"]),
            path: text(&other["path"]),
        }
    }

    /// The review with its answer.
    pub fn answer(&self, kinds: &Kinds, user: &User) -> Value {
        let (allowed, reason) = self.decide(kinds, user.role);
        let spec = if self.path.is_empty() {
            json!({"resourceAttributes": {
                "namespace": self.namespace, "verb": self.verb, "group": self.group, "version": self.version,
                "resource": self.resource, "subresource": self.subresource, "name": self.name,
            }})
        } else {
            json!({"nonResourceAttributes": {"path": self.path, "verb": self.verb}})
        };
        json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "metadata": {}, "spec": spec, "status": {"allowed": allowed, "reason": reason},
        })
    }

    fn decide(&self, kinds: &Kinds, role: Role) -> (bool, &'static str) {
        if !self.path.is_empty() {
            return (self.verb == "get", "");
        }
        if self.resource == "*" || self.verb == "*" || self.group == "*" {
            return (role == Role::Admin, "");
        }
        let mut found =
            kinds.seen_by(Face::Http).filter(|kind| kind.group == self.group && kind.plural == self.resource);
        match found.next() {
            None => (false, "there is no such resource here"),
            Some(kind) => {
                let status = self.subresource == "status";
                let known = self.subresource.is_empty() || (status && kind.status);
                (
                    known
                        && kind.verbs().contains(&self.verb.as_str())
                        && allows(role, kind, status, &self.verb),
                    "",
                )
            }
        }
    }
}

/// All that a user may do, as `kubectl auth can-i --list` asks.
pub(super) fn rules(kinds: &Kinds, user: &User) -> Value {
    let rules: Vec<Value> = kinds
        .seen_by(Face::Http)
        .flat_map(|kind| {
            let may = |status: bool, verbs: &[&'static str]| -> Vec<&'static str> {
                verbs.iter().copied().filter(|verb| allows(user.role, kind, status, verb)).collect()
            };
            let rule = |resource: String, verbs: Vec<&str>| {
                json!({"apiGroups": [kind.group], "resources": [resource], "verbs": verbs})
            };
            let status = kind
                .status
                .then(|| rule(format!("{}/status", kind.plural), may(true, &["get", "patch", "update"])));
            std::iter::once(rule(kind.plural.clone(), may(false, kind.verbs()))).chain(status)
        })
        .collect();
    let paths = json!([{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/healthz", "/livez", "/readyz"], "verbs": ["get"]}]);
    json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": {"resourceRules": rules, "nonResourceRules": paths, "incomplete": false},
    })
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
