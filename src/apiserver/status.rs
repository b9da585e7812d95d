//! What the API answers when it refuses: an error with the code, the reason, the words and the details that a
//! Kubernetes API server would give, because clients decide by them (retry, relist, show to a person).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// How many causes one answer carries; the rest is cut, for a body of garbage could have a million.
pub const MAX_CAUSES: usize = 64;

/// How much of a refused value is quoted, in characters.
const MAX_QUOTE: usize = 256;

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The machine-readable kind of mistake, like `FieldValueInvalid`.
    pub reason: &'static str,
    /// What is wrong, without the path, like `Required value: name or generateName is required`.
    pub message: String,
    /// Where, like `spec.requiredTags[0].key`.
    pub field: String,
}

impl Cause {
    /// A value that is not allowed, for a reason that `detail` tells.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {}: {}", quote(value), detail.as_ref()))
    }

    /// A value that is not allowed and too large to be quoted.
    pub fn invalid_whole(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {}", detail.as_ref()))
    }

    /// A value of the wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", quote(value), detail.as_ref());
        Self::new("FieldValueTypeInvalid", field, message)
    }

    /// A field that has to be there and is not.
    pub fn required(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        let detail = detail.as_ref();
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self::new("FieldValueRequired", field, message)
    }

    /// A value that is none of the words allowed.
    pub fn not_supported(field: impl Into<String>, value: &Value, allowed: &[Value]) -> Self {
        let allowed = allowed.iter().map(quote).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {allowed}", quote(value));
        Self::new("FieldValueNotSupported", field, message)
    }

    /// A value that may occur once and occurs again.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueDuplicate", field, format!("Duplicate value: {}", quote(value)))
    }

    /// A field that may not be set here.
    pub fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {}", detail.as_ref()))
    }

    /// A text of more bytes than allowed; the text itself is not quoted.
    pub fn too_long(field: impl Into<String>, most: u64) -> Self {
        let bytes = if most == 1 { "byte" } else { "bytes" };
        Self::new("FieldValueTooLong", field, format!("Too long: may not be more than {most} {bytes}"))
    }

    /// A list or a map of more entries than allowed.
    pub fn too_many(field: impl Into<String>, found: u64, most: u64) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {found}: must have at most {most} {items}");
        Self::new("FieldValueTooMany", field, message)
    }

    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        Self { reason, message, field: field.into() }
    }
}

/// A value as an error quotes it: JSON, cut where it gets long.
pub(crate) fn quote(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A refusal. Its `Display` is the message that a person sees.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason, like `NotFound`; empty for none.
    pub reason: &'static str,
    /// What happened, for people.
    pub message: String,
    /// Whom and what it is about.
    pub details: Box<Details>,
}

/// Whom and what an [`ApiError`] is about. Empty fields are left out of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The plural resource name, or the kind for an object that is invalid.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// What is wrong, field by field.
    pub causes: Vec<Cause>,
    /// After how many seconds to try again.
    pub retry_after_seconds: Option<u32>,
}

