//! What an account stands on: its external id, and other objects that name the same account.

use kube::ResourceExt;
use tagwarden_api::access;
use tagwarden_api::account::{ClientAccount, ExternalIdMode, SecretKeyRef};
use tagwarden_app::ports::ExternalId;

use super::external_id_mode;
use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;

/// Another object that names the same account and has it, because it is older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Namesake {
    /// In the same namespace, with this name.
    Here(String),
    /// In another namespace, whose tenant is nobody's business.
    Elsewhere,
}

/// The object that has the account instead of this one.
pub(super) fn namesake(frame: &Frame, account: &ClientAccount) -> Option<Namesake> {
    let rank = |account: &ClientAccount| {
        let created = account.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, Key::of(account))
    };
    let (own, key) = (rank(account), Key::of(account));
    let same = |other: &&std::sync::Arc<ClientAccount>| {
        other.spec.account_id == account.spec.account_id && rank(other) < own && Key::of(&***other) != key
    };
    let all = frame.accounts.all();
    let oldest = all.iter().filter(same).min_by_key(|other| rank(other))?;
    let other = Key::of(&**oldest);
    Some(if other.namespace == key.namespace {
        Namesake::Here(other.name.to_string())
    } else {
        Namesake::Elsewhere
    })
}

/// Why there is no external id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoExternalId {
    /// It will be generated soon.
    #[error("the external id is not generated yet")]
    NotYet,
    /// The Secret or its entry is not there, or what is there is no external id.
    #[error("Secret `{name}`, key `{key}`: {why}")]
    Secret {
        /// The name of the Secret.
        name: String,
        /// The entry.
        key: String,
        /// What is wrong; does not quote the value.
        why: String,
    },
}

/// The external id to present, as far as it is known; the inner `None`: the role asks for none.
///
/// A generated one is the one in the status, which only we write: whoever may write Secrets in the namespace
/// could otherwise take another tenant's id.
pub(super) async fn known_external_id(
    frame: &Frame,
    account: &ClientAccount,
) -> Result<Result<Option<ExternalId>, NoExternalId>, ObjectError> {
    if account.spec.auth.role_arn.is_none() {
        return Ok(Ok(None));
    }
    match external_id_mode(account) {
        ExternalIdMode::None => Ok(Ok(None)),
        ExternalIdMode::Generated => {
            let known = account.status.as_ref().and_then(|status| status.external_id.clone());
            Ok(known.map(|id| Some(ExternalId(id))).ok_or(NoExternalId::NotYet))
        }
        ExternalIdMode::SecretRef => {
            let reference =
                account.spec.auth.external_id.as_ref().and_then(|source| source.secret_ref.clone());
            from_secret(frame, account, reference.unwrap_or_default()).await
        }
    }
}

async fn from_secret(
    frame: &Frame,
    account: &ClientAccount,
    reference: SecretKeyRef,
) -> Result<Result<Option<ExternalId>, NoExternalId>, ObjectError> {
    let namespace = account.namespace().unwrap_or_default();
    let name = reference.name;
    let key = reference.key.unwrap_or_else(|| access::DEFAULT_SECRET_KEY.to_owned());
    let found = match frame.writer.read_secret(&namespace, &name, &key).await? {
        None => Err("there is no such Secret, or it has no such key: create it".to_owned()),
        Some(bytes) => access::ExternalId::new(&bytes),
    };
    Ok(match found {
        Ok(id) => Ok(Some(ExternalId(id.expose().to_owned()))),
        Err(why) => Err(NoExternalId::Secret { name, key, why }),
    })
}
