//! All integration tests, in one binary: it links once, and shares its servers.

mod arrows;
mod cloud;
mod faults;
mod fuzz;
mod paging;
mod program;
mod regressions;
mod site;
mod tidy;
