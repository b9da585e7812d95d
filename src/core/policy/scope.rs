//! What a rule or an exemption is for: types, accounts, regions, and tags that must be there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::AccountId;
use crate::glob::Glob;
use crate::registry::TypeId;

use super::draft::LabelOperator;

/// The compiled form; everything that is given must hold.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) types: TypeSet,
    pub(crate) accounts: Option<Accounts>,
    /// Empty: every region.
    pub(crate) regions: Box<[Glob]>,
    /// All of these must be there.
    pub(crate) tags: Box<[TagSelector]>,
}

impl Scope {
    /// Whether resources of this account and region can be in it.
    pub(crate) fn covers_place(
        &self,
        account_id: &AccountId,
        labels: &BTreeMap<String, String>,
        region: &str,
    ) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contain(account_id, labels))
            && (self.regions.is_empty() || self.regions.iter().any(|glob| glob.matches(region)))
    }
}

/// A set of resource types.
#[derive(Debug, Clone)]
pub(crate) struct TypeSet {
    /// By index; `None`: every type.
    members: Option<Box<[bool]>>,
    /// By index: the types that are named exactly or by `service:…`, which is how free types are asked for.
    named: Box<[bool]>,
}

impl TypeSet {
    pub(crate) fn all() -> Self {
        Self { members: None, named: Box::default() }
    }

    pub(crate) fn of(members: Option<Box<[bool]>>, named: Box<[bool]>) -> Self {
        Self { members, named }
    }

    pub(crate) fn contains(&self, id: TypeId) -> bool {
        self.members.as_ref().is_none_or(|members| members.get(id.index()).is_some_and(|member| *member))
    }

    pub(crate) fn names(&self, id: TypeId) -> bool {
        self.named.get(id.index()).is_some_and(|named| *named)
    }
}

/// A choice of accounts; everything that is given must hold.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    /// Empty: any.
    pub(crate) ids: Box<[AccountId]>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) expressions: Box<[LabelExpression]>,
}

#[derive(Debug, Clone)]
pub(crate) struct LabelExpression {
    pub(crate) key: String,
    pub(crate) operator: LabelOperator,
    pub(crate) values: Box<[String]>,
}

impl Accounts {
    fn contain(&self, id: &AccountId, labels: &BTreeMap<String, String>) -> bool {
        (self.ids.is_empty() || self.ids.contains(id))
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|each| each.operator.holds(labels.get(&each.key), &each.values))
    }
}

/// A tag that must be there.
#[derive(Debug, Clone)]
pub(crate) struct TagSelector {
    pub(crate) key: Arc<str>,
    /// Empty: any value.
    pub(crate) values: Box<[Glob]>,
}

impl TagSelector {
    pub(crate) fn accepts(&self, value: &str) -> bool {
        self.values.is_empty() || self.values.iter().any(|glob| glob.matches(value))
    }
}
