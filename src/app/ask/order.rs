//! Scheduling an audit: from a few words to an object that then runs by itself.

use jiff::Timestamp;
use tagwarden_core::policy::Requested;
use tagwarden_core::schedule::Schedule;

use super::error::{AskError, Code, quoted};
use super::ports::{AuditOrder, Written};
use super::{Ask, Principal, Scope};

/// How often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cadence {
    /// Every day at this hour and minute.
    Daily(u8, u8),
    /// Every Monday.
    Weekly(u8, u8),
    /// Every first of the month.
    Monthly(u8, u8),
    /// Five fields of cron.
    Cron(String),
}

impl Cadence {
    /// Five fields of cron.
    pub fn cron(&self) -> String {
        match self {
            Self::Daily(hour, minute) => format!("{minute} {hour} * * *"),
            Self::Weekly(hour, minute) => format!("{minute} {hour} * * 1"),
            Self::Monthly(hour, minute) => format!("{minute} {hour} 1 * *"),
            Self::Cron(text) => text.clone(),
        }
    }
}

/// An audit that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// Its name; one made of the rest of the request where absent, so that the same request means the same audit.
    pub name: Option<String>,
    /// How often.
    pub cadence: Cadence,
    /// The IANA name of a time zone.
    pub time_zone: String,
    /// Resource types, or patterns; empty: all.
    pub resource_types: Vec<String>,
    /// The name of the policy; the only one where absent.
    pub policy: Option<String>,
}

/// An audit that is scheduled, or would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    /// What was written.
    pub order: AuditOrder,
    /// What became of it.
    pub written: Written,
    /// When it runs next.
    pub next_run: Option<Timestamp>,
}

impl Ask {
    /// Creates or changes an audit over all accounts. With `dry_run` nothing is written.
    pub async fn schedule(
        &self,
        who: &Principal,
        request: &ScheduleRequest,
        dry_run: bool,
    ) -> Result<Scheduled, AskError> {
        who.must(Scope::AuditWrite)?;
        let choice = self.policy(who, request.policy.as_deref()).await?;
        let Some(policy) = &choice.object else {
            return Err(AskError::new(
                Code::Conflict,
                "no TaggingPolicy is declared, and an audit needs one",
                "declare a TaggingPolicy first; `tagwarden policy convert` makes one of a tagging_policy.json",
            ));
        };
        let cron = request.cadence.cron();
        let schedule = Schedule::parse(&cron, Some(&request.time_zone)).map_err(|error| {
            AskError::invalid(
                error.to_string(),
                "use daily, weekly or monthly with a time, or five fields of cron",
            )
        })?;
        let mut notes = Vec::new();
        let resource_types = match self.requested(&request.resource_types, &mut notes)? {
            Requested::All => Vec::new(),
            Requested::Types(_) => request.resource_types.clone(),
        };
        let name = match &request.name {
            Some(name) => checked(name)?,
            None => named_by(&[&policy.name, &cron, &request.time_zone, &resource_types.join(",")]),
        };
        let order = AuditOrder {
            name,
            policy: policy.name.clone(),
            schedule: cron,
            time_zone: request.time_zone.clone(),
            resource_types,
        };
        let written = self.objects.write_audit(&who.tenant, &order, dry_run).await?;
        Ok(Scheduled { next_run: schedule.next_after(self.now()), order, written })
    }
}

/// The same for the same texts.
fn named_by(texts: &[&str]) -> String {
    let scope = tagwarden_core::scope::Scope {
        resource_types: texts.iter().enumerate().map(|(place, text)| format!("{place} {text}")).collect(),
        ..tagwarden_core::scope::Scope::default()
    };
    let digest = scope.digest();
    format!("audit-sched-{}", digest.trim_start_matches("sha256:").chars().take(8).collect::<String>())
}

fn checked(name: &str) -> Result<String, AskError> {
    let inner =
        |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit() || "-.".contains(symbol);
    let edge = |symbol: Option<char>| {
        symbol.is_some_and(|symbol| symbol.is_ascii_lowercase() || symbol.is_ascii_digit())
    };
    let fits = name.len() <= 200 && name.chars().all(inner);
    if fits && edge(name.chars().next()) && edge(name.chars().last()) {
        return Ok(name.to_owned());
    }
    Err(AskError::invalid(
        format!("{} cannot be the name of an audit", quoted(name)),
        "use lower case letters, digits, `-` and `.`, at most 200",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cadence_is_a_schedule() {
        for (cadence, cron, next) in [
            (Cadence::Daily(9, 5), "5 9 * * *", "2026-11-22T09:05:00Z"),
            (Cadence::Weekly(2, 0), "0 2 * * 1", "2026-11-23T02:00:00Z"),
            (Cadence::Monthly(0, 30), "30 0 1 * *", "2026-12-01T00:30:00Z"),
        ] {
            assert_eq!(cadence.cron(), cron);
            let schedule = Schedule::parse(cron, Some("UTC")).unwrap();
            let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
            assert_eq!(schedule.next_after(now).unwrap().to_string(), next);
        }
    }

    #[test]
    fn names_are_those_of_objects_and_repeat() {
        assert_eq!(named_by(&["a", "b"]), named_by(&["a", "b"]));
        assert_ne!(named_by(&["a", "b"]), named_by(&["ab", ""]));
        assert!(checked(&named_by(&["a"])).is_ok());
        for bad in ["", "-a", "a-", "A", "a b", "../x", &"a".repeat(300)] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
