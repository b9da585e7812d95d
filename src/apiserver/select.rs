//! Label and field selectors, as query parameters carry them.

use serde_json::Value;

use crate::kind::Kind;
use crate::status::ApiError;

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(());

impl LabelSelector {
    /// `a=b,c!=d,e in (f,g),h notin (i),j,!k`; 400 for anything else. The empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let _ = text;
        unimplemented!()
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        unimplemented!()
    }

    /// Whether the object has such labels.
    pub fn matches(&self, object: &Value) -> bool {
        let _ = object;
        unimplemented!()
    }
}

/// Which fields an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(());

impl FieldSelector {
    /// `metadata.name=x,spec.accountId!=y` over the fields that the kind lets select; 400 for others.
    pub fn parse(text: &str, kind: &Kind) -> Result<Self, ApiError> {
        let _ = (text, kind);
        unimplemented!()
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        unimplemented!()
    }

    /// The one name that can match, for a look-up instead of a scan.
    pub fn name(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The one namespace that can match.
    pub fn namespace(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Whether the object has such fields.
    pub fn matches(&self, object: &Value) -> bool {
        let _ = object;
        unimplemented!()
    }
}
