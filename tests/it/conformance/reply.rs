//! What a server answers to one request, as far as clients can tell.

use std::time::Duration;

use axum::http::{Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// No answer, and no further event of a watch, takes longer.
const WITHIN: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// The HTTP status.
    pub code: u16,
    /// Of the body.
    pub content_type: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// JSON, the events of a watch as a list, or text.
    pub body: Value,
}

/// Sends a request; of a watch, reads so many events (fewer if it ends by itself). The error is for people.
pub async fn send(client: &Client, request: Request<Body>, events: Option<usize>) -> Result<Reply, String> {
    let sent = tokio::time::timeout(WITHIN, client.send(request)).await.map_err(|_| "no answer in time")?;
    let (head, mut body) = sent.map_err(|error| format!("{error:?}"))?.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let warnings = head.headers.get_all(header::WARNING).iter();
    let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let wanted = events.filter(|_| head.status.is_success());
    let mut bytes = Vec::new();
    while wanted.is_none_or(|wanted| lines(&bytes) < wanted) {
        let seen = || format!("only {} came", String::from_utf8_lossy(&bytes));
        let frame = tokio::time::timeout(WITHIN, body.frame()).await.map_err(|_| seen())?;
        let Some(frame) = frame else { break };
        if let Ok(data) = frame.map_err(|error| format!("{error:?}"))?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = match wanted {
        Some(wanted) => text.lines().take(wanted).map(json_or_text).collect(),
        None => json_or_text(&text),
    };
    Ok(Reply { code: head.status.as_u16(), content_type, warnings, body })
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
