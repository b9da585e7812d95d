//! Whether an audit makes sense, and what it means.

use std::time::Duration;

use tagwarden_api::audit::{ComplianceAuditSpec, CompliantWhen, ConcurrencyPolicy, LabelSelector};
use tagwarden_api::condition::reason;
use tagwarden_core::duration;
use tagwarden_core::finding::Severity;
use tagwarden_core::policy::{LabelOperator, Policy, Requested};
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::schedule::{Schedule, ScheduleError};

/// How long a run may take where its audit does not say.
const TIMEOUT: Duration = Duration::from_hours(2);

/// No run takes longer, and no jitter is.
const LONGEST: Duration = Duration::from_hours(24);

/// How many accounts are looked at side by side where the audit does not say.
const ACCOUNTS_AT_ONCE: i32 = 4;

/// The resources that a run may meet where its audit does not say.
const MAX_RESOURCES: i32 = 500_000;

/// An audit that makes sense, with every default filled in.
#[derive(Debug, Clone)]
pub(super) struct Valid {
    pub(super) schedule: Option<Schedule>,
    pub(super) jitter: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) timeout: Duration,
    pub(super) concurrency: ConcurrencyPolicy,
    pub(super) accounts_at_once: usize,
    pub(super) regions: Vec<String>,
    pub(super) types: Types,
    pub(super) max_resources: u64,
    /// The least severity that is listed.
    pub(super) threshold: Severity,
    pub(super) max_violations: usize,
    pub(super) successes_kept: usize,
    pub(super) failures_kept: usize,
    pub(super) compliant_when: Option<CompliantWhen>,
}

/// The types that are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Types {
    include: Requested,
    exclude: Vec<TypeId>,
}

/// What is wrong with an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// A word of `tagwarden_api::condition::reason`.
    pub(super) reason: &'static str,
    /// For people, with the field.
    pub(super) message: String,
}

/// The audit that the spec means, or the first thing that is wrong with it.
pub(super) fn validate(spec: &ComplianceAuditSpec, registry: &Registry) -> Result<Valid, Invalid> {
    let schedule = match &spec.schedule {
        Some(text) => {
            Some(Schedule::parse(text, spec.time_zone.as_deref()).map_err(|error| schedule_error(&error))?)
        }
        // A zone without a schedule has no effect; one that does not exist is a mistake all the same.
        None => match &spec.time_zone {
            Some(zone) => {
                Schedule::parse("@daily", Some(zone)).map(|_| None).map_err(|error| schedule_error(&error))?
            }
            None => None,
        },
    };
    let resources = spec.resources.clone().unwrap_or_default();
    let report = spec.report.clone().unwrap_or_default();
    Ok(Valid {
        schedule,
        jitter: time("spec.jitter", spec.jitter.as_deref(), Duration::ZERO)?,
        deadline: spec
            .starting_deadline_seconds
            .map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs().into())),
        timeout: time("spec.timeout", spec.timeout.as_deref(), TIMEOUT)?,
        concurrency: spec.concurrency_policy,
        accounts_at_once: count(spec.accounts.max_concurrent.unwrap_or(ACCOUNTS_AT_ONCE)).clamp(1, 50),
        regions: spec.regions.clone().unwrap_or_default().include,
        types: Types {
            include: included(&resources.include, registry)?,
            exclude: named("spec.resources.exclude", &resources.exclude, registry)?,
        },
        max_resources: u64::from(resources.max_resources.unwrap_or(MAX_RESOURCES).max(1).unsigned_abs()),
        threshold: spec.severity_threshold.map_or(Severity::Info, Into::into),
        max_violations: count(report.max_violations.unwrap_or(50)).min(100),
        successes_kept: count(report.successful_history_limit.unwrap_or(3)).min(100),
        failures_kept: count(report.failed_history_limit.unwrap_or(1)).min(100),
        compliant_when: spec.compliant_when.clone(),
    })
}

impl Types {
    /// What is asked for under this policy.
    pub(super) fn requested(&self, policy: &Policy) -> Requested {
        if self.exclude.is_empty() {
            return self.include.clone();
        }
        let types = policy.types_in_scope(&self.include);
        Requested::Types(types.into_iter().filter(|id| !self.exclude.contains(id)).collect())
    }
}

fn schedule_error(error: &ScheduleError) -> Invalid {
    let reason = match error {
        ScheduleError::UnknownZone { .. } => reason::INVALID_TIME_ZONE,
        _ => reason::INVALID_SCHEDULE,
    };
    Invalid { reason, message: format!("{}: {error}", error.field()) }
}

fn time(field: &str, text: Option<&str>, default: Duration) -> Result<Duration, Invalid> {
    let Some(text) = text else { return Ok(default) };
    let invalid = |message| Invalid { reason: reason::INVALID_DURATION, message };
    let time = duration::parse(text).map_err(|error| invalid(format!("{field}: {error}")))?;
    if time > LONGEST {
        return Err(invalid(format!("{field}: `{text}` is too long: at most 24h is possible")));
    }
    Ok(time)
}

