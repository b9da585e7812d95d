//! Selectors: what they match, what they refuse, and that nothing breaks them.

use proptest::prelude::*;

use super::*;
use crate::kind::tests::fixture;

fn object() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "n", "labels": {"tier": "gold", "empty": "", "count": "7", "x.io/y": "z"}},
        "spec": {"accountId": "123456789012"},
        "involvedObject": {"kind": "ClientAccount", "name": "acme"},
        "source": {"component": "tagwarden"},
        "count": 3,
    })
}

#[test]
fn labels_match() {
    let cases = [
        ("", true),
        ("tier=gold", true),
        ("tier==gold", true),
        (" tier = gold ", true),
        ("tier!=gold", false),
        ("tier=silver", false),
        ("other!=gold", true),
        ("tier in (gold,silver)", true),
        ("tier in (silver)", false),
        ("tier notin (silver, bronze)", true),
        ("tier notin (gold)", false),
        ("other notin (gold)", true),
        ("tier", true),
        ("other", false),
        ("!other", true),
        ("!tier", false),
        ("x.io/y=z", true),
        ("empty=", true),
        ("empty in ()", true),
        ("empty in (a,)", true),
        ("tier=", false),
        ("count>6", true),
        ("count<7", false),
        ("tier>1", false),
        ("tier=gold,empty,!other,count>1", true),
        ("tier=gold,other", false),
        ("in in (in)", false),
        ("tier=in", false),
    ];
    for (text, wanted) in cases {
        let selector = LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches(&object()), wanted, "{text}");
        assert_eq!(selector.is_everything(), text.is_empty());
    }
}

#[test]
fn labels_refuse() {
    let cases = [
        ("=", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "found 'b' expected: '('"),
        ("a in (b", "found '', expected: ',' or ')'"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a===b", "found '=', expected: identifier"),
        ("a>b", "for 'Gt', 'Lt' operators, the value must be an integer"),
        ("a/b/c", "a valid label key must consist of"),
        ("-a", "name part must consist of"),
        ("a=-b", "a valid label must be an empty string or consist of"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
    ];
    for (text, wanted) in cases {
        let error = LabelSelector::parse(text).expect_err(text);
        assert_eq!((error.code, error.reason), (400, "BadRequest"), "{text}");
        assert!(error.message.contains(wanted), "{text}: {}", error.message);
    }
    assert!(LabelSelector::parse(&"a,".repeat(2_000)).unwrap_err().message.contains("more than 1000"));
    assert!(LabelSelector::parse(&"a".repeat(70_000)).unwrap_err().message.contains("at most 65536 bytes"));
}

#[test]
fn fields_match() {
    let kinds = fixture();
    let account = kinds.get("tagwarden.io", "v1alpha1", "clientaccounts").unwrap();
    let event = kinds.get("", "v1", "events").unwrap();
    let cases = [
        (account, "", true),
        (account, "metadata.name=a", true),
        (account, "metadata.name==a,metadata.namespace!=m", true),
        (account, "metadata.name!=a", false),
        (account, "metadata.name=a\\,b", false),
        (event, "involvedObject.kind=ClientAccount,involvedObject.name=acme", true),
        (event, "source=tagwarden", true),
        (event, "involvedObject.uid=", true),
        (event, "reason!=Failed", true),
    ];
    for (kind, text, wanted) in cases {
        let selector = FieldSelector::parse(text, kind).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches(&object()), wanted, "{text}");
    }
    let one = FieldSelector::parse("metadata.name=a,metadata.namespace=n", account).unwrap();
    assert_eq!((one.name(), one.namespace()), (Some("a"), Some("n")));
    assert_eq!(FieldSelector::parse("metadata.name!=a", account).unwrap().name(), None);
}

#[test]
fn fields_refuse() {
    let kinds = fixture();
    let account = kinds.get("tagwarden.io", "v1alpha1", "clientaccounts").unwrap();
    let namespace = kinds.get("", "v1", "namespaces").unwrap();
    let cases = [
        (account, "spec.nothing=x", "field label not supported: spec.nothing"),
        (account, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        (account, "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        (account, "metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
        (account, "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
        (namespace, "metadata.namespace=x", "field label not supported: metadata.namespace"),
        (account, "=", "field label not supported: "),
    ];
    for (kind, text, wanted) in cases {
        let error = FieldSelector::parse(text, kind).expect_err(text);
        assert_eq!((error.code, error.message.as_str()), (400, wanted), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_selector_or_refused(text in "[a-c./=!<>(),\\\\ inot-]{0,60}|\\PC{0,60}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            let _ = selector.matches(&object());
        }
        let kinds = fixture();
        let kind = kinds.get("", "v1", "events").unwrap();
        if let Ok(selector) = FieldSelector::parse(&text, kind) {
            let _ = selector.matches(&object());
        }
    }

    #[test]
    fn escaped_values_come_back(value in "[a-z,=\\\\]{0,20}") {
        let escaped = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        let kinds = fixture();
        let kind = kinds.get("", "v1", "events").unwrap();
        let selector = FieldSelector::parse(&format!("reason={escaped}"), kind).unwrap();
        let event = json!({ "reason": value });
        prop_assert!(selector.matches(&event));
    }
}
