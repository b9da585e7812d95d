//! Patterns in which `*` stands for any run of characters, also none; nothing else is special.
//!
//! This is what AWS tag policies (`300*`), ARN patterns, regions (`eu-*`) and types (`rds:*`) have in common.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    /// What stands between the stars; one piece when there is none.
    pieces: Box<[Box<str>]>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { pieces: pattern.split('*').map(Into::into).collect() }
    }

    /// The text itself, when the pattern has no star.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [only] => Some(only),
            _ => None,
        }
    }

    /// What stands between the stars.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(AsRef::as_ref)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else {
            return self.literal() == Some(text);
        };
        // The leftmost place for each piece leaves the most room for those that follow.
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("300*", "300", true),
            ("300*", "3001", true),
            ("300*", "1300", false),
            ("*@example.com", "bob@example.com", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("a?c", "abc", false),
            ("", "", true),
            ("", "a", false),
            ("arn:aws:ec2:*:123456789012:vpc/*", "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_regular_expression(pattern in "[ab*]{0,8}", text in "[ab]{0,12}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), regex.is_match(&text));
        }
    }
}
