//! Does what was decided for a policy.

use tagwarden_api::condition::{VALID, reason};
use tagwarden_api::policy::{TaggingPolicy, TaggingPolicyStatus};

use super::Resolved;
use super::decide::Plan;
use super::dereference::{KEPT_KEY, kept_name};
use super::status::refusal;
use crate::conditions::find;
use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;

/// A `ConfigMap` takes one MiB; whatever is longer is not kept over a restart.
const KEPT_BYTES_MAX: usize = 900 * 1024;

/// Keeps the version in force where a restart finds it.
pub(super) async fn apply(
    frame: &Frame,
    policy: &TaggingPolicy,
    resolved: &Resolved,
    plan: &Plan,
) -> Result<(), ObjectError> {
    if !plan.keep {
        return Ok(());
    }
    let name = kept_name(policy);
    let spec = serde_json::to_string(&policy.spec)
        .map_err(|source| ObjectError::Json { what: format!("TaggingPolicy {}", Key::of(policy)), source })?;
    if spec.len() <= KEPT_BYTES_MAX {
        match frame.writer.config_map(policy, &name, [(KEPT_KEY.to_owned(), spec)].into()).await {
            Ok(_) => {}
            // The policy works all the same; only a restart with a worse one would find nothing to fall back to.
            Err(error @ ObjectError::NotOurs { .. }) => {
                frame.events.warning(policy, reason::DEPENDENCY_NOT_READY, "Keep", &error.to_string()).await;
            }
            Err(error) => return Err(error),
        }
    } else {
        tracing::warn!(bytes = spec.len(), "too large to be kept: a restart will not know this revision");
    }
    frame.in_force.put(Key::of(policy), Resolved { kept: true, ..resolved.clone() });
    Ok(())
}

/// Writes the status where it differs, shows it in metrics, and tells people what changed.
pub(super) async fn publish(
    frame: &Frame,
    policy: &TaggingPolicy,
    resolved: &Resolved,
    status: TaggingPolicyStatus,
) -> Result<(), ObjectError> {
    let before = policy.status.as_ref();
    frame.metrics.conditions("TaggingPolicy", &Key::of(policy), &status.conditions);
    if !frame.writer.status(&frame.policies, policy, before, &status).await? {
        return Ok(());
    }
    let was_refused = before
        .and_then(|before| find(&before.conditions, VALID))
        .is_some_and(|valid| valid.status == "False" && valid.message == refusal(&resolved.refused));
    if let Some(first) = resolved.refused.first() {
        if !was_refused {
            frame.events.warning(policy, first.reason.as_str(), "Compile", &refusal(&resolved.refused)).await;
        }
    } else if before.and_then(|before| before.revision.as_ref()) != status.revision.as_ref() {
        let revision = status.revision.as_deref().unwrap_or_default();
        frame.events.normal(policy, reason::VALID, "Compile", &format!("{revision} is in force")).await;
    }
    Ok(())
}
