//! What can be wrong with a manifest, and where: every message names the file, the document and the field.

use std::fmt;
use std::sync::Arc;

/// Something wrong with one manifest file or with one object in it.
///
/// Shown as `policy.yaml: document 2 (TaggingPolicy corp): spec.requiredTags[1].vaules: unknown field, …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// The file, as its reader named it.
    pub file: Arc<str>,
    /// Which document of the file, counted from 1 without empty ones; `None` for the file as a whole.
    pub document: Option<usize>,
    /// Kind and name of the object, as far as they could be told.
    pub object: Option<String>,
    /// The field, as in `spec.requiredTags[1].key`; empty for the object as a whole.
    pub path: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.file)?;
        match (self.document, &self.object) {
            (Some(document), Some(object)) => write!(formatter, "document {document} ({object}): ")?,
            (Some(document), None) => write!(formatter, "document {document}: ")?,
            (None, Some(object)) => write!(formatter, "{object}: ")?,
            (None, None) => {}
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        self.fault.fmt(formatter)
    }
}

/// What is wrong. Texts of Secrets never get in here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More bytes than are read at all.
    #[error("larger than {limit} bytes, which is the most a manifest file may have")]
    TooLarge {
        /// The most that is allowed.
        limit: usize,
    },
    /// Bytes that are no text.
    #[error("not UTF-8 text (byte {offset})")]
    NotText {
        /// The first byte that does not fit, counted from 0.
        offset: usize,
    },
    /// Neither YAML nor JSON, a key given twice, or more nesting and aliases than are followed.
    #[error("{message}{}", place(*line, *column))]
    Syntax {
        /// What the parser stumbled over.
        message: String,
        /// Counted from 1; 0 when not known.
        line: u64,
        /// Counted from 1.
        column: u64,
    },
    /// No document, or only empty ones.
    #[error("holds no object: expected a document with apiVersion, kind, metadata and spec")]
    Empty,
    /// More documents than are read from one file.
    #[error("more than {limit} documents, which is the most a file may have")]
    TooManyDocuments {
        /// The most that is allowed.
        limit: usize,
    },
    /// An object of a kind that is not known here.
    #[error("`{kind}` of `{api_version}` is not known here; expected {}", crate::manifests::KINDS)]
    UnknownKind {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
    },
    /// A field that does not exist.
    #[error("unknown field, {}expected {}", nearest.as_ref().map_or(String::new(), |name| format!("did you mean `{name}`? ")), one_of(expected))]
    UnknownField {
        /// The field that was probably meant.
        nearest: Option<String>,
        /// The fields that exist.
        expected: Vec<String>,
    },
    /// A field that must be there.
    #[error("is missing{}", parenthesis(about))]
    Missing {
        /// What the field is for, if known.
        about: String,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}{}", if *quote { "; put it in quotes, because YAML does not read it as text otherwise" } else { "" })]
    WrongType {
        /// The type expected.
        expected: &'static str,
        /// What was found instead.
        found: String,
        /// Whether quotes would help.
        quote: bool,
    },
    /// A word that is not one of those known.
    #[error("`{value}` is not known here, expected {}", one_of(expected))]
    UnknownWord {
        /// As written.
        value: String,
        /// The words that are known.
        expected: Vec<String>,
    },
    /// The same key or name twice.
    #[error("`{name}` is there already, in {first}")]
    Duplicate {
        /// What occurs twice.
        name: String,
        /// Where it was first.
        first: String,
    },
    /// Anything else that makes no sense, with the remedy.
    #[error("{0}")]
    Invalid(String),
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

fn parenthesis(about: &str) -> String {
    if about.is_empty() { String::new() } else { format!(" ({about})") }
}

/// `` `a` ``, or ``one of `a`, `b` ``.
pub(crate) fn one_of(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}
