//! Findings of an answer, page by page, and conditions in words.

use tagwarden_app::ask::ports::{ConditionView, FindingQuery};
use tagwarden_app::ask::{AskError, RunAnswer};

use crate::page::{Cursor, Room};
use crate::parts::{Severities, Violation, clean};
use crate::tool::Call;

/// Bytes of the shortest finding, a little less: more of them than so fit into no answer, and are not read.
const LEAST_BYTES: usize = 128;

/// Some findings.
pub(super) struct Listed {
    pub(super) violations: Vec<Violation>,
    /// In all.
    pub(super) total: u64,
    pub(super) next_cursor: Option<String>,
}

/// A page of the findings that an answer is about; empty before there are results.
pub(super) async fn page(
    call: &Call,
    answer: &RunAnswer,
    severities: Severities,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Listed, AskError> {
    if answer.reading.is_none() {
        return Ok(Listed { violations: Vec::new(), total: 0, next_cursor: None });
    }
    let query: FindingQuery = severities.within(answer.narrowing.findings());
    let run_id = &answer.run.run_id;
    let total = call.ask.count(&call.who, run_id, &query).await?.findings;
    let after = cursor.map(|cursor| cursor.after);
    let limit = limit.min(call.room / LEAST_BYTES);
    let found = call.ask.findings(&call.who, run_id, &query, after, limit).await?;
    let mut room = Room::new(call.room);
    let mut violations = Vec::new();
    let mut last = None;
    let mut more = found.next.is_some();
    for (place, row) in &found.findings {
        let violation = Violation::from(row);
        if !room.takes(&violation) && !violations.is_empty() {
            more = true;
            break;
        }
        violations.push(violation);
        last = Some(*place);
    }
    let next_cursor = last.filter(|_| more).map(|after| Cursor { run_id: run_id.clone(), after }.text());
    Ok(Listed { violations, total, next_cursor })
}

/// What the conditions of an object say, each in a sentence, with what to do.
pub(crate) fn conditions_in_words(conditions: &[ConditionView]) -> Vec<String> {
    conditions
        .iter()
        .map(|condition| {
            let yes = match condition.answer.as_str() {
                "True" => "yes",
                "False" => "no",
                _ => "not known",
            };
            let mut text = format!(
                "{}: {yes} ({}, since {}). {}",
                condition.condition,
                condition.reason,
                condition.since,
                clean(&condition.message, 300)
            );
            if !condition.remedy.is_empty() {
                text.push_str(if text.ends_with('.') { " What to do: " } else { ". What to do: " });
                text.push_str(condition.remedy);
            }
            text
        })
        .collect()
}
