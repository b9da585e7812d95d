//! A tagging policy as somebody wrote it: plain data, nothing checked yet.
//!
//! Every way to write a policy (a `TaggingPolicy` manifest, the predecessor's JSON) ends in a [`PolicyDraft`],
//! and only [`compile`](super::compile) turns one into a [`Policy`](super::Policy). Field names, read in
//! camelCase, are those of `TaggingPolicy.spec`, so the paths in errors fit what its author sees.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::finding::Severity;

/// A tagging policy before it is checked.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicyDraft {
    /// How results refer to the policy; the name of its object.
    pub name: String,
    /// For people; at most 1024 characters.
    pub description: String,
    /// Tags that must be there; at most 100.
    pub required_tags: Vec<TagRuleDraft>,
    /// Tags whose value is looked at where they are there; at most 100.
    pub optional_tags: Vec<TagRuleDraft>,
    /// Keys that must not be used; at most 100.
    pub forbidden_tags: Vec<ForbiddenTagDraft>,
    /// How keys and values should look in general.
    pub naming: Option<NamingDraft>,
    /// What is let off, and until when; at most 200.
    pub exemptions: Vec<ExemptionDraft>,
}

/// One required or optional tag.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagRuleDraft {
    /// 1 to 128 characters, not starting with `aws:`.
    pub key: String,
    /// For people; at most 1024 characters.
    pub description: String,
    /// Absent: `high` for a required tag, `low` for an optional one.
    #[serde(deserialize_with = "severity")]
    pub severity: Option<Severity>,
    /// What the value must be; absent: anything that is not blank.
    pub values: Option<ValuesDraft>,
    /// Whether another spelling of the key is a violation.
    pub key_case: KeyCase,
    /// Absent: every resource.
    pub applies_to: Option<AppliesToDraft>,
}

/// What a value must be. Everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ValuesDraft {
    /// One of these; `*` stands for any run of characters. At most 500 of at most 256 characters, and not empty.
    pub allowed: Option<Vec<String>>,
    /// A regular expression for the whole value; at most 1024 characters.
    pub regex: Option<String>,
    /// How the case of the value is treated.
    pub case: ValueCase,
    /// Characters, 0 to 256.
    pub min_length: Option<u32>,
    /// Characters, 0 to 256.
    pub max_length: Option<u32>,
}

/// How the case of a tag key is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum KeyCase {
    /// Another spelling is a violation (`wrong_case`).
    #[default]
    Exact,
    /// Another spelling satisfies the rule, and is mentioned as advice.
    Insensitive,
}

impl KeyCase {
    /// The word used in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::Insensitive => "Insensitive",
        }
    }
}

/// How the case of a tag value is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum ValueCase {
    /// Case matters where allowed values and the regular expression say so.
    #[default]
    Exact,
    /// Allowed values and the regular expression match in any case.
    Insensitive,
    /// No upper-case letter.
    Lower,
    /// No lower-case letter.
    Upper,
    /// Every word starts with a capital (or a digit) and goes on without one.
    Title,
}

impl ValueCase {
    /// The word used in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::Insensitive => "Insensitive",
            Self::Lower => "Lower",
            Self::Upper => "Upper",
            Self::Title => "Title",
        }
    }
}

/// Which resources a rule is for. Everything that is given must hold; what is absent or empty always does.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AppliesToDraft {
    /// `service:type`, where `*` stands for any run of characters; at most 200.
    pub resource_types: Vec<String>,
    /// Which accounts.
    pub accounts: Option<AccountsDraft>,
    /// Region names, or `global`; `*` stands for any run of characters. At most 40.
    pub regions: Vec<String>,
    /// Only resources that carry all of these tags; at most 20.
    pub tags: Vec<TagSelectorDraft>,
}

/// A choice of accounts. Everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccountsDraft {
    /// Account ids; at most 500.
    pub ids: Vec<String>,
    /// Labels of the `ClientAccount`, all of which must be there with these values; at most 50.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions on the labels; at most 50.
    pub match_expressions: Vec<LabelExpressionDraft>,
}

