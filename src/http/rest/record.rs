//! The row about a call. What may be secret is not in it.

use std::sync::Arc;

use axum::body::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tagwarden_app::ask::Principal;
use tagwarden_app::ask::ports::{AuditRow, AuditRows};
use tagwarden_app::keys::PREFIX;
use tokio::time::{Duration, Instant, timeout};

/// The most characters of arguments that a row has.
const ARGUMENTS_MAX: usize = 2000;

/// How long writing may hold an answer up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// A call that has begun.
pub(super) struct Record {
    began: Instant,
    row: AuditRow,
}

impl Record {
    pub fn begin(
        at: Timestamp,
        who: &Principal,
        id: &str,
        operation: &str,
        [parameter, query]: [&str; 2],
        body: &Bytes,
    ) -> Self {
        let mut digest = Sha256::new();
        for part in [operation.as_bytes(), parameter.as_bytes(), query.as_bytes(), body] {
            digest.update(part);
            digest.update([0]);
        }
        let arguments = serde_json::json!({
            "path": redacted(parameter), "query": redacted(query), "body": redacted(&String::from_utf8_lossy(body)),
        });
        Self {
            began: Instant::now(),
            row: AuditRow {
                at,
                correlation_id: id.to_owned(),
                principal: who.id.to_string(),
                tenant: who.tenant.to_string(),
                channel: "rest",
                operation: operation.to_owned(),
                arguments_digest: format!("sha256:{}", hex::encode(digest.finalize())),
                arguments: arguments.to_string(),
                status: String::new(),
                duration: Duration::ZERO,
                summary: String::new(),
            },
        }
    }

    /// Writes the row: with the status of the answer, or the word of the error.
    pub async fn end(self, rows: &Arc<dyn AuditRows>, outcome: Result<StatusCode, &str>) {
        let mut row = self.row;
        row.duration = self.began.elapsed();
        match outcome {
            Ok(status) => {
                "ok".clone_into(&mut row.status);
                status.as_str().clone_into(&mut row.summary);
            }
            Err(code) => code.clone_into(&mut row.status),
        }
        let written = timeout(WRITE_WITHIN, rows.append(&row)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::error!(
                correlation_id = row.correlation_id,
                operation = row.operation,
                status = row.status,
                "a call could not be recorded"
            );
        }
    }
}

/// A text with a bounded length and without keys.
fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, key) = rest.split_at(at + PREFIX.len());
        shown.push_str(before);
        let end = key.find(|symbol: char| !symbol.is_ascii_alphanumeric() && symbol != '_');
        let (key, after) = key.split_at(end.unwrap_or(key.len()));
        shown.push_str(if key.len() > 12 { "…" } else { key });
        rest = after;
    }
    shown.push_str(rest);
    if let Some((end, _)) = shown.char_indices().nth(ARGUMENTS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_written_down() {
        let key = format!("tw_0123456789ab_{}", "c".repeat(64));
        for text in [key.clone(), format!("a={key}&b={key}"), format!("{{\"x\":\"{key}\"}}")] {
            let shown = redacted(&text);
            assert!(!shown.contains("cccc") && shown.contains("tw_…"), "{shown}");
        }
        assert_eq!(redacted("name=tw_x&limit=1"), "name=tw_x&limit=1");
        assert_eq!(redacted(&"é".repeat(5000)).chars().count(), ARGUMENTS_MAX + 1);
    }
}
