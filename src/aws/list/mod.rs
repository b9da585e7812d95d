//! Listings: every page of a type, to the end.
//!
//! A lister is a loop over one paginated call that turns each page into resources at once, so that the SDK's wide
//! structures never outlive their page. What is left out everywhere: resources that are gone or going (terminated
//! and shutting-down instances, deleted NAT gateways, inactive ECS objects) and what another account owns and
//! shares with this one (subnets, VPCs): its tags are not visible here, and it is counted where it lives.

mod ec2;
mod ecs;
mod join;
mod lambda;
mod rds;
mod s3;
mod tagging;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tagwarden_app::ports::{ListError, PageSender};
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::listing::Listing;
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::resource::{GLOBAL, Resource, Tag, Tags};

use crate::client::{Clients, RegionClients};
use crate::limits::Api;
use crate::refusal::{Call, Kind, Refusal};
use crate::session::Account;

/// Sends all resources of a listing, in pages.
pub(crate) async fn list(
    account: &Account,
    listing: &Listing,
    region: &Arc<str>,
    pages: &PageSender,
) -> Result<(), ListError> {
    let in_force = account.in_force().await;
    let endpoint_region =
        if &**region == GLOBAL { global_region(&account.partition) } else { Arc::clone(region) };
    let run = Run {
        account,
        clients: in_force.clients.region(&endpoint_region),
        all_clients: Arc::clone(&in_force.clients),
        region: endpoint_region,
        pages,
        unread: Mutex::new(None),
    };
    let listed = match listing {
        Listing::Native(id) => native(&run, *id).await,
        Listing::Tagged(ids) => tagging::list(&run, ids, &**region == GLOBAL).await,
        Listing::Impossible(id) => Err(unsupported(run.registry(), *id).into()),
    };
    match listed {
        // The receiver has gone: nobody is waiting for the rest.
        Err(Stop::Closed) => Ok(()),
        Ok(()) => run.into_unread().map_or(Ok(()), Err),
        Err(Stop::Refused(refusal)) => {
            let restart = match refusal.kind {
                Kind::Expired => account.renew(&in_force).await,
                Kind::StaleToken => true,
                _ => false,
            };
            Err(ListError { gap: refusal.gap(), types: None, restart })
        }
    }
}

/// Where the global services of a partition answer.
fn global_region(partition: &str) -> Arc<str> {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
    .into()
}

async fn native(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    let name = Arc::clone(&run.registry().row(id).name);
    match &*name {
        "ec2:instance" => ec2::instances(run, id).await,
        "ec2:volume" => ec2::volumes(run, id).await,
        "ec2:snapshot" => ec2::snapshots(run, id).await,
        "ec2:elastic-ip" => ec2::elastic_ips(run, id).await,
        "ec2:natgateway" => ec2::nat_gateways(run, id).await,
        "ec2:vpc" => ec2::vpcs(run, id).await,
        "ec2:subnet" => ec2::subnets(run, id).await,
        "ec2:security-group" => ec2::security_groups(run, id).await,
        "rds:db" => rds::instances(run, id).await,
        "rds:cluster" => rds::clusters(run, id).await,
        "s3:bucket" => s3::buckets(run, id).await,
        "lambda:function" => lambda::functions(run, id).await,
        "ecs:cluster" => ecs::clusters(run, id).await,
        "ecs:service" => ecs::services(run, id).await,
        "ecs:task-definition" => ecs::task_definitions(run, id).await,
        _ => Err(unsupported(run.registry(), id).into()),
    }
}

fn unsupported(registry: &Registry, id: TypeId) -> Refusal {
    let name = &registry.row(id).name;
    Refusal::new(
        Kind::Unsupported,
        format!("nothing can list {name} yet: leave it out of the request or the policy"),
    )
}

/// Why a listing goes no further.
#[derive(Debug)]
enum Stop {
    /// AWS refused.
    Refused(Refusal),
    /// Nobody takes the pages any more.
    Closed,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A listing under way.
struct Run<'a> {
    account: &'a Account,
    clients: Arc<RegionClients>,
    all_clients: Arc<Clients>,
    /// The region that is asked; never `global`.
    region: Arc<str>,
    pages: &'a PageSender,
    /// Why some resources, or their tags, could not be read; the first reason counts.
    unread: Mutex<Option<ListError>>,
}

/// The answer of a paginated call: what was on the page, and where the next one starts.
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

