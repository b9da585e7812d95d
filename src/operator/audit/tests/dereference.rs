//! What an audit stands on.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::json;
use tagwarden_api::account::ClientAccount;

use crate::audit::dereference::without_twins;
use crate::cache::Cache;

/// An object of tenant `a` or `b` that names this account; the later ones are younger.
fn account(namespace: &str, name: &str, id: &str, second: usize) -> ClientAccount {
    serde_json::from_value(json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": format!("2026-11-21T10:00:{second:02}Z")},
        "spec": {"accountId": id, "auth": {"roleArn": format!("arn:aws:iam::{id}:role/reader")}},
    }))
    .unwrap()
}

#[test]
fn an_account_that_two_objects_name_is_looked_at_once() {
    let all = [
        account("b", "other-tenant", "111111111111", 0),
        account("a", "shared", "111111111111", 1),
        account("a", "first", "222222222222", 2),
        account("a", "second", "222222222222", 3),
        account("a", "third", "222222222222", 4),
        account("a", "alone", "333333333333", 5),
    ];
    let cache = Cache::new(0);
    all.iter().cloned().for_each(|account| cache.bring(account));
    let planned = |names: &[&str]| -> Vec<String> {
        let chosen = all.iter().filter(|account| names.contains(&&*account.name_any()));
        let chosen = chosen.cloned().map(Arc::new).collect();
        without_twins(chosen, &cache).iter().map(|account| account.name_any()).collect()
    };
    assert_eq!(planned(&["first", "second", "third", "alone"]), ["first", "alone"]);
    // The one that has it is not looked at: that is a gap, and is told.
    assert_eq!(planned(&["second", "third"]), ["second", "third"]);
    assert_eq!(planned(&["shared", "alone"]), ["shared", "alone"]);
}
