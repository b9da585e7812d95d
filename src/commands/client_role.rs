//! `tagwarden client-role`: what the owner of an account sets up, as a CloudFormation template.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use tagwarden_api::account::{AuthMode, ClientAccount};
use tagwarden_api::condition::{READY, STALLED};
use tagwarden_app::ports::Onboarding as _;
use tagwarden_core::onboarding::{ClientRole as Role, cloud_formation, full_read_policy, principal_of};
use tagwarden_core::registry::Registry;
use tokio::time::sleep;

use super::Failure;
use crate::cli::ClientRole;
use crate::connection::{self, ConnectionError};
use crate::render::table;
use crate::wire;

/// The template in the `ConfigMap` that the controller keeps for an account.
const TEMPLATE: &str = "cloudformation.yaml";

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// Nobody said what to present.
    #[error(
        "give --external-id, which its owner can choose and nobody else uses; or the name of a ClientAccount, to take the \
         one that was generated for it; or --no-external-id, for a role of your own organisation"
    )]
    WhichExternalId,
    /// Not an external id.
    #[error("--external-id: expected 2 to 1224 letters, digits and `_ + = , . @ : / -`")]
    ExternalId,
    /// Not the name of a role.
    #[error("--name: `{0}` is no name of a role: expected 1 to 64 letters, digits and `_ + = , . @ -`")]
    Name(String),
    /// Not an ARN.
    #[error(
        "--principal: `{0}` is no ARN of a role, a user or an account, like arn:aws:iam::111122223333:role/tagwarden"
    )]
    Principal(String),
    /// Nobody said who assumes the role, and AWS does not say either.
    #[error("--principal is needed, because AWS does not tell who you are: {0}")]
    WhoAmI(String),
    /// The controller has not written it.
    #[error(
        "the controller has written no template for ClientAccount `{name}` within {waited} seconds ({so_far}); it does so \
         once it knows its own AWS identity; --timeout waits longer"
    )]
    NotYet {
        /// Of the account.
        name: String,
        /// How long was waited.
        waited: u16,
        /// What the account says of itself.
        so_far: String,
    },
    /// The controller will not write it.
    #[error("there will be no template for ClientAccount `{name}` until somebody changes it: {why}")]
    Stalled {
        /// Of the account.
        name: String,
        /// In the words of its condition.
        why: String,
    },
    /// Nobody needs it.
    #[error(
        "ClientAccount `{0}` is entered with the credentials that Tagwarden runs with (mode Ambient): it needs no role"
    )]
    Ambient(String),
}

/// Between two looks at an account.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(flags: &ClientRole, registry: Arc<Registry>) -> Result<u8, Failure> {
    let template = match &flags.account {
        Some(name) => kept(flags, name).await?,
        None => made(flags, registry).await?,
    };
    io::stdout().lock().write_all(template.as_bytes())?;
    Ok(0)
}

/// The template that the controller keeps for an account, once it is there.
async fn kept(flags: &ClientRole, name: &str) -> Result<String, Failure> {
    let (client, default_namespace) = connection::connect(&flags.connection).await?;
    let namespace = flags.namespace.as_ref().unwrap_or(&default_namespace);
    let accounts: Api<ClientAccount> = Api::namespaced(client.clone(), namespace);
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let patience = Duration::from_secs(flags.timeout.into());
    let began = Instant::now();
    let mut told = false;
    loop {
        let account = accounts.get(name).await.map_err(ConnectionError::from)?;
        if account.spec.auth.mode == AuthMode::Ambient {
            return Err(RoleError::Ambient(name.to_owned()).into());
        }
        let status = account.status.unwrap_or_default();
        if let Some(reference) = &status.onboarding_config_map_ref
            && let Some(map) = maps.get_opt(&reference.name).await.map_err(ConnectionError::from)?
            && let Some(template) = map.data.and_then(|mut data| data.remove(TEMPLATE))
        {
            return Ok(template);
        }
        let condition = |wanted: &str| status.conditions.iter().find(|condition| condition.type_ == wanted);
        if let Some(stalled) = condition(STALLED).filter(|stalled| stalled.status == "True") {
            let why = condition(READY).filter(|ready| !ready.message.is_empty()).unwrap_or(stalled);
            return Err(RoleError::Stalled { name: name.to_owned(), why: said(why) }.into());
        }
        if began.elapsed() >= patience {
            let so_far = condition(READY).map_or_else(|| "no controller has looked at it".to_owned(), said);
            let name = name.to_owned();
            return Err(RoleError::NotYet { name, waited: flags.timeout, so_far }.into());
        }
        if !std::mem::replace(&mut told, true) {
            anstream::eprintln!(
                "waiting up to {} seconds for the controller to write the template",
                flags.timeout
            );
        }
        sleep(LOOK_EVERY.min(patience)).await;
    }
}

/// `DependencyNotReady: the Secret acme is missing`.
fn said(condition: &Condition) -> String {
    if condition.message.is_empty() {
        return condition.reason.clone();
    }
    table::printable(&format!("{}: {}", condition.reason, condition.message))
}

/// A template for whatever the flags say.
async fn made(flags: &ClientRole, registry: Arc<Registry>) -> Result<String, Failure> {
    let external_id = match (&flags.external_id, flags.no_external_id) {
        (Some(id), _) if is_external_id(id) => Some(id.clone()),
        (Some(_), _) => return Err(RoleError::ExternalId.into()),
        (None, true) => None,
        (None, false) => return Err(RoleError::WhichExternalId.into()),
    };
    if !is_name(&flags.name) {
        return Err(RoleError::Name(flags.name.clone()).into());
    }
    let principal = match &flags.principal {
        Some(arn) if arn.starts_with("arn:") && arn.split(':').count() >= 6 => arn.clone(),
        Some(text) => return Err(RoleError::Principal(text.clone()).into()),
        None => {
            let caller = wire::inventory(&registry).await?.whoami().await;
            principal_of(&caller.map_err(|refused| RoleError::WhoAmI(refused.to_string()))?.arn)
        }
    };
    let role = Role { name: flags.name.clone(), path: "/".to_owned(), principal, external_id };
    Ok(cloud_formation(&role, &full_read_policy(&registry)))
}

fn is_external_id(text: &str) -> bool {
    (2..=1224).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}
