//! Bodies of requests.

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;

use super::json;
use crate::kind::{FieldValidation, Kind};
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

/// A JSON object from a body.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) value: Value,
    /// The paths of keys that came twice.
    duplicates: Vec<String>,
}

/// The JSON object in a body.
pub(super) fn object(content_type: Option<&str>, body: &[u8]) -> Result<Sent, ApiError> {
    only_json(content_type)?;
    let (value, duplicates) = json::read(body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is not JSON: {error}")))?;
    if value.is_object() {
        Ok(Sent { value, duplicates })
    } else {
        Err(ApiError::bad_request("the body of the request is JSON, and not an object"))
    }
}

impl Sent {
    /// The object as one of this kind, with warnings; 400 for what is none, or not strictly one when that is asked.
    pub(super) fn decode(
        mut self,
        kind: &Kind,
        unknown: FieldValidation,
    ) -> Result<(Value, Vec<String>), ApiError> {
        if self.duplicates.is_empty() || unknown == FieldValidation::Ignore {
            let warnings = kind.decode(&mut self.value, unknown)?;
            return Ok((self.value, warnings));
        }
        let mut warnings: Vec<String> =
            self.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        warnings.extend(kind.decode(&mut self.value, FieldValidation::Warn)?);
        if unknown == FieldValidation::Strict {
            return Err(ApiError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                warnings.join(", ")
            )));
        }
        Ok((self.value, warnings))
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
