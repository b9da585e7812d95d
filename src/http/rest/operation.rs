//! One route: what it takes and answers, who may use it, and what it does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::future::BoxFuture;
use http::{StatusCode, Uri, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tagwarden_app::ask::{Ask, AskError, Principal, Scope};

use super::{Call, Outcome, Rest};
use crate::fault::{Fault, json};

/// A schema, made when it is needed.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

type Work = Arc<dyn Fn(Asked) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// See the module.
pub(crate) struct Operation {
    pub verb: Verb,
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub scope: Scope,
    pub query: Option<SchemaOf>,
    pub body: Option<SchemaOf>,
    /// What it answers, and with which status.
    pub answer: Option<(u16, SchemaOf)>,
    /// Other forms of the answer.
    pub formats: &'static [&'static str],
    work: Work,
}

/// What stands in the path.
type Parameter = Result<RawPathParams, RawPathParamsRejection>;

/// The methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
        }
    }
}

impl Operation {
    pub fn new<F, Fut>(
        verb: Verb,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        work: F,
    ) -> Self
    where
        F: Fn(Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            verb,
            path,
            id,
            summary,
            scope: Scope::TagRead,
            query: None,
            body: None,
            answer: None,
            formats: &[],
            work: Arc::new(move |asked| Box::pin(work(asked))),
        }
    }

    pub fn needs(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    pub fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    pub fn answers<T: JsonSchema>(self, status: u16) -> Self {
        Self { answer: Some((status, SchemaGenerator::subschema_for::<T>)), ..self }
    }

    pub fn formats(self, formats: &'static [&'static str]) -> Self {
        Self { formats, ..self }
    }

    /// The handler: whoever may not is refused, and everything is recorded.
    pub fn routed(self, _: &Rest) -> MethodRouter<Rest> {
        let Self { verb, id, scope, work, .. } = self;
        let handler = move |State(rest): State<Rest>, path: Parameter, request: Request| {
            let work = Arc::clone(&work);
            async move {
                let readable = path.is_ok();
                let parameter =
                    path.ok().and_then(|path| path.iter().next().map(|(_, value)| value.to_owned()));
                let call = Call::of(request, parameter.unwrap_or_default()).await;
                let work = move |asked: Asked| async move {
                    if asked.who.must(scope).is_err() {
                        return Err(Fault::lacks(scope));
                    }
                    if !readable {
                        return Err(bad("the path is not UTF-8 text"));
                    }
                    checked("the path", &asked.parameter)?;
                    work(asked).await
                };
                rest.call(id, call, work).await
            }
        };
        on(verb.filter(), handler)
    }
}

/// A call on its way to its answer.
pub(crate) struct Asked {
    pub ask: Ask,
    pub who: Principal,
    /// What stands in the path.
    pub parameter: String,
    pub query: String,
    pub body: Bytes,
}

/// The most characters of a text.
const TEXT_MAX: usize = 1024;

/// What texts look like that anything could be called: they have no control characters.
pub(super) const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// What cursors look like.
pub(super) const CURSOR: &str = "^([0-9a-f]{2}){9,}$";

impl Asked {
    /// The query, read.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if percent_free(&self.query).chars().any(char::is_control) {
            return Err(bad("the query has control characters in it"));
        }
        let uri = Uri::builder().path_and_query(format!("/?{}", self.query)).build();
        let uri = uri.map_err(|_| bad("the query cannot be read"))?;
        axum::extract::Query::<T>::try_from_uri(&uri)
            .map(|query| query.0)
            .map_err(|error| bad(format!("the query cannot be used: {}", cause(&error))))
    }

    /// The body, read.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        // The parser would take the fields in a list, in their order.
        if self.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad("the body cannot be used: it is no JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| bad(format!("the body cannot be used: {error}")))
    }
}

/// What is really wrong, without what the framework says around it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
        .to_string()
        .chars()
        .take(200)
        .map(|symbol| if symbol.is_control() { '\u{fffd}' } else { symbol })
        .collect()
}

/// The query with its per cent signs resolved, as far as looking for control characters needs it.
fn percent_free(query: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(query.len()), query.as_bytes());
    while let [first, after @ ..] = rest {
        let pair =
            after.first_chunk::<2>().filter(|pair| *first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        let byte = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text that somebody sent, if it is one that anything could be called.
pub(super) fn checked<'a>(what: &str, text: &'a str) -> Result<&'a str, Fault> {
    if text.chars().count() > TEXT_MAX {
        return Err(bad(format!("{what} has more than {TEXT_MAX} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(format!("{what} has control characters in it")));
    }
    Ok(text)
}

/// Several texts, if they are not too many.
pub(super) fn several(what: &str, texts: Vec<String>, most: usize) -> Result<Vec<String>, Fault> {
    if texts.len() > most {
        return Err(bad(format!("{what} has more than {most} values")));
    }
    for text in &texts {
        checked(what, text)?;
    }
    Ok(texts)
}

/// The values of a parameter that are separated by commas.
pub(super) fn listed(what: &str, text: Option<&str>, most: usize) -> Result<Vec<String>, Fault> {
    let values = text.unwrap_or_default().split(',').map(str::trim).filter(|value| !value.is_empty());
    several(what, values.map(ToOwned::to_owned).collect(), most)
}

/// What was sent makes no sense.
pub(super) fn bad(message: impl Into<String>) -> Fault {
    AskError::invalid(message, "GET /openapi.json says what may be sent").into()
}

/// An answer as JSON.
#[allow(clippy::unnecessary_wraps)] // with it every operation ends
pub(super) fn answer(value: &impl Serialize) -> Outcome {
    Ok(with(StatusCode::OK, value))
}

/// The same with another status.
pub(super) fn with(status: StatusCode, value: &impl Serialize) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json(value)).into_response()
}
