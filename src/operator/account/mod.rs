//! `ClientAccount`: how its owner lets us in, and whether that works; found out by entering it, again and again.

mod apply;
mod decide;
mod dereference;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tagwarden_api::account::{ClientAccount, ExternalIdMode};
use tagwarden_api::condition::UNSAFE;
use tagwarden_app::onboard::Exposure;
use tagwarden_app::ports::{AccountTarget, Onboarding};
use tokio::sync::OnceCell;

use crate::conditions::find;
use crate::context::{Context, Frame};
use crate::controller::Reconciler;
use crate::failure::{Next, ObjectError};
use crate::key::Key;

use decide::{Inputs, Step};
use status::Outcome;

pub(crate) use dereference::{Namesake, Rival, is_let_in, rival};

/// Reconciles accounts.
#[derive(Debug)]
pub struct AccountReconciler<C, R> {
    context: Context<C, R>,
    /// The principal that trust policies name, once it is known.
    principal: OnceCell<String>,
    strangers: Strangers,
}

/// When each role was last tried as a stranger would. In memory alone: trying once more after a restart is the
/// safe mistake.
#[derive(Debug, Default)]
struct Strangers {
    tried: Mutex<HashMap<Key, (i64, Timestamp)>>,
}

impl Strangers {
    /// When this generation of the object was last tried.
    fn last(&self, key: &Key, generation: i64) -> Option<Timestamp> {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.get(key).filter(|(tried, _)| *tried == generation).map(|(_, at)| *at)
    }

    fn note(&self, key: Key, generation: i64, at: Timestamp) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (generation, at));
    }

    fn forget(&self, key: &Key) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl<C, R> AccountReconciler<C, R> {
    /// A reconciler that enters accounts of this cloud.
    pub fn new(context: Context<C, R>) -> Self {
        Self { context, principal: OnceCell::new(), strangers: Strangers::default() }
    }
}

impl<C, R> Reconciler for AccountReconciler<C, R>
where
    C: Onboarding,
    R: Send + Sync + 'static,
{
    type Object = ClientAccount;
    type Error = ObjectError;

    const CONTROLLER: &'static str = "clientaccount";

    async fn reconcile(&self, account: Arc<ClientAccount>) -> Result<Next, ObjectError> {
        let account = &*account;
        let frame = &*self.context.frame;
        let key = Key::of(account);
        // Nothing of it is anywhere but in objects that go with it.
        if account.meta().deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let now = frame.clock.now();
        let validated = validate::validate(account, &frame.settings);
        let inputs = Inputs {
            rival: dereference::rival(&frame.accounts.all(), account),
            last_stranger: self.strangers.last(&key, generation(account)),
            now,
        };
        let step = decide::decide(account, &validated, &inputs);
        let outcome = match step {
            Step::Wait(next) => {
                apply::show(frame, account);
                return Ok(next);
            }
            Step::Refuse(refusal) => Outcome::Invalid(refusal),
            Step::Suspend => Outcome::Suspended,
            Step::YieldTo(namesake) => Outcome::Duplicate(namesake),
            Step::Verify { valid, stranger } => {
                let verify = apply::Verify { account, valid, stranger };
                let outcome = verify.run(&self.context, &self.principal).await?;
                if stranger && outcome.exposure().is_some_and(|exposure| exposure != Exposure::Unknown) {
                    self.strangers.note(key.clone(), generation(account), now);
                }
                outcome
            }
        };
        let view = status::View {
            account,
            valid: validated.as_ref().ok(),
            outcome: &outcome,
            older: inputs.rival.as_ref().map(|rival| &rival.namesake),
            events_refused: frame.events.are_refused(&key.namespace),
        };
        let status = status::status(&view, frame.clock.now(), fastrand::f64());
        let next = decide::next(&status, frame.clock.now());
        apply::publish(frame, account, status).await?;
        Ok(next)
    }

    fn forget(&self, key: &Key) {
        self.strangers.forget(key);
        self.context.metrics.forget("ClientAccount", key);
    }
}

fn generation(account: &ClientAccount) -> i64 {
    account.metadata.generation.unwrap_or_default()
}

/// Why strangers get in, if they do: then a tenant might be one.
fn unsafe_because(account: &ClientAccount) -> Option<&str> {
    let found = find(&account.status.as_ref()?.conditions, UNSAFE)?;
    (found.status == "True").then_some(&found.message)
}

/// Where the external id of an account comes from.
fn external_id_mode(account: &ClientAccount) -> ExternalIdMode {
    account.spec.auth.external_id.as_ref().map(|source| source.mode).unwrap_or_default()
}

/// Why an account cannot be entered by an audit.
#[derive(Debug, thiserror::Error)]
pub enum NoTarget {
    /// The spec cannot be acted upon.
    #[error("{0}")]
    Invalid(String),
    /// Another object has the account.
    #[error("another ClientAccount names account {0} and has it")]
    Duplicate(String),
    /// Strangers get in as well.
    #[error("{0}; it is looked at again as soon as it was verified that they do not")]
    Unsafe(String),
    /// It has no external id yet, or the Secret with it is not there.
    #[error("{0}")]
    NoExternalId(String),
    /// Its Secret could not be read.
    #[error(transparent)]
    Unread(#[from] ObjectError),
}

/// How the account that an object declares is entered now.
pub async fn target(frame: &Frame, account: &ClientAccount) -> Result<AccountTarget, NoTarget> {
    let valid = validate::validate(account, &frame.settings)
        .map_err(|refusal| NoTarget::Invalid(refusal.to_string()))?;
    if dereference::rival(&frame.accounts.all(), account).is_some() {
        return Err(NoTarget::Duplicate(account.spec.account_id.clone()));
    }
    if let Some(message) = unsafe_because(account) {
        return Err(NoTarget::Unsafe(message.to_owned()));
    }
    let external_id = dereference::known_external_id(frame, account)
        .await?
        .map_err(|missing| NoTarget::NoExternalId(missing.to_string()))?;
    let regions = account.spec.regions.clone().unwrap_or_default();
    Ok(AccountTarget {
        name: Some(account.name_any()),
        account_id: Some(valid.account_id.clone()),
        labels: account.metadata.labels.clone().unwrap_or_default(),
        access: valid.access(external_id),
        include_regions: regions.include,
        exclude_regions: regions.exclude,
    })
}
