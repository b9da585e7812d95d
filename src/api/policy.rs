//! `TaggingPolicy`: what the tags of resources must look like, as people declare it.
//!
//! These types are the wire format: a field is here only once it works, and every bound stands in the schema, so
//! that a manifest file and an API server refuse the same things. Whether a policy makes sense is decided by
//! `tagwarden_core::policy`.

// The schema derive repeats each struct inside a function, where no `pub` can be reached; clippy takes the columns
// for repeated attributes; and the comments are descriptions in the CRD, read by people at a terminal.
#![allow(unreachable_pub, clippy::duplicated_attributes, clippy::doc_markdown)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::is_default;

/// What the tags of resources must look like.
///
/// A resource is in scope when at least one required or forbidden tag applies to it; it is compliant when none of
/// these is broken.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[kube(
    group = "tagwarden.io",
    version = "v1alpha1",
    kind = "TaggingPolicy",
    plural = "taggingpolicies",
    shortname = "tagpol",
    category = "tagwarden",
    namespaced,
    status = "TaggingPolicyStatus",
    derive = "PartialEq",
    doc = "What the tags of cloud resources must look like.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Required", type_ = "integer", json_path = ".status.effective.requiredTags"),
    printcolumn(name = "Optional", type_ = "integer", json_path = ".status.effective.optionalTags"),
    printcolumn(name = "Audits", type_ = "integer", json_path = ".status.usedBy"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision", priority = 1),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TaggingPolicySpec {
    /// What the policy is for. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// Tags that must be there. One that is absent, blank or wrong is a violation; the severity of a rule that
    /// names none is high.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub required_tags: Vec<TagRule>,

    /// Tags that may be absent. A wrong value is advice and never counts against the score; the severity of a
    /// rule that names none is low.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub optional_tags: Vec<TagRule>,

    /// Tags that must not be there. One that is found is a violation; the severity of a rule that names none is
    /// high.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub forbidden_tags: Vec<ForbiddenTag>,

    /// How keys and values are to be written on every resource in scope. Breaking these rules is advice and never
    /// counts against the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naming: Option<NamingRules>,

    /// Resources whose violations are listed but not counted, for a reason and, best, for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub exemptions: Vec<Exemption>,
}

/// How much a finding matters.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The most severe.
    Critical,
    /// The default of required and forbidden tags.
    High,
    /// Between high and low.
    Medium,
    /// The default of optional tags and naming rules.
    Low,
    /// The least severe.
    Info,
}

/// A rule about one tag key.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TagRule {
    /// The tag key: 1 to 128 characters, not starting with `aws:`, which AWS keeps for itself.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("!self.startsWith('aws:')").message("keys that start with aws: are set by AWS alone"))]
    pub key: String,

    /// What the tag is for. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// How much a violation of this rule matters: critical, high, medium, low or info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,

    /// What the value must look like. Any value that is not blank will do when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<ValueRule>,

    /// Whether `costcenter` may stand for `CostCenter`. Exact (the default) reports another case as a violation;
    /// Insensitive accepts it and advises the right one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key_case: KeyCase,

    /// The resources the rule is about. Every resource when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<AppliesTo>,
}

/// Whether the case of a tag key matters.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyCase {
    /// It does.
    #[default]
    Exact,
    /// It does not.
    Insensitive,
}

/// What a tag value must look like. All that is given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minLength) || !has(self.maxLength) || self.minLength <= self.maxLength").message("minLength must not be greater than maxLength")
)]
pub struct ValueRule {
    /// The values that are accepted, at least one; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500), inner(length(min = 1, max = 256)))]
    pub allowed: Option<Vec<String>>,

    /// A regular expression that the whole value must match. Syntax of RE2; lookaround and backreferences do not
    /// exist in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub regex: Option<String>,

    /// The case of the value. Exact (the default): as in `allowed` and `regex`. Insensitive: these match in any
    /// case. Lower, Upper, Title: the value itself must be written so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub case: ValueCase,

    /// The least number of characters, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub min_length: Option<i32>,

    /// The greatest number of characters, 1 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_length: Option<i32>,
}

/// The case of a tag value.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ValueCase {
    /// As the policy spells it.
    #[default]
    Exact,
    /// Any.
    Insensitive,
    /// all lower case
    Lower,
    /// ALL UPPER CASE
    Upper,
    /// Each Word Starts With A Capital
    Title,
}

