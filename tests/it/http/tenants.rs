//! Two tenants on one server: whatever one of them asks for, and by whatever name, nothing of the other is in the
//! answer. The routes are those of the document, so that a new one is walked, too.

use std::collections::BTreeSet;

use tagwarden_testbed::{Account, Testbed};

use super::*;
use crate::cloud::{BARE, Cloud};

fn manifests(tenant: &str, account: &Account) -> String {
    let metadata = |name: &str| format!("metadata: {{name: {name}-{tenant}, namespace: {tenant}}}");
    let api = "apiVersion: tagwarden.io/v1alpha1";
    format!(
        "{api}\nkind: TaggingPolicy\n{}\nspec: {{requiredTags: [{{key: Owner-{tenant}, appliesTo: \
         {{resourceTypes: ['ec2:volume']}}}}]}}\n---\n\
         {api}\nkind: ClientAccount\n{}\nspec: {{accountId: '{}', auth: {{roleArn: '{}', externalId: {{mode: None}}}}}}\n---\n\
         {api}\nkind: ComplianceAudit\n{}\nspec: {{suspend: true, policyRef: {{name: policy-{tenant}}}, accounts: \
         {{all: true}}}}\n",
        metadata("policy"),
        metadata("account"),
        account.id,
        account.role_arn,
        metadata("audit"),
    )
}

/// Everything that a tenant has a name for.
struct Tenant {
    client: Client,
    name: &'static str,
    account: String,
    run_id: String,
    cursors: Vec<String>,
}

impl Tenant {
    /// Names that lead to something of this tenant.
    fn names(&self) -> Vec<String> {
        let objects = ["policy", "account", "audit"].map(|kind| format!("{kind}-{}", self.name));
        objects.into_iter().chain([self.account.clone(), self.run_id.clone()]).collect()
    }

    /// Looks at two volumes, and remembers what it gets.
    fn of(client: Client, name: &'static str, account: &Account) -> Self {
        client.until(&format!("/v1/accounts/account-{name}"), |answer| answer.json()["ready"] == true);
        let started = client.post("/v1/runs", r#"{"resourceTypes": ["ec2:volume"]}"#);
        assert_eq!(started.status, 202, "{started:?}");
        let run_id = started.json()["runId"].as_str().unwrap().to_owned();
        assert!(
            started.head.contains(&format!("location: /v1/runs/{run_id}").to_lowercase()),
            "{}",
            started.head
        );
        let path = format!("/v1/runs/{run_id}?waitSeconds=5");
        let run = client.until(&path, |answer| answer.json()["finishedAt"].is_string());
        assert_eq!(run.json()["state"], "succeeded", "{run:?}");
        assert_eq!(run.json()["summary"]["violating"], 2, "{run:?}");
        let page = client.get(&format!("/v1/runs/{run_id}/violations?limit=1"));
        assert_eq!(page.json()["total"], 2, "{page:?}");
        let runs = client.get("/v1/runs?limit=1");
        let cursors = [page, runs].map(|page| page.json()["nextCursor"].as_str().unwrap().to_owned());
        Self { client, name, account: account.id.clone(), run_id, cursors: cursors.into() }
    }

    /// What only this tenant may see.
    fn marks(&self) -> Vec<String> {
        vec![self.account.clone(), format!("-{}", self.name)]
    }
}

/// Every path that can be read, with the name of its parameter filled in.
fn paths(document: &Value, names: &BTreeSet<String>) -> Vec<String> {
    let mut paths = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["get"].is_null() || path == "/health" {
            continue;
        }
        match (path.find('{'), path.find('}')) {
            (Some(from), Some(to)) => {
                paths.extend(names.iter().map(|name| format!("{}{name}{}", &path[..from], &path[to + 1..])));
            }
            _ => paths.push(path.clone()),
        }
    }
    paths
}

