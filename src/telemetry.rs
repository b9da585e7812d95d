//! Logs: on stderr, and only when `TAGWARDEN_LOG` asks for them (`debug`, `tagwarden_aws=trace` …).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging.
pub fn start() {
    if let Ok(filter) = EnvFilter::try_from_env("TAGWARDEN_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .finish()
            .with(filter_fn(|metadata| is_harmless(metadata.target(), *metadata.level())))
            .init();
    }
}

/// Whether what a module says at a level can hold no secret. Below `info` the AWS SDK and the HTTP client print requests
/// and answers, in which the `ExternalId` of a role or the tags of a client may stand; no directive, however precise,
/// brings that back.
fn is_harmless(target: &str, level: tracing::Level) -> bool {
    let talkative = target.starts_with("aws_") || target.starts_with("hyper");
    !talkative || level <= tracing::Level::INFO
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::is_harmless;

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
        ] {
            assert_eq!(is_harmless(target, level), expected, "{target} {level}");
        }
    }
}
