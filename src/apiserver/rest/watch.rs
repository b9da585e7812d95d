//! Watches: changes as they come, for as long as the client listens.
//!
//! A watch is pulled by its client and pushed by nobody. One that is not read holds a version and nothing else; when it
//! is read again it goes on from there, or hears that the log was cut and begins again with a list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::list::{Selection, read};
use super::{Answer, Api, Call, event, reply};
use crate::identity::Identity;
use crate::kind::Kind;
use crate::status::{ApiError, Cause};
use crate::store::tail::News;
use crate::store::{AsOf, Change, LogRow, PART_BYTES, Range, StoreError};
use crate::table::{self, Form, Include};

/// Objects of the first list sent together.
const CHUNK: i64 = 500;

/// How long until a database that was away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Without `timeoutSeconds` a watch ends after this and up to twice as long, so that not all end together.
const PATIENCE: Duration = Duration::from_mins(30);

/// Counts watches per client.
#[derive(Debug)]
pub(super) struct Watches {
    most: usize,
    open: Mutex<HashMap<Identity, usize>>,
}

impl Watches {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    fn enter(api: &Arc<Api>, identity: &Identity) -> Result<Seat, ApiError> {
        let watches = &api.watches;
        let mut open = watches.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(identity.clone()).or_default();
        if *count >= watches.most {
            let message = format!("too many watches: a client may have {} at a time", watches.most);
            return Err(ApiError::too_many_requests(message, 5));
        }
        *count += 1;
        Ok(Seat { api: Arc::clone(api), identity: identity.clone() })
    }
}

/// The place that one watch takes; given back when it ends, however it ends.
#[derive(Debug)]
struct Seat {
    api: Arc<Api>,
    identity: Identity,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.api.watches.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.identity);
            }
        }
    }
}

/// One watch.
struct Watch {
    seat: Seat,
    call: Call,
    selection: Selection,
    form: Form,
    include: Include,
    phase: Phase,
    position: Receiver<i64>,
    epoch: Receiver<u64>,
    ends: Instant,
    bookmark: Instant,
    /// Whether the headings of the table have been sent.
    headed: bool,
    told: i64,
}

enum Phase {
    /// Sends all objects of a version first.
    Initial {
        rv: i64,
        after: Option<(String, String)>,
        announce: bool,
    },
    /// Everything up to this version has been sent.
    Live(i64),
    /// One last text, then the end.
    Last(String),
    Ended,
}

pub(super) async fn watch(api: Arc<Api>, call: Call) -> Answer {
    let form = table::form(call.accept.as_deref())?;
    let include = Include::parse(call.params.include_object.as_deref())?;
    let selection = Selection::of(&call)?;
    let seat = Watches::enter(&api, &call.identity)?;
    let (position, epoch) = (api.tail.position(), api.tail.epoch());
    let phase = beginning(&api, &call).await?;
    let patience = match call.params.timeout_seconds {
        Some(seconds) => Duration::from_secs(seconds.min(24 * 3600)),
        None => PATIENCE.mul_f64(1.0 + fastrand::f64()),
    };
    let (ends, bookmark) = (Instant::now() + patience, Instant::now() + api.options.bookmark_interval);
    let watch = Watch {
        seat,
        call,
        selection,
        form,
        include,
        phase,
        position,
        epoch,
        ends,
        bookmark,
        headed: false,
        told: 0,
    };
    Ok(streamed(watch))
}

fn streamed(watch: Watch) -> Response {
    let events = stream::unfold(watch, |mut watch| async move {
        let text = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), watch))
    });
    ([(header::CONTENT_TYPE, reply::JSON)], Body::from_stream(events)).into_response()
}

