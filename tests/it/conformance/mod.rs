//! One suite for every API server that Tagwarden runs against: the embedded control plane in its three forms, and a
//! real kube-apiserver, which proves each assertion itself.
//!
//! - [`table`]: some hundred requests, told as data in `tests/cases/conformance`, whose answers by the real server
//!   are recorded in `tests/golden`; every target has to give the same ones, but for what `allowed.yaml` excuses.
//! - [`rules`]: what a controller builds on, one test a rule and target.

mod allowed;
mod compare;
mod normal;
mod page;
mod probe;
mod reply;
mod rules;
mod table;
pub mod target;
