//! Runs of an audit: what starts them, what they are called, how they spread.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

/// The most characters of a run id; it is also the name of an object.
pub const MAX_RUN_ID: usize = 253;

/// The most characters of the value of a label.
pub const MAX_LABEL: usize = 63;

/// What makes an audit run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// It is new.
    Created,
    /// Its schedule.
    Schedule,
    /// Somebody asked.
    OnDemand,
    /// Its policy means something else now.
    PolicyChange,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Created, Self::Schedule, Self::OnDemand, Self::PolicyChange];

    /// The word used by the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Schedule => "schedule",
            Self::OnDemand => "on-demand",
            Self::PolicyChange => "policy-change",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Waits for its turn.
    Queued,
    /// Under way, or left behind by a process that ended.
    Running,
    /// Its report is in; whether everything was seen is another matter.
    Succeeded,
    /// Came to nothing: the coverage of its report says why, or the cause for which it was abandoned.
    Failed,
    /// Was stopped; what it had seen by then may be there.
    Cancelled,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will come of it.
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One occasion to run. An audit runs at most once for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What kind of occasion.
    pub trigger: Trigger,
    /// Names the run, by the minute.
    pub at: Timestamp,
    /// Tells it from all other occasions of the audit.
    pub key: String,
}

impl Slot {
    /// The audit is new.
    pub fn created(at: Timestamp) -> Self {
        Self { trigger: Trigger::Created, at, key: "created".into() }
    }

    /// The schedule was due at this instant.
    pub fn schedule(at: Timestamp) -> Self {
        Self { trigger: Trigger::Schedule, at, key: format!("schedule/{at}") }
    }

    /// Somebody asked, with a token that counts once.
    pub fn on_demand(token: &str, at: Timestamp) -> Self {
        Self { trigger: Trigger::OnDemand, at, key: format!("request/{}", short_digest(token)) }
    }

    /// After the run of this id, the policy came to have this revision.
    pub fn policy_change(after: &str, revision: &str, at: Timestamp) -> Self {
        let key = format!("policy/{}/{}", short_digest(after), short_digest(revision));
        Self { trigger: Trigger::PolicyChange, at, key }
    }

    /// The same occasion once more, as the run of this id for it was broken off and cannot go on.
    #[must_use]
    pub fn again(&self, broken_off: &str) -> Self {
        Self { trigger: self.trigger, at: self.at, key: format!("again/{}", short_digest(broken_off)) }
    }
}

/// Thirty-two digits that stand for a text of any length.
fn short_digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

/// The id of a run: the audit's name and its slot in UTC, `nightly-20261121-0300`.
///
/// `attempt` counts from 1; the second run of one minute ends with `-2`. A long name keeps its beginning and a digest,
/// so that the ids of two audits differ.
pub fn run_id(audit: &str, slot: Timestamp, attempt: u32) -> String {
    let minute = slot.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M").to_string();
    let suffix = if attempt > 1 { format!("-{minute}-{attempt}") } else { format!("-{minute}") };
    format!("{}{suffix}", fitting(audit, MAX_RUN_ID - suffix.len()))
}

/// A name as the value of a label, at most [`MAX_LABEL`] characters.
pub fn label_value(name: &str) -> String {
    fitting(name, MAX_LABEL)
}

/// The name, or its beginning and a digest of all of it.
fn fitting(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let digest = hex::encode(&Sha256::digest(name)[..4]);
    let head = &name[..name.floor_char_boundary(most.saturating_sub(digest.len() + 1))];
    format!("{}-{digest}", head.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
}

/// How long after its slot the object of this uid starts: always the same, and evenly spread over `0..most`.
pub fn jitter(uid: &str, most: Duration) -> Duration {
    let digest = Sha256::digest(uid);
    let share = digest[..8].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let milliseconds = (most.as_millis() * u128::from(share)) >> 64;
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_run_is_called_after_its_audit_and_slot() {
        let slot = at("2026-11-21T03:00:59Z");
        assert_eq!(run_id("nightly", slot, 1), "nightly-20261121-0300");
        assert_eq!(run_id("nightly", slot, 2), "nightly-20261121-0300-2");
        assert_eq!(run_id("nightly", at("2026-11-21T04:30:00+05:30"), 1), "nightly-20261120-2300");
    }

    #[test]
    fn long_names_stay_different() {
        let (one, two) = (format!("{}.a", "x".repeat(250)), format!("{}.b", "x".repeat(250)));
        let slot = at("2026-11-21T03:00:00Z");
        let (first, second) = (run_id(&one, slot, 1), run_id(&two, slot, 1));
        assert_ne!(first, second);
        assert!(first.len() <= MAX_RUN_ID && first.ends_with("-20261121-0300"));
        assert_ne!(label_value(&one), label_value(&two));
    }

    #[test]
    fn jitter_is_stable_and_spread() {
        let most = Duration::from_mins(5);
        let all: Vec<Duration> = (0..1000).map(|n| jitter(&format!("uid-{n}"), most)).collect();
        assert_eq!(all[7], jitter("uid-7", most));
        for tenth in 0..10 {
            let (from, to) = (most * tenth / 10, most * (tenth + 1) / 10);
            let here = all.iter().filter(|delay| (from..to).contains(delay)).count();
            assert!((60..=140).contains(&here), "{here} of 1000 in tenth {tenth}");
        }
        assert_eq!(jitter("uid", Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn names_fit_and_end_well(name in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", attempt in 1_u32..100_000, second in 0_i64..4_000_000_000) {
            let id = run_id(&name, Timestamp::from_second(second).unwrap(), attempt);
            prop_assert!(id.len() <= MAX_RUN_ID);
            let value = label_value(&name);
            prop_assert!(value.len() <= MAX_LABEL);
            prop_assert!(value.ends_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(!id.contains(".-") || name.contains(".-"));
        }

        #[test]
        fn jitter_stays_below_its_bound(uid in any::<String>(), millis in 1_u64..u64::MAX) {
            prop_assert!(jitter(&uid, Duration::from_millis(millis)) < Duration::from_millis(millis));
        }
    }
}
