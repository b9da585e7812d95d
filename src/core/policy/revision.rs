//! The revision of a policy: equal for policies that judge alike, different for those that do not.
//!
//! Prose (names of policies, descriptions, reasons) and the order of rules and lists are left out, and defaults
//! are written out: editing a description must not make a scan run again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::finding::Severity;
use crate::registry::Registry;

use super::draft::{
    AccountsDraft, AppliesToDraft, ExemptionDraft, NamingDraft, PolicyDraft, TagRuleDraft, TagSelectorDraft,
};

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn revision(draft: &PolicyDraft, registry: &Registry) -> String {
    let canonical = Canonical::of(draft, registry);
    // Maps with text keys and numbers: serialising these cannot fail.
    let bytes = serde_json::to_vec(&canonical).unwrap_or_default();
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Raise when the meaning of an unchanged policy changes.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Canonical<'a> {
    format: u32,
    required: BTreeMap<&'a str, Rule<'a>>,
    optional: BTreeMap<&'a str, Rule<'a>>,
    forbidden: BTreeMap<&'a str, &'static str>,
    naming: Option<Naming<'a>>,
    exemptions: BTreeMap<&'a str, Exemption<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    severity: &'static str,
    allowed: Option<BTreeSet<&'a str>>,
    regex: Option<&'a str>,
    value_case: &'static str,
    min_length: Option<u32>,
    max_length: Option<u32>,
    key_case: &'static str,
    scope: Scope<'a>,
}

#[derive(Serialize, Default)]
struct Scope<'a> {
    types: BTreeSet<&'a str>,
    accounts: Option<Accounts<'a>>,
    regions: BTreeSet<&'a str>,
    tags: Tags<'a>,
}

type Tags<'a> = BTreeSet<(&'a str, BTreeSet<&'a str>)>;

#[derive(Serialize)]
struct Accounts<'a> {
    ids: BTreeSet<&'a str>,
    labels: &'a BTreeMap<String, String>,
    expressions: BTreeSet<(&'a str, &'static str, BTreeSet<&'a str>)>,
}

#[derive(Serialize)]
struct Naming<'a> {
    pattern: Option<&'a str>,
    case: &'static str,
    special: bool,
    max_key: Option<u32>,
    max_value: Option<u32>,
}

#[derive(Serialize)]
struct Exemption<'a> {
    arns: BTreeSet<&'a str>,
    resources: Option<Scope<'a>>,
    tag_keys: BTreeSet<&'a str>,
    expires_at: Option<String>,
}

impl<'a> Canonical<'a> {
    fn of(draft: &'a PolicyDraft, registry: &'a Registry) -> Self {
        let rules = |rules: &'a [TagRuleDraft], severity| {
            rules.iter().map(|rule| (rule.key.as_str(), Rule::of(rule, severity, registry))).collect()
        };
        Self {
            format: FORMAT,
            required: rules(&draft.required_tags, Severity::High),
            optional: rules(&draft.optional_tags, Severity::Low),
            forbidden: draft
                .forbidden_tags
                .iter()
                .map(|rule| (rule.key.as_str(), rule.severity.unwrap_or(Severity::High).as_str()))
                .collect(),
            naming: draft.naming.as_ref().map(Naming::of),
            exemptions: draft
                .exemptions
                .iter()
                .map(|exemption| (exemption.name.as_str(), Exemption::of(exemption, registry)))
                .collect(),
        }
    }
}

impl<'a> Rule<'a> {
    fn of(rule: &'a TagRuleDraft, severity: Severity, registry: &'a Registry) -> Self {
        let values = rule.values.as_ref();
        Self {
            severity: rule.severity.unwrap_or(severity).as_str(),
            allowed: values.and_then(|values| values.allowed.as_deref()).map(set),
            regex: values.and_then(|values| values.regex.as_deref()),
            value_case: values.map(|values| values.case).unwrap_or_default().as_str(),
            min_length: values.and_then(|values| values.min_length),
            max_length: values.and_then(|values| values.max_length),
            key_case: rule.key_case.as_str(),
            scope: rule.applies_to.as_ref().map(|scope| Scope::of(scope, registry)).unwrap_or_default(),
        }
    }
}

impl<'a> Scope<'a> {
    fn of(scope: &'a AppliesToDraft, registry: &'a Registry) -> Self {
        Self {
            types: types(&scope.resource_types, registry),
            accounts: scope.accounts.as_ref().map(Accounts::of),
            regions: set(&scope.regions),
            tags: tags(&scope.tags),
        }
    }
}

impl<'a> Accounts<'a> {
    fn of(accounts: &'a AccountsDraft) -> Self {
        Self {
            ids: set(&accounts.ids),
            labels: &accounts.match_labels,
            expressions: accounts
                .match_expressions
                .iter()
                .map(|expression| {
                    (expression.key.as_str(), expression.operator.as_str(), set(&expression.values))
                })
                .collect(),
        }
    }
}

impl<'a> Naming<'a> {
    fn of(naming: &'a NamingDraft) -> Self {
        Self {
            pattern: naming.key_pattern.as_deref(),
            case: naming.key_case.as_str(),
            special: naming.allow_special_characters.unwrap_or(true),
            max_key: naming.max_key_length,
            max_value: naming.max_value_length,
        }
    }
}

impl<'a> Exemption<'a> {
    fn of(exemption: &'a ExemptionDraft, registry: &'a Registry) -> Self {
        Self {
            arns: set(&exemption.arns),
            resources: exemption.resources.as_ref().map(|resources| Scope {
                types: types(&resources.types, registry),
                accounts: resources.accounts.as_ref().map(Accounts::of),
                regions: set(&resources.regions),
                tags: tags(&resources.tags),
            }),
            tag_keys: set(&exemption.tag_keys),
            expires_at: exemption.expires_at.map(|end| end.to_string()),
        }
    }
}

fn set(list: &[String]) -> BTreeSet<&str> {
    list.iter().map(String::as_str).collect()
}

fn types<'a>(list: &'a [String], registry: &'a Registry) -> BTreeSet<&'a str> {
    list.iter().map(|name| registry.current_name(name).unwrap_or(name)).collect()
}

fn tags(list: &[TagSelectorDraft]) -> Tags<'_> {
    list.iter().map(|selector| (selector.key.as_str(), set(&selector.values))).collect()
}
