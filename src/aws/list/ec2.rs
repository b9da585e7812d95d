//! EC2: everything comes with its tags inline.

use aws_sdk_ec2::types::{InstanceStateName, NatGatewayState, Tag as Ec2Tag, VolumeState};
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::Tags;

use super::{Page, Run, Stop, tags};
use crate::limits::Api;

/// The most that AWS allows in a page, for all calls here. A page of 1,000 instances is about 4.5 MB of XML; fewer a
/// page would mean more round trips, and pages of one listing follow each other.
const PAGE_SIZE: i32 = 1000;

fn read(list: Option<Vec<Ec2Tag>>) -> Tags {
    Tags::Read(tags(list, |tag| (tag.key, tag.value)))
}

/// Terminated and shutting-down instances are left out.
pub(super) async fn instances(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent = run.clients.ec2().describe_instances().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeInstances", sent).await?;
        let reservations = output.reservations.unwrap_or_default().into_iter();
        let items = reservations
            .flat_map(|reservation| reservation.instances.unwrap_or_default())
            .filter(|instance| {
                let state = instance.state.as_ref().and_then(|state| state.name.as_ref());
                !matches!(state, Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown))
            })
            .filter_map(|instance| run.resource(id, instance.instance_id?, read(instance.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Volumes on their way out are left out.
pub(super) async fn volumes(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent = run.clients.ec2().describe_volumes().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeVolumes", sent).await?;
        let volumes = output.volumes.unwrap_or_default().into_iter();
        let items = volumes
            .filter(|volume| !matches!(volume.state, Some(VolumeState::Deleting | VolumeState::Deleted)))
            .filter_map(|volume| run.resource(id, volume.volume_id?, read(volume.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Only the account's own: without that, every public snapshot of the region would be listed.
pub(super) async fn snapshots(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let request = run.clients.ec2().describe_snapshots().owner_ids("self");
        let sent = request.max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeSnapshots", sent).await?;
        let snapshots = output.snapshots.unwrap_or_default().into_iter();
        let items = snapshots
            .filter(|snapshot| run.owns(snapshot.owner_id.as_deref()))
            .filter_map(|snapshot| run.resource(id, snapshot.snapshot_id?, read(snapshot.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Not paginated by AWS: quotas keep the number of addresses small.
pub(super) async fn elastic_ips(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    let sent = run.clients.ec2().describe_addresses().send();
    let output = run.call(Api::Ec2, "ec2:DescribeAddresses", sent).await?;
    let addresses = output.addresses.unwrap_or_default().into_iter();
    let page = addresses
        .filter_map(|address| run.resource(id, address.allocation_id?, read(address.tags)))
        .collect();
    run.send(page).await
}

/// Deleted ones stay listed for an hour and are left out.
pub(super) async fn nat_gateways(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent =
            run.clients.ec2().describe_nat_gateways().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeNatGateways", sent).await?;
        let gateways = output.nat_gateways.unwrap_or_default().into_iter();
        let items = gateways
            .filter(|gateway| {
                !matches!(gateway.state, Some(NatGatewayState::Deleted | NatGatewayState::Deleting))
            })
            .filter_map(|gateway| run.resource(id, gateway.nat_gateway_id?, read(gateway.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Default VPCs included.
pub(super) async fn vpcs(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent = run.clients.ec2().describe_vpcs().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeVpcs", sent).await?;
        let vpcs = output.vpcs.unwrap_or_default().into_iter();
        let items = vpcs
            .filter(|vpc| run.owns(vpc.owner_id.as_deref()))
            .filter_map(|vpc| run.resource(id, vpc.vpc_id?, read(vpc.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Those of default VPCs included.
pub(super) async fn subnets(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent = run.clients.ec2().describe_subnets().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeSubnets", sent).await?;
        let subnets = output.subnets.unwrap_or_default().into_iter();
        let items = subnets
            .filter(|subnet| run.owns(subnet.owner_id.as_deref()))
            .filter_map(|subnet| run.resource(id, subnet.subnet_id?, read(subnet.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}

/// Default groups included.
pub(super) async fn security_groups(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    run.send_pages(|token| async move {
        let sent =
            run.clients.ec2().describe_security_groups().max_results(PAGE_SIZE).set_next_token(token).send();
        let output = run.call(Api::Ec2, "ec2:DescribeSecurityGroups", sent).await?;
        let groups = output.security_groups.unwrap_or_default().into_iter();
        let items = groups
            .filter(|group| run.owns(group.owner_id.as_deref()))
            .filter_map(|group| run.resource(id, group.group_id?, read(group.tags)))
            .collect();
        Ok(Page { items, next: output.next_token })
    })
    .await
}
