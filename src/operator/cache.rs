//! What is known of the objects of one kind: every one of them, kept current by watches.
//!
//! An object that cannot be understood (written under another version of its schema, say) stops nothing, and is
//! reported. It is there all the same: what is known of it stays as it was last understood, so that nobody takes it
//! for deleted, stops its run, counts without it or takes its place. One that never was understood is not worked on,
//! but its uid is known ([`Cache::uids`]). Only the watch's word that it is gone, or that another object has its
//! name, makes it go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::StreamExt;
use jiff::Timestamp;
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
    /// The uids of those that cannot be understood as they are now.
    misread: Mutex<BTreeMap<Key, String>>,
    /// How many watches have not listed everything yet.
    behind: watch::Sender<usize>,
    /// When a list was whole, or a watch told of a change, for the last time.
    heard: Mutex<Option<Timestamp>>,
}

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A list, which is always right.
    List,
    /// A watch.
    Watch,
    /// The answer to a write of our own.
    Answer,
}

/// An object that came, changed or went.
#[derive(Debug)]
pub struct Change<K> {
    /// Which one.
    pub key: Key,
    /// As it was; `None`: it is new.
    pub old: Option<Arc<K>>,
    /// As it is; `None`: it is gone.
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
                misread: Mutex::default(),
                behind: watch::Sender::new(watches),
                heard: Mutex::default(),
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

