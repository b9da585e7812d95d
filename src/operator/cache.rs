//! What is known of the objects of one kind: every one of them, kept current by watches.
//!
//! An object that cannot be understood (written under another version of its schema, say) stops nothing: it counts
//! as absent, and is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::key::Key;

/// The objects of one kind in all namespaces that are looked at. Cheap to clone.
#[derive(Debug)]
pub struct Cache<K> {
    inner: Arc<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
    /// What objects were before writes of our own that the watch has not told of yet. Only the watch tells of
    /// changes, so that each is told once.
    untold: Mutex<BTreeMap<Key, Option<Arc<K>>>>,
    /// How many watches have not listed everything yet.
    behind: watch::Sender<usize>,
}

/// An object that came, changed or went.
#[derive(Debug)]
pub struct Change<K> {
    /// Which one.
    pub key: Key,
    /// As it was; `None`: it is new.
    pub old: Option<Arc<K>>,
    /// As it is; `None`: it is gone, or cannot be understood any more.
    pub new: Option<Arc<K>>,
}

impl<K: Resource> Change<K> {
    /// Whether anything changed besides its status: what its author says, as opposed to what we said about it.
    pub fn is_declared(&self) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => !same_declaration(old.meta(), new.meta()),
            _ => true,
        }
    }

    /// Whether labels changed, or the object came or went.
    pub fn is_relabelled(&self) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => old.meta().labels != new.meta().labels,
            _ => true,
        }
    }
}

fn same_declaration(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.uid == new.uid
        && old.generation == new.generation
        && old.labels == new.labels
        && old.annotations == new.annotations
        && old.finalizers == new.finalizers
        && old.deletion_timestamp == new.deletion_timestamp
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K> Cache<K> {
    /// An empty cache that as many watches will fill; it is complete when all of them have listed everything.
    pub fn new(watches: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: RwLock::default(),
                untold: Mutex::default(),
                behind: watch::Sender::new(watches),
            }),
        }
    }

    /// The object of this key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().get(key).cloned()
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let objects = self.read();
        let from = Key::new(namespace, "");
        let these = objects.range(from..).take_while(|(key, _)| &*key.namespace == namespace);
        these.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().values().cloned().collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.read().keys().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether everything was listed at least once.
    pub fn is_complete(&self) -> bool {
        *self.inner.behind.borrow() == 0
    }

    /// Waits until everything was listed at least once.
    pub async fn complete(&self) {
        let mut behind = self.inner.behind.subscribe();
        // The sender lives as long as `self`.
        let _ = behind.wait_for(|behind| *behind == 0).await;
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.inner.objects.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.inner.objects.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn remove(&self, key: Key) -> Option<Change<K>> {
        let old = self.write().remove(&key)?;
        let old = self.untold().remove(&key).unwrap_or(Some(old));
        Some(Change { key, old, new: None })
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Arc<K>>>> {
        self.inner.untold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<K: Resource> Cache<K> {
    /// Takes over an object as the API server answered it to a write of our own, so that the next look does not
    /// see what was before.
    pub fn observe(&self, object: K) {
        if let Some(change) = self.put(object, false) {
            self.untold().entry(change.key).or_insert(change.old);
        }
    }

    /// Takes what the watch says. A write of our own that comes back is a change like any other: others may depend
    /// on the object.
    fn hear(&self, object: K, anyway: bool) -> Option<Change<K>> {
        let (key, version) = (Key::of(&object), object.meta().resource_version.clone());
        if let Some(change) = self.put(object, anyway) {
            let old = self.untold().remove(&key).unwrap_or(change.old);
            return Some(Change { key, old, new: change.new });
        }
        let new = self.get(&key).filter(|known| known.meta().resource_version == version)?;
        let old = self.untold().remove(&key)?;
        Some(Change { key, old, new: Some(new) })
    }

    /// Puts an object in, unless a newer version of it is there; `anyway` after a new list, which is always right.
    fn put(&self, mut object: K, anyway: bool) -> Option<Change<K>> {
        object.meta_mut().managed_fields = None;
        let key = Key::of(&object);
        let mut objects = self.write();
        if let Some(old) = objects.get(&key)
            && (is_same(old.meta(), object.meta()) || !anyway && is_older(object.meta(), old.meta()))
        {
            return None;
        }
        let new = Arc::new(object);
        let old = objects.insert(key.clone(), Arc::clone(&new));
        Some(Change { key, old, new: Some(new) })
    }
}

fn is_same(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.resource_version.is_some() && old.resource_version == new.resource_version && old.uid == new.uid
}

/// Whether the one comes before the other, as far as versions can be compared.
fn is_older(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let number =
        |meta: &ObjectMeta| meta.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    matches!((number(one), number(other)), (Some(one), Some(other)) if one < other)
}

/// Keeps a cache current with the objects of one namespace, or of all, until it is dropped. `changed` is told of
/// every change, `malformed` of every object that cannot be understood.
pub async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    namespace: Option<String>,
    cache: Cache<K>,
    changed: impl Fn(Change<K>) + Send,
    malformed: impl Fn(Key, &InvalidObject) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = pin!(events);
    let mut listed = BTreeSet::new();
    let mut first = true;
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(Key::of(&object));
                take(&cache, object, true, &malformed)
            }
            Ok(watcher::Event::InitDone) => {
                let here =
                    |key: &Key| namespace.as_deref().is_none_or(|namespace| &*key.namespace == namespace);
                for key in cache.keys() {
                    if here(&key) && !listed.contains(&key) {
                        cache.remove(key).into_iter().for_each(&changed);
                    }
                }
                listed.clear();
                if std::mem::take(&mut first) {
                    cache.inner.behind.send_modify(|behind| *behind = behind.saturating_sub(1));
                }
                None
            }
            Ok(watcher::Event::Apply(object)) => take(&cache, object, false, &malformed),
            Ok(watcher::Event::Delete(object)) => cache.remove(Key::of(&object)),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch was interrupted, and is resumed");
                None
            }
        };
        change.into_iter().for_each(&changed);
    }
}

