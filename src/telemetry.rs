//! The log. A one-shot command keeps quiet unless `TAGWARDEN_LOG_LEVEL` asks; the controller always says what it does.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::settings::{LogFormat, Settings};

/// Below `info` these print whole requests, and with them the ExternalId of every role and the token of every client.
const NOISY: [&str; 9] = [
    "aws_config",
    "aws_runtime",
    "aws_sigv4",
    "aws_smithy_runtime",
    "aws_smithy_http_client",
    "hyper",
    "hyper_util",
    "kube_client",
    "tower",
];

/// For one-shot commands: to stderr, and only what the variable asks for (`debug`, `tagwarden_aws=trace` …).
pub fn of_command() {
    if let Ok(filter) = EnvFilter::try_from_env("TAGWARDEN_LOG_LEVEL") {
        let Some(filter) = quiet(filter) else { return };
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init();
    }
}

/// For the controller: to stderr, one line for an event, with the fields of the spans around it: the controller, the
/// object, the reconcile id, the run.
pub fn of_controller(settings: &Settings) {
    let filter = EnvFilter::builder().parse_lossy(settings.log_level.directives());
    let Some(filter) = quiet(filter) else { return };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(true).init()
        }
    }
}

/// The filter with an upper limit for those who tell too much; `None` where that cannot be made sure.
fn quiet(mut filter: EnvFilter) -> Option<EnvFilter> {
    for noisy in NOISY {
        filter = filter.add_directive(format!("{noisy}=info").parse().ok()?);
    }
    Some(filter)
}
