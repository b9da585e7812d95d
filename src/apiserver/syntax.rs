//! The rules of object metadata: names, labels, annotations, finalizers, owners.

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Cause;

/// All that is wrong with the metadata of an object about to be created. The name is already generated where
/// `generateName` asked for one.
pub fn metadata(kind: &Kind, object: &Value) -> Vec<Cause> {
    let _ = (kind, object);
    unimplemented!()
}

/// All that is wrong with the metadata of an update: the rules above, and what may not change (name, namespace, uid,
/// creation and deletion time).
pub fn metadata_update(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let _ = (kind, new, old);
    unimplemented!()
}

/// A name from `generateName` and a random tail of five characters, cut to fit.
pub fn generated_name(base: &str, tail: &str) -> String {
    let _ = (base, tail);
    unimplemented!()
}

/// Why a text is no DNS-1123 subdomain (as most names are), in the API server's words; `None` when it is one.
pub fn dns_subdomain(text: &str) -> Option<String> {
    let _ = text;
    unimplemented!()
}

/// Why a text is no DNS-1123 label (as namespaces are); `None` when it is one.
pub fn dns_label(text: &str) -> Option<String> {
    let _ = text;
    unimplemented!()
}
