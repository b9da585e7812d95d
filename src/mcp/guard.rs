//! What keeps a client that has lost its way from doing harm: a budget, a guard against loops, a rate.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tagwarden_app::ask::{AskError, Code, Principal};

/// Clients that are remembered; of more, the one that was silent longest is forgotten.
const CLIENTS: usize = 4096;

const HOUR: Duration = Duration::from_hours(1);

/// How much a client may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls of one principal in an hour.
    pub calls_per_hour: usize,
    /// How often the same call may be made in `loop_window`.
    pub same_calls: usize,
    /// See `same_calls`.
    pub loop_window: Duration,
    /// Calls of one principal in a second, on average; ten times as many at once.
    pub calls_per_second: f64,
    /// Calls of tools that do not exist in a minute.
    pub unknown_tools: usize,
    /// How long a call may take.
    pub call_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_per_hour: 100,
            same_calls: 3,
            loop_window: Duration::from_mins(5),
            calls_per_second: 5.0,
            unknown_tools: 10,
            call_time: Duration::from_secs(28),
        }
    }
}

/// Remembers what clients did lately.
#[derive(Debug)]
pub(crate) struct Guard {
    limits: Limits,
    clients: Mutex<HashMap<(String, String), Client>>,
}

#[derive(Debug)]
struct Client {
    calls: VecDeque<Instant>,
    same: HashMap<String, VecDeque<Instant>>,
    unknown: VecDeque<Instant>,
    tokens: f64,
    refilled: Instant,
}

/// What kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Counts.
    Counted,
    /// Of a tool that does not exist.
    Unknown,
}

impl Guard {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, clients: Mutex::default() }
    }

    /// Lets a call in that does not come too fast, whatever it is and whatever becomes of it.
    pub(crate) fn pace(&self, who: &Principal, now: Instant) -> Result<(), AskError> {
        let per_second = self.limits.calls_per_second;
        self.with(who, now, |client| {
            if client.tokens >= 1.0 {
                client.tokens -= 1.0;
                return Ok(());
            }
            let wait = Duration::from_secs_f64((1.0 - client.tokens) / per_second.max(0.01));
            let error =
                AskError::new(Code::RateLimited, "calls come too fast", "wait, then go on more slowly");
            Err(error.after(wait.max(Duration::from_secs(1))))
        })
    }

    /// Lets a call in that is neither one too many nor a loop. `digest` stands for the call with all its arguments.
    pub(crate) fn admit(
        &self,
        who: &Principal,
        kind: Kind,
        digest: &str,
        now: Instant,
    ) -> Result<(), AskError> {
        self.with(who, now, |client| match kind {
            Kind::Unknown => client.unknown_tool(&self.limits, now),
            Kind::Counted => client.counted(&self.limits, digest, now),
        })
    }

    fn with<T>(&self, who: &Principal, now: Instant, work: impl FnOnce(&mut Client) -> T) -> T {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (who.tenant.to_string(), who.id.to_string());
        if clients.len() >= CLIENTS && !clients.contains_key(&key) {
            let oldest = clients.iter().min_by_key(|(_, client)| client.refilled).map(|(key, _)| key.clone());
            oldest.map(|oldest| clients.remove(&oldest));
        }
        let burst = self.limits.calls_per_second * 10.0;
        let client = clients.entry(key).or_insert_with(|| Client {
            calls: VecDeque::new(),
            same: HashMap::new(),
            unknown: VecDeque::new(),
            tokens: burst,
            refilled: now,
        });
        client.refill(self.limits.calls_per_second, burst, now);
        work(client)
    }
}