#[test]
fn nothing_of_one_tenant_is_found_by_the_other() {
    let proxy = Testbed::shared().proxy();
    let (here, there) = (proxy.fresh_account(), proxy.fresh_account());
    for account in [&here, &there] {
        let cloud = Cloud::of(&proxy, account);
        for _ in 0..2 {
            cloud.volume(crate::site::HERE, BARE);
        }
    }
    let setup = guarded()
        .behind(&proxy)
        .file("manifests/acme.yaml", &manifests("acme", &here))
        .file("manifests/rival.yaml", &manifests("rival", &there));
    let controller = setup.with_manifests();
    controller.logs(&["manifests applied"]);
    let open = |tenant: &str| key(controller.directory(), &["--tenant", tenant, "--scope", "admin"]);
    let client = Client::new(&controller, "");
    let acme = Tenant::of(client.with(&open("acme")), "acme", &here);
    let rival = Tenant::of(client.with(&open("rival")), "rival", &there);

    let document = acme.client.get("/openapi.json").json();
    for (one, other) in [(&acme, &rival), (&rival, &acme)] {
        let own: BTreeSet<String> = one.names().into_iter().collect();
        let foreign: BTreeSet<String> =
            other.names().into_iter().filter(|name| !own.contains(name)).collect();
        let mut seen = 0;
        for path in paths(&document, &foreign) {
            let answer = one.client.get(&path);
            let lists = foreign.iter().all(|name| !path.contains(name));
            assert_eq!(answer.status, if lists { 200 } else { 404 }, "{path}: {answer:?}");
            for mark in other.marks() {
                // What was asked for by name may be repeated.
                let told = answer.text.replace(path.split('/').nth(3).unwrap_or("\0"), "");
                assert!(!told.contains(&mark), "{path} tells of {mark}: {answer:?}");
            }
            seen += 1;
        }
        assert!(seen > 20, "only {seen} paths were walked");

        // Run ids are only unique within a tenant: the same one leads to one's own run.
        for format in ["json", "csv", "ndjson"] {
            let answer = one.client.get(&format!("/v1/runs/{}/violations?format={format}", one.run_id));
            assert_eq!(answer.status, 200);
            assert_eq!(answer.text.matches("` is missing").count(), 2, "{answer:?}");
            assert!(
                answer.text.contains(&one.account) && !answer.text.contains(&other.account),
                "{answer:?}"
            );
        }
        for (path, cursor) in [
            (format!("/v1/runs/{}/violations?limit=1&cursor=", one.run_id), 0),
            ("/v1/runs?limit=1&cursor=".to_owned(), 1),
        ] {
            one.client.get(&format!("{path}{}", other.cursors[cursor])).is(400, "invalid_input");
            assert_eq!(one.client.get(&format!("{path}{}", one.cursors[cursor])).status, 200);
        }
        let filtered = format!("/v1/runs/{}/violations?accounts={}", one.run_id, other.account);
        assert_eq!(one.client.get(&filtered).json()["total"], 0);
        one.client.get(&format!("/v1/history?audit=audit-{}", other.name)).is(404, "not_found");

        // And nothing of the other's can be started, changed or ended.
        let check = format!("{{\"accounts\": [\"{}\"]}}", other.account);
        one.client.post("/v1/runs", &check).is(404, "not_found");
        one.client.post("/v1/runs", &format!("{{\"audit\": \"audit-{}\"}}", other.name)).is(404, "not_found");
        if one.run_id != other.run_id {
            one.client.post(&format!("/v1/runs/{}/cancel", other.run_id), "").is(404, "not_found");
        }
        let order = format!("{{\"schedule\": \"0 2 * * *\", \"policy\": \"policy-{}\"}}", other.name);
        one.client.send("PUT /v1/audits/mine", &[], &order).is(404, "not_found");
    }

    // A tenant may write what is its own, and sees it.
    let order = r#"{"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"}"#;
    let dry = acme.client.send("PUT /v1/audits/nightly?dryRun=true", &[], order);
    assert_eq!((dry.status, dry.json()["result"].as_str()), (200, Some("created")), "{dry:?}");
    assert_eq!(acme.client.send("PUT /v1/audits/nightly", &[], order).status, 201);
    acme.client.until("/v1/audits/nightly", |answer| answer.json()["timeZone"] == "Europe/Berlin");
    let again = acme.client.send("PUT /v1/audits/nightly", &[], order);
    assert_eq!((again.status, again.json()["result"].as_str()), (200, Some("unchanged")), "{again:?}");
    rival.client.get("/v1/audits/nightly").is(404, "not_found");
    controller.stop();
}
