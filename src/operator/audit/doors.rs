//! How the accounts of a run are entered: asked when their turn comes, so that a run of hours follows what people
//! change meanwhile, and no external id is kept any longer than needed.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tagwarden_api::access::{DEFAULT_SECRET_KEY, DEFAULT_SESSION_NAME, DEFAULT_SESSION_SECONDS};
use tagwarden_api::account::{AuthMode, ClientAccount, ExternalIdMode};
use tagwarden_app::audit::ports::{Doors, PlannedAccount};
use tagwarden_app::ports::{Access, AccountTarget, AssumedRole, ExternalId};
use tagwarden_core::coverage::{CellState, Gap};

use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;

/// How often an API server is asked that does not answer.
const ATTEMPTS: u32 = 3;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// The accounts of a namespace.
#[derive(Debug)]
pub(super) struct NamespaceDoors {
    pub(super) frame: Arc<Frame>,
    pub(super) namespace: Arc<str>,
}

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
enum NoTarget {
    #[error("{0}")]
    Closed(&'static str),
    #[error(transparent)]
    Unread(#[from] ObjectError),
}

impl Doors for NamespaceDoors {
    async fn target(&self, account: &PlannedAccount) -> Result<AccountTarget, Gap> {
        let Some(object) = self.frame.accounts.get(&Key::new(&self.namespace, &account.name)) else {
            return Err(closed(format!("there is no ClientAccount `{}`", account.name)));
        };
        let mut attempt = 1;
        loop {
            match target(&self.frame, &object).await {
                Ok(target) => return Ok(target),
                Err(NoTarget::Unread(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(closed(error.to_string())),
            }
        }
    }
}

async fn target(frame: &Frame, account: &ClientAccount) -> Result<AccountTarget, NoTarget> {
    let spec = &account.spec;
    if spec.suspend {
        return Err(NoTarget::Closed("its ClientAccount is suspended"));
    }
    let access = match spec.auth.mode {
        AuthMode::Ambient => Access::Ambient,
        AuthMode::AssumeRole => Access::AssumeRole(AssumedRole {
            role_arn: spec
                .auth
                .role_arn
                .clone()
                .ok_or(NoTarget::Closed("its ClientAccount has no auth.roleArn"))?,
            chain: spec.auth.chain.clone(),
            external_id: external_id(frame, account).await?,
            session_name: spec.auth.session_name.clone().unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned()),
            session_duration_seconds: spec
                .auth
                .session_duration_seconds
                .and_then(|seconds| u16::try_from(seconds).ok())
                .unwrap_or(DEFAULT_SESSION_SECONDS),
            sts_region: spec.auth.sts_region.clone(),
        }),
    };
    let regions = spec.regions.clone().unwrap_or_default();
    Ok(AccountTarget {
        name: Some(account.name_any()),
        account_id: spec.account_id.parse().ok(),
        labels: account.labels().clone(),
        access,
        include_regions: regions.include,
        exclude_regions: regions.exclude,
    })
}

async fn external_id(frame: &Frame, account: &ClientAccount) -> Result<Option<ExternalId>, NoTarget> {
    let source = account.spec.auth.external_id.clone().unwrap_or_default();
    let reference = match (source.mode, source.secret_ref) {
        (ExternalIdMode::None, _) => return Ok(None),
        (ExternalIdMode::SecretRef, Some(reference)) if frame.settings.allow_external_id_secret_ref => {
            Some((reference.name, reference.key))
        }
        (ExternalIdMode::SecretRef, _) => {
            return Err(NoTarget::Closed("externalId.mode SecretRef is not allowed here: use Generated"));
        }
        (ExternalIdMode::Generated, _) => {
            let status = account.status.as_ref();
            status.and_then(|status| status.external_id_secret_ref.clone()).map(|owned| (owned.name, None))
        }
    };
    let (name, key) = reference.ok_or(NoTarget::Closed("its external id has not been generated yet"))?;
    let key = key.as_deref().unwrap_or(DEFAULT_SECRET_KEY);
    let namespace = account.namespace().unwrap_or_default();
    let bytes = frame.writer.read_secret(&namespace, &name, key).await?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(|text| Some(ExternalId(text)))
        .ok_or(NoTarget::Closed("the Secret with its external id is not there"))
}

fn closed(cause: String) -> Gap {
    Gap { state: CellState::Denied, cause }
}
