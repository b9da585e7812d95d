//! ECS: clusters and services with their tags inline, task definitions with tags joined.
//!
//! The listings give ARNs, the descriptions the rest. `include=TAGS` is sent with every description.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use aws_sdk_ecs::types::{
    ClusterField, Failure, ServiceField, SortOrder, Tag as EcsTag, TaskDefinitionStatus,
};
use futures_util::StreamExt;
use futures_util::stream;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::{Resource, Tag, Tags};

use super::join::{Single, hand_on, joined};
use super::{Page, Run, Stop, tags};
use crate::limits::Api;
use crate::refusal::Refusal;

/// The most that AWS allows in a page of a listing.
const PAGE_SIZE: i32 = 100;
/// The most clusters that AWS describes in a call; as many as a page lists.
const CLUSTERS_MAX: usize = 100;
/// The most services that AWS describes in a call.
const SERVICES_MAX: usize = 10;
/// Calls under way for one listing: clusters being listed, and services being described for each.
const CALLS_MAX: usize = 4;
/// What calls about a cluster answer once it was deleted.
const CLUSTER_GONE: &str = "ClusterNotFoundException";

fn read(list: Option<Vec<EcsTag>>) -> Tags {
    Tags::Read(tags(list, |tag| (tag.key, tag.value)))
}

/// Inactive clusters, which are deleted ones, are left out.
pub(super) async fn clusters(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.pages(|token| cluster_arns(run, token), |arns| describe_clusters(run, id, arns)).await
}

async fn cluster_arns(run: &Run<'_>, token: Option<String>) -> Result<Page<String>, Refusal> {
    let sent = run.clients.ecs().list_clusters().max_results(PAGE_SIZE).set_next_token(token).send();
    let output = run.call(Api::Ecs, "ecs:ListClusters", sent).await?;
    Ok(Page { items: output.cluster_arns.unwrap_or_default(), next: output.next_token })
}

async fn describe_clusters(run: &Run<'_>, id: TypeId, arns: Vec<String>) -> Result<(), Stop> {
    for arns in arns.chunks(CLUSTERS_MAX) {
        let request = run.clients.ecs().describe_clusters().set_clusters(Some(arns.to_vec()));
        let sent = request.include(ClusterField::Tags).send();
        let output = run.call(Api::Ecs, "ecs:DescribeClusters", sent).await?;
        note_failures(run, "ecs:DescribeClusters", output.failures);
        let clusters = output.clusters.unwrap_or_default().into_iter();
        let page = clusters
            .filter(|cluster| cluster.status.as_deref() != Some("INACTIVE"))
            .filter_map(|cluster| {
                let (arn, name) = (cluster.cluster_arn?, cluster.cluster_name?);
                Some(run.resource_with_arn(id, arn, name, read(cluster.tags)))
            })
            .collect();
        run.send(page).await?;
    }
    Ok(())
}

/// Cluster by cluster, several at a time. Inactive services are left out.
pub(super) async fn services(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.pages(
        |token| cluster_arns(run, token),
        |clusters| all(clusters.into_iter().map(|cluster| services_of(run, id, cluster)).collect()),
    )
    .await
}

/// A cluster that was deleted meanwhile has no services any more.
async fn services_of(run: &Run<'_>, id: TypeId, cluster: String) -> Result<(), Stop> {
    let cluster = &*cluster;
    let ask = |token: Option<String>| async move {
        let request = run.clients.ecs().list_services().cluster(cluster).max_results(PAGE_SIZE);
        let sent = request.set_next_token(token).send();
        let output = run.unless_gone(Api::Ecs, "ecs:ListServices", CLUSTER_GONE, sent).await?;
        Ok(output.map_or_else(Page::empty, |output| Page {
            items: output.service_arns.unwrap_or_default(),
            next: output.next_token,
        }))
    };
    run.pages(ask, |arns| {
        all(arns
            .chunks(SERVICES_MAX)
            .map(|arns| describe_services(run, id, cluster, arns.to_vec()))
            .collect())
    })
    .await
}

async fn describe_services(run: &Run<'_>, id: TypeId, cluster: &str, arns: Vec<String>) -> Result<(), Stop> {
    let request = run.clients.ecs().describe_services().cluster(cluster).set_services(Some(arns));
    let sent = request.include(ServiceField::Tags).send();
    let output = run.unless_gone(Api::Ecs, "ecs:DescribeServices", CLUSTER_GONE, sent).await?;
    let Some(output) = output else { return Ok(()) };
    note_failures(run, "ecs:DescribeServices", output.failures);
    let services = output.services.unwrap_or_default().into_iter();
    let page = services
        .filter(|service| service.status.as_deref() != Some("INACTIVE"))
        .filter_map(|service| {
            let (arn, name) = (service.service_arn?, service.service_name?);
            Some(run.resource_with_arn(id, arn, name, read(service.tags)))
        })
        .collect();
    run.send(page).await
}

