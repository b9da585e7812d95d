//! The record of who asked what.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::error::AskError;

/// What a port answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, AskError>>;

/// One call, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it began.
    pub at: Timestamp,
    /// Ties it to the log.
    pub correlation_id: String,
    /// Who called.
    pub principal: String,
    /// For which tenant.
    pub tenant: String,
    /// How they came: `stdio`, `mcp` or `rest`.
    pub channel: &'static str,
    /// What they called.
    pub operation: String,
    /// `sha256:…` over the arguments as they came.
    pub arguments_digest: String,
    /// The arguments, without what may be secret, and bounded.
    pub arguments: String,
    /// `ok`, or the word of an error.
    pub status: String,
    /// How long it took.
    pub duration: Duration,
    /// What came of it, in a few words.
    pub summary: String,
}

/// The record of who called what. Rows are only ever added.
pub trait AuditRows: Send + Sync + 'static {
    /// Adds a row.
    fn append<'a>(&'a self, row: &'a AuditRow) -> Answer<'a, ()>;

    /// The newest rows of a tenant, at most 1000.
    fn newest<'a>(&'a self, tenant: &'a str, limit: usize) -> Answer<'a, Vec<AuditRow>>;
}
