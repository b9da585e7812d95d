//! Conditions: what a status says of its object, one line for each question.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tagwarden_api::condition::READY;
pub use tagwarden_core::text::bounded;

/// Longer messages are cut; the API allows 32768 characters, and statuses are to stay small.
const MESSAGE_CHARS_MAX: usize = 1024;

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    True,
    /// No.
    False,
    /// It could not be found out.
    Unknown,
}

impl Answer {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

/// A condition as it should be, without the times that depend on what was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which condition, of `tagwarden_api::condition`.
    pub condition: &'static str,
    /// The answer.
    pub answer: Answer,
    /// Why, a word of `tagwarden_api::condition::reason`.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Finding {
    /// A condition as it should be.
    pub fn new(
        condition: &'static str,
        answer: impl Into<Answer>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { condition, answer: answer.into(), reason, message: message.into() }
    }
}

/// The conditions as they should be, in this order. One whose answer stays the same keeps the time of its last
/// transition; one that was there and is not named is dropped.
pub fn merge(
    before: &[Condition],
    findings: Vec<Finding>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let merged = findings.into_iter().map(|finding| {
        let same = before.iter().find(|condition| condition.type_ == finding.condition);
        let same = same.filter(|condition| condition.status == finding.answer.as_str());
        Condition {
            last_transition_time: same
                .map_or_else(|| seconds(now), |condition| condition.last_transition_time.clone()),
            message: bounded(&finding.message, MESSAGE_CHARS_MAX),
            observed_generation: Some(generation),
            reason: finding.reason.to_owned(),
            status: finding.answer.as_str().to_owned(),
            type_: finding.condition.to_owned(),
        }
    });
    merged.collect()
}

/// What is said where events are refused, after what else there is to say.
pub const NO_EVENTS: &str = "; events cannot be written: let the service account of Tagwarden create and patch events of \
                             events.k8s.io, as the rules of the Helm chart do";

/// Says in Ready that events are refused. `refused` is `None` while that is not known: then it is as it was.
pub fn note_events(findings: &mut [Finding], before: &[Condition], refused: Option<bool>) {
    let said = || find(before, READY).is_some_and(|ready| ready.message.ends_with(NO_EVENTS));
    if refused.unwrap_or_else(said) {
        let ready = findings.iter_mut().filter(|finding| finding.condition == READY);
        ready.for_each(|ready| ready.message.push_str(NO_EVENTS));
    }
}

/// Whether a condition is there and True.
pub fn is_true(conditions: &[Condition], condition: &str) -> bool {
    find(conditions, condition).is_some_and(|condition| condition.status == "True")
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], condition: &str) -> Option<&'a Condition> {
    conditions.iter().find(|candidate| candidate.type_ == condition)
}

/// A time as statuses hold it: in whole seconds, as the API drops the rest, and two statuses that say the same have
/// to be equal.
pub fn seconds(time: Timestamp) -> Time {
    let whole = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    Time(time.round(whole).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(answer: Answer, message: &str) -> Finding {
        Finding::new("Ready", answer, "Succeeded", message)
    }

    #[test]
    fn a_transition_has_a_time_and_a_repetition_keeps_it() {
        let first = merge(&[], vec![ready(Answer::True, "a")], 1, at(10));
        assert_eq!(first[0].last_transition_time, Time(at(10)));
        let second = merge(&first, vec![ready(Answer::True, "b")], 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].message, "b");
        assert_eq!(second[0].observed_generation, Some(2));
        let third = merge(&second, vec![ready(Answer::False, "b")], 2, at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn events_that_are_refused_are_told_until_it_is_known_that_they_are_not() {
        let told = |before: &[Condition], refused| {
            let mut findings = vec![ready(Answer::True, "a")];
            note_events(&mut findings, before, refused);
            merge(before, findings, 1, at(1))
        };
        let silent = told(&[], None);
        assert_eq!(silent[0].message, "a");
        let refused = told(&silent, Some(true));
        assert!(refused[0].message.starts_with("a; events cannot"));
        assert_eq!(told(&refused, Some(true)), refused);
        assert_eq!(told(&refused, None), refused, "after a restart");
        assert_eq!(told(&refused, Some(false)), silent);
    }

    #[test]
    fn what_is_not_found_any_more_is_dropped() {
        let before =
            merge(&[], vec![ready(Answer::False, ""), Finding::new("Stalled", true, "x", "")], 1, at(1));
        let after = merge(&before, vec![ready(Answer::True, "")], 1, at(2));
        assert_eq!(after.len(), 1);
        assert!(is_true(&after, "Ready") && !is_true(&after, "Stalled"));
    }

    #[test]
    fn times_are_whole_seconds_and_messages_are_bounded() {
        let late: Timestamp = "2026-11-21T10:00:00.999999999Z".parse().unwrap();
        assert_eq!(seconds(late).0.to_string(), "2026-11-21T10:00:00Z");
        let merged = merge(&[], vec![ready(Answer::True, &"é".repeat(5000))], 1, late);
        assert_eq!(merged[0].message.chars().count(), MESSAGE_CHARS_MAX);
        assert!(merged[0].message.ends_with('…'));
    }
}
