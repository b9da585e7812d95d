//! Which object is worked on next: each at most once at a time, at most one timer for each, and what comes in while
//! an object is being worked on is done afterwards.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::key::Key;

/// The objects that are due, now or later.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// The entries that wait, by when they are due. Those being worked on are not among them.
    timers: BTreeSet<(Instant, Key)>,
    adds: u64,
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    /// Since when it is being worked on.
    running: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Work on this object, which was due this long ago.
    Take(Key, Duration),
    /// Wait, until then where something has a time.
    Wait(Option<Instant>),
}

/// What became of an object that was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, to be looked at again at this time if any.
    Done(Option<Instant>),
    /// Failed; looked at again at this time, after which `failures` counts one more.
    Failed(Instant),
    /// Broken off: due at once, when somebody may work on it again.
    BrokenOff,
}

impl Queue {
    /// Makes an object due at once.
    pub fn add(&self, key: &Key) {
        self.add_at(key, Instant::now());
    }

    /// Makes an object due at this time, unless it is due sooner.
    pub fn add_at(&self, key: &Key, at: Instant) {
        self.lock().add(key, at);
        self.wake.notify_one();
    }

    /// The object whose turn it is; it counts as being worked on until [`Queue::finish`].
    pub fn turn(&self, now: Instant) -> Turn {
        self.lock().turn(now)
    }

    /// Takes note of what became of an object.
    pub fn finish(&self, key: &Key, outcome: Outcome) {
        self.lock().finish(key, outcome);
        self.wake.notify_one();
    }

    /// Failures in a row of this object.
    pub fn failures(&self, key: &Key) -> u32 {
        self.lock().entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// How many objects are due now.
    pub fn depth(&self, now: Instant) -> usize {
        self.lock().timers.iter().take_while(|(due, _)| *due <= now).count()
    }

    /// Since when each object that is being worked on is.
    pub fn running(&self) -> Vec<Instant> {
        self.lock().entries.values().filter_map(|entry| entry.running).collect()
    }

    /// How many times an object was made due, ever.
    pub fn adds(&self) -> u64 {
        self.lock().adds
    }

    /// Waits until something was added or finished.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, key: &Key, at: Instant) {
        self.adds += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.due.is_some_and(|due| due <= at) {
            return;
        }
        let before = entry.due.replace(at);
        if entry.running.is_none() {
            if let Some(before) = before {
                self.timers.remove(&(before, key.clone()));
            }
            self.timers.insert((at, key.clone()));
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        match self.timers.first() {
            Some((due, _)) if *due > now => Turn::Wait(Some(*due)),
            None => Turn::Wait(None),
            Some(_) => {
                let Some((due, key)) = self.timers.pop_first() else { return Turn::Wait(None) };
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.due = None;
                    entry.running = Some(now);
                }
                Turn::Take(key, now.saturating_duration_since(due))
            }
        }
    }

    fn finish(&mut self, key: &Key, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(since) = entry.running.take() else { return };
        let again = match outcome {
            Outcome::Done(again) => {
                entry.failures = 0;
                again
            }
            Outcome::Failed(again) => {
                entry.failures = entry.failures.saturating_add(1);
                Some(again)
            }
            Outcome::BrokenOff => Some(since),
        };
        entry.due = match (entry.due, again) {
            (Some(due), Some(again)) => Some(due.min(again)),
            (due, again) => due.or(again),
        };
        if let Some(due) = entry.due {
            self.timers.insert((due, key.clone()));
        } else if entry.failures == 0 {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("tenant", name)
    }

    fn taken(turn: Turn) -> Option<String> {
        match turn {
            Turn::Take(key, _) => Some(key.name.to_string()),
            Turn::Wait(_) => None,
        }
    }

    #[test]
    fn an_object_is_worked_on_once_at_a_time_and_again_when_it_changed_meanwhile() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add_at(&key("a"), now);
        queue.add_at(&key("a"), now);
        assert_eq!(taken(queue.turn(now)).as_deref(), Some("a"));
        assert_eq!(queue.turn(now), Turn::Wait(None), "it is being worked on");
        queue.add_at(&key("a"), now);
        assert_eq!(queue.turn(now), Turn::Wait(None), "it is still being worked on");
        queue.finish(&key("a"), Outcome::Done(None));
        assert_eq!(taken(queue.turn(now)).as_deref(), Some("a"), "it changed meanwhile");
        queue.finish(&key("a"), Outcome::Done(None));
        assert_eq!(queue.turn(now), Turn::Wait(None));
    }

