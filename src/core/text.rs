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
