//! GET of one object.

use http::StatusCode;

use super::{Answer, Api, Call, reply};
use crate::status::ApiError;

pub(super) async fn get(api: &Api, call: &Call) -> Answer {
    // Whatever version is asked for, the newest is at least that new.
    if let Some(version) = call.params.version()? {
        let current = api.store.versions().await?.current;
        if version > current {
            return Err(ApiError::version_too_large(version, current));
        }
    }
    let row = api.store.get(&call.key()).await?;
    let row = row.ok_or_else(|| ApiError::not_found(call.kind(), call.name()))?;
    reply::whole(&row.body)?;
    reply::object(call, StatusCode::OK, &row.body, &[])
}
