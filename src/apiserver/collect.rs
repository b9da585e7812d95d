//! Collects what was owned: an object whose owners are all gone goes too, in the background.

use std::time::Duration;

use serde_json::Value;

use crate::kind::Kind;
use crate::rest::{Api, Removed, Wish, remove};
use crate::status::ApiError;
use crate::store::{Before, Key};

/// How often orphans are looked for when nothing rings.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long to wait for more once it has rung: a look goes over all that is owned.
const GATHER: Duration = Duration::from_millis(100);

/// Orphans looked at together.
const BATCH: i64 = 500;

/// Collects for ever.
pub(crate) async fn run(api: &Api) {
    loop {
        api.store.health().wait().await;
        match collect(api).await {
            // What was collected may have owned something itself.
            Ok(true) => {}
            Ok(false) => {
                let _ = tokio::time::timeout(INTERVAL, api.tail.collect().notified()).await;
                tokio::time::sleep(GATHER).await;
            }
            Err(error) => {
                tracing::debug!(%error, "nothing is collected right now");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Collects once; whether anything changed. Goes over all, for some may stay: their owners are of a kind that is not
/// served, and nobody can say that those are gone.
async fn collect(api: &Api) -> Result<bool, ApiError> {
    let mut changed = false;
    let mut after: Option<Key> = None;
    loop {
        let keys = api.store.orphans(after.as_ref(), BATCH).await?;
        for key in &keys {
            match orphan(api, key).await {
                Ok(did) => changed |= did,
                // Gone or changed meanwhile: the next round sees what is left.
                Err(error) if matches!(error.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(last) = keys.into_iter().next_back() else { return Ok(changed) };
        after = Some(last);
    }
}

/// Looks at one object that has lost an owner; whether something was done about it.
async fn orphan(api: &Api, key: &Key) -> Result<bool, ApiError> {
    let Some(kind) = api.stored_kind(&key.resource) else { return Ok(false) };
    let Some(row) = api.store.get(key).await? else { return Ok(false) };
    let Ok(value) = serde_json::from_str::<Value>(&row.body) else { return Ok(false) };
    let before = Before { row, value };
    let owners = before.value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owners = owners.cloned().unwrap_or_default();
    let mut left = Vec::new();
    for owner in &owners {
        if lives(api, key, owner).await? {
            left.push(owner.clone());
        }
    }
    if left.len() == owners.len() {
        return Ok(false);
    }
    if left.is_empty() {
        return remove_orphan(api, kind, key, &before).await;
    }
    let mut object = before.value.clone();
    object["metadata"]["ownerReferences"] = Value::Array(left);
    Ok(api.store.update(key, &before, &mut object).await?.is_ok())
}

async fn remove_orphan(api: &Api, kind: &Kind, key: &Key, before: &Before) -> Result<bool, ApiError> {
    let text = |pointer: &str| before.value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if text("/metadata/deletionTimestamp").is_some() {
        return Ok(false);
    }
    let version = Some(before.row.rv.to_string());
    let wish = Wish { uid: text("/metadata/uid"), version, dry: false };
    let removed = remove(api, kind, key, &wish).await?;
    let (resource, namespace, name) = (&key.resource, &key.namespace, &key.name);
    tracing::debug!(%resource, namespace, name, "collected, for its owners are gone");
    Ok(matches!(removed, Removed::Gone(_)))
}

/// Whether an owner is there. One of a kind that is not served here is nobody we could miss.
async fn lives(api: &Api, dependent: &Key, owner: &Value) -> Result<bool, ApiError> {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    if api.kinds.of(text("apiVersion"), text("kind")).is_none() {
        return Ok(true);
    }
    let found = api.store.find(text("uid")).await?;
    // An owner is in the same namespace, or in none.
    Ok(found.is_some_and(|found| found.namespace.is_empty() || found.namespace == dependent.namespace))
}