/// Where a watch begins, by the version that it asks for.
async fn beginning(api: &Api, call: &Call) -> Result<Phase, ApiError> {
    let params = &call.params;
    let refused = |cause| Err(ApiError::invalid_options("ListOptions", vec![cause]));
    let announce = params.send_initial_events == Some(true);
    match (params.send_initial_events, params.resource_version_match.as_str()) {
        (Some(_), "NotOlderThan") | (None, "") => {}
        (Some(_), _) => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return refused(Cause::forbidden("resourceVersionMatch", why));
        }
        (None, _) => {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return refused(Cause::forbidden("resourceVersionMatch", why));
        }
    }
    if !params.continue_token.is_empty() {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        return refused(Cause::forbidden("resourceVersionMatch", why));
    }
    let wanted = params.version()?;
    let versions = api.store.versions().await?;
    Ok(match wanted {
        Some(version) if version > versions.current => {
            // From a database that was since restored from a backup: begin again.
            Phase::Last(refusal(&ApiError::too_old(version, versions.current)))
        }
        Some(version) if !announce => {
            if version < versions.compacted {
                Phase::Last(refusal(&ApiError::too_old(version, versions.compacted)))
            } else {
                Phase::Live(version)
            }
        }
        _ if params.send_initial_events == Some(false) => Phase::Live(versions.current),
        _ => Phase::Initial { rv: versions.current, after: None, announce },
    })
}

fn refusal(error: &ApiError) -> String {
    line("ERROR", &error.status())
}

fn line(word: &str, object: &Value) -> String {
    raw_line(word, &object.to_string())
}

fn raw_line(word: &str, object: &str) -> String {
    format!("{{\"type\":\"{word}\",\"object\":{object}}}\n")
}

