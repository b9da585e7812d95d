//! Counts of findings that were asked for lately. What a run found does not change any more once it has results, and
//! counting it takes longer than the rest of an answer; so it is counted once, not for every page and every asker.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ports::{FindingCount, FindingQuery};

/// Counts that are remembered; of more, the oldest is forgotten.
const REMEMBERED: usize = 256;

/// The counts. A run that is forgotten meanwhile is missed by whoever reads its findings.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<VecDeque<Count>>);

#[derive(Debug)]
struct Count {
    tenant: String,
    run_id: String,
    query: FindingQuery,
    count: FindingCount,
}

impl Counted {
    /// How many there are, if that is remembered.
    pub(super) fn get(&self, tenant: &str, run_id: &str, query: &FindingQuery) -> Option<FindingCount> {
        let counts = self.lock();
        let same = |one: &&Count| one.run_id == run_id && one.tenant == tenant && one.query == *query;
        counts.iter().find(same).map(|one| one.count)
    }

    /// Remembers it.
    pub(super) fn put(&self, tenant: &str, run_id: &str, query: &FindingQuery, count: FindingCount) {
        let mut counts = self.lock();
        if counts.len() >= REMEMBERED {
            counts.pop_front();
        }
        let (tenant, run_id) = (tenant.to_owned(), run_id.to_owned());
        counts.push_back(Count { tenant, run_id, query: query.clone(), count });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_of_one_tenant_run_and_query_and_not_for_ever() {
        let counted = Counted::default();
        let (all, some) = (FindingQuery::default(), FindingQuery { with_exempt: true, ..Default::default() });
        let count = |findings| FindingCount { findings, resources: 1 };
        counted.put("acme", "run-1", &all, count(7));
        assert_eq!(counted.get("acme", "run-1", &all), Some(count(7)));
        for (tenant, run, query) in
            [("globex", "run-1", &all), ("acme", "run-2", &all), ("acme", "run-1", &some)]
        {
            assert_eq!(counted.get(tenant, run, query), None, "{tenant} {run} {query:?}");
        }
        for number in 0..REMEMBERED {
            counted.put("acme", &format!("later-{number}"), &all, count(1));
        }
        assert_eq!(counted.get("acme", "run-1", &all), None);
        assert_eq!(counted.lock().len(), REMEMBERED);
    }
}
