//! Texts in, objects or messages out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use proptest::prelude::*;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use tagwarden_core::finding::{Finding, FindingKind};
use tagwarden_core::judge::Judge;
use tagwarden_core::policy::{Compiled, PolicyDraft, predecessor};
use tagwarden_core::registry::Registry;
use tagwarden_core::resource::{Resource, Tag, Tags};

use crate::access::{ExternalId, ResolvedAccess, resolve_accounts};
use crate::error::{Fault, ManifestError};
use crate::manifests::{MAX_DOCUMENTS, MAX_ERRORS, MAX_FILE_BYTES, Manifests};
use crate::policy::TaggingPolicy;
use crate::yaml::to_yaml;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/manifests");

fn read(file: &str, text: &str) -> Result<Manifests, Vec<ManifestError>> {
    let mut manifests = Manifests::new("default");
    manifests.read(file, text.as_bytes()).map(|()| manifests)
}

fn messages(errors: &[ManifestError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// One entry of `bad.yaml`: a file, and all that is said about it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    what: String,
    #[serde(default = "policy_yaml")]
    file: String,
    text: String,
    says: Vec<String>,
}

fn policy_yaml() -> String {
    "policy.yaml".to_owned()
}

#[test]
fn every_mistake_is_said_with_its_place() {
    let text = std::fs::read_to_string(format!("{CASES}/bad.yaml")).unwrap();
    let cases: Vec<Bad> = serde_saphyr::from_str(&text).unwrap();
    let mut wrong = String::new();
    for case in &cases {
        let said = match read(&case.file, &case.text) {
            Err(errors) => messages(&errors),
            Ok(manifests) => {
                let registry = Registry::builtin();
                let policies =
                    manifests.policies().iter().filter_map(|policy| policy.compile(&registry).err());
                policies
                    .chain(resolve_accounts(&manifests, &[]).err())
                    .flat_map(|errors| messages(&errors))
                    .collect()
            }
        };
        if said != case.says || said.is_empty() {
            writeln!(wrong, "{}:\n  said {said:#?}\n  instead of {:#?}", case.what, case.says).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases.len() >= 40, "only {} cases were read", cases.len());
}

#[test]
fn a_large_file_is_refused_before_it_is_parsed() {
    let errors = read("big.yaml", &" ".repeat(10 << 20)).unwrap_err();
    assert_eq!(
        messages(&errors),
        [format!("big.yaml: larger than {MAX_FILE_BYTES} bytes, which is the most a manifest file may have")]
    );
}

#[test]
fn a_file_has_so_many_documents_and_no_more() {
    let document = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\n";
    let errors = read("many.yaml", &document.repeat(MAX_DOCUMENTS + 1)).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].fault, Fault::TooManyDocuments { limit: MAX_DOCUMENTS });
    let errors = read("many.yaml", &document.repeat(MAX_DOCUMENTS)).unwrap_err();
    assert!(errors.iter().all(|error| matches!(error.fault, Fault::Duplicate { .. })), "{errors:?}");
}

#[test]
fn a_file_of_mistakes_is_not_answered_with_a_flood() {
    let list =
        format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{}1]}}", "1,".repeat(200_000));
    assert_eq!(read("list.json", &list).unwrap_err().len(), MAX_ERRORS);
}

#[test]
fn what_is_quoted_is_short_and_fit_for_a_terminal() {
    let evil = format!("\\u001b[31m\\n{}", "x".repeat(5000));
    for text in [
        format!(r#"{{"apiVersion": "{evil}", "kind": "{evil}"}}"#),
        format!(r#"{{"apiVersion": "v1", "kind": "Secret", "metadata": {{"name": "{evil}", "{evil}": 1}}}}"#),
        format!(
            r#"{{"apiVersion": "tagwarden.io/v1alpha1", "kind": "TaggingPolicy", "metadata": {{"name": "a"}},
                "spec": {{"{evil}": 1, "requiredTags": [{{"key": "{evil}", "severity": "{evil}"}}]}}}}"#
        ),
        format!(r#"{{"{evil}": 1, "{evil}": 1}}"#),
        format!(
            r#"{{"required_tags": [{{"name": "a", "validation_regex": "({evil}", "applies_to": ["{evil}"]}}]}}"#
        ),
    ] {
        for file in ["a.json", "a.yaml"] {
            let errors = match read(file, &text) {
                Err(errors) => errors,
                Ok(manifests) => manifests.policies()[0].compile(&Registry::builtin()).unwrap_err(),
            };
            for message in messages(&errors) {
                assert!(message.chars().all(|each| !each.is_control()), "{message:?}");
                assert!(message.len() < 1000, "{message}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let errors = Manifests::new("default").read("policy.yaml", b"kind: \xff").unwrap_err();
    assert_eq!(messages(&errors), ["policy.yaml: not UTF-8 text (byte 6)"]);
}

#[test]
fn aliases_are_followed_within_bounds() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let last = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [last.as_str(); 10].join(", ")).unwrap();
    }
    let errors = read("bomb.yaml", &bomb).unwrap_err();
    assert!(matches!(errors[0].fault, Fault::Syntax { .. }), "{errors:?}");
}

#[test]
fn nesting_is_followed_within_bounds() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        for file in ["deep.yaml", "deep.json"] {
            let errors = read(file, &text).unwrap_err();
            assert!(matches!(errors[0].fault, Fault::Syntax { .. }), "{errors:?}");
        }
    }
}

