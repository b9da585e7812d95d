//! Kinds, by whatever name people call them.

use axum::http::{Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use kube::Client;

use crate::connection::ConnectionError;
use crate::render::table::printable;

/// Where the kinds are that people look at here, in the order in which a name is looked up.
const VERSIONS: [&str; 4] =
    ["/apis/tagwarden.io/v1alpha1", "/api/v1", "/apis/events.k8s.io/v1", "/apis/coordination.k8s.io/v1"];

/// A kind, and where its objects are.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub version: &'static str,
    pub resource: APIResource,
}

impl Kind {
    fn group(&self) -> &str {
        self.version.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }

    /// What stands before a name where several kinds are printed.
    pub fn prefix(&self) -> String {
        match self.group() {
            "" => format!("{}/", self.resource.singular_name),
            group => format!("{}.{group}/", self.resource.singular_name),
        }
    }

    /// All that it is called, without its group.
    fn names(&self) -> impl Iterator<Item = String> {
        let resource = &self.resource;
        let short = resource.short_names.iter().flatten();
        let kind = resource.kind.to_ascii_lowercase();
        [&resource.name, &resource.singular_name].into_iter().chain(short).cloned().chain([kind])
    }

    fn is_called(&self, name: &str) -> bool {
        let plain = name.strip_suffix(self.group()).and_then(|plain| plain.strip_suffix('.')).unwrap_or(name);
        self.names().any(|known| known == plain)
    }

    fn is_in(&self, category: &str) -> bool {
        self.resource.categories.iter().flatten().any(|known| known == category)
    }
}

/// What can be listed. A group that the server does not have is left out.
pub(super) async fn kinds(client: &Client) -> Result<Vec<Kind>, ConnectionError> {
    let mut kinds = Vec::new();
    for version in VERSIONS {
        let list: APIResourceList = match ask(client, version, "application/json").await {
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            answer => answer?,
        };
        let listed = |resource: &APIResource| {
            !resource.name.contains('/') && resource.verbs.iter().any(|verb| verb == "list")
        };
        kinds.extend(list.resources.into_iter().filter(listed).map(|resource| Kind { version, resource }));
    }
    Ok(kinds)
}

/// Sends a GET.
pub(super) async fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    accept: &str,
) -> Result<T, kube::Error> {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

/// The kinds of these names, each once.
pub(super) fn chosen<'a>(names: &[&str], known: &'a [Kind]) -> Result<Vec<&'a Kind>, ConnectionError> {
    let mut chosen: Vec<&Kind> = Vec::new();
    for name in names.iter().map(|name| name.to_ascii_lowercase()) {
        let one = known.iter().find(|kind| kind.is_called(&name));
        let found: Vec<&Kind> = match one {
            Some(kind) => vec![kind],
            None => known.iter().filter(|kind| kind.is_in(&name)).collect(),
        };
        if found.is_empty() {
            return Err(unknown(&name, known));
        }
        for kind in found {
            let path = |kind: &Kind| (kind.version, kind.resource.name.clone());
            if !chosen.iter().any(|other| path(other) == path(kind)) {
                chosen.push(kind);
            }
        }
    }
    Ok(chosen)
}

fn unknown(name: &str, known: &[Kind]) -> ConnectionError {
    let nearest = known
        .iter()
        .flat_map(|kind| kind.names().map(move |known| (known, &kind.resource.name)))
        .filter_map(|(known, plural)| {
            // `policies` is the end of `taggingpolicies`, however far from it.
            let part = name.len() > 3 && known.ends_with(name);
            let distance = if part { 0 } else { strsim::osa_distance(&known, name) };
            (distance <= name.len() / 3).then_some((distance, plural))
        })
        .min();
    let meant = nearest.map_or_else(String::new, |(_, plural)| format!(" did you mean `{plural}`?"));
    let known = known.iter().map(|kind| kind.resource.name.clone()).collect();
    ConnectionError::UnknownKind { kind: printable(name), meant, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_all_their_names() {
        let kind = |version, name: &str, singular: &str, short: &str, category: &str| Kind {
            version,
            resource: APIResource {
                name: name.into(),
                singular_name: singular.into(),
                kind: singular.to_uppercase(),
                short_names: Some(vec![short.into()]),
                categories: Some(vec![category.into()]),
                namespaced: true,
                ..APIResource::default()
            },
        };
        let known = [
            kind("/apis/tagwarden.io/v1alpha1", "taggingpolicies", "taggingpolicy", "tagpol", "tagwarden"),
            kind("/apis/tagwarden.io/v1alpha1", "clientaccounts", "clientaccount", "tagacct", "tagwarden"),
            kind("/api/v1", "events", "event", "ev", "all"),
        ];
        let find = |names: &[&str]| {
            chosen(names, &known)
                .map(|kinds| kinds.iter().map(|kind| kind.resource.name.clone()).collect::<Vec<_>>())
        };
        for name in ["taggingpolicies", "TaggingPolicy", "tagpol", "taggingpolicies.tagwarden.io"] {
            assert_eq!(find(&[name]).unwrap(), ["taggingpolicies"], "{name}");
        }
        assert_eq!(find(&["tagpol", "tagwarden"]).unwrap(), ["taggingpolicies", "clientaccounts"]);
        assert_eq!(known[0].prefix(), "taggingpolicy.tagwarden.io/");
        assert_eq!(known[2].prefix(), "event/");
        assert!(find(&["pods"]).unwrap_err().to_string().contains("`pods`; it has: "));
        for (name, meant) in [
            ("policies", "taggingpolicies"),
            ("tagpool", "taggingpolicies"),
            ("clientacounts", "clientaccounts"),
        ] {
            let refused = find(&[name]).unwrap_err().to_string();
            assert!(refused.contains(&format!("did you mean `{meant}`?")), "{refused}");
        }
    }
}
