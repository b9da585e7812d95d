//! Who asks, for which tenant, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::error::AskError;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Ask and check. Everything that changes nothing but our own record.
    TagRead,
    /// Change tags in the cloud.
    TagWrite,
    /// Create and change audits, policies and accounts.
    AuditWrite,
    /// Approve what somebody else wants to change.
    TagApprove,
    /// Everything but approving.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::TagRead, Self::TagWrite, Self::AuditWrite, Self::TagApprove, Self::Admin];

    /// The word used in keys, tokens and challenges.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TagRead => "tag:read",
            Self::TagWrite => "tag:write",
            Self::AuditWrite => "audit:write",
            Self::TagApprove => "tag:approve",
            Self::Admin => "admin",
        }
    }

    /// Whether whoever has this may do what the other one allows. Approval is never implied: it is what keeps one person
    /// from doing everything.
    pub fn implies(self, other: Self) -> bool {
        match self {
            Self::Admin => other != Self::TagApprove,
            Self::TagWrite | Self::AuditWrite | Self::TagApprove => other == self || other == Self::TagRead,
            Self::TagRead => other == self,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| UnknownScope(text.chars().take(64).collect()))
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: the scopes are tag:read, tag:write, audit:write, tag:approve and admin")]
pub struct UnknownScope(pub String);

/// Somebody who asks. Made by whoever let them in; nothing in it comes from a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The namespace whose objects and results they see, and no other.
    pub tenant: Arc<str>,
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// Who they are in records of what was done: the id of a key, a subject, `stdio`. No secret.
    pub id: Arc<str>,
}

impl Principal {
    /// Somebody of this tenant.
    pub fn new(tenant: &str, id: &str, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { tenant: tenant.into(), scopes: scopes.into_iter().collect(), id: id.into() }
    }

    /// Whether they may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.implies(scope))
    }

    /// A refusal that names the scope, unless they may do this.
    pub fn must(&self, scope: Scope) -> Result<(), AskError> {
        if self.may(scope) { Ok(()) } else { Err(AskError::forbidden(scope)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approval_has_to_be_given_by_itself() {
        let admin = Principal::new("acme", "a", [Scope::Admin]);
        for scope in Scope::ALL {
            assert_eq!(admin.may(scope), scope != Scope::TagApprove, "{scope}");
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert!(scope.implies(scope));
        }
        let reader = Principal::new("acme", "r", [Scope::TagRead]);
        assert!(reader.must(Scope::TagRead).is_ok());
        let refused = reader.must(Scope::AuditWrite).unwrap_err();
        assert!(refused.message.contains("audit:write"), "{refused}");
        assert!(Principal::new("acme", "w", [Scope::AuditWrite]).may(Scope::TagRead));
        assert!("tag:all".parse::<Scope>().unwrap_err().to_string().contains("tag:read"));
    }
}
