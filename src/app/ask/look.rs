//! Looking at single resources: their tags now, or the honest word that they are not there or could not be seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tagwarden_core::arn::Arn;
use tagwarden_core::judge::Judge;
use tagwarden_core::listing::{Listing, plan};
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::resource::{GLOBAL, Resource, Tags};
use tagwarden_core::tally::Verdict;
use tokio::sync::{Semaphore, mpsc};

use super::ports::{CheckOrder, Looked};
use crate::audit::ports::Doors;
use crate::ports::{AccountTarget, Inventory, Session};

/// For everything.
const WITHIN: Duration = Duration::from_secs(20);

/// Listings side by side.
const AT_ONCE: usize = 16;

/// Where to look for what.
#[derive(Debug, Default)]
struct Places {
    /// Types by region; the empty region stands for all of them.
    by_region: BTreeMap<String, BTreeSet<TypeId>>,
}

/// What became of one account.
#[derive(Default)]
struct Seen {
    found: HashMap<String, Looked>,
    /// By type: why not all of it could be seen.
    gaps: BTreeMap<TypeId, String>,
    /// Why nothing could be seen.
    closed: Option<String>,
}

/// Looks at these resources in the accounts of the order. Each answer stands at the place of its ARN.
pub(super) async fn look<I: Inventory, D: Doors>(
    inventory: &I,
    doors: &D,
    registry: &Registry,
    order: &CheckOrder,
    arns: &[String],
    now: Timestamp,
) -> Vec<Looked> {
    let parsed: Vec<Option<(Arn<'_>, TypeId)>> = arns
        .iter()
        .map(|text| {
            let arn = Arn::parse(text).ok()?;
            let id = registry.type_of(&arn)?;
            Some((arn, id))
        })
        .collect();
    let mut seen = Vec::new();
    for account in &order.accounts {
        let id = account.account_id.as_ref().map(tagwarden_core::account::AccountId::as_str);
        let mut places = Places::default();
        let mut wanted = BTreeSet::new();
        for (text, (arn, type_id)) in
            arns.iter().zip(&parsed).filter_map(|(text, one)| Some((text, one.as_ref()?)))
        {
            // An ARN without an account may be of any; so may every one where the account is not known yet.
            if !arn.account.is_empty() && id.is_some_and(|id| id != arn.account) {
                continue;
            }
            let region = if registry.row(*type_id).global { GLOBAL } else { arn.region };
            places.by_region.entry(region.to_owned()).or_default().insert(*type_id);
            wanted.insert(text.as_str());
        }
        if wanted.is_empty() {
            continue;
        }
        let one = match doors.target(account).await {
            Ok(target) => {
                let looking = in_account(inventory, registry, order, &target, &places, &wanted, now);
                tokio::time::timeout(WITHIN, looking).await.unwrap_or_else(|_| Seen {
                    closed: Some(format!("account {} did not answer in time", account.name)),
                    ..Seen::default()
                })
            }
            Err(gap) => {
                Seen { closed: Some(format!("account {}: {}", account.name, gap.cause)), ..Seen::default() }
            }
        };
        seen.push((id, one));
    }
    arns.iter().zip(&parsed).map(|(text, parsed)| conclude(text, parsed.as_ref(), &seen)).collect()
}

/// What all accounts together say of one resource.
fn conclude(text: &str, parsed: Option<&(Arn<'_>, TypeId)>, seen: &[(Option<&str>, Seen)]) -> Looked {
    let Some((arn, type_id)) = parsed else {
        return Looked::Unseen("its resource type is not known here".into());
    };
    if let Some(found) = seen.iter().find_map(|(_, seen)| seen.found.get(text)) {
        return found.clone();
    }
    let mut asked = false;
    for (id, seen) in seen {
        if !arn.account.is_empty() && id.is_some_and(|id| id != arn.account) {
            continue;
        }
        asked = true;
        if let Some(why) = seen.closed.as_ref().or_else(|| seen.gaps.get(type_id)) {
            return Looked::Unseen(why.clone());
        }
    }
    if asked {
        Looked::NotFound
    } else {
        Looked::Unseen(format!("account {} is not declared here", arn.account))
    }
}

async fn in_account<I: Inventory>(
    inventory: &I,
    registry: &Registry,
    order: &CheckOrder,
    target: &AccountTarget,
    places: &Places,
    wanted: &BTreeSet<&str>,
    now: Timestamp,
) -> Seen {
    let session = match inventory.enter(target).await {
        Ok(session) => session,
        Err(gap) => return Seen { closed: Some(gap.cause), ..Seen::default() },
    };
    let mut seen = Seen::default();
    let mut jobs: Vec<(Arc<str>, Listing)> = Vec::new();
    for (region, types) in &places.by_region {
        let types: Vec<TypeId> = types.iter().copied().collect();
        let plan = plan(registry, &types);
        let regions: Vec<Arc<str>> = match region.as_str() {
            GLOBAL => vec![GLOBAL.into()],
            "" => match session.regions().await {
                Ok(regions) => regions,
                Err(gap) => {
                    seen.gaps.extend(types.iter().map(|id| (*id, gap.cause.clone())));
                    vec![session.default_region()]
                }
            },
            one => vec![one.into()],
        };
        for listing in plan.global {
            jobs.push((GLOBAL.into(), listing));
        }
        for region in regions.iter().filter(|region| ***region != *GLOBAL) {
            jobs.extend(plan.regional.iter().map(|listing| (Arc::clone(region), listing.clone())));
        }
    }
    let permits = Semaphore::new(AT_ONCE);
    let mut listings: FuturesUnordered<_> =
        jobs.iter().map(|(region, listing)| list(&session, region, listing, wanted, &permits)).collect();
    let mut judge = Judge::new(Arc::clone(&order.policy), now);
    while let Some((region, listing, resources, gap)) = listings.next().await {
        if let Some(gap) = gap {
            listing.types().iter().for_each(|id| drop(seen.gaps.insert(*id, gap.clone())));
        }
        for resource in resources {
            let place = judge.place(session.account_id(), &target.labels, region);
            let mut findings = Vec::new();
            let looked = match (judge.judge(&place, &resource, &mut findings), resource.tags) {
                (verdict, Tags::Read(tags)) => Looked::Found {
                    findings,
                    in_scope: verdict != Verdict::OutOfScope,
                    tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
                },
                (_, Tags::Unread) => Looked::Unseen("it is there, but its tags could not be read".into()),
            };
            seen.found.insert(resource.arn, looked);
        }
    }
    seen
}

/// The wanted resources of one listing, and why not all of it could be seen.
async fn list<'a, S: Session>(
    session: &S,
    region: &'a Arc<str>,
    listing: &'a Listing,
    wanted: &BTreeSet<&str>,
    permits: &Semaphore,
) -> (&'a Arc<str>, &'a Listing, Vec<Resource>, Option<String>) {
    let _permit = permits.acquire().await.ok();
    if matches!(listing, Listing::Impossible(_)) {
        return (region, listing, Vec::new(), Some("nothing can list its type yet".into()));
    }
    let (sender, mut pages) = mpsc::channel(2);
    let mut found = Vec::new();
    let listed = async move {
        let result = session.list(listing, region, &sender).await;
        drop(sender);
        result
    };
    let taken = async {
        while let Some(page) = pages.recv().await {
            found.extend(page.into_iter().filter(|resource| wanted.contains(resource.arn.as_str())));
        }
    };
    let (result, ()) = tokio::join!(listed, taken);
    let gap = match (result, listing) {
        (Err(error), _) => Some(error.gap.cause),
        (Ok(()), Listing::Tagged(_)) => {
            Some("only resources that carry, or once carried, a tag can be seen of its type".into())
        }
        (Ok(()), _) => None,
    };
    (region, listing, found, gap)
}
