//! Keeps the log and the events from growing for ever.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::plane::Options;
use crate::rest::{Api, Wish, remove};
use crate::status::ApiError;

/// How often it is looked at. Every process of a shared database does so; who finds nothing has spent two small queries.
const INTERVAL: Duration = Duration::from_secs(30);

/// Under what events are stored.
const EVENTS: &str = "events";

/// Events dropped in one go.
const BATCH: i64 = 200;

/// Compacts for ever.
pub(crate) async fn run(api: &Api) {
    loop {
        // Not all processes at the same moment.
        tokio::time::sleep(INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        api.store.health().wait().await;
        if let Err(error) = once(api).await {
            tracing::debug!(%error, "nothing is compacted right now");
        }
    }
}

pub(crate) async fn once(api: &Api) -> Result<(), ApiError> {
    expire_events(api, ago(api.options.event_age)).await?;
    let Options { log_age, log_rows, log_bytes, .. } = api.options;
    let bytes = i64::try_from(log_bytes).unwrap_or(i64::MAX);
    api.store.compact(ago(log_age), i64::from(log_rows), bytes).await?;
    Ok(())
}

/// Milliseconds since 1970 of so long ago.
fn ago(age: Duration) -> i64 {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(age)
}

/// Drops all events that last happened before an instant.
pub(crate) async fn expire_events(api: &Api, before: i64) -> Result<(), ApiError> {
    while drop_events(api, before).await? == BATCH {}
    Ok(())
}

/// Drops some of the oldest events, to make room.
pub(crate) async fn drop_oldest_events(api: &Api) {
    if let Err(error) = drop_events(api, i64::MAX).await {
        tracing::debug!(%error, "old events could not be dropped");
    }
}

/// Drops a batch of the oldest events before an instant; how many.
async fn drop_events(api: &Api, before: i64) -> Result<i64, ApiError> {
    let Some(kind) = api.stored_kind(EVENTS) else { return Ok(0) };
    let mut dropped = 0;
    for key in api.store.older(EVENTS, before, BATCH).await? {
        match remove(api, kind, &key, &Wish::default()).await {
            Ok(_) => {}
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
        dropped += 1;
    }
    Ok(dropped)
}
