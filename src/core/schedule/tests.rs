//! Cases of `tests/cases/schedules.yaml`, and what must hold for every schedule.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    schedule: String,
    zone: Option<String>,
    after: Option<Timestamp>,
    #[serde(default)]
    slots: Vec<Timestamp>,
    field: Option<String>,
    says: Option<String>,
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("../../../tests/cases/schedules.yaml")).unwrap()
}

#[test]
fn schedules_fire_when_they_say() {
    let (mut fired, mut refused) = (0, 0);
    for Case { case, schedule, zone, after, slots, field, says } in cases() {
        match (Schedule::parse(&schedule, zone.as_deref()), after) {
            (Ok(parsed), Some(after)) => {
                fired += 1;
                let mut now = after;
                for slot in &slots {
                    now = parsed.next_after(now).unwrap();
                    assert_eq!(now, *slot, "{case}: forwards");
                }
                for slot in slots.iter().rev() {
                    assert_eq!(parsed.latest_at_or_before(now), Some(*slot), "{case}: backwards");
                    now = *slot - SignedDuration::from_millis(1);
                }
                assert!(!slots.is_empty(), "{case}: no slots");
            }
            (Err(error), None) => {
                refused += 1;
                assert_eq!(Some(error.field()), field.as_deref(), "{case}");
                let says = says.unwrap_or_else(|| panic!("{case}: nothing to say"));
                assert!(error.to_string().contains(&says), "{case}: {error}");
            }
            (result, _) => panic!("{case}: {result:?}"),
        }
    }
    assert!(fired >= 25 && refused >= 25, "{fired} fired, {refused} refused");
}

#[test]
fn the_end_of_the_calendar_is_no_slot() {
    let schedule = Schedule::parse("* * * * *", Some("Pacific/Auckland")).unwrap();
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
    assert_eq!(schedule.latest_at_or_before(Timestamp::MIN), None);
}

/// A field that is mostly right.
fn field(most: u8) -> impl Strategy<Value = String> {
    let one = 0..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => one.clone().prop_map(|n| n.to_string()),
        1 => (one.clone(), one.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (1..=most).prop_map(|n| format!("*/{n}")),
        1 => (one.clone(), one).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (field(59), field(23), field(31), field(12), field(7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Etc/UTC",
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "America/Sao_Paulo",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_go_forwards_and_come_back(text in expression(), zone in zone(), millis in 1_600_000_000_000_i64..2_200_000_000_000) {
        let Ok(schedule) = Schedule::parse(&text, Some(zone)) else { return Ok(()) };
        let now = Timestamp::from_millisecond(millis).unwrap();
        let first = schedule.next_after(now).unwrap();
        let second = schedule.next_after(first).unwrap();
        prop_assert!(now < first && first < second);
        prop_assert_eq!(first.as_nanosecond() % 1_000_000_000, 0);
        // Nothing lies between, seen from either side.
        prop_assert_eq!(schedule.latest_at_or_before(first), Some(first));
        prop_assert_eq!(schedule.latest_at_or_before(second - SignedDuration::from_secs(1)), Some(first));
        let last = schedule.latest_at_or_before(now).unwrap();
        prop_assert!(last <= now);
        prop_assert_eq!(schedule.next_after(last), Some(first));
    }

    #[test]
    fn later_is_never_due_earlier(text in expression(), zone in zone(), millis in 1_600_000_000_000_i64..2_200_000_000_000, later in 0_i64..1_000_000_000) {
        let Ok(schedule) = Schedule::parse(&text, Some(zone)) else { return Ok(()) };
        let now = Timestamp::from_millisecond(millis).unwrap();
        let then = Timestamp::from_millisecond(millis + later).unwrap();
        prop_assert!(schedule.next_after(now) <= schedule.next_after(then));
        prop_assert!(schedule.latest_at_or_before(now) <= schedule.latest_at_or_before(then));
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,40}|[0-9*/,L#W?@+ -]{0,30}", zone in "\\PC{0,12}") {
        if let Ok(schedule) = Schedule::parse(&text, None) {
            prop_assert!(schedule.next_after(Timestamp::UNIX_EPOCH).is_some(), "{schedule}");
        }
        let _ = Schedule::parse("0 3 * * *", Some(&zone));
    }
}
