//! Answers: an object in the form that the client wants.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Answer, Call, event};
use crate::status::ApiError;
use crate::table::{self, Form, Include};

pub(super) const JSON: &str = "application/json";

/// Warning headers beyond this many help nobody.
const MAX_WARNINGS: usize = 20;

/// Answers with one object, as stored.
pub(super) fn object(call: &Call, code: StatusCode, body: &str, warnings: &[String]) -> Answer {
    let form = table::form(call.accept.as_deref())?;
    let text = if form == Form::Object && !event::has_face(call.kind()) {
        body.to_owned()
    } else {
        let value = event::show(call.kind(), parse(body)?);
        shape(call, form, &value)?
    };
    Ok(with_warnings((code, [(header::CONTENT_TYPE, JSON)], text).into_response(), warnings))
}

fn shape(call: &Call, form: Form, value: &Value) -> Result<String, ApiError> {
    Ok(match form {
        Form::Object => value.to_string(),
        Form::Metadata => table::partial(value).to_string(),
        Form::Table => {
            let meta = json!({ "resourceVersion": value.pointer("/metadata/resourceVersion") });
            let include = Include::parse(call.params.include_object.as_deref())?;
            table::table(call.kind(), std::slice::from_ref(value), &meta, include, true, Timestamp::now())
                .to_string()
        }
    })
}

/// Answers with a document that is the same in every form.
pub(super) fn plain(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// What is stored, read. It was an object when it was written.
pub(super) fn parse(body: &str) -> Result<Value, ApiError> {
    serde_json::from_str(body).map_err(|_| damaged())
}

/// 500 for what could not be read.
pub(super) fn whole(body: &str) -> Result<(), ApiError> {
    serde_json::from_str::<IgnoredAny>(body).map(drop).map_err(|_| damaged())
}

fn damaged() -> ApiError {
    ApiError::internal("the object is damaged in the database; delete it and create it again")
}

fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        // A warning with characters that a header cannot have is left out.
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
