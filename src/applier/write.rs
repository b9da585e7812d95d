//! Writes objects to the control plane, and no more than has to be written.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tagwarden_operator::Fence;
use tokio::time::timeout;

use super::change::{MANAGED, creation, differing, file_of, patch, was_applied};
use super::wanted::{Identity, Kind, Object, Problem};

/// Who writes, as the control plane remembers it.
const MANAGER: &str = "tagwarden-manifests";

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Objects listed at once when looking for those to prune.
const PAGE: u32 = 500;

/// The longest note of an event, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The control plane refuses, or has trouble of its own.
    #[error("{0}")]
    Refused(String),
    /// No answer.
    #[error("the control plane does not answer: {0}")]
    Unanswered(String),
    /// Another replica does.
    #[error("another replica leads")]
    NotLeading,
    /// The one that is there is on its way out.
    #[error("is being deleted; it is created anew once it is gone")]
    Leaving,
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status.message.clone()),
            other => Self::Unanswered(other.to_string()),
        }
    }
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Created,
    Changed,
    Unchanged,
}

/// What became of all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub created: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub pruned: usize,
    pub failed: usize,
}

/// An object that came from a file, and that no file declares any more.
#[derive(Debug)]
pub struct Leftover {
    pub identity: Identity,
    /// The file it came from.
    pub file: String,
    pub object: DynamicObject,
}

impl Counts {
    pub fn add(&mut self, written: Written) {
        match written {
            Written::Created => self.created += 1,
            Written::Changed => self.changed += 1,
            Written::Unchanged => self.unchanged += 1,
        }
    }

    /// Whether anything was written.
    pub fn any(&self) -> bool {
        self.created + self.changed + self.pruned > 0
    }
}

/// The way to the control plane.
pub struct Writer {
    client: Client,
    fence: Fence,
    recorder: Recorder,
    /// Where events go that are about no object.
    namespace: String,
    /// Namespaces that were seen to be there this time.
    namespaces: BTreeSet<String>,
}