    /// When the API server told of these objects last: that it listed all of them, or that one changed.
    pub fn heard_at(&self) -> Option<Timestamp> {
        *self.inner.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn heard(&self) {
        let mut heard = self.inner.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *heard = Some(Timestamp::now());
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
        let misread = self.misread().remove(&key).is_some();
        let Some(old) = self.write().remove(&key) else {
            return misread.then_some(Change { key, old: None, new: None });
        };
        let old = self.untold().remove(&key).unwrap_or(Some(old));
        Some(Change { key, old, new: None })
    }

    fn misread(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.inner.misread.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All keys, of objects that cannot be understood as well.
    fn names(&self) -> BTreeSet<Key> {
        let misread = self.misread().keys().cloned().collect::<Vec<_>>();
        self.read().keys().cloned().chain(misread).collect()
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Arc<K>>>> {
        self.inner.untold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<K: Resource> Cache<K> {
    /// Takes over an object as the API server answered it to a write of our own, so that the next look does not
    /// see what was before. Only the watch brings objects: one that went meanwhile does not come back by its answer.
    pub fn observe(&self, object: K) {
        self.put(object, Source::Answer);
    }

    /// The uids of all objects, of those that cannot be understood as well.
    pub fn uids(&self) -> BTreeSet<String> {
        let misread = self.misread().values().cloned().collect::<Vec<_>>();
        self.read().values().filter_map(|object| object.meta().uid.clone()).chain(misread).collect()
    }

    /// What a watch does that tells of this object.
    #[cfg(test)]
    pub(crate) fn bring(&self, object: K) {
        self.hear(object, Source::Watch);
    }

    /// Takes note of an object that cannot be understood. Gives what was known of another one that had its name.
    fn misunderstand(&self, key: Key, uid: String) -> Option<Change<K>> {
        let other = self.get(&key).filter(|known| known.meta().uid.as_ref() != Some(&uid));
        let change = other.and_then(|_| self.remove(key.clone()));
        self.misread().insert(key, uid);
        change
    }

    /// Takes what the watch says. A write of our own that comes back is a change like any other: others may depend
    /// on the object.
    fn hear(&self, object: K, source: Source) -> Option<Change<K>> {
        let (key, version) = (Key::of(&object), object.meta().resource_version.clone());
        self.misread().remove(&key);
        if let Some(change) = self.put(object, source) {
            let old = self.untold().remove(&key).unwrap_or(change.old);
            return Some(Change { key, old, new: change.new });
        }
        let new = self.get(&key).filter(|known| known.meta().resource_version == version)?;
        let old = self.untold().remove(&key)?;
        Some(Change { key, old, new: Some(new) })
    }

    /// Puts an object in, unless a newer version of it is there.
    fn put(&self, mut object: K, source: Source) -> Option<Change<K>> {
        object.meta_mut().managed_fields = None;
        let key = Key::of(&object);
        let mut objects = self.write();
        let is_past = match objects.get(&key) {
            None => source == Source::Answer,
            Some(old) if is_same(old.meta(), object.meta()) => true,
            Some(old) => match source {
                Source::List => false,
                Source::Watch => is_older(object.meta(), old.meta()),
                Source::Answer => old.meta().uid != object.meta().uid || is_older(object.meta(), old.meta()),
            },
        };
        if is_past {
            return None;
        }
        let new = Arc::new(object);
        let old = objects.insert(key.clone(), Arc::clone(&new));
        if source == Source::Answer {
            // While nothing can remove it.
            self.untold().entry(key.clone()).or_insert_with(|| old.clone());
        }
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
        let told =
            |event: &watcher::Event<_>| !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
        if event.as_ref().is_ok_and(told) {
            cache.heard();
        }
        let change = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(Key::of(&object));
                take(&cache, object, Source::List, &malformed)
            }
            Ok(watcher::Event::InitDone) => {
                let here =
                    |key: &Key| namespace.as_deref().is_none_or(|namespace| &*key.namespace == namespace);
                for key in cache.names() {
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
            Ok(watcher::Event::Apply(object)) => take(&cache, object, Source::Watch, &malformed),
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
    source: Source,
    malformed: &impl Fn(Key, &InvalidObject),
) -> Option<Change<K>> {
    match object.0 {
        Ok(object) => cache.hear(object, source),
        Err(invalid) => {
            let key = Key::new(
                invalid.metadata.namespace.as_deref().unwrap_or_default(),
                invalid.metadata.name.as_deref().unwrap_or_default(),
            );
            malformed(key.clone(), &invalid);
            cache.misunderstand(key, invalid.metadata.uid.unwrap_or_default())
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

    fn of_uid(uid: &str, version: &str) -> ConfigMap {
        let mut object = object("a", "x", version);
        object.metadata.uid = Some(uid.to_owned());
        object
    }

    #[test]
    fn a_version_never_goes_back_but_by_a_new_list() {
        let cache = Cache::new(0);
        cache.hear(object("a", "x", "8"), Source::Watch);
        cache.observe(object("a", "x", "10"));
        cache.observe(object("a", "x", "9"));
        assert_eq!(version(&cache).as_deref(), Some("10"));
        assert!(cache.put(object("a", "x", "10"), Source::Watch).is_none(), "our own write comes back");
        assert!(cache.put(object("a", "x", "100"), Source::Watch).is_some(), "numbers, not texts");
        assert!(cache.put(object("a", "x", "5"), Source::List).is_some());
        assert_eq!(version(&cache).as_deref(), Some("5"));
    }

    #[test]
    fn a_write_of_our_own_is_told_once_it_comes_back() {
        let cache = Cache::new(0);
        let hear = |version| cache.hear(object("a", "x", version), Source::Watch);
        assert!(hear("1").is_some());
        cache.observe(object("a", "x", "2"));
        cache.observe(object("a", "x", "3"));
        assert!(hear("2").is_none(), "that is past already");
        let change = hear("3").unwrap();
        assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("1"));
        assert!(hear("3").is_none(), "once");
        cache.observe(object("a", "x", "4"));
        let change = hear("5").unwrap();
        assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("3"));
        assert!(hear("5").is_none());
    }

    #[test]
    fn an_answer_brings_nothing_back_that_went_meanwhile() {
        let cache = Cache::new(0);
        cache.observe(of_uid("one", "2"));
        assert!(cache.is_empty(), "nobody has told of it");
        cache.hear(of_uid("one", "2"), Source::Watch);
        cache.remove(Key::new("a", "x"));
        cache.observe(of_uid("one", "3"));
        assert!(cache.is_empty(), "it is gone");
        cache.hear(of_uid("two", "4"), Source::Watch);
        cache.observe(of_uid("one", "5"));
        assert_eq!(version(&cache).as_deref(), Some("4"), "that is another one");
        let change = cache.remove(Key::new("a", "x")).unwrap();
        assert_eq!(change.old.unwrap().metadata.uid.as_deref(), Some("two"));
    }

    fn misread(uid: &str, version: &str) -> DeserializeGuard<ConfigMap> {
        let metadata = of_uid(uid, version).metadata;
        DeserializeGuard(Err(InvalidObject { error: "no".to_owned(), metadata }))
    }

    #[test]
    fn what_cannot_be_understood_is_not_gone() {
        let cache = Cache::new(0);
        let key = || Key::new("a", "x");
        let told = std::cell::Cell::new(0);
        let take =
            |object| take(&cache, object, Source::Watch, &|_, _: &InvalidObject| told.set(told.get() + 1));
        take(DeserializeGuard(Ok(of_uid("one", "1"))));
        assert!(take(misread("one", "2")).is_none(), "nobody needs to know");
        assert_eq!((version(&cache).as_deref(), told.get()), (Some("1"), 1), "as it was last understood");
        assert!(take(DeserializeGuard(Ok(of_uid("one", "3")))).is_some());
        assert!(cache.misread().is_empty());
        // Another object has its name, and that was never understood.
        let change = take(misread("two", "4")).unwrap();
        assert!(change.old.is_some() && change.new.is_none());
        assert!(cache.is_empty() && cache.uids().contains("two"));
        assert_eq!(cache.names().into_iter().collect::<Vec<_>>(), [key()]);
        let change = cache.remove(key()).unwrap();
        assert!(
            change.old.is_none() && change.new.is_none(),
            "it is told, so that nobody counts it any more"
        );
        assert!(cache.uids().is_empty() && cache.remove(key()).is_none());
    }

    #[test]
    fn namespaces_keep_apart() {
        let cache = Cache::new(0);
        for (namespace, name) in [("a", "x"), ("a-b", "x"), ("b", "x"), ("a", "y"), ("", "z")] {
            cache.hear(object(namespace, name, "1"), Source::Watch);
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