/// A condition on one label, as in a Kubernetes label selector.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LabelExpressionDraft {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// For `In` and `NotIn` at least one, otherwise none; at most 100.
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum LabelOperator {
    /// There, with one of the values.
    #[default]
    In,
    /// Absent, or with none of the values.
    NotIn,
    /// There.
    Exists,
    /// Absent.
    DoesNotExist,
}

impl LabelOperator {
    /// The word used in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }

    /// Whether a label with this value, or without one, is as asked. `values` are those of `In` and `NotIn`.
    pub fn holds(self, value: Option<&String>, values: &[String]) -> bool {
        let listed = value.is_some_and(|value| values.contains(value));
        match self {
            Self::In => listed,
            Self::NotIn => !listed,
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

/// A condition on one tag.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagSelectorDraft {
    /// The key, in this case.
    pub key: String,
    /// One of these, `*` stands for any run of characters; empty: any value. At most 100.
    pub values: Vec<String>,
}

/// A key that must not be used.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ForbiddenTagDraft {
    /// The key in this case; `*` stands for any run of characters.
    pub key: String,
    /// For people; at most 1024 characters.
    pub description: String,
    /// Absent: `high`.
    #[serde(deserialize_with = "severity")]
    pub severity: Option<Severity>,
}

/// How keys and values should look in general. Breaking these is advice, never a violation.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NamingDraft {
    /// A regular expression for the whole key; at most 1024 characters.
    pub key_pattern: Option<String>,
    /// How keys are written.
    pub key_case: NameCase,
    /// `false`: keys consist of letters, digits, spaces and `+ - = . _ : / @`, which every service accepts.
    pub allow_special_characters: Option<bool>,
    /// Characters, 1 to 128.
    pub max_key_length: Option<u32>,
    /// Characters, 0 to 256.
    pub max_value_length: Option<u32>,
}

/// How a key is written. Parts separated by `:` or `/` are looked at one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum NameCase {
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
    /// Without an upper-case letter.
    Lower,
    /// Without a lower-case letter.
    Upper,
}

impl NameCase {
    /// The word used in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "Any",
            Self::Pascal => "Pascal",
            Self::Camel => "Camel",
            Self::Kebab => "Kebab",
            Self::Snake => "Snake",
            Self::Lower => "Lower",
            Self::Upper => "Upper",
        }
    }
}

/// Findings that are listed, but not counted. Exactly one of `arns` and `resources` says where.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExemptionDraft {
    /// How findings refer to it; unique in the policy.
    pub name: String,
    /// ARNs, where `*` stands for any run of characters; at most 100.
    pub arns: Vec<String>,
    /// A choice of resources by what they are.
    pub resources: Option<ResourcesDraft>,
    /// The keys that are let off, `*` stands for any run of characters; empty: all. At most 100.
    pub tag_keys: Vec<String>,
    /// Why; for people, at most 1024 characters.
    pub reason: String,
    /// From then on it no longer holds; absent: it holds for good.
    pub expires_at: Option<Timestamp>,
}

/// A choice of resources. Everything that is given must hold, and something must be given.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ResourcesDraft {
    /// `service:type`, where `*` stands for any run of characters; at most 200.
    pub types: Vec<String>,
    /// Which accounts.
    pub accounts: Option<AccountsDraft>,
    /// Region names, or `global`; `*` stands for any run of characters. At most 40.
    pub regions: Vec<String>,
    /// Only resources that carry all of these tags; at most 20.
    pub tags: Vec<TagSelectorDraft>,
}

/// The policy that stands in where nobody has written one: three tags that make costs attributable, on everything.
pub fn fallback() -> PolicyDraft {
    let required = |key: &str, description: &str| TagRuleDraft {
        key: key.to_owned(),
        description: description.to_owned(),
        ..TagRuleDraft::default()
    };
    PolicyDraft {
        name: "fallback".to_owned(),
        description: "Stands in while there is no tagging policy.".to_owned(),
        required_tags: vec![
            required("CostCenter", "Who pays."),
            required("Owner", "Who to ask."),
            required("Environment", "What it is for."),
        ],
        ..PolicyDraft::default()
    }
}

fn severity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Severity>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(serde::de::Error::custom)).transpose()
}
