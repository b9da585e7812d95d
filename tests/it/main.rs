//! All integration tests, in one binary: it links once, and shares its servers.

mod arrows;
mod fuzz;
mod tidy;
