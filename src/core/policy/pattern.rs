//! Regular expressions of a policy: the whole text must match, and a bad one is explained on one line.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast;

use crate::text::quoted;

/// How much memory the program of one expression may take, in bytes: enough for `\w{1,128}` over all of Unicode.
const SIZE_LIMIT: usize = 10 << 20;
/// The cache of one expression, in bytes.
const CACHE_LIMIT: usize = 1 << 20;

/// A regular expression that is anchored at both ends, and remembers how it was written.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    source: Arc<str>,
}

impl Pattern {
    /// Compiles; the error is a sentence for people that quotes the expression.
    pub(crate) fn new(source: &str, ignore_case: bool) -> Result<Self, String> {
        if source.is_empty() {
            return Err("is empty; leave the field out to accept every value".to_owned());
        }
        // Alone first: `a)|(b` would become valid inside the anchors.
        regex_syntax::Parser::new().parse(source).map_err(|error| explain(source, &error))?;
        let regex = RegexBuilder::new(&format!(r"\A(?:{source})\z"))
            .case_insensitive(ignore_case)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(CACHE_LIMIT)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    format!(
                        "{} compiles to more than {SIZE_LIMIT} bytes; use smaller repetitions",
                        quoted(source)
                    )
                }
                _ => format!("{} cannot be anchored; is there a comment at its end?", quoted(source)),
            })?;
        Ok(Self { regex, source: source.into() })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// As the policy has it.
    pub(crate) fn source(&self) -> &Arc<str> {
        &self.source
    }
}

fn explain(source: &str, error: &regex_syntax::Error) -> String {
    let quoted = quoted(source);
    let (offset, what) = match error {
        regex_syntax::Error::Parse(error) => {
            let offset = error.span().start.offset;
            match error.kind() {
                ast::ErrorKind::UnsupportedLookAround => {
                    return format!(
                        "{quoted} uses lookaround at position {}, which is not supported because it makes matching \
                         slow without bound; say what must match instead, or list the values in `allowed`",
                        position(source, offset)
                    );
                }
                ast::ErrorKind::UnsupportedBackreference => {
                    return format!(
                        "{quoted} uses a backreference at position {}, which is not supported because it makes \
                         matching slow without bound; write the alternatives out, or list the values in `allowed`",
                        position(source, offset)
                    );
                }
                kind => (offset, kind.to_string()),
            }
        }
        regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
        _ => (0, "not a regular expression".to_owned()),
    };
    format!("{quoted} is not a regular expression: {what}, at position {}", position(source, offset))
}

/// Characters, counted from one.
fn position(source: &str, offset: usize) -> usize {
    source.char_indices().take_while(|(at, _)| *at < offset).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match() {
        let pattern = Pattern::new("a|ab", false).unwrap();
        assert!(pattern.matches("a") && pattern.matches("ab"));
        assert!(!pattern.matches("abc") && !pattern.matches("xa") && !pattern.matches("a\n"));
        assert!(Pattern::new("^CC-[0-9]{4}$", false).unwrap().matches("CC-1234"));
        assert!(Pattern::new("prod", true).unwrap().matches("PROD"));
        assert!(Pattern::new(r"\w{1,128}", false).is_ok());
    }

    #[test]
    fn a_bad_one_is_explained_on_one_line() {
        for (source, expected) in [
            ("[A-Z", "`[A-Z` is not a regular expression: unclosed character class, at position 1"),
            ("é(", "`é(` is not a regular expression: unclosed group, at position 2"),
            ("a)|(b", "unopened group, at position 2"),
            ("(?!x)y", "uses lookaround at position 1"),
            (r"(a)\1", "uses a backreference at position 4"),
            (r"\p{Nope}", "at position 1"),
            (r"((\w{100}){100}){100}", "compiles to more than"),
            ("(?x)a # b", "cannot be anchored"),
            ("", "is empty"),
        ] {
            let error = Pattern::new(source, false).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{source}: {error}");
        }
    }
}
