//! Which listings a set of types needs: choosing is separate from doing.

use crate::registry::{ListedBy, Registry, TypeId};

/// One stream of pages to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// The type's own listing call.
    Native(TypeId),
    /// One pass of the tagging API over all of these types.
    Tagged(Vec<TypeId>),
    /// Known, but nothing can list it yet.
    Impossible(TypeId),
}

impl Listing {
    /// The types whose coverage this listing decides.
    pub fn types(&self) -> &[TypeId] {
        match self {
            Self::Native(id) | Self::Impossible(id) => std::slice::from_ref(id),
            Self::Tagged(ids) => ids,
        }
    }
}

/// The listings of an account: those of each region, and those made once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListingPlan {
    /// To be made in every region.
    pub regional: Vec<Listing>,
    /// To be made once, under the region `global`.
    pub global: Vec<Listing>,
}

/// The listings for these types, in registry order. At most one pass of the tagging API a region.
pub fn plan(registry: &Registry, types: &[TypeId]) -> ListingPlan {
    let mut sorted = types.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let (global, regional): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|id| registry.row(*id).global);
    ListingPlan { regional: listings(registry, &regional), global: listings(registry, &global) }
}

fn listings(registry: &Registry, types: &[TypeId]) -> Vec<Listing> {
    let mut listings = Vec::new();
    let mut tagged = Vec::new();
    for &id in types {
        match registry.row(id).listed_by {
            ListedBy::Native => listings.push(Listing::Native(id)),
            ListedBy::TaggingApi => tagged.push(id),
            ListedBy::Nothing => listings.push(Listing::Impossible(id)),
        }
    }
    if !tagged.is_empty() {
        listings.push(Listing::Tagged(tagged));
    }
    listings
}
