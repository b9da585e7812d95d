//! The keys that are valid now, in memory: a request is let in without asking the store, so that a store which hangs
//! holds nobody up, and a key that ends takes what it has under way with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_app::ask::Principal;
use tagwarden_app::keys::{KeyRecord, Keys, ShownKey};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long the store may take to tell the keys.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How often the last use of keys is noted.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// How keys are kept up to date.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often they are read.
    pub every: Duration,
    /// An unknown key has them read at once, but not more often than this.
    pub at_most_every: Duration,
    /// How long a request waits for that.
    pub patience: Duration,
    /// Keys that could not be read for so long are not trusted any more: some may have been revoked.
    pub stale: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            at_most_every: Duration::from_millis(100),
            patience: Duration::from_secs(2),
            stale: Duration::from_mins(1),
        }
    }
}

/// Somebody who showed a valid key.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Who.
    pub principal: Principal,
    /// Cancelled when the key ends.
    pub ended: CancellationToken,
}

/// Why a key opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEntry {
    /// It is none of ours, or has ended.
    Invalid,
    /// The keys are not known, or not well enough any more.
    Unknown,
}

/// The keys that are valid now.
pub struct Keyring {
    pace: Pace,
    clock: fn() -> Timestamp,
    keys: RwLock<HashMap<String, Arc<Entry>>>,
    /// When they were last read; nothing before they were.
    read_at: watch::Sender<Option<Instant>>,
    wanted: Notify,
    used: Mutex<HashMap<String, Timestamp>>,
}

struct Entry {
    record: KeyRecord,
    principal: Principal,
    ended: CancellationToken,
}

impl Keyring {
    /// An empty one.
    pub fn new(pace: Pace, clock: fn() -> Timestamp) -> Self {
        Self {
            pace,
            clock,
            keys: RwLock::default(),
            read_at: watch::Sender::new(None),
            wanted: Notify::new(),
            used: Mutex::default(),
        }
    }

    /// Whoever shows this key.
    pub async fn admit(&self, shown: &ShownKey) -> Result<Holder, NoEntry> {
        match self.find(shown) {
            // It may be younger than what was read.
            Err(NoEntry::Invalid) if self.is_unheard_of(shown) => {
                self.read_again().await;
                self.find(shown)
            }
            // The server has just started.
            Err(NoEntry::Unknown) if self.read_at.borrow().is_none() => {
                self.read_again().await;
                self.find(shown)
            }
            found => found,
        }
    }

