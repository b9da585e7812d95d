//! `Table`: the rows that kubectl prints, made by the server.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::kind::Kind;
use crate::status::ApiError;

/// Where a column's value is: the JSONPath of printer columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(());

/// What goes along with each row: the `includeObject` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// From the query parameter; 400 for another word.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let _ = text;
        unimplemented!()
    }
}

/// What the answer to a request should look like, from its `Accept` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The object or list itself.
    Object,
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata` or `as=PartialObjectMetadataList`.
    Metadata,
}

/// Reads an `Accept` header: the first form that is served here, in its order; 406 when there is none.
pub fn form(accept: Option<&str>) -> Result<Form, ApiError> {
    let _ = accept;
    unimplemented!()
}

/// A table of these objects. `list_meta` is the list's `metadata` (version, continue), or the object's version for a
/// single one. Watch events after the first leave the headings out.
pub fn table(
    kind: &Kind,
    objects: &[Value],
    list_meta: Value,
    include: Include,
    headings: bool,
    now: Timestamp,
) -> Value {
    let _ = (kind, objects, list_meta, include, headings, now);
    unimplemented!()
}

/// An object's `PartialObjectMetadata`.
pub fn partial(object: &Value) -> Value {
    let _ = object;
    unimplemented!()
}
