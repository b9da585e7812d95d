//! Cases of `tests/cases/policy`, and what must hold for every policy.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;

/// Every document of the files `tests/cases/<folder>/<prefix>*.yaml`.
#[allow(clippy::disallowed_methods)] // cases are files, so that adding one needs no Rust
pub(crate) fn cases<T: DeserializeOwned>(folder: &str, prefix: &str) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(folder);
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(prefix) {
            let text = std::fs::read_to_string(&path).unwrap();
            let list: Vec<T> =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            cases.extend(list);
        }
    }
    assert!(!cases.is_empty(), "no cases in {prefix}");
    cases
}

pub(crate) fn compiled(draft: &PolicyDraft) -> Compiled {
    compile(draft, &Registry::builtin()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    path: String,
    #[serde(default)]
    reason: String,
    says: String,
}

/// Compares what was said with what was expected, in order.
fn compare(case: &str, said: &[(String, &'static str, String)], expected: &[Said]) {
    let mut difference = String::new();
    if said.len() != expected.len() {
        let _ = writeln!(difference, "{} instead of {} notes", said.len(), expected.len());
    }
    for ((path, reason, message), expected) in said.iter().zip(expected) {
        if *path != expected.path || *reason != expected.reason || !message.contains(&expected.says) {
            let _ = writeln!(difference, "not `{} {} …{}…`", expected.path, expected.reason, expected.says);
        }
        assert!(!message.contains('\n'), "{case}: more than a line: {message}");
    }
    assert!(difference.is_empty(), "{case}: {difference}{said:#?}");
}

fn errors(errors: &[PolicyError]) -> Vec<(String, &'static str, String)> {
    errors.iter().map(|error| (error.path.clone(), error.reason.as_str(), error.message.clone())).collect()
}

fn warnings(warnings: &[PolicyWarning]) -> Vec<(String, &'static str, String)> {
    warnings.iter().map(|warning| (warning.path.clone(), "", warning.message.clone())).collect()
}

#[test]
fn bad_policies_are_refused_with_path_reason_and_remedy() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        name: String,
        policy: PolicyDraft,
        errors: Vec<Said>,
    }
    for case in cases::<Case>("policy", "refused") {
        let refused = compile(&case.policy, &Registry::builtin()).expect_err(&case.name);
        compare(&case.name, &errors(&refused), &case.errors);
    }
}

#[test]
fn good_policies_are_accepted_with_warnings_and_scope() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        name: String,
        policy: PolicyDraft,
        #[serde(default)]
        warnings: Vec<Said>,
        /// What `all` comes down to: these types …
        scope: Option<BTreeSet<String>>,
        /// … or every type that costs money, and these.
        #[serde(rename = "scopeBeyondCostly")]
        scope_beyond_costly: Option<BTreeSet<String>>,
        /// What asking for these comes down to.
        #[serde(default)]
        asked: Vec<String>,
        #[serde(default)]
        #[serde(rename = "askedScope")]
        asked_scope: BTreeSet<String>,
    }
    let registry = Registry::builtin();
    for case in cases::<Case>("policy", "accepted") {
        let Compiled { policy, warnings: said } =
            compile(&case.policy, &registry).unwrap_or_else(|errors| panic!("{}: {errors:#?}", case.name));
        compare(&case.name, &warnings(&said), &case.warnings);
        let names = |requested| {
            let types = policy.types_in_scope(&requested);
            assert!(types.is_sorted());
            types.into_iter().map(|id| registry.row(id).name.to_string()).collect::<BTreeSet<_>>()
        };
        let all = names(Requested::All);
        if let Some(scope) = case.scope {
            assert_eq!(all, scope, "{}", case.name);
        }
        if let Some(beyond) = case.scope_beyond_costly {
            let costly = registry.ids().map(|id| registry.row(id)).filter(|row| !row.free);
            let expected: BTreeSet<_> = costly.map(|row| row.name.to_string()).chain(beyond).collect();
            assert_eq!(all, expected, "{}", case.name);
        }
        let asked = case.asked.iter().map(|name| registry.id(name).unwrap()).collect();
        assert_eq!(names(Requested::Types(asked)), case.asked_scope, "{}", case.name);
    }
}

