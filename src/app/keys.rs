//! API keys: what one looks like, and what the store remembers of it, which is enough to recognise it and too little to
//! make one.
//!
//! A key is `tw_ID_SECRET`. Scanners for leaked secrets find it by its form; the id tells people and logs which one it
//! is; the secret has 256 random bits, so a plain SHA-256 of it is as good as any slower digest.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ask::{Principal, Scope};

/// What every key begins with.
pub const PREFIX: &str = "tw_";

/// Hexadecimal digits of an id, and of a secret.
const ID_DIGITS: usize = 12;
const SECRET_DIGITS: usize = 64;

/// The most keys that are not revoked, over all tenants.
pub const KEYS_MAX: usize = 10_000;

/// The digest of a secret.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// As it is stored.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// As it was stored.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// In constant time: how much of it fits is not told.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digest(…)")
    }
}

/// A key in full: when it is made, and never again.
pub struct NewKey {
    text: String,
    /// Its id.
    pub id: String,
    /// What is stored of it.
    pub digest: Digest,
}

impl NewKey {
    /// A key of these random bytes.
    pub fn from_random(random: &[u8; 38]) -> Self {
        let (id, secret) = random.split_at(ID_DIGITS / 2);
        let (id, secret) = (hex(id), hex(secret));
        Self { text: format!("{PREFIX}{id}_{secret}"), digest: digest(&secret), id }
    }

    /// The key itself, to be shown once.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// A key as somebody shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// Which it claims to be.
    pub id: String,
    /// Of its secret.
    pub digest: Digest,
}

impl ShownKey {
    /// Reads what somebody shows; `None` for what no key looks like.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let fits = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        (fits(id, ID_DIGITS) && fits(secret, SECRET_DIGITS))
            .then(|| Self { id: id.to_owned(), digest: digest(secret) })
    }
}

/// A key as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Names it in lists and logs.
    pub id: String,
    /// Of its secret.
    pub digest: Digest,
    /// Whose objects and results it opens.
    pub tenant: String,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// What it is for, in the words of whoever made it.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `None` for one that does not.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, within a minute.
    pub used_at: Option<Timestamp>,
}

impl KeyRecord {
    /// Whether it opens anything at this instant.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whoever holds it.
    pub fn principal(&self) -> Principal {
        Principal::new(&self.tenant, &format!("key:{}", self.id), self.scopes.iter().copied())
    }
}

/// Why the keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(pub String);

/// Remembers keys.
pub trait Keys: Send + Sync + 'static {
    /// The keys that are valid at this instant, at most [`KEYS_MAX`].
    fn valid(&self, now: Timestamp) -> impl Future<Output = Result<Vec<KeyRecord>, KeysError>> + Send;

    /// Notes when keys were last used.
    fn used(&self, uses: &[(String, Timestamp)]) -> impl Future<Output = Result<(), KeysError>> + Send;
}

/// How long a key lasts where nobody says: long enough for a quarter's work, short enough to be forgotten safely.
pub const LASTS: Duration = Duration::from_hours(90 * 24);

fn digest(secret: &str) -> Digest {
    Digest(Sha256::digest(secret.as_bytes()).into())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_key_is_recognised_and_a_changed_one_is_not(random in any::<[u8; 38]>(), at in 3_usize..79, digit in "[0-9a-g_]") {
            let key = NewKey::from_random(&random);
            let shown = ShownKey::parse(key.expose()).unwrap();
            prop_assert_eq!(&shown.id, &key.id);
            prop_assert!(shown.digest == key.digest);
            prop_assert!(Digest::from_hex(&key.digest.to_hex()).unwrap() == key.digest);
            let mut changed = key.expose().to_owned();
            changed.replace_range(at..=at, &digit);
            if changed != key.expose() {
                let known = ShownKey::parse(&changed).is_some_and(|shown| shown.id == key.id && shown.digest == key.digest);
                prop_assert!(!known, "{}", changed);
            }
        }

        #[test]
        fn nothing_else_is_a_key(text in any::<String>()) {
            prop_assert_eq!(ShownKey::parse(&text), None);
        }
    }

    #[test]
    fn a_key_ends_at_its_end_and_when_it_is_revoked() {
        let now = Timestamp::UNIX_EPOCH;
        let key = NewKey::from_random(&[7; 38]);
        let record = KeyRecord {
            id: key.id,
            digest: key.digest,
            tenant: "acme".to_owned(),
            scopes: BTreeSet::from([Scope::TagRead]),
            note: None,
            created_at: now,
            expires_at: None,
            revoked_at: None,
            used_at: None,
        };
        assert!(record.is_valid(now));
        assert!(!format!("{record:?}").contains(&record.digest.to_hex()));
        assert!(!KeyRecord { expires_at: Some(now), ..record.clone() }.is_valid(now));
        assert!(!KeyRecord { revoked_at: Some(now), ..record.clone() }.is_valid(now));
        let principal = record.principal();
        assert_eq!((&*principal.tenant, &*principal.id), ("acme", "key:070707070707"));
        assert!(principal.may(Scope::TagRead) && !principal.may(Scope::AuditWrite));
    }
}
