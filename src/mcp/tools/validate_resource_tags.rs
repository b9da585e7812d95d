//! `validate_resource_tags`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::Looked;
use tagwarden_app::ask::{AskError, quoted};
use tagwarden_core::arn::Arn;

use crate::page::Room;
use crate::parts::{Wrong, clean};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct ValidateResourceTags;

/// Tags of a resource that are told.
const TAGS_TOLD: usize = 50;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// ARNs, 1 to 100.
    #[schemars(length(min = 1, max = 100))]
    resource_arns: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    total_resources: usize,
    compliant_resources: usize,
    non_compliant_resources: usize,
    not_found: usize,
    not_seen: usize,
    results: Vec<Checked>,
    policy: String,
    /// When they were looked at, RFC 3339.
    validation_timestamp: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Checked {
    resource_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<String>,
    region: String,
    /// compliant, `non_compliant`, `out_of_scope`, `not_found` or `not_seen`.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_compliant: Option<bool>,
    /// Why it could not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    violations: Vec<Wrong>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_tags: Option<std::collections::BTreeMap<String, String>>,
}

fn checked_arns(arns: &[String]) -> Result<(), AskError> {
    if arns.is_empty() {
        return Err(AskError::invalid("resource_arns is empty", "give 1 to 100 ARNs"));
    }
    for arn in arns {
        Arn::parse(arn).map_err(|error| {
            AskError::invalid(
                format!("Invalid ARN format: {}. {error}", quoted(arn)),
                "ARNs must follow the format: arn:aws:service:region:account:resource",
            )
        })?;
    }
    Ok(())
}

fn result(call: &Call, text: &str, looked: Looked) -> Checked {
    let registry = call.ask.registry();
    let arn = Arn::parse(text).ok();
    let known = arn.as_ref().and_then(|arn| registry.identify(arn));
    let region = arn.as_ref().map(|arn| arn.region).filter(|region| !region.is_empty());
    let mut checked = Checked {
        resource_arn: clean(text, 2048),
        resource_id: known.map(|(_, id)| clean(id, 512)),
        resource_type: known.map(|(id, _)| registry.row(id).name.to_string()),
        region: region.unwrap_or("global").to_owned(),
        status: String::new(),
        is_compliant: None,
        reason: None,
        violations: Vec::new(),
        current_tags: None,
    };
    match looked {
        Looked::Found { findings, in_scope, tags } => {
            let compliant = !findings.iter().any(tagwarden_core::finding::Finding::counts);
            let (status, verdict) = match (in_scope, compliant) {
                (false, _) => ("out_of_scope", None),
                (true, true) => ("compliant", Some(true)),
                (true, false) => ("non_compliant", Some(false)),
            };
            checked.status = status.into();
            checked.is_compliant = verdict;
            let told = findings.iter().filter(|finding| finding.exempted.is_none());
            checked.violations = told.map(Wrong::from).collect();
            let tags =
                tags.into_iter().take(TAGS_TOLD).map(|(key, value)| (clean(&key, 128), clean(&value, 256)));
            checked.current_tags = Some(tags.collect());
        }
        Looked::NotFound => checked.status = "not_found".into(),
        Looked::Unseen(reason) => {
            checked.status = "not_seen".into();
            checked.reason = Some(clean(&reason, 300));
        }
    }
    checked
}

impl Tool for ValidateResourceTags {
    const NAME: &'static str = "validate_resource_tags";
    const TITLE: &'static str = "Validate resources";
    const ABOUT: &'static str = "Looks at single resources now, by ARN, and says for each whether its tags satisfy the policy. What does not \
         exist is not_found, what could not be looked at is not_seen with the reason.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        checked_arns(&input.resource_arns)?;
        let (chosen, looked) =
            call.ask.look(&call.who, input.policy.as_deref(), &input.resource_arns).await?;
        let all: Vec<Checked> =
            input.resource_arns.iter().zip(looked).map(|(arn, looked)| result(call, arn, looked)).collect();
        let count = |status: &str| all.iter().filter(|one| one.status == status).count();
        let mut output = Output {
            compliant_resources: count("compliant"),
            non_compliant_resources: count("non_compliant"),
            not_found: count("not_found"),
            not_seen: count("not_seen"),
            total_resources: count("compliant") + count("non_compliant"),
            results: Vec::new(),
            policy: chosen.choice.policy.name().to_string(),
            validation_timestamp: call.ask.now().to_string(),
            notes: chosen.notes.iter().map(|note| clean(note, 300)).collect(),
        };
        let mut room = Room::new(call.room);
        let wanted = all.len();
        for mut one in all {
            if !room.takes(&one) {
                one.current_tags = None;
                if !room.takes(&one) {
                    let left = wanted - output.results.len();
                    output
                        .notes
                        .push(format!("{left} results do not fit into the answer: ask for them apart"));
                    break;
                }
            }
            output.results.push(one);
        }
        Ok(output)
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        checked_arns(&input.resource_arns)?;
        let choice = call.ask.policy(&call.who, input.policy.as_deref()).await?;
        Ok(format!(
            "would list the types of {} resources in their accounts and regions, and judge them by policy {}",
            input.resource_arns.len(),
            choice.policy.name()
        ))
    }
}
