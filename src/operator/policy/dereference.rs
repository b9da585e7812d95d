//! What a policy stands on: what was in force before, and who uses it.

use std::sync::Arc;

use kube::ResourceExt;
use tagwarden_api::policy::{TaggingPolicy, TaggingPolicySpec};
use tagwarden_core::policy::Policy;

use super::validate::validate;
use super::{Resolved, generation};
use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;

/// The entry of the `ConfigMap` that keeps the last version that made sense.
pub(super) const KEPT_KEY: &str = "spec.json";

/// The name of that `ConfigMap`.
pub(super) fn kept_name(policy: &TaggingPolicy) -> String {
    format!("{}-last-good", policy.name_any())
}

/// What of a policy is in force. Each version is compiled once.
pub(super) async fn resolve(frame: &Frame, policy: &TaggingPolicy) -> Result<Resolved, ObjectError> {
    let key = Key::of(policy);
    let before = frame.in_force.get(&key).filter(|before| policy.uid().as_deref() == Some(&before.uid));
    if let Some(known) = before.as_ref().filter(|before| before.is_of(policy)) {
        return Ok(known.clone());
    }
    let resolved = match validate(policy, &frame.registry) {
        Ok(compiled) => resolved(policy, Some(compiled), Arc::default()),
        Err(refused) => {
            let kept = match before.and_then(|before| before.policy) {
                Some(before) => Some(before),
                None => kept(frame, policy).await?,
            };
            resolved(policy, kept, refused)
        }
    };
    frame.in_force.put(key, resolved.clone());
    Ok(resolved)
}

fn resolved(
    policy: &TaggingPolicy,
    in_force: Option<Arc<Policy>>,
    refused: Arc<[tagwarden_core::policy::PolicyError]>,
) -> Resolved {
    Resolved {
        uid: policy.uid().unwrap_or_default(),
        generation: generation(policy),
        policy: in_force,
        refused,
        kept: false,
    }
}

/// The last version that made sense, as an earlier process kept it.
async fn kept(frame: &Frame, policy: &TaggingPolicy) -> Result<Option<Arc<Policy>>, ObjectError> {
    let data = frame.writer.read_config_map(policy, &kept_name(policy)).await?;
    let spec = data.and_then(|mut data| data.remove(KEPT_KEY));
    let Some(spec) = spec.and_then(|text| serde_json::from_str::<TaggingPolicySpec>(&text).ok()) else {
        return Ok(None);
    };
    Ok(validate(&TaggingPolicy::new(&policy.name_any(), spec), &frame.registry).ok())
}

/// How many audits use the policy.
pub(super) fn users(frame: &Frame, policy: &TaggingPolicy) -> usize {
    let audits = frame.audits.in_namespace(&policy.namespace().unwrap_or_default());
    audits.iter().filter(|audit| audit.spec.policy_ref.name == policy.name_any()).count()
}