#[test]
fn what_stands_in_a_secret_is_never_told() {
    let secret = "hunter2hunter2";
    for text in [
        "stringData: {externalId: {a: hunter2hunter2}}",
        "stringData: [hunter2hunter2]",
        "stringData: hunter2hunter2",
        "data: {externalId: hunter2hunter2!}",
        "data: {externalId: [hunter2hunter2]}",
        "stringData: {externalId: 'hunter2hunter2}",
        "stringData:\n  externalId: hunter2hunter2\n bad: x",
        "stringData: {externalId: hunter2hunter2, externalId: hunter2hunter2}",
        "stringData: {externalId: !hunter2hunter2 x}",
        "stringData: {externalId: !hunter2hunter2}",
        "stringData: {externalId: *hunter2hunter2}",
        "stringData: {externalId: &hunter2hunter2}",
        "stringData: {externalId: @hunter2hunter2}",
        "stringData: {externalId: %hunter2hunter2}",
        "stringData: {externalId: `hunter2hunter2}",
        "stringData: {externalId: hunter2hunter2: hunter2hunter2}",
        "data: {externalId: 12345, other: !!int hunter2hunter2}",
        "stringData: {externalId: \"hunter2hunter2\\q\"}",
    ] {
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: acme}}\n{text}\n");
        let said = messages(&read("secret.yaml", &text).unwrap_err()).join("\n");
        assert!(!said.contains(secret), "{text}\n{said}");
    }
    let manifests = read(
        "s.yaml",
        "{apiVersion: v1, kind: Secret, metadata: {name: acme}, stringData: {a: hunter2hunter2}}",
    );
    assert!(!format!("{:?}", manifests.unwrap()).contains(secret));
}

#[test]
fn an_account_that_is_not_asked_for_stands_in_nobodys_way() {
    let account = |id: &str, mode: &str| {
        format!(
            "{{apiVersion: tagwarden.io/v1alpha1, kind: ClientAccount, metadata: {{name: a{id}}}, spec: {{accountId: \"{id}\", \
             auth: {{roleArn: 'arn:aws:iam::{id}:role/tagwarden', externalId: {{mode: {mode}}}}}}}}}\n"
        )
    };
    let (one, other) = ("111122223333", "444455556666");
    let text = [account(one, "None"), account(other, "Generated")].join("---\n");
    let manifests = read("accounts.yaml", &text).unwrap();
    let resolved = |ids: &[&str]| {
        let only: Vec<_> = ids.iter().map(|id| id.parse().unwrap()).collect();
        resolve_accounts(&manifests, &only).map(|accounts| accounts.len()).map_err(|errors| errors.len())
    };
    assert_eq!(resolved(&[one]), Ok(1));
    assert_eq!(resolved(&[other]), Err(1));
    assert_eq!(resolved(&[]), Err(1));
    assert_eq!(resolved(&["777788889999"]), Ok(0));
}

