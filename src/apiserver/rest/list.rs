//! GET of many objects: pages that show one version, selected, in the form that the client wants.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use k8s_openapi::jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Api, Call, event, key, reply};
use crate::continue_token::ContinueToken;
use crate::kind::Kind;
use crate::select::{FieldSelector, LabelSelector};
use crate::status::{ApiError, Cause};
use crate::store::{AsOf, PAGE_BYTES, PART_BYTES, Page, Range, Row};
use crate::table::{self, Form, Include};

/// Rows looked at together while selecting.
const CHUNK: i64 = 500;

/// Lists in memory at a time; with the bytes of each, a bound for all.
pub(super) const AT_ONCE: usize = 8;

/// How long a list waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// Which objects are meant, whatever the verb.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        Ok(Self {
            labels: LabelSelector::parse(&call.params.label_selector)?,
            fields: FieldSelector::parse(&call.params.field_selector, call.kind())?,
        })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object, as the client sees it, is meant.
    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    fn only_name(&self) -> Option<&str> {
        self.fields.name()
    }
}

/// What a list found, selected.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rv: i64,
    /// As they are stored.
    pub(super) rows: Vec<Row>,
    /// The same as the client sees them, where they had to be read.
    values: Option<Vec<Value>>,
    /// Whether there are more of them.
    pub(super) more: bool,
    /// How many more there are, where that is cheap to say.
    remaining: Option<i64>,
}

pub(super) async fn list(api: &Api, call: &Call) -> Answer {
    let form = table::form(call.accept.as_deref())?;
    let selection = Selection::of(call)?;
    let token = continued(call)?;
    let at = match &token {
        Some(token) => Some(token.resource_version),
        None => version(api, call).await?,
    };
    let after = token.map(|token| (token.namespace, token.name));
    let turn = turn(api).await?;
    let mut found = find(api, call, &selection, at, after, form != Form::Object).await?;
    if found.more && selection.is_everything() {
        found.remaining = remaining(api, call, &found).await?;
    }
    Ok(json_text(render(call, form, found)?, turn))
}

/// Waits in line with other lists.
async fn turn(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = tokio::time::timeout(PATIENCE, Arc::clone(&api.lists).acquire_owned()).await;
    turn.ok()
        .and_then(Result::ok)
        .ok_or_else(|| ApiError::too_many_requests("too many lists are asked for at a time; try again", 1))
}

/// How many objects come after the page, as things are now.
async fn remaining(api: &Api, call: &Call, found: &Found) -> Result<Option<i64>, ApiError> {
    let Some(last) = found.rows.last() else { return Ok(None) };
    let resource = call.kind().storage();
    let namespace = call.target.namespace.as_deref();
    let after = Some((last.namespace.as_str(), last.name.as_str()));
    let count = api
        .store
        .count(&Range { resource: &resource, namespace, after, limit: None, bytes: PAGE_BYTES })
        .await?;
    Ok(Some(count).filter(|count| *count > 0))
}

fn continued(call: &Call) -> Result<Option<ContinueToken>, ApiError> {
    if call.params.continue_token.is_empty() {
        return Ok(None);
    }
    if !matches!(call.params.resource_version.as_str(), "" | "0") {
        return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
    }
    let token = ContinueToken::decode(&call.params.continue_token)?;
    if token.namespace.contains('\0') || token.name.contains('\0') {
        return Err(ApiError::bad_request("continue key is not valid"));
    }
    if call.target.namespace.as_ref().is_some_and(|namespace| *namespace != token.namespace) {
        return Err(ApiError::bad_request("continue key is of another namespace"));
    }
    Ok(Some(token))
}

