//! Cases of `tests/cases/judge`, and what must hold for every policy and estate.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::finding::{FindingKind, Severity};
use crate::policy::tests::{cases, compiled};
use crate::policy::{AppliesToDraft, ExemptionDraft, ForbiddenTagDraft, TagSelectorDraft};
use crate::policy::{KeyCase, PolicyDraft, TagRuleDraft, ValueCase, ValuesDraft};
use crate::registry::Registry;
use crate::tally::Tally;

const ARN: &str = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    policy: PolicyDraft,
    #[serde(default)]
    now: Timestamp,
    resources: Vec<Judged>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    case: String,
    #[serde(default = "account")]
    account: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "region")]
    region: String,
    #[serde(default = "type_name", rename = "type")]
    type_name: String,
    #[serde(default = "arn")]
    arn: String,
    /// Absent: unread.
    tags: Option<BTreeMap<String, String>>,
    verdict: String,
    #[serde(default)]
    findings: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    /// `kind severity violation_type key`
    is: String,
    value: Option<String>,
    allowed: Option<Vec<String>>,
    expected: Option<String>,
    exempt: Option<String>,
    says: Option<String>,
}

fn account() -> String {
    "123456789012".to_owned()
}

fn region() -> String {
    "eu-west-1".to_owned()
}

fn type_name() -> String {
    "ec2:instance".to_owned()
}

fn arn() -> String {
    ARN.to_owned()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::OutOfScope => "out_of_scope",
        Verdict::Compliant => "compliant",
        Verdict::Violating => "violating",
        Verdict::Exempt => "exempt",
        Verdict::Unknown => "unknown",
    }
}

/// What does not fit.
fn difference(found: &[Finding], expected: &[Found]) -> String {
    let mut difference = String::new();
    if found.len() != expected.len() {
        let _ = writeln!(difference, "{} instead of {} findings", found.len(), expected.len());
    }
    for (finding, expected) in found.iter().zip(expected) {
        let is = format!(
            "{} {} {} {}",
            finding.kind.as_str(),
            finding.severity,
            finding.violation_type,
            finding.tag_key
        );
        let allowed =
            finding.allowed_values.as_ref().map(|values| values.iter().map(ToString::to_string).collect());
        let exempt = finding.exempted.as_ref().map(|exempted| &*exempted.by);
        let fits = is == expected.is
            && exempt == expected.exempt.as_deref()
            && (expected.value.is_none() || finding.current_value.as_deref() == expected.value.as_deref())
            && (expected.allowed.is_none() || allowed == expected.allowed)
            && (expected.expected.is_none()
                || finding.expected_format.as_deref() == expected.expected.as_deref())
            && expected.says.as_ref().is_none_or(|says| finding.message().contains(says));
        if !fits {
            let _ = writeln!(difference, "not `{}`: {finding:#?}", expected.is);
        }
    }
    difference
}

#[test]
fn verdicts_and_findings() {
    let registry = Registry::builtin();
    for case in cases::<Case>("judge", "") {
        let mut judge = Judge::new(Arc::new(compiled(&case.policy).policy), case.now);
        for judged in case.resources {
            let tags =
                judged.tags.map(|tags| tags.into_iter().map(|(key, value)| Tag { key, value }).collect());
            let resource = Resource {
                arn: judged.arn,
                id: "i-1".to_owned(),
                type_id: registry.id(&judged.type_name).unwrap(),
                region: judged.region.as_str().into(),
                tags: tags.map_or(Tags::Unread, Tags::Read),
            };
            let place = judge.place(&judged.account.parse().unwrap(), &judged.labels, &judged.region);
            let mut findings = Vec::new();
            let verdict = judge.judge(&place, &resource, &mut findings);
            let difference = difference(&findings, &judged.findings);
            assert!(
                word(verdict) == judged.verdict && difference.is_empty(),
                "{}: {}\n{difference}{findings:#?}",
                judged.case,
                word(verdict)
            );
        }
    }
}

fn judge_of(draft: &PolicyDraft) -> Judge {
    fresh(&Arc::new(compiled(draft).policy))
}

fn fresh(policy: &Arc<Policy>) -> Judge {
    Judge::new(Arc::clone(policy), Timestamp::UNIX_EPOCH)
}

fn place_of(judge: &mut Judge) -> Place {
    judge.place(&account().parse().unwrap(), &BTreeMap::new(), "eu-west-1")
}

