//! What an audit stands on: its policy, its accounts, its runs so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::{AuditAccounts, ComplianceAudit};
use tagwarden_api::condition::READY;
use tagwarden_app::audit::ports::{PlannedAccount, RunRecord, Runs, RunsError};
use tagwarden_core::policy::Policy;
use tagwarden_core::scope::Scope;

use super::decide::Accounts;
use super::validate::selects;
use crate::account::{self, Namesake, Rival};
use crate::cache::Cache;
use crate::conditions::{find, is_true};
use crate::context::Frame;
use crate::key::Key;
use crate::policy::{NotInForce, in_force};

/// Runs that are remembered of each audit: a few more than a status shows.
pub(super) const RUNS: usize = 12;

/// What an audit stands on.
#[derive(Debug)]
pub(super) struct Facts {
    /// The policy in force, or why there is none.
    pub(super) policy: Result<Arc<Policy>, String>,
    /// The accounts it selects, by name.
    pub(super) accounts: Vec<Arc<ClientAccount>>,
    /// The accounts it names that are not there.
    pub(super) missing: Vec<String>,
    /// Its runs, newest first.
    pub(super) runs: Vec<RunRecord>,
}

/// Why that cannot be said now.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The runs.
    Runs(RunsError),
    /// The policy.
    Policy(crate::failure::ObjectError),
}

/// How an account stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Since when it can be entered, if it can.
    pub(super) ready_since: Option<Timestamp>,
    /// Why it is as it is, in one word.
    pub(super) reason: String,
}

/// Everything that the audit stands on.
pub(super) async fn dereference<R: Runs>(
    frame: &Frame,
    runs: &R,
    audit: &ComplianceAudit,
) -> Result<Facts, Unknown> {
    let namespace = audit.namespace().unwrap_or_default();
    let policy = match in_force(frame, &namespace, &audit.spec.policy_ref.name).await {
        Ok(policy) => Ok(policy),
        Err(NotInForce::Unread(error)) => return Err(Unknown::Policy(error)),
        Err(error) => Err(error.to_string()),
    };
    let (accounts, missing) = selected(&audit.spec.accounts, frame.accounts.in_namespace(&namespace));
    let accounts = without_twins(accounts, &frame.accounts);
    let runs = recent(runs, audit).await.map_err(Unknown::Runs)?;
    Ok(Facts { policy, accounts, missing, runs })
}

/// The runs of the audit, newest first.
pub(super) async fn recent<R: Runs>(runs: &R, audit: &ComplianceAudit) -> Result<Vec<RunRecord>, RunsError> {
    let key = Key::of(audit);
    runs.recent(&key.namespace, &audit.uid().unwrap_or_default(), RUNS).await
}

/// The accounts that are selected, and the names that are nobody's.
fn selected(wanted: &AuditAccounts, all: Vec<Arc<ClientAccount>>) -> (Vec<Arc<ClientAccount>>, Vec<String>) {
    if !wanted.names.is_empty() {
        let mut missing: BTreeSet<String> = wanted.names.iter().cloned().collect();
        let found = all.into_iter().filter(|account| missing.remove(&account.name_any())).collect();
        return (found, missing.into_iter().collect());
    }
    let here = |account: &Arc<ClientAccount>| match &wanted.selector {
        Some(selector) => selects(selector, account.labels()),
        None => wanted.all,
    };
    (all.into_iter().filter(here).collect(), Vec::new())
}

/// These objects without those that name an account which another one of them has: it is looked at once, and nothing
/// of it stays unseen.
pub(super) fn without_twins(
    accounts: Vec<Arc<ClientAccount>>,
    known: &Cache<ClientAccount>,
) -> Vec<Arc<ClientAccount>> {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for account in &accounts {
        *named.entry(&account.spec.account_id).or_default() += 1;
    }
    if named.values().all(|count| *count < 2) {
        return accounts;
    }
    let all = known.all();
    let is_twin = |account: &ClientAccount| {
        named[&*account.spec.account_id] > 1
            && matches!(
                account::rival(&all, account),
                Some(Rival { namesake: Namesake::Here(first), .. })
                    if accounts.iter().any(|other| other.name_any() == first)
            )
    };
    accounts.iter().filter(|account| !is_twin(account)).cloned().collect()
}

impl Facts {
    /// How each selected account stands now, by name.
    pub(super) fn standings(&self) -> BTreeMap<String, Standing> {
        let standing = |account: &Arc<ClientAccount>| {
            let ready = find(&account.status.as_ref()?.conditions, READY)?;
            let ready_since = (ready.status == "True").then_some(ready.last_transition_time.0);
            Some((account.name_any(), Standing { ready_since, reason: ready.reason.clone() }))
        };
        self.accounts.iter().filter_map(standing).collect()
    }

    /// The selected accounts in numbers.
    pub(super) fn in_numbers(&self) -> Accounts {
        let unobserved = |account: &&Arc<ClientAccount>| {
            let status = account.status.as_ref();
            !account.spec.suspend && status.and_then(|status| status.observed_generation).unwrap_or(-1) < 0
        };
        let ready = |account: &&Arc<ClientAccount>| {
            account.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY))
        };
        Accounts {
            found: self.accounts.len(),
            unobserved: self.accounts.iter().filter(unobserved).count(),
            ready: self.accounts.iter().filter(ready).count(),
        }
    }

    /// What a run is to look at.
    pub(super) fn plan(&self) -> Vec<PlannedAccount> {
        let found = self.accounts.iter().map(|account| PlannedAccount {
            name: account.name_any(),
            account_id: account.spec.account_id.parse().ok(),
        });
        let missing = self.missing.iter().map(|name| PlannedAccount { name: name.clone(), account_id: None });
        found.chain(missing).collect()
    }
}

/// The scope as it was asked for, so that runs can be compared: all accounts stay all accounts when one joins, and
/// those that are named stay the same ones while one is missing.
pub(super) fn scope(audit: &ComplianceAudit) -> Scope {
    let spec = &audit.spec;
    let accounts = match &spec.accounts.selector {
        _ if !spec.accounts.names.is_empty() => {
            spec.accounts.names.iter().map(|name| format!("name {name}")).collect()
        }
        Some(selector) => {
            let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
            let others = selector
                .match_expressions
                .iter()
                .map(|wanted| format!("{} {:?} ({})", wanted.key, wanted.operator, wanted.values.join(", ")));
            labels.chain(others).map(|label| format!("label {label}")).collect()
        }
        None => BTreeSet::new(),
    };
    let resources = spec.resources.clone().unwrap_or_default();
    let excluded = resources.exclude.iter().map(|pattern| format!("!{pattern}"));
    Scope {
        accounts,
        regions: spec.regions.iter().flat_map(|regions| regions.include.iter().cloned()).collect(),
        resource_types: resources.include.iter().cloned().chain(excluded).collect(),
    }
}