    fn find(&self, shown: &ShownKey) -> Result<Holder, NoEntry> {
        let read_at = *self.read_at.borrow();
        if read_at.is_none_or(|at| at.elapsed() > self.pace.stale) {
            return Err(NoEntry::Unknown);
        }
        let entry = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&shown.id).cloned();
        let now = (self.clock)();
        let entry = entry
            .filter(|entry| entry.record.digest == shown.digest && entry.record.is_valid(now))
            .ok_or(NoEntry::Invalid)?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(shown.id.clone(), now);
        Ok(Holder { principal: entry.principal.clone(), ended: entry.ended.clone() })
    }

    fn is_unheard_of(&self, shown: &ShownKey) -> bool {
        !self.keys.read().unwrap_or_else(PoisonError::into_inner).contains_key(&shown.id)
    }

    /// Waits until the keys were read once more.
    async fn read_again(&self) {
        let mut read_at = self.read_at.subscribe();
        read_at.mark_unchanged();
        self.wanted.notify_one();
        let _ = timeout(self.pace.patience, read_at.changed()).await;
    }

    /// Keeps the keys up to date until it is dropped.
    pub async fn follow<K: Keys>(&self, keys: &K) {
        let mut noted = Instant::now();
        loop {
            match timeout(READ_WITHIN, keys.valid((self.clock)())).await {
                Ok(Ok(valid)) => {
                    self.replace(valid);
                    self.read_at.send_replace(Some(Instant::now()));
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the API keys cannot be read; those known before are valid");
                }
                Err(_) => tracing::warn!("the API keys cannot be read in time; those known before are valid"),
            }
            if noted.elapsed() >= NOTE_EVERY {
                noted = Instant::now();
                self.note(keys).await;
            }
            tokio::time::sleep(self.pace.at_most_every).await;
            let rest = self.pace.every.saturating_sub(self.pace.at_most_every);
            let _ = timeout(rest, self.wanted.notified()).await;
        }
    }

    /// Notes when keys were last used.
    pub async fn note<K: Keys>(&self, keys: &K) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return;
        }
        let used: Vec<(String, Timestamp)> = used.into_iter().collect();
        if !matches!(timeout(READ_WITHIN, keys.used(&used)).await, Ok(Ok(()))) {
            tracing::debug!("the last use of keys could not be noted");
        }
    }

    fn replace(&self, valid: Vec<KeyRecord>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *keys);
        for record in valid {
            let same = |entry: &Arc<Entry>| {
                let known = &entry.record;
                known.digest == record.digest
                    && known.tenant == record.tenant
                    && known.scopes == record.scopes
            };
            // Whatever else changed, the expiry is checked against the record: it is the new one that counts.
            let ended = before.remove(&record.id).filter(same).map(|entry| entry.ended.clone());
            let entry = Entry { principal: record.principal(), ended: ended.unwrap_or_default(), record };
            keys.insert(entry.record.id.clone(), Arc::new(entry));
        }
        drop(keys);
        for entry in before.into_values() {
            entry.ended.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tagwarden_app::ask::Scope;
    use tagwarden_app::keys::{KeysError, NewKey};

    use super::*;

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Kept>>);

    #[derive(Default)]
    struct Kept {
        keys: Vec<KeyRecord>,
        away: bool,
        used: Vec<String>,
    }

    impl Fake {
        fn set(&self, keys: &[&KeyRecord]) {
            self.0.lock().unwrap().keys = keys.iter().map(|key| (*key).clone()).collect();
        }
    }

    impl Keys for Fake {
        async fn valid(&self, now: Timestamp) -> Result<Vec<KeyRecord>, KeysError> {
            let state = self.0.lock().unwrap();
            if state.away {
                return Err(KeysError("away".to_owned()));
            }
            Ok(state.keys.iter().filter(|key| key.is_valid(now)).cloned().collect())
        }

        async fn used(&self, uses: &[(String, Timestamp)]) -> Result<(), KeysError> {
            self.0.lock().unwrap().used.extend(uses.iter().map(|(id, _)| id.clone()));
            Ok(())
        }
    }

    fn key(number: u8) -> (ShownKey, KeyRecord) {
        let new = NewKey::from_random(&[number; 38]);
        let record = KeyRecord {
            id: new.id.clone(),
            digest: new.digest,
            tenant: format!("tenant-{number}"),
            scopes: BTreeSet::from([Scope::TagRead]),
            note: None,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            used_at: None,
        };
        (ShownKey::parse(new.expose()).unwrap(), record)
    }

    /// A ring that follows a fake store, while this future runs.
    async fn with_ring<T>(pace: Pace, fake: &Fake, work: impl AsyncFnOnce(&Keyring) -> T) -> T {
        let ring = Keyring::new(pace, Timestamp::now);
        tokio::select! {
            () = ring.follow(fake) => unreachable!(),
            result = work(&ring) => result,
        }
    }

    const QUICK: Pace = Pace {
        every: Duration::from_millis(20),
        at_most_every: Duration::from_millis(5),
        patience: Duration::from_secs(30),
        stale: Duration::from_secs(30),
    };

    #[tokio::test]
    async fn a_new_key_is_known_at_once_and_a_revoked_one_takes_its_work_along() {
        let fake = Fake::default();
        let ((shown, record), (other, second)) = (key(1), key(2));
        let lazy = Pace { every: Duration::from_mins(10), ..QUICK };
        with_ring(lazy, &fake, async |ring| {
            ring.read_again().await;
            assert_eq!(ring.admit(&shown).await.unwrap_err(), NoEntry::Invalid);
            fake.set(&[&record]);
            let holder = ring.admit(&shown).await.unwrap();
            assert_eq!(&*holder.principal.tenant, "tenant-1");
            let forged = ShownKey { id: shown.id.clone(), ..other.clone() };
            assert_eq!(ring.admit(&forged).await.unwrap_err(), NoEntry::Invalid);
            fake.set(&[&record, &second]);
            assert!(ring.admit(&other).await.is_ok());
            assert!(!holder.ended.is_cancelled(), "another key changes nothing");
            ring.note(&fake).await;
        })
        .await;
        assert!(fake.0.lock().unwrap().used.contains(&record.id));
        with_ring(QUICK, &fake, async |ring| {
            ring.read_again().await;
            let holder = ring.admit(&shown).await.unwrap();
            fake.set(&[&second]);
            holder.ended.cancelled().await;
            assert_eq!(ring.admit(&shown).await.unwrap_err(), NoEntry::Invalid);
        })
        .await;
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_bridged_for_a_while() {
        let fake = Fake::default();
        let (shown, record) = key(1);
        fake.set(&[&record]);
        with_ring(Pace { stale: Duration::from_millis(500), ..QUICK }, &fake, async |ring| {
            ring.read_again().await;
            fake.0.lock().unwrap().away = true;
            assert!(ring.admit(&shown).await.is_ok());
            while ring.admit(&shown).await.is_ok() {
                tokio::task::yield_now().await;
            }
            assert_eq!(ring.admit(&shown).await.unwrap_err(), NoEntry::Unknown);
        })
        .await;
    }

    #[tokio::test]
    async fn before_the_keys_are_known_nobody_is_called_a_stranger() {
        let ring = Keyring::new(Pace { patience: Duration::from_millis(50), ..QUICK }, Timestamp::now);
        assert_eq!(ring.admit(&key(1).0).await.unwrap_err(), NoEntry::Unknown);
    }
}
