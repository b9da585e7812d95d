//! Which change makes which objects due: the table that connects watches with queues.

use std::sync::Arc;

use kube::runtime::events::EventType;
use kube::{Api, Client, Resource, ResourceExt};
use tagwarden_api::account::ClientAccount;
use tagwarden_api::audit::ComplianceAudit;
use tagwarden_api::condition::{READY, reason};
use tagwarden_api::policy::TaggingPolicy;
use tokio::task::JoinSet;

use crate::account::is_let_in;
use crate::cache::{Cache, Change, follow};
use crate::conditions::find;
use crate::context::{Frame, Scope};
use crate::key::Key;
use crate::queue::Queue;
use crate::write::Object;

/// The queues of all kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queues {
    pub(crate) accounts: Arc<Queue>,
    pub(crate) policies: Arc<Queue>,
    pub(crate) audits: Arc<Queue>,
}

/// Starts the watches of all kinds.
pub(crate) fn start(tasks: &mut JoinSet<()>, client: &Client, frame: &Arc<Frame>, queues: &Queues) {
    watch(tasks, client, frame, &frame.accounts, with(frame, queues, account_changed));
    watch(tasks, client, frame, &frame.policies, with(frame, queues, policy_changed));
    watch(tasks, client, frame, &frame.audits, with(frame, queues, audit_changed));
}

fn with<K: 'static>(
    frame: &Arc<Frame>,
    queues: &Queues,
    changed: fn(&Frame, &Queues, &Change<K>),
) -> impl Fn(Change<K>) + Clone + Send + 'static {
    let (frame, queues) = (Arc::clone(frame), queues.clone());
    move |change| changed(&frame, &queues, &change)
}

fn watch<K: Object>(
    tasks: &mut JoinSet<()>,
    client: &Client,
    frame: &Arc<Frame>,
    cache: &Cache<K>,
    changed: impl Fn(Change<K>) + Clone + Send + 'static,
) {
    let namespaces = match &frame.settings.scope {
        Scope::All => vec![None],
        Scope::Namespaces(namespaces) => namespaces.iter().cloned().map(Some).collect(),
    };
    for namespace in namespaces {
        let api = match &namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        };
        let understood = {
            let (frame, changed) = (Arc::clone(frame), changed.clone());
            move |change: Change<K>| {
                frame.metrics.malformed(&K::kind(&()), &change.key, false);
                changed(change);
            }
        };
        let malformed = {
            let frame = Arc::clone(frame);
            move |key: Key, invalid: &kube::core::error_boundary::InvalidObject| {
                report_malformed::<K>(&frame, &key, invalid);
            }
        };
        tasks.spawn(follow(api, namespace, cache.clone(), understood, malformed));
    }
}

/// An object that cannot be understood has no status to say so: it gets an event, a line in the log, and a metric.
fn report_malformed<K: Object>(
    frame: &Arc<Frame>,
    key: &Key,
    invalid: &kube::core::error_boundary::InvalidObject,
) {
    let kind = K::kind(&());
    tracing::warn!(%kind, namespace = %key.namespace, name = %key.name, error = invalid.error, "left out, as it cannot be understood");
    frame.metrics.malformed(&kind, key, true);
    let mut reference = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(kind.into_owned()),
        namespace: invalid.metadata.namespace.clone(),
        name: invalid.metadata.name.clone(),
        ..Default::default()
    };
    reference.uid.clone_from(&invalid.metadata.uid);
    let (beside, frame, error) = (frame.beside.clone(), Arc::clone(frame), invalid.error.clone());
    beside.spawn(async move {
        frame.events.publish(EventType::Warning, reference, reason::MALFORMED, "Read", &error).await;
    });
}

fn account_changed(frame: &Frame, queues: &Queues, change: &Change<ClientAccount>) {
    if change.is_declared() {
        queues.accounts.add(&change.key);
    }
    add_namesakes(frame, queues, change);
    let ready = |account: &Option<Arc<ClientAccount>>| {
        let status = account.as_ref().and_then(|account| account.status.as_ref());
        status.and_then(|status| find(&status.conditions, READY)).map(|ready| ready.status.clone())
    };
    if change.is_declared() || ready(&change.old) != ready(&change.new) {
        add_all(&queues.audits, &frame.audits, &change.key.namespace, |_| true);
    }
}

/// Of several objects that name one account, only one has it; when one comes, goes, is let in or shut out, that may be
/// another one than before.
fn add_namesakes(frame: &Frame, queues: &Queues, change: &Change<ClientAccount>) {
    let standing = |account: &Option<Arc<ClientAccount>>| account.as_ref().map(|account| is_let_in(account));
    let id = change.new.as_ref().or(change.old.as_ref()).map(|account| &account.spec.account_id);
    if let (true, Some(id)) = (standing(&change.old) != standing(&change.new), id) {
        for account in frame.accounts.all() {
            if account.spec.account_id == *id {
                queues.accounts.add(&Key::of(&*account));
            }
        }
    }
}

fn policy_changed(frame: &Frame, queues: &Queues, change: &Change<TaggingPolicy>) {
    if change.is_declared() {
        queues.policies.add(&change.key);
    }
    let revision = |policy: &Option<Arc<TaggingPolicy>>| {
        policy.as_ref().and_then(|policy| policy.status.as_ref()?.revision.clone())
    };
    if change.is_declared() || revision(&change.old) != revision(&change.new) {
        add_all(&queues.audits, &frame.audits, &change.key.namespace, |audit| {
            audit.spec.policy_ref.name == *change.key.name
        });
    }
}

fn audit_changed(_: &Frame, queues: &Queues, change: &Change<ComplianceAudit>) {
    if !change.is_declared() {
        return;
    }
    queues.audits.add(&change.key);
    // It may have come to use another policy, which counts its users.
    let policies =
        [&change.old, &change.new].map(|audit| audit.as_ref().map(|audit| &audit.spec.policy_ref.name));
    if policies[0] != policies[1] {
        for policy in policies.into_iter().flatten() {
            queues.policies.add(&Key::new(&change.key.namespace, policy));
        }
    }
}

fn add_all<K: Resource>(queue: &Queue, cache: &Cache<K>, namespace: &str, wanted: impl Fn(&K) -> bool) {
    for object in cache.in_namespace(namespace) {
        if wanted(&object) {
            queue.add(&Key::new(namespace, &object.name_any()));
        }
    }
}
