//! Texts that others wrote: how they are compared, and how they are shown in a message.

/// The text without case, for comparing.
pub(crate) fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// The text in backquotes, on one line and not too long.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", shown(text))
}

/// The text on one line and not too long.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown = String::with_capacity(text.len().min(4 * SHOWN));
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// At most so many characters. What is cut ends with an ellipsis, after a whole word unless that would cost half of it.
pub fn bounded(text: &str, chars_max: usize) -> String {
    if text.char_indices().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let room = text.char_indices().nth(chars_max.saturating_sub(1)).map_or(0, |(end, _)| end);
    let (head, rest) = text.split_at(room);
    let whole = match head.rfind(char::is_whitespace) {
        Some(end) if !rest.starts_with(char::is_whitespace) && 2 * end >= head.len() => &head[..end],
        _ => head,
    };
    let end = whole.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':'));
    let ellipsis = if chars_max == 0 { "" } else { "…" };
    format!("{end}{ellipsis}")
}

/// A cell of CSV that no spreadsheet takes for a formula, and no terminal obeys. What the text really holds, to the byte,
/// is for other formats to say.
pub fn neutral(cell: &str) -> String {
    // Spreadsheets trim before they look.
    let formula = cell.trim_start().starts_with(['=', '+', '-', '@']) || cell.starts_with(['\t', '\r', '\n']);
    let harmless = |symbol: char| if symbol.is_control() && symbol != '\n' { '\u{fffd}' } else { symbol };
    formula.then_some('\'').into_iter().chain(cell.chars().map(harmless)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spreadsheets_find_no_formulas_and_terminals_no_orders() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            assert!(neutral(formula).starts_with('\''), "{formula:?}");
        }
        assert_eq!(neutral("a=b"), "a=b");
        assert_eq!(neutral(" =1"), "' =1");
        assert_eq!(neutral("a\u{1b}[31m"), "a\u{fffd}[31m");
        assert_eq!(neutral("a=b\u{1b}"), "a=b\u{fffd}");
    }

    #[test]
    fn what_is_too_long_ends_after_a_word() {
        for (text, most, expected) in [
            ("one two three", 13, "one two three"),
            ("one two three", 12, "one two…"),
            ("one two three", 9, "one two…"),
            ("one two; three", 10, "one two…"),
            ("one two three", 8, "one two…"),
            ("a onelongword", 10, "a onelong…"),
            ("onelongword", 4, "one…"),
            ("ééééé", 3, "éé…"),
            ("word", 1, "…"),
            ("word", 0, ""),
            ("", 0, ""),
        ] {
            assert_eq!(bounded(text, most), expected, "{text} {most}");
        }
    }

    proptest! {
        #[test]
        fn a_bound_holds_and_what_fits_stays(text in any::<String>(), most in 0_usize..40) {
            let cut = bounded(&text, most);
            prop_assert!(cut.chars().count() <= most);
            prop_assert_eq!(cut == text, text.chars().count() <= most || text == cut);
            prop_assert_eq!(bounded(&cut, most), cut.clone());
        }
    }
}
