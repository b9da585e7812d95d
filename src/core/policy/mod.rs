//! Tagging policies: from what people write to what a judge can apply.
//!
//! A [`PolicyDraft`] is what somebody wrote; [`compile`] checks all of it at once and makes a [`Policy`], which
//! is complete, consistent and cheap to apply. There is no other way to get one.

mod compile;
mod draft;
mod error;
mod naming;
mod pattern;
pub mod predecessor;
mod revision;
mod scope;
#[cfg(test)]
pub(crate) mod tests;
mod values;

use std::sync::Arc;

use jiff::Timestamp;

use crate::finding::Severity;
use crate::glob::Glob;
use crate::registry::{Registry, TypeId};
use crate::text::quoted;

pub use compile::{Compiled, compile};
pub use draft::{
    AccountsDraft, AppliesToDraft, ExemptionDraft, ForbiddenTagDraft, KeyCase, LabelExpressionDraft,
    LabelOperator, NameCase, NamingDraft, PolicyDraft, ResourcesDraft, TagRuleDraft, TagSelectorDraft,
    ValueCase, ValuesDraft, fallback,
};
pub use error::{PolicyError, PolicyWarning, Reason};

pub(crate) use compile::is_reserved;
pub(crate) use naming::Naming;
pub(crate) use scope::{Scope, TagSelector};
pub(crate) use values::{Outcome, ValueRule};

/// The largest document that is read as a policy, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A policy that can be applied.
#[derive(Debug)]
pub struct Policy {
    name: Arc<str>,
    revision: Arc<str>,
    registry: Arc<Registry>,
    /// Required tags first, each group as written.
    rules: Box<[TagRule]>,
    /// The most severe first.
    forbidden: Box<[ForbiddenTag]>,
    naming: Option<Naming>,
    exemptions: Box<[Exemption]>,
}

/// A required or optional tag.
#[derive(Debug)]
pub struct TagRule {
    key: Arc<str>,
    severity: Severity,
    required: bool,
    key_case: KeyCase,
    values: ValueRule,
    scope: Scope,
}

/// A key that must not be used.
#[derive(Debug)]
pub(crate) struct ForbiddenTag {
    pub(crate) key: Glob,
    pub(crate) severity: Severity,
}

/// Findings that are listed, but not counted.
#[derive(Debug)]
pub struct Exemption {
    name: Arc<str>,
    path: String,
    expires_at: Option<Timestamp>,
    arns: Box<[Glob]>,
    resources: Option<Scope>,
    /// Empty: all keys.
    tag_keys: Box<[Glob]>,
}

/// The types somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// Everything that costs money, and the free types that a rule names.
    All,
    /// These, free or not.
    Types(Vec<TypeId>),
}

impl Policy {
    /// How results refer to it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// `sha256:…` over everything that a verdict depends on; prose, names and order do not change it.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// The registry whose types its rules speak of.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The required tags, then the optional ones, each as written.
    pub fn rules(&self) -> &[TagRule] {
        &self.rules
    }

    /// The required tags, as written.
    pub fn required(&self) -> impl Iterator<Item = &TagRule> {
        self.rules.iter().filter(|rule| rule.required)
    }

    /// The optional tags, as written.
    pub fn optional(&self) -> impl Iterator<Item = &TagRule> {
        self.rules.iter().filter(|rule| !rule.required)
    }

    /// How many patterns of keys are forbidden.
    pub fn forbidden_count(&self) -> usize {
        self.forbidden.len()
    }

    /// The exemptions, as written.
    pub fn exemptions(&self) -> &[Exemption] {
        &self.exemptions
    }

    /// The exemptions that no longer hold, each with what to tell its author.
    pub fn expired_exemptions(&self, now: Timestamp) -> impl Iterator<Item = PolicyWarning> {
        self.exemptions.iter().filter(move |exemption| !exemption.in_force(now)).map(|exemption| {
            PolicyWarning {
                path: format!("{}.expiresAt", exemption.path),
                message: format!(
                    "{} expired at {} and no longer holds; remove it or set a new end",
                    quoted(&exemption.name),
                    exemption.expires_at.map(|end| end.to_string()).unwrap_or_default()
                ),
            }
        })
    }

    /// The types to scan, in registry order: those asked for that a required or forbidden tag applies to. Accounts,
    /// regions and tags are not looked at, as they are not known yet.
    ///
    /// A free type is part of [`Requested::All`] only when a rule names it, exactly or by `service:*`; neither a bare
    /// `*` nor a rule for everything names it.
    pub fn types_in_scope(&self, requested: &Requested) -> Vec<TypeId> {
        let applicable = |id: TypeId| {
            !self.forbidden.is_empty() || self.required().any(|rule| rule.scope.types.contains(id))
        };
        let named = |id: TypeId| self.rules.iter().any(|rule| rule.scope.types.names(id));
        self.registry
            .ids()
            .filter(|&id| match requested {
                Requested::All => applicable(id) && (!self.registry.row(id).free || named(id)),
                Requested::Types(types) => applicable(id) && types.contains(&id),
            })
            .collect()
    }

    pub(crate) fn forbidden(&self) -> &[ForbiddenTag] {
        &self.forbidden
    }

    pub(crate) fn naming(&self) -> Option<&Naming> {
        self.naming.as_ref()
    }
}

impl TagRule {
    /// The key as it should be written.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// How much a finding of this rule matters.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Whether the tag must be there; if not, its findings are advice.
    pub fn required(&self) -> bool {
        self.required
    }

    /// Whether another spelling of the key is a violation.
    pub fn key_case(&self) -> KeyCase {
        self.key_case
    }

    /// The values that are accepted, as written; `None`: any.
    pub fn allowed_values(&self) -> Option<&Arc<[Arc<str>]>> {
        self.values.allowed()
    }

    /// Whether it is for resources of this type, given the right account, region and tags.
    pub fn applies_to(&self, id: TypeId) -> bool {
        self.scope.types.contains(id)
    }

    pub(crate) fn values(&self) -> &ValueRule {
        &self.values
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl Exemption {
    /// How findings refer to it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// From then on it no longer holds.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether it holds at this time.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    pub(crate) fn covers_key(&self, key: &str) -> bool {
        self.tag_keys.is_empty() || self.tag_keys.iter().any(|glob| glob.matches(key))
    }

    pub(crate) fn covers_arn(&self, arn: &str) -> bool {
        self.arns.is_empty() || self.arns.iter().any(|glob| glob.matches(arn))
    }

    /// The choice by what resources are; `None` when it goes by ARN.
    pub(crate) fn resources(&self) -> Option<&Scope> {
        self.resources.as_ref()
    }
}
