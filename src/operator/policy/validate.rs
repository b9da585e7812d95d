//! Whether a policy makes sense.

use std::sync::Arc;

use tagwarden_api::policy::TaggingPolicy;
use tagwarden_core::policy::{Policy, PolicyError, compile};
use tagwarden_core::registry::Registry;

/// The policy that the object means, or everything that is wrong with it.
pub(super) fn validate(
    policy: &TaggingPolicy,
    registry: &Arc<Registry>,
) -> Result<Arc<Policy>, Arc<[PolicyError]>> {
    match compile(&policy.to_draft(), registry) {
        Ok(compiled) => Ok(Arc::new(compiled.policy)),
        Err(errors) => Err(errors.into()),
    }
}
