//! Bodies of requests.

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;

use crate::status::ApiError;

/// The most bytes of a body. An object may be half of it; a patch of it may say everything twice.
pub(super) const MAX_BODY: usize = 3 * 1024 * 1024;

/// The body, if it is not too large.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.downcast_ref::<http_body_util::LengthLimitError>().is_some());
        if too_large {
            ApiError::too_large(MAX_BODY)
        } else {
            ApiError::bad_request("the body ended before it was complete")
        }
    })
}

/// The JSON object in a body.
pub(super) fn object(content_type: Option<&str>, body: &[u8]) -> Result<Value, ApiError> {
    only_json(content_type)?;
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is not JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(ApiError::bad_request("the body of the request is JSON, and not an object"))
    }
}

fn only_json(content_type: Option<&str>) -> Result<(), ApiError> {
    let essence = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    match essence {
        "application/json" | "" => Ok(()),
        other => Err(ApiError::unsupported_media_type(format!(
            "the body of the request was in an unknown format ({other}); accepted media types include: \
             application/json"
        ))),
    }
}
