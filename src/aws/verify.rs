//! Finding out whether an account can be entered and read: fresh credentials, and one cheap call for each action.
//!
//! What a call answers does not matter, as long as it is not a refusal: EC2 says without doing anything whether it
//! would have been allowed, and a service that cannot find what it was asked for has let the question pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tagwarden_app::ports::{Access, AccountTarget, Identity, Onboarding, Refused, RefusedBecause, Visit};

use crate::client::{Clients, RegionClients};
use crate::inventory::AwsInventory;
use crate::limits::Api;
use crate::refusal::{Call, Kind, Refusal};
use crate::session::{Account, AwsSession, enabled_regions, whoami};

/// Something that does not exist, to ask for where a call needs a name.
const NOBODY: &str = "tagwarden-permission-probe";

/// An account that was entered to look around.
#[derive(Debug)]
pub struct AwsVisit {
    account: Arc<Account>,
    identity: Identity,
}

impl Onboarding for AwsInventory {
    type Visit = AwsVisit;

    async fn whoami(&self) -> Result<Identity, Refused> {
        let config = self.ambient.clone();
        let home: Arc<str> = config.region().map_or("us-east-1", |region| region.as_ref()).into();
        let clients = Clients::new(config, Arc::clone(&self.shared.counter));
        let caller = whoami(&clients, &home).await.map_err(refused)?;
        Ok(Identity { account_id: caller.account, arn: caller.arn })
    }

    async fn visit(&self, access: &Access) -> Result<AwsVisit, Refused> {
        let target = AccountTarget {
            name: None,
            account_id: None,
            labels: BTreeMap::new(),
            access: access.clone(),
            include_regions: Vec::new(),
            exclude_regions: Vec::new(),
        };
        let session = AwsSession::enter(Arc::clone(&self.shared), &self.ambient, &target).await;
        let account = session.map_err(refused)?.into_account();
        let identity = Identity { account_id: account.id.clone(), arn: account.caller_arn.clone() };
        Ok(AwsVisit { account, identity })
    }
}

impl Visit for AwsVisit {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn regions(&self) -> Result<usize, Refused> {
        enabled_regions(&self.account).await.map(|regions| regions.len()).map_err(refused)
    }

    async fn probe(&self, action: &str) -> Option<Result<(), Refused>> {
        let (service, operation) = action.split_once(':')?;
        let api = api(service)?;
        let account = &self.account;
        account.shared.limits.bucket(&account.id, &account.home, api).until_ready().await;
        let clients = account.in_force().await.clients;
        let region = clients.region(&account.home);
        let call = Call { action, region: &account.home, endpoint: clients.endpoint() };
        // Boxed: the calls of all services together are wide, and many accounts are visited at a time.
        let answer = match api {
            Api::Ec2 => Box::pin(ec2(call, operation, &region)).await,
            Api::Rds => Box::pin(rds(call, operation, &region)).await,
            Api::S3 => Box::pin(s3(call, operation, &region)).await,
            Api::Lambda => Box::pin(self.lambda(call, operation, &region)).await,
            Api::Ecs => Box::pin(self.ecs(call, operation, &region)).await,
            Api::Tagging => Box::pin(tagging(call, operation, &region)).await,
        };
        Some(answer?.map_err(refused))
    }
}

fn api(service: &str) -> Option<Api> {
    match service {
        "ec2" => Some(Api::Ec2),
        "rds" => Some(Api::Rds),
        "s3" => Some(Api::S3),
        "lambda" => Some(Api::Lambda),
        "ecs" => Some(Api::Ecs),
        "tag" => Some(Api::Tagging),
        _ => None,
    }
}

/// Whether the call was allowed; `None`: there is none that would tell.
type Tried = Option<Result<(), Refusal>>;

/// Sends a call, and looks at nothing but whether it was allowed.
macro_rules! tried {
    ($call:expr, $request:expr) => {
        match $request.send().await {
            Ok(_) => Some(Ok(())),
            Err(error) => Some(judged($call, &error)),
        }
    };
}

/// An answer that speaks about what was asked for was allowed to be given.
fn judged<E>(call: Call<'_>, error: &SdkError<E, HttpResponse>) -> Result<(), Refusal>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let refusal = Refusal::of(call, error);
    let status = error.raw_response().map(|response| response.status().as_u16());
    let about_the_question = error.code().is_some()
        && matches!(status, Some(400..500))
        && matches!(refusal.kind, Kind::Invalid | Kind::StaleToken | Kind::Failed);
    if about_the_question { Ok(()) } else { Err(refusal) }
}

