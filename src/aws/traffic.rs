//! Counts what is really sent, retries included, by service and operation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use tagwarden_app::ports::Traffic;

use crate::refusal::is_throttle_code;

/// As much of an error's body as is searched for its code.
const ERROR_BODY_BYTES_MAX: usize = 4096;

/// The counter, shared by all clients of a process.
#[derive(Debug, Default)]
pub(crate) struct Counter(Mutex<Traffic>);

impl Counter {
    /// What was counted so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.lock().clone()
    }

    /// The answers that were refusals by a rate limit so far.
    pub(crate) fn throttled(&self) -> u64 {
        self.lock().throttled
    }

    fn lock(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the counter into a client.
#[derive(Debug, Clone)]
pub(crate) struct Counting(pub(crate) std::sync::Arc<Counter>);

#[dyn_dispatch_hint]
impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(metadata) = config.load::<Metadata>() {
            let name = format!("{}.{}", short_name(metadata.service()), metadata.name());
            *self.0.lock().requests.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().is_some_and(is_throttled) {
            self.0.lock().throttled += 1;
        }
        Ok(())
    }
}

fn short_name(service: &str) -> String {
    match service {
        "Resource Groups Tagging API" => "tagging".to_owned(),
        other => other.to_ascii_lowercase().replace(' ', ""),
    }
}

fn is_throttled(response: &HttpResponse) -> bool {
    let status = response.status().as_u16();
    if status < 400 {
        return false;
    }
    let body = response.body().bytes().unwrap_or_default();
    let start = &body[..body.len().min(ERROR_BODY_BYTES_MAX)];
    let header = response.headers().get("x-amzn-errortype").unwrap_or_default();
    status == 429 || words(header.as_bytes()).chain(words(start)).any(is_throttle_code)
}

/// The runs of letters in an error body: its code stands between tags, quotes or colons.
fn words(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| !byte.is_ascii_alphabetic()).filter_map(|word| std::str::from_utf8(word).ok())
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn throttled_answers_are_recognised_in_every_protocol() {
        for (status, body, throttled) in [
            (
                503,
                "<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>",
                true,
            ),
            (400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", true),
            (503, "<Error><Code>SlowDown</Code></Error>", true),
            (400, r#"{"__type":"com.amazonaws.ecs#ThrottlingException","message":"Rate exceeded"}"#, true),
            (429, "{}", true),
            (500, "<Error><Code>InternalError</Code></Error>", false),
            (403, r#"{"__type":"AccessDeniedException"}"#, false),
            (200, "<Name>Throttling</Name>", false),
        ] {
            let response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
            assert_eq!(is_throttled(&response), throttled, "{status} {body}");
        }
    }

    #[test]
    fn services_have_short_names() {
        for (long, short) in
            [("EC2", "ec2"), ("Resource Groups Tagging API", "tagging"), ("SSO OIDC", "ssooidc")]
        {
            assert_eq!(short_name(long), short);
        }
    }
}