#[test]
fn an_external_id_is_found_and_never_printed() {
    let text = std::fs::read_to_string(format!("{CASES}/accounts.yaml")).unwrap();
    let accounts = resolve_accounts(&read("accounts.yaml", &text).unwrap(), &[]).unwrap();
    let ids: Vec<Option<&str>> = accounts
        .iter()
        .map(|account| match &account.access {
            ResolvedAccess::Ambient => None,
            ResolvedAccess::AssumeRole(role) => role.external_id.as_ref().map(ExternalId::expose),
        })
        .collect();
    assert_eq!(ids, [Some("id-from-stringData"), Some("id-from-data"), None, None]);
    assert!(!format!("{accounts:?}").contains("id-from"));

    let first = &accounts[0];
    assert_eq!((first.origin.name.as_str(), first.origin.namespace.as_str()), ("acme-prod", "default"));
    assert_eq!(first.display_name.as_deref(), Some("Acme, production"));
    assert_eq!(first.account_id.as_str(), "111122223333");
    assert_eq!(first.labels.get("tier").map(String::as_str), Some("gold"));
    assert_eq!(first.include_regions, ["eu-west-1"]);
    let ResolvedAccess::AssumeRole(role) = &first.access else { panic!("{first:?}") };
    assert_eq!((role.session_name.as_str(), role.session_duration_seconds), ("audit", 900));
    assert_eq!(role.chain, ["arn:aws:iam::999999999999:role/hub"]);
    let ResolvedAccess::AssumeRole(role) = &accounts[1].access else { panic!("{:?}", accounts[1]) };
    assert_eq!((role.session_name.as_str(), role.session_duration_seconds), ("tagwarden", 3600));
    assert_eq!(accounts[3].access, ResolvedAccess::Ambient);
}

#[test]
fn a_namespace_is_given_to_what_has_none() {
    let mut manifests = Manifests::new("finops");
    let policy = "{apiVersion: tagwarden.io/v1alpha1, kind: TaggingPolicy, metadata: {name: corp}, spec: {}}";
    manifests.read("a.yaml", policy.as_bytes()).unwrap();
    let elsewhere = policy.replace("name: corp", "name: corp, namespace: other");
    manifests.read("b.yaml", elsewhere.as_bytes()).unwrap();
    let namespaces: Vec<_> = manifests
        .policies()
        .iter()
        .map(|policy| policy.object.metadata.namespace.as_deref().unwrap())
        .collect();
    assert_eq!(namespaces, ["finops", "other"]);
    let errors = manifests.read("c.yaml", policy.as_bytes()).unwrap_err();
    assert_eq!(
        messages(&errors),
        [
            "c.yaml: document 1 (TaggingPolicy corp): metadata.name: `corp` is there already, in a.yaml, document 1"
        ]
    );
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: corp}\nspec:\n  requiredTags:\n  - key: Owner\n    severity: low\n";
    let json = r#"{"apiVersion":"tagwarden.io/v1alpha1","kind":"TaggingPolicy","metadata":{"name":"corp"},"spec":{"requiredTags":[{"key":"Owner","severity":"low"}]}}"#;
    let list = format!("apiVersion: v1\nkind: List\nitems: [{json}]\n");
    let object = |file: &str, text: &str| read(file, text).unwrap().policies()[0].object.clone();
    assert_eq!(object("a.yaml", yaml), object("a.json", json));
    assert_eq!(object("a.yaml", yaml), object("a.yaml", json));
    assert_eq!(object("a.yaml", yaml), object("a.yaml", &list));
    assert_eq!(object("a.yaml", yaml), object("a.yaml", &format!("\u{feff}# first\n---\n{yaml}---\n")));
}

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");

fn starter(file: &str) -> Compiled {
    let text = std::fs::read_to_string(format!("{POLICIES}/{file}")).unwrap();
    let manifests = read(file, &text).unwrap_or_else(|errors| panic!("{:#?}", messages(&errors)));
    assert_eq!(manifests.policies().len(), 1, "{file}");
    let policy = &manifests.policies()[0];
    assert_eq!(format!("{}.yaml", policy.origin.name), file);
    policy.compile(&Registry::builtin()).unwrap_or_else(|errors| panic!("{:#?}", messages(&errors)))
}

/// One entry of `starter-policies.yaml`: a resource, and what a policy makes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    policy: String,
    #[serde(rename = "type")]
    type_name: String,
    #[serde(default)]
    arn: String,
    tags: BTreeMap<String, String>,
    verdict: String,
    #[serde(default)]
    findings: Vec<String>,
}