fn resource(tags: &[(String, String)]) -> Resource {
    let tags = tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    Resource {
        arn: arn(),
        id: "i-1".to_owned(),
        type_id: Registry::builtin().id("ec2:instance").unwrap(),
        region: "eu-west-1".into(),
        tags: Tags::Read(tags),
    }
}

fn judged(judge: &mut Judge, resource: &Resource) -> (Verdict, Vec<Finding>) {
    let place = place_of(judge);
    let mut findings = Vec::new();
    let verdict = judge.judge(&place, resource, &mut findings);
    (verdict, findings)
}

fn required(key: &str) -> TagRuleDraft {
    TagRuleDraft { key: key.to_owned(), ..TagRuleDraft::default() }
}

#[test]
fn memory_does_not_grow_with_the_estate() {
    let draft = PolicyDraft { required_tags: vec![required("Owner")], ..PolicyDraft::default() };
    let mut judge = judge_of(&draft);
    let place = place_of(&mut judge);
    let mut findings = Vec::new();
    let mut old = TagSet::default();
    judge.intern(&[Tag { key: "Owner".to_owned(), value: "x".to_owned() }], &mut old);
    let type_id = Registry::builtin().id("ec2:instance").unwrap();
    assert_eq!(judge.judge_interned(&place, type_id, ARN, &old, &mut findings), Some(Verdict::Compliant));
    for index in 0..3 * MAX_TEXTS {
        let tags = [("Owner".to_owned(), format!("owner-{index}")), (format!("key-{index}"), String::new())];
        assert_eq!(judge.judge(&place, &resource(&tags), &mut findings), Verdict::Compliant);
        assert!(judge.values.len() <= MAX_TEXTS && judge.keys.len() <= MAX_TEXTS + 1);
    }
    // Numbers from before the memory was cleared are refused, not misread.
    assert_eq!(judge.judge_interned(&place, type_id, ARN, &old, &mut findings), None);
}

/// A policy with as many rules as there can be, each for resources with many other tags.
fn sprawling() -> PolicyDraft {
    let selectors = |of: usize| {
        (0..20).map(move |nth| TagSelectorDraft { key: format!("s{}", (of + nth) % 40), values: vec![] })
    };
    let rule = |nth: usize| TagRuleDraft {
        applies_to: Some(AppliesToDraft { tags: selectors(nth).collect(), ..AppliesToDraft::default() }),
        ..required(&format!("r{nth}"))
    };
    PolicyDraft {
        required_tags: (0..100).map(rule).collect(),
        optional_tags: (100..200).map(rule).collect(),
        ..PolicyDraft::default()
    }
}

#[test]
fn memory_does_not_grow_with_the_policy() {
    let mut judge = judge_of(&sprawling());
    let checks = judge.memo.len();
    assert!(checks > 4000, "{checks} checks");
    let place = place_of(&mut judge);
    let mut findings = Vec::new();
    let mut most = 0;
    for index in 0..300 {
        let tags: Vec<_> = (0..40).map(|tag| (format!("s{tag}"), format!("{index}-{tag}"))).collect();
        judge.judge(&place, &resource(&tags), &mut findings);
        let held: usize = judge.memo.iter().map(Vec::capacity).sum();
        assert_eq!(held, judge.remembered);
        most = most.max(held);
    }
    assert!(most <= MAX_OUTCOMES + 2 * MAX_TEXTS, "{most} bytes");
}

#[test]
fn an_outcome_that_cannot_be_remembered_is_still_right() {
    let one_of = ValuesDraft { allowed: Some(vec!["x".to_owned()]), ..ValuesDraft::default() };
    let rule = TagRuleDraft { values: Some(one_of), ..required("Owner") };
    let draft = PolicyDraft { required_tags: vec![rule], ..PolicyDraft::default() };
    let mut judge = judge_of(&draft);
    let place = place_of(&mut judge);
    let mut findings = Vec::new();
    let mut set = TagSet::default();
    for (value, expected) in [("x", Verdict::Compliant), ("y", Verdict::Violating)] {
        judge.intern(&[Tag { key: "Owner".to_owned(), value: value.to_owned() }], &mut set);
        judge.remembered = MAX_OUTCOMES;
        let type_id = Registry::builtin().id("ec2:instance").unwrap();
        let verdict = judge.judge_interned(&place, type_id, ARN, &set, &mut findings);
        assert_eq!((verdict, judge.memo[0].len()), (Some(expected), 0), "{value}");
    }
}

