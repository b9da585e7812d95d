//! Real servers for tests and for the demo: moto behind a fault proxy, PostgreSQL, and a Kubernetes API server.
//!
//! Everything listens on loopback, on free ports, and ends with the process that started it. A test asks the
//! [`Testbed`] that its process shares for a [`Proxy`] of its own:
//!
//! ```no_run
//! use tagwarden_testbed::{Fault, Rule, Testbed};
//!
//! let proxy = Testbed::shared().proxy();
//! let account = proxy.fresh_account();
//! proxy.rule(Rule::on("rds", "Describe*", Fault::Deny).in_account(&account.id));
//! // … run the program with `proxy.equip(&mut command)` …
//! assert_eq!(proxy.count("rds", "DescribeDBInstances"), 1);
//! ```
//!
//! Nothing here needs an async runtime, and nothing minds being called inside one.

// A testbed that cannot do its part fails the test, at once and loudly.
#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]
// PostgreSQL is a name, not code.
#![allow(clippy::doc_markdown)]

mod cfn_lint;
mod child;
pub mod documents;
pub mod estate;
pub mod faults;
mod go_tools;
mod installed;
pub mod kubernetes;
mod kubernetes_audit;
pub mod manifests;
mod mcp_sdk;
pub mod moto;
pub mod node;
mod packages;
pub mod postgres;
mod python;
mod schemathesis;
pub mod tools;

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;

pub use cfn_lint::cfn_lint;
pub use estate::{Estate, Question, TrueResource, Truth};
pub use faults::{AMBIENT_ACCOUNT, Account, Call, Fault, Proxy, REGIONS, Rule};
pub use kubernetes::Kubernetes;
pub use kubernetes_audit::{Asked, Requests};
pub use mcp_sdk::{MODES as MCP_MODES, mcp_session, mcp_session_at};
pub use moto::Moto;
pub use postgres::Postgres;
pub use schemathesis::schemathesis;

/// The simulator that all tests of a process share. They keep apart by using accounts of their own.
#[derive(Debug)]
pub struct Testbed {
    moto: Moto,
}

impl Testbed {
    /// The testbed of this process, started when first asked for.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Testbed> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The PostgreSQL of this process, started when first asked for. Each test uses a
    /// [fresh database](Postgres::fresh_database).
    #[track_caller]
    pub fn postgres() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start().unwrap_or_else(|error| panic!("{}", chain(&error))))
    }

    /// The Kubernetes API server of this process, started when first asked for. Each test uses a namespace of its
    /// own; those that [restart](Kubernetes::restart) it start their own instead.
    #[track_caller]
    pub fn kubernetes() -> &'static Kubernetes {
        static SHARED: OnceLock<Kubernetes> = OnceLock::new();
        SHARED.get_or_init(|| Kubernetes::start().unwrap_or_else(|error| panic!("{}", chain(&error))))
    }

    /// A simulator of its own, for tests that count what is in the ambient account.
    #[track_caller]
    pub fn start() -> Self {
        Self { moto: Moto::start().unwrap_or_else(|error| panic!("{}", chain(&error))) }
    }

    /// The simulator, without the proxy in front.
    pub fn moto(&self) -> &Moto {
        &self.moto
    }

    /// A new proxy in front of the simulator.
    #[track_caller]
    pub fn proxy(&self) -> Proxy {
        Proxy::start(self.moto.address()).expect("a loopback port is free")
    }

    /// Makes an estate. Gives its truth and the file that holds it.
    #[track_caller]
    pub fn seed(&self, estate: &Estate<'_>) -> (Truth, PathBuf) {
        let out =
            self.moto.directory().join(format!("truth-{}-{}.json", estate.accounts.join("-"), estate.seed));
        let truth =
            estate::seed(&self.moto, estate, &out).unwrap_or_else(|error| panic!("{}", chain(&error)));
        (truth, out)
    }

    /// What a scan should print, by the independent reader.
    #[track_caller]
    pub fn read(&self, question: &Question<'_>) -> Value {
        estate::read(&self.moto, question).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// What a scan should print, computed from a truth file.
    #[track_caller]
    pub fn expect(&self, truth: &std::path::Path, question: &Question<'_>) -> Value {
        estate::expect(&self.moto, truth, question).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }
}

/// An error with all its causes, in one line each.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
