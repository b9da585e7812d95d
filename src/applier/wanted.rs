//! Which objects the files want, and what is wrong with them. Pure: contents come in, objects and problems go out.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use serde::Serialize;
use serde_json::{Value, json};
use tagwarden_api::error::{Fault, ManifestError};
use tagwarden_api::manifests::{Manifest, Manifests, Origin};

use super::folder::Folder;

/// The kinds that are applied, in the order in which they are: what others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    Secret,
    TaggingPolicy,
    ClientAccount,
    ComplianceAudit,
}

/// The name of an object, unique in the control plane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub kind: Kind,
    /// Empty for a Namespace.
    pub namespace: String,
    pub name: String,
}

/// An object that a file wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub identity: Identity,
    /// `corp.yaml, document 2`.
    pub place: String,
    /// The file alone.
    pub file: String,
    /// The manifest, without a status.
    pub body: Value,
}

/// Something wrong with a file, or with an object in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The object, as far as it could be told.
    pub about: Option<Identity>,
    /// File, document and field, and what is wrong.
    pub text: String,
}

/// What the files want.
#[derive(Debug, Default)]
pub struct Wanted {
    /// In the order in which they are applied.
    pub objects: Vec<Object>,
    pub problems: Vec<Problem>,
}

impl Kind {
    /// As in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Secret => "Secret",
            Self::TaggingPolicy => "TaggingPolicy",
            Self::ClientAccount => "ClientAccount",
            Self::ComplianceAudit => "ComplianceAudit",
        }
    }

    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::Namespace, Self::Secret, Self::TaggingPolicy, Self::ClientAccount, Self::ComplianceAudit];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Identity {
    /// Whether it goes when no file declares it any more. A namespace would take along what nobody declared.
    pub fn may_be_pruned(&self) -> bool {
        self.kind != Kind::Namespace
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(formatter, "{} {}", self.kind.name(), self.name),
            namespace => write!(formatter, "{} {namespace}/{}", self.kind.name(), self.name),
        }
    }
}

/// The objects of all files. Those that name no namespace get this one. An object that two documents want is nobody's:
/// whichever came first would win by chance.
pub fn wanted(folder: &Folder, namespace: &str) -> Wanted {
    let mut problems = Vec::new();
    let mut claims: BTreeMap<Identity, Vec<Object>> = BTreeMap::new();
    for (file, content) in &folder.files {
        match content {
            Err(error) => {
                problems.push(Problem { about: None, text: format!("{file}: cannot be read: {error}") });
            }
            Ok(content) => {
                let (objects, found) = objects(file, content, namespace);
                problems.extend(found);
                for object in objects {
                    claims.entry(object.identity.clone()).or_default().push(object);
                }
            }
        }
    }
    let mut objects = Vec::new();
    for (identity, mut claimants) in claims {
        match (claimants.pop(), claimants.as_slice()) {
            (Some(object), []) => objects.push(object),
            (Some(last), others) => {
                let places: Vec<&str> =
                    others.iter().chain([&last]).map(|object| object.place.as_str()).collect();
                let text = format!(
                    "{}: {identity} is declared {} times, so none of them is applied: keep one",
                    places.join(" and "),
                    places.len()
                );
                problems.push(Problem { about: Some(identity), text });
            }
            (None, _) => {}
        }
    }
    Wanted { objects, problems }
}

fn objects(file: &str, content: &[u8], namespace: &str) -> (Vec<Object>, Vec<Problem>) {
    let mut manifests = Manifests::new(namespace);
    let errors = manifests.read(file, content).err().unwrap_or_default();
    let mut objects = Vec::new();
    objects.extend(manifests.namespaces().iter().filter_map(|manifest| declared(Kind::Namespace, manifest)));
    for Manifest { origin, object } in manifests.secrets() {
        let data: BTreeMap<&str, ByteString> = object
            .keys()
            .map(|key| (key, ByteString(object.get(key).unwrap_or_default().to_vec())))
            .collect();
        let metadata = json!({ "name": origin.name, "namespace": origin.namespace });
        let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
        objects.push(object_of(Kind::Secret, origin, body));
    }
    objects.extend(
        manifests
            .policies()
            .iter()
            .filter_map(|policy| tree(Kind::TaggingPolicy, &policy.origin, &policy.object)),
    );
    objects
        .extend(manifests.accounts().iter().filter_map(|manifest| declared(Kind::ClientAccount, manifest)));
    objects
        .extend(manifests.audits().iter().filter_map(|manifest| declared(Kind::ComplianceAudit, manifest)));
    // The first of two was taken; here, neither is.
    let doubled = |object: &Object| {
        let label = format!("{} {}", object.identity.kind.name(), object.identity.name);
        errors.iter().any(|error| {
            matches!(error.fault, Fault::Duplicate { .. })
                && error.path == "metadata.name"
                && error.object.as_deref() == Some(label.as_str())
        })
    };
    objects.retain(|object| !doubled(object));
    let problems = errors.iter().map(|error| problem(error, namespace)).collect();
    (objects, problems)
}

