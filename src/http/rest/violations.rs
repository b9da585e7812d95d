//! The findings of a run: a page of JSON at a time, or all of them as a stream.

use http::header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::FindingQuery;
use tagwarden_core::account::AccountId;
use tagwarden_core::finding::{FindingKind, Severity, ViolationType};

use super::Outcome;
use super::answers::Violation;
use super::cursor::List;
use super::export::{self, Form};
use super::operation::{Asked, CURSOR, Operation, TEXT, Verb, answer, bad, listed};
use super::runs::limit;
use crate::Fault;

/// Findings of a page unless somebody says otherwise, and at most.
const PAGE: u16 = 100;
const PAGE_MAX: u16 = 1000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Verb::Get,
            "/v1/runs/{runId}/violations",
            "listViolations",
            "What a run found, in the order in which it came. `format=csv` and `format=ndjson` stream all of it.",
            list,
        )
        .query::<ViolationsQuery>()
        .answers::<ViolationList>(200)
        .formats(&["text/csv", "application/x-ndjson"]),
    ]
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ViolationsQuery {
    /// `json` is a page, `csv` and `ndjson` are everything; `json` unless given.
    format: FormatWord,
    /// At most this many, from 1 to 1000; 100 unless given. With `json` only.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u16>,
    /// Go on here: the `nextCursor` of the page before. With `json` only.
    #[schemars(regex(pattern = CURSOR), length(max = 1024))]
    cursor: Option<String>,
    /// Only findings that are at least this severe.
    #[schemars(extend("enum" = Severity::ALL.map(Severity::as_str)))]
    min_severity: Option<String>,
    /// Only violations, or only advice.
    #[schemars(extend("enum" = ["violation", "advice"]))]
    kind: Option<String>,
    /// Only findings of this type.
    #[schemars(extend("enum" = ViolationType::ALL.map(ViolationType::as_str)))]
    violation_type: Option<String>,
    /// Also findings that an exemption covers.
    exempt: bool,
    /// Only on resources of these types, separated by commas.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    resource_types: Option<String>,
    /// Only of these account ids, separated by commas.
    #[schemars(regex(pattern = r"^([0-9]{12}(,[0-9]{12})*)?$"))]
    accounts: Option<String>,
    /// Only of these regions, separated by commas.
    #[schemars(regex(pattern = TEXT), length(max = 1024))]
    regions: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum FormatWord {
    #[default]
    Json,
    Csv,
    Ndjson,
}

/// Findings of a run.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ViolationList {
    /// A page of them.
    items: Vec<Violation>,
    /// How many there are on all pages.
    total: u64,
    /// Whether the run saw everything in its scope. If not, there may be more than is known.
    complete: bool,
    /// What the run could not see: cells of account, region and type.
    gaps: u64,
    /// Gives the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl ViolationsQuery {
    fn filter(&self) -> Result<FindingQuery, Fault> {
        let accounts = listed("accounts", self.accounts.as_deref(), 1000)?;
        Ok(FindingQuery {
            min_severity: word("minSeverity", self.min_severity.as_deref(), str::parse::<Severity>)?,
            kind: match self.kind.as_deref() {
                None => None,
                Some("violation") => Some(FindingKind::Violation),
                Some("advice") => Some(FindingKind::Advice),
                Some(_) => return Err(bad("kind: expected violation or advice")),
            },
            violation_type: word(
                "violationType",
                self.violation_type.as_deref(),
                str::parse::<ViolationType>,
            )?,
            with_exempt: self.exempt,
            resource_types: listed("resourceTypes", self.resource_types.as_deref(), 50)?,
            accounts: accounts
                .iter()
                .map(|id| id.parse::<AccountId>())
                .collect::<Result<_, _>>()
                .map_err(|error| bad(format!("accounts: {error}")))?,
            regions: listed("regions", self.regions.as_deref(), 40)?,
        })
    }
}

fn word<T, E: std::fmt::Display>(
    name: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Fault> {
    text.map(parse).transpose().map_err(|error| bad(format!("{name}: {error}")))
}

async fn list(asked: Asked) -> Outcome {
    let query: ViolationsQuery = asked.query()?;
    let filter = query.filter()?;
    let form = match query.format {
        FormatWord::Csv => Form::Csv,
        FormatWord::Ndjson => Form::Ndjson,
        FormatWord::Json => return page(asked, &query, filter).await,
    };
    if query.limit.is_some() || query.cursor.is_some() {
        return Err(bad("limit and cursor go with format=json: the other formats give everything"));
    }
    let run = asked.ask.run(&asked.who, &asked.parameter, std::time::Duration::ZERO).await?;
    export::stream(asked, run, filter, form).await
}

async fn page(asked: Asked, query: &ViolationsQuery, filter: FindingQuery) -> Outcome {
    let limit = limit(query.limit, PAGE, PAGE_MAX)?;
    // The filter is part of the list: pages of different lists do not fit together.
    let asked_for = format!("{filter:?}");
    let list = List(&[&asked.who.tenant, "violations", &asked.parameter, &asked_for]);
    let after = query.cursor.as_deref().map(|cursor| list.place(cursor)).transpose()?;
    let after = after.map(|place| place.parse::<u64>()).transpose();
    let after = after.map_err(|_| bad("the cursor is not one of this list: leave it out to begin anew"))?;
    let (ask, who, run_id) = (&asked.ask, &asked.who, &asked.parameter);
    let run = ask.run(who, run_id, std::time::Duration::ZERO).await?.run;
    let page = ask.findings(who, run_id, &filter, after, limit).await?;
    let total = ask.count(who, run_id, &filter).await?.findings;
    answer(&ViolationList {
        items: page.findings.iter().map(|(_, finding)| finding.into()).collect(),
        total,
        complete: run.results.is_some_and(|results| results.complete),
        gaps: run.results.map(|results| results.gaps).unwrap_or_default(),
        next_cursor: page.next.map(|next| list.cursor(&next.to_string())),
    })
}

/// The type of a stream, for its header.
pub(super) fn content_type(form: Form) -> (header::HeaderName, &'static str) {
    (
        header::CONTENT_TYPE,
        match form {
            Form::Csv => "text/csv; charset=utf-8",
            Form::Ndjson => "application/x-ndjson",
        },
    )
}
