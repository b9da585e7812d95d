//! kube's runtime works in this process: controllers, finalizers, events, waiting.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Event as CoreEvent;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Turn, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::oneshot;

use super::bed::{On, bed, widget, within};

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("test.tagwarden.io", "v1", "Widget"), "widgets")
}

fn widgets(client: &Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &resource())
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

struct Context {
    client: Client,
    recorder: Recorder,
}

/// Says that it has seen the object, and cleans up before it goes.
async fn reconcile(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, Failed> {
    let api = widgets(&context.client);
    let turn = |turn: Turn<DynamicObject>| async {
        let (reason, object) = match turn {
            Turn::Apply(object) => ("Seen", object),
            Turn::Cleanup(object) => ("CleanedUp", object),
        };
        if reason == "Seen" {
            let status = json!({ "status": {
                "phase": "Ready", "observedGeneration": object.metadata.generation,
            }});
            api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        let event = Event {
            type_: EventType::Normal,
            reason: reason.into(),
            note: None,
            action: "Reconcile".into(),
            secondary: None,
        };
        context.recorder.publish(&event, &object.object_ref(&resource())).await?;
        Ok::<_, kube::Error>(Action::await_change())
    };
    finalizer(&api, "test.tagwarden.io/cleanup", object, turn)
        .await
        .map_err(|error| Failed(error.to_string()))
}

fn run_controller(client: &Client) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let recorder = Recorder::new(client.clone(), Reporter::from("widget-controller"));
    let context = Arc::new(Context { client: client.clone(), recorder });
    let controller = Controller::new_with(widgets(client), watcher::Config::default(), resource())
        .graceful_shutdown_on(async {
            let _ = stopped.await;
        })
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(100)), context)
        .for_each(|_| async {});
    tokio::spawn(controller);
    stop
}

#[tokio::test]
async fn a_controller_runs_against_the_plane() {
    for on in On::ALL {
        let bed = bed(on).await;
        let api = widgets(&bed.client);
        let _stop = run_controller(&bed.client);
        let object = serde_json::from_value(widget("a")).unwrap();
        let made: DynamicObject = api.create(&PostParams::default(), &object).await.unwrap();
        assert_eq!(made.data["status"]["observedGeneration"], -1);
        let ready = |object: Option<&DynamicObject>| {
            object.is_some_and(|object| object.data["status"]["phase"] == "Ready")
        };
        within(await_condition(api.clone(), "a", ready)).await.unwrap();
        let uid = made.uid().unwrap();
        let deleted = api.delete("a", &DeleteParams::default()).await.unwrap();
        assert!(deleted.is_left(), "{on:?}: it waits for its finalizer");
        within(await_condition(api.clone(), "a", conditions::is_deleted(&uid))).await.unwrap();
        let events: Api<CoreEvent> = Api::default_namespaced(bed.client.clone());
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let reasons: Vec<_> =
            events.list(&about).await.unwrap().into_iter().filter_map(|event| event.reason).collect();
        assert!(reasons.contains(&"Seen".to_owned()), "{on:?}: {reasons:?}");
        bed.plane.shutdown().await;
    }
}
