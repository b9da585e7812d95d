//! Why a question has no answer: one shape for agents and scripts, that says what to do next.

use std::time::Duration;

use super::principal::Scope;
use crate::audit::ports::RunsError;

/// What kind of refusal, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The question makes no sense as it stands.
    InvalidInput,
    /// There is no such thing for this tenant.
    NotFound,
    /// The asker lacks a scope.
    Forbidden,
    /// It cannot be done in the state that things are in.
    Conflict,
    /// There is no such tool.
    UnknownTool,
    /// Too much in too short a time.
    RateLimited,
    /// The calls of this hour are used up.
    BudgetExhausted,
    /// The same call again and again.
    LoopDetected,
    /// It took too long.
    Timeout,
    /// The asker does not want it any more, or may not have it any more.
    Cancelled,
    /// Something that is needed does not work now.
    Unavailable,
    /// Our mistake.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::InvalidInput,
        Self::NotFound,
        Self::Forbidden,
        Self::Conflict,
        Self::UnknownTool,
        Self::RateLimited,
        Self::BudgetExhausted,
        Self::LoopDetected,
        Self::Timeout,
        Self::Cancelled,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::Forbidden => "insufficient_scope",
            Self::Conflict => "conflict",
            Self::UnknownTool => "unknown_tool",
            Self::RateLimited => "rate_limited",
            Self::BudgetExhausted => "budget_exhausted",
            Self::LoopDetected => "loop_detected",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why a question has no answer. Names no secret, no path, and nothing of another tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AskError {
    /// What kind.
    pub code: Code,
    /// What happened, with the offending value.
    pub message: String,
    /// What to do next.
    pub fix: String,
    /// When to try again, where that can help.
    pub retry_after: Option<Duration>,
}

impl AskError {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: fix.into(), retry_after: None }
    }

    /// The question makes no sense as it stands.
    pub fn invalid(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message, fix)
    }

    /// There is no such thing for this tenant; whether another has it is not told.
    pub fn not_found(what: &str, name: &str, fix: impl Into<String>) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} {}", quoted(name)), fix)
    }

    /// The asker lacks this scope.
    pub fn forbidden(scope: Scope) -> Self {
        Self::new(
            Code::Forbidden,
            format!("this needs the scope {scope}"),
            format!("use a key or token with the scope {scope}"),
        )
    }

    /// Something that is needed does not work now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(10)),
            ..Self::new(
                Code::Unavailable,
                message,
                "try again in a few seconds; the log of the server says more",
            )
        }
    }

    /// Our mistake. What it was is for the log, not for the asker.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a question could not be answered");
        Self::new(
            Code::Internal,
            "the server failed to answer",
            "report this; the log of the server says more",
        )
    }

    /// With the time after which to try again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<RunsError> for AskError {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::NotFound(run) => Self::not_found("run", &run, "take a run_id that an answer gave"),
            RunsError::Superseded(run) => {
                Self::new(Code::Conflict, format!("run {} has ended", quoted(&run)), "ask for its results")
            }
            RunsError::Unavailable(cause) => {
                tracing::warn!(cause, "the store does not work");
                Self::unavailable("the store of results does not answer")
            }
            RunsError::Refused(cause) => Self::internal(&cause),
        }
    }
}

/// A text of somebody else in backquotes: on one line, without control characters, and not too long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(80)
        .map(|symbol| if symbol.is_control() || symbol == '`' { '\u{fffd}' } else { symbol })
        .collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\n`b"), "`a\u{fffd}\u{fffd}b`");
        assert_eq!(quoted(&"x".repeat(200)).chars().count(), 83);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
