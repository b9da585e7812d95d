//! Prompts: ways to begin that have proved useful. They hold no text of anybody else but what the user typed.

use std::collections::BTreeMap;

use rmcp::model::{ErrorData, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

use crate::parts::clean;

/// Characters of an argument.
const ARGUMENT_CHARS: usize = 200;

struct Kind {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    /// Name, what it is, and whether it must be given.
    arguments: &'static [(&'static str, &'static str, bool)],
    /// Where `{name}` stands for an argument, and `{name|words}` for one that may be left out.
    text: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "monthly_audit",
        title: "Monthly tag audit",
        about: "Reviews a month: score, trend, worst offenders, what was not seen, next steps.",
        arguments: &[("policy", "The policy to hold tags against.", false)],
        text: "Do the monthly tag audit{policy| by policy {}}.\n\
               1. list_audits and list_accounts: say which audits or accounts do not work, and what to do about each.\n\
               2. get_violation_history with days_back 31 and group_by week: the trend, and whether its runs were complete.\n\
               3. generate_compliance_report in markdown: the five tags that are wrong most often, and where.\n\
               4. Say plainly what was not seen (data_quality.gaps), and who can mend it.\n\
               5. End with three actions, the one with most effect first, each with an owner role.",
    },
    Kind {
        name: "find_and_fix",
        title: "Find and fix untagged resources",
        about: "Finds resources that lack required tags and writes a plan for fixing them.",
        arguments: &[
            ("resource_types", "Types such as ec2:instance, separated by commas.", false),
            ("account", "The name or id of one account.", false),
        ],
        text: "Find the resources{resource_types| of the types {}}{account| in account {}} that lack required tags, and \
               plan how to fix them.\n\
               1. get_tagging_policy: what is required, and which values are allowed.\n\
               2. find_untagged_resources: all pages.\n\
               3. Group them by account and by who probably owns them; say from what you conclude that.\n\
               4. Propose tag values only from allowed_values; where you cannot know one, ask for it.\n\
               5. Give the commands for the owners to run. Do not claim that anything was changed: these tools only read.\n\
               6. Afterwards validate_resource_tags with the ARNs shows whether it worked.",
    },
    Kind {
        name: "executive_summary",
        title: "Executive summary",
        about: "Half a page for people who decide.",
        arguments: &[("audience", "Who reads it.", false)],
        text: "Write an executive summary of our tag compliance{audience| for {}}, at most half a page.\n\
               Use check_tag_compliance (its cached answer is good enough) and get_violation_history with group_by month.\n\
               Give: the score and its trend in one sentence, the two biggest risks, what it takes to improve, and how \
               complete the data is. No tables, no resource ids, round numbers.",
    },
    Kind {
        name: "onboard_account",
        title: "Bring in an account",
        about: "Walks through declaring an AWS account and makes sure that it can be checked.",
        arguments: &[("account_id", "The twelve digits.", true)],
        text: "Help me bring AWS account {account_id} under tag checks.\n\
               1. list_accounts: is it declared already? If it is, explain its status and problems.\n\
               2. If not, write a ClientAccount manifest for it, and explain that its owner deploys the role that \
               `tagwarden client-role` prints, with the external id that the object's status shows.\n\
               3. When list_accounts shows it as ready, start_compliance_check with accounts [{account_id}], follow it with \
               get_run, and summarise what was found and what could not be seen.",
    },
];

/// All of them.
pub(crate) fn all() -> Vec<Prompt> {
    let prompt = |kind: &Kind| {
        let arguments = kind.arguments.iter().map(|(name, about, required)| {
            PromptArgument::new(*name).with_description(*about).with_required(*required)
        });
        Prompt::new(kind.name, Some(kind.about), Some(arguments.collect())).with_title(kind.title)
    };
    KINDS.iter().map(prompt).collect()
}

/// One of them, with what the user typed.
pub(crate) fn get(name: &str, arguments: Option<&JsonObject>) -> Result<GetPromptResult, ErrorData> {
    let known = KINDS.iter().find(|kind| kind.name == name);
    let kind = known.ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        ErrorData::invalid_params(format!("there is no such prompt; there are: {}", names.join(", ")), None)
    })?;
    let mut values = BTreeMap::new();
    for (argument, _, required) in kind.arguments {
        let given = arguments.and_then(|arguments| arguments.get(*argument)).and_then(Value::as_str);
        let given =
            given.map(str::trim).filter(|given| !given.is_empty()).map(|given| clean(given, ARGUMENT_CHARS));
        if *required && given.is_none() {
            return Err(ErrorData::invalid_params(format!("the argument {argument} is missing"), None));
        }
        values.extend(given.map(|given| (*argument, given)));
    }
    let message = PromptMessage::new_text(Role::User, filled(kind.text, &values));
    Ok(GetPromptResult::new(vec![message]).with_description(kind.about))
}

/// The text with every argument in its places. What was put in is not looked at again.
fn filled(text: &str, given: &BTreeMap<&str, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let Some(name_end) = rest.find(['|', '}']) else { break };
        let value = given.get(&rest[..name_end]);
        let optional = rest[name_end..].starts_with('|');
        rest = &rest[name_end + 1..];
        if !optional {
            filled.push_str(value.map_or("", String::as_str));
            continue;
        }
        // The words hold one pair of braces, and end with the next.
        let Some(hole) = rest.find("{}") else { break };
        let Some(end) = rest[hole + 2..].find('}') else { break };
        if let Some(value) = value {
            filled.push_str(&rest[..hole]);
            filled.push_str(value);
            filled.push_str(&rest[hole + 2..hole + 2 + end]);
        }
        rest = &rest[hole + 2 + end + 1..];
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(name: &str, arguments: Value) -> String {
        let Value::Object(arguments) = arguments else { panic!() };
        let prompt = get(name, Some(&arguments)).unwrap();
        serde_json::to_value(&prompt.messages[0]).unwrap()["content"]["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn arguments_stand_where_they_belong() {
        let with = text("find_and_fix", json!({"resource_types": "s3:bucket", "account": "prod"}));
        assert!(
            with.starts_with("Find the resources of the types s3:bucket in account prod that lack"),
            "{with}"
        );
        let without = text("find_and_fix", json!({}));
        assert!(without.starts_with("Find the resources that lack"), "{without}");
        let onboard = text("onboard_account", json!({"account_id": "123456789012"}));
        assert!(onboard.contains("accounts [123456789012]"), "{onboard}");
        let hidden = text("monthly_audit", json!({"policy": "a\u{1b}b{policy|x{}}"}));
        assert!(!hidden.contains('\u{1b}'), "{hidden}");
    }

    #[test]
    fn every_prompt_can_be_had() {
        for prompt in all() {
            let given = prompt.arguments.iter().flatten().map(|one| (one.name.clone(), json!("x"))).collect();
            let text = text(&prompt.name, Value::Object(given));
            assert!(!text.contains('|') && !text.contains('{'), "{text}");
        }
        assert!(get("nope", None).is_err());
        assert!(get("onboard_account", None).is_err());
    }
}
