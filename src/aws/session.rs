//! One account, entered: its credentials, and what is known about it.

use std::fmt;
use std::sync::Arc;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tagwarden_app::ports::{Access, AccountTarget, AssumedRole, ExternalId, ListError, PageSender, Session};
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::Gap;
use tagwarden_core::listing::Listing;
use tokio::sync::{OnceCell, RwLock};

use crate::client::{Clients, identity_cache, sts};
use crate::inventory::Shared;
use crate::limits::Api;
use crate::list;
use crate::refusal::{Call, Kind, Refusal};

/// How often credentials that expired on the way are replaced. Once: if fresh ones are refused as well, asking for
/// more of them helps nobody.
const RENEWALS_MAX: u32 = 1;

/// An account that was entered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AwsSession {
    account: Arc<Account>,
}

/// What is known of an account, and how to speak to it.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: AccountId,
    /// `aws`, `aws-cn`, `aws-us-gov`: the second part of every ARN.
    pub(crate) partition: String,
    /// Who we are in there.
    pub(crate) caller_arn: String,
    access: Access,
    ambient: SdkConfig,
    pub(crate) home: Arc<str>,
    credentials: RwLock<InForce>,
    regions: OnceCell<Vec<Arc<str>>>,
}

/// The credentials in force: the clients that use them, and how often they were renewed.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) clients: Arc<Clients>,
    renewals: u32,
}

impl AwsSession {
    /// Enters an account and makes sure that it is the one meant.
    pub(crate) async fn enter(
        shared: Arc<Shared>,
        ambient: &SdkConfig,
        target: &AccountTarget,
    ) -> Result<Self, Refusal> {
        let config = configuration(&shared, ambient, &target.access);
        let home: Arc<str> = config.region().map_or("us-east-1", |region| region.as_ref()).into();
        let clients = Arc::new(Clients::new(config, Arc::clone(&shared.counter)));
        let caller = whoami(&clients, &home).await?;
        if let Some(meant) = target.account_id.as_ref().filter(|meant| **meant != caller.account) {
            let cause = format!(
                "the credentials lead into account {}, but {meant} was meant: check the profile, the keys or the role",
                caller.account
            );
            return Err(Refusal::new(Kind::Failed, cause));
        }
        let account = Account {
            shared,
            id: caller.account,
            partition: caller.partition,
            caller_arn: caller.arn,
            access: target.access.clone(),
            ambient: ambient.clone(),
            home,
            credentials: RwLock::new(InForce { clients, renewals: 0 }),
            regions: OnceCell::new(),
        };
        Ok(Self { account: Arc::new(account) })
    }

    pub(crate) fn into_account(self) -> Arc<Account> {
        self.account
    }
}

impl Session for AwsSession {
    fn account_id(&self) -> &AccountId {
        &self.account.id
    }

    fn default_region(&self) -> Arc<str> {
        Arc::clone(&self.account.home)
    }

    async fn regions(&self) -> Result<Vec<Arc<str>>, Gap> {
        let regions = self.account.regions.get_or_try_init(|| enabled_regions(&self.account)).await;
        regions.cloned().map_err(|refusal| refusal.gap())
    }

    async fn list(&self, listing: &Listing, region: &Arc<str>, pages: &PageSender) -> Result<(), ListError> {
        // Boxed: the listers of all types together are wide, and dozens of listings are under way at a time.
        Box::pin(list::list(&self.account, listing, region, pages)).await
    }
}

impl Account {
    /// The credentials in force, to be kept for the length of a listing.
    pub(crate) async fn in_force(&self) -> InForce {
        self.credentials.read().await.clone()
    }

    /// Replaces credentials that AWS called expired, unless somebody else did meanwhile. Whether there are newer
    /// ones to try now.
    pub(crate) async fn renew(&self, expired: &InForce) -> bool {
        let mut current = self.credentials.write().await;
        if current.renewals > expired.renewals {
            return true;
        }
        if current.renewals >= RENEWALS_MAX {
            return false;
        }
        tracing::info!(account = %self.id, "credentials expired, entering again");
        let config = match self.access {
            Access::Ambient => self.shared.ambient().await,
            Access::AssumeRole(_) => configuration(&self.shared, &self.ambient, &self.access),
        };
        let clients = Arc::new(Clients::new(config, Arc::clone(&self.shared.counter)));
        *current = InForce { clients, renewals: current.renewals + 1 };
        true
    }
}

/// The configuration of an account: the process's own, or with credentials that come from assuming a role, cached
/// once for the whole account.
fn configuration(shared: &Shared, ambient: &SdkConfig, access: &Access) -> SdkConfig {
    let Access::AssumeRole(role) = access else { return ambient.clone() };
    let sts_region = role.sts_region.clone().map(Region::new).or_else(|| ambient.region().cloned());
    let mut config = ambient.to_builder().region(sts_region).build();
    for arn in role.chain.iter().chain([&role.role_arn]) {
        let hop = Hop::new(&config, shared, arn, role);
        config = config
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(hop))
            // A cache of its own: resolving a hop resolves the hop before.
            .identity_cache(identity_cache())
            .build();
    }
    config.into_builder().region(ambient.region().cloned()).build()
}

/// One role on the way into an account.
struct Hop {
    sts: aws_sdk_sts::Client,
    role_arn: String,
    external_id: Option<ExternalId>,
    session_name: String,
    session_duration_seconds: u16,
    endpoint: Option<String>,
}

impl fmt::Debug for Hop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hop").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

