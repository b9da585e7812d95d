//! `TaggingPolicy`: compiled, or refused with the reason; what was last in force stays in force meanwhile.

mod apply;
mod decide;
mod dereference;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use tagwarden_api::policy::TaggingPolicy;
use tagwarden_core::policy::{Policy, PolicyError};

use crate::context::Frame;
use crate::controller::Reconciler;
use crate::failure::{Next, ObjectError};
use crate::key::Key;

/// Reconciles policies.
#[derive(Debug)]
pub struct PolicyReconciler {
    frame: Arc<Frame>,
}

impl PolicyReconciler {
    /// A reconciler that uses this frame.
    pub fn new(frame: Arc<Frame>) -> Self {
        Self { frame }
    }
}

impl Reconciler for PolicyReconciler {
    type Object = TaggingPolicy;
    type Error = ObjectError;

    const CONTROLLER: &'static str = "taggingpolicy";

    async fn reconcile(&self, policy: Arc<TaggingPolicy>) -> Result<Next, ObjectError> {
        let frame = &*self.frame;
        if policy.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let resolved = dereference::resolve(frame, &policy).await?;
        let users = dereference::users(frame, &policy);
        let now = frame.clock.now();
        let plan = decide::decide(&resolved, now);
        // Whether it could be kept for a restart or not, it is in force, and that is said.
        let kept = apply::apply(frame, &policy, &resolved, &plan).await;
        let status = status::status(&policy, &resolved, users, now);
        apply::publish(frame, &policy, &resolved, status).await?;
        kept?;
        Ok(plan.next)
    }

    fn forget(&self, key: &Key) {
        self.frame.in_force.forget(key);
        self.frame.metrics.forget("TaggingPolicy", key);
    }
}

/// The policies in force, compiled.
#[derive(Debug, Default)]
pub struct InForce {
    policies: RwLock<HashMap<Key, Resolved>>,
}

/// What became of one version of a policy object.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    uid: String,
    generation: i64,
    /// What is in force: this version, or the last one that made sense.
    policy: Option<Arc<Policy>>,
    /// What is wrong with this version; empty when it is the one in force.
    refused: Arc<[PolicyError]>,
    /// Whether it is known to be kept where a restart finds it.
    kept: bool,
}

impl InForce {
    fn get(&self, key: &Key) -> Option<Resolved> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: Key, resolved: Resolved) {
        self.policies.write().unwrap_or_else(PoisonError::into_inner).insert(key, resolved);
    }

    fn forget(&self, key: &Key) {
        self.policies.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Resolved {
    fn is_of(&self, policy: &TaggingPolicy) -> bool {
        self.generation == generation(policy) && policy.uid().as_deref() == Some(&self.uid)
    }
}

fn generation(policy: &TaggingPolicy) -> i64 {
    policy.metadata.generation.unwrap_or_default()
}

/// Why there is no policy to judge by.
#[derive(Debug, thiserror::Error)]
pub enum NotInForce {
    /// There is no such object.
    #[error("TaggingPolicy {0} does not exist: create it, or correct policyRef.name")]
    NotFound(Key),
    /// It makes no sense, and never did.
    #[error("TaggingPolicy {key} cannot be used: {message}")]
    Invalid {
        /// Which one.
        key: Key,
        /// What is wrong with it.
        message: String,
    },
    /// What was last in force could not be read.
    #[error(transparent)]
    Unread(#[from] ObjectError),
}

/// The policy of this name that audits judge by: its present version, or the last one that made sense.
pub async fn in_force(frame: &Frame, namespace: &str, name: &str) -> Result<Arc<Policy>, NotInForce> {
    let key = Key::new(namespace, name);
    let Some(object) = frame.policies.get(&key) else { return Err(NotInForce::NotFound(key)) };
    let resolved = dereference::resolve(frame, &object).await?;
    match resolved.policy {
        Some(policy) => Ok(policy),
        None => Err(NotInForce::Invalid { key, message: status::refusal(&resolved.refused) }),
    }
}
