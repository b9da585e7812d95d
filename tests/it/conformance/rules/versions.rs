//! Versions and generations: what optimistic concurrency, caches and `observedGeneration` rest on.

use serde_json::{Value, json};

use super::{configmap, made, number, on_every_target, refused, version};
use crate::conformance::target::Site;

on_every_target!(
    versions_rise_with_every_write,
    a_write_that_changes_nothing_is_none,
    a_stale_version_is_refused_by_every_verb,
    generations_count_changes_of_the_spec,
    every_increment_of_a_storm_counts_once,
    a_lease_is_taken_by_one_of_many,
);

async fn versions_rise_with_every_write(site: Site) {
    let one = site.account("one").await;
    let other = made(site.post(&site.configmaps(), &configmap("other", "a")).await);
    let changed = made(
        site.merge(&(site.path("clientaccounts") + "/one"), &json!({"spec": {"displayName": "One"}})).await,
    );
    let list = made(site.get(&site.path("clientaccounts")).await);
    let versions = [number(&one), number(&other), number(&changed)];
    assert!(versions.is_sorted_by(|before, after| before < after), "{versions:?}");
    assert!(number(&list) >= number(&changed), "{list}");
    assert_eq!(version(&list["items"][0]), version(&changed));
}

async fn a_write_that_changes_nothing_is_none(site: Site) {
    site.account("one").await;
    let path = site.path("clientaccounts") + "/one";
    let status = json!({"status": {"observedGeneration": 1}});
    let object = made(site.merge(&(path.clone() + "/status"), &status).await);
    for reply in [
        site.put(&path, &object).await,
        site.merge(&path, &json!({})).await,
        site.merge(&path, &json!({"spec": {"accountId": "111122223333"}})).await,
        site.merge(&(path.clone() + "/status"), &status).await,
    ] {
        let after = made(reply);
        assert_eq!(after["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
        assert_eq!(after["metadata"]["managedFields"], object["metadata"]["managedFields"]);
    }
}

async fn a_stale_version_is_refused_by_every_verb(site: Site) {
    let before = site.account("one").await;
    let path = site.path("clientaccounts") + "/one";
    let after = made(site.merge(&path, &json!({"spec": {"displayName": "One"}})).await);

    refused(&site.put(&path, &before).await, 409, "Conflict", &[]);
    refused(&site.put(&(path.clone() + "/status"), &before).await, 409, "Conflict", &[]);
    let patch = json!({"metadata": {"resourceVersion": version(&before)}, "spec": {"displayName": "Two"}});
    refused(&site.merge(&path, &patch).await, 409, "Conflict", &[]);
    let options = json!({"preconditions": {"resourceVersion": version(&before)}});
    refused(&site.delete(&path, Some(&options)).await, 409, "Conflict", &[]);
    let another = json!({"preconditions": {"uid": "0f3c1e0e-1111-4222-8333-444455556666"}});
    refused(&site.delete(&path, Some(&another)).await, 409, "Conflict", &[]);
    assert_eq!(made(site.get(&path).await), after);

    let options =
        json!({"preconditions": {"resourceVersion": version(&after), "uid": after["metadata"]["uid"]}});
    assert_eq!(made(site.delete(&path, Some(&options)).await)["status"], "Success");
}

async fn generations_count_changes_of_the_spec(site: Site) {
    let generation = |object: Value| object["metadata"]["generation"].as_i64().expect("a generation");
    let mut object = account_with_finalizer();
    object["metadata"]["generation"] = 7.into();
    assert_eq!(generation(made(site.post(&site.path("clientaccounts"), &object).await)), 1);
    let path = site.path("clientaccounts") + "/one";
    let labelled = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
    assert_eq!(generation(made(site.merge(&path, &labelled).await)), 1);
    let status = json!({"status": {"observedGeneration": 1}});
    assert_eq!(generation(made(site.merge(&(path.clone() + "/status"), &status).await)), 1);
    assert_eq!(generation(made(site.merge(&path, &json!({"spec": {"suspend": true}})).await)), 2);
    assert_eq!(generation(made(site.merge(&path, &json!({"spec": {"suspend": true}})).await)), 2);
    assert_eq!(generation(made(site.delete(&path, None).await)), 3);
    assert_eq!(generation(made(site.delete(&path, None).await)), 3);
    made(site.merge(&path, &json!({"metadata": {"finalizers": null}})).await);
}

fn account_with_finalizer() -> Value {
    let mut object = super::account("one");
    object["metadata"]["finalizers"] = json!(["tagwarden.io/finalizer"]);
    object
}

async fn every_increment_of_a_storm_counts_once(site: Site) {
    const CLIENTS: usize = 8;
    const EACH: usize = 10;
    made(site.post(&site.configmaps(), &configmap("counter", "0")).await);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let site = site.clone();
        clients.spawn(async move {
            let path = site.configmaps() + "/counter";
            let mut conflicts = 0;
            for _ in 0..EACH {
                loop {
                    let mut counter = made(site.get(&path).await);
                    let count: usize = counter["data"]["key"].as_str().unwrap().parse().unwrap();
                    counter["data"]["key"] = (count + 1).to_string().into();
                    let reply = site.put(&path, &counter).await;
                    if reply.code == 200 {
                        break;
                    }
                    refused(&reply, 409, "Conflict", &[]);
                    conflicts += 1;
                }
            }
            conflicts
        });
    }
    let conflicts: usize = clients.join_all().await.into_iter().sum();
    let counter = made(site.get(&(site.configmaps() + "/counter")).await);
    assert_eq!(counter["data"]["key"], (CLIENTS * EACH).to_string(), "{conflicts} conflicts");
}

async fn a_lease_is_taken_by_one_of_many(site: Site) {
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", site.namespace);
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 15}});
    let lease = made(site.post(&leases, &lease).await);
    let mut contenders = tokio::task::JoinSet::new();
    for contender in 0..20 {
        let (site, path, mut lease) = (site.clone(), format!("{leases}/leader"), lease.clone());
        lease["spec"]["holderIdentity"] = format!("contender-{contender}").into();
        contenders.spawn(async move { site.put(&path, &lease).await.code });
    }
    let mut codes = contenders.join_all().await;
    codes.sort_unstable();
    assert_eq!(codes, [[200].as_slice(), &[409; 19]].concat());
}
