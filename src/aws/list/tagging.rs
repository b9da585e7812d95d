//! The tagging API as a lister, for types without one of their own: one pass over all of them.
//!
//! It knows resources that carry a tag or once did; the latter arrive with no tags. Never-tagged ones it does not
//! know, which is why the coverage of these types is `tagged_only` at best.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_resourcegroupstagging::types::ResourceTagMapping;
use tagwarden_core::arn::Arn;
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::{GLOBAL, Resource, Tag, Tags};

use super::{Page, Run, Stop};
use crate::limits::Api;

/// The most that AWS allows in a page.
const PAGE_SIZE: i32 = 100;
/// The most type filters that AWS takes in a call.
const FILTERS_MAX: usize = 100;

/// All resources of these types in the region, or all global ones of these types.
pub(super) async fn list(run: &Run<'_>, ids: &[TypeId], global: bool) -> Result<(), Stop> {
    let wanted: HashSet<TypeId> =
        ids.iter().copied().filter(|id| run.registry().row(*id).global == global).collect();
    let mut filters: Vec<String> =
        wanted.iter().filter_map(|id| run.registry().row(*id).tagging_filter.clone()).collect();
    filters.sort_unstable();
    filters.dedup();
    let region = if global { Arc::from(GLOBAL) } else { Arc::clone(&run.region) };
    for filters in filters.chunks(FILTERS_MAX) {
        let ask = |token: Option<String>| {
            let (wanted, region) = (&wanted, &region);
            async move {
                let request =
                    run.clients.tagging().get_resources().set_resource_type_filters(Some(filters.to_vec()));
                let sent = request.resources_per_page(PAGE_SIZE).set_pagination_token(token).send();
                let output = run.call(Api::Tagging, "tag:GetResources", sent).await?;
                let mappings = output.resource_tag_mapping_list.unwrap_or_default().into_iter();
                let items = mappings.filter_map(|mapping| resource(run, mapping, wanted, region)).collect();
                Ok(Page { items, next: output.pagination_token })
            }
        };
        run.send_pages(ask).await?;
    }
    Ok(())
}

/// A filter by service brings types that were not asked for, and some services answer with resources of other
/// regions; both are left out, the latter because they are counted where they live.
fn resource(
    run: &Run<'_>,
    mapping: ResourceTagMapping,
    wanted: &HashSet<TypeId>,
    region: &Arc<str>,
) -> Option<Resource> {
    let text = mapping.resource_arn?;
    let arn = Arn::parse(&text).ok()?;
    let (type_id, id) = run.registry().identify(&arn)?;
    let elsewhere = &**region != GLOBAL && !arn.region.is_empty() && arn.region != &**region;
    if elsewhere || !wanted.contains(&type_id) {
        return None;
    }
    let tags = mapping.tags.unwrap_or_default().into_iter();
    let tags = Tags::Read(tags.map(|tag| Tag { key: tag.key, value: tag.value }).collect());
    let id = id.to_owned();
    Some(Resource { id, type_id, region: Arc::clone(region), tags, arn: text })
}
