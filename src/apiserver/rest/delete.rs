//! DELETE, of one object or of many.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::list::{Selection, find};
use super::params::dry_run;
use super::{Answer, Api, Call, admit, body, event, namespace, reply};
use crate::kind::{Kind, Rows};
use crate::status::{self, ApiError, Cause};
use crate::store::{Before, Key, PAGE_BYTES};

/// How often a write is tried again that somebody else came before.
pub(super) const ATTEMPTS: usize = 32;

/// Objects of a collection that are read together.
const CHUNK: i64 = 500;

/// What has to be so before something is deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) dry: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Removed {
    /// It is gone, and this was its last state.
    Gone(Value),
    /// It goes once its finalizers are done; as stored.
    Going(String),
}

pub(super) async fn delete(api: &Api, call: &Call, request: Body) -> Answer {
    let wish = wish(call, request).await?;
    match remove(api, call.kind(), &call.key(), &wish).await? {
        Removed::Going(body) => reply::object(call, StatusCode::OK, &body, &[]),
        Removed::Gone(last) => {
            let uid = last.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
            Ok(reply::plain(StatusCode::OK, &status::success(call.kind(), call.name(), uid)))
        }
    }
}

pub(super) async fn collection(api: &Api, call: &Call, request: Body) -> Answer {
    let kind = call.kind();
    if kind.rows == Rows::Namespace || (kind.namespaced && call.target.namespace.is_none()) {
        return Err(ApiError::method_not_allowed(kind, "deletecollection"));
    }
    let wish = wish(call, request).await?;
    let selection = Selection::of(call)?;
    let mut part = call.clone();
    let all = part.params.limit.replace(call.params.limit.unwrap_or(CHUNK)).is_none();
    let (mut items, mut bytes) = (Vec::new(), 0);
    let (mut at, mut after) = (None, None);
    loop {
        let found = find(api, &part, &selection, at, after, true).await?;
        for row in &found.rows {
            let object = match remove(api, kind, &call.named(&row.name), &wish).await {
                Ok(Removed::Gone(last)) => last,
                Ok(Removed::Going(body)) => reply::parse(&body)?,
                // Somebody else was faster.
                Err(error) if error.code == 404 => continue,
                Err(error) => return Err(error),
            };
            bytes += row.body.len();
            // Past that, it is deleted and not told.
            if bytes <= PAGE_BYTES {
                items.push(event::show(kind, object));
            }
        }
        at = Some(found.rv);
        after = found.rows.last().map(|row| (row.namespace.clone(), row.name.clone()));
        if !(all && found.more) {
            break;
        }
    }
    let list = json!({
        "kind": kind.list_kind, "apiVersion": kind.api_version(), "items": items,
        "metadata": { "resourceVersion": at.unwrap_or_default().to_string() },
    });
    Ok(reply::plain(StatusCode::OK, &list))
}

/// Reads `DeleteOptions`, from the body and the query.
async fn wish(call: &Call, request: Body) -> Result<Wish, ApiError> {
    let bytes = body::read(request).await?;
    let options = if bytes.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        body::object(call.content_type.as_deref(), &bytes)?.value
    };
    if let Some(kind) = options.get("kind").and_then(Value::as_str)
        && kind != "DeleteOptions"
    {
        return Err(ApiError::bad_request(format!("expected DeleteOptions, found `{kind}`")));
    }
    let text = |pointer: &str| options.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let policy = text("/propagationPolicy").or_else(|| call.params.propagation_policy.clone());
    let orphan = options.get("orphanDependents").and_then(Value::as_bool).or(call.params.orphan_dependents);
    background(policy.as_deref(), orphan)?;
    let in_body = options.get("dryRun").and_then(Value::as_array).into_iter().flatten();
    let in_body = in_body.map(|value| value.as_str().unwrap_or("?").to_owned());
    let values: Vec<String> = in_body.chain(call.params.dry_run.iter().cloned()).collect();
    let dry = dry_run(values.iter().map(String::as_str), "DeleteOptions")?;
    Ok(Wish { uid: text("/preconditions/uid"), version: text("/preconditions/resourceVersion"), dry })
}

