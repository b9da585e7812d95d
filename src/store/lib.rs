//! The store: past runs, their counts, their coverage and their findings, in SQLite or PostgreSQL.
//!
//! One set of SQL texts serves both databases; `connection.rs` is the only file that knows which one is
//! underneath. Every row, key and query carries its tenant, so what belongs to another tenant is simply not found.
//! Findings stream in through a [`RunRecorder`] and out page by page, so memory never grows with the estate, and
//! a run shows results only once its report is in. The store reads no clock: every instant is an argument.

mod audits;
mod bulk;
mod checkpoint;
mod connection;
mod error;
mod finding_row;
mod history;
mod invocations;
mod keys;
mod ledger;
mod location;
mod migrations;
mod pulse;
mod record;
mod results;
mod retention;
mod stream;
mod text;

#[cfg(test)]
mod tests;

pub use audits::{AccountRecorder, AuditRuns};
pub use connection::Store;
pub use error::StoreError;
pub use history::{RunCursor, RunFilter, RunResults, RunSummary};
pub use record::{RunRecorder, RunStart};
pub use results::{FindingFilter, FindingsPage, MAX_PAGE, RunCounts};
pub use retention::{Abandoned, Pruned, Retention};
pub use tagwarden_core::run::RunState;
