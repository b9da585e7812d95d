//! What was looked at, and what could not be: one cell for every (account, region, type) in scope.

use std::fmt;
use std::sync::Arc;

use crate::account::AccountId;

/// Stands for every region or every type where an account, or a region of it, could not be entered at all.
pub const ANY: &str = "*";

/// How well a cell could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CellState {
    /// Listed to the end, all tags read.
    Complete,
    /// Only resources that carry, or once carried, a tag could be seen.
    TaggedOnly,
    /// The credentials may not list, or may not read tags.
    Denied,
    /// Rate limits held after all retries.
    Throttled,
    /// Nothing came within the time allowed.
    TimedOut,
    /// Cannot be listed here: no lister for the type, or the region or service is not available.
    Unsupported,
    /// Anything else that went wrong.
    Failed,
    /// The scan was stopped first.
    Interrupted,
}

impl CellState {
    /// All states, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Complete,
        Self::TaggedOnly,
        Self::Denied,
        Self::Throttled,
        Self::TimedOut,
        Self::Unsupported,
        Self::Failed,
        Self::Interrupted,
    ];

    /// The word used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::TaggedOnly => "tagged_only",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::TimedOut => "timed_out",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether something in the cell may have gone unseen.
    pub fn is_gap(self) -> bool {
        self != Self::Complete
    }
}

impl fmt::Display for CellState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why something could not be (fully) seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Any state but [`CellState::Complete`].
    pub state: CellState,
    /// For people: what happened and, where known, what to do. At most a few hundred characters.
    pub cause: String,
}

/// The coverage of one (account, region, type).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The account.
    pub account_id: AccountId,
    /// The region, `global`, or [`ANY`].
    pub region: Arc<str>,
    /// The name of the type, or [`ANY`].
    pub resource_type: Arc<str>,
    /// How well it was seen.
    pub state: CellState,
    /// Resources that were seen, whether in scope of the policy or not.
    pub resources: u64,
    /// The cause of a gap.
    pub cause: Option<String>,
}
