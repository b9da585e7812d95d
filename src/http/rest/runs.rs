//! The runs of a tenant: those that were, and those that are wanted.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::CheckRequest;
use tagwarden_app::ask::ports::RunQuery;

use super::Outcome;
use super::answers::{Run, RunDetail};
use super::cursor::List;
use super::operation::{Asked, CURSOR, Operation, TEXT, Verb, answer, bad, checked, several, with};

/// Runs of a page unless somebody says otherwise, and at most.
const PAGE: u16 = 50;
const PAGE_MAX: u16 = 500;

/// The longest wait for the end of a run, in seconds.
const WAIT_MAX: u64 = 25;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Verb::Get, "/v1/runs", "listRuns", "The runs of the tenant, newest first.", list)
            .query::<ListQuery>()
            .answers::<RunList>(200),
        Operation::new(
            Verb::Post,
            "/v1/runs",
            "startRun",
            "Starts a check, or asks an audit to run now (which needs audit:write). Poll the run it names.",
            start,
        )
        .body::<RunOrder>()
        .answers::<Started>(202),
        Operation::new(
            Verb::Get,
            "/v1/runs/{runId}",
            "getRun",
            "One run: how far it is, or what it found.",
            one,
        )
        .query::<OneQuery>()
        .answers::<RunDetail>(200),
        Operation::new(
            Verb::Post,
            "/v1/runs/{runId}/cancel",
            "cancelRun",
            "Ends a run that is under way. One that has ended stays as it is.",
            cancel,
        )
        .answers::<Run>(200),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    /// At most this many, from 1 to 500; 50 unless given.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// Go on here: the `nextCursor` of the page before.
    #[schemars(regex(pattern = CURSOR), length(max = 1024))]
    cursor: Option<String>,
    /// Only runs of this policy.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    policy: Option<String>,
}

/// Runs, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RunList {
    /// A page of them.
    items: Vec<Run>,
    /// Gives the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OneQuery {
    /// Wait this long for its end, from 0 to 25 seconds.
    #[serde(default)]
    #[schemars(range(max = 25))]
    wait_seconds: u64,
}

/// What is to be looked at. Either an audit, or a check on demand, of which everything that is left out is everything.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunOrder {
    /// The name of an audit, and nothing else.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    audit: Option<String>,
    /// The name of the policy. It may be left out where there is only one.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    policy: Option<String>,
    /// Types like `ec2:instance`, or patterns like `rds:*`.
    #[serde(default)]
    #[schemars(length(max = 50), inner(regex(pattern = TEXT), length(max = 1024)))]
    resource_types: Vec<String>,
    /// Accounts, by name or by id.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(regex(pattern = TEXT), length(max = 1024)))]
    accounts: Vec<String>,
    /// Regions.
    #[serde(default)]
    #[schemars(length(max = 40), inner(regex(pattern = TEXT), length(max = 1024)))]
    regions: Vec<String>,
}

/// A run that has begun.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Started {
    /// Its id: `GET /v1/runs/{runId}` says how far it is.
    run_id: String,
    /// What one has to know about it.
    notes: Vec<String>,
}

/// The rest of a page number that says where the next one begins.
pub(super) fn limit(asked: Option<u16>, default: u16, most: u16) -> Result<usize, crate::Fault> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit.into())
    } else {
        Err(bad(format!("limit: expected 1 to {most}")))
    }
}

async fn list(asked: Asked) -> Outcome {
    let ListQuery { limit: wanted, cursor, policy } = asked.query()?;
    let limit = limit(wanted, PAGE, PAGE_MAX)?;
    let name = policy.clone().unwrap_or_default();
    let pages = List(&[&asked.who.tenant, "runs", checked("policy", &name)?]);
    let before = cursor.map(|cursor| pages.place(&cursor)).transpose()?;
    let before = before.map(|place| before_place(&place)).transpose()?;
    let query = RunQuery { limit, before, policy, scope_digest: None };
    let runs = asked.ask.runs(&asked.who, &query).await?;
    let last = runs.last().filter(|_| runs.len() == limit);
    let next_cursor =
        last.map(|run| pages.cursor(&format!("{} {}", run.started_at.as_millisecond(), run.run_id)));
    answer(&RunList { items: runs.into_iter().map(Run::from).collect(), next_cursor })
}

fn before_place(place: &str) -> Result<(Timestamp, String), crate::Fault> {
    let place = place.split_once(' ').and_then(|(at, run_id)| {
        Some((Timestamp::from_millisecond(at.parse().ok()?).ok()?, run_id.to_owned()))
    });
    place.ok_or_else(|| bad("the cursor is not one of this list: leave it out to begin anew"))
}

async fn start(asked: Asked) -> Outcome {
    let order: RunOrder = asked.body()?;
    let check = CheckRequest {
        policy: order.policy,
        resource_types: several("resourceTypes", order.resource_types, 50)?,
        accounts: several("accounts", order.accounts, 1000)?,
        regions: several("regions", order.regions, 40)?,
    };
    for text in order.audit.iter().chain(&check.policy) {
        checked("the name", text)?;
    }
    let started = match order.audit {
        Some(_) if check != CheckRequest::default() => {
            return Err(bad("audit: an audit says itself what it looks at; give it alone, or leave it out"));
        }
        Some(audit) => {
            // Refused with a challenge, as every other lack of a scope is.
            if asked.who.must(tagwarden_app::ask::Scope::AuditWrite).is_err() {
                return Err(crate::Fault::lacks(tagwarden_app::ask::Scope::AuditWrite));
            }
            Started { run_id: asked.ask.start_audit(&asked.who, &audit).await?, notes: Vec::new() }
        }
        None => {
            let (run_id, chosen) = asked.ask.start(&asked.who, &check).await?;
            Started { run_id, notes: chosen.notes }
        }
    };
    let mut response = with(StatusCode::ACCEPTED, &started);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/runs/{}", started.run_id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn one(asked: Asked) -> Outcome {
    let OneQuery { wait_seconds } = asked.query()?;
    if wait_seconds > WAIT_MAX {
        return Err(bad(format!("waitSeconds: expected 0 to {WAIT_MAX}")));
    }
    let wait = Duration::from_secs(wait_seconds);
    answer(&RunDetail::from(asked.ask.run(&asked.who, &asked.parameter, wait).await?))
}

async fn cancel(asked: Asked) -> Outcome {
    answer(&Run::from(asked.ask.cancel(&asked.who, &asked.parameter).await?))
}
