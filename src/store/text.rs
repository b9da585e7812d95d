//! Texts as the database takes them: bounded, and without what only one of the two databases can keep.

use std::borrow::Cow;

use crate::StoreError;

/// The most characters of a tenant or run id.
pub(crate) const MAX_NAME: usize = 253;

/// The most bytes of one text column. Far above what AWS allows in an ARN (2048) or a tag (256).
pub(crate) const MAX_TEXT: usize = 8 * 1024;

/// The most bytes of a JSON column.
pub(crate) const MAX_JSON: usize = 64 * 1024;

/// Ends a text, or a list, that was cut.
pub(crate) const CUT: &str = "…";

/// The text as it is stored: PostgreSQL refuses NUL, so both databases keep `␀` in its place; what is longer than
/// [`MAX_TEXT`] ends with `…`.
pub(crate) fn stored(text: &str) -> Cow<'_, str> {
    let head = &text[..text.floor_char_boundary(MAX_TEXT)];
    let whole = if head.contains('\0') { Cow::Owned(head.replace('\0', "␀")) } else { Cow::Borrowed(head) };
    if head.len() == text.len() && whole.len() <= MAX_TEXT {
        return whole;
    }
    let kept = &whole[..whole.floor_char_boundary(MAX_TEXT - CUT.len())];
    Cow::Owned([kept, CUT].concat())
}

/// A JSON array of these values; a list longer than [`MAX_JSON`] ends with `…` after its last whole value.
pub(crate) fn stored_list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for value in values {
        let item = serde_json::Value::from(stored(value).as_ref()).to_string();
        let comma = if json.len() > 1 { "," } else { "" };
        if json.len() + item.len() + 16 > MAX_JSON {
            json.push_str(comma);
            json.push_str("\"…\"");
            break;
        }
        json.push_str(comma);
        json.push_str(&item);
    }
    json.push(']');
    json
}

/// A tenant or run id that may be a key.
pub(crate) fn name<'a>(what: &'static str, value: &'a str) -> Result<&'a str, StoreError> {
    let fits = !value.is_empty() && value.chars().count() <= MAX_NAME && !value.chars().any(char::is_control);
    if fits { Ok(value) } else { Err(StoreError::BadName { what, value: excerpt(value) }) }
}

/// The beginning of a text, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn short_texts_only_lose_their_nuls(text in any::<String>()) {
            prop_assert_eq!(stored(&text), text.replace('\0', "␀"));
        }

        #[test]
        fn no_text_is_longer_than_its_column(text in "\\PC{0,9}", times in 900_usize..2000, nul in any::<bool>()) {
            let text = text.repeat(times) + if nul { "\0" } else { "" };
            let kept = stored(&text);
            prop_assert!(kept.len() <= MAX_TEXT);
            prop_assert!(!kept.contains('\0'));
            prop_assert!(text.len() <= MAX_TEXT || kept.ends_with(CUT));
        }

        #[test]
        fn a_list_is_an_array_that_begins_as_it_did(values in prop::collection::vec(any::<String>(), 0..40), times in 1_usize..150) {
            let values: Vec<String> = values.iter().map(|value| value.repeat(times)).collect();
            let json = stored_list(values.iter().map(String::as_str));
            prop_assert!(json.len() <= MAX_JSON);
            let read: Vec<String> = serde_json::from_str(&json).unwrap();
            prop_assert!(read.len() == values.len() || read.last().is_some_and(|last| last == CUT));
            for (kept, value) in read.iter().zip(&values).take(read.len().saturating_sub(1)) {
                prop_assert_eq!(kept, &stored(value));
            }
        }
    }

    #[test]
    fn names_that_are_no_keys_are_refused() {
        for bad in ["", "a\0b", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(name("tenant", bad), Err(StoreError::BadName { .. })), "{bad:?} was accepted");
        }
        assert_eq!(name("tenant", "équipe-1"), Ok("équipe-1"));
    }
}