#[test]
fn values_that_nothing_looks_at_are_not_remembered() {
    let draft = PolicyDraft { required_tags: vec![required("Owner")], ..PolicyDraft::default() };
    let mut judge = judge_of(&draft);
    for index in 0..100 {
        let tags = [("Owner".to_owned(), "x".to_owned()), ("Name".to_owned(), format!("host-{index}"))];
        judged(&mut judge, &resource(&tags));
    }
    assert_eq!(judge.values.len(), 1);
}

#[test]
fn places_where_the_same_rules_hold_are_one() {
    let draft = PolicyDraft {
        required_tags: vec![TagRuleDraft {
            applies_to: Some(AppliesToDraft {
                regions: vec!["eu-*".to_owned()],
                ..AppliesToDraft::default()
            }),
            ..required("Owner")
        }],
        ..PolicyDraft::default()
    };
    let mut judge = judge_of(&draft);
    let instance = Registry::builtin().id("ec2:instance").unwrap();
    for (region, judges) in
        [("eu-west-1", true), ("eu-central-1", true), ("us-east-1", false), ("global", false)]
    {
        let place = judge.place(&account().parse().unwrap(), &BTreeMap::new(), region);
        assert_eq!(place.judges(instance), judges, "{region}");
    }
    assert_eq!(judge.places.len(), 2);
}

/// Few keys and values, so that they meet.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["A", "a", "B", "b", "C", "D", "tmp", "aws:x"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", " ", "x", "X", "y", "xyz", "prod", "Prod"]).prop_map(str::to_owned)
}

fn tags() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map(key(), value(), 0..6).prop_map(|tags| tags.into_iter().collect())
}

fn values() -> impl Strategy<Value = Option<ValuesDraft>> {
    prop::sample::select(vec![
        None,
        Some(ValuesDraft {
            allowed: Some(vec!["x".to_owned(), "pro*".to_owned()]),
            ..ValuesDraft::default()
        }),
        Some(ValuesDraft { regex: Some("[a-z]+".to_owned()), ..ValuesDraft::default() }),
        Some(ValuesDraft { case: ValueCase::Title, max_length: Some(3), ..ValuesDraft::default() }),
        Some(ValuesDraft {
            allowed: Some(vec!["X".to_owned()]),
            case: ValueCase::Insensitive,
            ..ValuesDraft::default()
        }),
    ])
}

fn rule(key: &'static str) -> impl Strategy<Value = TagRuleDraft> {
    let condition = prop::option::weighted(0.3, (super::tests::key(), value()));
    (values(), any::<bool>(), condition).prop_map(move |(values, folded, condition)| TagRuleDraft {
        values,
        key_case: if folded { KeyCase::Insensitive } else { KeyCase::Exact },
        applies_to: condition.map(|(key, value)| AppliesToDraft {
            tags: vec![TagSelectorDraft { key, values: vec![value] }],
            ..AppliesToDraft::default()
        }),
        ..required(key)
    })
}

fn policy() -> impl Strategy<Value = PolicyDraft> {
    let exemptions = prop::collection::vec((key(), any::<bool>()), 0..2);
    (rule("A"), rule("B"), rule("C"), any::<bool>(), exemptions).prop_map(|(a, b, c, forbid, exemptions)| {
        PolicyDraft {
            required_tags: vec![a, b],
            optional_tags: vec![c],
            forbidden_tags: forbid
                .then(|| ForbiddenTagDraft { key: "tm*".to_owned(), ..ForbiddenTagDraft::default() })
                .into_iter()
                .collect(),
            exemptions: exemptions
                .into_iter()
                .enumerate()
                .map(|(index, (key, here))| ExemptionDraft {
                    name: index.to_string(),
                    arns: vec![if here { "arn:aws:ec2:*" } else { "arn:aws:s3:*" }.to_owned()],
                    tag_keys: vec![key],
                    ..ExemptionDraft::default()
                })
                .collect(),
            ..PolicyDraft::default()
        }
    })
}

fn tally(judge: &mut Judge, estate: &[Vec<(String, String)>]) -> Tally {
    let mut tally = Tally::default();
    for tags in estate {
        let (verdict, findings) = judged(judge, &resource(tags));
        tally.add(verdict, &findings);
    }
    tally
}

