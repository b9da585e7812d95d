//! What is to be done for a policy.

use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::policy::Exemption;

use super::Resolved;
use crate::failure::Next;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Keep this version where a restart finds it.
    pub(super) keep: bool,
    /// When to look again: an exemption that ends changes what is in force, without anybody editing anything.
    pub(super) next: Next,
}

/// What is to be done at this time.
pub(super) fn decide(resolved: &Resolved, now: Timestamp) -> Plan {
    let exemptions = resolved.policy.iter().flat_map(|policy| policy.exemptions());
    let ends = exemptions.filter_map(Exemption::expires_at).filter(|end| *end > now);
    let next = ends.min().map_or(Next::OnChange, |end| Next::After(until(now, end)));
    Plan { keep: resolved.refused.is_empty() && !resolved.kept, next }
}

/// Up to the end and a bit, so that it has ended then.
fn until(now: Timestamp, end: Timestamp) -> Duration {
    let wait = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    wait.saturating_add(Duration::from_millis(10))
}
