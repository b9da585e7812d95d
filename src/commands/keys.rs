//! `tagwarden keys`: the keys for what `run --listen` serves.

use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tagwarden_app::keys::{KeyRecord, NewKey};
use tagwarden_store::Store;

use super::Failure;
use crate::cli::{Expiry, Keys, ListFormat};
use crate::render::json::API_VERSION;
use crate::render::table;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key that opens nothing from the beginning.
    #[error("--expires: {0} is over: give a later date")]
    Over(Date),
    /// An instant that no calendar has.
    #[error("--expires: there is no such day")]
    NoDay,
    /// The machine has no randomness to give.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

pub(super) async fn run(command: Keys) -> Result<u8, Failure> {
    let now = Timestamp::now();
    match command {
        Keys::Create { store, tenant, scope, expires, note } => {
            let key = NewKey::from_random(&random()?);
            let record = KeyRecord {
                id: key.id.clone(),
                digest: key.digest,
                tenant,
                scopes: scope.into_iter().collect(),
                note,
                created_at: now,
                expires_at: end(expires, now)?,
                revoked_at: None,
                used_at: None,
            };
            let store = Store::open(&store.store).await?;
            store.add_key(&record).await?;
            store.close().await;
            let until = record.expires_at.map_or_else(|| "revoked".to_owned(), day);
            anstream::eprintln!(
                "Key {} opens {} with {} until {until}. It is not shown again.",
                record.id,
                table::printable(&record.tenant),
                scopes(&record)
            );
            writeln!(io::stdout().lock(), "{}", key.expose())?;
        }
        Keys::List { store, tenant, format } => {
            let store = Store::open(&store.store).await?;
            let keys = store.keys(tenant.as_deref()).await?;
            store.close().await;
            list(&keys, format, now)?;
        }
        Keys::Revoke { store, id } => {
            let store = Store::open(&store.store).await?;
            store.revoke_key(&id, now).await?;
            store.close().await;
            anstream::eprintln!("Key {} opens nothing any more.", table::printable(&id));
        }
    }
    Ok(0)
}

fn list(keys: &[KeyRecord], format: ListFormat, now: Timestamp) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        ListFormat::Json => {
            let items = keys.iter().map(|key| Item::new(key, now)).collect();
            let list = KeyList { api_version: API_VERSION, kind: "KeyList", items };
            serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        ListFormat::Table if keys.is_empty() => {
            writeln!(out, "No keys yet: `tagwarden keys create` makes one.")?;
        }
        ListFormat::Table => {
            let mut rows = table::fixed(&["ID", "TENANT", "SCOPES", "STATE", "EXPIRES", "LAST USED", "NOTE"]);
            for key in keys {
                rows.add_row([
                    key.id.clone(),
                    table::printable(&key.tenant),
                    scopes(key),
                    state(key, now).to_owned(),
                    key.expires_at.map_or_else(|| "never".to_owned(), day),
                    key.used_at.map_or_else(|| "-".to_owned(), day),
                    key.note.as_deref().map(table::printable).unwrap_or_default(),
                ]);
            }
            table::write(&rows, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A key as a script gets it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    id: &'a str,
    tenant: &'a str,
    scopes: Vec<&'static str>,
    state: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Item<'a>>,
}

impl<'a> Item<'a> {
    fn new(key: &'a KeyRecord, now: Timestamp) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: &key.id,
            tenant: &key.tenant,
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            state: state(key, now),
            created_at: key.created_at.to_string(),
            expires_at: text(key.expires_at),
            revoked_at: text(key.revoked_at),
            used_at: text(key.used_at),
            note: key.note.as_deref(),
        }
    }
}

fn state(key: &KeyRecord, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.is_valid(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "expired",
    }
}

fn scopes(key: &KeyRecord) -> String {
    key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Random bytes of the operating system.
fn random() -> Result<[u8; 38], KeyError> {
    let mut bytes = [0; 38];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

/// When a key ends that is made now.
fn end(expires: Expiry, now: Timestamp) -> Result<Option<Timestamp>, KeyError> {
    let end = match expires {
        Expiry::Never => return Ok(None),
        Expiry::Days(days) => now + SignedDuration::from_hours(24 * i64::from(days)),
        Expiry::On(date) => {
            let end = date.to_zoned(TimeZone::UTC).map_err(|_| KeyError::NoDay)?.timestamp();
            if end <= now {
                return Err(KeyError::Over(date));
            }
            end
        }
    };
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_when_it_was_told_to() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let at = |text: &str| end(text.parse().unwrap(), now).map(|end| end.map(|end| end.to_string()));
        assert_eq!(at("90d").unwrap().unwrap(), "2027-02-19T10:00:00Z");
        assert_eq!(at("2026-11-22").unwrap().unwrap(), "2026-11-22T00:00:00Z");
        assert_eq!(at("never").unwrap(), None);
        assert!(matches!(at("2026-11-21"), Err(KeyError::Over(_))));
        for wrong in ["", "0d", "3651d", "90", "2026-13-01", "forever", "-1d"] {
            assert!(wrong.parse::<Expiry>().is_err(), "{wrong}");
        }
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
