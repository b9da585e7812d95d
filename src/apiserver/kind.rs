//! The kinds that are served: our custom resources, from their definitions, and the few built-in ones that go with
//! them. Everything else here asks a [`Kind`] what it may do and what its objects look like.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::schema::{Schema, SchemaError};
use crate::status::ApiError;

/// Through which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// From the controllers of this process: everything.
    InProcess,
    /// Over HTTP: no Secrets, not even their existence.
    Http,
}

/// How much there may be of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects, over all namespaces.
    pub objects: u64,
    /// Bytes of one object as JSON.
    pub bytes: usize,
}

/// A column of `kubectl get`, past the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading, like `Ready`.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    /// A format hint, mostly empty.
    pub format: String,
    /// What the column says, for people.
    pub description: String,
    /// 0 for always, more for `-o wide`.
    pub priority: i32,
    /// Where the value is, like `.status.score`.
    pub path: crate::table::Path,
}

/// Which rows a kind's table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The name and the columns of the definition.
    Columns,
    /// As the API server prints its own.
    Namespace,
    /// Last seen, type, reason, object, message.
    Event,
    /// Holder and age.
    Lease,
    /// Count of data and age.
    ConfigMap,
    /// Type, count of data and age.
    Secret,
}

/// One served resource.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, like `v1alpha1`.
    pub version: String,
    /// The kind, like `TaggingPolicy`.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// The name in paths.
    pub plural: String,
    /// The name for one.
    pub singular: String,
    /// Shorter names for kubectl.
    pub short_names: Vec<String>,
    /// Groups of kinds for kubectl, like `tagwarden`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has a status subresource.
    pub status: bool,
    /// Whether it is one of ours (from a definition) and not built in: ours count generations.
    pub custom: bool,
    /// Whether it is served in this process only, never over HTTP.
    pub in_process_only: bool,
    /// What `kubectl get` shows.
    pub rows: Rows,
    /// The columns past the name, for [`Rows::Columns`].
    pub columns: Vec<Column>,
    /// Fields that field selectors may name past `metadata.name` and `metadata.namespace`, as dotted paths.
    pub selectable: Vec<String>,
    /// What objects look like.
    pub schema: Arc<Schema>,
    /// How much there may be.
    pub limits: Limits,
}

impl Kind {
    /// The kind that a definition defines, in its one served version.
    pub fn from_definition(definition: &CustomResourceDefinition) -> Result<Self, SchemaError> {
        let _ = definition;
        unimplemented!()
    }

    /// `tagwarden.io/v1alpha1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `taggingpolicies.tagwarden.io`, or `configmaps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Under what its objects are stored. Both faces of Event share one.
    pub fn storage(&self) -> String {
        if self.kind == "Event" { "events".to_owned() } else { self.qualified() }
    }

    /// Whether it can be seen through this door.
    pub fn seen_by(&self, face: Face) -> bool {
        face == Face::InProcess || !self.in_process_only
    }

    /// The first half of admission, for a body that was just read: is an object of this kind (400/422 otherwise),
    /// unknown fields are pruned (warned about, or refused, as asked), nulls dropped, defaults filled in. Returns
    /// the warnings.
    pub fn decode(&self, object: &mut Value, unknown: FieldValidation) -> Result<Vec<String>, ApiError> {
        let _ = (object, unknown);
        unimplemented!()
    }

    /// The second half, for the object as it would be stored: metadata, schema, rules; 422 with all causes. `old`
    /// is what is stored now.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let _ = (new, old);
        unimplemented!()
    }
}

/// What to do about fields that the schema does not know: the `fieldValidation` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in `Warning` headers; what a request gets that does not ask.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// From the query parameter; 400 for another word.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let _ = text;
        unimplemented!()
    }
}

/// All kinds that are served.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<Arc<Kind>>);

impl Kinds {
    /// The kinds of these definitions, and the built-in ones: Namespace, Event (both faces), Lease, ConfigMap,
    /// Secret.
    pub fn new(definitions: &[CustomResourceDefinition]) -> Result<Self, SchemaError> {
        let _ = definitions;
        unimplemented!()
    }

    /// The kind at `/apis/{group}/{version}/…/{plural}`.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.0.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// The kind that an object says it is.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.0.iter().find(|each| each.kind == kind && each.api_version() == api_version)
    }

    /// All that can be seen through this door.
    pub fn seen_by(&self, face: Face) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter().filter(move |kind| kind.seen_by(face))
    }
}
