//! Who may come in: bearer tokens, of which the file holds digests only.
//!
//! A file that leaks gives no access, and one that changes is read again. A line that is wrong refuses the whole
//! file, for the line may have been meant to take rights away.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The most bytes of a token file.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The most characters of a user's name.
const MAX_USER: usize = 253;

/// What somebody may do. Each may do all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    View,
    /// Also create, change and delete our own kinds, config maps and events.
    Edit,
    /// Everything, statuses, leases and namespaces included.
    Admin,
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "view" => Ok(Self::View),
            "edit" => Ok(Self::Edit),
            "admin" => Ok(Self::Admin),
            _ => Err(()),
        }
    }
}

/// Somebody who showed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, for authorization and the audit line.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// Why a token file cannot be used. Says the line and never what is in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// A line that is none of ours.
    #[error(
        "line {line}: {what}; expected `sha256:HEX:user:view|edit|admin`, HEX being the SHA-256 of the token"
    )]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than such a file may have.
    #[error("the file has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// Bytes that are no text.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// No token at all.
    #[error(
        "the file has no token: add a line `sha256:HEX:user:view|edit|admin`, HEX being the SHA-256 of the token"
    )]
    Empty,
}

/// A token that was shown and is good, as far as it has to be remembered.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Grant {
    digest: Digested,
    /// Whose it is.
    pub user: User,
}

/// All tokens that are accepted.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Digested, User)>);

type Digested = [u8; 32];

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(_, user)| user)).finish()
    }
}

impl Tokens {
    /// Reads the text of a token file: one token a line; blank lines and lines that begin with `#` are skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() > MAX_BYTES {
            return Err(TokenError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TokenError::NotText)?;
        let mut tokens: Vec<(Digested, User)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |what| TokenError::Line { line: at + 1, what };
            let (digest, user) = parse_line(line).map_err(refused)?;
            if tokens.iter().any(|(known, _)| *known == digest) {
                return Err(refused("the same token again"));
            }
            tokens.push((digest, user));
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(Self(tokens)) }
    }

    /// Whose token this is. Takes as long for a wrong one as for a right one.
    pub fn user(&self, token: &[u8]) -> Option<&User> {
        self.find(&Sha256::digest(token).into())
    }

    /// What this token gives.
    pub(super) fn grant(&self, token: &[u8]) -> Option<Grant> {
        let digest: Digested = Sha256::digest(token).into();
        self.find(&digest).map(|user| Grant { digest, user: user.clone() })
    }

    /// Whether a grant is still what its token gives.
    pub(super) fn upholds(&self, grant: &Grant) -> bool {
        self.find(&grant.digest) == Some(&grant.user)
    }

    fn find(&self, shown: &Digested) -> Option<&User> {
        self.0.iter().fold(
            None,
            |found, (digest, user)| {
                if bool::from(digest.ct_eq(shown)) { Some(user) } else { found }
            },
        )
    }
}

fn parse_line(line: &str) -> Result<(Digested, User), &'static str> {
    let rest = line.strip_prefix("sha256:").ok_or("it does not begin with `sha256:`")?;
    let (digest, rest) = rest.split_once(':').ok_or("there is no user")?;
    let (name, role) = rest.rsplit_once(':').ok_or("there is no role")?;
    let mut bytes = Digested::default();
    hex::decode_to_slice(digest, &mut bytes).map_err(|_| "the digest is not 64 hexadecimal digits")?;
    let plain = |each: char| !each.is_control() && !each.is_whitespace();
    if name.is_empty() || name.chars().count() > MAX_USER || !name.chars().all(plain) {
        return Err("the user is no name of 1 to 253 characters without spaces");
    }
    let role = role.parse().map_err(|()| "the role is none of view, edit, admin")?;
    Ok((bytes, User { name: name.to_owned(), role }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(token: &str, rest: &str) -> String {
        format!("sha256:{}:{rest}", hex::encode(Sha256::digest(token.as_bytes())))
    }

    #[test]
    fn a_token_finds_its_user() {
        let file = format!(
            "# who may come in\n\n{}\r\n  {}\n",
            line("one", "ann:view"),
            line("two", "system:robot:admin")
        );
        let tokens = Tokens::parse(file.as_bytes()).unwrap();
        assert_eq!(tokens.user(b"one"), Some(&User { name: "ann".to_owned(), role: Role::View }));
        assert_eq!(tokens.user(b"two"), Some(&User { name: "system:robot".to_owned(), role: Role::Admin }));
        for wrong in ["", "One", "one ", "three"] {
            assert_eq!(tokens.user(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains(&hex::encode(Sha256::digest(b"one"))));
    }

    #[test]
    fn wrong_lines_are_named_and_not_quoted() {
        let cases = [
            ("hunter2:ann:view".to_owned(), "it does not begin with `sha256:`"),
            ("sha256:hunter2".to_owned(), "there is no user"),
            ("sha256:hunter2:ann".to_owned(), "there is no role"),
            ("sha256:hunter2:ann:view".to_owned(), "the digest is not 64 hexadecimal digits"),
            (line("x", "ann:owner"), "the role is none of view, edit, admin"),
            (line("x", ":view"), "the user is no name"),
            (line("x", "a b:view"), "the user is no name"),
            (format!("{}\n{}", line("x", "a:view"), line("x", "b:view")), "the same token again"),
        ];
        for (text, wanted) in cases {
            let error = Tokens::parse(format!("#\n{text}").as_bytes()).unwrap_err();
            let TokenError::Line { line, what } = &error else { panic!("{error}") };
            assert!(what.starts_with(wanted), "{what}");
            assert_eq!(*line, 1 + text.lines().count());
            let shown = error.to_string();
            assert!(
                !shown.contains("hunter2") && !shown.contains(&hex::encode(Sha256::digest(b"x"))),
                "{shown}"
            );
        }
        assert_eq!(Tokens::parse(b"# nobody\n").unwrap_err(), TokenError::Empty);
        assert_eq!(Tokens::parse(b"\xff").unwrap_err(), TokenError::NotText);
        assert_eq!(Tokens::parse(&vec![b'#'; MAX_BYTES + 1]).unwrap_err(), TokenError::TooLarge);
    }
}
