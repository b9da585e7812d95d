//! The objects of manifest files: which kind a document is of, what it holds, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tagwarden_core::policy;
use tagwarden_core::registry::Registry;

use crate::account::ClientAccount;
use crate::audit::ComplianceAudit;
use crate::document;
use crate::error::{Fault, ManifestError};
use crate::policy::TaggingPolicy;
use crate::predecessor;
use crate::schema::{self, Schema, join};
use crate::secret::Secret;

pub use crate::document::{MAX_DOCUMENTS, MAX_FILE_BYTES};

/// The most objects that are held together, over all files.
pub const MAX_OBJECTS: usize = 10_000;

/// The most errors that are told about one file.
pub const MAX_ERRORS: usize = 1000;

/// The kinds that are known, as a message lists them.
pub(crate) const KINDS: &str = "TaggingPolicy, ClientAccount or ComplianceAudit of `tagwarden.io/v1alpha1`, or Namespace or Secret of `v1`";

/// Where an object comes from, for messages about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as its reader named it.
    pub file: Arc<str>,
    /// Which document of the file, counted from 1.
    pub document: usize,
    /// `TaggingPolicy`, `ClientAccount`, `ComplianceAudit`, `Namespace` or `Secret`.
    pub kind: &'static str,
    /// The namespace, given or defaulted; empty for a `Namespace`.
    pub namespace: String,
    /// The name, unique for its kind and namespace.
    pub name: String,
}

impl Origin {
    /// Something wrong with a field of this object.
    pub fn error(&self, path: impl Into<String>, fault: Fault) -> ManifestError {
        ManifestError {
            file: Arc::clone(&self.file),
            document: Some(self.document),
            object: Some(format!("{} {}", self.kind, self.name)),
            path: path.into(),
            fault,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, document {}", self.file, self.document)
    }
}

/// An object and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest<T> {
    /// Where it comes from.
    pub origin: Origin,
    /// The object.
    pub object: T,
}

/// A policy and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyManifest {
    /// Where it comes from.
    pub origin: Origin,
    /// The policy, as a manifest says it.
    pub object: TaggingPolicy,
    /// The JSON text of the predecessor that it was read from.
    predecessor: Option<String>,
}

impl PolicyManifest {
    /// The policy, ready to be applied, or all that is wrong with it. Paths are those of the file it was read from.
    pub fn compile(&self, registry: &Arc<Registry>) -> Result<policy::Compiled, Vec<ManifestError>> {
        let compiled = match &self.predecessor {
            Some(text) => policy::predecessor::compile(text, &self.origin.name, registry),
            None => policy::compile(&self.object.to_draft(), registry),
        };
        compiled.map_err(|errors| {
            errors
                .into_iter()
                .map(|error| self.origin.error(error.path, Fault::Invalid(error.message)))
                .collect()
        })
    }
}

