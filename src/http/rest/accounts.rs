//! The accounts of a tenant.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::AccountView;

use super::Outcome;
use super::answers::Condition;
use super::operation::{Asked, Operation, Verb, answer};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Verb::Get,
            "/v1/accounts",
            "listAccounts",
            "The accounts of the tenant, by name.",
            list,
        )
        .answers::<AccountList>(200),
        Operation::new(Verb::Get, "/v1/accounts/{name}", "getAccount", "One account, by name or by id.", one)
            .answers::<Account>(200),
    ]
}

/// The accounts of the tenant.
#[derive(Serialize, JsonSchema)]
struct AccountList {
    /// By name.
    items: Vec<Account>,
}

/// An account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Account {
    /// The name of its object.
    name: String,
    /// Its twelve digits.
    account_id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Whether it is left alone for now.
    suspended: bool,
    /// Whether checks can look at it; absent before anybody has tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    /// When it was last found to be all right.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<String>,
    /// Actions that its role lacks.
    missing_permissions: Vec<String>,
    /// How many regions it has enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    regions_enabled: Option<u32>,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// What its conditions say.
    conditions: Vec<Condition>,
}

impl From<AccountView> for Account {
    fn from(view: AccountView) -> Self {
        Self {
            name: view.name,
            account_id: view.account_id,
            display_name: view.display_name,
            suspended: view.suspended,
            ready: view.ready,
            verified_at: view.verified_at.map(|at| at.to_string()),
            missing_permissions: view.missing_permissions,
            regions_enabled: view.regions_enabled,
            labels: view.labels,
            conditions: view.conditions.into_iter().map(Condition::from).collect(),
        }
    }
}

async fn list(asked: Asked) -> Outcome {
    let accounts = asked.ask.accounts(&asked.who).await?;
    answer(&AccountList { items: accounts.into_iter().map(Account::from).collect() })
}

async fn one(asked: Asked) -> Outcome {
    let wanted = &asked.parameter;
    let accounts = asked.ask.accounts(&asked.who).await?;
    let found = accounts.into_iter().find(|account| account.name == *wanted || account.account_id == *wanted);
    let fix = "GET /v1/accounts lists those that there are";
    let account = found.ok_or_else(|| AskError::not_found("account", wanted, fix))?;
    answer(&Account::from(account))
}