fn take<K: Resource>(
    cache: &Cache<K>,
    object: DeserializeGuard<K>,
    anyway: bool,
    malformed: &impl Fn(Key, &InvalidObject),
) -> Option<Change<K>> {
    match object.0 {
        Ok(object) => cache.hear(object, anyway),
        Err(invalid) => {
            let key = Key::new(
                invalid.metadata.namespace.as_deref().unwrap_or_default(),
                invalid.metadata.name.as_deref().unwrap_or_default(),
            );
            malformed(key.clone(), &invalid);
            cache.remove(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(namespace: &str, name: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn version(cache: &Cache<ConfigMap>) -> Option<String> {
        cache.get(&Key::new("a", "x"))?.metadata.resource_version.clone()
    }

    #[test]
    fn a_version_never_goes_back_but_by_a_new_list() {
        let cache = Cache::new(0);
        cache.observe(object("a", "x", "10"));
        cache.observe(object("a", "x", "9"));
        assert_eq!(version(&cache).as_deref(), Some("10"));
        assert!(cache.put(object("a", "x", "10"), false).is_none(), "our own write comes back");
        assert!(cache.put(object("a", "x", "100"), false).is_some(), "compared as numbers, not as texts");
        assert!(cache.put(object("a", "x", "5"), true).is_some());
        assert_eq!(version(&cache).as_deref(), Some("5"));
    }

    #[test]
    fn a_write_of_our_own_is_told_once_it_comes_back() {
        let cache = Cache::new(0);
        assert!(cache.hear(object("a", "x", "1"), false).is_some());
        cache.observe(object("a", "x", "2"));
        cache.observe(object("a", "x", "3"));
        assert!(cache.hear(object("a", "x", "2"), false).is_none(), "that is past already");
        let change = cache.hear(object("a", "x", "3"), false).unwrap();
        assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("1"));
        assert!(cache.hear(object("a", "x", "3"), false).is_none(), "once");
        cache.observe(object("a", "x", "4"));
        let change = cache.hear(object("a", "x", "5"), false).unwrap();
        assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("3"));
        assert!(cache.hear(object("a", "x", "5"), false).is_none());
    }

    #[test]
    fn namespaces_keep_apart() {
        let cache = Cache::new(0);
        for (namespace, name) in [("a", "x"), ("a-b", "x"), ("b", "x"), ("a", "y"), ("", "z")] {
            cache.observe(object(namespace, name, "1"));
        }
        let names: Vec<_> =
            cache.in_namespace("a").iter().map(|object| Key::of(&**object).to_string()).collect();
        assert_eq!(names, ["a/x", "a/y"]);
        assert!(cache.in_namespace("c").is_empty());
    }

    #[test]
    fn a_status_alone_is_no_declaration() {
        let mut old = object("a", "x", "1");
        old.metadata.generation = Some(1);
        let mut new = old.clone();
        new.metadata.resource_version = Some("2".to_owned());
        let change = |new: &ConfigMap| Change {
            key: Key::new("a", "x"),
            old: Some(Arc::new(old.clone())),
            new: Some(Arc::new(new.clone())),
        };
        assert!(!change(&new).is_declared());
        new.metadata.annotations = Some([("tagwarden.io/requestedAt".to_owned(), "now".to_owned())].into());
        assert!(change(&new).is_declared());
        assert!(!change(&new).is_relabelled());
        new.metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into());
        assert!(change(&new).is_relabelled());
    }
}
