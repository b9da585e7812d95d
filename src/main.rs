//! `tagwarden`: the command line. It parses, wires adapters to ports, and renders; what it decides is decided
//! in the rooms below.

mod applier;
mod cli;
mod commands;
mod connection;
mod counted;
#[cfg(test)]
mod documented_tests;
mod first_steps;
mod input;
mod observed;
mod plane;
mod probes;
mod process;
mod progress;
mod reference;
mod render;
mod settings;
mod telemetry;
mod web;
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
    let text = without_codes(text);
    anstream::eprintln!("{}error:{} {text}", render::style::BAD.render(), render::style::BAD.render_reset());
}

/// Without the numbers of the operating system, which stand behind the words that say the same.
fn without_codes(mut text: String) -> String {
    const BEFORE: &str = " (os error ";
    while let Some(start) = text.find(BEFORE) {
        let Some(length) = text[start..].find(')') else { break };
        text.replace_range(start..=start + length, "");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_behind_words_are_left_out() {
        for (text, told) in [
            ("a: No such file or directory (os error 2), b", "a: No such file or directory, b"),
            ("x (os error 2) y (os error 13)", "x y"),
            ("cut (os error 2", "cut (os error 2"),
        ] {
            assert_eq!(super::without_codes(text.to_owned()), told);
        }
    }
}