/// Dependents are always collected in the background.
fn background(policy: Option<&str>, orphan: Option<bool>) -> Result<(), ApiError> {
    let refused = |policy: &str| {
        let detail = format!("{policy} is not supported by this control plane: use Background");
        ApiError::invalid_options("DeleteOptions", vec![Cause::forbidden("propagationPolicy", detail)])
    };
    match policy {
        Some(policy) if orphan.is_some() => {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            let cause = Cause::invalid("propagationPolicy", &json!(policy), detail);
            Err(ApiError::invalid_options("DeleteOptions", vec![cause]))
        }
        None if orphan == Some(true) => Err(refused("Orphan")),
        None | Some("" | "Background") => Ok(()),
        Some(policy @ ("Orphan" | "Foreground")) => Err(refused(policy)),
        Some(other) => {
            let words = [json!("Foreground"), json!("Background"), json!("Orphan"), json!("nil")];
            let cause = Cause::not_supported("propagationPolicy", &json!(other), &words);
            Err(ApiError::invalid_options("DeleteOptions", vec![cause]))
        }
    }
}

/// Deletes one object, or marks it when somebody has to clean up first.
pub(crate) async fn remove(api: &Api, kind: &Kind, key: &Key, wish: &Wish) -> Result<Removed, ApiError> {
    if kind.rows == Rows::Namespace {
        namespace::may_go(api, &key.name)?;
    }
    for _ in 0..ATTEMPTS {
        let row = api.store.get(key).await?.ok_or_else(|| ApiError::not_found(kind, &key.name))?;
        // What is damaged can still be deleted.
        let value = serde_json::from_str(&row.body).unwrap_or_else(|_| outline(kind, key));
        let before = Before { row, value };
        granted(kind, key, &before, wish)?;
        let mut object = before.value.clone();
        let waits = kind.rows == Rows::Namespace || admit::has_finalizers(&object);
        if waits {
            let marked = match kind.rows {
                Rows::Namespace => namespace::mark_terminating(kind, &mut object),
                _ => admit::mark_deleted(kind, &mut object),
            };
            if !marked || wish.dry {
                return Ok(Removed::Going(object.to_string()));
            }
            if let Ok(committed) = api.store.update(key, &before, &mut object).await? {
                return Ok(Removed::Going(committed.body));
            }
        } else if wish.dry || api.store.delete(key, &before, &mut object).await?.is_ok() {
            return Ok(Removed::Gone(object));
        }
    }
    Err(ApiError::stale(kind, &key.name))
}

/// What is left of an object that cannot be read.
fn outline(kind: &Kind, key: &Key) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": { "name": key.name, "namespace": key.namespace },
    })
}

fn granted(kind: &Kind, key: &Key, before: &Before, wish: &Wish) -> Result<(), ApiError> {
    let uid = before.value.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let version = before.row.rv.to_string();
    let failed = |what: &str, wanted: &str, found: &str, why: &str| {
        let mut error = ApiError::conflict(kind, &key.name, "");
        let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
        error.message = format!(
            "Operation cannot be fulfilled on {}{group} \"{}\": the {what} in the precondition ({wanted}) does not \
             match the {what} in record ({found}). The object might have been {why}",
            kind.kind, key.name
        );
        error.details.kind.clone_from(&kind.kind);
        Err(error)
    };
    match (&wish.uid, &wish.version) {
        (Some(wanted), _) if wanted != uid => failed("UID", wanted, uid, "deleted and then recreated"),
        (_, Some(wanted)) if *wanted != version => failed("ResourceVersion", wanted, &version, "modified"),
        _ => Ok(()),
    }
}
