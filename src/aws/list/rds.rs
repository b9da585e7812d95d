//! RDS: instances and clusters, tags inline.
//!
//! Neptune and `DocumentDB` answer here as well, under ARNs of `rds`. They are kept: they are databases with the same
//! tags in the same place, no other type covers them, and leaving them out would hide them.

use aws_sdk_rds::types::Tag as RdsTag;
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::Tags;

use super::{Page, Run, Stop, tags};
use crate::limits::Api;

/// The most that AWS allows in a page.
const PAGE_SIZE: i32 = 100;

fn read(list: Option<Vec<RdsTag>>) -> Tags {
    Tags::Read(tags(list, |tag| (tag.key, tag.value)))
}

/// Instances that are being deleted are left out, as terminated EC2 instances are.
pub(super) async fn instances(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|marker| async move {
        let sent = run.clients.rds().describe_db_instances().max_records(PAGE_SIZE).set_marker(marker).send();
        let output = run.call(Api::Rds, "rds:DescribeDBInstances", sent).await?;
        let instances = output.db_instances.unwrap_or_default().into_iter();
        let items = instances
            .filter(|instance| instance.db_instance_status.as_deref() != Some("deleting"))
            .filter_map(|instance| {
                let name = instance.db_instance_identifier?;
                Some(run.resource_with_arn(id, instance.db_instance_arn?, name, read(instance.tag_list)))
            })
            .collect();
        Ok(Page { items, next: output.marker })
    })
    .await
}

/// Clusters that are being deleted are left out.
pub(super) async fn clusters(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|marker| async move {
        let sent = run.clients.rds().describe_db_clusters().max_records(PAGE_SIZE).set_marker(marker).send();
        let output = run.call(Api::Rds, "rds:DescribeDBClusters", sent).await?;
        let clusters = output.db_clusters.unwrap_or_default().into_iter();
        let items = clusters
            .filter(|cluster| cluster.status.as_deref() != Some("deleting"))
            .filter_map(|cluster| {
                let name = cluster.db_cluster_identifier?;
                Some(run.resource_with_arn(id, cluster.db_cluster_arn?, name, read(cluster.tag_list)))
            })
            .collect();
        Ok(Page { items, next: output.marker })
    })
    .await
}