fn included(patterns: &[String], registry: &Registry) -> Result<Requested, Invalid> {
    if patterns.iter().all(|pattern| pattern == "*") {
        return Ok(Requested::All);
    }
    named("spec.resources.include", patterns, registry).map(Requested::Types)
}

/// The types that these patterns name, each once.
fn named(field: &str, patterns: &[String], registry: &Registry) -> Result<Vec<TypeId>, Invalid> {
    let mut types = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let meant = registry.resolve(pattern).map_err(|unknown| Invalid {
            reason: reason::UNKNOWN_TYPE,
            message: format!("{field}[{index}]: {unknown}"),
        })?;
        types.extend(meant.types);
    }
    types.sort_unstable();
    types.dedup();
    Ok(types)
}

/// Whether an object with these labels is selected.
pub(super) fn selects(selector: &LabelSelector, labels: &std::collections::BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector
            .match_expressions
            .iter()
            .all(|wanted| LabelOperator::from(wanted.operator).holds(labels.get(&wanted.key), &wanted.values))
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(extra: serde_json::Value) -> ComplianceAuditSpec {
        let mut spec = json!({"policyRef": {"name": "corp"}, "accounts": {"all": true}});
        if let (Some(spec), serde_json::Value::Object(extra)) = (spec.as_object_mut(), extra) {
            spec.extend(extra);
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let valid = validate(&spec(json!({})), &Registry::builtin()).unwrap();
        assert!(valid.schedule.is_none());
        assert_eq!((valid.jitter, valid.timeout, valid.deadline), (Duration::ZERO, TIMEOUT, None));
        assert_eq!((valid.accounts_at_once, valid.max_resources), (4, 500_000));
        assert_eq!((valid.max_violations, valid.successes_kept, valid.failures_kept), (50, 3, 1));
        assert_eq!(valid.threshold, Severity::Info);
        assert_eq!(valid.types.include, Requested::All);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_field_and_a_remedy() {
        for (extra, reason, says) in [
            (
                json!({"schedule": "0 3 31 2 *"}),
                reason::INVALID_SCHEDULE,
                "spec.schedule: `0 3 31 2 *` never fires",
            ),
            (json!({"schedule": "TZ=UTC 0 3 * * *"}), reason::INVALID_SCHEDULE, "set spec.timeZone"),
            (
                json!({"schedule": "0 3 * * *", "timeZone": "Europe/Pari"}),
                reason::INVALID_TIME_ZONE,
                "Europe/Paris",
            ),
            (json!({"timeZone": "Mars"}), reason::INVALID_TIME_ZONE, "spec.timeZone"),
            (json!({"jitter": "5 minutes"}), reason::INVALID_DURATION, "spec.jitter"),
            (json!({"timeout": "90000h"}), reason::INVALID_DURATION, "at most 24h"),
            (
                json!({"resources": {"include": ["ec2:instanc"]}}),
                reason::UNKNOWN_TYPE,
                "did you mean `ec2:instance`",
            ),
            (
                json!({"resources": {"exclude": ["*", "nope:*"]}}),
                reason::UNKNOWN_TYPE,
                "spec.resources.exclude[1]",
            ),
        ] {
            let invalid = validate(&spec(extra.clone()), &Registry::builtin()).unwrap_err();
            assert_eq!(invalid.reason, reason, "{extra}");
            assert!(invalid.message.contains(says), "{extra}: {}", invalid.message);
        }
    }

    #[test]
    fn types_are_chosen_and_left_out() {
        let registry = Registry::builtin();
        let valid = |resources| validate(&spec(json!({"resources": resources})), &registry).unwrap();
        let ids = |names: &[&str]| names.iter().map(|name| registry.id(name).unwrap()).collect::<Vec<_>>();
        assert_eq!(valid(json!({"include": ["*"]})).types.include, Requested::All);
        let two = valid(json!({"include": ["s3:bucket", "ec2:volume", "ec2:vol*"]})).types.include;
        let mut expected = ids(&["s3:bucket", "ec2:volume"]);
        expected.sort_unstable();
        assert_eq!(two, Requested::Types(expected));
        let policy =
            tagwarden_core::policy::compile(&tagwarden_core::policy::fallback(), &registry).unwrap().policy;
        let Requested::Types(rest) = valid(json!({"exclude": ["ec2:*"]})).types.requested(&policy) else {
            panic!("everything was asked for")
        };
        assert!(rest.contains(&registry.id("s3:bucket").unwrap()));
        assert!(!rest.contains(&registry.id("ec2:instance").unwrap()));
    }

    #[test]
    fn selectors_select_by_labels() {
        let labels = [("tier".to_owned(), "gold".to_owned())].into();
        let selector = |value| serde_json::from_value::<LabelSelector>(value).unwrap();
        for (selector_value, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"tier": "gold"}}), true),
            (json!({"matchLabels": {"tier": "silver"}}), false),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "silver"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), true),
            (
                json!({"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
                false,
            ),
        ] {
            assert_eq!(selects(&selector(selector_value.clone()), &labels), expected, "{selector_value}");
        }
    }
}
