//! The log. A one-shot command keeps quiet unless `TAGWARDEN_LOG_LEVEL` asks; the controller always says what it does.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, Settings};

/// How the names of the crates begin that print whole requests and answers below `info`, and with them the
/// `ExternalId` of a role, the token of a client, or the tags of a resource.
const TALKATIVE: [&str; 5] = ["aws_", "hyper", "kube_client", "rmcp", "tower"];

/// For one-shot commands: to stderr, and only what the variable asks for (`debug`, `tagwarden_aws=trace` …).
pub fn of_command() {
    if let Ok(filter) = EnvFilter::try_from_env("TAGWARDEN_LOG_LEVEL") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .finish()
            .with(harmless())
            .init();
    }
}

/// For the controller: to stderr, one line for an event, with the fields of the spans around it: the controller, the
/// object, the reconcile id, the run.
pub fn of_controller(settings: &Settings) {
    let filter = EnvFilter::builder().parse_lossy(settings.log_level.directives());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    match settings.log_format {
        LogFormat::Text => {
            let text = log.with_ansi(std::io::stderr().is_terminal()).with_target(false);
            text.finish().with(harmless()).init();
        }
        LogFormat::Json => {
            let json = log.json().flatten_event(true).with_current_span(false).with_span_list(true);
            json.finish().with(harmless()).init();
        }
    }
}

/// An upper limit for those who tell too much. It stands beside the directives, so that none of them, however precise,
/// lifts it.
fn harmless() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| is_harmless(metadata.target(), *metadata.level()))
}

fn is_harmless(target: &str, level: Level) -> bool {
    level <= Level::INFO || !TALKATIVE.iter().any(|crates| target.starts_with(crates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_never_logged() {
        for (target, level, expected) in [
            ("tagwarden_aws::session", Level::TRACE, true),
            ("aws_config::sts", Level::INFO, true),
            ("aws_config::sts", Level::DEBUG, false),
            ("aws_smithy_runtime::client::orchestrator", Level::TRACE, false),
            ("aws_sdk_sts::operation::assume_role", Level::DEBUG, false),
            ("hyper_util::client::legacy::pool", Level::TRACE, false),
            ("hyper::proto", Level::WARN, true),
            ("kube_client::client", Level::DEBUG, false),
        ] {
            assert_eq!(is_harmless(target, level), expected, "{target} {level}");
        }
    }
}
