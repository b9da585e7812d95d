//! What others say of the MCP server: the official conformance suites, the Inspector, a bridge, and the packer of bundles.
//!
//! All of them are pinned in `tests/mcp-node`. What they judge is the program itself, and [`fixture`]: a handler with what
//! the suites look for, on the program's own gate and transport.

mod bundle;
mod clients;
mod conformance;
mod fixture;
pub mod page;
