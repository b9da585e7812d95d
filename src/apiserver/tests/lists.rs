//! Lists: pages of one version, selections, tables.

use serde_json::{Value, json};

use super::bed::{Bed, On, WIDGETS, ask, ask_as, bed, get, widget};

async fn fill(bed: &Bed, names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        let mut object = widget(name);
        object["metadata"]["labels"] = json!({ "parity": if index % 2 == 0 { "even" } else { "odd" } });
        object["spec"]["mode"] = json!(if index < 2 { "Hard" } else { "Soft" });
        assert_eq!(ask(&bed.client, "POST", WIDGETS, &object).await.0, 201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

/// Between two pages everything changes, and the pages still show what was there when the first was asked for.
#[tokio::test]
async fn pages_show_one_version() {
    for on in On::ALL {
        let bed = bed(on).await;
        let client = &bed.client;
        fill(&bed, &["a", "b", "c", "d", "e"]).await;
        let (_, whole) = get(client, WIDGETS).await;
        let (_, first) = get(client, &format!("{WIDGETS}?limit=2")).await;
        assert_eq!(names(&first), ["a", "b"], "{on:?}");
        assert_eq!(first["metadata"]["remainingItemCount"], 3, "{on:?}");
        for (method, name, body) in [
            ("DELETE", "/a", json!({})),
            ("DELETE", "/c", json!({})),
            ("DELETE", "/e", json!({})),
            ("POST", "", widget("e")),
            ("POST", "", widget("bb")),
            ("PATCH", "/d", json!({ "spec": { "size": 50 } })),
            ("PATCH", "/d", json!({ "spec": { "size": 51 } })),
        ] {
            let (code, answer) = ask(client, method, &format!("{WIDGETS}{name}"), &body).await;
            assert!(code < 300, "{answer}");
        }
        let mut items = first["items"].as_array().unwrap().clone();
        let mut token = first["metadata"]["continue"].as_str().unwrap().to_owned();
        while !token.is_empty() {
            let (code, page) = get(client, &format!("{WIDGETS}?limit=2&continue={token}")).await;
            assert_eq!(code, 200, "{page}");
            assert_eq!(page["metadata"]["resourceVersion"], whole["metadata"]["resourceVersion"]);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!(Value::Array(items), whole["items"], "{on:?}");
        let (_, now) = get(client, WIDGETS).await;
        assert_eq!(names(&now), ["b", "bb", "d", "e"]);
        let exact = format!(
            "{WIDGETS}?resourceVersion={}&resourceVersionMatch=Exact",
            whole["metadata"]["resourceVersion"].as_str().unwrap()
        );
        assert_eq!(get(client, &exact).await.1["items"], whole["items"], "{on:?}");

        let token = first["metadata"]["continue"].as_str().unwrap();
        bed.plane.compact().await.unwrap();
        let (code, answer) = get(client, &format!("{WIDGETS}?limit=2&continue={token}")).await;
        assert_eq!((code, &answer["reason"]), (410, &json!("Expired")), "{on:?}");
        assert_eq!(get(client, &exact).await.0, 410);
        bed.plane.shutdown().await;
    }
}

#[tokio::test]
async fn selections() {
    let bed = bed(On::Memory).await;
    fill(&bed, &["a", "b", "c", "d", "e"]).await;
    for (query, expected) in [
        ("labelSelector=parity=even", vec!["a", "c", "e"]),
        ("labelSelector=parity!=even", vec!["b", "d"]),
        ("labelSelector=parity%20in%20(odd)", vec!["b", "d"]),
        ("labelSelector=nothing", vec![]),
        ("fieldSelector=spec.mode=Hard", vec!["a", "b"]),
        ("fieldSelector=spec.mode=Hard&labelSelector=parity=odd", vec!["b"]),
        ("fieldSelector=metadata.name=c", vec!["c"]),
        ("fieldSelector=metadata.name=c&resourceVersion=0", vec!["c"]),
        ("fieldSelector=metadata.name=c&labelSelector=parity=odd", vec![]),
        ("fieldSelector=metadata.name!=c", vec!["a", "b", "d", "e"]),
        ("labelSelector=parity=even&limit=2", vec!["a", "c"]),
    ] {
        for path in [WIDGETS, "/apis/test.tagwarden.io/v1/widgets"] {
            let (code, list) = get(&bed.client, &format!("{path}?{query}")).await;
            assert_eq!(code, 200, "{list}");
            assert_eq!(names(&list), expected, "{query}");
        }
    }
    let (_, first) = get(&bed.client, &format!("{WIDGETS}?labelSelector=parity=even&limit=2")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) =
        get(&bed.client, &format!("{WIDGETS}?labelSelector=parity=even&limit=2&continue={token}")).await;
    assert_eq!(names(&rest), ["e"]);
    assert_eq!(rest["metadata"]["continue"], "");
    assert_eq!(get(&bed.client, &WIDGETS.replace("/default/", "/other/")).await.1["items"], json!([]));
}

#[tokio::test]
async fn tables_and_metadata() {
    let bed = bed(On::Memory).await;
    fill(&bed, &["a", "b"]).await;
    let as_ = async |form: &str| {
        let request = http::Request::get(WIDGETS)
            .header("accept", format!("application/json;as={form};v=v1;g=meta.k8s.io"))
            .body(Vec::new())
            .unwrap();
        let text = bed.client.request_text(request).await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let table = as_("Table").await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][1]["cells"], json!(["b", 1]));
    assert_eq!(
        table["metadata"]["resourceVersion"],
        get(&bed.client, WIDGETS).await.1["metadata"]["resourceVersion"]
    );
    let metadata = as_("PartialObjectMetadataList").await;
    assert_eq!(metadata["items"][0]["kind"], "PartialObjectMetadata");
    assert!(metadata["items"][0].get("spec").is_none());
}

#[tokio::test]
async fn a_collection_is_deleted_by_selection() {
    let bed = bed(On::Memory).await;
    fill(&bed, &["a", "b", "c"]).await;
    let path = format!("{WIDGETS}?labelSelector=parity=even");
    let (code, deleted) = ask(&bed.client, "DELETE", &path, &json!({})).await;
    assert_eq!((code, names(&deleted)), (200, vec!["a", "c"]));
    assert_eq!(names(&get(&bed.client, WIDGETS).await.1), ["b"]);
    let all = "/apis/test.tagwarden.io/v1/widgets";
    assert_eq!(ask_as(&bed.client, "DELETE", all, "", String::new()).await.0, 405);
}

/// Something else wrote nonsense into the database: what is whole is still served.
#[tokio::test]
async fn a_damaged_row_stops_no_list() {
    let bed = bed(On::File).await;
    fill(&bed, &["a", "b", "c"]).await;
    let url = bed.location.to_string().replace("sqlite:", "sqlite://");
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE api_objects SET body = '{\"metadata\":' WHERE name = 'b'")
        .execute(&pool)
        .await
        .unwrap();
    for query in ["", "?limit=10", "?labelSelector=parity"] {
        assert_eq!(names(&get(&bed.client, &format!("{WIDGETS}{query}")).await.1), ["a", "c"], "{query}");
    }
    assert_eq!(get(&bed.client, &format!("{WIDGETS}/b")).await.0, 500);
    assert_eq!(ask(&bed.client, "DELETE", &format!("{WIDGETS}/b"), &json!({})).await.0, 200);
    assert_eq!(get(&bed.client, &format!("{WIDGETS}/b")).await.0, 404);
}
