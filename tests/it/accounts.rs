//! `ClientAccount`s under `tagwarden run`: how an owner lets us in, what happens when that changes, and how little is
//! written when nothing does.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tagwarden_testbed::{Account, Fault, Proxy, Rule, Testbed};

use crate::controller::{Controller, Setup};

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(3);
/// Between two looks at the metrics.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An account whose external id is generated, with a request to look at it now.
fn manifest(name: &str, account: &Account, request: &str) -> String {
    format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata:\n  name: {name}\n  annotations:\n    \
         tagwarden.io/requestedAt: {request:?}\nspec:\n  accountId: {:?}\n  auth:\n    roleArn: {}\n  verification:\n    \
         retryInterval: 24h\n",
        account.id, account.role_arn
    )
}

/// Waits until the metrics have this line.
#[track_caller]
fn shows(controller: &Controller, line: &str) {
    let deadline = Instant::now() + WITHIN;
    loop {
        let (_, _, body) = controller.probe("/metrics");
        if body.lines().any(|shown| shown == line) {
            return;
        }
        let about: Vec<&str> = body.lines().filter(|line| line.contains("status_condition{")).collect();
        assert!(Instant::now() < deadline, "{line} does not show:\n{}", about.join("\n"));
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

#[track_caller]
fn condition(controller: &Controller, name: &str, condition: &str, status: &str) {
    let labels = format!(r#"condition="{condition}",kind="ClientAccount",name="{name}",namespace="default""#);
    shows(controller, &format!(r#"tagwarden_status_condition{{{labels},status="{status}"}} 1"#));
}

fn named<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {objects:#?}"))
}

/// A role that nobody trusts yet.
fn stranger(proxy: &Proxy) -> Account {
    let account = proxy.fresh_account();
    proxy.distrust(&account.role_arn);
    account
}

#[test]
fn an_owner_lets_us_in_and_takes_it_back() {
    let proxy = Testbed::shared().proxy();
    let account = stranger(&proxy);
    let controller = Setup::new().behind(&proxy).with_manifests();
    controller.write("prod.yaml", &manifest("prod", &account, "1"));
    condition(&controller, "prod", "Assumable", "False");
    let stopped = controller.stop();

    // What the owner is told.
    let accounts = stopped.objects("/apis/tagwarden.io/v1alpha1/clientaccounts");
    let status = &named(&accounts, "prod")["status"];
    let external_id = status["externalId"].as_str().unwrap().to_owned();
    assert!(external_id.len() >= 32, "{external_id}");
    assert_eq!(status["externalIdSecretRef"]["name"], "prod-external-id");
    let documents = stopped.objects("/api/v1/configmaps");
    let documents = &named(&documents, "prod-onboarding")["data"];
    let trust: Value = serde_json::from_str(documents["trust-policy.json"].as_str().unwrap()).unwrap();
    assert_eq!(trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"], external_id.as_str());
    let template = documents["cloudformation.yaml"].as_str().unwrap();
    assert!(template.contains(&external_id) && template.contains("ec2:DescribeRegions"), "{template}");

    // Its owner does as told; then forgets a permission, forgets the condition, and thinks better of it all.
    proxy.trust(&account.role_arn, Some(&external_id));
    let controller = stopped.again().behind(&proxy).with_manifests();
    controller.write("prod.yaml", &manifest("prod", &account, "2"));
    condition(&controller, "prod", "Ready", "True");
    shows(&controller, r#"tagwarden_account_verified{name="prod",namespace="default"} 1"#);

    proxy.rule(Rule::on("rds", "DescribeDBInstances", Fault::Deny).in_account(&account.id));
    controller.write("prod.yaml", &manifest("prod", &account, "3"));
    condition(&controller, "prod", "PermissionsVerified", "False");
    proxy.clear_rules();

    proxy.trust(&account.role_arn, None);
    controller.write("prod.yaml", &manifest("prod", &account, "4"));
    condition(&controller, "prod", "Unsafe", "True");
    condition(&controller, "prod", "PermissionsVerified", "True");

    proxy.distrust(&account.role_arn);
    controller.write("prod.yaml", &manifest("prod", &account, "5"));
    condition(&controller, "prod", "Assumable", "False");
    let stopped = controller.stop();
    let accounts = stopped.objects("/apis/tagwarden.io/v1alpha1/clientaccounts");
    let status = &named(&accounts, "prod")["status"];
    assert_eq!(status["externalId"], external_id.as_str(), "it is never another one");
    assert_eq!(status["lastHandledReconcileAt"], "5");
    let reasons: Vec<&str> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["reason"].as_str().unwrap())
        .collect();
    assert!(
        reasons.contains(&"AssumeRoleDenied") && !reasons.contains(&"ExternalIdNotRequired"),
        "{reasons:?}"
    );
    assert!(!stopped.log.iter().any(|line| line.contains(&external_id)), "the log shows the external id");
}

/// The message of a condition.
fn message(accounts: &[Value], name: &str, condition: &str) -> String {
    let conditions = named(accounts, name)["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|found| found["type"] == condition);
    found.unwrap_or_else(|| panic!("{name} {condition}: {conditions:#?}"))["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn an_account_is_his_whom_it_lets_in_and_nobody_chooses_an_external_id() {
    let proxy = Testbed::shared().proxy();
    let account = stranger(&proxy);
    let other = stranger(&proxy);
    let controller = Setup::new().behind(&proxy).with_manifests();
    controller.write("a.yaml", &manifest("first", &account, "1"));
    condition(&controller, "first", "Assumable", "False");
    let chosen = manifest("chosen", &other, "1").replace(
        "  verification:",
        "    externalId: {mode: SecretRef, secretRef: {name: mine}}\n  verification:",
    );
    controller.write("b.yaml", &format!("{}---\n{chosen}", manifest("second", &account, "1")));
    condition(&controller, "second", "Conflict", "True");
    condition(&controller, "second", "Assumable", "False");
    condition(&controller, "chosen", "Stalled", "True");
    let stopped = controller.stop();
    let accounts = stopped.objects("/apis/tagwarden.io/v1alpha1/clientaccounts");
    let conflict = message(&accounts, "second", "Conflict");
    assert!(conflict.contains("`first`") && conflict.contains("older"), "{conflict}");
    let stalled = message(&accounts, "chosen", "Stalled");
    assert!(stalled.contains("--allow-external-id-secret-ref"), "{stalled}");

    // The owner means the second one: it gets the account, however much older the first one is.
    let external_id = named(&accounts, "second")["status"]["externalId"].as_str().unwrap().to_owned();
    proxy.trust(&account.role_arn, Some(&external_id));
    let controller = stopped.again().behind(&proxy).with_manifests();
    controller.write("b.yaml", &manifest("second", &account, "2"));
    condition(&controller, "second", "Ready", "True");
    condition(&controller, "first", "Conflict", "True");
    // And takes it back: both are where they were.
    proxy.distrust(&account.role_arn);
    controller.write("b.yaml", &manifest("second", &account, "3"));
    condition(&controller, "second", "Assumable", "False");
    condition(&controller, "first", "Assumable", "False");
    condition(&controller, "second", "Conflict", "True");
    let stopped = controller.stop();
    let accounts = stopped.objects("/apis/tagwarden.io/v1alpha1/clientaccounts");
    let conditions = named(&accounts, "first")["status"]["conditions"].to_string();
    assert!(!conditions.contains("Conflict"), "{conditions}");
}

#[test]
fn three_hundred_accounts_that_did_not_change_cause_no_write() {
    const MANY: usize = 300;
    let proxy = Testbed::shared().proxy();
    let mut text = String::new();
    for number in 0..MANY {
        let _ = write!(text, "---\n{}", manifest(&format!("account-{number}"), &stranger(&proxy), "1"));
    }
    let controller = Setup::new().behind(&proxy).with_manifests();
    controller.write("all.yaml", &text);
    for number in 0..MANY {
        condition(&controller, &format!("account-{number}"), "Assumable", "False");
    }
    let stopped = controller.stop();
    proxy.forget_calls();
    let controller = stopped.again().behind(&proxy).start();
    let reconciled =
        r#"controller_runtime_reconcile_total{controller="clientaccount",result="requeue_after"}"#;
    shows(&controller, &format!("{reconciled} {MANY}"));
    let (_, _, body) = controller.probe("/metrics");
    for line in body.lines().filter(|line| line.starts_with("rest_client_requests_total{")) {
        assert!(line.contains(r#"method="GET""#), "{line}");
    }
    assert_eq!(proxy.count("sts", "AssumeRole"), 0);
}
