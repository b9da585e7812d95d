//! What a client is told that does not get what it asked for: one shape for everything, that says what to do next.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use tagwarden_app::ask::{AskError, Code, Scope};

/// An error, as clients get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Error")]
pub struct ErrorBody {
    /// What kind of error, in one word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub fix: String,
    /// After how many seconds to try again, where that can help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// An error with what HTTP has to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status of the answer.
    pub status: StatusCode,
    /// What it says.
    pub body: ErrorBody,
    /// The `WWW-Authenticate` header, where authentication is the matter.
    pub challenge: Option<String>,
}

impl Fault {
    /// An error of this status.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        let body =
            ErrorBody { code: code.to_owned(), message: message.into(), fix: fix.into(), retry_after: None };
        Self { status, body, challenge: None }
    }

    /// With the time after which to try again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        // A moment too late rather than too early.
        self.body.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Nobody showed who they are (RFC 6750, section 3: no error code then).
    pub fn nobody() -> Self {
        let fault = Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this needs an API key",
            "send the header `Authorization: Bearer tw_…`; `tagwarden keys create` makes a key",
        );
        Self { challenge: Some(format!("{REALM}, scope=\"{}\"", Scope::TagRead)), ..fault }
    }

    /// A key that opens nothing. Whether it was wrong, has ended or was revoked is not told.
    pub fn bad_key() -> Self {
        let fault = Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "the API key is not valid: it is wrong, has expired or was revoked",
            "use another key; `tagwarden keys list` shows which are valid",
        );
        let challenge =
            format!("{REALM}, error=\"invalid_token\", error_description=\"{}\"", fault.body.message);
        Self { challenge: Some(challenge), ..fault }
    }

    /// More than one way to say who one is.
    pub fn many_keys() -> Self {
        let fault = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the request has several Authorization headers",
            "send one",
        );
        Self { challenge: Some(format!("{REALM}, error=\"invalid_request\"")), ..fault }
    }

    /// No such route.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::NotFound.as_str(),
            "there is nothing at this path",
            "GET /openapi.json lists what there is",
        )
    }

    /// A route that does not take this method.
    pub fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take this method",
            "GET /openapi.json lists what there is",
        )
    }

    /// It took too long.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            Code::Timeout.as_str(),
            "the answer took too long",
            "ask for less, or try again",
        )
    }

    /// What is asked of does not work yet, or not now.
    pub fn unavailable(message: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable.as_str(),
            message,
            "try again in a few seconds; GET /health says what is the matter",
        )
        .after(Duration::from_secs(5))
    }
}

/// How challenges begin.
const REALM: &str = "Bearer realm=\"tagwarden\"";

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        let status = match error.code {
            Code::InvalidInput => StatusCode::BAD_REQUEST,
            Code::NotFound | Code::UnknownTool => StatusCode::NOT_FOUND,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::Conflict | Code::Cancelled => StatusCode::CONFLICT,
            Code::RateLimited | Code::BudgetExhausted | Code::LoopDetected => StatusCode::TOO_MANY_REQUESTS,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut fault = Self::new(status, error.code.as_str(), error.message, error.fix);
        if let Some(wait) = error.retry_after {
            fault = fault.after(wait);
        }
        fault
    }
}

impl Fault {
    /// A refusal for the lack of a scope, which the challenge names (RFC 6750, section 3.1).
    pub fn lacks(scope: Scope) -> Self {
        let challenge = format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"");
        Self { challenge: Some(challenge), ..AskError::forbidden(scope).into() }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], json(&self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.body.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A value as JSON. Everything that is answered can be written as such.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        b"{}".to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_those_of_the_standard() {
        for (fault, status, challenge) in [
            (Fault::nobody(), 401, "Bearer realm=\"tagwarden\", scope=\"tag:read\""),
            (
                Fault::bad_key(),
                401,
                "Bearer realm=\"tagwarden\", error=\"invalid_token\", error_description=\"the API key is not valid: it \
                 is wrong, has expired or was revoked\"",
            ),
            (
                Fault::lacks(Scope::AuditWrite),
                403,
                "Bearer realm=\"tagwarden\", error=\"insufficient_scope\", scope=\"audit:write\"",
            ),
        ] {
            let response = fault.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["www-authenticate"], challenge);
        }
    }

    #[test]
    fn every_error_has_a_status_of_its_kind() {
        for code in Code::ALL {
            let fault = Fault::from(AskError::new(code, "m", "f").after(Duration::from_millis(1500)));
            assert!(fault.status.is_client_error() || fault.status.is_server_error(), "{code:?}");
            assert_eq!(fault.body.code, code.as_str());
            let response = fault.into_response();
            assert_eq!(response.headers()["retry-after"], "2");
        }
    }
}
