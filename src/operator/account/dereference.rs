//! What an account stands on: its external id, and other objects that name the same account.

use std::sync::Arc;

use kube::ResourceExt;
use tagwarden_api::access;
use tagwarden_api::account::{ClientAccount, ExternalIdMode, SecretKeyRef};
use tagwarden_api::condition::{ASSUMABLE, CONFLICT, UNSAFE};
use tagwarden_app::ports::ExternalId;

use super::external_id_mode;
use crate::conditions::{find, is_true};
use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;

/// Another object that names the same account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Namesake {
    /// In the same namespace, with this name.
    Here(String),
    /// In another namespace, whose tenant is nobody's business.
    Elsewhere,
}

/// An object that names the same account, and comes before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rival {
    pub(crate) namesake: Namesake,
    /// Whether the account lets it in: then it has the account. Otherwise it is older, and both knock.
    pub(crate) is_let_in: bool,
}

/// Whether the account lets this object in, and no stranger with it: proof that its owner means this one. What
/// cannot be found out for a while takes no proof away, and gives none to an object that has a rival.
pub(crate) fn is_let_in(account: &ClientAccount) -> bool {
    let Some(status) = &account.status else { return false };
    let proven = match find(&status.conditions, ASSUMABLE).map(|found| found.status.as_str()) {
        Some("True") => true,
        Some("Unknown") => status.last_verified_time.is_some() && !is_true(&status.conditions, CONFLICT),
        _ => false,
    };
    proven && !is_true(&status.conditions, UNSAFE)
}

/// Of all these objects, the first that names the same account and comes before this one. One that is let in comes
/// before all that are not, or a tenant could take another's account out of its reach by naming it; among equals the
/// oldest is first. The order is total, so exactly one object has no rival.
pub(crate) fn rival(all: &[Arc<ClientAccount>], account: &ClientAccount) -> Option<Rival> {
    let rank = |account: &ClientAccount| {
        let created = account.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!is_let_in(account), created, Key::of(account))
    };
    let (own, key) = (rank(account), Key::of(account));
    let before = |other: &&Arc<ClientAccount>| {
        other.spec.account_id == account.spec.account_id && Key::of(&***other) != key && rank(other) < own
    };
    let first = all.iter().filter(before).min_by_key(|other| rank(other))?;
    let other = Key::of(&**first);
    let namesake = if other.namespace == key.namespace {
        Namesake::Here(other.name.to_string())
    } else {
        Namesake::Elsewhere
    };
    Some(Rival { namesake, is_let_in: is_let_in(first) })
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