/// The objects of any number of files.
#[derive(Debug, Clone)]
pub struct Manifests {
    namespace: String,
    policies: Vec<PolicyManifest>,
    accounts: Vec<Manifest<ClientAccount>>,
    audits: Vec<Manifest<ComplianceAudit>>,
    namespaces: Vec<Manifest<Namespace>>,
    secrets: Vec<Manifest<Secret>>,
    seen: BTreeMap<(&'static str, String, String), String>,
}

impl Manifests {
    /// None yet. Objects that name no namespace will get this one.
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            policies: Vec::new(),
            accounts: Vec::new(),
            audits: Vec::new(),
            namespaces: Vec::new(),
            secrets: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Takes the objects of one file: YAML or JSON manifests, or the predecessor's `tagging_policy.json`, which is
    /// taken as a policy that is named after the file. The name of the file is for messages only.
    ///
    /// All that is wrong is returned, at most fifty faults a document and [`MAX_ERRORS`] in all. What is right was taken nevertheless.
    pub fn read(&mut self, file: &str, bytes: &[u8]) -> Result<(), Vec<ManifestError>> {
        let file: Arc<str> = file.into();
        let mut errors = Vec::new();
        let documents = document::read(&file, bytes);
        if documents.is_empty() {
            errors.push(ManifestError {
                file: Arc::clone(&file),
                document: None,
                object: None,
                path: String::new(),
                fault: Fault::Empty,
            });
        }
        for (index, outcome) in documents.into_iter().enumerate() {
            let mut place = Place { file: &file, document: index + 1, prefix: "", errors: &mut errors };
            match outcome {
                Ok(value) => self.document(&mut place, &value),
                Err(fault) => place.whole(fault),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The policies, in the order of the files.
    pub fn policies(&self) -> &[PolicyManifest] {
        &self.policies
    }

    /// The accounts, in the order of the files.
    pub fn accounts(&self) -> &[Manifest<ClientAccount>] {
        &self.accounts
    }

    /// The audits, in the order of the files.
    pub fn audits(&self) -> &[Manifest<ComplianceAudit>] {
        &self.audits
    }

    /// The namespaces, in the order of the files.
    pub fn namespaces(&self) -> &[Manifest<Namespace>] {
        &self.namespaces
    }

    /// The Secrets, in the order of the files.
    pub fn secrets(&self) -> &[Manifest<Secret>] {
        &self.secrets
    }

    fn document(&mut self, place: &mut Place<'_>, document: &Value) {
        let Value::Object(fields) = document else {
            let fault = Fault::WrongType {
                expected: "an object",
                found: schema::kind(document).to_owned(),
                quote: false,
            };
            return place.error(None, "", fault);
        };
        if predecessor::detects(fields) {
            return self.predecessor(place, document);
        }
        let word = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(api_version), Some(kind)) = (word("apiVersion"), word("kind")) else {
            let missing = if word("kind").is_none() { "kind" } else { "apiVersion" };
            return place.error(None, missing, Fault::Missing { about: format!("expected {KINDS}") });
        };
        match (api_version.as_str(), kind.as_str()) {
            (crate::API_VERSION, "TaggingPolicy") => {
                if let Some((origin, object)) = self.object(place, "TaggingPolicy", &POLICY, document) {
                    self.policies.push(PolicyManifest { origin, object, predecessor: None });
                }
            }
            (crate::API_VERSION, "ClientAccount") => {
                if let Some((origin, object)) = self.object(place, "ClientAccount", &ACCOUNT, document) {
                    self.accounts.push(Manifest { origin, object });
                }
            }
            (crate::API_VERSION, "ComplianceAudit") => {
                if let Some((origin, object)) = self.object(place, "ComplianceAudit", &AUDIT, document) {
                    self.audits.push(Manifest { origin, object });
                }
            }
            ("v1", "Namespace") => {
                if let Some((origin, object)) = self.object(place, "Namespace", &NAMESPACE, document) {
                    self.namespaces.push(Manifest { origin, object });
                }
            }
            ("v1", "Secret") => self.secret(place, document),
            ("v1", "List") if place.prefix.is_empty() => self.list(place, document),
            _ => {
                let (api_version, kind) = (schema::clip(&api_version), schema::clip(&kind));
                place.error(None, "", Fault::UnknownKind { api_version, kind });
            }
        }
    }

    /// What `kubectl get -o yaml` prints for several objects.
    fn list(&mut self, place: &mut Place<'_>, document: &Value) {
        let items = document.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            return place.error(None, "items", Fault::Empty);
        }
        for (index, item) in items.iter().enumerate() {
            let prefix = format!("items[{index}]");
            let mut place = Place {
                file: place.file,
                document: place.document,
                prefix: &prefix,
                errors: &mut *place.errors,
            };
            self.document(&mut place, item);
        }
    }

    fn object<T: DeserializeOwned + kube::Resource<DynamicType = ()>>(
        &mut self,
        place: &mut Place<'_>,
        kind: &'static str,
        schema: &Schema,
        document: &Value,
    ) -> Option<(Origin, T)> {
        let label = label(kind, document);
        let faults = schema.check("", document, false);
        if !faults.is_empty() {
            place.faults(&label, faults);
            return None;
        }
        let mut object: T = match serde_path_to_error::deserialize(document) {
            Ok(object) => object,
            Err(error) => {
                let path = error.path().to_string();
                place.error(Some(&label), &path, Fault::Invalid(error.into_inner().to_string()));
                return None;
            }
        };
        let origin = self.origin(place, kind, object.meta())?;
        object.meta_mut().namespace = (kind != "Namespace").then(|| origin.namespace.clone());
        Some((origin, object))
    }

    fn secret(&mut self, place: &mut Place<'_>, document: &Value) {
        let label = label("Secret", document);
        let faults = SECRET.check("", document, true);
        if !faults.is_empty() {
            return place.faults(&label, faults);
        }
        let object = match Secret::decode(document) {
            Ok(object) => object,
            Err(key) => {
                let fault = Fault::Invalid("is not base64; put plain text under stringData".to_owned());
                return place.error(Some(&label), &join("data", &key), fault);
            }
        };
        let metadata = document.get("metadata").cloned().unwrap_or_default();
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap_or_default();
        if let Some(origin) = self.origin(place, "Secret", &metadata) {
            self.secrets.push(Manifest { origin, object });
        }
    }

    fn predecessor(&mut self, place: &mut Place<'_>, document: &Value) {
        let name = predecessor::name(place.file);
        let text = document.to_string();
        match policy::predecessor::read(&text, &name) {
            Err(errors) => {
                for error in errors {
                    place.error(Some("tagging policy"), &error.path, Fault::Invalid(error.message));
                }
            }
            Ok(read) => {
                let mut object = TaggingPolicy::from_draft(read.draft);
                let Some(origin) = self.origin(place, "TaggingPolicy", &object.metadata) else { return };
                object.metadata.namespace = Some(origin.namespace.clone());
                self.policies.push(PolicyManifest { origin, object, predecessor: Some(text) });
            }
        }
    }

    /// The origin of an object, unless there is one of its name already.
    fn origin(&mut self, place: &mut Place<'_>, kind: &'static str, metadata: &ObjectMeta) -> Option<Origin> {
        let origin = Origin {
            file: Arc::clone(place.file),
            document: place.document,
            kind,
            namespace: match kind {
                "Namespace" => String::new(),
                _ => metadata.namespace.clone().unwrap_or_else(|| self.namespace.clone()),
            },
            name: metadata.name.clone().unwrap_or_default(),
        };
        if self.seen.len() >= MAX_OBJECTS {
            let message = format!("is one too many: at most {MAX_OBJECTS} objects are held together");
            place.push(origin.error("", Fault::Invalid(message)));
            return None;
        }
        let identity = (kind, origin.namespace.clone(), origin.name.clone());
        if let Some(first) = self.seen.get(&identity) {
            let fault = Fault::Duplicate { name: origin.name.clone(), first: first.clone() };
            place.push(origin.error("metadata.name", fault));
            return None;
        }
        self.seen.insert(identity, origin.to_string());
        Some(origin)
    }
}

/// The document being read, and where its errors go.
struct Place<'a> {
    file: &'a Arc<str>,
    document: usize,
    prefix: &'a str,
    errors: &'a mut Vec<ManifestError>,
}

impl Place<'_> {
    /// An error that is about the file where the parser gave up on it, else about the document.
    fn whole(&mut self, fault: Fault) {
        let file_wide =
            matches!(fault, Fault::TooLarge { .. } | Fault::NotText { .. } | Fault::TooManyDocuments { .. });
        let document = (!file_wide).then_some(self.document);
        let file = Arc::clone(self.file);
        self.push(ManifestError { file, document, object: None, path: String::new(), fault });
    }

