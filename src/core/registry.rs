//! The registry of resource types: the one place that knows what a type is called everywhere.
//!
//! The rows are data (`config/resource-types.yaml`, compiled in; a file of the operator may extend or override
//! them). Parsers, listings, IAM policies and documents are derived from here.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

/// A row of the registry that is in use. Only meaningful for the registry that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u16);

impl TypeId {
    /// A dense index, for tables with one entry a type.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How the universe of a type is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListedBy {
    /// A paginated call of the service itself: never-tagged resources are seen.
    Native,
    /// The tagging API: only resources that carry, or once carried, a tag are seen.
    TaggingApi,
    /// Nothing yet: the type is known, and cannot be scanned.
    Nothing,
}

/// Where the tags of a type come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TagsFrom {
    /// The listing itself.
    Listing,
    /// The tagging API, a hundred ARNs a call, joined on ARN.
    TaggingApi,
    /// Nowhere yet.
    Nothing,
}

/// One resource type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeRow {
    /// `service:type`, the name used in policies and results.
    pub name: Arc<str>,
    /// For people: compute, storage, database …
    pub category: String,
    /// Free types are scanned only when a rule or the request names them.
    #[serde(default)]
    pub free: bool,
    /// Global types are listed once for an account, under the region `global`.
    #[serde(default)]
    pub global: bool,
    /// The ARN with `{partition}`, `{region}`, `{account}` and one or more `{…}` for the id.
    pub arn: String,
    /// Other shapes of its ARN: read, never written.
    #[serde(default)]
    pub also_arns: Vec<String>,
    /// How its universe is obtained.
    pub listed_by: ListedBy,
    /// Where its tags come from.
    pub tags_from: TagsFrom,
    /// Its filter in the tagging API, where that knows it.
    #[serde(default)]
    pub tagging_filter: Option<String>,
    /// The service under which Cost Explorer bills it; absent where it costs nothing.
    #[serde(default)]
    pub cost_service: Option<String>,
    /// The IAM actions needed to list it and to read its tags.
    pub actions: Vec<String>,
    /// Its CloudFormation type.
    #[serde(default)]
    pub cloud_formation: Option<String>,
    /// Former names, accepted with a warning.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// All resource types, in a fixed order.
#[derive(Debug, Clone)]
pub struct Registry {
    rows: Vec<TypeRow>,
    by_name: HashMap<Arc<str>, TypeId>,
}

/// A registry file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Not YAML, or not of the expected shape.
    #[error("the resource type registry cannot be read: {0}")]
    Shape(String),
    /// The same name twice.
    #[error("types[{index}].name: `{name}` is there already")]
    Duplicate {
        /// Position in the file.
        index: usize,
        /// The name.
        name: Arc<str>,
    },
}

impl Registry {
    /// The registry that is compiled in.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let rows = parse(include_str!("../../config/resource-types.yaml")).unwrap_or_default();
            Arc::new(
                Registry::from_rows(rows).unwrap_or(Registry { rows: Vec::new(), by_name: HashMap::new() }),
            )
        });
        Arc::clone(&BUILTIN)
    }

    /// A registry of these rows.
    pub fn from_rows(rows: Vec<TypeRow>) -> Result<Self, RegistryError> {
        let mut by_name = HashMap::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let id = TypeId(u16::try_from(index).map_err(|_| RegistryError::Shape("too many types".into()))?);
            if by_name.insert(Arc::clone(&row.name), id).is_some() {
                return Err(RegistryError::Duplicate { index, name: Arc::clone(&row.name) });
            }
        }
        Ok(Self { rows, by_name })
    }

    /// The row of a type.
    pub fn row(&self, id: TypeId) -> &TypeRow {
        &self.rows[id.index()]
    }

    /// The type of this name. Former names are not names.
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// All types, in order.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (0..self.rows.len()).map(|index| TypeId(u16::try_from(index).unwrap_or(u16::MAX)))
    }
}

fn parse(text: &str) -> Result<Vec<TypeRow>, RegistryError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        types: Vec<TypeRow>,
    }
    let file: File = serde_saphyr::from_str(text).map_err(|error| RegistryError::Shape(error.to_string()))?;
    Ok(file.types)
}
