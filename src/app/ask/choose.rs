//! What a question is about, when the asker does not say everything: which policy, which accounts, which types.

use std::collections::BTreeSet;
use std::sync::Arc;

use tagwarden_core::account::AccountId;
use tagwarden_core::policy::{Policy, Requested, compile, fallback};
use tagwarden_core::registry::TypeId;
use tagwarden_core::scope::Scope as RunScope;

use super::error::{AskError, quoted};
use super::ports::{AccountView, CheckOrder, PolicyView};
use super::{AMBIENT, Ask, Principal, Scope};
use crate::audit::ports::PlannedAccount;

/// Names that are told in an error.
const NAMES_TOLD: usize = 20;

/// What somebody wants to have checked. What is empty or absent means everything, or the only one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckRequest {
    /// The name of the policy.
    pub policy: Option<String>,
    /// Resource types, or patterns like `rds:*`. `all` alone means all of them.
    pub resource_types: Vec<String>,
    /// Accounts by name or by id.
    pub accounts: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
}

/// A policy as an answer cites it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cited {
    /// Its name.
    pub name: String,
    /// The digest of its rules.
    pub revision: String,
}

/// The policy that a question is held against, and how it was found.
#[derive(Debug, Clone)]
pub struct PolicyChoice {
    /// What is in force.
    pub policy: Arc<Policy>,
    /// The object it comes from; `None`: there is none, and the built-in one holds.
    pub object: Option<PolicyView>,
    /// What the asker has to know about the choice.
    pub note: Option<String>,
}

/// What exactly is to be checked.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The policy.
    pub choice: PolicyChoice,
    /// The accounts.
    pub accounts: Vec<PlannedAccount>,
    /// The ids of the accounts that were asked for; empty: all.
    pub account_ids: BTreeSet<AccountId>,
    /// The regions asked for; empty: all.
    pub regions: BTreeSet<String>,
    /// The types asked for.
    pub requested: Requested,
    /// The types that will be looked at.
    pub types: BTreeSet<TypeId>,
    /// What is asked for, for comparing.
    pub scope: RunScope,
    /// What the asker should know.
    pub notes: Vec<String>,
}

impl Chosen {
    /// The check that answers the question.
    pub fn order(&self, who: &Principal) -> CheckOrder {
        CheckOrder {
            tenant: Arc::clone(&who.tenant),
            policy: Arc::clone(&self.choice.policy),
            accounts: self.accounts.clone(),
            regions: self.regions.iter().cloned().collect(),
            types: self.requested.clone(),
            scope: self.scope.clone(),
        }
    }
}

impl Ask {
    /// The policy of this name; without a name the only one, else the default one. Without any policy the built-in one,
    /// which is said.
    pub async fn policy(&self, who: &Principal, name: Option<&str>) -> Result<PolicyChoice, AskError> {
        who.must(Scope::TagRead)?;
        let policies = self.objects.policies(&who.tenant).await?;
        let names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
        let find = |wanted: &str| policies.iter().find(|policy| policy.name == wanted).cloned();
        let object = match (name, &policies[..]) {
            (Some(name), _) => {
                find(name).ok_or_else(|| AskError::not_found("policy", name, one_of("policy", &names)))?
            }
            (None, []) => return self.built_in(),
            (None, [only]) => only.clone(),
            (None, _) => {
                let default = self.settings.default_policy.as_deref().and_then(find);
                default.ok_or_else(|| {
                    AskError::invalid("there are several policies", one_of("policy", &names))
                })?
            }
        };
        let Some(policy) = object.in_force.clone() else {
            let why = object.refused.as_deref().unwrap_or("it was not looked at yet");
            return Err(AskError::new(
                super::Code::Conflict,
                format!("policy {} cannot be used: {why}", quoted(&object.name)),
                "correct the TaggingPolicy, or name another policy",
            ));
        };
        let note = object.refused.as_ref().map(|why| {
            format!("the present version of the policy is refused ({why}); the last good one is in force")
        });
        Ok(PolicyChoice { policy, object: Some(object), note })
    }

    fn built_in(&self) -> Result<PolicyChoice, AskError> {
        let compiled = compile(&fallback(), &self.registry)
            .map_err(|_| AskError::internal(&"the built-in policy does not compile"))?;
        let note = "no TaggingPolicy is declared, so the built-in policy is used: it requires CostCenter, Owner and \
                    Environment on every resource";
        Ok(PolicyChoice { policy: Arc::new(compiled.policy), object: None, note: Some(note.to_owned()) })
    }

