//! Schemas are tested by what they say to objects: each case is a schema, an object, and the causes as a client
//! would read them.

#![allow(clippy::needless_pass_by_value)] // cases are written where they are used

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schema(props: Value) -> Schema {
    Schema::compile(&serde_json::from_value(props).unwrap()).unwrap()
}

fn spec(props: Value) -> Schema {
    schema(json!({"type": "object", "properties": {"spec": props}}))
}

fn told(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{} {}: {}", cause.reason, cause.field, cause.message)).collect()
}

#[track_caller]
fn check(props: Value, value: Value, wanted: &[&str]) {
    let causes = spec(props).validate(&json!({"spec": value}), None);
    assert_eq!(told(&causes), wanted);
}

#[test]
fn types() {
    check(json!({"type": "string"}), json!("x"), &[]);
    check(
        json!({"type": "string"}),
        json!(1),
        &[
            "FieldValueTypeInvalid spec: Invalid value: \"integer\": spec in body must be of type string: \"integer\"",
        ],
    );
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &[
            "FieldValueTypeInvalid spec: Invalid value: \"number\": spec in body must be of type integer: \"number\"",
        ],
    );
    check(json!({"type": "integer"}), json!(3.0), &[]);
    check(json!({"type": "number"}), json!(3), &[]);
    check(
        json!({"type": "object"}),
        json!([]),
        &[
            "FieldValueTypeInvalid spec: Invalid value: \"array\": spec in body must be of type object: \"array\"",
        ],
    );
    check(json!({"x-kubernetes-int-or-string": true}), json!("1"), &[]);
    check(json!({"x-kubernetes-int-or-string": true}), json!(1), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &[
            "FieldValueTypeInvalid spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"",
        ],
    );
    check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
}

#[test]
fn bounds_of_texts() {
    check(
        json!({"type": "string", "maxLength": 2}),
        json!("äöü"),
        &["FieldValueTooLong spec: Too long: may not be more than 2 bytes"],
    );
    check(json!({"type": "string", "maxLength": 3}), json!("äöü"), &[]);
    check(
        json!({"type": "string", "minLength": 1}),
        json!(""),
        &["FieldValueInvalid spec: Invalid value: \"\": spec in body should be at least 1 chars long"],
    );
    check(
        json!({"type": "string", "pattern": "^\\d{2}$"}),
        json!("١٢"),
        &["FieldValueInvalid spec: Invalid value: \"١٢\": spec in body should match '^\\d{2}$'"],
    );
    check(json!({"type": "string", "pattern": "^[\\d\\w-]+$"}), json!("a1-"), &[]);
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        &["FieldValueNotSupported spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("yesterday"),
        &[
            "FieldValueTypeInvalid spec: Invalid value: \"yesterday\": spec in body must be of type date-time: \"yesterday\"",
        ],
    );
    for time in ["2026-11-21T01:02:03Z", "2026-11-21T01:02:03.123456+01:00", "2026-11-21t01:02:03z"] {
        check(json!({"type": "string", "format": "date-time"}), json!(time), &[]);
    }
    check(json!({"type": "string", "format": "whatever"}), json!("x"), &[]);
}

#[test]
fn bounds_of_numbers() {
    let minutes = json!({"type": "integer", "minimum": 1.0, "maximum": 1440.0});
    check(minutes.clone(), json!(1440), &[]);
    check(
        minutes.clone(),
        json!(1441),
        &["FieldValueInvalid spec: Invalid value: 1441: spec in body should be less than or equal to 1440"],
    );
    check(
        minutes,
        json!(0),
        &["FieldValueInvalid spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
    );
    let open = json!({"type": "number", "minimum": 0.0, "exclusiveMinimum": true, "maximum": 1.0, "exclusiveMaximum": true});
    check(
        open.clone(),
        json!(0),
        &["FieldValueInvalid spec: Invalid value: 0: spec in body should be greater than 0"],
    );
    check(open, json!(1), &["FieldValueInvalid spec: Invalid value: 1: spec in body should be less than 1"]);
    check(
        json!({"type": "integer", "multipleOf": 5.0}),
        json!(7),
        &["FieldValueInvalid spec: Invalid value: 7: spec in body should be a multiple of 5"],
    );
}

#[test]
fn sizes() {
    let list = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2});
    check(
        list.clone(),
        json!([]),
        &["FieldValueInvalid spec: Invalid value: 0: spec in body should have at least 1 items"],
    );
    check(list, json!(["a", "b", 3]), &["FieldValueTooMany spec: Too many: 3: must have at most 2 items"]);
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1, "minProperties": 1});
    check(
        map.clone(),
        json!({"a": "b", "c": "d"}),
        &["FieldValueTooMany spec: Too many: 2: must have at most 1 item"],
    );
    check(
        map.clone(),
        json!({}),
        &["FieldValueInvalid spec: Invalid value: 0: spec in body should have at least 1 properties"],
    );
    check(
        map,
        json!({"a": 1}),
        &[
            "FieldValueTypeInvalid spec.a: Invalid value: \"integer\": spec.a in body must be of type string: \"integer\"",
        ],
    );
}

