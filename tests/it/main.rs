//! All integration tests, in one binary: it links once, and shares its servers.

// All of it is test code, also what is not a test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
// What these advise makes tests longer, not clearer.
#![allow(clippy::similar_names, clippy::naive_bytecount, clippy::format_collect)]

mod accounts;
mod arrows;
mod audits;
mod bad_input;
mod chart;
mod client_role;
mod cloud;
mod conformance;
mod controller;
mod demo;
mod differential;
mod docs;
mod entering;
mod faults;
mod formats;
mod fuzz;
mod gitops;
mod history;
mod http;
mod kubectl;
mod lease;
mod manifests_dir;
mod mcp;
mod mcp_oracles;
mod pace;
mod packaging;
mod paging;
mod program;
mod rbac;
mod regressions;
mod reliability;
mod run;
mod settings;
mod site;
mod tidy;
mod wire;
mod workflows;
