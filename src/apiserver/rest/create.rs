//! POST.

use axum::body::Body;
use http::StatusCode;
use serde_json::Value;

use super::{Answer, Api, Call, admit, body, event, key, namespace, reply};
use crate::compaction;
use crate::kind::{Kind, Rows};
use crate::status::{ApiError, Cause};
use crate::store::{Key, Refusal};

/// How often a generated name is tried again that was taken.
const ATTEMPTS: usize = 8;

pub(super) async fn create(api: &Api, call: &Call, request: Body) -> Answer {
    let kind = call.kind();
    let dry = call.params.is_dry_run("CreateOptions")?;
    let unknown = call.params.field_validation("CreateOptions")?;
    if kind.namespaced && call.target.namespace.is_none() {
        return Err(ApiError::no_such_resource());
    }
    let sent = body::object(call.content_type.as_deref(), &body::read(request).await?)?;
    let wants_name = sent.value.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty);
    for attempt in 1.. {
        let mut named = sent.clone();
        admit::generate_name(&mut named.value);
        let (mut object, warnings) = named.decode(kind, unknown)?;
        admit::place(call, &mut object)?;
        let stored = new_object(api, kind, object, dry).await;
        match stored {
            Err(error) if error.reason == "AlreadyExists" && wants_name && attempt < ATTEMPTS => {}
            stored => return reply::object(call, StatusCode::CREATED, &stored?, &warnings),
        }
    }
    Err(ApiError::internal("no free name was found"))
}

/// Checks and stores a decoded object. Gives it as stored.
pub(crate) async fn new_object(
    api: &Api,
    kind: &Kind,
    mut object: Value,
    dry: bool,
) -> Result<String, ApiError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (space, name) = (text("/metadata/namespace"), text("/metadata/name"));
    if !text("/metadata/resourceVersion").is_empty() {
        return Err(versioned());
    }
    if kind.namespaced {
        namespace::usable(api, kind, &space, &name).await?;
    }
    admit::begin(kind, &mut object);
    kind.validate(&object, None)?;
    let mut object = event::store(kind, object);
    small_enough(kind, &object)?;
    let key = key(kind, &space, &name);
    if dry {
        return match api.store.get(&key).await? {
            Some(_) => Err(ApiError::already_exists(kind, &name)),
            None => Ok(object.to_string()),
        };
    }
    insert(api, kind, &key, &mut object).await
}

async fn insert(api: &Api, kind: &Kind, key: &Key, object: &mut Value) -> Result<String, ApiError> {
    let is_event = kind.rows == Rows::Event;
    let most = if is_event { u64::from(api.options.event_count) } else { kind.limits.objects };
    let mut outcome = api.store.create(key, object, most).await?;
    if outcome.as_ref().is_err_and(|refusal| *refusal == Refusal::Full) && is_event {
        // Old news make room for new.
        compaction::drop_oldest_events(api).await;
        outcome = api.store.create(key, object, most).await?;
    }
    match outcome {
        Ok(committed) => Ok(committed.body),
        Err(Refusal::Exists | Refusal::Stale) => Err(exists(api, kind, key).await?),
        Err(Refusal::NoNamespace) => Err(namespace::missing(api, &key.namespace)),
        Err(Refusal::Terminating) => Err(namespace::terminating(kind, &key.namespace, &key.name)),
        Err(Refusal::Full) => Err(ApiError::forbidden(
            &kind.group,
            &kind.plural,
            &key.name,
            &format!("too many objects of kind {}: {most} are kept; delete some first", kind.kind),
        )),
    }
}

/// 409, and whether waiting helps.
async fn exists(api: &Api, kind: &Kind, key: &Key) -> Result<ApiError, ApiError> {
    let mut error = ApiError::already_exists(kind, &key.name);
    let row = api.store.get(key).await?;
    let object = row.and_then(|row| serde_json::from_str::<Value>(&row.body).ok());
    if object.is_some_and(|object| admit::is_deleting(&object)) {
        error.message = format!("object is being deleted: {}", error.message);
    }
    Ok(error)
}

/// 413 for an object that is too large to be kept.
pub(super) fn small_enough(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    if object.to_string().len() > kind.limits.bytes {
        return Err(ApiError::too_large(kind.limits.bytes));
    }
    Ok(())
}

/// As the API server has it: not a mistake that it has a reason for.
fn versioned() -> ApiError {
    let mut error = ApiError::internal("");
    error.reason = "";
    error.message = "resourceVersion should not be set on objects to be created".into();
    error.details.causes = Vec::<Cause>::new();
    error
}
