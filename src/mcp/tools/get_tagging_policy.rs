//! `get_tagging_policy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::AskError;
use tagwarden_core::policy::{KeyCase, PolicyDraft, Requested, TagRuleDraft, fallback};

use crate::page::Room;
use crate::parts::clean;
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct GetTaggingPolicy;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The name of the policy. Without it the only one, or the default one.
    policy: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Output {
    name: String,
    /// Digest of the rules in force.
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated: Option<String>,
    required_tags: Vec<Rule>,
    optional_tags: Vec<Rule>,
    forbidden_tags: Vec<String>,
    tag_naming_rules: Naming,
    required_tag_count: usize,
    optional_tag_count: usize,
    exemption_count: usize,
    all_applicable_resource_types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Rule {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    key_case: String,
    /// Empty: every type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applies_to: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Naming {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_key_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_value_length: Option<u32>,
    case_sensitivity: bool,
    allow_special_characters: bool,
}

/// Allowed values that are told of a rule.
const VALUES_TOLD: usize = 100;

fn rule(rule: &TagRuleDraft) -> Rule {
    let values = rule.values.clone().unwrap_or_default();
    let applies = rule.applies_to.clone().unwrap_or_default();
    let allowed = values.allowed.map(|allowed| {
        let mut told: Vec<String> = allowed.iter().take(VALUES_TOLD).map(|value| clean(value, 256)).collect();
        if allowed.len() > VALUES_TOLD {
            told.push(format!("… {} more", allowed.len() - VALUES_TOLD));
        }
        told
    });
    Rule {
        name: clean(&rule.key, 128),
        description: clean(&rule.description, 300),
        allowed_values: allowed,
        validation_regex: values.regex.map(|regex| clean(&regex, 1024)),
        severity: rule.severity.map(|severity| severity.as_str().to_owned()),
        key_case: rule.key_case.as_str().to_owned(),
        applies_to: applies.resource_types.iter().map(|pattern| clean(pattern, 128)).collect(),
    }
}

/// As many rules as fit.
fn rules(drafts: &[TagRuleDraft], room: &mut Room, notes: &mut Vec<String>) -> Vec<Rule> {
    let mut told = Vec::new();
    for draft in drafts {
        let mut one = rule(draft);
        if !room.takes(&one) {
            // The key matters more than what its values may be.
            one = Rule { description: String::new(), allowed_values: None, applies_to: Vec::new(), ..one };
            if !room.takes(&one) {
                notes.push(format!("{} more rules do not fit into the answer", drafts.len() - told.len()));
                break;
            }
            notes.push(format!("the values of {} do not fit into the answer", one.name));
        }
        told.push(one);
    }
    told
}

/// Everything about a policy that fits into an answer.
pub(crate) async fn described(call: &Call, name: Option<&str>) -> Result<Output, AskError> {
    let choice = call.ask.policy(&call.who, name).await?;
    let mut notes: Vec<String> = choice.note.iter().map(|note| clean(note, 400)).collect();
    let draft: PolicyDraft = choice.object.as_ref().map_or_else(fallback, |object| object.draft.clone());
    let naming = draft.naming.clone().unwrap_or_default();
    let registry = call.ask.registry();
    let types = choice.policy.types_in_scope(&Requested::All);
    let mut room = Room::new(call.room);
    let required_tags = rules(&draft.required_tags, &mut room, &mut notes);
    let optional_tags = rules(&draft.optional_tags, &mut room, &mut notes);
    Ok(Output {
        name: choice.policy.name().to_string(),
        version: choice.policy.revision().to_string(),
        last_updated: choice.object.and_then(|object| object.changed_at).map(|at| at.to_string()),
        required_tags,
        optional_tags,
        forbidden_tags: draft.forbidden_tags.iter().map(|tag| clean(&tag.key, 128)).collect(),
        tag_naming_rules: Naming {
            max_key_length: naming.max_key_length,
            max_value_length: naming.max_value_length,
            case_sensitivity: draft.required_tags.iter().all(|rule| rule.key_case == KeyCase::Exact),
            allow_special_characters: naming.allow_special_characters.unwrap_or(true),
        },
        required_tag_count: draft.required_tags.len(),
        optional_tag_count: draft.optional_tags.len(),
        exemption_count: draft.exemptions.len(),
        all_applicable_resource_types: types.iter().map(|id| registry.row(*id).name.to_string()).collect(),
        notes,
    })
}

impl Tool for GetTaggingPolicy {
    const NAME: &'static str = "get_tagging_policy";
    const TITLE: &'static str = "Tagging policy";
    const ABOUT: &'static str = "Shows a tagging policy: required and optional tags with their allowed values, forbidden tags, naming rules, \
         and the resource types it applies to.";
    const TOOLSET: Toolset = Toolset::Read;
    const HINTS: Hints = Hints::ASKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        described(call, input.policy.as_deref()).await
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        let choice = call.ask.policy(&call.who, input.policy.as_deref()).await?;
        Ok(format!("would show policy {} from memory", choice.policy.name()))
    }
}
