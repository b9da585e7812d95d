//! Writing to the API server: statuses, and objects that belong to ours. Nothing is written that is there already,
//! and nothing is written by a replica that does not lead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::FIELD_MANAGER;
use crate::cache::Cache;
use crate::failure::ObjectError;
use crate::key::Key;
use crate::lease::Fence;

/// The label that says whose the objects are that we make.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tagwarden");

/// The most bytes of a status.
pub const STATUS_BYTES_MAX: usize = 32 * 1024;

/// For one request to the API server.
const WITHIN: Duration = Duration::from_secs(30);

/// Writes objects, while this replica leads. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    fence: Fence,
}

impl Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// A kind of ours: in a namespace, and known by its type alone.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

impl Writer {
    /// Writes through this client while the fence is open.
    pub fn new(client: Client, fence: Fence) -> Self {
        Self { client, fence }
    }

    /// The objects of a kind in a namespace.
    pub fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes the status of an object what it should be, if it is not that already. Gives whether it wrote, and puts
    /// what it wrote into the cache. `before` is the status that `object` has.
    pub async fn status<K: Object, S: Serialize + Sync>(
        &self,
        cache: &Cache<K>,
        object: &K,
        before: Option<&S>,
        after: &S,
    ) -> Result<bool, ObjectError> {
        let what = describe(object);
        let before = json_of(&before, &what)?;
        let after = json_of(after, &what)?;
        if before == after {
            return Ok(false);
        }
        debug_assert!(
            after.to_string().len() <= STATUS_BYTES_MAX,
            "the status of {what} has {} bytes",
            after.to_string().len()
        );
        // The test makes sure that it is the object that was looked at, not another one of the same name: a merge
        // patch of a status may carry any uid, and the API server does not look at it.
        let patch = status_patch(&what, object.uid().as_deref(), &after)?;
        self.fence.check()?;
        let api: Api<K> = self.api(&Key::of(object).namespace);
        match within("patch", &what, api.patch_status(&object.name_any(), &manager(), &patch)).await {
            Ok(written) => {
                cache.observe(written);
                Ok(true)
            }
            Err(error) if is_doubtful(&error) => Err(self.doubt(object, what, error).await),
            Err(error) => Err(error),
        }
    }

    /// Why a write was refused that was meant for this very object: it is gone, or somebody else wrote meanwhile.
    /// Which of the two, servers put into words of their own, so it is looked up.
    async fn doubt<K: Object>(&self, object: &K, what: String, error: ObjectError) -> ObjectError {
        let api: Api<K> = self.api(&Key::of(object).namespace);
        match within("read", &what, api.get_opt(&object.name_any())).await {
            Ok(Some(there)) if there.uid() == object.uid() => match error {
                error if is_conflict(&error) => ObjectError::Contended { what },
                error => error,
            },
            Ok(_) => ObjectError::Gone { what },
            Err(unread) => unread,
        }
    }

    /// Makes a `ConfigMap` that belongs to `owner` hold exactly this. Gives whether it wrote.
    pub async fn config_map<K: Object>(
        &self,
        owner: &K,
        name: &str,
        data: BTreeMap<String, String>,
    ) -> Result<bool, ObjectError> {
        let api: Api<ConfigMap> = self.api(&Key::of(owner).namespace);
        let what = format!("ConfigMap {}/{name}", Key::of(owner).namespace);
        let there = within("read", &what, api.get_opt(name)).await?;
        let Some(there) = there else {
            let made = ConfigMap { metadata: owned(owner, name), data: Some(data), ..ConfigMap::default() };
            self.fence.check()?;
            within("create", &what, api.create(&post(), &made)).await?;
            return Ok(true);
        };
        if !belongs(&there.metadata, owner) {
            return Err(ObjectError::NotOurs { what });
        }
        let before = json_of(&there.data.unwrap_or_default(), &what)?;
        let Some(data) = difference(&before, &json_of(&data, &what)?) else { return Ok(false) };
        self.fence.check()?;
        let patch = json!({ "data": data });
        within("patch", &what, api.patch(name, &manager(), &Patch::Merge(&patch))).await?;
        Ok(true)
    }

