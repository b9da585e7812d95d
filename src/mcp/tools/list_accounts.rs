//! `list_accounts`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::AccountView;

use super::conditions_in_words;
use crate::page;
use crate::parts::clean;
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct ListAccounts;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    accounts: Vec<Account>,
    total: usize,
    /// Accounts that checks can look at.
    ready: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Account {
    name: String,
    account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// ready, `not_ready`, suspended or `not_verified`.
    status: String,
    /// Why it is not ready, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_verified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regions_enabled: Option<u32>,
}

impl From<AccountView> for Account {
    fn from(account: AccountView) -> Self {
        let status = match (account.suspended, account.ready) {
            (true, _) => "suspended",
            (false, Some(true)) => "ready",
            (false, Some(false)) => "not_ready",
            (false, None) => "not_verified",
        };
        let mut problems = account.conditions.clone();
        problems.retain(|condition| match condition.condition.as_str() {
            "Conflict" | "Unsafe" | "Stalled" => condition.answer == "True",
            "Reconciling" => false,
            _ => condition.answer != "True",
        });
        Self {
            status: status.into(),
            problems: conditions_in_words(&problems),
            display_name: account.display_name.map(|name| clean(&name, 128)),
            last_verified: account.verified_at.map(|at| at.to_string()),
            name: account.name,
            account_id: account.account_id,
            missing_permissions: account.missing_permissions,
            regions_enabled: account.regions_enabled,
        }
    }
}

impl Tool for ListAccounts {
    const NAME: &'static str = "list_accounts";
    const TITLE: &'static str = "List accounts";
    const ABOUT: &'static str = "Lists the declared cloud accounts: whether checks can look at them, and what to do where they cannot.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let accounts: Vec<Account> =
            call.ask.accounts(&call.who).await?.into_iter().map(Account::from).collect();
        let total = accounts.len();
        let ready = accounts.iter().filter(|account| account.status == "ready").count();
        let (accounts, next_cursor) =
            page::cut(accounts, input.cursor.as_deref(), page::limit(input.limit), call.room)?;
        Ok(Output { accounts, total, ready, next_cursor })
    }

    async fn rehearse(_: &Call, _: &Input) -> Result<String, AskError> {
        Ok("would list the declared accounts from memory".into())
    }
}
