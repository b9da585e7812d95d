//! All integration tests, in one binary: it links once, and shares its servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arrows;
mod fuzz;
mod tidy;