impl Writer {
    pub fn new(client: Client, fence: Fence, namespace: String) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            fence,
            namespace,
            namespaces: BTreeSet::new(),
        }
    }

    /// Forgets what was seen last time: somebody may have deleted a namespace since.
    pub fn begin(&mut self) {
        self.namespaces.clear();
    }

    /// To be asked before everything that others would see.
    fn leads(&self) -> Result<(), WriteError> {
        self.fence.check().map_err(|_| WriteError::NotLeading)
    }

    /// Makes the object what its file wants. Where it is so already, nothing is written.
    pub async fn apply(&mut self, object: &Object) -> Result<Written, WriteError> {
        self.namespace_of(&object.identity).await?;
        let written = answer(self.write(object)).await?;
        match written {
            Written::Created => tracing::info!(object = %object.identity, file = object.file, "created"),
            Written::Changed => tracing::info!(object = %object.identity, file = object.file, "changed"),
            Written::Unchanged => {}
        }
        Ok(written)
    }

    async fn write(&self, object: &Object) -> Result<Written, WriteError> {
        self.leads()?;
        let api = self.api(&object.identity);
        let name = &object.identity.name;
        let Some(live) = api.get_opt(name).await? else {
            let created = serde_json::from_value(creation(object))
                .map_err(|error| WriteError::Refused(error.to_string()))?;
            let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            api.create(&post, &created).await?;
            return Ok(Written::Created);
        };
        if live.metadata.deletion_timestamp.is_some() {
            return Err(WriteError::Leaving);
        }
        let before = live.resource_version();
        let tree = serde_json::to_value(&live).map_err(|error| WriteError::Refused(error.to_string()))?;
        let Some(patch) = patch(&tree, object) else { return Ok(Written::Unchanged) };
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let after = api.patch(name, &params, &Patch::Merge(&patch)).await?;
        // Defaults that the server fills in again are a change that is none.
        if after.resource_version() == before {
            return Ok(Written::Unchanged);
        }
        if was_applied(&tree, object) {
            let after = serde_json::to_value(&after).unwrap_or_default();
            self.tell_restored(object, &differing(&tree, &after).join(", ")).await;
        }
        Ok(Written::Changed)
    }

    /// Whoever edited it hears why it did not last.
    async fn tell_restored(&self, object: &Object, fields: &str) {
        let Object { identity, place, .. } = object;
        tracing::warn!(object = %identity, file = object.file, fields, "was edited by hand, and is what its file says again");
        let note = format!(
            "{fields} was edited by hand and is again what the manifest says that owns it ({place}): change it there"
        );
        self.publish(identity, "ManifestRestored", note).await;
    }

    /// Creates the namespace of an object where nobody has.
    async fn namespace_of(&mut self, identity: &Identity) -> Result<(), WriteError> {
        if identity.kind == Kind::Namespace || self.namespaces.contains(&identity.namespace) {
            return Ok(());
        }
        self.leads()?;
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(Kind::Namespace));
        let name = &identity.namespace;
        answer(async {
            if api.get_opt(name).await?.is_none() {
                let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
                let namespace =
                    serde_json::from_value(body).map_err(|error| WriteError::Refused(error.to_string()))?;
                match api.create(&PostParams::default(), &namespace).await {
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    answer => drop(answer?),
                }
            }
            Ok(())
        })
        .await?;
        self.namespaces.insert(name.clone());
        Ok(())
    }

    /// What came from files and is wanted no more, what refers to others first.
    pub async fn leftovers(&self, wanted: &[Object]) -> Result<Vec<Leftover>, WriteError> {
        let wanted: BTreeSet<&Identity> = wanted.iter().map(|object| &object.identity).collect();
        let mut leftovers = Vec::new();
        for kind in Kind::ALL.into_iter().rev() {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
            let mut list = ListParams::default().labels(&format!("{MANAGED}=true")).limit(PAGE);
            loop {
                let page = answer(async { Ok(api.list(&list).await?) }).await?;
                for object in page.items {
                    let identity = Identity {
                        kind,
                        namespace: object.namespace().unwrap_or_default(),
                        name: object.name_any(),
                    };
                    if !wanted.contains(&identity) && object.metadata.deletion_timestamp.is_none() {
                        let file = file_of(&serde_json::to_value(&object).unwrap_or(Value::Null));
                        leftovers.push(Leftover { identity, file, object });
                    }
                }
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => list = list.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(leftovers)
    }

    /// Deletes what no file declares any more.
    pub async fn delete(
        &self,
        identity: &Identity,
        file: &str,
        object: &DynamicObject,
    ) -> Result<(), WriteError> {
        self.leads()?;
        let same = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        answer(async {
            match self.api(identity).delete(&identity.name, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                answer => Ok(answer.map(drop)?),
            }
        })
        .await?;
        tracing::info!(object = %identity, file, "pruned: no manifest declares it any more");
        Ok(())
    }

    /// Tells a problem where people look: at the object, or at the namespace where it is about none.
    pub async fn event(&self, problem: &Problem) {
        let fallback =
            Identity { kind: Kind::Namespace, namespace: String::new(), name: self.namespace.clone() };
        let about = problem.about.as_ref().unwrap_or(&fallback);
        self.publish(about, "ManifestRefused", problem.text.clone()).await;
    }

    async fn publish(&self, about: &Identity, reason: &str, mut note: String) {
        let resource = resource(about.kind);
        let mut reference = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: Some(about.name.clone()),
            namespace: (!about.namespace.is_empty()).then(|| about.namespace.clone()),
            ..ObjectReference::default()
        };
        if let Ok(Ok(Some(live))) = timeout(ANSWER_WITHIN, self.api(about).get_opt(&about.name)).await {
            reference.uid = live.uid();
        }
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Apply".to_owned(),
            secondary: None,
        };
        match timeout(ANSWER_WITHIN, self.recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event was lost"),
            Err(_) => tracing::debug!("an event was lost: no answer"),
        }
    }

    fn api(&self, identity: &Identity) -> Api<DynamicObject> {
        let resource = resource(identity.kind);
        match identity.kind {
            Kind::Namespace => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &identity.namespace, &resource),
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, plural) = match kind {
        Kind::Namespace => ("", "v1", "namespaces"),
        Kind::Secret => ("", "v1", "secrets"),
        Kind::TaggingPolicy => ("tagwarden.io", "v1alpha1", "taggingpolicies"),
        Kind::ClientAccount => ("tagwarden.io", "v1alpha1", "clientaccounts"),
        Kind::ComplianceAudit => ("tagwarden.io", "v1alpha1", "complianceaudits"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name()), plural)
}

async fn answer<T>(work: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
    match timeout(ANSWER_WITHIN, work).await {
        Ok(result) => result,
        Err(_) => Err(WriteError::Unanswered(format!("nothing within {} seconds", ANSWER_WITHIN.as_secs()))),
    }
}
