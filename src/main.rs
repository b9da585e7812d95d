//! `tagwarden`: the command line. It parses, wires adapters to ports, and renders; what it decides is decided
//! in the rooms below.

mod cli;
mod commands;
mod input;
mod progress;
mod render;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Failure;

fn main() -> ExitCode {
    let arguments = match cli::Cli::try_parse() {
        Ok(arguments) => arguments,
        // Help and version are answers, everything else is a mistake in the flags.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { commands::USAGE } else { 0 });
        }
    };
    telemetry();
    match commands::run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(commands::USAGE)
        }
    }
}

/// Prints the failure and what caused it, each once.
fn report(failure: &Failure) {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    anstream::eprintln!("{}error:{} {text}", render::style::BAD.render(), render::style::BAD.render_reset());
}

/// Logs go to stderr, and only when `TAGWARDEN_LOG` asks for them (`debug`, `tagwarden_aws=trace` …).
fn telemetry() {
    use std::io::IsTerminal;

    use tracing_subscriber::EnvFilter;
    if let Ok(mut filter) = EnvFilter::try_from_env("TAGWARDEN_LOG") {
        // Below `info` these print whole requests, and with them the ExternalId of every role.
        for noisy in [
            "aws_config",
            "aws_runtime",
            "aws_sigv4",
            "aws_smithy_runtime",
            "aws_smithy_http_client",
            "hyper",
        ] {
            filter = match format!("{noisy}=info").parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => return,
            };
        }
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init();
    }
}
