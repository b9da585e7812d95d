//! What the proxy sends: whole answers, and the errors of every protocol.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use quick_xml::escape::escape;
use serde_json::json;

use super::call::Protocol;
use super::rule::Fault;

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers, body: body.into() }
    }

    /// The same answer with another body.
    pub(super) fn with_body(&self, body: impl Into<Bytes>) -> Self {
        Self { status: self.status, headers: self.headers.clone(), body: body.into() }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An error as the protocol writes it.
pub(super) fn error(protocol: Protocol, status: u16, code: &str, message: &str) -> Answer {
    const XML: &str = "text/xml;charset=UTF-8";
    const ID: &str = "00000000-0000-4000-8000-000000000000";
    let (escaped_code, escaped) = (escape(code), escape(message));
    let detail = format!("<Code>{escaped_code}</Code><Message>{escaped}</Message>");
    match protocol {
        Protocol::Ec2 => Answer::new(
            status,
            XML,
            format!(
                "<Response><Errors><Error>{detail}</Error></Errors><RequestID>{ID}</RequestID></Response>"
            ),
        ),
        Protocol::Query => Answer::new(
            status,
            XML,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type>{detail}</Error><RequestId>{ID}</RequestId></ErrorResponse>"
            ),
        ),
        Protocol::S3 => Answer::new(
            status,
            "application/xml",
            format!("<Error>{detail}<RequestId>{ID}</RequestId></Error>"),
        ),
        Protocol::Json => {
            let body = json!({ "__type": code, "message": message }).to_string();
            with_error_type(Answer::new(status, "application/x-amz-json-1.1", body), code)
        }
        Protocol::RestJson => {
            let body = json!({ "message": message }).to_string();
            with_error_type(Answer::new(status, "application/json", body), code)
        }
    }
}

fn with_error_type(mut answer: Answer, code: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(code) {
        answer.headers.insert("x-amzn-errortype", value);
    }
    answer
}

/// The answer that a fault is, for those that are an answer by themselves.
pub(super) fn of_fault(fault: &Fault, protocol: Protocol) -> Option<Answer> {
    let answer = match fault {
        Fault::Error { status, code, message } => error(protocol, *status, code, message),
        Fault::Throttle => {
            let (status, code) = match protocol {
                Protocol::Ec2 => (503, "RequestLimitExceeded"),
                Protocol::Query => (400, "Throttling"),
                Protocol::S3 => (503, "SlowDown"),
                Protocol::Json => (400, "ThrottlingException"),
                Protocol::RestJson => (429, "TooManyRequestsException"),
            };
            error(protocol, status, code, "Rate exceeded")
        }
        Fault::Deny => {
            let (status, code) = match protocol {
                Protocol::Ec2 => (403, "UnauthorizedOperation"),
                Protocol::Query | Protocol::S3 => (403, "AccessDenied"),
                Protocol::Json => (400, "AccessDeniedException"),
                Protocol::RestJson => (403, "AccessDeniedException"),
            };
            error(protocol, status, code, "You are not authorized to perform this operation.")
        }
        Fault::ExpireCredentials => {
            let (status, code) = match protocol {
                Protocol::Ec2 => (400, "RequestExpired"),
                Protocol::Query => (403, "ExpiredToken"),
                Protocol::S3 => (400, "ExpiredToken"),
                Protocol::Json => (400, "ExpiredTokenException"),
                Protocol::RestJson => (403, "ExpiredTokenException"),
            };
            error(protocol, status, code, "The security token included in the request is expired")
        }
        Fault::ExpireToken => {
            let code = match protocol {
                Protocol::Ec2 => "InvalidNextToken",
                Protocol::Query => "InvalidParameterValue",
                Protocol::S3 => "InvalidArgument",
                Protocol::Json => "PaginationTokenExpiredException",
                Protocol::RestJson => "InvalidParameterValueException",
            };
            error(protocol, 400, code, "The pagination token has expired or is invalid")
        }
        Fault::Answer { status, content_type, body } => Answer::new(*status, content_type, body.clone()),
        Fault::Repage { .. }
        | Fault::Drop
        | Fault::Delay(_)
        | Fault::BreakBody
        | Fault::TruncateBody { .. } => {
            return None;
        }
    };
    Some(answer)
}

/// The refusal of a region that the account has not enabled.
pub(super) fn region_disabled(protocol: Protocol) -> Answer {
    let (status, code) = match protocol {
        Protocol::Ec2 => (401, "AuthFailure"),
        Protocol::Query => (403, "InvalidClientTokenId"),
        Protocol::S3 => (403, "InvalidAccessKeyId"),
        Protocol::Json => (400, "UnrecognizedClientException"),
        Protocol::RestJson => (403, "UnrecognizedClientException"),
    };
    error(protocol, status, code, "The security token included in the request is invalid")
}
