//! After an upgrade: objects that were stored under an older schema get its new defaults. One that no longer fits is
//! kept as it is and reported, for it is somebody's; it is checked again when it is next written.

use k8s_openapi::jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kind::{Face, Kind};
use crate::rest::{Api, key, new_object};
use crate::status::ApiError;
use crate::store::{Before, PART_BYTES, Range, Row};

/// Objects looked at together.
const CHUNK: i64 = 200;

/// The most characters of an event's message.
const MAX_MESSAGE: usize = 1_000;

/// Looks at all kinds whose schema has changed since their objects were last looked at.
pub(crate) async fn run(api: &Api) -> Result<(), ApiError> {
    for kind in api.kinds.seen_by(Face::InProcess).filter(|kind| kind.custom) {
        kind_if_changed(api, kind).await?;
    }
    Ok(())
}

async fn kind_if_changed(api: &Api, kind: &Kind) -> Result<(), ApiError> {
    let resource = kind.storage();
    let digest = digest(kind);
    if api.store.schema_digest(&resource).await?.is_some_and(|known| known == digest) {
        return Ok(());
    }
    let (mut at, mut after) = (None, None::<(String, String)>);
    loop {
        let place = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let range = Range {
            resource: &resource,
            namespace: None,
            after: place,
            limit: Some(CHUNK),
            bytes: PART_BYTES,
        };
        let page = api.store.list(&range, at).await;
        let page = page.map_err(|error| ApiError::unavailable(error.to_string()))?;
        at = Some(page.rv);
        after = page.rows.last().map(|row| (row.namespace.clone(), row.name.clone()));
        for row in page.rows {
            object(api, kind, row).await?;
        }
        if !page.more {
            return Ok(api.store.set_schema_digest(&resource, &digest).await?);
        }
    }
}

fn digest(kind: &Kind) -> String {
    let schema = serde_json::to_vec(kind.schema.props()).unwrap_or_default();
    hex::encode(Sha256::digest(schema))
}

async fn object(api: &Api, kind: &Kind, row: Row) -> Result<(), ApiError> {
    let (namespace, name) = (row.namespace.clone(), row.name.clone());
    let Ok(value) = serde_json::from_str::<Value>(&row.body) else {
        tracing::error!(kind = kind.kind, namespace, name, "an object is damaged in the database");
        return Ok(());
    };
    // Defaults only: what an older version does not know is not its to remove.
    let mut new = value.clone();
    kind.schema.default(&mut new);
    if let Err(error) = kind.validate(&new, None) {
        tracing::warn!(kind = kind.kind, namespace, name, %error, "a stored object does not fit the schema any more");
        report(api, kind, &value, &error).await;
        return Ok(());
    }
    if new == value {
        return Ok(());
    }
    let key = key(kind, &namespace, &name);
    let before = Before { row, value };
    // Stale: somebody has just written it, and so it was checked.
    let _ = api.store.update(&key, &before, &mut new).await?;
    Ok(())
}

/// Says so where people look who ask about the object.
async fn report(api: &Api, kind: &Kind, object: &Value, error: &ApiError) {
    let Some(events) = api.kinds.get("", "v1", "events") else { return };
    let text = |field: &str| object["metadata"].get(field).and_then(Value::as_str).unwrap_or_default();
    let namespace = if text("namespace").is_empty() { "default" } else { text("namespace") };
    let now = Timestamp::now().round(Unit::Second).unwrap_or_default().to_string();
    let message: String = format!("The stored object does not fit the schema of this version: {error}")
        .chars()
        .take(MAX_MESSAGE)
        .collect();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "SchemaMismatch", "message": message,
        "metadata": { "name": format!("{}.{:016x}", text("name"), fastrand::u64(..)), "namespace": namespace },
        "involvedObject": {
            "apiVersion": kind.api_version(), "kind": kind.kind, "namespace": text("namespace"),
            "name": text("name"), "uid": text("uid"),
        },
        "source": { "component": "tagwarden-apiserver" }, "reportingComponent": "tagwarden-apiserver",
        "reportingInstance": "", "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    if let Err(error) = new_object(api, events, event, false).await {
        tracing::debug!(%error, "the event about it could not be written");
    }
}
