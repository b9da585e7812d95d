//! The tagging API as a lister, for types without one of their own: one pass over all of them.
//!
//! It knows resources that carry a tag or once did; the latter arrive with no tags. Never-tagged ones it does not
//! know, which is why the coverage of these types is `tagged_only` at best.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_resourcegroupstagging::types::ResourceTagMapping;
use tagwarden_core::arn::Arn;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::listing::{tagging_filters, types_of_unknown_shape};
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::{GLOBAL, Resource, Tag, Tags};

use super::{Page, Run, Stop};
use crate::limits::Api;
use crate::refusal::Refusal;

/// The most that AWS allows in a page.
const PAGE_SIZE: i32 = 100;
/// The most type filters that AWS takes in a call.
const FILTERS_MAX: usize = 100;
/// As much of an ARN as a cause quotes.
const QUOTED_CHARS: usize = 120;

/// All resources of these types in the region, or all global ones of these types.
pub(super) async fn list(run: &Run<'_>, ids: &[TypeId], global: bool) -> Result<(), Stop> {
    let wanted: Vec<TypeId> =
        ids.iter().copied().filter(|id| run.registry().row(*id).global == global).collect();
    let region = if global { Arc::from(GLOBAL) } else { Arc::clone(&run.region) };
    let pass = Pass { run, wanted: &wanted, region: &region, riddles: Mutex::default() };
    for filters in tagging_filters(run.registry(), &wanted).chunks(FILTERS_MAX) {
        let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        run.send_pages(|token| pass.page(filters.clone(), token)).await?;
    }
    pass.tell();
    Ok(())
}

struct Pass<'a> {
    run: &'a Run<'a>,
    wanted: &'a [TypeId],
    region: &'a Arc<str>,
    riddles: Mutex<Riddles>,
}

/// ARNs that no type of the registry has.
#[derive(Debug, Default)]
struct Riddles {
    /// All of them, for the log: most belong to types that nobody asked for.
    ignored: u64,
    /// Those that seem to be of a type that was asked for: resources that go unjudged.
    missed: u64,
    /// The first of those.
    example: String,
    /// The types that they seem to be of.
    types: BTreeSet<TypeId>,
}

impl Pass<'_> {
    async fn page(&self, filters: Vec<String>, token: Option<String>) -> Result<Page<Resource>, Refusal> {
        let request = self.run.clients.tagging().get_resources().set_resource_type_filters(Some(filters));
        let sent = request.resources_per_page(PAGE_SIZE).set_pagination_token(token).send();
        let output = self.run.call(Api::Tagging, "tag:GetResources", sent).await?;
        let mappings = output.resource_tag_mapping_list.unwrap_or_default().into_iter();
        Ok(Page {
            items: mappings.filter_map(|mapping| self.resource(mapping)).collect(),
            next: output.pagination_token,
        })
    }

    /// A filter by service brings types that were not asked for, and some services answer with resources of other
    /// regions; both are left out, the latter because they are counted where they live.
    fn resource(&self, mapping: ResourceTagMapping) -> Option<Resource> {
        let text = mapping.resource_arn.unwrap_or_default();
        let Ok(arn) = Arn::parse(&text) else {
            self.puzzle(&text, self.wanted);
            return None;
        };
        if &**self.region != GLOBAL && !arn.region.is_empty() && arn.region != &**self.region {
            return None;
        }
        let registry = self.run.registry();
        let Some((type_id, id)) = registry.identify(&arn) else {
            self.puzzle(&text, &types_of_unknown_shape(registry, self.wanted, &arn));
            return None;
        };
        if !self.wanted.contains(&type_id) {
            return None;
        }
        let tags = mapping.tags.unwrap_or_default().into_iter();
        let tags = Tags::Read(tags.map(|tag| Tag { key: tag.key, value: tag.value }).collect());
        let id = id.to_owned();
        Some(Resource { id, type_id, region: Arc::clone(self.region), tags, arn: text })
    }

    /// Notes an ARN that may be of these types.
    fn puzzle(&self, arn: &str, types: &[TypeId]) {
        let mut riddles = self.riddles.lock().unwrap_or_else(PoisonError::into_inner);
        riddles.ignored += 1;
        if !types.is_empty() {
            if riddles.missed == 0 {
                riddles.example = arn.chars().filter(|char| !char.is_control()).take(QUOTED_CHARS).collect();
            }
            riddles.missed += 1;
            riddles.types.extend(types);
        }
    }

    fn tell(self) {
        let region = self.region;
        let Riddles { ignored, missed, example, types } =
            self.riddles.into_inner().unwrap_or_else(PoisonError::into_inner);
        if ignored > 0 {
            tracing::debug!(%region, ignored, missed, "tag:GetResources named ARNs of no known type");
        }
        if missed > 0 {
            let cause = format!(
                "tag:GetResources in {region} named {missed} ARNs of an unknown form, which are not judged, such as \
                 `{example}`: add their form with --resource-types"
            );
            self.run.note_about(Some(types.into_iter().collect()), Gap { state: CellState::Failed, cause });
        }
    }
}
