//! The registry of resource types: the one place that knows what a type is called everywhere.
//!
//! The rows are data (`config/resource-types.yaml`, compiled in; a file of the operator may extend or override
//! them). Parsers, listings, IAM policies and documents are derived from here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::arn::Arn;

mod names;
mod row;
mod table;
mod template;
#[cfg(test)]
mod tests;

pub use names::{Meant, UnknownType};
pub use row::{FieldProblem, ListedBy, TagsFrom, TypeRow};
pub use table::markdown;
pub use template::{PartError, TemplateError};

use template::ArnTemplate;

/// The largest registry file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The most types of a registry.
pub const MAX_TYPES: usize = 1000;

/// A row of the registry that is in use. Only meaningful for the registry that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u16);

impl TypeId {
    /// A dense index, for tables with one entry a type.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// All resource types, in a fixed order.
#[derive(Debug, Clone)]
pub struct Registry {
    rows: Vec<TypeRow>,
    by_name: HashMap<Arc<str>, TypeId>,
    by_alias: HashMap<String, TypeId>,
    /// How each type's ARNs are written.
    written: Vec<ArnTemplate>,
    /// How ARNs are read: by service, the most specific shape first.
    read: HashMap<Box<str>, Vec<(ArnTemplate, TypeId)>>,
}

/// A registry file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Not YAML, or not of the expected shape.
    #[error("the resource type registry cannot be read: {0}")]
    Shape(String),
    /// Larger than any registry needs to be.
    #[error("the resource type registry has {bytes} bytes, and at most {MAX_FILE_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More types than a registry holds.
    #[error("the resource type registry has {count} types, and at most {MAX_TYPES} are possible")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The same name twice.
    #[error("types[{index}].name: `{name}` is there already; keep one of the two rows")]
    Duplicate {
        /// Position in the file.
        index: usize,
        /// The name.
        name: Arc<str>,
    },
    /// A field that makes no sense.
    #[error("types[{index}].{field}: `{value}` {problem}")]
    Field {
        /// Position in the file.
        index: usize,
        /// The field, such as `alsoArns[0]`.
        field: String,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
}

/// A row, its templates, and its position in the file that is being read; `None` for rows that were there before.
struct Placed {
    row: TypeRow,
    templates: Vec<ArnTemplate>,
    index: Option<usize>,
}

impl Registry {
    /// The registry that is compiled in.
    pub fn builtin() -> Arc<Self> {
        // Reading the text cannot fail in a build whose tests passed: they read this same text, and the first
        // caller of any debug build says what is wrong with it.
        static BUILTIN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let registry = Registry::parse(BUILTIN_TEXT);
            debug_assert!(registry.is_ok(), "config/resource-types.yaml: {:?}", registry.err());
            Arc::new(registry.unwrap_or_else(|_| Registry::empty()))
        });
        Arc::clone(&BUILTIN)
    }

    /// A registry of these rows. Errors count rows from 0, as positions in `types`.
    pub fn from_rows(rows: Vec<TypeRow>) -> Result<Self, RegistryError> {
        Self::assemble(placed(rows)?)
    }

    /// A registry of the rows in this text, which has the form of `config/resource-types.yaml`.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        Self::from_rows(rows(text)?)
    }

    /// This registry with the rows of an operator's file: those with a name that is here replace the row and
    /// keep its place, the others are added at the end.
    ///
    /// A native listing is code, so a row can be native only where it is in this registry.
    pub fn with_overrides(&self, text: &str) -> Result<Self, RegistryError> {
        let mut all: Vec<Placed> = placed(self.rows.clone())?;
        for entry in &mut all {
            entry.index = None;
        }
        let mut seen = HashSet::new();
        for entry in placed(rows(text)?)? {
            let index = entry.index.unwrap_or_default();
            if !seen.insert(Arc::clone(&entry.row.name)) {
                return Err(RegistryError::Duplicate { index, name: entry.row.name });
            }
            self.check_native(&entry.row).map_err(|complaint| at(index, complaint))?;
            match self.id(&entry.row.name).and_then(|id| all.get_mut(id.index())) {
                Some(place) => *place = entry,
                None => all.push(entry),
            }
        }
        Self::assemble(all)
    }

    /// The row of a type.
    pub fn row(&self, id: TypeId) -> &TypeRow {
        &self.rows[id.index()]
    }

    /// The type of this name. Former names are not names; see [`Registry::resolve`].
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// All types, in order.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (0..self.rows.len()).map(|index| TypeId(u16::try_from(index).unwrap_or(u16::MAX)))
    }

    /// The types that are scanned when none is named: those that cost something, in order.
    pub fn cost_generating(&self) -> impl Iterator<Item = TypeId> + '_ {
        self.ids().filter(|id| !self.row(*id).free)
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The type that an ARN names, and what people call the resource. `None` when no type has such ARNs.
    pub fn identify<'a>(&self, arn: &Arn<'a>) -> Option<(TypeId, &'a str)> {
        let shapes = self.read.get(arn.service)?;
        shapes.iter().find_map(|(template, id)| Some((*id, template.read(arn)?)))
    }

    /// The type that an ARN names.
    pub fn type_of(&self, arn: &Arn<'_>) -> Option<TypeId> {
        self.identify(arn).map(|(id, _)| id)
    }

    /// What people call the resource: the instance id, the bucket name, `family:revision`.
    pub fn resource_id<'a>(&self, arn: &Arn<'a>) -> Option<&'a str> {
        self.identify(arn).map(|(_, resource_id)| resource_id)
    }

    /// Writes the ARN of a resource. `parts` are the values of the placeholders after the account, such as
    /// `[("id", "i-0abc")]`; region and account are left out where the type's ARNs have none.
    pub fn arn(
        &self,
        id: TypeId,
        partition: &str,
        region: &str,
        account: &str,
        parts: &[(&str, &str)],
    ) -> Result<String, PartError> {
        self.written[id.index()].write(&self.row(id).name, (partition, region, account), parts)
    }

    fn check_native(&self, row: &TypeRow) -> Result<(), row::Complaint> {
        if row.listed_by != ListedBy::Native {
            return Ok(());
        }
        match self.id(&row.name).map(|id| self.row(id)) {
            Some(known) if known.listed_by == ListedBy::Native => {
                if known.tags_from == row.tags_from {
                    return Ok(());
                }
                let problem = FieldProblem::NativeTags(known.tags_from.as_str());
                row::complain("tagsFrom", row.tags_from.as_str(), problem)
            }
            _ => row::complain("listedBy", "native", FieldProblem::NotNative(Arc::clone(&row.name))),
        }
    }

    fn empty() -> Self {
        Self {
            rows: Vec::new(),
            by_name: HashMap::new(),
            by_alias: HashMap::new(),
            written: Vec::new(),
            read: HashMap::new(),
        }
    }

    /// Puts sound rows together, which may still contradict each other.
    fn assemble(all: Vec<Placed>) -> Result<Self, RegistryError> {
        if all.len() > MAX_TYPES {
            return Err(RegistryError::TooMany { count: all.len() });
        }
        let mut registry = Self::empty();
        for (position, entry) in all.iter().enumerate() {
            let id =
                TypeId(u16::try_from(position).map_err(|_| RegistryError::TooMany { count: all.len() })?);
            if registry.by_name.insert(Arc::clone(&entry.row.name), id).is_some() {
                let name = Arc::clone(&entry.row.name);
                return Err(RegistryError::Duplicate { index: entry.index.unwrap_or(position), name });
            }
        }
        registry.index_aliases(&all)?;
        registry.index_shapes(&all)?;
        for entry in all {
            registry.rows.push(entry.row);
            registry.written.extend(entry.templates.into_iter().next());
        }
        Ok(registry)
    }

    fn index_aliases(&mut self, all: &[Placed]) -> Result<(), RegistryError> {
        for (entry, id) in all.iter().zip(0..) {
            for (nth, alias) in entry.row.aliases.iter().enumerate() {
                let taken = self.by_name.get(&**alias).copied();
                if let Some(other) = taken.or(self.by_alias.insert(alias.clone(), TypeId(id))) {
                    let (mine, theirs) = (entry, &all[other.index()]);
                    let field = format!("aliases[{nth}]");
                    return Err(conflict(mine, theirs, &field, alias, FieldProblem::AliasTaken));
                }
            }
        }
        Ok(())
    }

    fn index_shapes(&mut self, all: &[Placed]) -> Result<(), RegistryError> {
        let mut shapes: HashMap<String, usize> = HashMap::new();
        for (position, (entry, id)) in all.iter().zip(0..).enumerate() {
            for (nth, template) in entry.templates.iter().enumerate() {
                if let Some(other) = shapes.insert(template.shape(), position) {
                    let (field, text) = match nth.checked_sub(1) {
                        None => ("arn".to_owned(), &entry.row.arn),
                        Some(nth) => (format!("alsoArns[{nth}]"), &entry.row.also_arns[nth]),
                    };
                    return Err(conflict(entry, &all[other], &field, text, FieldProblem::SameArn));
                }
                let of_service = self.read.entry(template.service().into()).or_default();
                of_service.push((template.clone(), TypeId(id)));
            }
        }
        for of_service in self.read.values_mut() {
            of_service.sort_by_key(|(template, _)| std::cmp::Reverse(template.specificity()));
        }
        Ok(())
    }
}