proptest! {
    #[test]
    fn what_is_remembered_changes_nothing(policy in policy(), estate in prop::collection::vec(tags(), 1..8)) {
        let mut judge = judge_of(&policy);
        for tags in estate.iter().chain(&estate) {
            let anew = judged(&mut fresh(judge.policy()), &resource(tags));
            prop_assert_eq!(judged(&mut judge, &resource(tags)), anew);
        }
    }

    #[test]
    fn the_order_of_tags_changes_nothing(policy in policy(), tags in tags(), seed in any::<prop::sample::Index>()) {
        let mut judge = judge_of(&policy);
        let mut turned = tags.clone();
        turned.rotate_left(if tags.is_empty() { 0 } else { seed.index(tags.len()) });
        let mut reversed = tags.clone();
        reversed.reverse();
        let expected = judged(&mut judge, &resource(&tags));
        prop_assert_eq!(&judged(&mut judge, &resource(&turned)), &expected);
        prop_assert_eq!(&judged(&mut judge, &resource(&reversed)), &expected);
    }

    #[test]
    fn verdict_and_findings_agree(policy in policy(), tags in tags()) {
        let (verdict, findings) = judged(&mut judge_of(&policy), &resource(&tags));
        let violations = findings.iter().filter(|finding| finding.kind == FindingKind::Violation);
        let (exempt, counting): (Vec<_>, Vec<_>) = violations.partition(|finding| finding.exempted.is_some());
        match verdict {
            Verdict::OutOfScope | Verdict::Unknown => prop_assert!(findings.is_empty()),
            Verdict::Compliant => prop_assert!(counting.is_empty() && exempt.is_empty()),
            Verdict::Violating => prop_assert!(!counting.is_empty()),
            Verdict::Exempt => prop_assert!(counting.is_empty() && !exempt.is_empty()),
        }
        prop_assert!(findings.iter().all(|finding| !is_reserved(&finding.tag_key)));
    }

    #[test]
    fn one_more_required_tag_never_raises_the_score(
        policy in policy(),
        more in rule("D"),
        estate in prop::collection::vec(tags(), 1..12),
    ) {
        // Without scopes and exemptions, which change what is counted at all.
        let mut fewer = policy;
        fewer.exemptions.clear();
        fewer.required_tags.iter_mut().for_each(|rule| rule.applies_to = None);
        let mut stricter = fewer.clone();
        stricter.required_tags.push(TagRuleDraft { applies_to: None, ..more });
        let before = tally(&mut judge_of(&fewer), &estate);
        let after = tally(&mut judge_of(&stricter), &estate);
        prop_assert_eq!(before.resources(), after.resources());
        prop_assert!(after.score() <= before.score());
    }

    #[test]
    fn tallies_of_parts_add_up(policy in policy(), estate in prop::collection::vec(tags(), 0..12), cut in any::<prop::sample::Index>()) {
        let mut judge = judge_of(&policy);
        let (left, right) = estate.split_at(if estate.is_empty() { 0 } else { cut.index(estate.len()) });
        let mut sum = tally(&mut judge, left);
        sum.merge(&tally(&mut judge, right));
        prop_assert_eq!(sum, tally(&mut judge, &estate));
    }

    #[test]
    fn interned_tags_are_judged_like_the_texts(policy in policy(), tags in tags()) {
        let mut judge = judge_of(&policy);
        let place = place_of(&mut judge);
        let expected = judged(&mut judge, &resource(&tags));
        let Tags::Read(list) = resource(&tags).tags else { unreachable!() };
        let mut set = TagSet::default();
        judge.intern(&list, &mut set);
        let mut findings = Vec::new();
        let instance = Registry::builtin().id("ec2:instance").unwrap();
        let verdict = judge.judge_interned(&place, instance, ARN, &set, &mut findings);
        prop_assert_eq!((verdict, findings), (Some(expected.0), expected.1));
    }

    #[test]
    fn severity_is_what_the_rule_says(severity in prop::sample::select(Severity::ALL.to_vec()), tags in tags()) {
        let rule = TagRuleDraft { severity: Some(severity), ..required("A") };
        let draft = PolicyDraft { required_tags: vec![rule], ..PolicyDraft::default() };
        let (_, findings) = judged(&mut judge_of(&draft), &resource(&tags));
        prop_assert!(findings.iter().all(|finding| finding.severity == severity));
    }
}
