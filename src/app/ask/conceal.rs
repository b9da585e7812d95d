//! What may be secret in what others wrote, hidden before it is written down: in the record of calls, and in the log.
//!
//! Two signs tell a secret: its name (`password=…`), and its looks (keys of AWS and our own, tokens, passwords in URLs).

use serde_json::Value;

use crate::keys::{PREFIX, mentions_key};

/// What stands in place of a secret.
pub const HIDDEN: char = '…';

/// Parts of names whose values are not written down, without case and separators.
const NAMES: [&str; 10] = [
    "secret",
    "token",
    "password",
    "passwd",
    "credential",
    "externalid",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
];

/// Whether what has this name is not to be written down: `ExternalId`, `api-key` and `DB_PASSWORD` are such names.
fn is_secret_name(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|symbol| !matches!(symbol, '_' | '-' | ' '))
        .map(|symbol| symbol.to_ascii_lowercase())
        .collect();
    NAMES.iter().any(|secret| plain.contains(secret))
}

/// The text with `…` in place of everything in it that looks like a secret.
pub fn conceal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(symbol) = rest.chars().next() {
        if let Some((kept, hidden)) = secret(rest, shown.chars().next_back()) {
            shown.push_str(&rest[..kept]);
            shown.push(HIDDEN);
            rest = &rest[kept + hidden..];
        } else {
            shown.push(symbol);
            rest = &rest[symbol.len_utf8()..];
        }
    }
    shown
}

/// Hides what may be secret in JSON: by its name whatever it is, by its looks otherwise, and in names, too. What lies
/// deeper than `deepest` becomes null. Gives the texts that only their names told to be secret.
pub fn redact(value: &mut Value, deepest: usize) -> Vec<String> {
    let mut secrets = Vec::new();
    redact_within(value, Some(deepest), &mut secrets);
    secrets
}

fn redact_within(value: &mut Value, left: Option<usize>, secrets: &mut Vec<String>) {
    let Some(left) = left else {
        *value = Value::Null;
        return;
    };
    let inside = left.checked_sub(1);
    match value {
        Value::Object(fields) => {
            let old = std::mem::take(fields).into_iter();
            *fields = old
                .map(|(name, mut value)| {
                    if is_secret_name(&name) {
                        secrets.extend(value.as_str().map(str::to_owned));
                        value = HIDDEN.to_string().into();
                    } else {
                        redact_within(&mut value, inside, secrets);
                    }
                    (conceal(&name), value)
                })
                .collect();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact_within(value, inside, secrets)),
        Value::String(text) => *text = conceal(text),
        _ => {}
    }
}

/// If a text begins with a secret: the bytes that may be shown, and those after them that may not. `before` is the symbol
/// that it follows.
///
/// Each sign is looked for where it begins, and no further than it must be: a text takes time in proportion to its length.
fn secret(text: &str, before: Option<char>) -> Option<(usize, usize)> {
    let found = key_of_ours(text)
        .or_else(|| key_of_aws(text))
        .or_else(|| authorization(text))
        .or_else(|| in_url(text))
        .or_else(|| private_key(text));
    let begins = before.is_none_or(|symbol| !symbol.is_ascii_alphanumeric() && !"_-/+".contains(symbol));
    let begun = || named(text).or_else(|| token(text)).or_else(|| secret_key_of_aws(text));
    found.or_else(|| if begins { begun() } else { None })
}

/// The bytes at the beginning that are all so.
fn run(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|symbol| !holds(symbol)).unwrap_or(text.len())
}

fn key_of_ours(text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(PREFIX)?;
    // Its id and the sign after it.
    if !mentions_key(&text[..text.floor_char_boundary(PREFIX.len() + 13)]) {
        return None;
    }
    Some((PREFIX.len(), run(rest, |symbol| symbol.is_ascii_alphanumeric() || symbol == '_')))
}

fn key_of_aws(text: &str) -> Option<(usize, usize)> {
    if !["AKIA", "ASIA"].iter().any(|prefix| text.starts_with(prefix)) {
        return None;
    }
    let length = run(text, |symbol| symbol.is_ascii_alphanumeric());
    (length >= 20).then_some((0, length))
}

/// Forty characters of base 64 of every kind.
fn secret_key_of_aws(text: &str) -> Option<(usize, usize)> {
    let length = run(text, |symbol| symbol.is_ascii_alphanumeric() || matches!(symbol, '/' | '+'));
    let has = |kind: fn(&u8) -> bool| text.as_bytes()[..length].iter().any(kind);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    (length == 40 && mixed).then_some((0, length))
}

fn authorization(text: &str) -> Option<(usize, usize)> {
    let (kept, least) = [("bearer ", 1), ("basic ", 8)].into_iter().find_map(|(scheme, least)| {
        let begins = text.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        begins.then_some((scheme.len(), least))
    })?;
    let length = run(&text[kept..], is_of_value);
    (length >= least).then_some((kept, length))
}