/// The exact version to show, or `None` for the newest.
async fn version(api: &Api, call: &Call) -> Result<Option<i64>, ApiError> {
    let params = &call.params;
    let refused = |cause: Cause| {
        let initial = params.send_initial_events.is_some();
        let more =
            initial.then(|| Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        ApiError::invalid_options("ListOptions", [cause].into_iter().chain(more).collect())
    };
    let forbidden = |why| refused(Cause::forbidden("resourceVersionMatch", why));
    let exact = match params.resource_version_match.as_str() {
        "" => params.limit.is_some(),
        _ if params.resource_version.is_empty() => {
            return Err(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        "Exact" if params.resource_version == "0" => {
            return Err(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        "Exact" => true,
        "NotOlderThan" => false,
        other => {
            let words = [json!("Exact"), json!("NotOlderThan"), json!("")];
            return Err(refused(Cause::not_supported("resourceVersionMatch", &json!(other), &words)));
        }
    };
    if params.send_initial_events.is_some() {
        return Err(ApiError::invalid_options(
            "ListOptions",
            vec![Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")],
        ));
    }
    let Some(version) = params.version()? else { return Ok(None) };
    if exact {
        return Ok(Some(version));
    }
    let current = api.store.versions().await?.current;
    if version > current { Err(ApiError::version_too_large(version, current)) } else { Ok(None) }
}

/// Finds what is meant. `values` when the caller needs the objects read anyway.
pub(super) async fn find(
    api: &Api,
    call: &Call,
    selection: &Selection,
    at: Option<i64>,
    after: Option<(String, String)>,
    values: bool,
) -> Result<Found, ApiError> {
    let kind = call.kind();
    if at.is_none()
        && let Some(name) = selection.only_name()
        && (call.target.namespace.is_some() || !kind.namespaced)
    {
        return one(api, call, selection, name).await;
    }
    let resource = kind.storage();
    let limit = call.params.limit;
    let namespace = call.target.namespace.as_deref();
    if selection.is_everything() && !values && !event::has_face(kind) {
        let after = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let range = Range { resource: &resource, namespace, after, limit, bytes: PAGE_BYTES };
        let Page { rv, mut rows, more } = api.store.list(&range, at).await.map_err(as_of(at))?;
        if more && limit.is_none() {
            return Err(too_much());
        }
        rows.retain(|row| is_json(kind, row));
        return Ok(Found { rv, rows, values: None, more, remaining: None });
    }
    let range = Range { resource: &resource, namespace, after: None, limit, bytes: PART_BYTES };
    select(api, kind, selection, range, at, after).await
}

/// Reads and selects, chunk by chunk, until the limit is reached.
async fn select(
    api: &Api,
    kind: &Kind,
    selection: &Selection,
    range: Range<'_>,
    at: Option<i64>,
    after: Option<(String, String)>,
) -> Result<Found, ApiError> {
    let limit = range.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let (mut at, mut after) = (at, after);
    let (mut rows, mut values, mut bytes) = (Vec::new(), Vec::new(), 0);
    loop {
        let place = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let chunk = Range { after: place, limit: Some(CHUNK), ..range };
        let page = api.store.list(&chunk, at).await.map_err(as_of(at))?;
        at = Some(page.rv);
        after = page.rows.last().map(|row| (row.namespace.clone(), row.name.clone()));
        for row in page.rows {
            let Some(value) = read(kind, &row) else { continue };
            if !selection.matches(&value) {
                continue;
            }
            if bytes >= PAGE_BYTES && range.limit.is_none() {
                return Err(too_much());
            }
            if rows.len() == limit || bytes >= PAGE_BYTES {
                return Ok(Found { rv: page.rv, rows, values: Some(values), more: true, remaining: None });
            }
            bytes += row.body.len();
            rows.push(row);
            values.push(value);
        }
        if !page.more {
            return Ok(Found { rv: page.rv, rows, values: Some(values), more: false, remaining: None });
        }
    }
}

/// 413: who asks for everything at once would not notice that it is only the first page.
fn too_much() -> ApiError {
    let mut error = ApiError::too_large(PAGE_BYTES);
    error.message = format!(
        "the list has more than {} MiB: ask for it in pages, with limit and continue, or for less, with a selector",
        PAGE_BYTES >> 20
    );
    error
}

/// The list of the one object that a field selector names.
async fn one(api: &Api, call: &Call, selection: &Selection, name: &str) -> Result<Found, ApiError> {
    let current = api.store.versions().await?.current;
    let row = api.store.get(&key(call.kind(), call.namespace(), name)).await?;
    let read = row.and_then(|row| read(call.kind(), &row).map(|value| (row, value)));
    let (rows, values): (Vec<_>, Vec<_>) =
        read.into_iter().filter(|(_, value)| selection.matches(value)).unzip();
    let rv = rows.first().map_or(current, |row: &Row| row.rv.max(current));
    Ok(Found { rv, rows, values: Some(values), more: false, remaining: None })
}

fn as_of(at: Option<i64>) -> impl Fn(AsOf) -> ApiError {
    move |error| match error {
        AsOf::Store(error) => error.into(),
        AsOf::Future(current) => ApiError::version_too_large(at.unwrap_or_default(), current),
        AsOf::Compacted(_) => ApiError::expired(
            "The provided continue parameter or resource version is too old to display a consistent list result. \
             Start a new list without it.",
        ),
    }
}

/// An object as the client sees it. One that is damaged in the database does not stop a list.
pub(super) fn read(kind: &Kind, row: &Row) -> Option<Value> {
    match serde_json::from_str(&row.body) {
        Ok(value) => Some(event::show(kind, value)),
        Err(error) => {
            damaged(kind, row, &error);
            None
        }
    }
}

fn is_json(kind: &Kind, row: &Row) -> bool {
    serde_json::from_str::<IgnoredAny>(&row.body).map_err(|error| damaged(kind, row, &error)).is_ok()
}

fn damaged(kind: &Kind, row: &Row, error: &serde_json::Error) {
    let (resource, namespace, name) = (kind.qualified(), &row.namespace, &row.name);
    tracing::error!(resource, namespace, name, %error, "an object is damaged in the database and left out");
}

fn render(call: &Call, form: Form, found: Found) -> Result<String, ApiError> {
    let next = found.rows.last().filter(|_| found.more).map(|last| ContinueToken {
        resource_version: found.rv,
        namespace: last.namespace.clone(),
        name: last.name.clone(),
    });
    let next = next.map(|token| token.encode()).unwrap_or_default();
    let mut meta = json!({ "resourceVersion": found.rv.to_string() });
    if form == Form::Object || !next.is_empty() {
        meta["continue"] = Value::String(next);
    }
    if let Some(remaining) = found.remaining {
        meta["remainingItemCount"] = json!(remaining);
    }
    let kind = call.kind();
    let text = match form {
        Form::Object => joined(&kind.list_kind, &kind.api_version(), &meta, &found),
        Form::Metadata => {
            let items: Vec<Value> = found.values.iter().flatten().map(table::partial).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
                "items": items,
            })
            .to_string()
        }
        Form::Table => {
            let include = Include::parse(call.params.include_object.as_deref())?;
            let values = found.values.unwrap_or_default();
            table::table(kind, &values, &meta, include, true, Timestamp::now()).to_string()
        }
    };
    Ok(text)
}

/// The list, from the texts of its objects where nothing had to be changed in them.
fn joined(list_kind: &str, api_version: &str, meta: &Value, found: &Found) -> String {
    let size: usize = found.rows.iter().map(|row| row.body.len() + 1).sum();
    let mut text = String::with_capacity(size + 256);
    let _ = write!(
        text,
        "{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":["
    );
    let faces = found.values.as_ref().filter(|_| api_version.starts_with("events.k8s.io"));
    for (index, row) in found.rows.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match faces.and_then(|faces| faces.get(index)) {
            Some(face) => text.push_str(&face.to_string()),
            None => text.push_str(&row.body),
        }
    }
    text.push_str("]}");
    text
}

/// The answer, which keeps its turn until the client has taken it.
fn json_text(text: String, turn: OwnedSemaphorePermit) -> Response {
    let parts = stream::unfold((Some(text), turn), |(text, turn)| async move {
        text.map(|text| (Ok::<_, std::convert::Infallible>(Bytes::from(text)), (None, turn)))
    });
    ([(header::CONTENT_TYPE, reply::JSON)], Body::from_stream(parts)).into_response()
}