#[test]
fn required_and_null() {
    let props = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "string", "nullable": true}}});
    let schema = spec(props);
    let mut object = json!({"spec": {"a": null, "b": null}});
    schema.default(&mut object);
    assert_eq!(object, json!({"spec": {"b": null}}));
    assert_eq!(told(&schema.validate(&object, None)), ["FieldValueRequired spec.a: Required value"]);
}

#[test]
fn lists_with_keys() {
    let list = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
        "items": {"type": "object", "properties": {"key": {"type": "string"}}},
    });
    let twice = json!([{"key": "a"}, {"key": "b"}, {"key": "a"}, {"key": "a"}]);
    check(list, twice, &["FieldValueDuplicate spec[2]: Duplicate value: {\"key\":\"a\"}"]);
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    check(set, json!(["a", "a"]), &["FieldValueDuplicate spec[1]: Duplicate value: \"a\""]);
}

#[test]
fn combinations() {
    let any = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(any.clone(), json!({"a": "x"}), &[]);
    check(
        any,
        json!({}),
        &["FieldValueInvalid spec: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf)"],
    );
    let one = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(
        one,
        json!({"a": 1, "b": 1}),
        &[
            "FieldValueInvalid spec: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid",
        ],
    );
    let not = json!({"type": "string", "not": {"enum": ["x"]}});
    check(
        not,
        json!("x"),
        &["FieldValueInvalid spec: Invalid value: \"\": \"spec\" must not validate the schema (not)"],
    );
}

#[test]
fn pruning_names_what_it_takes() {
    let schema = schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "known": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "any": {"type": "object", "additionalProperties": true},
    }}}}));
    let mut object = json!({
        "apiVersion": "v", "kind": "k", "metadata": {"whatever": 1}, "status": {"x": 1},
        "spec": {
            "known": "x", "unknown": 1, "metadata": 1, "list": [{"a": "x", "b": 1}], "map": {"k": {"a": "x", "b": 1}},
            "free": {"x": {"y": 1}}, "any": {"x": {"y": 1}},
        },
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(unknown, ["spec.list[0].b", "spec.map.k.b", "spec.metadata", "spec.unknown", "status"]);
    assert_eq!(
        object,
        json!({
            "apiVersion": "v", "kind": "k", "metadata": {"whatever": 1},
            "spec": {
                "known": "x", "list": [{"a": "x"}], "map": {"k": {"a": "x"}},
                "free": {"x": {"y": 1}}, "any": {"x": {"y": 1}},
            },
        })
    );
    assert!(schema.prune(&mut object).is_empty());
}

#[test]
fn many_unknown_fields_are_not_all_named() {
    let fields: serde_json::Map<String, Value> = (0..500).map(|at| (format!("f{at}"), json!(1))).collect();
    let mut object = json!({"spec": fields});
    assert_eq!(spec(json!({"type": "object"})).prune(&mut object).len(), MAX_UNKNOWN);
    assert_eq!(object, json!({"spec": {}}));
}

#[test]
fn defaults_come_into_what_is_there_and_into_defaults() {
    let schema = schema(json!({"type": "object", "properties": {
        "status": {"type": "object", "default": {"a": {}}, "properties": {
            "observedGeneration": {"type": "integer", "default": -1},
            "a": {"type": "object", "properties": {"b": {"type": "string", "default": "c"}}},
        }},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "boolean", "default": true}}}},
        "null": {"type": "string", "default": "d"},
    }}));
    let mut object = json!({"list": [{}, {"x": false}], "null": null});
    schema.default(&mut object);
    let wanted = json!({
        "status": {"observedGeneration": -1, "a": {"b": "c"}}, "list": [{"x": true}, {"x": false}], "null": "d",
    });
    assert_eq!(object, wanted);
}

