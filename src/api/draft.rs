//! `TaggingPolicy` to and from the draft that `tagwarden_core::policy` checks and compiles.
//!
//! Every struct is taken apart without `..`, so that a new field cannot be forgotten here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tagwarden_core::finding::Severity as CoreSeverity;
use tagwarden_core::policy as draft;

use crate::policy::{
    AccountSelector, AppliesTo, Exemption, ForbiddenTag, KeyCase, LabelOperator, LabelRequirement,
    NamingCase, NamingRules, ResourceSelector, Severity, TagRule, TagSelector, TaggingPolicy,
    TaggingPolicySpec, ValueCase, ValueRule,
};

impl TaggingPolicy {
    /// What `tagwarden_core::policy` compiles. Paths in its errors are those of the manifest.
    pub fn to_draft(&self) -> draft::PolicyDraft {
        let TaggingPolicySpec {
            description,
            required_tags,
            optional_tags,
            forbidden_tags,
            naming,
            exemptions,
        } = self.spec.clone();
        draft::PolicyDraft {
            name: self.metadata.name.clone().unwrap_or_default(),
            description: description.unwrap_or_default(),
            required_tags: all(required_tags),
            optional_tags: all(optional_tags),
            forbidden_tags: all(forbidden_tags),
            naming: naming.map(Into::into),
            exemptions: all(exemptions),
        }
    }

    /// The manifest of a draft that came from elsewhere.
    pub fn from_draft(draft: draft::PolicyDraft) -> Self {
        let draft::PolicyDraft {
            name,
            description,
            required_tags,
            optional_tags,
            forbidden_tags,
            naming,
            exemptions,
        } = draft;
        let spec = TaggingPolicySpec {
            description: text(description),
            required_tags: all(required_tags),
            optional_tags: all(optional_tags),
            forbidden_tags: all(forbidden_tags),
            naming: naming.map(Into::into),
            exemptions: all(exemptions),
        };
        Self::new(&name, spec)
    }
}

fn all<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Lengths are small; one that is not is refused by the compiler, not here.
fn wide(length: Option<i32>) -> Option<u32> {
    length.map(|length| u32::try_from(length).unwrap_or(0))
}

fn narrow(length: Option<u32>) -> Option<i32> {
    length.map(|length| i32::try_from(length).unwrap_or(i32::MAX))
}

/// Two structs with the same fields; `field: function` where the two differ.
macro_rules! same_fields {
    ($api:ident, $core:ident { $($field:ident $(: $there:expr, $back:expr)?),* $(,)? }) => {
        impl From<$api> for draft::$core {
            fn from(value: $api) -> Self {
                let $api { $($field),* } = value;
                Self { $($field: same_fields!(@ $field $($there)?)),* }
            }
        }

        impl From<draft::$core> for $api {
            fn from(value: draft::$core) -> Self {
                let draft::$core { $($field),* } = value;
                Self { $($field: same_fields!(@ $field $($back)?)),* }
            }
        }
    };
    (@ $field:ident $convert:expr) => { $convert($field) };
    (@ $field:ident) => { $field };
}

/// Two enums with the same words.
macro_rules! same_words {
    ($api:ident, $core:path { $($word:ident),* $(,)? }) => {
        impl From<$api> for $core {
            fn from(value: $api) -> Self {
                match value { $($api::$word => <$core>::$word),* }
            }
        }

        impl From<$core> for $api {
            fn from(value: $core) -> Self {
                match value { $(<$core>::$word => Self::$word),* }
            }
        }
    };
}

fn option<A: Into<B>, B>(value: Option<A>) -> Option<B> {
    value.map(Into::into)
}

same_fields!(TagRule, TagRuleDraft {
    key,
    description: Option::unwrap_or_default, text,
    severity: option, option,
    values: option, option,
    key_case: Into::into, Into::into,
    applies_to: option, option,
});
same_fields!(ValueRule, ValuesDraft {
    allowed,
    regex,
    case: Into::into, Into::into,
    min_length: wide, narrow,
    max_length: wide, narrow,
});
same_fields!(AppliesTo, AppliesToDraft { resource_types, accounts: option, option, regions, tags: all, all });
same_fields!(AccountSelector, AccountsDraft { ids, match_labels, match_expressions: all, all });
same_fields!(LabelRequirement, LabelExpressionDraft { key, operator: Into::into, Into::into, values });
same_fields!(TagSelector, TagSelectorDraft { key, values });
same_fields!(
    ForbiddenTag,
    ForbiddenTagDraft { key, description: Option::unwrap_or_default, text, severity: option, option }
);
same_fields!(NamingRules, NamingDraft {
    key_pattern,
    key_case: Into::into, Into::into,
    allow_special_characters,
    max_key_length: wide, narrow,
    max_value_length: wide, narrow,
});
same_fields!(Exemption, ExemptionDraft {
    name,
    arns,
    resources: option, option,
    tag_keys,
    reason,
    expires_at: (|time: Option<Time>| time.map(|Time(time)| time)), (|time: Option<_>| time.map(Time)),
});
same_fields!(ResourceSelector, ResourcesDraft { types, accounts: option, option, regions, tags: all, all });

same_words!(Severity, CoreSeverity { Critical, High, Medium, Low, Info });
same_words!(KeyCase, draft::KeyCase { Exact, Insensitive });
same_words!(ValueCase, draft::ValueCase { Exact, Insensitive, Lower, Upper, Title });
same_words!(NamingCase, draft::NameCase { Any, Pascal, Camel, Kebab, Snake, Lower, Upper });
same_words!(LabelOperator, draft::LabelOperator { In, NotIn, Exists, DoesNotExist });