#[test]
fn starter_policies_judge_as_they_say() {
    let text = std::fs::read_to_string(format!("{CASES}/starter-policies.yaml")).unwrap();
    let cases: Vec<Judged> = serde_saphyr::from_str(&text).unwrap();
    let mut untried: Vec<String> = std::fs::read_dir(POLICIES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(untried.len() >= 4, "{untried:?}");
    for case in cases {
        let compiled = starter(&case.policy);
        assert_eq!(compiled.warnings, [], "{}", case.policy);
        let mut judge = Judge::new(Arc::new(compiled.policy), "2026-01-01T00:00:00Z".parse().unwrap());
        let place = judge.place(&"111122223333".parse().unwrap(), &BTreeMap::new(), "eu-west-1");
        let resource = Resource {
            arn: case.arn,
            id: "it".to_owned(),
            type_id: Registry::builtin().id(&case.type_name).unwrap(),
            region: "eu-west-1".into(),
            tags: Tags::Read(case.tags.into_iter().map(|(key, value)| Tag { key, value }).collect()),
        };
        let mut findings = Vec::new();
        let verdict = judge.judge(&place, &resource, &mut findings);
        let found: Vec<String> = findings.iter().map(brief).collect();
        assert_eq!((format!("{verdict:?}"), found), (case.verdict, case.findings), "{}", case.policy);
        untried.retain(|file| *file != case.policy);
    }
    assert_eq!(untried, Vec::<String>::new(), "no case tries these policies");
}

fn brief(finding: &Finding) -> String {
    let exempt = if finding.exempted.is_some() { " exempt" } else { "" };
    let text = format!("{} {}{exempt}", finding.violation_type, finding.tag_key);
    if finding.kind == FindingKind::Advice { format!("({text})") } else { text }
}

#[test]
fn the_fallback_policy_asks_for_what_the_starter_asks_of_everything() {
    let everything = |draft: &PolicyDraft| -> Vec<String> {
        draft.required_tags.iter().filter(|tag| tag.applies_to.is_none()).map(|tag| tag.key.clone()).collect()
    };
    let text = std::fs::read_to_string(format!("{POLICIES}/starter.yaml")).unwrap();
    let starter = read("starter.yaml", &text).unwrap().policies()[0].object.to_draft();
    assert_eq!(everything(&starter), everything(&tagwarden_core::policy::fallback()));
}

#[test]
fn a_converted_policy_is_the_same_policy() {
    let registry = Registry::builtin();
    let json = std::fs::read_to_string(format!("{CASES}/predecessor.json")).unwrap();
    let original = predecessor::compile(&json, "tagging-policy", &registry).unwrap();

    let manifests = read("tagging_policy.json", &json).unwrap();
    let direct = manifests.policies()[0].compile(&registry).unwrap();
    assert_eq!(direct.policy.revision(), original.policy.revision());
    assert_eq!(direct.warnings, original.warnings);
    assert_eq!(&**direct.policy.name(), "tagging-policy");

    let yaml = to_yaml(&manifests.policies()[0].object).unwrap();
    let again = read("policy.yaml", &yaml).unwrap();
    assert_eq!(again.policies()[0].object, manifests.policies()[0].object, "{yaml}");
    let converted = again.policies()[0].compile(&registry).unwrap();
    assert_eq!(converted.policy.revision(), original.policy.revision(), "{yaml}");
    assert_eq!(to_yaml(&again.policies()[0].object).unwrap(), yaml);
    let order: Vec<_> = yaml.lines().filter(|line| !line.starts_with([' ', '-'])).collect();
    assert_eq!(order, ["apiVersion: tagwarden.io/v1alpha1", "kind: TaggingPolicy", "metadata:", "spec:"]);
    assert!(!yaml.contains("null") && !yaml.contains("Exact") && !yaml.contains("[]"), "{yaml}");
}

#[test]
fn every_field_survives_the_draft_and_the_yaml() {
    let text = std::fs::read_to_string(format!("{CASES}/every-field.yaml")).unwrap();
    let policy = read("every-field.yaml", &text).unwrap().policies()[0].object.clone();
    let mut there_and_back = TaggingPolicy::from_draft(policy.to_draft());
    there_and_back.metadata.namespace.clone_from(&policy.metadata.namespace);
    assert_eq!(there_and_back, policy);
    let yaml = to_yaml(&policy).unwrap();
    assert_eq!(read("a.yaml", &yaml).unwrap().policies()[0].object, policy, "{yaml}");
    read("a.yaml", &text).unwrap().policies()[0].compile(&Registry::builtin()).unwrap();

    let crd = TaggingPolicy::crd().spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    let spec = serde_json::to_value(&policy.spec).unwrap();
    everything_is_used("spec", &crd.properties.unwrap()["spec"], &[&spec]);
}

/// Fails for a field of the schema that no value in the example has.
fn everything_is_used(path: &str, schema: &JSONSchemaProps, values: &[&Value]) {
    assert!(!values.is_empty(), "the example lacks {path}");
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        let items_found: Vec<&Value> = values.iter().flat_map(|value| value.as_array().unwrap()).collect();
        everything_is_used(&format!("{path}[]"), items, &items_found);
    }
    for (name, field) in schema.properties.iter().flatten() {
        let found: Vec<&Value> = values.iter().filter_map(|value| value.get(name)).collect();
        everything_is_used(&format!("{path}.{name}"), field, &found);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), json: bool) {
        let mut manifests = Manifests::new("default");
        let _ = manifests.read(if json { "a.json" } else { "a.yaml" }, &bytes);
    }

    #[test]
    fn any_text_with_something_of_a_manifest_in_it_is_read_without_a_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("apiVersion: tagwarden.io/v1alpha1\n".to_owned()),
                Just("kind: TaggingPolicy\n".to_owned()),
                Just("kind: ClientAccount\n".to_owned()),
                Just("metadata: {name: a}\n".to_owned()),
                Just("spec:\n".to_owned()),
                Just("  requiredTags:\n  - key: ".to_owned()),
                Just("&a ".to_owned()),
                Just("*a\n".to_owned()),
                Just("<<: ".to_owned()),
                Just("---\n".to_owned()),
                Just("{\"required_tags\": [".to_owned()),
                "\\PC{0,8}",
            ],
            0..24,
        )
    ) {
        let mut manifests = Manifests::new("default");
        let _ = manifests.read("a.yaml", parts.concat().as_bytes());
        let _ = resolve_accounts(&manifests, &[]);
    }

    /// Values in every place of a valid manifest: refused or taken, never a panic, and never a second opinion of
    /// serde after the schema was satisfied.
    #[test]
    fn what_the_schema_accepts_can_be_decoded(value in values(), place in 0_usize..9) {
        let pointer = [
            "/spec/description", "/spec/requiredTags", "/spec/requiredTags/0/severity", "/spec/requiredTags/0/values",
            "/spec/requiredTags/0/appliesTo", "/spec/naming", "/spec/exemptions", "/spec/exemptions/0/expiresAt",
            "/metadata/labels",
        ][place];
        let mut document = serde_json::json!({
            "apiVersion": "tagwarden.io/v1alpha1", "kind": "TaggingPolicy",
            "metadata": {"name": "a", "labels": {}},
            "spec": {
                "description": "", "naming": {},
                "requiredTags": [{"key": "a", "severity": "low", "values": {}, "appliesTo": {}}],
                "exemptions": [{"name": "a", "reason": "b", "expiresAt": null}],
            },
        });
        *document.pointer_mut(pointer).unwrap() = value;
        if let Err(errors) = read("a.json", &document.to_string()) {
            for error in errors {
                prop_assert!(!error.to_string().contains("invalid type"), "{error}");
            }
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("high"), Just("In"), Just("Exact"), Just("2027-01-31T00:00:00Z"), Just("")]
            .prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("key"),
        Just("name"),
        Just("values"),
        Just("tags"),
        Just("accounts"),
        Just("allowed")
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn definitions_are_bounded_and_structural() {
    for crd in crate::crds() {
        let text = serde_json::to_string(&crd).unwrap();
        let name = &crd.spec.names.kind;
        assert!(text.len() < 200 * 1024, "{name} has {} bytes", text.len());
        assert!(!text.contains("preserveUnknownFields"), "{name}");
        assert!(!text.contains("x-kubernetes-preserve-unknown-fields"), "{name}");
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(crd.spec.versions.len(), 1);
        let root = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        bounded(name, &root.properties.unwrap()["spec"]);
    }
}

/// Every text, list and map has a bound, every field a type and a description, none a default, and what Kubernetes
/// calls structural holds: no alternatives, no references.
fn bounded(path: &str, schema: &JSONSchemaProps) {
    assert!(schema.default.is_none(), "{path} has a default");
    assert!(
        schema.any_of.is_none() && schema.one_of.is_none() && schema.all_of.is_none(),
        "{path} has alternatives"
    );
    assert!(schema.not.is_none() && schema.ref_path.is_none(), "{path} is not structural");
    if let Some(pattern) = &schema.pattern {
        assert!(Regex::new(pattern).is_ok() && pattern.is_ascii(), "{path} has the pattern `{pattern}`");
    }
    match schema.type_.as_deref() {
        Some("string") => assert!(
            schema.max_length.is_some() || schema.enum_.is_some() || schema.format.is_some(),
            "{path} is an endless text"
        ),
        Some("array") => assert!(schema.max_items.is_some(), "{path} is an endless list"),
        Some("integer") => {
            assert!(schema.minimum.is_some() && schema.maximum.is_some(), "{path} is boundless");
        }
        Some("object" | "boolean") => {}
        other => panic!("{path} is of type {other:?}"),
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        bounded(&format!("{path}[]"), items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        assert!(schema.max_properties.is_some(), "{path} is an endless map");
        bounded(&format!("{path}.*"), values);
    }
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(
            field.description.as_deref().is_some_and(|text| text.ends_with('.')),
            "{path} has no description"
        );
        bounded(&path, field);
    }
}
