//! Who waits for a check: one that nobody wants any more, and that nobody knows by its id, is not worth its calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Ask, Principal};

/// A tenant, and the id of a run of theirs.
type Key = (Arc<str>, String);

/// How many wait for each run whose id nobody has been told yet.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<Key, usize>>);

/// Somebody who waits for a check that began for them. Dropped before its id was told, it ends the check, unless others
/// wait for it, too.
#[must_use = "dropped, it ends the check"]
pub struct Wanted {
    ask: Ask,
    who: Principal,
    run_id: String,
    told: bool,
}

impl Wanted {
    /// Somebody waits for a check that has just begun, or that others wait for; `None`: it goes on anyway.
    pub(super) fn new(ask: &Ask, who: &Principal, run_id: &str, began: bool) -> Option<Self> {
        let key = (Arc::clone(&who.tenant), run_id.to_owned());
        let wanted = || Self { ask: ask.clone(), who: who.clone(), run_id: run_id.to_owned(), told: false };
        ask.waiting.join(key, began).then(wanted)
    }

    /// They know its id, and have to end it themselves.
    pub fn told(mut self) {
        self.ask.waiting.keep(&self.who.tenant, &self.run_id);
        self.told = true;
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let key = (Arc::clone(&self.who.tenant), self.run_id.clone());
        if self.told || !self.ask.waiting.leave(&key) {
            return;
        }
        let (ask, who, run_id) = (self.ask.clone(), self.who.clone(), self.run_id.clone());
        // Without a runtime the process is ending, and the check with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = ask.cancel(&who, &run_id).await {
                    tracing::warn!(run_id, %error, "a check that nobody waits for could not be ended");
                }
            });
        }
    }
}

impl Waiting {
    /// One more waits; false: somebody knows the run by its id already.
    fn join(&self, key: Key, began: bool) -> bool {
        let mut waiting = self.lock();
        if !began && !waiting.contains_key(&key) {
            return false;
        }
        *waiting.entry(key).or_default() += 1;
        true
    }

    /// Somebody knows the run by its id: it goes on, whoever goes away.
    pub(super) fn keep(&self, tenant: &Arc<str>, run_id: &str) {
        self.lock().remove(&(Arc::clone(tenant), run_id.to_owned()));
    }

    /// One goes away; true: it was the last one.
    fn leave(&self, key: &Key) -> bool {
        let mut waiting = self.lock();
        match waiting.get_mut(key) {
            Some(number) if *number > 1 => {
                *number -= 1;
                false
            }
            Some(_) => waiting.remove(key).is_some(),
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_ends_a_check_unless_somebody_knows_its_id() {
        let waiting = Waiting::default();
        let key = || -> Key { ("acme".into(), "adhoc-1".to_owned()) };
        assert!(waiting.join(key(), true) && waiting.join(key(), false));
        assert!(!waiting.leave(&key()), "another one waits");
        assert!(waiting.leave(&key()), "nobody waits");
        assert!(!waiting.leave(&key()) && !waiting.join(key(), false), "it is nobody's business any more");
        assert!(waiting.join(key(), true) && waiting.join(key(), false));
        waiting.keep(&key().0, &key().1);
        assert!(!waiting.leave(&key()) && !waiting.leave(&key()), "somebody may ask for it");
        assert!(waiting.lock().is_empty());
    }
}
