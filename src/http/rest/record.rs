//! The row about a call. What may be secret is not in it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tagwarden_app::ask::ports::{AuditRow, AuditRows};
use tagwarden_app::ask::{Code, Principal, conceal, redact};
use tokio::time::{Duration, Instant, timeout};

/// The most characters of each part of the arguments that a row has.
const ARGUMENTS_MAX: usize = 2000;

/// How deep a body is kept: as deep as the parser of JSON goes.
const DEPTH: usize = 128;

/// How long writing may hold an answer up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// A call that has begun. However it ends, it leaves one row: dropped without an end, it was cancelled.
pub(super) struct Record {
    began: Instant,
    rows: Arc<dyn AuditRows>,
    row: Option<AuditRow>,
}

/// A call in the words of its caller.
pub(super) struct Words<'a> {
    pub id: &'a str,
    pub operation: &'a str,
    pub parameter: &'a str,
    pub query: &'a str,
    pub body: &'a Bytes,
}

impl Record {
    pub fn begin(rows: Arc<dyn AuditRows>, at: Timestamp, who: &Principal, words: &Words<'_>) -> Self {
        let Words { id, operation, parameter, query, body } = words;
        let mut digest = Sha256::new();
        for part in [operation.as_bytes(), parameter.as_bytes(), query.as_bytes(), body] {
            digest.update(part);
            digest.update([0]);
        }
        let arguments = serde_json::json!({
            "path": bounded(&conceal(head(parameter))),
            "query": bounded(&conceal(head(query))),
            "body": of_body(body),
        });
        let row = AuditRow {
            at,
            correlation_id: (*id).to_owned(),
            principal: who.id.to_string(),
            tenant: who.tenant.to_string(),
            channel: "rest",
            operation: (*operation).to_owned(),
            arguments_digest: format!("sha256:{}", hex::encode(digest.finalize())),
            arguments: arguments.to_string(),
            status: String::new(),
            duration: Duration::ZERO,
            summary: String::new(),
        };
        Self { began: Instant::now(), rows, row: Some(row) }
    }

    /// Writes the row: with the status of the answer, or the word of the error.
    pub async fn end(mut self, outcome: Result<StatusCode, &str>) {
        let (status, summary) = match &outcome {
            Ok(status) => ("ok", status.as_str()),
            Err(code) => (*code, ""),
        };
        if let Some(writing) = self.close(status, summary) {
            // A task of its own: it goes on when nobody waits for the answer any more.
            let _ = tokio::spawn(writing).await;
        }
    }

    /// The body of an answer that takes its time. The call ends with it.
    pub fn follow(self, status: StatusCode, body: Body) -> Body {
        Body::from_stream(recorded(body.into_data_stream(), self, status))
    }

    /// The row, on its way into the record; nothing where it is there already.
    fn close(&mut self, status: &str, summary: &str) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut row = self.row.take()?;
        row.duration = self.began.elapsed();
        status.clone_into(&mut row.status);
        summary.clone_into(&mut row.summary);
        let rows = Arc::clone(&self.rows);
        Some(async move {
            let written = timeout(WRITE_WITHIN, rows.append(&row)).await;
            if !matches!(written, Ok(Ok(()))) {
                tracing::error!(
                    correlation_id = row.correlation_id,
                    operation = row.operation,
                    status = row.status,
                    "a call could not be recorded"
                );
            }
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(writing) = self.close(Code::Cancelled.as_str(), "")
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(writing);
        }
    }
}

/// The same stream; its row is written before its end is seen.
fn recorded<S>(
    body: S,
    record: Record,
    status: StatusCode,
) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Send + 'static,
{
    stream::unfold(Some((Box::pin(body), record)), move |state| async move {
        let (mut body, record) = state?;
        match body.next().await {
            Some(Ok(chunk)) => Some((Ok(chunk), Some((body, record)))),
            Some(Err(error)) => {
                record.end(Err(Code::Unavailable.as_str())).await;
                Some((Err(error), None))
            }
            None => {
                record.end(Ok(status)).await;
                None
            }
        }
    })
}

/// As much of a text as is looked at: more than what is kept.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(4 * ARGUMENTS_MAX)]
}

/// A body without what may be secret: by its names where it is JSON, by its looks otherwise.
fn of_body(body: &Bytes) -> String {
    let shown = match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            redact(&mut value, DEPTH);
            value.to_string()
        }
        Err(_) => conceal(&String::from_utf8_lossy(&body[..body.len().min(4 * ARGUMENTS_MAX)])),
    };
    bounded(&shown)
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(ARGUMENTS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_written_down() {
        let key = format!("tw_0123456789ab_{}", "c".repeat(64));
        for (body, kept) in [
            (format!("{{\"policy\": \"{key}\", \"audit\": \"x\"}}"), "\"audit\":\"x\""),
            (format!("broken {key}"), "broken tw_…"),
            ("{\"Api-Key\": \"cccc\", \"n\": [{\"password\": \"cccc\"}]}".to_owned(), "\"n\""),
            (format!("{{\"{key}\": 1}}"), "tw_…"),
        ] {
            let shown = of_body(&body.clone().into());
            assert!(!shown.contains("cccc") && shown.contains(kept), "{body}: {shown}");
        }
        assert_eq!(of_body(&"é".repeat(50_000).into()).chars().count(), ARGUMENTS_MAX + 1);
    }
}
