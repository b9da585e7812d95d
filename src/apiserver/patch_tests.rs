//! Patches: what they make of objects, what is refused, and that no patch costs more than it should.

use proptest::prelude::*;

use super::*;
use crate::kind::tests::fixture;

fn kind(plural: &str) -> std::sync::Arc<Kind> {
    let kinds = fixture();
    kinds.iter().find(|kind| kind.plural == plural).unwrap().clone()
}

fn apply(content_type: &str, patch: &Value, current: &Value) -> Result<Value, ApiError> {
    Patch::parse(&kind("configmaps"), content_type, patch.to_string().as_bytes())?.apply(current)
}

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json; charset=utf-8";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

#[test]
fn patches_apply() {
    let current = json!({"metadata": {"finalizers": ["a"]}, "data": {"x": "1", "y": "2"}, "list": [1, 2, 3]});
    let cases = [
        (MERGE, json!({"data": {"x": null, "z": "3"}}), "/data", json!({"y": "2", "z": "3"})),
        (MERGE, json!({"list": [4]}), "/list", json!([4])),
        (JSON, json!([{"op": "replace", "path": "/data/x", "value": "9"}]), "/data/x", json!("9")),
        (JSON, json!([{"op": "add", "path": "/list/-", "value": 4}]), "/list", json!([1, 2, 3, 4])),
        (JSON, json!([{"op": "remove", "path": "/list/0"}]), "/list", json!([2, 3])),
        (JSON, json!([{"op": "copy", "from": "/data/x", "path": "/data/z"}]), "/data/z", json!("1")),
        (
            JSON,
            json!([{"op": "move", "from": "/data/x", "path": "/data/z"}]),
            "/data",
            json!({"y": "2", "z": "1"}),
        ),
        (JSON, json!([{"op": "test", "path": "/data/x", "value": "1"}]), "/data/x", json!("1")),
        (JSON, json!([{"op": "test", "path": "/metadata/labels", "value": null}]), "/data/x", json!("1")),
        (JSON, json!([{"op": "replace", "path": "/data/new", "value": "n"}]), "/data/new", json!("n")),
        (JSON, json!([{"op": "test", "path": "/metadata/labels/a/b"}]), "/data/x", json!("1")),
        (
            STRATEGIC,
            json!({"data": {"x": null}, "metadata": {"finalizers": ["b"]}}),
            "/metadata/finalizers",
            json!(["a", "b"]),
        ),
        (
            STRATEGIC,
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
            "/metadata/finalizers",
            json!([]),
        ),
        (STRATEGIC, json!({"data": {"$patch": "replace", "q": "1"}}), "/data", json!({"q": "1"})),
        (STRATEGIC, json!({"$setElementOrder/list": [1], "list": [7]}), "/list", json!([7])),
    ];
    for (content_type, patch, pointer, wanted) in cases {
        let patched =
            apply(content_type, &patch, &current).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(patched.pointer(pointer), Some(&wanted), "{patch}");
    }
}

#[test]
fn owners_merge_by_uid() {
    let current =
        json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]}});
    let patch = json!({"metadata": {"ownerReferences": [
        {"uid": "1", "name": "c"}, {"uid": "2", "$patch": "delete"}, {"uid": "3", "name": "d"},
    ]}});
    let patched = apply(STRATEGIC, &patch, &current).unwrap();
    assert_eq!(
        patched["metadata"]["ownerReferences"],
        json!([{"uid": "1", "name": "c"}, {"uid": "3", "name": "d"}])
    );
}

#[test]
fn patches_are_refused() {
    let cases = [
        (MERGE, json!([]), 400, "error decoding patch: it has to be a JSON object"),
        (JSON, json!({}), 400, "error decoding patch: "),
        (JSON, json!([{"op": "jump", "path": "/a"}]), 422, "unknown variant `jump`"),
        (JSON, json!([{"op": "add", "path": "a", "value": 1}]), 422, "an error in our request: "),
        (JSON, json!([{"op": "remove", "path": "/a"}]), 422, "\"/a\": path is invalid"),
        (JSON, json!([{"op": "test", "path": "/b", "value": 2}]), 422, "value did not match"),
        (JSON, json!([{"op": "test", "path": "/b", "value": null}]), 422, "value did not match"),
        (JSON, json!([{"op": "replace", "path": "/c/d", "value": 2}]), 422, "path is invalid"),
        ("application/apply-patch+yaml", json!({}), 415, "use `kubectl apply` without --server-side"),
        ("application/json", json!({}), 415, "accepted media types include: application/json-patch+json"),
        ("", json!({}), 415, "accepted media types include"),
    ];
    for (content_type, patch, code, wanted) in cases {
        let error = apply(content_type, &patch, &json!({"b": 1})).expect_err(&patch.to_string());
        assert_eq!(error.code, code, "{patch}");
        assert!(error.message.contains(wanted), "{patch}: {}", error.message);
    }
    let ours = Patch::parse(&kind("taggingpolicies"), STRATEGIC, b"{}").unwrap_err();
    assert_eq!(ours.code, 415);
    assert!(!ours.message.contains("strategic"), "{}", ours.message);
}

#[test]
fn a_patch_has_bounds() {
    let many = json!(vec![json!({"op": "test", "path": "/a", "value": null}); MAX_OPERATIONS + 1]);
    let error = apply(JSON, &many, &json!({})).unwrap_err();
    assert_eq!(error.code, 413);
    assert_eq!(
        error.message,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
    // Each copy doubles the list.
    let bomb = json!(vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 200]);
    let error = apply(JSON, &bomb, &json!({"a": ["x".repeat(10_000)]})).unwrap_err();
    assert_eq!(error.code, 422);
    // Each addition goes deeper.
    let path = |depth: usize| format!("{}/a", "/a".repeat(depth));
    let ladder: Vec<Value> =
        (0..500).map(|depth| json!({"op": "add", "path": path(depth), "value": {}})).collect();
    let error = apply(JSON, &json!(ladder), &json!({})).unwrap_err();
    assert!(error.message.contains("nest deeper than 120"), "{}", error.message);
}

proptest! {
    #[test]
    fn any_body_is_a_patch_or_refused(body in "[\\[\\]{}\":,a-z0-9/~-]{0,80}") {
        for content_type in [MERGE, JSON, STRATEGIC] {
            if let Ok(patch) = Patch::parse(&kind("configmaps"), content_type, body.as_bytes()) {
                let _ = patch.apply(&json!({"a": {"b": [1]}}));
            }
        }
    }

    #[test]
    fn any_operations_apply_or_are_refused(
        operations in prop::collection::vec(
            (
                prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]),
                "(/(a|b|0|1|-|~1|~0)){0,4}", "(/(a|b|0|1|-)){0,4}",
                prop::sample::select(vec![json!(null), json!(1), json!({"a": [1, {"b": 2}]}), json!([])]),
            ),
            0..12,
        ),
    ) {
        let operations: Vec<Value> = operations
            .into_iter()
            .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
            .collect();
        let current = json!({"a": {"b": [1, 2]}, "b": [{"a": 1}]});
        if let Ok(patched) = apply(JSON, &json!(operations), &current) {
            prop_assert!(depth(&patched) <= MAX_DEPTH);
        }
    }

    #[test]
    fn a_merge_patch_is_there_after_it_was_applied(key in "[a-z]{1,3}", value in "[a-z]{0,5}") {
        let patch = json!({"data": {key: value}});
        let once = apply(MERGE, &patch, &json!({"data": {"x": "1"}})).unwrap();
        prop_assert_eq!(apply(MERGE, &patch, &once).unwrap(), once);
    }
}
