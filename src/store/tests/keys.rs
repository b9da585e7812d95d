//! Keys: what is kept of them, who sees them, and when they end.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tagwarden_app::ask::Scope;
use tagwarden_app::keys::{KeyRecord, Keys, NewKey};

use crate::tests::bed::TestBed;
use crate::tests::on_both;
use crate::{Store, StoreError};

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_hours(24 * days)
}

fn key(number: u8, tenant: &str, days: Option<i64>) -> KeyRecord {
    let new = NewKey::from_random(&[number; 38]);
    KeyRecord {
        id: new.id,
        digest: new.digest,
        tenant: tenant.to_owned(),
        scopes: BTreeSet::from([Scope::TagRead, Scope::AuditWrite]),
        note: Some("for the pipeline".to_owned()),
        created_at: at(0),
        expires_at: days.map(at),
        revoked_at: None,
        used_at: None,
    }
}

async fn valid(store: &Store, days: i64) -> Vec<String> {
    store.valid(at(days)).await.unwrap().into_iter().map(|key| key.id).collect()
}

on_both! {
    async fn a_key_is_kept_as_it_is_and_without_its_secret(bed) {
        let store = bed.open().await;
        let kept = key(1, "acme", Some(90));
        store.add_key(&kept).await.unwrap();
        let other = key(2, "team-b", None);
        store.add_key(&other).await.unwrap();
        assert_eq!(store.keys(None).await.unwrap(), [kept.clone(), other.clone()]);
        assert_eq!(store.keys(Some("acme")).await.unwrap(), std::slice::from_ref(&kept));
        assert_eq!(store.valid(at(1)).await.unwrap(), [kept, other]);
        assert!(matches!(
            store.add_key(&KeyRecord { tenant: String::new(), ..key(3, "", None) }).await,
            Err(StoreError::BadName { .. })
        ));
    }

    async fn a_key_ends_and_stays_in_the_list_for_a_year(bed) {
        let store = bed.open().await;
        let (short, long) = (key(1, "acme", Some(7)), key(2, "acme", None));
        for key in [&short, &long] {
            store.add_key(key).await.unwrap();
        }
        assert_eq!(valid(&store, 6).await, [short.id.clone(), long.id.clone()]);
        assert_eq!(valid(&store, 7).await, std::slice::from_ref(&long.id));
        store.revoke_key(&long.id, at(8)).await.unwrap();
        store.revoke_key(&long.id, at(9)).await.unwrap();
        assert_eq!(valid(&store, 8).await, [""; 0]);
        assert_eq!(store.keys(None).await.unwrap()[1].revoked_at, Some(at(8)));
        assert_eq!(
            store.revoke_key("none", at(9)).await,
            Err(StoreError::KeyNotFound("none".to_owned()))
        );
        store.add_key(&KeyRecord { created_at: at(400), ..key(3, "acme", None) }).await.unwrap();
        assert_eq!(store.keys(None).await.unwrap().len(), 1);
    }

    async fn the_last_use_is_remembered(bed) {
        let store = bed.open().await;
        let kept = key(1, "acme", None);
        store.add_key(&kept).await.unwrap();
        let used = [(kept.id.clone(), at(2)), ("gone".to_owned(), at(2))];
        store.used(&used).await.unwrap();
        store.used(&[(kept.id, at(1))]).await.unwrap();
        assert_eq!(store.keys(None).await.unwrap()[0].used_at, Some(at(2)));
    }
}