fn declared<T: Serialize>(kind: Kind, manifest: &Manifest<T>) -> Option<Object> {
    tree(kind, &manifest.origin, &manifest.object)
}

fn tree<T: Serialize>(kind: Kind, origin: &Origin, object: &T) -> Option<Object> {
    let mut body = serde_json::to_value(object).ok()?;
    body.as_object_mut()?.remove("status");
    Some(object_of(kind, origin, body))
}

fn object_of(kind: Kind, origin: &Origin, body: Value) -> Object {
    let identity = Identity { kind, namespace: origin.namespace.clone(), name: origin.name.clone() };
    Object { identity, place: origin.to_string(), file: origin.file.to_string(), body }
}

/// An error knows its object by kind and name only; nearly always it is in the namespace of those that name none.
fn problem(error: &ManifestError, namespace: &str) -> Problem {
    let object = error.object.as_deref().and_then(|object| object.split_once(' '));
    let about = object.and_then(|(kind, name)| {
        let kind = Kind::of(kind)?;
        let namespace = if kind == Kind::Namespace { String::new() } else { namespace.to_owned() };
        Some(Identity { kind, namespace, name: name.to_owned() })
    });
    Problem { about, text: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        Folder {
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Ok(text.as_bytes().to_vec())))
                .collect(),
        }
    }

    fn policy(name: &str) -> String {
        format!(
            "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{requiredTags: [{{key: Owner}}]}}\n"
        )
    }

    fn audit(name: &str) -> String {
        format!(
            "apiVersion: tagwarden.io/v1alpha1\nkind: ComplianceAudit\nmetadata: {{name: {name}}}\n\
             spec: {{policyRef: {{name: corp}}, accounts: {{all: true}}}}\n"
        )
    }

    fn told(wanted: &Wanted) -> Vec<String> {
        wanted.objects.iter().map(|object| object.identity.to_string()).collect()
    }

    #[test]
    fn what_others_refer_to_comes_first() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: acme, namespace: b}\nstringData: {externalId: abc}\n";
        let account = "apiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata: {name: acme}\n\
                       spec: {accountId: \"111122223333\", auth: {mode: Ambient}}\n";
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {team: x}}\n";
        let all = [&audit("nightly"), account, &policy("corp"), secret, namespace].join("---\n");
        let wanted = wanted(&folder(&[("all.yaml", &all)]), "a");
        assert_eq!(wanted.problems, []);
        let expected = [
            "Namespace b",
            "Secret b/acme",
            "TaggingPolicy a/corp",
            "ClientAccount a/acme",
            "ComplianceAudit a/nightly",
        ];
        assert_eq!(told(&wanted), expected);
        assert_eq!(wanted.objects[1].body["data"]["externalId"], "YWJj");
        assert_eq!(wanted.objects[2].body["metadata"]["namespace"], "a");
        assert!(wanted.objects.iter().all(|object| object.body.get("status").is_none()));
    }

    #[test]
    fn two_declarations_of_one_object_are_both_named_and_none_is_taken() {
        let files = [("a.yaml", audit("nightly")), ("b.yaml", audit("nightly")), ("c.yaml", audit("weekly"))];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let found = wanted(&folder(&files), "a");
        assert_eq!(told(&found), ["ComplianceAudit a/weekly"]);
        assert_eq!(found.problems.len(), 1);
        let text = &found.problems[0].text;
        assert!(
            text.starts_with("a.yaml, document 1 and b.yaml, document 1: ComplianceAudit a/nightly"),
            "{text}"
        );

        let twice = format!("{}---\n{}---\n{}", policy("corp"), policy("corp"), policy("other"));
        let found = wanted(&folder(&[("twice.yaml", &twice)]), "a");
        assert_eq!(told(&found), ["TaggingPolicy a/other"]);
        assert_eq!(found.problems.len(), 1);
    }

    #[test]
    fn one_bad_file_or_document_keeps_nobody_else_away() {
        let half = format!("{}---\n{}", policy("good"), policy("bad").replace("requiredTags", "requiredTag"));
        let found =
            wanted(&folder(&[("bad.yaml", "{"), ("half.yaml", &half), ("whole.yaml", &policy("corp"))]), "a");
        assert_eq!(told(&found), ["TaggingPolicy a/corp", "TaggingPolicy a/good"]);
        let texts: Vec<&str> = found.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert!(texts.iter().any(|text| text.starts_with("bad.yaml: ")), "{texts:?}");
        let unknown = "half.yaml: document 2 (TaggingPolicy bad): spec.requiredTag: unknown field, did you mean `requiredTags`?";
        assert!(texts.iter().any(|text| text.starts_with(unknown)), "{texts:?}");
        let about = found.problems.iter().find_map(|problem| problem.about.clone()).unwrap();
        assert_eq!(about.to_string(), "TaggingPolicy a/bad");
    }
}