/// Which resources a rule is about. All that is given must hold; nothing given means every resource.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliesTo {
    /// Resource types as `service:type`, for example `ec2:instance`; `*` stands for any text, as in `rds:*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 128)))]
    pub resource_types: Vec<String>,

    /// The accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountSelector>,

    /// Regions by name, for example `eu-west-1`, where `*` stands for any text; `global` for types without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(min = 1, max = 32)))]
    pub regions: Vec<String>,

    /// Tags that the resource carries, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tags: Vec<TagSelector>,
}

/// Which accounts. All that is given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountSelector {
    /// Account ids, any of them: 12 digits each, in quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(max = 12), regex(pattern = "^[0-9]{12}$")))]
    pub ids: Vec<String>,

    /// Labels of the ClientAccount, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions on labels of the ClientAccount, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on one label.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)").message("In and NotIn need values; Exists and DoesNotExist take none")
)]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist. A missing label satisfies NotIn.
    pub operator: LabelOperator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What is asked of a label.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// Its value is one of these.
    In,
    /// It is absent, or its value is none of these.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

/// A tag that a resource carries.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TagSelector {
    /// The tag key, exactly.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,
    /// The values, any of them; `*` stands for any text. Any value when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 256)))]
    pub values: Vec<String>,
}

/// A tag that must not be there.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ForbiddenTag {
    /// The tag key; `*` stands for any text, as in `tmp-*`.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,

    /// Why it must not be there. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// How much a violation of this rule matters: critical, high, medium, low or info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// How keys and values are to be written.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamingRules {
    /// A regular expression that every key must match as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub key_pattern: Option<String>,

    /// How every key is written: Any (the default), Pascal, Camel, Kebab, Snake, Lower or Upper.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key_case: NamingCase,

    /// Whether keys may have characters other than letters, digits, spaces and `+ - = . _ : / @`, which every
    /// service accepts. They may when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_special_characters: Option<bool>,

    /// The greatest number of characters of a key, 1 to 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub max_key_length: Option<i32>,

    /// The greatest number of characters of a value, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub max_value_length: Option<i32>,
}

/// How a tag key is written.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NamingCase {
    /// In any way.
    #[default]
    Any,
    /// `CostCenter`
    Pascal,
    /// `costCenter`
    Camel,
    /// `cost-center`
    Kebab,
    /// `cost_center`
    Snake,
    /// `costcenter`
    Lower,
    /// `COSTCENTER`
    Upper,
}

/// Resources whose violations are listed but not counted.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.arns) && size(self.arns) > 0) != has(self.resources)").message("name either arns or resources")
)]
pub struct Exemption {
    /// A name, unique in the policy; quoted by the findings that it covers.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The resources by ARN; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 2048)))]
    pub arns: Vec<String>,

    /// The resources by what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceSelector>,

    /// The tag keys whose violations are covered; `*` stands for any text. All when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    pub tag_keys: Vec<String>,

    /// Why they are let off. For people.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,

    /// When it ends, for example `2027-01-31T00:00:00Z`. It then stops working and is reported. Never when
    /// omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// Resources by what they are. All that is given must hold, and something must be given.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.types) || has(self.accounts) || has(self.regions) || has(self.tags)").message("name at least one of types, accounts, regions and tags")
)]
pub struct ResourceSelector {
    /// Resource types as `service:type`, for example `ec2:instance`; `*` stands for any text, as in `rds:*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 128)))]
    pub types: Vec<String>,

    /// The accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountSelector>,

    /// Regions by name, for example `eu-west-1`, where `*` stands for any text; `global` for types without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(min = 1, max = 32)))]
    pub regions: Vec<String>,

    /// Tags that the resource carries, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tags: Vec<TagSelector>,
}

/// How a policy is doing.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TaggingPolicyStatus {
    /// The generation of the spec that this status is about; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: whether audits can use the policy. Valid: whether the spec makes sense; while it does not, the last
    /// revision that did stays in force. Stalled is there only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The value of the annotation `tagwarden.io/requestedAt` that was acted upon last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The digest of the rules in force; reports quote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub revision: Option<String>,

    /// What is in force, in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,

    /// Audits of the same namespace that use the policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub used_by: i32,
}

/// What of a policy is in force, in numbers.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Required tags.
    pub required_tags: i32,
    /// Optional tags.
    pub optional_tags: i32,
    /// Forbidden tags.
    pub forbidden_tags: i32,
    /// Exemptions that hold.
    pub exemptions: i32,
    /// Exemptions that ended.
    pub expired_exemptions: i32,
}
