//! Namespaces: those that are always there, those that are missing, those that go with all that is in them.

use std::time::Duration;

use serde_json::{Value, json};

use super::delete::{Wish, remove};
use super::{Api, admit, create, key};
use crate::kind::{Face, FieldValidation, Kind};
use crate::status::{ApiError, Cause};
use crate::store::{Before, NAMESPACES, Range, Row};

/// How often namespaces that are being deleted are looked at when nothing rings.
const INTERVAL: Duration = Duration::from_secs(30);

/// And how often while there are some.
const RETRY: Duration = Duration::from_millis(200);

/// Objects deleted in one go.
const BATCH: i64 = 200;

/// Creates the namespaces that are always there.
pub(crate) async fn ensure(api: &Api) -> Result<(), ApiError> {
    let Some(kind) = kind(api) else { return Ok(()) };
    for name in &api.options.namespaces {
        let mut object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        kind.decode(&mut object, FieldValidation::Ignore)?;
        match create::new_object(api, kind, object, false).await {
            Ok(_) => {}
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn kind(api: &Api) -> Option<&Kind> {
    api.kinds.get("", "v1", NAMESPACES).map(AsRef::as_ref)
}

/// Whether something can be created in a namespace: 404 when it is not there, 403 when it is going.
pub(super) async fn usable(api: &Api, kind: &Kind, namespace: &str, name: &str) -> Result<(), ApiError> {
    let Some(namespaces) = self::kind(api) else { return Ok(()) };
    let row = api.store.get(&key(namespaces, "", namespace)).await?;
    let row = row.ok_or_else(|| missing(api, namespace))?;
    let deleting = read(row).is_some_and(|before| admit::is_deleting(&before.value));
    if deleting { Err(terminating(kind, namespace, name)) } else { Ok(()) }
}

fn read(row: Row) -> Option<Before> {
    let value = serde_json::from_str(&row.body).ok()?;
    Some(Before { row, value })
}

/// 404.
pub(super) fn missing(api: &Api, namespace: &str) -> ApiError {
    kind(api).map_or_else(ApiError::no_such_resource, |kind| ApiError::not_found(kind, namespace))
}

/// 403.
pub(super) fn terminating(kind: &Kind, namespace: &str, name: &str) -> ApiError {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(&kind.group, &kind.plural, name, &why);
    error.details.causes.push(Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    error
}

/// Refuses to delete a namespace that is always there.
pub(super) fn may_go(api: &Api, name: &str) -> Result<(), ApiError> {
    if api.options.namespaces.iter().any(|kept| kept == name) {
        return Err(ApiError::forbidden("", NAMESPACES, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Marks a namespace as going.
pub(super) fn mark_terminating(kind: &Kind, namespace: &mut Value) -> bool {
    namespace["status"]["phase"] = json!("Terminating");
    admit::mark_deleted(kind, namespace)
}

/// Empties namespaces that are being deleted and then removes them, for ever.
pub(crate) async fn empty_terminating(api: &Api) {
    loop {
        api.store.health().wait().await;
        match empty_once(api).await {
            Ok(true) => {
                let _ = tokio::time::timeout(INTERVAL, api.tail.namespaces().notified()).await;
            }
            // Somebody has to clean up in it first.
            Ok(false) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                tracing::debug!(%error, "namespaces are not emptied right now");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Whether no namespace is left that has to go.
async fn empty_once(api: &Api) -> Result<bool, ApiError> {
    let Some(kind) = kind(api) else { return Ok(true) };
    let range = Range { resource: NAMESPACES, namespace: None, after: None, limit: None };
    let page =
        api.store.list(&range, None).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    let mut none_left = true;
    for before in page.rows.into_iter().filter_map(read).filter(|before| admit::is_deleting(&before.value)) {
        let name = before.row.name.clone();
        let gone = empty(api, &name).await? && !admit::has_finalizers(&before.value) && {
            let mut last = before.value.clone();
            // Stale: somebody wrote to it meanwhile, and the next round sees that.
            api.store.delete(&key(kind, "", &name), &before, &mut last).await?.is_ok()
        };
        none_left &= gone;
    }
    Ok(none_left)
}

/// Deletes what is in a namespace; whether nothing is left.
async fn empty(api: &Api, namespace: &str) -> Result<bool, ApiError> {
    let mut empty = true;
    let mut done: Vec<String> = Vec::new();
    for kind in api.kinds.seen_by(Face::InProcess).filter(|kind| kind.namespaced) {
        let resource = kind.storage();
        if done.contains(&resource) {
            continue;
        }
        let range =
            Range { resource: &resource, namespace: Some(namespace), after: None, limit: Some(BATCH) };
        let page =
            api.store.list(&range, None).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
        empty &= page.rows.is_empty();
        for row in page.rows {
            match remove(api, kind, &key(kind, namespace, &row.name), &Wish::default()).await {
                Err(error) if error.code != 404 => return Err(error),
                _ => {}
            }
        }
        done.push(resource);
    }
    Ok(empty)
}
