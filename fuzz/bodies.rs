//! What is fuzzed: every parser of text that comes from outside. A body may not panic, whatever it is given, and
//! checks what has to hold of what was accepted.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tagwarden_api::manifests::Manifests;
use tagwarden_apiserver::continue_token::ContinueToken;
use tagwarden_apiserver::kind::Kinds;
use tagwarden_apiserver::patch::Patch;
use tagwarden_apiserver::select::{FieldSelector, LabelSelector};
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

/// What the bodies about the API are about.
fn object() -> Value {
    json!({
        "metadata": {"name": "a", "labels": {"tier": "gold"}, "finalizers": ["x.io/y"]},
        "data": {"a": "1", "b": {"c": [1, 2, {"d": null}]}},
    })
}

/// The kinds of the embedded API; only the built-in ones, which take all types of patches.
static KINDS: LazyLock<Option<Kinds>> = LazyLock::new(|| Kinds::new(&[]).ok());

/// Patches of every type: what applies is JSON that can be written and read again, and is not much larger than what
/// went in.
pub fn patch(data: &[u8]) {
    let Some(kind) = KINDS.as_ref().and_then(|kinds| kinds.get("", "v1", "configmaps")) else { return };
    for media in ["merge-patch", "json-patch", "strategic-merge-patch"] {
        let Ok(patch) = Patch::parse(kind, &format!("application/{media}+json"), data) else { continue };
        let Ok(patched) = patch.apply(&object()) else { continue };
        let text = patched.to_string();
        assert!(text.len() <= (4 << 20) + 8 * data.len());
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}

/// Label and field selectors: asked twice, they say the same.
pub fn selectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let object = object();
    if let Ok(selector) = LabelSelector::parse(text) {
        assert_eq!(selector.matches(&object), selector.matches(&object));
        assert!(!selector.is_everything() || selector.matches(&object));
    }
    let Some(kind) = KINDS.as_ref().and_then(|kinds| kinds.get("", "v1", "events")) else { return };
    if let Ok(selector) = FieldSelector::parse(text, kind) {
        let found = selector.matches(&object);
        assert!(!found || selector.name().is_none_or(|name| name == "a"));
    }
}

/// Continue tokens: what is taken is what would be given out.
pub fn continue_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = ContinueToken::decode(text) {
        assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
    }
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
