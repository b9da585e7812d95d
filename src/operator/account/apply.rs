//! Does what was decided for an account: makes what its owner needs, enters it, writes down what came of it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tagwarden_api::access::DEFAULT_SECRET_KEY;
use tagwarden_api::account::{ClientAccount, ClientAccountStatus, ExternalIdMode};
use tagwarden_api::condition::{READY, reason};
use tagwarden_app::onboard::{self, Limits, Question};
use tagwarden_app::ports::{ExternalId, Onboarding, Refused};
use tagwarden_core::onboarding::{
    ClientRole, ROLE_NAME, cloud_formation, full_read_policy, pretty, principal_of, role_of, trust_policy,
};
use tokio::sync::OnceCell;

use super::dereference::{NoExternalId, known_external_id};
use super::external_id_mode;
use super::status::{Outcome, Owned};
use super::validate::Valid;
use crate::conditions::find;
use crate::context::{Context, Frame};
use crate::failure::ObjectError;
use crate::key::Key;

/// Entering an account.
pub(super) struct Verify<'a> {
    pub(super) account: &'a ClientAccount,
    pub(super) valid: &'a Valid,
    /// Also as somebody who does not know the external id.
    pub(super) stranger: bool,
}

impl Verify<'_> {
    /// Makes the external id and the documents where they are not there, then enters the account.
    pub(super) async fn run<C: Onboarding, R>(
        &self,
        context: &Context<C, R>,
        principal: &OnceCell<String>,
    ) -> Result<Outcome, ObjectError> {
        let mut owned = Owned::default();
        let error = match self.try_run(context, principal, &mut owned).await {
            Err(error) => error,
            result => return result,
        };
        let (reason, message) = match (&error, error.forbidden()) {
            (ObjectError::NotOurs { .. }, _) => (reason::DEPENDENCY_NOT_READY, error.to_string()),
            (_, Some(message)) => (reason::FORBIDDEN, message),
            _ => return Err(error),
        };
        tracing::warn!(error = message, "the account is not entered, and is tried again");
        Ok(Outcome::Blocked { reason, message, owned })
    }

    async fn try_run<C: Onboarding, R>(
        &self,
        context: &Context<C, R>,
        principal: &OnceCell<String>,
        owned: &mut Owned,
    ) -> Result<Outcome, ObjectError> {
        let frame = &*context.frame;
        let external_id = match self.external_id(frame, owned).await? {
            Ok(external_id) => external_id,
            Err(missing) => return Ok(Outcome::NoExternalId(missing, owned.clone())),
        };
        match principal.get_or_try_init(|| self.principal(context)).await {
            Ok(principal) => {
                let name = format!("{}-onboarding", self.account.name_any());
                let documents = self.documents(frame, principal, external_id.as_ref());
                frame.writer.config_map(self.account, &name, documents).await?;
                owned.onboarding = Some(name);
            }
            Err(refused) => return Ok(Outcome::Entered(Err(refused.into()), owned.clone())),
        }
        let actions: BTreeSet<String> = full_read_policy(&frame.registry)
            .statement
            .into_iter()
            .flat_map(|statement| statement.action)
            .collect();
        let question = Question {
            access: &self.valid.access(external_id),
            account_id: &self.valid.account_id,
            actions: &actions,
            stranger: self.stranger.then(|| ExternalId(random_id())),
        };
        let entered = onboard::verify(&*context.cloud, &question, Limits::default()).await;
        Ok(Outcome::Entered(entered, owned.clone()))
    }

    async fn external_id(
        &self,
        frame: &Frame,
        owned: &mut Owned,
    ) -> Result<Result<Option<ExternalId>, NoExternalId>, ObjectError> {
        let known = known_external_id(frame, self.account).await?;
        let generated =
            self.valid.role.is_some() && external_id_mode(self.account) == ExternalIdMode::Generated;
        if !generated {
            return Ok(known);
        }
        let name = format!("{}-external-id", self.account.name_any());
        // The one in the status is restored into its Secret; a first one is kept there before anybody sees it. What a
        // Secret holds before is nobody's id: a tenant could have put another tenant's there.
        let id = known.ok().flatten().map_or_else(random_id, |id| id.0);
        frame.writer.keep_secret(self.account, &name, DEFAULT_SECRET_KEY, &id).await?;
        owned.external_id = Some((id.clone(), name));
        Ok(Ok(Some(ExternalId(id))))
    }

    async fn principal<C: Onboarding, R>(&self, context: &Context<C, R>) -> Result<String, Refused> {
        match &context.settings.principal_arn {
            Some(arn) => Ok(arn.clone()),
            None => context.cloud.whoami().await.map(|identity| principal_of(&identity.arn)),
        }
    }

    /// What the account's owner sets up, ready to paste.
    fn documents(
        &self,
        frame: &Frame,
        principal: &str,
        external_id: Option<&ExternalId>,
    ) -> BTreeMap<String, String> {
        let policy = full_read_policy(&frame.registry);
        let mut documents = BTreeMap::from([("read-policy.json".to_owned(), pretty(&policy))]);
        if let Some(assumed) = &self.valid.role {
            let (name, path) =
                role_of(&assumed.role_arn).unwrap_or_else(|| (ROLE_NAME.to_owned(), "/".to_owned()));
            // Of a chain of roles, the last one is the one that knocks.
            let principal = assumed.chain.last().map_or(principal, String::as_str).to_owned();
            let role = ClientRole { name, path, principal, external_id: external_id.map(|id| id.0.clone()) };
            documents.insert("trust-policy.json".to_owned(), pretty(&trust_policy(&role)));
            documents.insert("cloudformation.yaml".to_owned(), cloud_formation(&role, &policy));
        }
        documents
    }
}

/// An id that nobody can guess: 122 random bits, in 32 hexadecimal digits.
fn random_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Shows in metrics what the status says.
pub(super) fn show(frame: &Frame, account: &ClientAccount) {
    if let Some(status) = &account.status {
        show_status(frame, &Key::of(account), status);
    }
}

fn show_status(frame: &Frame, key: &Key, status: &ClientAccountStatus) {
    frame.metrics.conditions("ClientAccount", key, &status.conditions);
    let last = status.last_verified_time.as_ref().map(|time| time.0.as_second());
    frame.metrics.account(key, ready(&status.conditions).is_some_and(|ready| ready.status == "True"), last);
}

fn ready(conditions: &[Condition]) -> Option<&Condition> {
    find(conditions, READY)
}

/// Writes the status where it differs, shows it in metrics, and tells people what changed.
pub(super) async fn publish(
    frame: &Frame,
    account: &ClientAccount,
    status: ClientAccountStatus,
) -> Result<(), ObjectError> {
    let before = account.status.as_ref();
    show_status(frame, &Key::of(account), &status);
    frame.writer.status(&frame.accounts, account, before, &status).await?;
    let was = before.and_then(|before| ready(&before.conditions));
    let Some(is) = ready(&status.conditions) else { return Ok(()) };
    if was.is_some_and(|was| (&was.status, &was.reason) == (&is.status, &is.reason)) {
        return Ok(());
    }
    match (is.status.as_str(), is.reason.as_str()) {
        ("True", _) => frame.events.normal(account, "AccountVerified", "Verify", &is.message).await,
        (_, reason::SUSPENDED) => frame.events.normal(account, &is.reason, "Verify", &is.message).await,
        _ => frame.events.warning(account, &is.reason, "Verify", &is.message).await,
    }
    Ok(())
}
