//! The kinds that are served: our custom resources, from their definitions, and the few built-in ones that go with
//! them. Everything else here asks a [`Kind`] what it may do and what its objects look like.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use serde_json::{Value, json};

use crate::schema::{Schema, SchemaError, builtin, builtin_rules};
use crate::status::{ApiError, Cause};
use crate::syntax;
use crate::table::Path;

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

/// Our own objects are small and few; what the program writes by itself gets more room.
const CUSTOM: Limits = Limits { objects: 20_000, bytes: 1 << 20 };

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
    pub path: Path,
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
#[allow(clippy::struct_excessive_bools)] // facts that do not depend on each other
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
        let spec = &definition.spec;
        let missing =
            |what: &str| SchemaError::Unsupported { path: spec.names.kind.clone(), what: what.to_owned() };
        let mut served = spec.versions.iter().filter(|version| version.served);
        let (Some(version), None) = (served.next(), served.next()) else {
            return Err(missing("exactly one served version is expected"));
        };
        let props = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let props = props.ok_or_else(|| missing("a definition needs a schema"))?;
        let columns = version.additional_printer_columns.iter().flatten();
        let selectable = version.selectable_fields.iter().flatten();
        let names = &spec.names;
        let kind = names.kind.clone();
        Ok(Self {
            group: spec.group.clone(),
            version: version.name.clone(),
            list_kind: names.list_kind.clone().unwrap_or_else(|| format!("{kind}List")),
            plural: names.plural.clone(),
            singular: names.singular.clone().unwrap_or_else(|| kind.to_lowercase()),
            short_names: names.short_names.clone().unwrap_or_default(),
            categories: names.categories.clone().unwrap_or_default(),
            namespaced: spec.scope == "Namespaced",
            status: version.subresources.as_ref().is_some_and(|each| each.status.is_some()),
            custom: true,
            in_process_only: false,
            rows: Rows::Columns,
            columns: columns.map(column).collect::<Result<_, _>>()?,
            selectable: selectable.map(|field| field.json_path.trim_start_matches('.').to_owned()).collect(),
            schema: Arc::new(Schema::compile(props)?),
            limits: CUSTOM,
            kind,
        })
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

    /// What can be done with its objects, as discovery tells.
    pub fn verbs(&self) -> &'static [&'static str] {
        const ALL: [&str; 8] =
            ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        const ONE_BY_ONE: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];
        // Whoever deletes all namespaces has to name them.
        if self.rows == Rows::Namespace { &ONE_BY_ONE } else { &ALL }
    }

    /// The first half of admission, for a body that was just read: it is an object of this kind (400 or 422
    /// otherwise), unknown fields are pruned (and warned about or refused, as asked), nulls dropped, defaults filled
    /// in, metadata brought to its shape. Returns the warnings.
    pub fn decode(&self, object: &mut Value, unknown: FieldValidation) -> Result<Vec<String>, ApiError> {
        let warnings = self.shape(object).map_err(|misfit| self.refuse(object, misfit))?;
        match unknown {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !warnings.is_empty() => Err(self.unreadable(&strict(&warnings))),
            FieldValidation::Warn | FieldValidation::Strict => Ok(warnings),
        }
    }

    /// As [`Kind::decode`], for what a patch made of an object: what is wrong is the patch's fault, 422.
    pub fn decode_patched(
        &self,
        object: &mut Value,
        unknown: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        let patched = object.clone();
        let warnings = match self.shape(object) {
            Ok(warnings) => warnings,
            Err(Misfit::Unreadable(why)) => return Err(ApiError::invalid_patch(&patched, &why)),
            Err(misfit) => return Err(self.refuse(object, misfit)),
        };
        match unknown {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !warnings.is_empty() => {
                Err(ApiError::invalid_patch(&patched, &strict(&warnings)))
            }
            FieldValidation::Warn | FieldValidation::Strict => Ok(warnings),
        }
    }

    fn shape(&self, object: &mut Value) -> Result<Vec<String>, Misfit> {
        self.check_type(object)?;
        whole_numbers(object);
        let mut unknown = syntax::shape(object).map_err(Misfit::Unreadable)?;
        builtin_rules::prepare(self, object).map_err(Misfit::Unreadable)?;
        builtin_rules::check_types(self, object).map_err(Misfit::Unreadable)?;
        unknown.extend(self.schema.prune(object));
        self.schema.default(object);
        Ok(unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect())
    }

    fn refuse(&self, object: &Value, misfit: Misfit) -> ApiError {
        match misfit {
            Misfit::Unreadable(why) => self.unreadable(&why),
            Misfit::Version(found) => ApiError::bad_request(format!(
                "the API version in the data ({found}) does not match the expected API version ({})",
                self.api_version()
            )),
            Misfit::Kind(found) if self.custom => {
                let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                let cause = Cause::invalid("kind", &json!(found), format!("must be {}", self.kind));
                ApiError::invalid_of(&self.group, &found, name, vec![cause])
            }
            Misfit::Kind(found) => ApiError::bad_request(format!(
                "{found} in version \"{}\" cannot be handled as a {}: it is another kind",
                self.version, self.kind
            )),
        }
    }

    fn unreadable(&self, why: &str) -> ApiError {
        ApiError::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {why}",
            self.kind, self.version, self.kind
        ))
    }

    /// Whether the object says that it is of this kind. Built-in ones need not say.
    fn check_type(&self, object: &mut Value) -> Result<(), Misfit> {
        let Some(fields) = object.as_object_mut() else {
            return Err(Misfit::Unreadable(
                "couldn't get version/kind; json parse error: the body is not an object".to_owned(),
            ));
        };
        if !self.custom {
            fields.entry("apiVersion").or_insert_with(|| json!(self.api_version()));
            fields.entry("kind").or_insert_with(|| json!(self.kind));
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            return Err(Misfit::Unreadable("Object 'Kind' is missing in the body".to_owned()));
        }
        if api_version != self.api_version() {
            return Err(Misfit::Version(api_version));
        }
        if kind == self.kind { Ok(()) } else { Err(Misfit::Kind(kind)) }
    }

    /// The second half, for the object as it would be stored: metadata, schema, rules; 422 with all causes. `old`
    /// is what is stored now.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let mut causes = match old {
            None => syntax::metadata(self, new),
            Some(old) => syntax::metadata_update(self, new, old),
        };
        causes = self.schema.validate_after(causes, new, old);
        causes.extend(builtin_rules::validate(self, new, old));
        if causes.is_empty() {
            return Ok(());
        }
        let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Err(ApiError::invalid(self, name, causes))
    }
}