async fn ec2(call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
    let ec2 = clients.ec2();
    match operation {
        "DescribeAddresses" => tried!(call, ec2.describe_addresses().dry_run(true)),
        "DescribeInstances" => tried!(call, ec2.describe_instances().dry_run(true).max_results(5)),
        "DescribeNatGateways" => tried!(call, ec2.describe_nat_gateways().dry_run(true).max_results(5)),
        "DescribeRegions" => tried!(call, ec2.describe_regions().dry_run(true)),
        "DescribeSecurityGroups" => {
            tried!(call, ec2.describe_security_groups().dry_run(true).max_results(5))
        }
        "DescribeSnapshots" => {
            tried!(call, ec2.describe_snapshots().dry_run(true).owner_ids("self").max_results(5))
        }
        "DescribeSubnets" => tried!(call, ec2.describe_subnets().dry_run(true).max_results(5)),
        "DescribeVolumes" => tried!(call, ec2.describe_volumes().dry_run(true).max_results(5)),
        "DescribeVpcs" => tried!(call, ec2.describe_vpcs().dry_run(true).max_results(5)),
        _ => None,
    }
}

async fn rds(call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
    let rds = clients.rds();
    match operation {
        "DescribeDBClusters" => tried!(call, rds.describe_db_clusters().max_records(20)),
        "DescribeDBInstances" => tried!(call, rds.describe_db_instances().max_records(20)),
        _ => None,
    }
}

/// The tags of a bucket cannot be tried: for one that does not exist, S3 says so to everybody.
async fn s3(call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
    match operation {
        "ListAllMyBuckets" => tried!(call, clients.s3().list_buckets()),
        _ => None,
    }
}

async fn tagging(call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
    match operation {
        "GetResources" => tried!(call, clients.tagging().get_resources().resources_per_page(1)),
        _ => None,
    }
}

impl AwsVisit {
    fn arn(&self, resource: &str) -> String {
        let Account { partition, home, id, .. } = &*self.account;
        let (service, rest) = resource.split_once(':').unwrap_or((resource, ""));
        format!("arn:{partition}:{service}:{home}:{id}:{rest}")
    }

    async fn lambda(&self, call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
        let lambda = clients.lambda();
        match operation {
            "ListFunctions" => tried!(call, lambda.list_functions().max_items(1)),
            "ListTags" => {
                let function = self.arn(&format!("lambda:function:{NOBODY}"));
                tried!(call, lambda.list_tags().resource(function))
            }
            _ => None,
        }
    }

    async fn ecs(&self, call: Call<'_>, operation: &str, clients: &RegionClients) -> Tried {
        let ecs = clients.ecs();
        match operation {
            "DescribeClusters" => tried!(call, ecs.describe_clusters().clusters(NOBODY)),
            "DescribeServices" => tried!(call, ecs.describe_services().cluster(NOBODY).services(NOBODY)),
            "ListClusters" => tried!(call, ecs.list_clusters().max_results(1)),
            "ListServices" => tried!(call, ecs.list_services().cluster(NOBODY).max_results(1)),
            "ListTagsForResource" => {
                let cluster = self.arn(&format!("ecs:cluster/{NOBODY}"));
                tried!(call, ecs.list_tags_for_resource().resource_arn(cluster))
            }
            "ListTaskDefinitions" => tried!(call, ecs.list_task_definitions().max_results(1)),
            _ => None,
        }
    }
}

fn refused(refusal: Refusal) -> Refused {
    let because = match refusal.kind {
        Kind::Denied => RefusedBecause::Denied,
        Kind::SessionTags => RefusedBecause::SessionTags,
        Kind::NoCredentials => RefusedBecause::NoCredentials,
        Kind::Throttled => RefusedBecause::Throttled,
        Kind::TimedOut | Kind::Unreachable => RefusedBecause::Unreachable,
        Kind::Unsupported => RefusedBecause::RegionDisabled,
        Kind::Expired | Kind::StaleToken | Kind::Invalid | Kind::Failed => RefusedBecause::Failed,
    };
    Refused { because, cause: refusal.cause }
}
