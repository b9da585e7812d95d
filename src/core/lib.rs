//! The domain of Tagwarden, pure and synchronous: what a tagging policy says, what a resource is, and what
//! the one makes of the other.
//!
//! Nothing in here does I/O, reads a clock or the environment, or knows how resources are obtained. Time, ids
//! and randomness are arguments, so every result can be repeated from its inputs, and a function here can fail
//! only because of what it was given.

pub mod account;
pub mod arn;
pub mod coverage;
pub mod duration;
pub mod finding;
mod glob;
pub mod iam;
pub mod intern;
pub mod judge;
pub mod listing;
pub mod onboarding;
pub mod policy;
mod region;
pub mod registry;
pub mod report;
pub mod resource;
pub mod run;
pub mod schedule;
pub mod scope;
pub mod tally;
pub mod text;
