//! All integration tests, in one binary: it links once, and shares its servers.

mod arrows;
mod bad_input;
mod cloud;
mod differential;
mod faults;
mod formats;
mod fuzz;
mod history;
mod paging;
mod program;
mod regressions;
mod site;
mod tidy;
