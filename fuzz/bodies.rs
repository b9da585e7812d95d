//! What is fuzzed: every parser of text that comes from outside. A body may not panic, whatever it is given, and
//! checks what has to hold of what was accepted.

use tagwarden_api::manifests::Manifests;
use tagwarden_core::arn::Arn;
use tagwarden_core::policy::predecessor;
use tagwarden_core::registry::Registry;
use tagwarden_core::schedule::Schedule;

/// Manifests of any kind; a policy that compiles has the same revision when compiled again.
pub fn manifests(data: &[u8]) {
    let mut manifests = Manifests::new("default");
    // What is right is kept even where something else is wrong.
    let _ = manifests.read("fuzz.yaml", data);
    let registry = Registry::builtin();
    for policy in manifests.policies() {
        if let (Ok(once), Ok(again)) = (policy.compile(&registry), policy.compile(&registry)) {
            assert_eq!(once.policy.revision(), again.policy.revision());
        }
    }
    let _ = tagwarden_api::access::resolve_accounts(&manifests, &[]);
}

/// The predecessor's policy file.
pub fn predecessor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = predecessor::compile(text, "fuzz", &Registry::builtin());
    }
}

/// ARNs: what is read is written back as it was, and a known type gives its ARN back.
pub fn arn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(arn) = Arn::parse(text) else { return };
    assert_eq!(arn.to_string(), text);
    let registry = Registry::builtin();
    let known = registry.identify(&arn);
    assert_eq!(known.map(|(id, _)| id), registry.type_of(&arn));
}

/// Cron expressions, with a zone after the first line break: what is accepted fires, and later than asked.
pub fn schedule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, zone) = text.split_once('\n').map_or((text, None), |(text, zone)| (text, Some(zone)));
    let Ok(schedule) = Schedule::parse(expression, zone) else { return };
    let start = jiff::Timestamp::UNIX_EPOCH;
    let first = schedule.next_after(start);
    assert!(first.is_some_and(|first| first > start && schedule.latest_at_or_before(first) == Some(first)));
}
