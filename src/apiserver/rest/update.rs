//! PUT and PATCH, of objects and of their status.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::delete::ATTEMPTS;
use super::{Answer, Api, Call, admit, body, create, event, reply};
use crate::kind::{Kind, Rows};
use crate::patch::Patch;
use crate::status::{ApiError, Cause};
use crate::store::Before;

/// The longest that a writer waits before it tries again.
const MAX_PAUSE_MICROS: u64 = 10_000;

pub(super) async fn put(api: &Api, call: &Call, request: Body) -> Answer {
    let kind = call.kind();
    let dry = call.params.is_dry_run("UpdateOptions")?;
    let unknown = call.params.field_validation("UpdateOptions")?;
    let sent = body::object(call.content_type.as_deref(), &body::read(request).await?)?;
    let (mut sent, warnings) = sent.decode(kind, unknown)?;
    named(call, &sent)?;
    admit::place(call, &mut sent)?;
    for _ in 0..ATTEMPTS {
        let before = read(api, call).await?;
        let version = expected(call, &sent, &before)?;
        match store(api, call, &before, sent.clone(), dry).await? {
            Some(body) => return reply::object(call, StatusCode::OK, &body, &warnings),
            None if version => return Err(ApiError::stale(kind, call.name())),
            None => give_way().await,
        }
    }
    Err(ApiError::stale(kind, call.name()))
}

pub(super) async fn patch(api: &Api, call: &Call, request: Body) -> Answer {
    let kind = call.kind();
    let dry = call.params.is_dry_run("PatchOptions")?;
    let unknown = call.params.field_validation("PatchOptions")?;
    let content_type = call.content_type.as_deref().unwrap_or_default();
    let patch = Patch::parse(kind, content_type, &body::read(request).await?)?;
    for _ in 0..ATTEMPTS {
        let before = read(api, call).await?;
        let current = event::show(kind, before.value.clone());
        let mut new = patch.apply(&current)?;
        let warnings = kind.decode_patched(&mut new, unknown)?;
        named(call, &new)?;
        admit::place(call, &mut new)?;
        // A patch that names a version is meant for that one.
        let version = new.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if version.is_some_and(|version| version != before.row.rv.to_string()) {
            return Err(ApiError::stale(kind, call.name()));
        }
        if let Some(body) = store(api, call, &before, new, dry).await? {
            return reply::object(call, StatusCode::OK, &body, &warnings);
        }
        give_way().await;
    }
    Err(ApiError::stale(kind, call.name()))
}

/// A moment for whoever came before, a different one for each who waits.
async fn give_way() {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..MAX_PAUSE_MICROS))).await;
}

async fn read(api: &Api, call: &Call) -> Result<Before, ApiError> {
    let row = api.store.get(&call.key()).await?;
    let row = row.ok_or_else(|| ApiError::not_found(call.kind(), call.name()))?;
    let value = reply::parse(&row.body)?;
    Ok(Before { row, value })
}

/// 400 when the object is not the one of the path.
fn named(call: &Call, sent: &Value) -> Result<(), ApiError> {
    let name = sent.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name == call.name() {
        return Ok(());
    }
    if name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.name()
        )));
    }
    Err(ApiError::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        call.name()
    )))
}

/// Checks uid and version, in this order; whether a version was named.
fn expected(call: &Call, sent: &Value, before: &Before) -> Result<bool, ApiError> {
    let (kind, name) = (call.kind(), call.name());
    let text = |object: &Value, field: &str| {
        object["metadata"].get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (uid, found) = (text(sent, "uid"), text(&before.value, "uid"));
    if !uid.is_empty() && uid != found {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    let version = text(sent, "resourceVersion");
    if version.is_empty() && kind.custom {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        let mut error = ApiError::invalid(kind, name, vec![cause]);
        // Said of the resource, not of the kind, for it is refused before the object is looked at.
        error.message = format!(
            "{} \"{name}\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            kind.qualified()
        );
        error.details.kind.clone_from(&kind.plural);
        return Err(error);
    }
    if !version.is_empty() && version != before.row.rv.to_string() {
        return Err(ApiError::stale(kind, name));
    }
    Ok(!version.is_empty())
}

/// Checks and stores the next state of an object; `None` when somebody else came before.
async fn store(
    api: &Api,
    call: &Call,
    before: &Before,
    mut new: Value,
    dry: bool,
) -> Result<Option<String>, ApiError> {
    let kind = call.kind();
    let old = event::show(kind, before.value.clone());
    admit::continue_from(kind, &mut new, &old, call.target.status);
    kind.validate(&new, Some(&old))?;
    if new == old {
        return Ok(Some(before.row.body.clone()));
    }
    let mut new = event::store(kind, new);
    create::small_enough(kind, &new)?;
    if dry {
        return Ok(Some(new.to_string()));
    }
    if goes(kind, &new) {
        // Watchers see what was stored last; the caller what it asked for.
        let mut last = before.value.clone();
        let gone = api.store.delete(&call.key(), before, &mut last).await?;
        return Ok(gone.ok().map(|_| new.to_string()));
    }
    let stored = api.store.update(&call.key(), before, &mut new).await?;
    Ok(stored.ok().map(|committed| committed.body))
}

/// Whether the last finalizer of an object that is being deleted is done.
fn goes(kind: &Kind, new: &Value) -> bool {
    // A namespace is held by what is in it.
    kind.rows != Rows::Namespace && admit::is_deleting(new) && !admit::has_finalizers(new)
}
