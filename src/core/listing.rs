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

/// The resource type filters with which the tagging API returns the resources of these types, sorted and
/// without repetition. They may let in resources of other types, which their ARNs give away.
pub fn tagging_filters<'a>(registry: &'a Registry, types: &[TypeId]) -> Vec<&'a str> {
    let mut filters: Vec<&str> =
        types.iter().filter_map(|id| registry.row(*id).tagging_filter.as_deref()).collect();
    filters.sort_unstable();
    filters.dedup();
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(registry: &Registry, names: &[&str]) -> Vec<TypeId> {
        names.iter().map(|name| registry.id(name).unwrap()).collect()
    }

    #[test]
    fn each_type_is_listed_once_where_it_lives_and_the_tagging_api_is_asked_once() {
        let registry = Registry::builtin();
        let id = |name: &str| registry.id(name).unwrap();
        let types = ids(
            &registry,
            &[
                "iam:role",
                "kms:key",
                "s3:bucket",
                "route53:hostedzone",
                "glue:table",
                "ec2:instance",
                "glue:job",
            ],
        );
        let plan = plan(&registry, &types);
        assert_eq!(
            plan.regional,
            [
                Listing::Native(id("ec2:instance")),
                Listing::Native(id("s3:bucket")),
                Listing::Impossible(id("glue:table")),
                Listing::Tagged(ids(&registry, &["glue:job", "kms:key"])),
            ]
        );
        assert_eq!(
            plan.global,
            [Listing::Impossible(id("iam:role")), Listing::Tagged(ids(&registry, &["route53:hostedzone"]))]
        );
    }

    #[test]
    fn every_type_is_in_exactly_one_listing() {
        let registry = Registry::builtin();
        let mut types: Vec<TypeId> = registry.ids().collect();
        types.extend(registry.ids());
        types.reverse();
        let plan = plan(&registry, &types);
        let mut listed: Vec<TypeId> =
            plan.regional.iter().chain(&plan.global).flat_map(Listing::types).copied().collect();
        listed.sort_unstable();
        assert_eq!(listed, registry.ids().collect::<Vec<_>>());
    }

    #[test]
    fn no_types_need_no_listing() {
        assert_eq!(plan(&Registry::builtin(), &[]), ListingPlan::default());
    }

    #[test]
    fn filters_are_few_enough_for_one_request() {
        let registry = Registry::builtin();
        let all: Vec<TypeId> = registry.ids().collect();
        let filters = tagging_filters(&registry, &all);
        assert_eq!(filters.len(), 52);
        let twice = ids(&registry, &["s3:bucket", "iam:role", "rds:db", "s3:bucket"]);
        assert_eq!(tagging_filters(&registry, &twice), ["rds:db", "s3"]);
    }
}
