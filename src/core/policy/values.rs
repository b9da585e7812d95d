//! What the value of a tag must be.

use std::sync::Arc;

use crate::glob::Glob;
use crate::text::folded;

use super::draft::ValueCase;
use super::pattern::Pattern;

/// What one value amounts to under one rule. The memo of a judge keeps these as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    Good,
    /// Nothing but space where a value is required.
    Blank,
    NotAllowed,
    BadPattern,
    BadLength,
    BadCase,
}

impl Outcome {
    /// As a byte other than zero.
    pub(crate) const fn to_remember(self) -> u8 {
        self as u8 + 1
    }

    /// The outcome of such a byte.
    pub(crate) const fn remembered(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Good,
            2 => Self::Blank,
            3 => Self::NotAllowed,
            4 => Self::BadPattern,
            5 => Self::BadLength,
            6 => Self::BadCase,
            _ => return None,
        })
    }
}

/// The compiled form of what a value must be.
#[derive(Debug, Clone)]
pub(crate) struct ValueRule {
    allowed: Option<Allowed>,
    pattern: Option<Pattern>,
    case: ValueCase,
    min_length: usize,
    max_length: usize,
    length_words: Arc<str>,
    case_words: Arc<str>,
}

#[derive(Debug, Clone)]
struct Allowed {
    spelled: Arc<[Arc<str>]>,
    globs: Box<[Glob]>,
}

impl ValueRule {
    pub(crate) fn new(
        allowed: Option<&[String]>,
        pattern: Option<Pattern>,
        case: ValueCase,
        min_length: Option<u32>,
        max_length: Option<u32>,
    ) -> Self {
        let length_words = match (min_length, max_length) {
            (Some(min), Some(max)) if min == max => format!("{min} characters"),
            (Some(min), Some(max)) => format!("{min} to {max} characters"),
            (Some(min), None) => format!("at least {min} characters"),
            (None, Some(max)) => format!("at most {max} characters"),
            (None, None) => String::new(),
        };
        let case_words = match case {
            ValueCase::Exact | ValueCase::Insensitive => "",
            ValueCase::Lower => "lower case",
            ValueCase::Upper => "upper case",
            ValueCase::Title => "title case, like `Cost Center`",
        };
        let length = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            allowed: allowed.map(|values| Allowed::new(values, case)),
            pattern,
            case,
            min_length: min_length.map_or(0, length),
            max_length: max_length.map_or(usize::MAX, length),
            length_words: length_words.into(),
            case_words: case_words.into(),
        }
    }

    /// What the value amounts to. A list of allowed values speaks first, then the expression.
    pub(crate) fn judge(&self, value: &str) -> Outcome {
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(value, self.case)) {
            return Outcome::NotAllowed;
        }
        self.format(value)
    }

    /// The same without the list of allowed values.
    pub(crate) fn format(&self, value: &str) -> Outcome {
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.matches(value)) {
            Outcome::BadPattern
        } else if !self.fits_length(value.chars().count()) {
            Outcome::BadLength
        } else if !has_case(value, self.case) {
            Outcome::BadCase
        } else {
            Outcome::Good
        }
    }

    /// The values that would be accepted, as the policy spells them.
    pub(crate) fn allowed(&self) -> Option<&Arc<[Arc<str>]>> {
        self.allowed.as_ref().map(|allowed| &allowed.spelled)
    }

    /// What a value with this outcome should look like; for an absent one, the most telling of all conditions.
    pub(crate) fn expected(&self, outcome: Option<Outcome>) -> Option<Arc<str>> {
        let words = |words: &Arc<str>| (!words.is_empty()).then(|| Arc::clone(words));
        let source = || self.pattern.as_ref().map(|pattern| Arc::clone(pattern.source()));
        match outcome {
            None => source().or_else(|| words(&self.length_words)).or_else(|| words(&self.case_words)),
            Some(Outcome::BadPattern) => source(),
            Some(Outcome::BadLength) => words(&self.length_words),
            Some(Outcome::BadCase) => words(&self.case_words),
            Some(Outcome::Good | Outcome::Blank | Outcome::NotAllowed) => None,
        }
    }

    fn fits_length(&self, length: usize) -> bool {
        (self.min_length..=self.max_length).contains(&length)
    }

    /// Why this entry of the allowed values could never be accepted.
    pub(crate) fn contradiction(&self, allowed: &str) -> Option<String> {
        let glob = Glob::new(allowed);
        if glob.literal().is_none() {
            let shortest = glob.pieces().map(|piece| piece.chars().count()).sum::<usize>();
            let word_by_word = self.case == ValueCase::Title;
            return if shortest > self.max_length {
                Some(format!("maxLength allows {}", self.length_words))
            } else if !word_by_word && !glob.pieces().all(|piece| has_case(piece, self.case)) {
                Some(format!("case asks for {}", self.case_words))
            } else {
                None
            };
        }
        match self.format(allowed) {
            Outcome::Good | Outcome::Blank | Outcome::NotAllowed => None,
            Outcome::BadPattern => Some("regex does not match it".to_owned()),
            Outcome::BadLength => Some(format!("minLength and maxLength ask for {}", self.length_words)),
            Outcome::BadCase => Some(format!("case asks for {}", self.case_words)),
        }
    }
}

impl Allowed {
    fn new(values: &[String], case: ValueCase) -> Self {
        let compile = |value: &String| match case {
            ValueCase::Insensitive => Glob::new(&folded(value)),
            _ => Glob::new(value),
        };
        Self {
            spelled: values.iter().map(|value| Arc::from(value.as_str())).collect(),
            globs: values.iter().map(compile).collect(),
        }
    }

    fn contains(&self, value: &str, case: ValueCase) -> bool {
        if case == ValueCase::Insensitive {
            let value = folded(value);
            self.globs.iter().any(|glob| glob.matches(&value))
        } else {
            self.globs.iter().any(|glob| glob.matches(value))
        }
    }
}

fn has_case(value: &str, case: ValueCase) -> bool {
    match case {
        ValueCase::Exact | ValueCase::Insensitive => true,
        ValueCase::Lower => !value.chars().any(char::is_uppercase),
        ValueCase::Upper => !value.chars().any(char::is_lowercase),
        ValueCase::Title => value.split(|character: char| !character.is_alphanumeric()).all(|word| {
            let mut characters = word.chars();
            !characters.next().is_some_and(char::is_lowercase) && !characters.any(char::is_uppercase)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_rules() {
        for (value, case, expected) in [
            ("production-1", ValueCase::Lower, true),
            ("Production", ValueCase::Lower, false),
            ("EU-WEST", ValueCase::Upper, true),
            ("EU-west", ValueCase::Upper, false),
            ("Cost Center", ValueCase::Title, true),
            ("Cost center", ValueCase::Title, false),
            ("COST", ValueCase::Title, false),
            ("Team-7 3rd", ValueCase::Title, true),
            ("Été", ValueCase::Title, true),
            ("", ValueCase::Title, true),
        ] {
            assert_eq!(has_case(value, case), expected, "{value} {case:?}");
        }
    }
}