impl Client {
    fn refill(&mut self, per_second: f64, burst: f64, now: Instant) {
        let past = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + past * per_second).min(burst);
        self.refilled = now;
    }

    fn unknown_tool(&mut self, limits: &Limits, now: Instant) -> Result<(), AskError> {
        forget(&mut self.unknown, Duration::from_mins(1), now);
        if self.unknown.len() >= limits.unknown_tools {
            return Err(AskError::new(
                Code::RateLimited,
                "too many calls of tools that do not exist",
                "list the tools, and use their names",
            )
            .after(left(&self.unknown, Duration::from_mins(1), now)));
        }
        self.unknown.push_back(now);
        Ok(())
    }

    fn counted(&mut self, limits: &Limits, digest: &str, now: Instant) -> Result<(), AskError> {
        forget(&mut self.calls, HOUR, now);
        if self.calls.len() >= limits.calls_per_hour {
            return Err(AskError::new(
                Code::BudgetExhausted,
                format!("the {} calls of this hour are used up", limits.calls_per_hour),
                "summarise what you have, and tell the user; get_run and cancel_run still work",
            )
            .after(left(&self.calls, HOUR, now)));
        }
        self.same.retain(|_, calls| {
            forget(calls, limits.loop_window, now);
            !calls.is_empty()
        });
        let same = self.same.entry(digest.to_owned()).or_default();
        if same.len() >= limits.same_calls {
            return Err(AskError::new(
                Code::LoopDetected,
                format!("the same call was made {} times already", same.len()),
                "use the answer that you have; to wait for a run call get_run with wait_seconds",
            )
            .after(left(same, limits.loop_window, now)));
        }
        same.push_back(now);
        self.calls.push_back(now);
        Ok(())
    }
}

fn forget(calls: &mut VecDeque<Instant>, window: Duration, now: Instant) {
    while calls.front().is_some_and(|at| now.saturating_duration_since(*at) >= window) {
        calls.pop_front();
    }
}

/// Until the oldest call is forgotten.
fn left(calls: &VecDeque<Instant>, window: Duration, now: Instant) -> Duration {
    let oldest = calls.front().copied().unwrap_or(now);
    (oldest + window).saturating_duration_since(now).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use tagwarden_app::ask::Scope;

    use super::*;

    fn who(id: &str) -> Principal {
        Principal::new("acme", id, [Scope::TagRead])
    }

    #[test]
    fn a_budget_is_of_one_client_and_of_one_hour() {
        let guard = Guard::new(Limits { calls_per_hour: 5, calls_per_second: 1000.0, ..Limits::default() });
        let now = Instant::now();
        let call = |id: &str, n: usize, at| guard.admit(&who(id), Kind::Counted, &n.to_string(), at);
        for n in 0..5 {
            call("a", n, now).unwrap();
        }
        let refused = call("a", 6, now).unwrap_err();
        assert_eq!(refused.code, Code::BudgetExhausted);
        assert_eq!(refused.retry_after, Some(HOUR));
        guard.pace(&who("a"), now).unwrap();
        call("b", 6, now).unwrap();
        call("a", 6, now + HOUR).unwrap();
    }

    #[test]
    fn the_same_call_a_fourth_time_is_a_loop() {
        let guard = Guard::new(Limits::default());
        let now = Instant::now();
        let call = |digest: &str, at| guard.admit(&who("a"), Kind::Counted, digest, at);
        for _ in 0..3 {
            call("same", now).unwrap();
        }
        assert_eq!(call("same", now).unwrap_err().code, Code::LoopDetected);
        call("other", now).unwrap();
        call("same", now + Duration::from_mins(5)).unwrap();
    }

    #[test]
    fn nobody_may_hurry_or_guess() {
        let guard = Guard::new(Limits::default());
        let now = Instant::now();
        for n in 0..10 {
            guard.admit(&who("a"), Kind::Unknown, &n.to_string(), now).unwrap();
        }
        assert_eq!(guard.admit(&who("a"), Kind::Unknown, "", now).unwrap_err().code, Code::RateLimited);
        let call = |at| guard.pace(&who("b"), at);
        assert!((0..100).any(|_| call(now).is_err()));
        assert_eq!(call(now).unwrap_err().retry_after, Some(Duration::from_secs(1)));
        call(now + Duration::from_secs(1)).unwrap();
        guard.pace(&who("c"), now).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let guard = Guard::new(Limits::default());
        let now = Instant::now();
        for n in 0..CLIENTS + 100 {
            guard.admit(&who(&n.to_string()), Kind::Counted, "x", now).unwrap();
        }
        assert!(guard.clients.lock().unwrap().len() <= CLIENTS);
    }
}
