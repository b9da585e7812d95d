//! The policies of a tenant.

use schemars::JsonSchema;
use serde::Serialize;
use tagwarden_app::ask::AskError;
use tagwarden_app::ask::ports::PolicyView;
use tagwarden_core::policy::{AppliesToDraft, ForbiddenTagDraft, TagRuleDraft};

use super::Outcome;
use super::operation::{Asked, Operation, Verb, answer};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Verb::Get,
            "/v1/policies",
            "listPolicies",
            "The policies of the tenant, by name.",
            list,
        )
        .answers::<PolicyList>(200),
        Operation::new(Verb::Get, "/v1/policies/{name}", "getPolicy", "One policy.", one)
            .answers::<PolicyAnswer>(200),
    ]
}

/// The policies of the tenant.
#[derive(Serialize, JsonSchema)]
struct PolicyList {
    /// By name.
    items: Vec<PolicyAnswer>,
}

/// A policy.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Policy")]
struct PolicyAnswer {
    /// Its name.
    name: String,
    /// For people.
    description: String,
    /// The digest of the rules in force; absent where none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// What is wrong with the version that is written now: then the last good one, if any, is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Counts its versions.
    generation: i64,
    /// When it was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<String>,
    /// Tags that must be there.
    required_tags: Vec<TagRule>,
    /// Tags whose value is looked at where they are there.
    optional_tags: Vec<TagRule>,
    /// Keys that must not be used.
    forbidden_tags: Vec<ForbiddenTag>,
    /// How many exemptions it has.
    exemptions: usize,
}

/// A required or optional tag.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TagRule {
    /// The key.
    key: String,
    /// For people.
    description: String,
    /// How much it matters; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    /// The values that are allowed; `*` stands for any run of characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_values: Option<Vec<String>>,
    /// A regular expression for the whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    /// `Exact` or `Insensitive`.
    key_case: String,
    /// The resource types that it is about; empty: all.
    resource_types: Vec<String>,
    /// Whether it is about certain accounts, regions or tags only.
    selective: bool,
}

/// A key that must not be used.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ForbiddenTag {
    /// The key; `*` stands for any run of characters.
    key: String,
    /// For people.
    description: String,
    /// How much it matters; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
}

impl From<&TagRuleDraft> for TagRule {
    fn from(rule: &TagRuleDraft) -> Self {
        let values = rule.values.as_ref();
        Self {
            key: rule.key.clone(),
            description: rule.description.clone(),
            severity: rule.severity.map(|severity| severity.as_str().to_owned()),
            allowed_values: values.and_then(|values| values.allowed.clone()),
            regex: values.and_then(|values| values.regex.clone()),
            key_case: rule.key_case.as_str().to_owned(),
            resource_types: types(rule.applies_to.as_ref()),
            selective: rule.applies_to.as_ref().is_some_and(|applies| {
                applies.accounts.is_some() || !applies.regions.is_empty() || !applies.tags.is_empty()
            }),
        }
    }
}

impl From<&ForbiddenTagDraft> for ForbiddenTag {
    fn from(rule: &ForbiddenTagDraft) -> Self {
        Self {
            key: rule.key.clone(),
            description: rule.description.clone(),
            severity: rule.severity.map(|severity| severity.as_str().to_owned()),
        }
    }
}

fn types(applies: Option<&AppliesToDraft>) -> Vec<String> {
    applies.map(|applies| applies.resource_types.clone()).unwrap_or_default()
}

impl From<PolicyView> for PolicyAnswer {
    fn from(view: PolicyView) -> Self {
        let draft = &view.draft;
        Self {
            name: view.name,
            description: draft.description.clone(),
            revision: view.in_force.map(|policy| policy.revision().to_string()),
            refused: view.refused,
            generation: view.generation,
            changed_at: view.changed_at.map(|at| at.to_string()),
            required_tags: draft.required_tags.iter().map(TagRule::from).collect(),
            optional_tags: draft.optional_tags.iter().map(TagRule::from).collect(),
            forbidden_tags: draft.forbidden_tags.iter().map(ForbiddenTag::from).collect(),
            exemptions: draft.exemptions.len(),
        }
    }
}

async fn list(asked: Asked) -> Outcome {
    let policies = asked.ask.policies(&asked.who).await?;
    answer(&PolicyList { items: policies.into_iter().map(PolicyAnswer::from).collect() })
}

async fn one(asked: Asked) -> Outcome {
    let policies = asked.ask.policies(&asked.who).await?;
    let found = policies.into_iter().find(|policy| policy.name == asked.parameter);
    let fix = "GET /v1/policies lists those that there are";
    let policy = found.ok_or_else(|| AskError::not_found("policy", &asked.parameter, fix))?;
    answer(&PolicyAnswer::from(policy))
}