impl Hop {
    /// The role, to be assumed with the credentials of this configuration.
    fn new(config: &SdkConfig, shared: &Shared, role_arn: &str, role: &AssumedRole) -> Self {
        // Only the last role's trust policy asks for it; nobody else is to see it.
        let external_id = role.external_id.as_ref().filter(|_| role_arn == role.role_arn);
        Self {
            sts: sts(config, &shared.counter),
            role_arn: role_arn.to_owned(),
            external_id: external_id.cloned(),
            session_name: role.session_name.clone(),
            session_duration_seconds: role.session_duration_seconds,
            endpoint: config.endpoint_url().map(str::to_owned),
        }
    }

    async fn assume(&self) -> Result<Credentials, Refusal> {
        let sent = self
            .sts
            .assume_role()
            .role_arn(&self.role_arn)
            .set_external_id(self.external_id.as_ref().map(|id| id.0.clone()))
            .role_session_name(&self.session_name)
            .duration_seconds(i32::from(self.session_duration_seconds))
            .send();
        match sent.await {
            Ok(output) => credentials(output).ok_or_else(|| {
                Refusal::new(
                    Kind::Failed,
                    format!("sts:AssumeRole answered without credentials for {}", self.role_arn),
                )
            }),
            Err(error) => {
                // What was not allowed stands in the sentence alone.
                let session_tags = error.message().is_some_and(|text| text.contains("sts:TagSession"));
                Err(self.explain(error.code(), session_tags, Refusal::of(self.call(), &error)))
            }
        }
    }

    fn call(&self) -> Call<'_> {
        let region = self.sts.config().region().map_or("", |region| region.as_ref());
        Call { action: "sts:AssumeRole", region, endpoint: self.endpoint.as_deref() }
    }

    /// A refusal of STS itself says nothing about what to do; one from further down does already.
    fn explain(&self, code: Option<&str>, session_tags: bool, refusal: Refusal) -> Refusal {
        match code {
            Some(code) if refusal.kind == Kind::Denied && session_tags => Refusal::new(
                Kind::SessionTags,
                format!(
                    "could not assume {} ({code}): the caller's session has tags, so the trust policy has to allow \
                     sts:TagSession besides sts:AssumeRole",
                    self.role_arn
                ),
            ),
            Some(code) if refusal.kind == Kind::Denied && code.starts_with("AccessDenied") => Refusal::new(
                Kind::Denied,
                format!(
                    "could not assume {} ({code}): check that it exists, that its trust policy names the caller as \
                     principal, and that the ExternalId is the one it asks for",
                    self.role_arn
                ),
            ),
            _ => refusal,
        }
    }
}

impl ProvideCredentials for Hop {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.assume().await.map_err(CredentialsError::provider_error)
        })
    }
}

fn credentials(output: AssumeRoleOutput) -> Option<Credentials> {
    let issued = output.credentials?;
    let expiry = issued.expiration.try_into().ok()?;
    Some(
        Credentials::builder()
            .access_key_id(issued.access_key_id)
            .secret_access_key(issued.secret_access_key)
            .session_token(issued.session_token)
            .expiry(expiry)
            .provider_name("AssumeRole")
            .build(),
    )
}

/// Whom AWS takes us for.
pub(crate) struct Caller {
    pub(crate) account: AccountId,
    pub(crate) partition: String,
    pub(crate) arn: String,
}

pub(crate) async fn whoami(clients: &Clients, region: &Arc<str>) -> Result<Caller, Refusal> {
    let call = Call { action: "sts:GetCallerIdentity", region, endpoint: clients.endpoint() };
    let sent = clients.region(region).sts().get_caller_identity().send().await;
    let identity = sent.map_err(|error| Refusal::of(call, &error))?;
    let account = identity.account.as_deref().unwrap_or_default().parse();
    let account = account.map_err(|error| {
        Refusal::new(Kind::Failed, format!("sts:GetCallerIdentity did not tell the account: {error}"))
    })?;
    let arn = identity.arn.unwrap_or_default();
    let partition = arn.split(':').nth(1).unwrap_or("aws").to_owned();
    Ok(Caller { account, partition, arn })
}

/// The regions that are on by default or were opted into, sorted. Asked again when the credentials had expired.
pub(crate) async fn enabled_regions(account: &Account) -> Result<Vec<Arc<str>>, Refusal> {
    let in_force = account.in_force().await;
    match describe_regions(account, &in_force.clients).await {
        Err(refusal) if refusal.kind == Kind::Expired && account.renew(&in_force).await => {
            describe_regions(account, &account.in_force().await.clients).await
        }
        result => result,
    }
}

async fn describe_regions(account: &Account, clients: &Clients) -> Result<Vec<Arc<str>>, Refusal> {
    account.shared.limits.bucket(&account.id, &account.home, Api::Ec2).until_ready().await;
    let opted_in = aws_sdk_ec2::types::Filter::builder()
        .name("opt-in-status")
        .values("opt-in-not-required")
        .values("opted-in")
        .build();
    let call = Call { action: "ec2:DescribeRegions", region: &account.home, endpoint: clients.endpoint() };
    let sent = clients.region(&account.home).ec2().describe_regions().filters(opted_in).send().await;
    let output = sent.map_err(|error| Refusal::of(call, &error))?;
    let named = output.regions.unwrap_or_default().into_iter();
    let mut regions: Vec<Arc<str>> = named
        // Endpoints that ignore the filter still say which ones are off.
        .filter(|region| region.opt_in_status.as_deref() != Some("not-opted-in"))
        .filter_map(|region| region.region_name)
        .map(Arc::from)
        .collect();
    regions.sort_unstable();
    regions.dedup();
    if regions.is_empty() {
        return Err(Refusal::new(Kind::Failed, "ec2:DescribeRegions answered with no region at all"));
    }
    Ok(regions)
}
