//! `ClientAccount` objects become accounts that can be entered: roles checked against their account, external ids
//! looked up.

use std::collections::BTreeMap;
use std::fmt;

use tagwarden_core::account::AccountId;

use crate::account::{AuthMode, ClientAccount, ExternalIdMode, ExternalIdSource, RegionMode, SecretKeyRef};
use crate::error::{Fault, ManifestError};
use crate::manifests::{Manifest, Manifests, Origin};
use crate::secret::Secret;

/// Seconds a session lasts where its `ClientAccount` does not say; with a chain of roles AWS allows no more.
pub const DEFAULT_SESSION_SECONDS: u16 = 3600;

/// The session name where its `ClientAccount` does not say.
pub const DEFAULT_SESSION_NAME: &str = "tagwarden";

/// The key of a Secret that holds the external id where its `ClientAccount` does not say.
pub const DEFAULT_SECRET_KEY: &str = "externalId";

/// An account that can be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedAccount {
    /// Where its `ClientAccount` comes from.
    pub origin: Origin,
    /// What people call it.
    pub display_name: Option<String>,
    /// The labels of its `ClientAccount`.
    pub labels: BTreeMap<String, String>,
    /// The account.
    pub account_id: AccountId,
    /// How to get in.
    pub access: ResolvedAccess,
    /// The regions that may be looked at; empty means all that are enabled.
    pub include_regions: Vec<String>,
    /// The regions that are left out.
    pub exclude_regions: Vec<String>,
}

/// How to get into an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedAccess {
    /// With the credentials that Tagwarden runs with.
    Ambient,
    /// By assuming a role.
    AssumeRole(ResolvedRole),
}

/// A role to be assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRole {
    /// The ARN of a role of the account.
    pub role_arn: String,
    /// ARNs of roles to go through first, in order; at most three.
    pub chain: Vec<String>,
    /// What the trust policy of `role_arn` asks for; `None` where it asks for nothing.
    pub external_id: Option<ExternalId>,
    /// 2 to 64 characters.
    pub session_name: String,
    /// 900 to 3600.
    pub session_duration_seconds: u16,
    /// The region whose STS endpoint is used; the default region's where absent.
    pub sts_region: Option<String>,
}

/// An external id: 2 to 1224 characters. Never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl ExternalId {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The bytes as an external id, or why they are none, without quoting them.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        const ALLOWED: &str = "expected 2 to 1224 letters, digits and `_ + = , . @ : / -`";
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            return Err(format!("ends with a line break, which is no part of an external id: {ALLOWED}"));
        }
        if !(2..=1224).contains(&bytes.len()) {
            return Err(format!("has a length of {}: {ALLOWED}", bytes.len()));
        }
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) if bytes.iter().copied().all(fits) => Ok(Self(text)),
            _ => Err(format!("has a character that an external id cannot have: {ALLOWED}")),
        }
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ExternalId(…)")
    }
}

/// A field, and what is wrong with it.
type Problem = (String, Fault);

/// The accounts of the `ClientAccount` objects with these ids (all of them, where none is given), in the order of the
/// manifests, ready to be entered by a one-shot command; or all that stands in the way. What is wrong with the others
/// is nobody's concern.
pub fn resolve_accounts(
    manifests: &Manifests,
    only: &[AccountId],
) -> Result<Vec<ResolvedAccount>, Vec<ManifestError>> {
    let wanted = |manifest: &&Manifest<ClientAccount>| {
        only.is_empty() || only.iter().any(|id| id.as_str() == manifest.object.spec.account_id)
    };
    let mut errors = Vec::new();
    let mut accounts: Vec<ResolvedAccount> = Vec::new();
    let mut seen: BTreeMap<AccountId, String> = BTreeMap::new();
    for manifest in manifests.accounts().iter().filter(wanted) {
        match resolve(manifest, manifests.secrets()) {
            Err((path, fault)) => errors.push(manifest.origin.error(path, fault)),
            Ok(account) => {
                let place = format!("ClientAccount {} ({})", account.origin.name, account.origin);
                if let Some(first) = seen.get(&account.account_id) {
                    let fault =
                        Fault::Duplicate { name: account.account_id.to_string(), first: first.clone() };
                    errors.push(account.origin.error("spec.accountId", fault));
                } else {
                    seen.insert(account.account_id.clone(), place);
                    accounts.push(account);
                }
            }
        }
    }
    if errors.is_empty() { Ok(accounts) } else { Err(errors) }
}