impl Run<'_> {
    fn registry(&self) -> &Registry {
        &self.account.shared.settings.registry
    }

    /// Makes a call, within the rate limit of its API. The future must not have been polled before.
    async fn call<O, E>(
        &self,
        api: Api,
        action: &str,
        sent: impl Future<Output = Result<O, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<O, Refusal>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.attempt(api, sent).await.map_err(|error| self.refusal(action, &error))
    }

    /// As [`Run::call`]; `None` where the error code says that what was asked about was deleted meanwhile.
    async fn unless_gone<O, E>(
        &self,
        api: Api,
        action: &str,
        gone: &str,
        sent: impl Future<Output = Result<O, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<Option<O>, Refusal>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match self.attempt(api, sent).await {
            Ok(output) => Ok(Some(output)),
            Err(error) if error.code() == Some(gone) => Ok(None),
            Err(error) => Err(self.refusal(action, &error)),
        }
    }

    /// As [`Run::call`], for callers to whom some errors are answers.
    async fn attempt<O, E>(
        &self,
        api: Api,
        sent: impl Future<Output = Result<O, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<O, SdkError<E, HttpResponse>> {
        self.account.shared.limits.bucket(&self.account.id, &self.region, api).until_ready().await;
        // Boxed: the futures of the SDK are several kilobytes wide, and dozens wait at a time.
        Box::pin(sent).await
    }

    fn refusal<E>(&self, action: &str, error: &SdkError<E, HttpResponse>) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Refusal::of(Call { action, region: &self.region, endpoint: self.all_clients.endpoint() }, error)
    }

    /// Asks for page after page and hands each to `take`, to the end. Each answer is a sign of life, also where its
    /// items come to nothing or are kept back until the last page.
    async fn pages<T, Ask, Asked, Take, Taken>(&self, mut ask: Ask, mut take: Take) -> Result<(), Stop>
    where
        T: Send,
        Ask: FnMut(Option<String>) -> Asked + Send,
        Asked: Future<Output = Result<Page<T>, Refusal>> + Send,
        Take: FnMut(Vec<T>) -> Taken + Send,
        Taken: Future<Output = Result<(), Stop>> + Send,
    {
        let mut token = None;
        loop {
            let asked = ask(token.clone()).await;
            let page = if token.is_some() { asked.map_err(Refusal::of_further_page)? } else { asked? };
            self.pages.send(Vec::new()).await.map_err(|_| Stop::Closed)?;
            take(page.items).await?;
            // Some APIs end with an empty token instead of none.
            let next = page.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(());
            }
            if next == token {
                let cause = format!("a listing in {} answered the same page token twice", self.region);
                return Err(Refusal::new(Kind::Failed, cause).into());
            }
            token = next;
        }
    }

    /// Asks for page after page of resources and sends each.
    async fn send_pages<Ask, Asked>(&self, ask: Ask) -> Result<(), Stop>
    where
        Ask: FnMut(Option<String>) -> Asked + Send,
        Asked: Future<Output = Result<Page<Resource>, Refusal>> + Send,
    {
        self.pages(ask, |page| self.send(page)).await
    }

    /// Sends a page; waits while those before are being judged.
    async fn send(&self, page: Vec<Resource>) -> Result<(), Stop> {
        if page.is_empty() {
            return Ok(());
        }
        self.pages.send(page).await.map_err(|_| Stop::Closed)
    }

    /// A resource whose ARN is made from its type's template. One whose ARN cannot be made is noted as unread.
    fn resource(&self, type_id: TypeId, id: String, tags: Tags) -> Option<Resource> {
        let partition = &*self.account.partition;
        match self.registry().arn(type_id, partition, &self.region, self.owner(), &[("id", &id)]) {
            Ok(arn) => Some(self.resource_with_arn(type_id, arn, id, tags)),
            Err(error) => {
                let cause = format!("a resource in {} was left out: {error}", self.region);
                self.note(Gap { state: CellState::Failed, cause });
                None
            }
        }
    }

    fn resource_with_arn(&self, type_id: TypeId, arn: String, id: String, tags: Tags) -> Resource {
        Resource { arn, id, type_id, region: Arc::clone(&self.region), tags }
    }

    fn owner(&self) -> &str {
        self.account.id.as_str()
    }

    /// Whether this account owns what carries this owner id. Where AWS does not tell, it does.
    fn owns(&self, owner_id: Option<&str>) -> bool {
        owner_id.is_none_or(|id| id == self.owner())
    }

    /// Notes that something of this listing could not be read.
    fn note(&self, gap: Gap) {
        self.note_about(None, gap);
    }

    /// As [`Run::note`], about these types of the listing alone.
    fn note_about(&self, types: Option<Vec<TypeId>>, gap: Gap) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.get_or_insert(ListError { gap, types, restart: false });
    }

    fn into_unread(self) -> Option<ListError> {
        self.unread.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tags as the services give them, moved.
fn tags<T>(list: Option<Vec<T>>, split: impl Fn(T) -> (Option<String>, Option<String>)) -> Vec<Tag> {
    let pairs = list.unwrap_or_default().into_iter().map(split);
    pairs.filter_map(|(key, value)| Some(Tag { key: key?, value: value.unwrap_or_default() })).collect()
}
