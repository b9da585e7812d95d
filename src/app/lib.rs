//! What Tagwarden does: use cases over ports. The ports hide every SDK; the use cases own bounds, timeouts and
//! concurrency, and leave every judgement to the core.

pub mod ask;
pub mod audit;
pub mod keys;
pub mod onboard;
pub mod ports;
pub mod scan;