/// Runs all of them, a few at a time, up to the first that stops.
async fn all<Work: Future<Output = Result<(), Stop>>>(work: Vec<Work>) -> Result<(), Stop> {
    let mut done = pin!(stream::iter(work).buffer_unordered(CALLS_MAX));
    while let Some(result) = done.next().await {
        result?;
    }
    Ok(())
}

/// What was deleted between listing and describing is missing, which is right; anything else was not seen.
fn note_failures(run: &Run<'_>, action: &str, failures: Option<Vec<Failure>>) {
    let not_seen =
        failures.unwrap_or_default().into_iter().find(|failure| failure.reason() != Some("MISSING"));
    if let Some(failure) = not_seen {
        let reason: String = failure.reason().unwrap_or("no reason").chars().take(60).collect();
        let cause = format!("{action} in {} left out what it was asked for: {reason}", run.region);
        run.note(Gap { state: CellState::Failed, cause });
    }
}

/// The latest active revision of each family: the one that counts, and the one that people tag.
pub(super) async fn task_definitions(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    joined(run, Single::TaskDefinition, |listed| async move {
        let mut latest = LatestRevisions::default();
        let ask = |token: Option<String>| async move {
            let request = run.clients.ecs().list_task_definitions().status(TaskDefinitionStatus::Active);
            let sent = request.sort(SortOrder::Asc).max_results(PAGE_SIZE).set_next_token(token).send();
            let output = run.call(Api::Ecs, "ecs:ListTaskDefinitions", sent).await?;
            Ok(Page { items: output.task_definition_arns.unwrap_or_default(), next: output.next_token })
        };
        let take = |arns: Vec<String>| {
            latest.take(arns);
            std::future::ready(Ok(()))
        };
        run.pages(ask, take).await?;
        hand_on(&listed, latest.into_resources(run, id)).await
    })
    .await
}

/// The highest revision of each family seen so far. AWS lists families one after another with rising revisions, but
/// a family may stretch over pages, and nothing promises the order: so the highest is looked for, and known for
/// sure only at the end. That keeps a line for each family, not for each of its (many) revisions.
#[derive(Debug, Default)]
struct LatestRevisions(BTreeMap<String, u64>);

impl LatestRevisions {
    fn take(&mut self, arns: Vec<String>) {
        for mut arn in arns {
            let Some((family, revision)) = arn.rsplit_once(':') else { continue };
            let Ok(revision) = revision.parse::<u64>() else { continue };
            let length = family.len();
            if let Some(latest) = self.0.get_mut(family) {
                *latest = revision.max(*latest);
            } else {
                arn.truncate(length);
                self.0.insert(arn, revision);
            }
        }
    }

    fn into_resources(self, run: &Run<'_>, type_id: TypeId) -> Vec<Resource> {
        let latest = self.0.into_iter().map(|(family, revision)| format!("{family}:{revision}"));
        latest
            .map(|arn| {
                let id = arn.rsplit('/').next().unwrap_or(&arn).to_owned();
                run.resource_with_arn(type_id, arn, id, Tags::Unread)
            })
            .collect()
    }
}

/// `None` for a task definition that was deleted meanwhile.
pub(super) async fn task_definition_tags(run: &Run<'_>, arn: &str) -> Result<Option<Vec<Tag>>, Refusal> {
    let sent = run.clients.ecs().list_tags_for_resource().resource_arn(arn).send();
    let output =
        run.unless_gone(Api::Ecs, "ecs:ListTagsForResource", "ResourceNotFoundException", sent).await?;
    Ok(output.map(|output| tags(output.tags, |tag| (tag.key, tag.value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_revision_of_each_family_wins_in_any_order() {
        let arn = |name: &str| format!("arn:aws:ecs:eu-west-1:111111111111:task-definition/{name}");
        for pages in [
            vec![vec!["api:1", "api:2"], vec!["api:10", "worker:1"]],
            vec![vec!["api:10"], vec!["worker:1", "api:9"], vec!["api:2"]],
            vec![vec!["worker:1", "api:9"], vec![], vec!["api:10", "not-an-arn"]],
        ] {
            let mut latest = LatestRevisions::default();
            for page in pages {
                latest.take(page.into_iter().map(arn).collect());
            }
            let found: Vec<_> =
                latest.0.into_iter().map(|(family, revision)| format!("{family}:{revision}")).collect();
            assert_eq!(found, [arn("api:10"), arn("worker:1")]);
        }
    }
}
