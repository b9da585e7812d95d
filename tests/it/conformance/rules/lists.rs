//! A long list, whole and in pages.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{configmap, made, on_every_target, version};
use crate::conformance::target::Site;

on_every_target!(five_thousand_objects);

const OBJECTS: usize = 5_000;
const PAGE: usize = 700;

async fn five_thousand_objects(site: Site) {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let site = site.clone();
        clients.spawn(async move {
            for number in (client..OBJECTS).step_by(8) {
                made(site.post(&site.configmaps(), &configmap(&format!("c{number:04}"), "a")).await);
            }
        });
    }
    clients.join_all().await;

    let all = made(site.get(&site.configmaps()).await);
    let names = names_of(&all);
    assert_eq!(names.len(), OBJECTS);
    assert!(names.is_sorted(), "not in order");

    let (mut paged, mut token, mut pages, mut versions) = (Vec::new(), String::new(), 0, BTreeSet::new());
    loop {
        let path = format!("{}?limit={PAGE}&continue={token}", site.configmaps());
        let page = made(site.get(&path).await);
        assert!(names_of(&page).len() <= PAGE);
        paged.extend(names_of(&page));
        versions.insert(version(&page));
        pages += 1;
        if pages == 2 {
            // What comes and goes meanwhile changes nothing of this list.
            made(site.post(&site.configmaps(), &configmap("c9999", "a")).await);
            made(site.delete(&(site.configmaps() + "/c4999"), None).await);
        }
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, names);
    assert_eq!((pages, versions.len()), (OBJECTS.div_ceil(PAGE), 1));
}

fn names_of(list: &Value) -> Vec<String> {
    let name = |item: &Value| item["metadata"]["name"].as_str().expect("a name").to_owned();
    list["items"].as_array().expect("a list").iter().map(name).collect()
}
