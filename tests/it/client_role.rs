//! The role that lets Tagwarden in, as `CloudFormation`: AWS's own linter has nothing to say about it; and what its owner
//! hears when there is none.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tagwarden_api::account::ClientAccount;
use tagwarden_core::onboarding::{ClientRole, ROLE_NAME, cloud_formation, full_read_policy};
use tagwarden_core::registry::Registry;
use tagwarden_testbed::cfn_lint;

use crate::conformance::target::{Site, Target};
use crate::program::{Ended, Program};

#[test]
fn the_template_of_the_role_is_clean() {
    let policy = full_read_policy(&Registry::builtin());
    for (path, external_id) in [("/", Some("7f0c29b1d8a64c3f9e5b7a1d2c4e6f80")), ("/finops/readers/", None)] {
        let role = ClientRole {
            name: ROLE_NAME.to_owned(),
            path: path.to_owned(),
            principal: "arn:aws:iam::999988887777:role/tagwarden".to_owned(),
            external_id: external_id.map(str::to_owned),
        };
        let template = cloud_formation(&role, &policy);
        if let Err(said) = cfn_lint(&template) {
            panic!("{said}\n{template}");
        }
    }
}

async fn account(site: &Site, name: &str, auth: Value, status: Value) {
    let accounts = site.api::<ClientAccount>();
    let account = json!({
        "apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount", "metadata": { "name": name },
        "spec": { "accountId": "111122223333", "auth": auth },
    });
    accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.unwrap();
    let status = Patch::Merge(json!({ "status": status }));
    accounts.patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

async fn role(site: &Site, name: &str) -> Ended {
    let kubeconfig = site.kubeconfig();
    let namespace = site.namespace.clone();
    let name = name.to_owned();
    let run = move || {
        let program =
            Program::alone().args(["client-role", &name, "--namespace", &namespace, "--timeout", "0"]);
        program.args(["--kubeconfig"]).args([kubeconfig]).run()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_template_hears_why() {
    let site = Site::on(Target::EmbeddedHttp).await;
    let assumed = || json!({ "roleArn": "arn:aws:iam::111122223333:role/reader" });
    let message = "externalId.mode SecretRef is not allowed here";
    let stalled = [
        condition("Ready", "False", "InvalidSpec", message),
        condition("Stalled", "True", "InvalidSpec", ""),
    ];
    let waiting = [condition("Ready", "False", "DependencyNotReady", "no identity yet")];
    account(&site, "stalled", assumed(), json!({ "conditions": stalled })).await;
    account(&site, "waiting", assumed(), json!({ "conditions": waiting })).await;
    account(&site, "unseen", assumed(), json!({})).await;
    account(&site, "ambient", json!({ "mode": "Ambient" }), json!({})).await;
    for (name, told) in [
        ("stalled", "InvalidSpec: externalId.mode SecretRef is not allowed here"),
        ("waiting", "within 0 seconds (DependencyNotReady: no identity yet)"),
        ("unseen", "no controller has looked at it"),
        ("ambient", "it needs no role"),
        ("absent", "not found"),
    ] {
        let ended = role(&site, name).await;
        assert_eq!(ended.status, Some(2), "{name}: {}", ended.stdout);
        assert!(ended.stderr.contains(told), "{name}: {}", ended.stderr);
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "role" },
        "data": { "cloudformation.yaml": "Resources: {}\n" },
    });
    let maps: Api<ConfigMap> = site.api();
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    account(&site, "ready", assumed(), json!({ "onboardingConfigMapRef": { "name": "role" } })).await;
    let ended = role(&site, "ready").await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "Resources: {}\n"), "{}", ended.stderr);
}
