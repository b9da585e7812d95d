//! Create, read, change, delete.

use super::bed::{On, WIDGETS, ask, bed, get, widget};
use serde_json::json;

#[tokio::test]
async fn an_object_lives_and_dies() {
    for on in On::ALL {
        let bed = bed(on).await;
        let client = &bed.client;
        let (code, made) = ask(client, "POST", WIDGETS, &widget("a")).await;
        assert_eq!(code, 201, "{on:?}: {made}");
        assert_eq!(made["metadata"]["generation"], 1);
        let one = format!("{WIDGETS}/a");
        let (code, read) = get(client, &one).await;
        assert_eq!((code, &read), (200, &made));
        let (code, again) = ask(client, "POST", WIDGETS, &widget("a")).await;
        assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")));
        let status = json!({ "status": { "observedGeneration": 1 } });
        let (code, patched) = ask(client, "PATCH", &format!("{one}/status"), &status).await;
        assert_eq!(code, 200, "{patched}");
        assert_eq!(patched["status"]["observedGeneration"], 1);
        assert_eq!(patched["metadata"]["generation"], 1);
        let (code, list) = get(client, WIDGETS).await;
        assert_eq!((code, &list["items"][0]), (200, &patched));
        let (code, gone) = ask(client, "DELETE", &one, &json!({})).await;
        assert_eq!((code, &gone["status"]), (200, &json!("Success")));
        assert_eq!(get(client, &one).await.0, 404);
        bed.plane.shutdown().await;
    }
}