impl Watch {
    /// The next text for the client, of one or more whole events; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let text = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Ended => return None,
                Phase::Last(text) => return Some(text),
                Phase::Initial { rv, after, announce } => self.initial(rv, after, announce).await,
                Phase::Live(seen) => self.live(seen).await,
            };
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(text),
                Err(error) => return Some(refusal(&error)),
            }
        }
    }

    fn api(&self) -> &Api {
        &self.seat.api
    }

    fn kind(&self) -> &Kind {
        self.call.kind()
    }

    async fn initial(
        &mut self,
        rv: i64,
        after: Option<(String, String)>,
        announce: bool,
    ) -> Result<String, ApiError> {
        let resource = self.kind().storage();
        let range = Range {
            resource: &resource,
            namespace: self.call.target.namespace.as_deref(),
            after: after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str())),
            limit: Some(CHUNK),
            bytes: PART_BYTES,
        };
        let page = self.api().store.list(&range, Some(rv)).await.map_err(|error| match error {
            AsOf::Store(error) => error.into(),
            AsOf::Compacted(oldest) => ApiError::too_old(rv, oldest),
            AsOf::Future(current) => ApiError::version_too_large(rv, current),
        })?;
        let mut text = String::new();
        for row in &page.rows {
            let Some(value) = read(self.kind(), row) else { continue };
            if self.selection.matches(&value) {
                self.write(&mut text, "ADDED", &value);
            }
        }
        let last = page.rows.last().map(|row| (row.namespace.clone(), row.name.clone()));
        self.phase = if page.more { Phase::Initial { rv, after: last, announce } } else { Phase::Live(rv) };
        if announce && !page.more && self.call.params.bookmarks {
            self.told = rv;
            text.push_str(&self.bookmark(rv, true));
        }
        Ok(text)
    }

    /// Waits for news. An outage of the database is waited out: nothing is lost, the log goes on afterwards.
    async fn live(&mut self, seen: i64) -> Result<String, ApiError> {
        self.position.mark_unchanged();
        if self.epoch.has_changed().unwrap_or(true) {
            return Err(ApiError::expired("the database was restored from a backup; list again"));
        }
        let seen = match self.api().tail.after(seen, &self.kind().storage()).await {
            Ok(News::Gone(oldest)) => return Err(ApiError::too_old(seen, oldest)),
            Ok(News::Rows { rows, seen }) => {
                let text = self.events(&rows);
                if !text.is_empty() {
                    self.phase = Phase::Live(seen);
                    return Ok(text);
                }
                seen
            }
            Err(StoreError::Broken(why)) => return Err(StoreError::Broken(why).into()),
            Err(_) => return Ok(self.idle(seen, true).await),
        };
        Ok(self.idle(seen, false).await)
    }

    /// Waits for the next thing to do while there is no news; a bookmark, when it is time for one.
    async fn idle(&mut self, seen: i64, retry: bool) -> String {
        let stop = self.api().stop.clone();
        let marks = self.call.params.bookmarks;
        self.phase = Phase::Live(seen);
        tokio::select! {
            _ = self.position.changed() => String::new(),
            _ = self.epoch.changed() => {
                self.phase = Phase::Last(refusal(&ApiError::expired("the database was restored; list again")));
                String::new()
            }
            () = stop.cancelled() => self.end(seen),
            () = tokio::time::sleep_until(self.ends) => self.end(seen),
            () = tokio::time::sleep(RETRY), if retry => String::new(),
            () = tokio::time::sleep_until(self.bookmark), if marks && !retry => {
                self.bookmark = Instant::now() + self.api().options.bookmark_interval;
                self.told = seen;
                self.bookmark(seen, false)
            }
        }
    }

    /// Ends the watch; where it was, so that the next one can go on from there.
    fn end(&mut self, seen: i64) -> String {
        self.phase = Phase::Ended;
        if self.call.params.bookmarks && self.told != seen {
            self.bookmark(seen, false)
        } else {
            String::new()
        }
    }

    fn events(&mut self, rows: &[Arc<LogRow>]) -> String {
        let mut text = String::new();
        for row in rows {
            let namespace = self.call.target.namespace.as_deref();
            if namespace.is_none_or(|namespace| namespace == row.key.namespace) {
                self.event(&mut text, row);
            }
        }
        text
    }

    /// What a change is to somebody who sees only what is selected.
    fn event(&mut self, text: &mut String, row: &LogRow) {
        let raw = self.form == Form::Object && !event::has_face(self.kind());
        if raw && self.selection.is_everything() {
            text.push_str(&raw_line(row.change.word(), &row.body));
            return;
        }
        let kind = self.kind();
        // One that is damaged in the database counts as one that is not there.
        let show = |body: &str| serde_json::from_str(body).ok().map(|value| event::show(kind, value));
        let Some(is) = show(&row.body) else { return };
        let was = row.prev.as_deref().and_then(show);
        let selects_now = row.change != Change::Deleted && self.selection.matches(&is);
        let selected = was.as_ref().is_some_and(|was| self.selection.matches(was));
        match (selects_now, selected, was) {
            (true, true, _) => self.write(text, "MODIFIED", &is),
            (true, false, _) => self.write(text, "ADDED", &is),
            (false, true, Some(mut was)) => {
                // As it was when it was last seen, with the version that took it away.
                was["metadata"]["resourceVersion"] = Value::String(row.rv.to_string());
                self.write(text, "DELETED", &was);
            }
            (false, _, _) => {}
        }
    }

    fn write(&mut self, text: &mut String, word: &str, object: &Value) {
        let shaped = match self.form {
            Form::Object => line(word, object),
            Form::Metadata => line(word, &table::partial(object)),
            Form::Table => {
                let headings = !std::mem::replace(&mut self.headed, true);
                let meta = json!({ "resourceVersion": object.pointer("/metadata/resourceVersion") });
                let objects = std::slice::from_ref(object);
                line(
                    word,
                    &table::table(self.kind(), objects, &meta, self.include, headings, Timestamp::now()),
                )
            }
        };
        text.push_str(&shaped);
    }

    /// Tells the client how far it is.
    fn bookmark(&mut self, version: i64, initial: bool) -> String {
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let kind = self.kind();
        let object = match self.form {
            Form::Object => {
                json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata })
            }
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            }),
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "columnDefinitions": null, "rows": [],
            }),
        };
        line("BOOKMARK", &object)
    }
}
