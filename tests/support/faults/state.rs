//! What a proxy remembers: rules, trust, credentials, listings it cut, and every call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer::Answer;
use super::call::{AMBIENT_ACCOUNT, Call, Identity};
use super::listing::{List, Paging, paging};
use super::rule::{Rule, Strike, Target, strike};

/// Calls kept in the log; later ones are only counted.
const MAX_CALLS: usize = 200_000;
/// Listings whose further pages can still be asked for.
const MAX_LISTINGS: usize = 1024;
/// Tripwires kept.
const MAX_TRIPWIRES: usize = 100;

/// What a role asks of those who assume it.
pub(super) type ExternalId = Option<String>;

/// A listing that was fetched whole and is served in pages.
#[derive(Debug)]
pub(super) struct CutListing {
    pub(super) paging: Paging,
    pub(super) answer: Answer,
    pub(super) list: List,
    pub(super) size: usize,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) rules: Vec<Rule>,
    pub(super) trust: BTreeMap<String, ExternalId>,
    pub(super) enabled_regions: BTreeSet<String>,
    pub(super) calls: Vec<Call>,
    pub(super) uncounted: u64,
    pub(super) tripwires: Vec<String>,
    pub(super) most_in_flight: usize,
    pub(super) most_in_flight_of: HashMap<String, usize>,
    in_flight: usize,
    in_flight_of: HashMap<String, usize>,
    accounts: HashMap<String, String>,
    listings: BTreeMap<u64, Arc<CutListing>>,
    next_listing: u64,
    bucket_regions: HashMap<(String, String), String>,
}

/// The shared state of one proxy.
#[derive(Debug, Clone, Default)]
pub(super) struct State(Arc<Mutex<Inner>>);

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call into the log and picks what happens to it. The guard leaves when the call is over.
    pub(super) fn begin(&self, identity: &Identity) -> (InFlight, Strike) {
        let mut inner = self.lock();
        let account = inner.account_of(&identity.access_key);
        let further_page = identity.page_token.is_some();
        let target = Target {
            service: &identity.service,
            action: &identity.action,
            region: &identity.region,
            account: &account,
            further_page,
            pages: paging(identity).is_some(),
        };
        let strike = strike(&mut inner.rules, &target);
        inner.in_flight += 1;
        inner.most_in_flight = inner.most_in_flight.max(inner.in_flight);
        let of_service = inner.in_flight_of.entry(identity.service.clone()).or_default();
        *of_service += 1;
        let of_service = *of_service;
        let most = inner.most_in_flight_of.entry(identity.service.clone()).or_default();
        *most = (*most).max(of_service);
        let call = Call {
            service: identity.service.clone(),
            action: identity.action.clone(),
            region: identity.region.clone(),
            account,
            attempt: identity.attempt,
            further_page,
            in_flight: inner.in_flight,
            status: None,
            fault: strike.answer.as_ref().or(strike.wire.as_ref()).map(super::rule::Fault::name),
        };
        let index = inner.calls.len();
        if index < MAX_CALLS {
            inner.calls.push(call);
        } else {
            inner.uncounted += 1;
        }
        drop(inner);
        (InFlight { state: self.clone(), service: identity.service.clone(), index }, strike)
    }

    pub(super) fn trip(&self, what: String) {
        let mut inner = self.lock();
        if inner.tripwires.len() < MAX_TRIPWIRES {
            inner.tripwires.push(what);
        }
    }
}

impl Inner {
    pub(super) fn account_of(&self, access_key: &str) -> String {
        self.accounts.get(access_key).cloned().unwrap_or_else(|| AMBIENT_ACCOUNT.to_owned())
    }

    pub(super) fn learn(&mut self, access_key: String, account: String) {
        self.accounts.insert(access_key, account);
    }

    pub(super) fn keep(&mut self, listing: CutListing) -> (u64, Arc<CutListing>) {
        let id = self.next_listing;
        self.next_listing += 1;
        let listing = Arc::new(listing);
        self.listings.insert(id, Arc::clone(&listing));
        if self.listings.len() > MAX_LISTINGS {
            self.listings.pop_first();
        }
        (id, listing)
    }

    pub(super) fn listing(&self, id: u64) -> Option<Arc<CutListing>> {
        self.listings.get(&id).cloned()
    }

    pub(super) fn bucket_region(&self, account: &str, bucket: &str) -> Option<String> {
        self.bucket_regions.get(&(account.to_owned(), bucket.to_owned())).cloned()
    }

    pub(super) fn learn_bucket_region(&mut self, account: &str, bucket: &str, region: &str) {
        self.bucket_regions.insert((account.to_owned(), bucket.to_owned()), region.to_owned());
    }
}

/// One call being served. It is also over when the caller hangs up.
#[derive(Debug)]
pub(super) struct InFlight {
    state: State,
    service: String,
    index: usize,
}

impl InFlight {
    pub(super) fn answered(&self, status: u16) {
        if let Some(call) = self.state.lock().calls.get_mut(self.index) {
            call.status = Some(status);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        inner.in_flight -= 1;
        if let Some(count) = inner.in_flight_of.get_mut(&self.service) {
            *count -= 1;
        }
    }
}
