//! The objects that people declare, as they look in a manifest file and in Kubernetes: `TaggingPolicy` and
//! `ClientAccount`, how a text becomes them, and how they become what `tagwarden_core` works with.
//!
//! Nothing here reads files or decides about tags: texts come in, typed objects or errors that name the file, the
//! document and the field go out.

pub mod access;
pub mod account;
mod document;
mod draft;
pub mod error;
pub mod manifests;
pub mod policy;
mod predecessor;
mod schema;
pub mod secret;
#[cfg(test)]
mod tests;
pub mod yaml;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group and version of every object here.
pub const API_VERSION: &str = "tagwarden.io/v1alpha1";

/// The definitions of all kinds, in alphabetical order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![account::ClientAccount::crd(), policy::TaggingPolicy::crd()]
}

/// Whether a field has its default and is left out of a manifest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