fn resolve(
    manifest: &Manifest<ClientAccount>,
    secrets: &[Manifest<Secret>],
) -> Result<ResolvedAccount, Problem> {
    let Manifest { origin, object } = manifest;
    let spec = &object.spec;
    let account_id: AccountId =
        spec.account_id.parse().map_err(|error: tagwarden_core::account::InvalidAccountId| {
            invalid("spec.accountId", error.to_string())
        })?;
    let access = match spec.auth.mode {
        AuthMode::Ambient => ambient(manifest)?,
        AuthMode::AssumeRole => ResolvedAccess::AssumeRole(role(manifest, &account_id, secrets)?),
    };
    let regions = spec.regions.clone().unwrap_or_default();
    match regions.mode {
        RegionMode::Listed if regions.include.is_empty() => {
            return Err(invalid("spec.regions.include", "is empty: mode Listed needs at least one region"));
        }
        RegionMode::Enabled if !regions.include.is_empty() => {
            return Err(invalid("spec.regions.mode", "is Enabled, which takes no include: set it to Listed"));
        }
        RegionMode::Listed | RegionMode::Enabled => {}
    }
    Ok(ResolvedAccount {
        origin: origin.clone(),
        display_name: spec.display_name.clone(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        account_id,
        access,
        include_regions: regions.include,
        exclude_regions: regions.exclude,
    })
}

fn ambient(manifest: &Manifest<ClientAccount>) -> Result<ResolvedAccess, Problem> {
    let auth = &manifest.object.spec.auth;
    let foreign = [
        ("roleArn", auth.role_arn.is_some()),
        ("chain", !auth.chain.is_empty()),
        ("externalId", auth.external_id.is_some()),
    ];
    match foreign.iter().find(|(_, given)| *given) {
        None => Ok(ResolvedAccess::Ambient),
        Some((field, _)) => {
            let message =
                "does not go with mode Ambient, which assumes no role: remove it, or set mode to AssumeRole";
            Err(invalid(format!("spec.auth.{field}"), message))
        }
    }
}

fn role(
    manifest: &Manifest<ClientAccount>,
    account_id: &AccountId,
    secrets: &[Manifest<Secret>],
) -> Result<ResolvedRole, Problem> {
    let Manifest { origin, object } = manifest;
    let auth = &object.spec.auth;
    let Some(role_arn) = &auth.role_arn else {
        let about =
            "mode AssumeRole, the default, needs it; mode Ambient uses the credentials at hand".to_owned();
        return Err(("spec.auth.roleArn".to_owned(), Fault::Missing { about }));
    };
    let owner = role_arn.split(':').nth(4).unwrap_or_default();
    if owner != account_id.as_str() {
        let message =
            format!("`{role_arn}` is a role of account {owner}, but spec.accountId is {account_id}");
        return Err(invalid("spec.auth.roleArn", message));
    }
    let seconds = auth.session_duration_seconds.unwrap_or(i32::from(DEFAULT_SESSION_SECONDS));
    let session_duration_seconds =
        u16::try_from(seconds).ok().filter(|seconds| (900..=3600).contains(seconds));
    let Some(session_duration_seconds) = session_duration_seconds else {
        let message = format!("{seconds} is out of range: expected 900 to 3600 seconds");
        return Err(invalid("spec.auth.sessionDurationSeconds", message));
    };
    Ok(ResolvedRole {
        role_arn: role_arn.clone(),
        chain: auth.chain.clone(),
        external_id: external_id(origin, auth.external_id.as_ref(), secrets)?,
        session_name: auth.session_name.clone().unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned()),
        session_duration_seconds,
        sts_region: auth.sts_region.clone(),
    })
}

fn external_id(
    origin: &Origin,
    source: Option<&ExternalIdSource>,
    secrets: &[Manifest<Secret>],
) -> Result<Option<ExternalId>, Problem> {
    let source = source.cloned().unwrap_or_default();
    match (source.mode, source.secret_ref) {
        (ExternalIdMode::SecretRef, Some(reference)) => from_secret(origin, &reference, secrets).map(Some),
        (ExternalIdMode::SecretRef, None) => {
            let about = "mode SecretRef needs the name of a Secret".to_owned();
            Err(("spec.auth.externalId.secretRef".to_owned(), Fault::Missing { about }))
        }
        (_, Some(_)) => {
            let message = "needs to be SecretRef where secretRef is given";
            Err(invalid("spec.auth.externalId.mode", message))
        }
        (ExternalIdMode::None, None) => Ok(None),
        (ExternalIdMode::Generated, None) => {
            let message = "is Generated (the default), and a generated external id is known only to the control plane \
                           that made it: set mode to SecretRef and add a Secret document with the id, or set mode to \
                           None if the role asks for none";
            Err(invalid("spec.auth.externalId.mode", message))
        }
    }
}

fn from_secret(
    origin: &Origin,
    reference: &SecretKeyRef,
    secrets: &[Manifest<Secret>],
) -> Result<ExternalId, Problem> {
    const PATH: &str = "spec.auth.externalId.secretRef";
    let (name, key) = (&reference.name, reference.key.as_deref().unwrap_or(DEFAULT_SECRET_KEY));
    let here = |secret: &&Manifest<Secret>| secret.origin.namespace == origin.namespace;
    let Some(secret) = secrets.iter().filter(here).find(|secret| secret.origin.name == *name) else {
        let elsewhere = secrets.iter().find(|secret| secret.origin.name == *name);
        let hint = elsewhere.map_or_else(
            || "add it as another document (v1, Secret)".to_owned(),
            |secret| {
                format!("there is one in namespace `{}`, which is not looked at", secret.origin.namespace)
            },
        );
        let message = format!("there is no Secret `{name}` in namespace `{}`: {hint}", origin.namespace);
        return Err(invalid(format!("{PATH}.name"), message));
    };
    let Some(bytes) = secret.object.get(key) else {
        let keys: Vec<String> = secret.object.keys().take(20).map(|key| format!("`{key}`")).collect();
        let message = format!("Secret `{name}` has no key `{key}`; it has {}", keys.join(", "));
        return Err(invalid(format!("{PATH}.key"), message));
    };
    ExternalId::new(bytes).map_err(|why| {
        let message = format!("the external id under `{key}` of Secret `{name}` {why}");
        invalid(PATH, message)
    })
}

fn invalid(path: impl Into<String>, message: impl Into<String>) -> Problem {
    (path.into(), Fault::Invalid(message.into()))
}