    #[test]
    fn a_change_comes_before_a_timer_and_replaces_it() {
        let queue = Queue::default();
        let now = Instant::now();
        let later = now + Duration::from_mins(1);
        queue.add_at(&key("a"), later);
        assert_eq!(queue.turn(now), Turn::Wait(Some(later)));
        queue.add_at(&key("a"), now);
        assert_eq!(taken(queue.turn(now)).as_deref(), Some("a"));
        queue.finish(&key("a"), Outcome::Done(None));
        assert_eq!(queue.turn(later), Turn::Wait(None), "the timer is gone");
    }

    #[test]
    fn failures_are_counted_until_a_success() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add_at(&key("a"), now);
        for failures in 1..=3 {
            queue.turn(now);
            queue.finish(&key("a"), Outcome::Failed(now));
            assert_eq!(queue.failures(&key("a")), failures);
        }
        queue.turn(now);
        queue.finish(&key("a"), Outcome::Done(Some(now)));
        assert_eq!(queue.failures(&key("a")), 0);
    }

    #[test]
    fn an_object_that_is_done_with_leaves_nothing_behind() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add_at(&key("a"), now);
        queue.turn(now);
        queue.finish(&key("a"), Outcome::Failed(now));
        queue.turn(now);
        queue.finish(&key("a"), Outcome::Done(None));
        assert_eq!(queue.turn(now), Turn::Wait(None));
        assert!(queue.lock().entries.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u8),
        Turn,
        Finish(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..4, 0_u8..4).prop_map(|(key, at)| Step::Add(key, at)),
            Just(Step::Turn),
            (0_u8..4, 0_u8..3).prop_map(|(key, how)| Step::Finish(key, how)),
        ]
    }

    proptest! {
        /// Whatever happens: a timer has an entry that is not being worked on, an entry that waits has its timer,
        /// and nothing is taken twice.
        #[test]
        fn timers_and_entries_agree(steps in prop::collection::vec(step(), 0..60)) {
            let start = Instant::now();
            let mut state = State::default();
            for step in steps {
                match step {
                    Step::Add(name, at) => {
                        state.add(&key(&name.to_string()), start + Duration::from_secs(at.into()));
                    }
                    Step::Turn => {
                        let before: Vec<Key> =
                            state.entries.iter().filter(|(_, entry)| entry.running.is_some()).map(|(key, _)| key.clone()).collect();
                        if let Turn::Take(key, _) = state.turn(start + Duration::from_secs(2)) {
                            prop_assert!(!before.contains(&key));
                        }
                    }
                    Step::Finish(name, how) => {
                        let outcome = match how {
                            0 => Outcome::Done(None),
                            1 => Outcome::Failed(start + Duration::from_secs(3)),
                            _ => Outcome::BrokenOff,
                        };
                        state.finish(&key(&name.to_string()), outcome);
                    }
                }
                for (due, key) in &state.timers {
                    let entry = &state.entries[key];
                    prop_assert_eq!(entry.due, Some(*due));
                    prop_assert!(entry.running.is_none());
                }
                let waiting = state.entries.values().filter(|entry| entry.running.is_none() && entry.due.is_some());
                prop_assert_eq!(waiting.count(), state.timers.len());
            }
        }
    }
}
