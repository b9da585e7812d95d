//! Why a policy is refused, and what is worth knowing about one that is not.

use std::fmt;

/// One thing that makes a policy unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct PolicyError {
    /// The field, as its author spells it: `spec.requiredTags[2].values.regex`. `spec` for the whole.
    pub path: String,
    /// What kind of thing, for conditions.
    pub reason: Reason,
    /// For people: the offending value, what is wrong with it, what to do. One line.
    pub message: String,
}

/// What kind of thing is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Rules that cannot all be kept, or a rule that nothing can satisfy.
    Conflict,
    /// The same key twice.
    DuplicateKey,
    /// The same exemption name twice.
    DuplicateName,
    /// A list of allowed values without a value.
    EmptyAllowed,
    /// Not an account id.
    InvalidAccount,
    /// A pattern that no ARN matches.
    InvalidArn,
    /// A regular expression that cannot be used.
    InvalidRegex,
    /// A pattern that no region matches.
    InvalidRegion,
    /// A choice of accounts, tags or resources that makes no sense.
    InvalidSelector,
    /// Not the expected shape at all.
    Malformed,
    /// Too many, too long, too large or too small.
    OutOfRange,
    /// Something that must be given is not.
    Required,
    /// A key that belongs to AWS.
    ReservedKey,
    /// No such resource type.
    UnknownType,
}

impl Reason {
    /// The word used in conditions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::DuplicateKey => "DuplicateKey",
            Self::DuplicateName => "DuplicateName",
            Self::EmptyAllowed => "EmptyAllowed",
            Self::InvalidAccount => "InvalidAccount",
            Self::InvalidArn => "InvalidArn",
            Self::InvalidRegex => "InvalidRegex",
            Self::InvalidRegion => "InvalidRegion",
            Self::InvalidSelector => "InvalidSelector",
            Self::Malformed => "Malformed",
            Self::OutOfRange => "OutOfRange",
            Self::Required => "Required",
            Self::ReservedKey => "ReservedKey",
            Self::UnknownType => "UnknownType",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Something about a policy that works, but should be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWarning {
    /// The field, as its author spells it.
    pub path: String,
    /// For people, one line.
    pub message: String,
}

impl fmt::Display for PolicyWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// What was noticed so far, bounded: a file of mistakes is not worth a megabyte of messages.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) errors: Vec<PolicyError>,
    pub(super) warnings: Vec<PolicyWarning>,
}

const MAX_NOTES: usize = 100;

impl Notes {
    pub(super) fn refuse(&mut self, path: impl Into<String>, reason: Reason, message: impl Into<String>) {
        if self.errors.len() < MAX_NOTES {
            self.errors.push(PolicyError { path: path.into(), reason, message: message.into() });
        }
    }

    pub(super) fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.warnings.len() < MAX_NOTES {
            self.warnings.push(PolicyWarning { path: path.into(), message: message.into() });
        }
    }

    /// Refuses a text that is longer than `max` characters.
    pub(super) fn bound(&mut self, path: &str, text: &str, max: usize) -> bool {
        let length = text.chars().count();
        if length > max {
            self.refuse(
                path,
                Reason::OutOfRange,
                format!("has {length} characters; at most {max} are possible"),
            );
        }
        length <= max
    }

    /// Refuses a list of more than `max` entries.
    pub(super) fn bound_list<T>(&mut self, path: &str, list: &[T], max: usize) -> bool {
        if list.len() > max {
            let count = list.len();
            self.refuse(path, Reason::OutOfRange, format!("has {count} entries; at most {max} are possible"));
        }
        list.len() <= max
    }
}