const BUILTIN_TEXT: &str = include_str!("../../config/resource-types.yaml");

fn rows(text: &str) -> Result<Vec<TypeRow>, RegistryError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        types: Vec<TypeRow>,
    }
    if text.len() > MAX_FILE_BYTES {
        return Err(RegistryError::TooLarge { bytes: text.len() });
    }
    let one_line = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, one_line)
        .map_err(|error| RegistryError::Shape(error.to_string()))?;
    Ok(file.types)
}

fn placed(rows: Vec<TypeRow>) -> Result<Vec<Placed>, RegistryError> {
    let place = |(index, row): (usize, TypeRow)| {
        let templates = row.check().map_err(|complaint| at(index, complaint))?;
        Ok(Placed { row, templates, index: Some(index) })
    };
    rows.into_iter().enumerate().map(place).collect()
}

fn at(index: usize, (field, value, problem): row::Complaint) -> RegistryError {
    RegistryError::Field { index, field, value, problem }
}

/// Two rows that contradict each other. The one that is being read now is to be changed; a row that was there
/// before only lends its name.
fn conflict(
    mine: &Placed,
    theirs: &Placed,
    field: &str,
    value: &str,
    problem: fn(Arc<str>) -> FieldProblem,
) -> RegistryError {
    let (index, field, other) = match (mine.index, theirs.index) {
        (None, Some(index)) => (index, "name", &mine.row.name),
        (index, _) => (index.unwrap_or_default(), field, &theirs.row.name),
    };
    RegistryError::Field {
        index,
        field: field.to_owned(),
        value: value.to_owned(),
        problem: problem(Arc::clone(other)),
    }
}
