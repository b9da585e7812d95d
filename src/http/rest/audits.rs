//! The audits of a tenant.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::{AuditView, Written};
use tagwarden_app::ask::{Cadence, ScheduleRequest, Scope};

use super::Outcome;
use super::answers::Condition;
use super::operation::{Asked, Operation, TEXT, Verb, answer, checked, several, with};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Verb::Get, "/v1/audits", "listAudits", "The audits of the tenant, by name.", list)
            .answers::<AuditList>(200),
        Operation::new(Verb::Get, "/v1/audits/{name}", "getAudit", "One audit.", one).answers::<Audit>(200),
        Operation::new(
            Verb::Put,
            "/v1/audits/{name}",
            "putAudit",
            "Creates an audit of all accounts, or changes the one of this name.",
            put,
        )
        .needs(Scope::AuditWrite)
        .query::<PutQuery>()
        .body::<AuditOrder>()
        .answers::<Ordered>(200),
    ]
}

/// The audits of the tenant.
#[derive(Serialize, JsonSchema)]
struct AuditList {
    /// By name.
    items: Vec<Audit>,
}

/// An audit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Audit {
    /// Its name.
    name: String,
    /// The name of its policy.
    policy: String,
    /// Five fields of cron; absent: only on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// The zone of the schedule.
    time_zone: String,
    /// Whether it starts no further runs.
    suspended: bool,
    /// Which accounts it looks at, in words.
    accounts: String,
    /// The regions it looks at; empty: all.
    regions: Vec<String>,
    /// The types it looks at; empty: all.
    resource_types: Vec<String>,
    /// What its conditions say.
    conditions: Vec<Condition>,
    /// The run under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    /// Its last runs that ended, newest first.
    past_runs: Vec<String>,
    /// When it last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded_at: Option<String>,
    /// When it is due next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due: Option<String>,
    /// Runs that failed since one succeeded.
    failures: u32,
}

impl From<AuditView> for Audit {
    fn from(view: AuditView) -> Self {
        Self {
            name: view.name,
            policy: view.policy,
            schedule: view.schedule,
            time_zone: view.time_zone,
            suspended: view.suspended,
            accounts: view.accounts,
            regions: view.regions,
            resource_types: view.resource_types,
            conditions: view.conditions.into_iter().map(Condition::from).collect(),
            running: view.running,
            past_runs: view.past_runs,
            succeeded_at: view.succeeded_at.map(|at| at.to_string()),
            next_due: view.next_due.map(|at| at.to_string()),
            failures: view.failures,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutQuery {
    /// Only say what would become of it.
    #[serde(default)]
    dry_run: bool,
}

/// An audit to be created or changed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuditOrder {
    /// Five fields of cron: `0 2 * * *` is every night at two.
    #[schemars(regex(pattern = TEXT), length(min = 1, max = 1024))]
    schedule: String,
    /// The IANA name of the zone of the schedule.
    #[serde(default = "utc")]
    #[schemars(regex(pattern = TEXT), length(min = 1, max = 1024))]
    time_zone: String,
    /// The name of the policy. It may be left out where there is only one.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    policy: Option<String>,
    /// Types like `ec2:instance`, or patterns like `rds:*`; empty: all.
    #[serde(default)]
    #[schemars(length(max = 50), inner(regex(pattern = TEXT), length(max = 1024)))]
    resource_types: Vec<String>,
}

fn utc() -> String {
    "Etc/UTC".to_owned()
}

/// What became of an order.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    /// The name of the audit.
    name: String,
    /// `created`, `updated` or `unchanged`.
    result: String,
    /// Whether nothing was written.
    dry_run: bool,
    /// The name of its policy.
    policy: String,
    /// Five fields of cron.
    schedule: String,
    /// The zone of the schedule.
    time_zone: String,
    /// When it runs next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<String>,
}

async fn list(asked: Asked) -> Outcome {
    let audits = asked.ask.audits(&asked.who).await?;
    answer(&AuditList { items: audits.into_iter().map(Audit::from).collect() })
}

async fn one(asked: Asked) -> Outcome {
    answer(&Audit::from(asked.ask.audit(&asked.who, &asked.parameter).await?))
}

async fn put(asked: Asked) -> Outcome {
    let PutQuery { dry_run } = asked.query()?;
    let order: AuditOrder = asked.body()?;
    for (what, text) in [("schedule", &order.schedule), ("timeZone", &order.time_zone)] {
        checked(what, text)?;
    }
    checked("policy", order.policy.as_deref().unwrap_or_default())?;
    let request = ScheduleRequest {
        name: Some(asked.parameter.clone()),
        cadence: Cadence::Cron(order.schedule),
        time_zone: order.time_zone,
        resource_types: several("resourceTypes", order.resource_types, 50)?,
        policy: order.policy,
    };
    let done = asked.ask.schedule(&asked.who, &request, dry_run).await?;
    let created = done.written == Written::Created && !dry_run;
    let ordered = Ordered {
        name: done.order.name,
        result: done.written.as_str().to_owned(),
        dry_run,
        policy: done.order.policy,
        schedule: done.order.schedule,
        time_zone: done.order.time_zone,
        next_run_at: done.next_run.map(|at| at.to_string()),
    };
    Ok(with(if created { StatusCode::CREATED } else { StatusCode::OK }, &ordered))
}
