//! The objects that people declare, as they look in a manifest file and in Kubernetes: `TaggingPolicy`,
//! `ClientAccount` and `ComplianceAudit`, the `ComplianceReport` that comes of it, how a text becomes them, and how
//! they become what `tagwarden_core` works with.
//!
//! Nothing here reads files or decides about tags: texts come in, typed objects or errors that name the file, the
//! document and the field go out.

pub mod access;
pub mod account;
pub mod audit;
pub mod condition;
mod document;
mod draft;
pub mod error;
pub mod manifests;
pub mod policy;
mod predecessor;
pub mod report;
mod schema;
pub mod secret;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod yaml;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;

/// The API group and version of every object here.
pub const API_VERSION: &str = "tagwarden.io/v1alpha1";

/// The annotation that asks for work now. Its value is any text; each new one is acted upon once, and repeated in
/// `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "tagwarden.io/requestedAt";

/// The definitions of all kinds, in alphabetical order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        watched(account::ClientAccount::crd()),
        watched(audit::ComplianceAudit::crd()),
        report::ComplianceReport::crd(),
        watched(policy::TaggingPolicy::crd()),
    ]
}

/// A kind whose status says from the start that nobody has looked yet. Tools that wait for an object take one
/// without a status for finished.
fn watched(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let fields = root.and_then(|root| root.properties.as_mut());
        if let Some(status) = fields.and_then(|fields| fields.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Whether a field has its default and is left out of a manifest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
