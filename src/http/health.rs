//! `/health`: how the server is doing, from what is known already. Answering never waits for anything.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use crate::fault::json;

/// How the server is doing. Open to everybody, so it tells nothing of any tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether it works.
    pub status: HealthStatus,
    /// What runs.
    pub version: String,
    /// What has to work before there is work.
    pub checks: Vec<Check>,
    /// Where policies come from: `kubernetes`, `embedded`, or `manifests` for a directory that is applied.
    pub policy_source: String,
    /// When what is known of policies was last brought up to date: all of them were listed, or one of them changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies_synced_at: Option<String>,
    /// When a run ended last, of any tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<String>,
    /// When a run is due next, of any tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<String>,
    /// When this was looked at.
    pub checked_at: String,
}

/// Whether a server works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything works.
    Ok,
    /// Something does not work now: what is known is answered, the rest waits.
    Degraded,
}

/// Something that has to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
}

/// Answers from what is known: always 200, for a server that is degraded is not mended by starting another one.
pub(crate) async fn answer(State(health): State<watch::Receiver<Arc<Health>>>) -> Response {
    let health = Arc::clone(&health.borrow());
    ([(header::CONTENT_TYPE, "application/json")], json(&*health)).into_response()
}
