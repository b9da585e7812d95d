//! All integration tests, in one binary: it links once, and shares its servers.

mod arrows;
mod cloud;
mod entering;
mod faults;
mod fuzz;
mod pace;
mod paging;
mod program;
mod regressions;
mod site;
mod tidy;
