//! Findings in a sentence for people.

use std::fmt::Write;

use crate::glob::Glob;
use crate::text::{folded, quoted, shown};

use super::{Finding, ViolationType};

/// How many allowed values a sentence lists.
const LISTED: usize = 5;

impl Finding {
    /// One sentence, without a full stop: what is wrong and what would be right. Texts from the cloud are shortened, and
    /// control characters in them escaped.
    pub fn message(&self) -> String {
        let mut message = self.complaint();
        if let Some(exempted) = &self.exempted {
            // Writing to a string cannot fail.
            let _ = write!(message, " (exempt by {}", quoted(&exempted.by));
            if let Some(until) = exempted.until {
                let _ = write!(message, " until {until}");
            }
            message.push(')');
        }
        message
    }

    /// The allowed value from which the value found differs only in case, as the policy spells it.
    pub fn expected_spelling(&self) -> Option<&str> {
        let found = folded(self.current_value.as_deref()?);
        let allowed = self.allowed_values.as_deref()?;
        allowed.iter().find(|value| Glob::new(&folded(value)).matches(&found)).map(AsRef::as_ref)
    }

    fn complaint(&self) -> String {
        let key = quoted(&self.tag_key);
        let found = self.current_value.as_deref().map(quoted);
        match (self.violation_type, found) {
            (ViolationType::MissingRequiredTag, None) => format!("{key} is missing{}", self.wanted()),
            (ViolationType::MissingRequiredTag, Some(_)) => {
                format!("{key} is there, but blank{}", self.wanted())
            }
            (ViolationType::InvalidValue, Some(found)) => match self.expected_spelling() {
                Some(spelling) => format!("{key} is {found}; the allowed spelling is {}", quoted(spelling)),
                None => format!("{key} is {found}{}", self.wanted()),
            },
            (ViolationType::InvalidFormat, Some(found)) => format!("{key} is {found}{}", self.wanted()),
            (ViolationType::WrongCase, Some(found)) => format!("{found} should be spelled {key}"),
            (ViolationType::ForbiddenTag, _) => format!("{key} must not be used"),
            (ViolationType::NamingRule, None) => format!("{key} breaks the naming rules{}", self.wanted()),
            (ViolationType::NamingRule, Some(found)) => {
                format!("the value {found} of {key} breaks the naming rules{}", self.wanted())
            }
            (ViolationType::InvalidValue | ViolationType::InvalidFormat | ViolationType::WrongCase, None) => {
                format!("{key} is wrong{}", self.wanted())
            }
        }
    }

    fn wanted(&self) -> String {
        if let Some(allowed) = self.allowed_values.as_deref() {
            let listed: Vec<_> = allowed.iter().take(LISTED).map(|value| quoted(value)).collect();
            let more = match allowed.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("; allowed: {}{more}", listed.join(", "))
        } else if let Some(expected) = &self.expected_format {
            format!("; expected: {}", shown(expected))
        } else {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::finding::{Exempted, FindingKind, Severity};

    fn finding(violation_type: ViolationType, current_value: Option<&str>) -> Finding {
        Finding {
            kind: FindingKind::Violation,
            violation_type,
            severity: Severity::High,
            tag_key: "Env".into(),
            current_value: current_value.map(Into::into),
            allowed_values: None,
            expected_format: None,
            exempted: None,
        }
    }

    #[test]
    fn a_sentence_says_what_is_wrong_and_what_would_be_right() {
        let allowed = |values: &[&str]| Some(values.iter().map(|value| Arc::from(*value)).collect());
        let environments = || allowed(&["prod", "test", "dev-*"]);
        let expecting = |text: &str| Some(Arc::from(text));
        for (finding, expected) in [
            (finding(ViolationType::MissingRequiredTag, None), "`Env` is missing"),
            (
                Finding {
                    allowed_values: environments(),
                    ..finding(ViolationType::MissingRequiredTag, Some(" "))
                },
                "`Env` is there, but blank; allowed: `prod`, `test`, `dev-*`",
            ),
            (
                Finding {
                    allowed_values: environments(),
                    ..finding(ViolationType::InvalidValue, Some("PROD"))
                },
                "`Env` is `PROD`; the allowed spelling is `prod`",
            ),
            (
                Finding {
                    allowed_values: environments(),
                    ..finding(ViolationType::InvalidValue, Some("Dev-1"))
                },
                "`Env` is `Dev-1`; the allowed spelling is `dev-*`",
            ),
            (
                Finding {
                    allowed_values: allowed(&["a", "b", "c", "d", "e", "f", "g"]),
                    ..finding(ViolationType::InvalidValue, Some("z\u{1b}[31m"))
                },
                "`Env` is `z\\u{1b}[31m`; allowed: `a`, `b`, `c`, `d`, `e` and 2 more",
            ),
            (
                Finding {
                    expected_format: expecting("[a-z]+"),
                    ..finding(ViolationType::InvalidFormat, Some("7"))
                },
                "`Env` is `7`; expected: [a-z]+",
            ),
            (finding(ViolationType::WrongCase, Some("ENV")), "`ENV` should be spelled `Env`"),
            (finding(ViolationType::ForbiddenTag, Some("x")), "`Env` must not be used"),
            (
                Finding {
                    expected_format: expecting("a key like `cost-center`"),
                    ..finding(ViolationType::NamingRule, None)
                },
                "`Env` breaks the naming rules; expected: a key like `cost-center`",
            ),
            (
                Finding {
                    exempted: Some(Exempted {
                        by: "legacy".into(),
                        until: Some("2027-01-31T00:00:00Z".parse().unwrap()),
                    }),
                    ..finding(ViolationType::MissingRequiredTag, None)
                },
                "`Env` is missing (exempt by `legacy` until 2027-01-31T00:00:00Z)",
            ),
        ] {
            assert_eq!(finding.message(), expected);
        }
    }
}
