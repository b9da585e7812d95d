//! All integration tests, in one binary: it links once, and shares its servers.

// All of it is test code, also what is not a test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod arrows;
mod bad_input;
mod cloud;
mod conformance;
mod differential;
mod entering;
mod faults;
mod formats;
mod fuzz;
mod history;
mod kubectl;
mod pace;
mod paging;
mod program;
mod regressions;
mod reliability;
mod settings;
mod site;
mod tidy;