#[test]
fn policy_files_of_the_predecessor_are_read_unchanged() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        name: String,
        json: String,
        #[serde(default)]
        errors: Vec<Said>,
        #[serde(default)]
        warnings: Vec<Said>,
        draft: Option<PolicyDraft>,
    }
    for case in cases::<Case>("policy", "predecessor") {
        match predecessor::compile(&case.json, "converted", &Registry::builtin()) {
            Ok(compiled) => {
                compare(&case.name, &[], &case.errors);
                compare(&case.name, &warnings(&compiled.warnings), &case.warnings);
            }
            Err(refused) => compare(&case.name, &errors(&refused), &case.errors),
        }
        if let Some(draft) = case.draft {
            assert_eq!(predecessor::read(&case.json, "converted").unwrap().draft, draft, "{}", case.name);
        }
    }
}

type Change<'a> = Box<dyn Fn(&mut PolicyDraft) + 'a>;

#[test]
fn lists_and_texts_are_bounded() {
    let tag = |index: usize| TagRuleDraft { key: format!("key-{index}"), ..TagRuleDraft::default() };
    let with = |change: &dyn Fn(&mut PolicyDraft)| {
        let mut draft = PolicyDraft { required_tags: vec![tag(0)], ..PolicyDraft::default() };
        change(&mut draft);
        compile(&draft, &Registry::builtin()).map_err(|errors| errors[0].clone())
    };
    let values = |values: ValuesDraft| {
        move |draft: &mut PolicyDraft| draft.required_tags[0].values = Some(values.clone())
    };
    let allowed = |count: usize, length: usize| ValuesDraft {
        allowed: Some((0..count).map(|index| format!("{index:0length$}")).collect()),
        ..ValuesDraft::default()
    };
    let regex = |length: usize| ValuesDraft { regex: Some("a".repeat(length)), ..ValuesDraft::default() };
    let exemption = |index: usize| ExemptionDraft {
        name: format!("exemption-{index}"),
        arns: vec!["arn:*".to_owned()],
        ..ExemptionDraft::default()
    };
    let types = |count: usize| AppliesToDraft {
        resource_types: vec!["ec2:instance".to_owned(); count],
        ..AppliesToDraft::default()
    };
    let pairs: Vec<(&str, Change<'_>, Change<'_>)> = vec![
        (
            "spec.requiredTags",
            Box::new(|draft| draft.required_tags = (0..100).map(tag).collect()),
            Box::new(|draft| draft.required_tags = (0..101).map(tag).collect()),
        ),
        (
            "spec.requiredTags[0].key",
            Box::new(|draft| draft.required_tags[0].key = "é".repeat(128)),
            Box::new(|draft| draft.required_tags[0].key = "e".repeat(129)),
        ),
        (
            "spec.requiredTags[0].values.allowed",
            Box::new(values(allowed(500, 3))),
            Box::new(values(allowed(501, 3))),
        ),
        (
            "spec.requiredTags[0].values.allowed[0]",
            Box::new(values(allowed(1, 256))),
            Box::new(values(allowed(1, 257))),
        ),
        ("spec.requiredTags[0].values.regex", Box::new(values(regex(1024))), Box::new(values(regex(1025)))),
        (
            "spec.requiredTags[0].appliesTo.resourceTypes",
            Box::new(|draft| draft.required_tags[0].applies_to = Some(types(200))),
            Box::new(|draft| draft.required_tags[0].applies_to = Some(types(201))),
        ),
        (
            "spec.exemptions",
            Box::new(|draft| draft.exemptions = (0..200).map(exemption).collect()),
            Box::new(|draft| draft.exemptions = (0..201).map(exemption).collect()),
        ),
        (
            "spec.description",
            Box::new(|draft| draft.description = "d".repeat(1024)),
            Box::new(|draft| draft.description = "d".repeat(1025)),
        ),
    ];
    for (path, most, too_much) in pairs {
        with(&*most).unwrap_or_else(|error| panic!("{path}: {error}"));
        let error = with(&*too_much).expect_err(path);
        assert_eq!((error.path.as_str(), error.reason), (path, Reason::OutOfRange), "{error}");
    }
    let huge = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert_eq!(predecessor::read(&huge, "huge").unwrap_err()[0].reason, Reason::OutOfRange);
}

#[test]
fn a_file_of_mistakes_is_answered_briefly() {
    let tag = TagRuleDraft { key: "aws:x".to_owned(), ..TagRuleDraft::default() };
    let draft = PolicyDraft {
        required_tags: vec![tag.clone(); 100],
        optional_tags: vec![tag; 100],
        ..PolicyDraft::default()
    };
    assert_eq!(compile(&draft, &Registry::builtin()).unwrap_err().len(), 100);
}