    fn faults(&mut self, object: &str, faults: Vec<(String, Fault)>) {
        for (path, fault) in faults {
            self.error(Some(object), &path, fault);
        }
    }

    fn error(&mut self, object: Option<&str>, path: &str, fault: Fault) {
        let path = match (self.prefix, path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        let (file, object) = (Arc::clone(self.file), object.map(str::to_owned));
        self.push(ManifestError { file, document: Some(self.document), object, path, fault });
    }

    fn push(&mut self, error: ManifestError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }
}

fn label(kind: &str, document: &Value) -> String {
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {}", schema::clip(name)))
}

static POLICY: LazyLock<Schema> = LazyLock::new(object_schema::<TaggingPolicy>);
static ACCOUNT: LazyLock<Schema> = LazyLock::new(object_schema::<ClientAccount>);
static AUDIT: LazyLock<Schema> = LazyLock::new(object_schema::<ComplianceAudit>);
static NAMESPACE: LazyLock<Schema> = LazyLock::new(|| {
    let fields = [
        ("apiVersion", Schema::text(253, None, "")),
        ("kind", Schema::text(63, None, "")),
        ("metadata", metadata()),
        ("spec", Schema::anything()),
        ("status", Schema::anything()),
    ];
    Schema::fields(fields, &["metadata"])
});
static SECRET: LazyLock<Schema> = LazyLock::new(|| {
    let fields = [
        ("apiVersion", Schema::text(253, None, "")),
        ("kind", Schema::text(63, None, "")),
        ("metadata", metadata()),
        ("type", Schema::text(253, None, "")),
        ("immutable", Schema::anything()),
        ("data", Schema::texts(100, MAX_FILE_BYTES)),
        ("stringData", Schema::texts(100, MAX_FILE_BYTES)),
    ];
    Schema::fields(fields, &["metadata"])
});

fn object_schema<T: CustomResourceExt>() -> Schema {
    let crd = T::crd();
    let root =
        crd.spec.versions.first().and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let spec = root.and_then(|root| root.properties.as_ref()?.get("spec"));
    let fields = [
        ("apiVersion", Schema::text(253, None, "")),
        ("kind", Schema::text(63, None, "")),
        ("metadata", metadata()),
        ("spec", spec.map_or_else(Schema::anything, Schema::new)),
        // Only servers write it; it is there in what `kubectl get -o yaml` prints.
        ("status", Schema::anything()),
    ];
    Schema::fields(fields, &["metadata", "spec"])
}

/// What a person writes into metadata, and what a server adds to it.
fn metadata() -> Schema {
    const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    let about_name = "lower-case letters, digits, `-` and `.`, a letter or digit at both ends";
    let about_namespace = "lower-case letters, digits and `-`, a letter or digit at both ends";
    let fields = [
        ("name", Schema::text(253, Some(NAME), about_name)),
        ("namespace", Schema::text(63, Some(NAMESPACE), about_namespace)),
        ("labels", Schema::texts(100, 63)),
        ("annotations", Schema::texts(100, 1 << 18)),
        ("uid", Schema::anything()),
        ("resourceVersion", Schema::anything()),
        ("generation", Schema::anything()),
        ("generateName", Schema::anything()),
        ("creationTimestamp", Schema::anything()),
        ("deletionTimestamp", Schema::anything()),
        ("deletionGracePeriodSeconds", Schema::anything()),
        ("finalizers", Schema::anything()),
        ("managedFields", Schema::anything()),
        ("ownerReferences", Schema::anything()),
        ("selfLink", Schema::anything()),
    ];
    Schema::fields(fields, &["name"])
}
