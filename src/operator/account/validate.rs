//! Whether an account makes sense: what its schema cannot say, and what this installation does not allow.

use std::time::Duration;

use tagwarden_api::access::{DEFAULT_SESSION_NAME, DEFAULT_SESSION_SECONDS};
use tagwarden_api::account::{AuthMode, ClientAccount, ExternalIdMode};
use tagwarden_api::condition::reason;
use tagwarden_app::ports::{Access, AssumedRole, ExternalId};
use tagwarden_core::account::AccountId;
use tagwarden_core::duration;

use super::external_id_mode;
use crate::context::Settings;

const INTERVAL: Duration = Duration::from_hours(1);
const RETRY_INTERVAL: Duration = Duration::from_mins(5);
/// Shorter intervals in a spec that got past the schema are not followed.
const INTERVAL_MIN: Duration = Duration::from_mins(1);
const RETRY_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// An account that can be acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Valid {
    pub(super) account_id: AccountId,
    /// How it is entered, but for the external id; `None`: with our own credentials.
    pub(super) role: Option<AssumedRole>,
    /// After a success.
    pub(super) interval: Duration,
    /// After a failure.
    pub(super) retry_interval: Duration,
}

impl Valid {
    /// How the account is entered with this external id.
    pub(super) fn access(&self, external_id: Option<ExternalId>) -> Access {
        match &self.role {
            None => Access::Ambient,
            Some(role) => Access::AssumeRole(AssumedRole { external_id, ..role.clone() }),
        }
    }
}

/// Why it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub(super) struct Refusal {
    /// The documented word.
    pub(super) reason: &'static str,
    /// The field.
    pub(super) path: &'static str,
    /// What is wrong with it and what to do.
    pub(super) message: String,
}

fn refuse(path: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { reason: reason::INVALID_SPEC, path, message: message.into() }
}

/// The account, or why it cannot be acted upon.
pub(super) fn validate(account: &ClientAccount, settings: &Settings) -> Result<Valid, Refusal> {
    let spec = &account.spec;
    let account_id: AccountId =
        spec.account_id.parse().map_err(|error: tagwarden_core::account::InvalidAccountId| {
            refuse("spec.accountId", error.to_string())
        })?;
    allowed(account, settings)?;
    let role = match spec.auth.mode {
        AuthMode::Ambient => None,
        AuthMode::AssumeRole => Some(role(account, &account_id)?),
    };
    let verification = spec.verification.clone().unwrap_or_default();
    let interval = interval(verification.interval.as_deref(), "spec.verification.interval", INTERVAL)?;
    let retry_interval = self::interval(
        verification.retry_interval.as_deref(),
        "spec.verification.retryInterval",
        RETRY_INTERVAL,
    )?;
    Ok(Valid {
        account_id,
        role,
        interval: interval.max(INTERVAL_MIN),
        retry_interval: retry_interval.max(RETRY_INTERVAL_MIN),
    })
}

/// Whether tenants may get in this way here. Only a generated id proves that it is the owner who lets them in.
fn allowed(account: &ClientAccount, settings: &Settings) -> Result<(), Refusal> {
    let ambient = account.spec.auth.mode == AuthMode::Ambient;
    let mode = external_id_mode(account);
    let (reason, path, message) = if ambient && !settings.allow_ambient_account {
        let message = "Ambient is not allowed here, as any tenant could look into the account that Tagwarden itself runs \
                       in: name a role, or run Tagwarden with --allow-ambient-account";
        (reason::AMBIENT_NOT_ALLOWED, "spec.auth.mode", message)
    } else if !ambient && mode == ExternalIdMode::None && !settings.allow_no_external_id {
        let message = "None is not allowed here, as any tenant could look into every account whose role asks for no \
                       external id: leave out externalId to have one generated, or run Tagwarden with \
                       --allow-no-external-id";
        (reason::EXTERNAL_ID_NOT_ALLOWED, "spec.auth.externalId.mode", message)
    } else if mode == ExternalIdMode::SecretRef && !settings.allow_external_id_secret_ref {
        let message = "SecretRef is not allowed here, as a tenant could choose the external id of another: leave out \
                       externalId to have one generated, or run Tagwarden with --allow-external-id-secret-ref";
        (reason::EXTERNAL_ID_NOT_ALLOWED, "spec.auth.externalId.mode", message)
    } else {
        return Ok(());
    };
    Err(Refusal { reason, path, message: message.to_owned() })
}

fn role(account: &ClientAccount, account_id: &AccountId) -> Result<AssumedRole, Refusal> {
    const PATH: &str = "spec.auth.roleArn";
    let auth = &account.spec.auth;
    let Some(role_arn) = &auth.role_arn else {
        return Err(refuse(PATH, "is missing: mode AssumeRole, the default, needs it"));
    };
    let owner = role_arn.split(':').nth(4).unwrap_or_default();
    if owner != account_id.as_str() {
        let message =
            format!("`{role_arn}` is a role of account {owner}, but spec.accountId is {account_id}");
        return Err(refuse(PATH, message));
    }
    let seconds = auth.session_duration_seconds.map_or(Some(DEFAULT_SESSION_SECONDS), |seconds| {
        u16::try_from(seconds).ok().filter(|seconds| (900..=3600).contains(seconds))
    });
    let Some(session_duration_seconds) = seconds else {
        return Err(refuse("spec.auth.sessionDurationSeconds", "is out of range: expected 900 to 3600"));
    };
    Ok(AssumedRole {
        role_arn: role_arn.clone(),
        chain: auth.chain.clone(),
        external_id: None,
        session_name: auth.session_name.clone().unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned()),
        session_duration_seconds,
        sts_region: auth.sts_region.clone(),
    })
}

fn interval(text: Option<&str>, path: &'static str, otherwise: Duration) -> Result<Duration, Refusal> {
    text.map_or(Ok(otherwise), duration::parse).map_err(|error| Refusal {
        reason: reason::INVALID_DURATION,
        path,
        message: error.to_string(),
    })
}