#[test]
fn the_fallback_asks_for_three_tags_on_everything_that_costs_money() {
    let Compiled { policy, warnings } = compiled(&fallback());
    let keys: Vec<_> = policy.required().map(|rule| rule.key().as_ref()).collect();
    assert_eq!((keys, warnings), (vec!["CostCenter", "Owner", "Environment"], Vec::new()));
    let types = policy.types_in_scope(&Requested::All);
    assert!(types.iter().all(|id| !policy.registry().row(*id).free));
    assert!(!types.is_empty());
}

#[test]
fn expired_exemptions_are_reported_from_the_moment_they_end() {
    let draft: PolicyDraft = serde_saphyr::from_str(
        "requiredTags: [{key: Owner}]\n\
         exemptions:\n\
         - {name: for good, arns: ['arn:*']}\n\
         - {name: until new year, arns: ['arn:*'], expiresAt: 2027-01-01T00:00:00Z}\n",
    )
    .unwrap();
    let policy = compiled(&draft).policy;
    let expired = |now: &str| policy.expired_exemptions(now.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(expired("2026-12-31T23:59:59Z"), []);
    let [warning] = &*expired("2027-01-01T00:00:00Z") else { panic!("one was expected") };
    assert_eq!(warning.path, "spec.exemptions[1].expiresAt");
    assert!(warning.message.contains("`until new year` expired at 2027-01-01"), "{warning}");
}

#[test]
fn the_revision_follows_meaning_not_wording() {
    let revision = |text: &str| {
        let draft: PolicyDraft = serde_saphyr::from_str(text).unwrap();
        compiled(&draft).policy.revision().to_string()
    };
    let base = "requiredTags: [{key: A, values: {allowed: [x, y]}}, {key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]";
    let original = revision(base);
    assert!(original.starts_with("sha256:") && original.len() == 71, "{original}");
    for same in [
        "name: other\ndescription: prose\nrequiredTags: [{key: B, description: prose, appliesTo: {resourceTypes: ['s3:bucket', 'rds:db']}}, {key: A, values: {allowed: [y, x]}}]",
        "requiredTags: [{key: A, severity: high, keyCase: Exact, values: {allowed: [x, y], case: Exact}}, {key: B, appliesTo: {resourceTypes: ['rds:db-instance', 's3:bucket'], regions: []}}]",
    ] {
        assert_eq!(revision(same), original, "{same}");
    }
    for other in [
        "requiredTags: [{key: A, values: {allowed: [x]}}, {key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]",
        "requiredTags: [{key: A, values: {allowed: [x, y]}}, {key: B}]",
        "requiredTags: [{key: A, values: {allowed: [x, y]}, severity: low}, {key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]",
        "requiredTags: [{key: A, values: {allowed: [x, y]}, keyCase: Insensitive}, {key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]",
        "requiredTags: [{key: A, values: {allowed: [x, y]}}]\noptionalTags: [{key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]",
        "requiredTags: [{key: A, values: {allowed: [x, y]}}, {key: B, appliesTo: {resourceTypes: ['rds:db', 's3:bucket']}}]\nforbiddenTags: [{key: c}]",
    ] {
        assert_ne!(revision(other), original, "{other}");
    }
}

proptest! {
    /// The body of a fuzz target: whatever the bytes, there is an answer, and it is the same one again.
    #[test]
    fn any_bytes_get_an_answer_as_a_policy_file(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(predecessor::read(&text, "fuzz"), predecessor::read(&text, "fuzz"));
    }

    #[test]
    fn nearly_valid_policy_files_get_an_answer(
        key in "[ -~é]{0,6}",
        regex in r"[a-z(){}\[\]|*+?^$\\.1-9-]{0,12}",
        allowed in prop::option::of(prop::collection::vec("[a-z*]{0,3}", 0..3)),
        types in prop::collection::vec("(ec2|rds|\\*):(\\*|db|db-instance|instance)", 0..3),
        folded in any::<bool>(),
    ) {
        let json = serde_json::json!({
            "required_tags": [{"name": key, "validation_regex": regex, "allowed_values": allowed, "applies_to": types}],
            "tag_naming_rules": {"case_sensitivity": !folded},
        });
        let compile = || predecessor::compile(&json.to_string(), "fuzz", &Registry::builtin());
        match (compile(), compile()) {
            (Ok(first), Ok(second)) => {
                prop_assert_eq!(first.policy.revision(), second.policy.revision());
                prop_assert_eq!(first.warnings, second.warnings);
            }
            (Err(first), Err(second)) => {
                prop_assert!(!first.is_empty());
                prop_assert_eq!(first, second);
            }
            _ => prop_assert!(false, "two answers to one question"),
        }
    }
}