    /// What exactly this request is about.
    pub async fn choose(&self, who: &Principal, request: &CheckRequest) -> Result<Chosen, AskError> {
        let choice = self.policy(who, request.policy.as_deref()).await?;
        let mut notes: Vec<String> = choice.note.iter().cloned().collect();
        let requested = self.requested(&request.resource_types, &mut notes)?;
        let types: BTreeSet<TypeId> = choice.policy.types_in_scope(&requested).into_iter().collect();
        if types.is_empty() {
            return Err(AskError::invalid(
                format!(
                    "policy {} has no required tag for any of the types asked for",
                    quoted(choice.policy.name())
                ),
                "ask for other types, or for all; get_tagging_policy lists what the policy applies to",
            ));
        }
        let accounts = self.objects.accounts(&who.tenant).await?;
        let (plan, account_ids) = self.plan(who, &request.accounts, &accounts, &mut notes)?;
        let regions =
            request.regions.iter().map(|region| checked_region(region)).collect::<Result<_, _>>()?;
        let scope = RunScope {
            accounts: account_ids.iter().map(ToString::to_string).collect(),
            regions,
            resource_types: match &requested {
                Requested::All => BTreeSet::new(),
                Requested::Types(types) => {
                    types.iter().map(|id| self.registry.row(*id).name.to_string()).collect()
                }
            },
        };
        Ok(Chosen {
            choice,
            accounts: plan,
            account_ids,
            regions: scope.regions.clone(),
            requested,
            types,
            scope,
            notes,
        })
    }

    /// The types that are asked for.
    pub(super) fn requested(&self, asked: &[String], notes: &mut Vec<String>) -> Result<Requested, AskError> {
        let all = |name: &String| matches!(name.as_str(), "all" | "*");
        if asked.is_empty() || asked.iter().all(all) {
            return Ok(Requested::All);
        }
        if asked.iter().any(all) {
            return Err(AskError::invalid(
                "`all` stands beside other types",
                "give either [\"all\"] or a list of types",
            ));
        }
        let mut types = BTreeSet::new();
        for name in asked {
            let meant = self.registry.resolve(name).map_err(|unknown| {
                AskError::invalid(
                    unknown.to_string(),
                    "use a type like ec2:instance, a pattern like rds:*, or all",
                )
            })?;
            if let Some(now) = &meant.renamed {
                notes.push(format!("{} is called `{now}` here", quoted(name)));
            }
            types.extend(meant.types);
        }
        Ok(Requested::Types(types.into_iter().collect()))
    }

    /// The accounts that are asked for, and their ids where some were.
    fn plan(
        &self,
        who: &Principal,
        asked: &[String],
        accounts: &[AccountView],
        notes: &mut Vec<String>,
    ) -> Result<(Vec<PlannedAccount>, BTreeSet<AccountId>), AskError> {
        let planned = |account: &AccountView| PlannedAccount {
            name: account.name.clone(),
            account_id: account.account_id.parse().ok(),
        };
        if accounts.is_empty() && asked.is_empty() {
            if self.settings.ambient_tenant.as_deref() != Some(&*who.tenant) {
                return Err(AskError::new(
                    super::Code::Conflict,
                    "no account is declared",
                    "declare a ClientAccount, and wait until it is Ready",
                ));
            }
            notes.push(
                "no ClientAccount is declared, so the account of the server's own credentials is meant"
                    .into(),
            );
            return Ok((vec![PlannedAccount { name: AMBIENT.into(), account_id: None }], BTreeSet::new()));
        }
        if asked.is_empty() {
            let here = accounts.iter().filter(|account| !account.suspended);
            let left_out = accounts.iter().filter(|account| account.suspended).count();
            if left_out > 0 {
                notes.push(format!("{left_out} suspended accounts are left out"));
            }
            return Ok((here.map(planned).collect(), BTreeSet::new()));
        }
        let names: Vec<String> =
            accounts.iter().map(|account| format!("{} ({})", account.name, account.account_id)).collect();
        let mut plan: Vec<PlannedAccount> = Vec::new();
        let mut ids = BTreeSet::new();
        for wanted in asked {
            let found =
                accounts.iter().find(|account| account.name == *wanted || account.account_id == *wanted);
            let found =
                found.ok_or_else(|| AskError::not_found("account", wanted, one_of("account", &names)))?;
            let account = planned(found);
            if plan.iter().all(|known| known.name != account.name) {
                ids.extend(account.account_id.clone());
                plan.push(account);
            }
        }
        Ok((plan, ids))
    }
}

/// What to give instead.
pub(super) fn one_of(what: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there is none yet: declare one, or leave `{what}` out");
    }
    let told = names.iter().take(NAMES_TOLD).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMES_TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("use one of: {told}{more}")
}

fn checked_region(region: &str) -> Result<String, AskError> {
    let words = region.split('-').collect::<Vec<_>>();
    let plain =
        |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if (3..=5).contains(&words.len()) && words.iter().all(plain) && region.len() <= 32 {
        return Ok(region.to_owned());
    }
    Err(AskError::invalid(
        format!("{} is no region", quoted(region)),
        "use a name like eu-west-1; leave regions out for all that are enabled",
    ))
}