    /// The `ConfigMap` of this name that belongs to `owner`, if there is one.
    pub async fn read_config_map<K: Object>(
        &self,
        owner: &K,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ObjectError> {
        let api: Api<ConfigMap> = self.api(&Key::of(owner).namespace);
        let what = format!("ConfigMap {}/{name}", Key::of(owner).namespace);
        let there = within("read", &what, api.get_opt(name)).await?;
        Ok(there.filter(|there| belongs(&there.metadata, owner)).map(|there| there.data.unwrap_or_default()))
    }

    /// The uids of all objects of a kind in a namespace, of those that cannot be understood as well.
    pub(crate) async fn uids<K: Object>(&self, namespace: &str) -> Result<BTreeSet<String>, ObjectError> {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("the {} of {namespace}", K::plural(&()));
        let all = within("list", &what, api.list(&ListParams::default())).await?;
        Ok(all.items.iter().filter_map(ResourceExt::uid).collect())
    }

    /// The bytes of a Secret's entry; `None`: there is no such Secret, or it has no such entry.
    pub async fn read_secret(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, ObjectError> {
        let api: Api<Secret> = self.api(namespace);
        let what = format!("Secret {namespace}/{name}");
        let there = within("read", &what, api.get_opt(name)).await?;
        Ok(there.and_then(|there| there.data?.remove(key)).map(|bytes| bytes.0))
    }

    /// Keeps this value in the Secret that belongs to `owner`. Another value that is there is replaced: whoever may
    /// write Secrets must not choose it.
    pub async fn keep_secret<K: Object>(
        &self,
        owner: &K,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<(), ObjectError> {
        let api: Api<Secret> = self.api(&Key::of(owner).namespace);
        let what = format!("Secret {}/{name}", Key::of(owner).namespace);
        if let Some(there) = within("read", &what, api.get_opt(name)).await? {
            if !belongs(&there.metadata, owner) {
                return Err(ObjectError::NotOurs { what });
            }
            let kept = there.data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0);
            if kept.is_some_and(|kept| kept == value.as_bytes()) {
                return Ok(());
            }
            self.fence.check()?;
            let patch = json!({ "data": { key: ByteString(value.as_bytes().to_vec()) } });
            within("patch", &what, api.patch(name, &manager(), &Patch::Merge(&patch))).await?;
            return Ok(());
        }
        let made = Secret {
            metadata: owned(owner, name),
            data: Some([(key.to_owned(), ByteString(value.as_bytes().to_vec()))].into()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        self.fence.check()?;
        within("create", &what, api.create(&post(), &made)).await?;
        Ok(())
    }
}

/// The metadata of an object that belongs to `owner`, and goes when it goes.
pub fn owned<K: Object>(owner: &K, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: owner.namespace(),
        labels: Some([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into()),
        owner_references: owner_reference(owner).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn owner_reference<K: Object>(owner: &K) -> Option<OwnerReference> {
    let reference = owner.controller_owner_ref(&())?;
    // Blocking the owner's deletion would need a permission on its finalizers, and gain nothing.
    Some(OwnerReference { block_owner_deletion: None, ..reference })
}

pub(crate) fn belongs<K: Object>(metadata: &ObjectMeta, owner: &K) -> bool {
    let owners = metadata.owner_references.iter().flatten();
    owner.uid().is_some_and(|uid| owners.into_iter().any(|owner| owner.uid == uid))
}

fn describe<K: Object>(object: &K) -> String {
    format!("{} {}", K::kind(&()), Key::of(object))
}

pub(crate) fn manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

pub(crate) fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(crate) async fn within<T>(
    action: &'static str,
    what: &str,
    request: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, ObjectError> {
    match tokio::time::timeout(WITHIN, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ObjectError::Api { action, what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(ObjectError::TimedOut { action, what: what.to_owned(), within: WITHIN }),
    }
}

/// Whether the object may be gone, or replaced by another one of the same name.
fn is_doubtful(error: &ObjectError) -> bool {
    error.status().is_some_and(|status| status.is_not_found() || status.is_invalid()) || is_conflict(error)
}

fn is_conflict(error: &ObjectError) -> bool {
    error.status().is_some_and(kube::core::Status::is_conflict)
}

/// Puts a status in place of another, if the object has this uid.
fn status_patch(what: &str, uid: Option<&str>, status: &Value) -> Result<Patch<()>, ObjectError> {
    let operations = json!([
        { "op": "test", "path": "/metadata/uid", "value": uid },
        { "op": "add", "path": "/status", "value": status },
    ]);
    let failed = |source| ObjectError::Json { what: what.to_owned(), source };
    serde_json::from_value(operations).map(Patch::Json).map_err(failed)
}

fn json_of<T: Serialize>(value: &T, what: &str) -> Result<Value, ObjectError> {
    serde_json::to_value(value).map_err(|source| ObjectError::Json { what: what.to_owned(), source })
}

/// The merge patch that turns one value into the other; `None` when there is nothing to do.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Some(after.clone()) };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            None => patch.insert(key.clone(), value.clone()),
            Some(before) => match difference(before, value) {
                None => continue,
                Some(difference) => patch.insert(key.clone(), difference),
            },
        };
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_changed_is_written() {
        let table = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1, "y": 3}}), Some(json!({"a": {"y": 3}}))),
            (json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]}))),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
        ];
        for (before, after, patch) in table {
            assert_eq!(difference(&before, &after), patch, "{before} → {after}");
        }
    }

    /// As RFC 7396 has it.
    fn apply(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = match target {
            Value::Object(target) => target,
            _ => Map::new(),
        };
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                let before = target.remove(key).unwrap_or(Value::Null);
                target.insert(key.clone(), apply(before, value));
            }
        }
        Value::Object(target)
    }

    /// Statuses: objects without nulls.
    fn status() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), any::<u8>().prop_map(Value::from)];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", value, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    fn stored(uid: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a", "uid": uid}})
    }

    #[tokio::test]
    async fn a_conflict_is_not_the_end_of_an_object() {
        use crate::failure::{Class, Classified};
        use crate::scripted::{client, refused};
        let conflict = || refused(409, "Conflict", "the object has been modified");
        let invalid =
            || refused(422, "Invalid", "the server rejected our request due to an error in our request");
        let absent = || refused(404, "NotFound", "not found");
        let table = [
            (conflict(), (200, stored("old")), Class::Contended),
            (conflict(), (200, stored("new")), Class::Moot),
            (conflict(), absent(), Class::Moot),
            (conflict(), refused(500, "InternalError", "no"), Class::Transient),
            (invalid(), (200, stored("new")), Class::Moot),
            (absent(), absent(), Class::Moot),
            // The resource itself is gone, say; the object is not.
            (absent(), (200, stored("old")), Class::Transient),
        ];
        for (answer, look, class) in table {
            let said = format!("{answer:?}, {look:?}");
            let (client, asked) = client([answer, look]);
            let writer = Writer::new(client, Fence::open());
            let object: ConfigMap = serde_json::from_value(stored("old")).unwrap();
            let error = writer.status(&Cache::new(0), &object, None, &json!({"a": 1})).await.unwrap_err();
            assert_eq!(error.class(), class, "{said}: {error}");
            assert_eq!(asked.lock().unwrap().len(), 2, "{said}");
        }
    }

    #[tokio::test]
    async fn who_does_not_lead_writes_nothing_and_is_not_done() {
        use crate::failure::{Class, Classified};
        let (client, asked) = crate::scripted::client([]);
        let object: ConfigMap = serde_json::from_value(stored("old")).unwrap();
        let writer = Writer::new(client, Fence::closed());
        let error = writer.status(&Cache::new(0), &object, None, &json!({"a": 1})).await.unwrap_err();
        assert_eq!(error.class(), Class::NotLeading);
        assert!(asked.lock().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_the_other(before in status(), after in status()) {
            match difference(&before, &after) {
                None => prop_assert_eq!(before, after),
                Some(patch) => prop_assert_eq!(apply(before, &patch), after),
            }
        }
    }
}
