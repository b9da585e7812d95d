//! Which rules hold at a place: worked out once for an account and region, not once for a resource.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::AccountId;
use crate::policy::{Policy, Scope};
use crate::registry::TypeId;

/// Different places that are remembered at most; most estates have a handful.
const MAX_PLACES: usize = 1024;

/// The part of a policy that is for one region of one account.
#[derive(Debug, Clone)]
pub struct Place(Arc<[Option<TypeScope>]>);

/// The part of a policy that is for one type there.
#[derive(Debug)]
pub(super) struct TypeScope {
    pub(super) reach: Reach,
    pub(super) rules: Box<[u16]>,
    pub(super) exemptions: Box<[u16]>,
}

/// Which resources of a type are in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All.
    Always,
    /// Those whose tags a required tag asks for.
    ByTags,
}

impl Place {
    /// Whether resources of this type can be in scope here.
    pub fn judges(&self, type_id: TypeId) -> bool {
        self.scope(type_id).is_some()
    }

    pub(super) fn scope(&self, type_id: TypeId) -> Option<&TypeScope> {
        self.0.get(type_id.index())?.as_ref()
    }
}

pub(super) fn place(
    policy: &Policy,
    now: Timestamp,
    known: &mut HashMap<Box<[bool]>, Place>,
    account_id: &AccountId,
    labels: &BTreeMap<String, String>,
    region: &str,
) -> Place {
    let here = |scope: &Scope| scope.covers_place(account_id, labels, region);
    let rules = policy.rules().iter().map(|rule| here(rule.scope()));
    let exemptions = policy
        .exemptions()
        .iter()
        .map(|exemption| exemption.in_force(now) && exemption.resources().is_none_or(here));
    // Places where the same rules hold are the same place.
    let holding: Box<[bool]> = rules.chain(exemptions).collect();
    if let Some(place) = known.get(&holding) {
        return place.clone();
    }
    let place = Place(policy.registry().ids().map(|id| type_scope(policy, &holding, id)).collect());
    if known.len() >= MAX_PLACES {
        known.clear();
    }
    known.insert(holding, place.clone());
    place
}

fn type_scope(policy: &Policy, holding: &[bool], id: TypeId) -> Option<TypeScope> {
    let (rules_here, exemptions_here) = holding.split_at(policy.rules().len());
    let here = || {
        (0_u16..)
            .zip(policy.rules())
            .zip(rules_here)
            .filter(|((_, rule), here)| **here && rule.applies_to(id))
    };
    let required = || here().filter(|((_, rule), _)| rule.required());
    let reach =
        if !policy.forbidden().is_empty() || required().any(|((_, rule), _)| rule.scope().tags.is_empty()) {
            Reach::Always
        } else if required().next().is_some() {
            Reach::ByTags
        } else {
            return None;
        };
    let exemptions =
        (0_u16..).zip(policy.exemptions()).zip(exemptions_here).filter(|((_, exemption), here)| {
            **here && exemption.resources().is_none_or(|scope| scope.types.contains(id))
        });
    Some(TypeScope {
        reach,
        rules: here().map(|((position, _), _)| position).collect(),
        exemptions: exemptions.map(|((position, _), _)| position).collect(),
    })
}