#[test]
fn rules_are_enforced_where_they_stand() {
    let props = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self < 10", "reason": "FieldValueForbidden", "message": "too much"},
        ]}},
        "x-kubernetes-validations": [{"rule": "self.a < self.b", "message": "a has to be less than b", "fieldPath": ".a"}],
    });
    check(props.clone(), json!({"a": 1, "b": 2}), &[]);
    check(
        props.clone(),
        json!({"a": 3, "b": 2}),
        &["FieldValueInvalid spec.a: Invalid value: a has to be less than b"],
    );
    check(props.clone(), json!({"a": 3, "b": 12}), &["FieldValueForbidden spec.b: Forbidden: too much"]);
    // Rules are not run on what has another shape, and the answer says so.
    check(
        props,
        json!({"a": "x", "b": 2}),
        &[
            "FieldValueTypeInvalid spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
            "FieldValueInvalid <nil>: Invalid value: null: some validation rules were not checked because the object \
             was invalid; correct the existing errors to complete validation",
        ],
    );
}

#[test]
fn transition_rules_compare_with_what_was() {
    let schema = spec(json!({"type": "object", "properties": {
        "id": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        "keyed": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "may only grow"}]},
        },
    }}));
    let old = json!({"spec": {"id": "1", "keyed": [{"k": "a", "v": 5}, {"k": "b", "v": 1}]}});
    let none: [&str; 0] = [];
    assert_eq!(told(&schema.validate(&old, None)), none);
    assert_eq!(told(&schema.validate(&old, Some(&old))), none);
    let moved =
        json!({"spec": {"id": "1", "keyed": [{"k": "b", "v": 1}, {"k": "a", "v": 5}, {"k": "c", "v": 0}]}});
    assert_eq!(
        told(&schema.validate(&moved, Some(&old))),
        none,
        "entries are told apart by key, not by place"
    );
    let shrunk = json!({"spec": {"id": "2", "keyed": [{"k": "b", "v": 0}]}});
    assert_eq!(
        told(&schema.validate(&shrunk, Some(&old))),
        [
            "FieldValueInvalid spec.id: Invalid value: \"2\": is immutable",
            "FieldValueInvalid spec.keyed[0]: Invalid value: may only grow",
        ]
    );
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let compile =
        |props: Value| Schema::compile(&serde_json::from_value(props).unwrap()).unwrap_err().to_string();
    assert_eq!(
        compile(json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}})),
        "openAPIV3Schema.a: the pattern `(` is not a valid regular expression"
    );
    let rule = compile(json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a >"}]}));
    assert!(rule.starts_with("openAPIV3Schema: failed to compile CEL rule \"self.a >\""), "{rule}");
    assert_eq!(compile(json!({"type": "text"})), "openAPIV3Schema: `text` is no type of JSON schema");
}

#[test]
fn our_own_definitions_compile() {
    for definition in tagwarden_api::crds() {
        let kind = crate::kind::Kind::from_definition(&definition).unwrap();
        assert!(kind.custom && kind.namespaced, "{}", kind.kind);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        "[a-zA-Z:*-]{0,12}".prop_map(Value::from),
    ];
    let field = prop_oneof![
        Just("spec"),
        Just("status"),
        Just("metadata"),
        Just("requiredTags"),
        Just("key"),
        Just("values"),
        Just("allowed"),
        Just("regex"),
        Just("accountId"),
        Just("regions"),
        Just("x"),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(field.clone(), inner, 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shaping_is_done_once(object in any_json(), old in any_json()) {
        for kind in crate::kind::tests::fixture().iter() {
            let mut once = object.clone();
            kind.schema.prune(&mut once);
            kind.schema.default(&mut once);
            let mut again = once.clone();
            prop_assert_eq!(kind.schema.prune(&mut again), Vec::<String>::new());
            kind.schema.default(&mut again);
            prop_assert_eq!(&again, &once);
            let causes = kind.schema.validate(&once, Some(&old));
            prop_assert!(causes.len() <= 2 * crate::status::MAX_CAUSES);
        }
    }
}
