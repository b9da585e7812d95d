//! All findings of a run as a stream: one page is in memory at a time, and the next is read when the client has taken the
//! one before.

use std::fmt::Write as _;
use std::io;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use serde_json::json;
use tagwarden_app::ask::ports::{FindingPage, FindingQuery, RunLine};
use tagwarden_app::ask::{Ask, Principal, RunAnswer};
use tagwarden_core::report::COLUMNS;
use tagwarden_core::text::neutral;

use super::Outcome;
use super::answers::{Run, Violation};
use super::operation::Asked;
use super::violations::content_type;

/// Findings read at a time.
const PAGE: usize = 500;

/// Says whether the run saw everything in its scope.
const COMPLETE: HeaderName = HeaderName::from_static("x-tagwarden-complete");

/// How a finding is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// One row each. What the run could not see stands before the header, in lines that begin with `#`.
    Csv,
    /// One object each, a line each, and at the end the run.
    Ndjson,
}

/// What is under way.
struct Export {
    ask: Ask,
    who: Principal,
    run: RunLine,
    filter: FindingQuery,
    form: Form,
    /// What is sent next; none after the end.
    page: Option<FindingPage>,
    head: Option<Vec<u8>>,
}

/// Everything that the filter lets through.
pub(super) async fn stream(asked: Asked, answer: RunAnswer, filter: FindingQuery, form: Form) -> Outcome {
    let Asked { ask, who, parameter, .. } = asked;
    let complete = answer.reading.as_ref().is_some_and(|reading| reading.complete);
    let head = match form {
        Form::Csv => csv_head(&answer),
        Form::Ndjson => Vec::new(),
    };
    // What cannot be answered is told before the stream begins.
    let page = ask.findings(&who, &parameter, &filter, None, PAGE).await?;
    let export = Export { ask, who, run: answer.run, filter, form, page: Some(page), head: Some(head) };
    let body = Body::from_stream(stream::try_unfold(export, Export::next));
    let mut response = ([content_type(form)], body).into_response();
    let complete = HeaderValue::from_static(if complete { "true" } else { "false" });
    response.headers_mut().insert(COMPLETE, complete);
    Ok(response)
}

impl Export {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let Some(page) = self.page.take() else { return Ok(None) };
        let mut text = self.head.take().unwrap_or_default();
        for (_, finding) in &page.findings {
            match self.form {
                Form::Csv => text.extend(row(&cells(finding.into()))?),
                Form::Ndjson => {
                    serde_json::to_writer(&mut text, &Violation::from(finding))?;
                    text.push(b'\n');
                }
            }
        }
        match page.next {
            Some(after) => {
                let next =
                    self.ask.findings(&self.who, &self.run.run_id, &self.filter, Some(after), PAGE).await;
                // Too late for a status: a connection that breaks is what says that this is not all.
                self.page = Some(next.map_err(|error| io::Error::other(error.message))?);
            }
            None if self.form == Form::Ndjson => {
                serde_json::to_writer(&mut text, &json!({ "run": Run::from(self.run.clone()) }))?;
                text.push(b'\n');
            }
            None => {}
        }
        Ok(Some((text.into(), self)))
    }
}

fn csv_head(answer: &RunAnswer) -> Vec<u8> {
    let mut text = String::new();
    if let Some(reading) = answer.reading.as_ref().filter(|reading| !reading.complete) {
        let _ = writeln!(text, "# partial: {} cells could not be fully seen", reading.gap_count);
        for gap in &reading.gaps {
            let _ = writeln!(text, "# {}", gap.replace(char::is_control, " "));
        }
    }
    text.push_str(&COLUMNS.join(","));
    text.push('\n');
    text.into_bytes()
}

fn cells(violation: Violation) -> [String; COLUMNS.len()] {
    [
        violation.arn,
        violation.resource_id,
        violation.resource_type,
        violation.account_id,
        violation.region,
        violation.tag_key,
        violation.violation_type,
        violation.severity,
        violation.kind,
        violation.current_value.unwrap_or_default(),
        violation.allowed_values.unwrap_or_default().join("; "),
        violation.expected_format.unwrap_or_default(),
        violation.exempted_by.unwrap_or_default(),
        violation.exempt_until.unwrap_or_default(),
        violation.message,
    ]
}

fn row(cells: &[String; COLUMNS.len()]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells.iter().map(|cell| neutral(cell)))?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted() {
        let mut cells: [String; COLUMNS.len()] = Default::default();
        cells[0] = "a,\"b\"".to_owned();
        assert!(row(&cells).unwrap().starts_with(b"\"a,\"\"b\"\"\","));
    }
}