/// Why a body is no object of a kind.
enum Misfit {
    /// It cannot be read as one.
    Unreadable(String),
    /// It says another version.
    Version(String),
    /// It says another kind.
    Kind(String),
}

fn strict(warnings: &[String]) -> String {
    format!("strict decoding error: {}", warnings.join(", "))
}

fn column(column: &CustomResourceColumnDefinition) -> Result<Column, SchemaError> {
    let path = Path::parse(&column.json_path).ok_or_else(|| SchemaError::Unsupported {
        path: format!("additionalPrinterColumns[{}]", column.name),
        what: format!("the path `{}` is not one that is evaluated here", column.json_path),
    })?;
    let described =
        || format!("Custom resource definition column (in JSONPath format): {}", column.json_path);
    Ok(Column {
        name: column.name.clone(),
        type_: column.type_.clone(),
        format: column.format.clone().unwrap_or_default(),
        description: column.description.clone().filter(|text| !text.is_empty()).unwrap_or_else(described),
        priority: column.priority.unwrap_or(0),
        path,
    })
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
    /// From the query parameter; 422 for another word, as `options` tells whose (`CreateOptions`, `PatchOptions`).
    pub fn parse(text: Option<&str>, options: &str) -> Result<Self, ApiError> {
        match text {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let words = ["", "Ignore", "Strict", "Warn"].map(Value::from);
                let cause = Cause::not_supported("fieldValidation", &json!(other), &words);
                Err(ApiError::invalid_options(options, vec![cause]))
            }
        }
    }
}

/// All kinds that are served.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<Arc<Kind>>);

impl Kinds {
    /// The kinds of these definitions, and the built-in ones: Namespace, Event (both faces), Lease, `ConfigMap`,
    /// Secret.
    pub fn new(definitions: &[CustomResourceDefinition]) -> Result<Self, SchemaError> {
        let custom = definitions.iter().map(Kind::from_definition);
        let kinds = custom.chain(builtin::kinds()).map(|kind| kind.map(Arc::new));
        Ok(Self(kinds.collect::<Result<_, _>>()?))
    }

    /// The kind at `/apis/{group}/{version}/…/{plural}`.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.0.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// The kind that an object says it is.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.0.iter().find(|each| each.kind == kind && each.api_version() == api_version)
    }

    /// All of them, whatever the door.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter()
    }

    /// All that can be seen through this door.
    pub fn seen_by(&self, face: Face) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter().filter(move |kind| kind.seen_by(face))
    }
}

/// Numbers without a fraction count as whole, however they are written: `60.0` is 60.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // The whole numbers that both forms hold exactly.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            let whole = number.as_f64().filter(|_| number.is_f64());
            if let Some(float) = whole.filter(|float| float.fract() == 0.0 && float.abs() <= EXACT) {
                #[allow(clippy::cast_possible_truncation)] // it was just looked at
                let exact = float as i64;
                *value = exact.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
#[path = "kind_tests.rs"]
pub(crate) mod tests;