/// Causes as the end of a sentence, each text once.
fn told(causes: &[Cause]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes {
        let field = if cause.field.is_empty() { "<nil>" } else { &cause.field };
        let text = format!("{field}: {}", cause.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [one] => format!(": {one}"),
        many => format!(": [{}]", many.join(", ")),
    }
}

impl ApiError {
    /// 404: there is no object of this name.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        Self::about(404, "NotFound", message, kind, name)
    }

    /// 404: there is no such path or resource.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::plain(404, "NotFound", message)
    }

    /// 409 on create: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::about(409, "AlreadyExists", message, kind, name)
    }

    /// 409: the object was changed, is another one, or is going away; `why` says which.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::about(409, "Conflict", message, kind, name)
    }

    /// 409: what was written is based on a version that is no longer the newest.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 422: the object breaks these rules. Causes past [`MAX_CAUSES`] are cut.
    pub fn invalid(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        // Both faces of an event are one to the server, which has no group.
        let group = if kind.kind == "Event" { "" } else { &kind.group };
        Self::invalid_of(group, &kind.kind, name, causes)
    }

    /// As [`ApiError::invalid`], for an object that says it is of another kind.
    pub fn invalid_of(group: &str, kind: &str, name: &str, mut causes: Vec<Cause>) -> Self {
        causes.truncate(MAX_CAUSES);
        let dot = if group.is_empty() { "" } else { "." };
        let message = format!("{kind}{dot}{group} \"{name}\" is invalid{}", told(&causes));
        let mut error = Self::plain(422, "Invalid", message);
        *error.details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        };
        error
    }

    /// 422: the options of a request are wrong; `kind` is theirs, like `CreateOptions`.
    pub fn invalid_options(kind: &str, causes: Vec<Cause>) -> Self {
        Self::invalid_of("meta.k8s.io", kind, "", causes)
    }

    /// 422: what a patch makes of an object is none.
    pub fn invalid_patch(patched: &Value, why: &str) -> Self {
        let causes = vec![Cause::invalid("patch", &Value::from(patched.to_string()), why)];
        let mut error = Self::plain(422, "Invalid", format!(" \"\" is invalid{}", told(&causes)));
        error.details.causes = causes;
        error
    }

    /// 422: a patch does not apply.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::plain(422, "Invalid", message)
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: nobody we know.
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403: known, and not allowed to. `group` is empty and `name` may be.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let mut error = Self::plain(403, "Forbidden", format!("{qualified}{named} is forbidden: {why}"));
        *error.details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: resource.to_owned(),
            ..Details::default()
        };
        error
    }

    /// 405: the resource does not do that.
    pub fn method_not_allowed(kind: &Kind, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind \"{}\"", kind.qualified());
        Self::about(405, "MethodNotAllowed", message, kind, "")
    }

    /// 406: no representation that the client would take.
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::plain(406, "NotAcceptable", message)
    }

    /// 415: the body is of a type that is not read here; `message` names those that are.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 410: the version asked for is no longer kept; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 410 on a watch: this version is older than what is kept, from `oldest` on.
    pub fn too_old(wanted: i64, oldest: i64) -> Self {
        Self::expired(format!("too old resource version: {wanted} ({oldest})"))
    }

    /// 413: the body is too big.
    pub fn too_large(most: usize) -> Self {
        let message = format!("Request entity too large: limit is {most}");
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 429: come back later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::plain(429, "TooManyRequests", message);
        error.details.retry_after_seconds = Some(retry_after_seconds);
        error
    }

    /// 504: a version from the future was asked for.
    pub fn version_too_large(wanted: i64, current: i64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let mut error = Self::plain(504, "Timeout", format!("Timeout: {message}"));
        error.details.retry_after_seconds = Some(1);
        error.details.causes =
            vec![Cause::new("ResourceVersionTooLarge", "", "Too large resource version".to_owned())];
        error
    }

    /// 504: it took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        let mut error = Self::plain(504, "Timeout", format!("Timeout: {}", message.into()));
        error.details.retry_after_seconds = Some(1);
        error
    }

    /// 503: not now, for instance because the database is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut error = Self::plain(503, "ServiceUnavailable", message);
        error.details.retry_after_seconds = Some(1);
        error
    }

    /// 500: our fault. The message is for the client: no paths, no SQL.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut error = Self::plain(500, "InternalError", format!("Internal error occurred: {message}"));
        error.details.causes = vec![Cause { reason: "", message, field: String::new() }];
        error
    }

    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default() }
    }

    fn about(code: u16, reason: &'static str, message: String, kind: &Kind, name: &str) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.plural.clone(),
            ..Details::default()
        };
        Self { code, reason, message, details: Box::new(details) }
    }

    /// The `Status` object of the answer.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.reason.is_empty()
            && let Some(status) = status.as_object_mut()
        {
            status.remove("reason");
        }
        let details = self.details.json();
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status
    }
}

impl Details {
    fn json(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (key, text) in texts {
            if !text.is_empty() {
                details.insert(key.to_owned(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            details.insert("causes".to_owned(), self.causes.iter().map(cause_json).collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        details
    }
}

fn cause_json(cause: &Cause) -> Value {
    let texts = [("reason", cause.reason), ("message", &cause.message), ("field", &cause.field)].into_iter();
    texts.filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), json!(text))).collect()
}

/// The `Status` of something that went well, as DELETE answers it.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: kind.group.clone(),
        kind: kind.plural.clone(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.json(),
    })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, self.status().to_string()).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.details.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == 401 {
            let bearer = HeaderValue::from_static("Bearer realm=\"tagwarden\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
