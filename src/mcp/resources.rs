//! Resources: what is declared and what was found, to be attached to a conversation. All of it is JSON, private, and
//! somebody else's is not found.

use rmcp::model::{CacheScope, ErrorData, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::{Map, Value, json};
use tagwarden_app::ask::ports::RunQuery;
use tagwarden_app::ask::{AskError, Code, Principal};

use crate::dispatch::{Caller, Server};
use crate::parts::clean;

const JSON: &str = "application/json";

/// Objects of a kind that are listed.
const LISTED: usize = 100;

/// Runs that are listed.
const RUNS: usize = 20;

/// The kinds of resources: the beginning of the URI, the tool that reads one, and its argument.
const KINDS: [(&str, &str, &str, &str); 3] = [
    ("policy", "get_tagging_policy", "policy", "A tagging policy: what tags must look like."),
    ("audit", "get_audit_status", "audit", "An audit: its schedule, conditions and last run."),
    ("report", "get_run", "run_id", "A run: its numbers, completeness and first findings."),
];

/// What is there for this principal.
pub(crate) async fn all(server: &Server, who: &Principal) -> Result<Vec<Resource>, ErrorData> {
    let ask = server.ask();
    let mut found = vec![
        Resource::new("tagwarden://accounts", "accounts")
            .with_title("Accounts")
            .with_description("The declared accounts, and whether checks can look at them.")
            .with_mime_type(JSON),
    ];
    let policies = ask.policies(who).await.map_err(refused)?;
    found.extend(policies.iter().take(LISTED).map(|policy| one("policy", &policy.name)));
    let audits = ask.audits(who).await.map_err(refused)?;
    found.extend(audits.iter().take(LISTED).map(|audit| one("audit", &audit.name)));
    let query = RunQuery { limit: RUNS, ..RunQuery::default() };
    let runs = ask.runs(who, &query).await.map_err(refused)?;
    found.extend(runs.iter().filter(|run| run.results.is_some()).map(|run| one("report", &run.run_id)));
    Ok(found)
}

fn one(kind: &str, name: &str) -> Resource {
    let about = KINDS.iter().find(|(known, ..)| *known == kind).map_or("", |(.., about)| about);
    Resource::new(format!("tagwarden://{kind}/{name}"), clean(name, 253))
        .with_title(format!("{kind} {}", clean(name, 253)))
        .with_description(about)
        .with_mime_type(JSON)
}

/// The shapes of their URIs.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    KINDS
        .iter()
        .map(|(kind, _, argument, about)| {
            ResourceTemplate::new(format!("tagwarden://{kind}/{{{argument}}}"), *kind)
                .with_description(*about)
                .with_mime_type(JSON)
        })
        .collect()
}

/// Reads one: a call of the tool that knows it, guarded and recorded like any other.
pub(crate) async fn read(
    server: &Server,
    caller: &Caller,
    uri: &str,
) -> Result<ReadResourceResult, ErrorData> {
    let rest = uri.strip_prefix("tagwarden://").ok_or_else(|| missing(uri))?;
    let (tool, arguments) = if rest == "accounts" {
        ("list_accounts", Map::new())
    } else {
        let (kind, name) = rest.split_once('/').ok_or_else(|| missing(uri))?;
        let known = KINDS.iter().find(|(known, ..)| *known == kind);
        let (_, tool, argument, _) = known.ok_or_else(|| missing(uri))?;
        (*tool, Map::from_iter([((*argument).to_owned(), Value::from(name))]))
    };
    let answer = match server.call(caller, tool, arguments).await {
        Ok(answer) => answer,
        Err(error) if error.code == Code::NotFound => return Err(missing(uri)),
        Err(error) => return Err(refused(error)),
    };
    let contents = ResourceContents::text(answer.to_string(), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(0).with_cache_scope(CacheScope::Private))
}

fn missing(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": clean(uri, 300) })))
}

fn refused(error: AskError) -> ErrorData {
    let told = json!({"code": error.code.as_str(), "fix": error.fix});
    match error.code {
        Code::InvalidInput | Code::NotFound | Code::Forbidden => {
            ErrorData::invalid_params(error.message, Some(told))
        }
        _ => ErrorData::internal_error(error.message, Some(told)),
    }
}
