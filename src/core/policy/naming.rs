//! How keys and values should look in general. Breaking these rules is advice.

use std::sync::Arc;

use super::draft::NameCase;
use super::pattern::Pattern;

/// The longest key that AWS takes, in characters.
pub(crate) const MAX_KEY: u32 = 128;
/// The longest value that AWS takes, in characters.
pub(crate) const MAX_VALUE: u32 = 256;

/// The compiled naming rules.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    pattern: Option<(Pattern, Arc<str>)>,
    case: NameCase,
    case_words: Arc<str>,
    special: bool,
    special_words: Arc<str>,
    max_key: usize,
    max_key_words: Arc<str>,
    max_value: usize,
    max_value_words: Arc<str>,
}

impl Naming {
    pub(crate) fn new(
        pattern: Option<Pattern>,
        case: NameCase,
        special: bool,
        max_key: Option<u32>,
        max_value: Option<u32>,
    ) -> Self {
        let max_key = max_key.unwrap_or(MAX_KEY);
        let max_value = max_value.unwrap_or(MAX_VALUE);
        let case_words = match case {
            NameCase::Any => "",
            NameCase::Pascal => "a key like `CostCenter`",
            NameCase::Camel => "a key like `costCenter`",
            NameCase::Kebab => "a key like `cost-center`",
            NameCase::Snake => "a key like `cost_center`",
            NameCase::Lower => "a key without upper-case letters",
            NameCase::Upper => "a key without lower-case letters",
        };
        let length = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            pattern: pattern.map(|pattern| {
                let words = format!("a key that matches {}", pattern.source()).into();
                (pattern, words)
            }),
            case,
            case_words: case_words.into(),
            special,
            special_words: "a key of letters, digits, spaces and + - = . _ : / @".into(),
            max_key: length(max_key),
            max_key_words: format!("a key of at most {max_key} characters").into(),
            max_value: length(max_value),
            max_value_words: format!("a value of at most {max_value} characters").into(),
        }
    }

    /// What the key should look like instead, if it breaks a rule.
    pub(crate) fn key_breach(&self, key: &str) -> Option<&Arc<str>> {
        if key.chars().count() > self.max_key {
            return Some(&self.max_key_words);
        }
        if !self.special && !key.chars().all(is_plain) {
            return Some(&self.special_words);
        }
        if !key.split([':', '/']).all(|part| is_written(part, self.case)) {
            return Some(&self.case_words);
        }
        match &self.pattern {
            Some((pattern, words)) if !pattern.matches(key) => Some(words),
            _ => None,
        }
    }

    /// What the value should look like instead, if it breaks a rule.
    pub(crate) fn value_breach(&self, value: &str) -> Option<&Arc<str>> {
        (value.chars().count() > self.max_value).then_some(&self.max_value_words)
    }

    /// Characters.
    pub(crate) fn max_value(&self) -> usize {
        self.max_value
    }
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@')
}

fn is_written(part: &str, case: NameCase) -> bool {
    let mut characters = part.chars();
    let words = |separator: char| {
        part.split(separator).all(|word| {
            !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() && !letter.is_uppercase())
        })
    };
    match case {
        NameCase::Any => true,
        NameCase::Pascal => {
            characters.next().is_some_and(char::is_uppercase) && characters.all(char::is_alphanumeric)
        }
        NameCase::Camel => {
            characters.next().is_some_and(char::is_lowercase) && characters.all(char::is_alphanumeric)
        }
        NameCase::Kebab => words('-'),
        NameCase::Snake => words('_'),
        NameCase::Lower => !part.chars().any(char::is_uppercase),
        NameCase::Upper => !part.chars().any(char::is_lowercase),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_a_key() {
        for (key, fitting) in [
            ("CostCenter", &[NameCase::Pascal] as &[NameCase]),
            ("costCenter", &[NameCase::Camel]),
            ("cost-center", &[NameCase::Kebab, NameCase::Lower]),
            ("cost_center", &[NameCase::Snake, NameCase::Lower]),
            ("owner", &[NameCase::Camel, NameCase::Kebab, NameCase::Snake, NameCase::Lower]),
            ("COST_CENTER", &[NameCase::Upper]),
            ("acme:cost-center", &[NameCase::Kebab, NameCase::Lower]),
            ("acme:CostCenter", &[]),
            ("cost--center", &[NameCase::Lower]),
        ] {
            for case in [
                NameCase::Pascal,
                NameCase::Camel,
                NameCase::Kebab,
                NameCase::Snake,
                NameCase::Lower,
                NameCase::Upper,
            ] {
                let naming = Naming::new(None, case, true, None, None);
                assert_eq!(naming.key_breach(key).is_none(), fitting.contains(&case), "{key} {case:?}");
            }
        }
    }
}
