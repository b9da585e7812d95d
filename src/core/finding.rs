//! What can be wrong with the tags of a resource.

mod message;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// How much a finding matters. Ordered from the most to the least severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// `critical`
    Critical,
    /// `high`: the default of required and forbidden tags.
    High,
    /// `medium`
    Medium,
    /// `low`: the default of optional tags and naming rules.
    Low,
    /// `info`
    Info,
}

impl Severity {
    /// All severities, the most severe first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The word used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

/// What kind of rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationType {
    /// A required tag is absent, or its value is empty or blank.
    MissingRequiredTag,
    /// The value is not one of those allowed.
    InvalidValue,
    /// The value breaks the regular expression, the length or the case rule.
    InvalidFormat,
    /// The key is there, spelled in another case.
    WrongCase,
    /// The key must not be used.
    ForbiddenTag,
    /// The key or the value breaks a naming rule.
    NamingRule,
}

impl ViolationType {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::MissingRequiredTag,
        Self::InvalidValue,
        Self::InvalidFormat,
        Self::WrongCase,
        Self::ForbiddenTag,
        Self::NamingRule,
    ];

    /// The word used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingRequiredTag => "missing_required_tag",
            Self::InvalidValue => "invalid_value",
            Self::InvalidFormat => "invalid_format",
            Self::WrongCase => "wrong_case",
            Self::ForbiddenTag => "forbidden_tag",
            Self::NamingRule => "naming_rule",
        }
    }
}

/// Whether a finding counts against the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    /// Makes the resource non-compliant, unless it is exempt.
    Violation,
    /// Listed, never counted: optional tags, naming rules, folded key case.
    Advice,
}

impl FindingKind {
    /// The word used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Advice => "advice",
        }
    }
}

/// An exemption that covers a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempted {
    /// The name of the exemption in the policy.
    pub by: Arc<str>,
    /// When it ends; `None` for one without an end.
    pub until: Option<Timestamp>,
}

/// One thing wrong with one tag of one resource. The resource is known from the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Counts, or is advice.
    pub kind: FindingKind,
    /// Which rule was broken.
    pub violation_type: ViolationType,
    /// How much it matters, as the rule says.
    pub severity: Severity,
    /// The key of the rule; for `forbidden_tag` and `naming_rule` the key found on the resource.
    pub tag_key: Arc<str>,
    /// The value found; for `wrong_case` the key found.
    pub current_value: Option<Box<str>>,
    /// The values that would be accepted, as the policy spells them.
    pub allowed_values: Option<Arc<[Arc<str>]>>,
    /// What the value, or for naming rules the key, should look like, in words or as a regular expression.
    pub expected_format: Option<Arc<str>>,
    /// Set where an exemption in force covers this finding; it is then listed, not counted.
    pub exempted: Option<Exempted>,
}

impl Finding {
    /// Whether it makes its resource non-compliant.
    pub fn counts(&self) -> bool {
        self.kind == FindingKind::Violation && self.exempted.is_none()
    }
}

macro_rules! word {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_word(text).ok_or_else(|| UnknownWord(text.to_owned()))
            }
        }
    )*};
}
word!(Severity, ViolationType);

impl Severity {
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.as_str() == text)
    }
}

impl ViolationType {
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.as_str() == text)
    }
}

/// A word that is no severity or violation type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not known here")]
pub struct UnknownWord(pub String);
