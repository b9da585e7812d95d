//! Events: what happened to an object, for people. Repetitions are counted on one event. Telling is best effort: an
//! event that cannot be written never fails the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::conditions::{NO_EVENTS, bounded};
use crate::lease::Fence;

/// The API allows 1 KiB; characters may take several bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// An event is not worth waiting for any longer.
const WITHIN: Duration = Duration::from_secs(5);

/// The name under which events are reported.
pub const REPORTER: &str = "tagwarden";

/// Writes events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    fence: Fence,
    /// Whether that was refused last, by namespace.
    refused: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Writes events as this instance, while it leads.
    pub fn new(client: Client, instance: &str, fence: Fence) -> Self {
        let reporter = Reporter { controller: REPORTER.to_owned(), instance: Some(bounded(instance, 128)) };
        Self { recorder: Recorder::new(client, reporter), fence, refused: Arc::default() }
    }

    /// Something happened as it should. `action` is what was being done, both words in `PascalCase`.
    pub async fn normal<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()> + Sync,
    {
        self.publish(EventType::Normal, object.object_ref(&()), reason, action, note).await;
    }

    /// Something happened that people should look at.
    pub async fn warning<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()> + Sync,
    {
        self.publish(EventType::Warning, object.object_ref(&()), reason, action, note).await;
    }

    /// Whether events in this namespace are refused; `None` while none was written by this process.
    pub fn are_refused(&self, namespace: &str) -> Option<bool> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).copied()
    }

    fn note(&self, namespace: Option<&str>, refused: bool) {
        let namespace = namespace.unwrap_or_default().to_owned();
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(namespace.clone(), refused);
        if refused && before != Some(true) {
            tracing::warn!(namespace, "events are refused{NO_EVENTS}");
        }
    }

    /// The same for an object of which only a reference is known.
    pub(crate) async fn publish(
        &self,
        type_: EventType,
        object: ObjectReference,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        if self.fence.check().is_err() {
            return;
        }
        let note = within_bytes(note, NOTE_BYTES_MAX);
        // Whoever runs this beside a folder of manifests has the log and nothing else to look at.
        if matches!(type_, EventType::Warning) {
            let (kind, namespace, name) = (&object.kind, &object.namespace, &object.name);
            tracing::warn!(kind, namespace, name, reason, "{note}");
        }
        let event = Event {
            type_,
            reason: bounded(reason, 128),
            note: Some(note),
            action: bounded(action, 128),
            secondary: None,
        };
        match tokio::time::timeout(WITHIN, self.recorder.publish(&event, &object)).await {
            Ok(Ok(())) => self.note(object.namespace.as_deref(), false),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                tracing::debug!(error = status.message, reason, "an event was refused");
                self.note(object.namespace.as_deref(), true);
            }
            Ok(Err(error)) => tracing::debug!(%error, reason, "an event could not be written"),
            Err(_) => tracing::debug!(reason, "an event could not be written in time"),
        }
    }
}

/// At most so many bytes, cut as [`bounded`] does.
fn within_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    bounded(text, text[..end].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::within_bytes;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(within_bytes("aéé", 4), "a…");
        assert_eq!(within_bytes("aéé", 5), "aéé");
        assert_eq!(within_bytes("one two three", 12), "one two…");
        assert_eq!(within_bytes("", 3), "");
    }
}
