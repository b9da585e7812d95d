//! Which listings a set of types needs: choosing is separate from doing.

use crate::arn::Arn;
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

/// The types among these that an ARN seems to be of, although none of their shapes fits it: their filter is
/// `service:type`, and the ARN begins like that.
///
/// None where only a part of a known resource is named (a consumer of a stream), and none for what AWS owns.
/// Filters by service alone let in so much else that an unknown shape says nothing about their types.
pub fn types_of_unknown_shape(registry: &Registry, types: &[TypeId], arn: &Arn<'_>) -> Vec<TypeId> {
    let owned = arn.account.is_empty() || arn.account.bytes().all(|byte| byte.is_ascii_digit());
    let known = |resource| registry.identify(&Arn { resource, ..*arn }).is_some();
    let is_part = || arn.resource.match_indices(['/', ':']).any(|(end, _)| known(&arn.resource[..end]));
    if !owned || known(arn.resource) || is_part() {
        return Vec::new();
    }
    let claims = |id: &TypeId| {
        let filter = registry.row(*id).tagging_filter.as_deref().unwrap_or_default();
        filter.split_once(':').is_some_and(|(service, kind)| {
            let rest = arn.resource.strip_prefix(kind);
            service == arn.service && rest.is_some_and(|rest| rest.starts_with(['/', ':']))
        })
    };
    types.iter().copied().filter(claims).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_answerable_for_what_looks_like_it_and_cannot_be_read() {
        let registry = Registry::builtin();
        let all: Vec<TypeId> = registry.ids().collect();
        for (arn, expected) in [
            // Shapes that nobody has seen yet.
            ("arn:aws:eks:eu-west-1:123456789012:nodegroup/main/workers", vec!["eks:nodegroup"]),
            ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:plain", vec!["secretsmanager:secret"]),
            ("arn:aws:fsx:eu-west-1:aws:file-system/fs-1/x", vec![]),
            // Read without effort.
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks", vec![]),
            // A part of a resource, which has tags of its own.
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/consumer/app:1", vec![]),
            // Types that share the beginning of their name, or only the service.
            ("arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/x", vec![]),
            ("arn:aws:codepipeline:eu-west-1:123456789012:webhook:x", vec![]),
            ("arn:aws:unheard-of:eu-west-1:123456789012:thing/x", vec![]),
        ] {
            let found = types_of_unknown_shape(&registry, &all, &Arn::parse(arn).unwrap());
            assert_eq!(found, ids(&registry, &expected), "{arn}");
        }
    }

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