/// The password of `scheme://user:password@host`.
fn in_url(text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix("://")?;
    let authority = &rest[..run(rest, |symbol| is_of_value(symbol) && !matches!(symbol, '/' | '?' | '#'))];
    let (user, _) = authority.rsplit_once('@')?;
    let colon = user.find(':')?;
    Some((3 + colon + 1, user.len() - colon - 1))
}

fn private_key(text: &str) -> Option<(usize, usize)> {
    let line = text.strip_prefix("-----BEGIN ")?;
    line[..line.floor_char_boundary(40)].contains("PRIVATE KEY").then(|| (10, text.len() - 10))
}

/// A JSON Web Token.
fn token(text: &str) -> Option<(usize, usize)> {
    if !text.starts_with("eyJ") {
        return None;
    }
    let length = run(text, |symbol| symbol.is_ascii_alphanumeric() || matches!(symbol, '_' | '-' | '.'));
    (length >= 40 && text[..length].contains('.')).then(|| (3, length - 3))
}

/// `password=…`, or `"password": "…"`.
fn named(text: &str) -> Option<(usize, usize)> {
    let name = run(text, |symbol| symbol.is_ascii_alphanumeric() || matches!(symbol, '_' | '-'));
    if name == 0 {
        return None;
    }
    let rest = &text[name..];
    let quoted = rest.starts_with(['"', '\'']);
    let sign = run(rest, |symbol| matches!(symbol, '"' | '\'' | '=' | ':' | ' '));
    let assigned = rest[..sign].contains('=') || (quoted && rest[..sign].contains(':'));
    if !assigned || !is_secret_name(&text[..name]) {
        return None;
    }
    let kept = name + sign;
    let length = run(&text[kept..], |symbol| is_of_value(symbol) && symbol != '&');
    (length > 0).then_some((kept, length))
}

fn is_of_value(symbol: char) -> bool {
    !symbol.is_whitespace() && !matches!(symbol, '"' | '\'' | '`' | ',' | ';' | ')' | '}' | '>' | HIDDEN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_by_their_looks() {
        let ours = format!("tw_0123456789ab_{}", "c".repeat(64));
        let jwt = format!("eyJhbGciOi.{}.sig", "p".repeat(40));
        for (text, secret) in [
            (ours.as_str(), "cccc"),
            ("no policy `AKIAIOSFODNN7EXAMPLE`", "IOSFODNN7EXAMPLE"),
            ("x=ASIAIOSFODNN7EXAMPLE.", "IOSFODNN7EXAMPLE"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
            ("Authorization: BEARER abc123", "abc123"),
            ("postgres://user:s3cret%20w%40rd@db:5432/tags", "s3cret"),
            ("postgres://user:a@b@db/tags", "a@b"),
            ("https://:pw@host", "pw"),
            (jwt.as_str(), "pppp"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "MIIE"),
            ("db_password=hunter2&limit=1", "hunter2"),
            ("{\"ExternalId\": \"x-1-y\"}", "x-1-y"),
            ("api-key='k9'", "k9"),
        ] {
            let shown = conceal(text);
            assert!(!shown.contains(secret) && shown.contains(HIDDEN), "{text}: {shown}");
        }
    }

    #[test]
    fn json_is_redacted_in_names_and_values_and_down_to_a_depth() {
        let mut value =
            serde_json::json!({"a": [{"Api-Key": "k9", "n": "password=x"}], "AKIAIOSFODNN7EXAMPLE": 1});
        assert_eq!(redact(&mut value, 3), ["k9"]);
        assert_eq!(value, serde_json::json!({"a": [{"Api-Key": "…", "n": "password=…"}], "…": 1}));
        redact(&mut value, 2);
        assert_eq!(value["a"][0], serde_json::json!({"Api-Key": "…", "n": null}));
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in [
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-password-AbCdEf",
            "secretsmanager:secret",
            "https://host:8080/a@b",
            "name=tw_x&limit=1",
            "0123456789abcdef0123456789abcdef01234567",
            "basic checks of Bearer",
            "AKIA and ASIA",
            "the token bucket is empty",
        ] {
            assert_eq!(conceal(text), text);
        }
        assert!(is_secret_name("AWS_SECRET_ACCESS_KEY") && !is_secret_name("tag_key"));
    }

    #[test]
    fn a_long_text_takes_no_longer_than_it_is_long() {
        for piece in ["0", "eyJ", "tw_", "AKIA", "-----BEGIN ", "\"", "a=", "://", "bearer ", "a:@"] {
            let text = piece.repeat(1 << 16);
            let began = std::time::Instant::now();
            conceal(&text);
            // Were it its square, it would be hours.
            assert!(began.elapsed() < std::time::Duration::from_mins(1), "{piece}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_can_be_looked_through_and_once_is_enough(text in any::<String>()) {
            let once = conceal(&text);
            prop_assert_eq!(conceal(&once), once);
        }
    }
}
