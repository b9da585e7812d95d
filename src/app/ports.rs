//! What the use cases need from the outside. Adapters implement these; no SDK type appears in a signature.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::Gap;
use tagwarden_core::listing::Listing;
use tagwarden_core::registry::TypeId;
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::resource::Resource;
use tokio::sync::mpsc;

/// The external id that a trust policy asks for. Shown to the account's owner, not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(pub String);

impl fmt::Debug for ExternalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ExternalId(…)")
    }
}

/// A role to be assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumedRole {
    /// The ARN of the role in the target account.
    pub role_arn: String,
    /// Roles to go through first, in order; at most three.
    pub chain: Vec<String>,
    /// What the trust policy of `role_arn` asks for.
    pub external_id: Option<ExternalId>,
    /// 2 to 64 characters; names the session in the account's CloudTrail.
    pub session_name: String,
    /// 900 to 3600.
    pub session_duration_seconds: u16,
    /// The STS endpoint to use; the default region's where absent.
    pub sts_region: Option<String>,
}

/// How an account is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// With the process's own credentials.
    Ambient,
    /// By assuming a role.
    AssumeRole(AssumedRole),
}

/// An account to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTarget {
    /// The name of its `ClientAccount`; `None` for the caller's own account.
    pub name: Option<String>,
    /// The id it must turn out to have; `None` when any will do.
    pub account_id: Option<AccountId>,
    /// The labels of its `ClientAccount`, for rules that select accounts.
    pub labels: BTreeMap<String, String>,
    /// How to get in.
    pub access: Access,
    /// The regions its owner lets us look at; empty means all enabled ones.
    pub include_regions: Vec<String>,
    /// The regions its owner excludes.
    pub exclude_regions: Vec<String>,
}

/// What was sent to the cloud so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests by `service.Operation`, retries included.
    pub requests: BTreeMap<String, u64>,
    /// Answers that were refusals by a rate limit.
    pub throttled: u64,
}

/// Why a listing ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    /// How it shows in the coverage.
    pub gap: Gap,
    /// The types that it is about; `None` for all of the listing.
    pub types: Option<Vec<TypeId>>,
    /// Whether starting the listing over can help (a page token or credentials that expired on the way; the
    /// session has already dropped what expired).
    pub restart: bool,
}

impl ListError {
    /// Whether the coverage of this type suffers from it.
    pub fn is_about(&self, type_id: TypeId) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&type_id))
    }
}

/// Where a listing puts its pages. Sending waits while the pages before are being judged.
pub type PageSender = mpsc::Sender<Vec<Resource>>;

/// The clouds' resources.
pub trait Inventory: Send + Sync + 'static {
    /// An account that was entered.
    type Session: Session;

    /// Enters an account and makes sure that it is the one meant. The gap says why it could not be entered.
    fn enter(&self, target: &AccountTarget) -> impl Future<Output = Result<Self::Session, Gap>> + Send;

    /// What was sent so far, over all accounts.
    fn traffic(&self) -> Traffic;

    /// [`Traffic::throttled`] alone. It is asked for after every page: an inventory with much traffic has a way to tell it
    /// without making a table of all requests.
    fn throttled(&self) -> u64 {
        self.traffic().throttled
    }
}

/// One account, entered.
pub trait Session: Send + Sync + 'static {
    /// Its id.
    fn account_id(&self) -> &AccountId;

    /// The region to fall back to when the enabled ones cannot be discovered.
    fn default_region(&self) -> Arc<str>;

    /// The regions that the account has enabled, sorted.
    fn regions(&self) -> impl Future<Output = Result<Vec<Arc<str>>, Gap>> + Send;

    /// Sends every resource of the listing, in pages, then returns. A resource whose tags could not be read is
    /// sent with its tags unread, and the gap is returned at the end. `region` is `global` for global listings.
    /// Resources may repeat; terminated and AWS-managed ones are left out. A page may be empty: it says that the
    /// listing goes on. Dropping the future stops the work; so does a closed receiver.
    fn list(
        &self,
        listing: &Listing,
        region: &Arc<str>,
        pages: &PageSender,
    ) -> impl Future<Output = Result<(), ListError>> + Send;
}

/// Takes the findings of a scan as they come, and its report at the end.
pub trait FindingSink: Send {
    /// Why nothing more can be taken.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes the findings of one page, never empty.
    fn findings(&mut self, rows: &[ViolationRow]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes the report; no findings come after it.
    fn finish(&mut self, report: &ScanReport) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Who somebody is to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account it belongs to.
    pub account_id: AccountId,
    /// Its name there: of a user, or of the session of a role.
    pub arn: String,
}

/// Why an account cannot be entered, or something in it not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBecause {
    /// Not allowed.
    Denied,
    /// The trust policy does not allow `sts:TagSession`, and the caller's session has tags.
    SessionTags,
    /// The process itself has no credentials, or none that the cloud knows.
    NoCredentials,
    /// The region is not enabled, or the service not there.
    RegionDisabled,
    /// A rate limit, still after all retries.
    Throttled,
    /// No answer, or not in time.
    Unreachable,
    /// Anything else.
    Failed,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Refused {
    /// What kind of refusal.
    pub because: RefusedBecause,
    /// What happened and what to do, in one sentence. Names no secret.
    pub cause: String,
}

/// Finding out whether accounts can be entered and read.
pub trait Onboarding: Send + Sync + 'static {
    /// An account that was entered to look around.
    type Visit: Visit;

    /// Who the process itself is.
    fn whoami(&self) -> impl Future<Output = Result<Identity, Refused>> + Send;

    /// Enters whatever account this leads into, with fresh credentials.
    fn visit(&self, access: &Access) -> impl Future<Output = Result<Self::Visit, Refused>> + Send;
}

/// An account that was entered to look around.
pub trait Visit: Send + Sync + 'static {
    /// Who we are in there, and where that is.
    fn identity(&self) -> &Identity;

    /// How many regions the account has enabled.
    fn regions(&self) -> impl Future<Output = Result<usize, Refused>> + Send;

    /// Whether one cheap call of this action, such as `ec2:DescribeVolumes`, is allowed. `None`: there is no call
    /// that would tell.
    fn probe(&self, action: &str) -> impl Future<Output = Option<Result<(), Refused>>> + Send;
}
