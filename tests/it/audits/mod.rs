//! Audits from object to report: on the embedded control plane and on a real API server, with replicas that are
//! killed, over a cloud in memory whose every resource is known.

mod processes;
mod scenarios;
mod world;
