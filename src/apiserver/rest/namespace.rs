//! Namespaces: those that are always there, those that are missing, those that go with all that is in them.

use std::time::Duration;

use serde_json::{Value, json};

use super::delete::{Wish, remove};
use super::{Api, admit, create, key};
use crate::kind::{Face, FieldValidation, Kind};
use crate::status::{ApiError, Cause};
use crate::store::{Before, NAMESPACES, PART_BYTES, Range, Row};

/// How often namespaces that are being deleted are looked at when nothing rings.
const INTERVAL: Duration = Duration::from_secs(30);

/// How soon one that could not be emptied is looked at again when nothing rings, at first; then half as often each time.
const RETRY: Duration = Duration::from_millis(200);

/// Objects looked at together.
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
    let mut pause = RETRY;
    loop {
        api.store.health().wait().await;
        let left = match empty_once(api).await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(%error, "namespaces are not emptied right now");
                Left::Waiting
            }
        };
        pause = match left {
            Left::Nothing => INTERVAL,
            Left::More => RETRY,
            // Somebody has to clean up in it first. Whoever does so rings.
            Left::Waiting => (pause * 2).min(INTERVAL),
        };
        if tokio::time::timeout(pause, api.tail.namespaces().notified()).await.is_ok() {
            // A namespace that is emptied rings for each of its objects.
            tokio::time::sleep(RETRY).await;
        }
        if left == Left::Nothing {
            pause = RETRY;
        }
    }
}

/// What is left to do after a look at what is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// It is gone.
    Nothing,
    /// All that is left waits for somebody else.
    Waiting,
    /// Something was deleted, so that the next look may find it empty.
    More,
}

async fn empty_once(api: &Api) -> Result<Left, ApiError> {
    let Some(kind) = kind(api) else { return Ok(Left::Nothing) };
    let mut left = Left::Nothing;
    let mut after = None;
    while let Some(page) = page(api, NAMESPACES, None, &mut after).await? {
        for before in page.into_iter().filter_map(read).filter(|before| admit::is_deleting(&before.value)) {
            left = left.max(finish(api, kind, &before).await?);
        }
    }
    Ok(left)
}

/// Empties a namespace and removes it, as far as it can be done now.
async fn finish(api: &Api, kind: &Kind, before: &Before) -> Result<Left, ApiError> {
    let name = &before.row.name;
    let left = empty(api, name).await?;
    if left != Left::Nothing {
        return Ok(left);
    }
    if admit::has_finalizers(&before.value) {
        return Ok(Left::Waiting);
    }
    let mut last = before.value.clone();
    let gone = api.store.delete(&key(kind, "", name), before, &mut last).await?;
    // Stale: somebody wrote to it meanwhile, and the next look sees that.
    Ok(if gone.is_ok() { Left::Nothing } else { Left::More })
}

/// Deletes what is in a namespace.
async fn empty(api: &Api, namespace: &str) -> Result<Left, ApiError> {
    let mut left = Left::Nothing;
    let mut done: Vec<String> = Vec::new();
    for kind in api.kinds.seen_by(Face::InProcess).filter(|kind| kind.namespaced) {
        let resource = kind.storage();
        if done.contains(&resource) {
            continue;
        }
        let mut after = None;
        while let Some(rows) = page(api, &resource, Some(namespace), &mut after).await? {
            for row in rows {
                let name = row.name.clone();
                // What is held by a finalizer was marked before, and is let go by whoever holds it.
                if read(row).is_some_and(|before| admit::is_deleting(&before.value)) {
                    left = left.max(Left::Waiting);
                    continue;
                }
                left = Left::More;
                match remove(api, kind, &key(kind, namespace, &name), &Wish::default()).await {
                    Err(error) if error.code != 404 => return Err(error),
                    _ => {}
                }
            }
        }
        done.push(resource);
    }
    Ok(left)
}

/// The next objects of a resource, as things are now; nothing after the last. `after` is where the next page begins.
async fn page(
    api: &Api,
    resource: &str,
    namespace: Option<&str>,
    after: &mut Option<(String, String)>,
) -> Result<Option<Vec<Row>>, ApiError> {
    let place = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
    let range = Range { resource, namespace, after: place, limit: Some(BATCH), bytes: PART_BYTES };
    let page =
        api.store.list(&range, None).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    let Some(last) = page.rows.last() else { return Ok(None) };
    *after = Some((last.namespace.clone(), last.name.clone()));
    Ok(Some(page.rows))
}
