//! Two tenants on one server: whatever one of them asks for, and by whatever name, nothing of the other is in the
//! answer. The routes are those of the document, so that a new one is walked, too.

use std::collections::BTreeSet;

use tagwarden_testbed::{Account, Proxy, Testbed};

use super::*;
use crate::cloud::{BARE, Cloud};

/// What a tenant declares: a policy, an account and a second one that is left alone, and two audits.
fn manifests(tenant: &str, account: &Account, other: &Account) -> String {
    let metadata = |name: &str| format!("metadata: {{name: {name}-{tenant}, namespace: {tenant}}}");
    let api = "apiVersion: tagwarden.io/v1alpha1";
    let audit =
        format!("spec: {{suspend: true, policyRef: {{name: policy-{tenant}}}, accounts: {{all: true}}}}\n");
    format!(
        "{api}\nkind: TaggingPolicy\n{}\nspec: {{requiredTags: [{{key: Owner-{tenant}, appliesTo: \
         {{resourceTypes: ['ec2:volume']}}}}]}}\n---\n\
         {api}\nkind: ClientAccount\n{}\nspec: {{accountId: '{}', auth: {{roleArn: '{}', externalId: {{mode: None}}}}}}\n---\n\
         {api}\nkind: ClientAccount\n{}\nspec: {{suspend: true, accountId: '{}', auth: {{roleArn: '{}', externalId: \
         {{mode: None}}}}}}\n---\n\
         {api}\nkind: ComplianceAudit\n{}\n{audit}---\n\
         {api}\nkind: ComplianceAudit\n{}\n{audit}",
        metadata("policy"),
        metadata("account"),
        account.id,
        account.role_arn,
        metadata("spare"),
        other.id,
        other.role_arn,
        metadata("audit"),
        metadata("second"),
    )
}

/// Everything that a tenant has a name for.
pub(super) struct Tenant {
    pub client: Client,
    pub name: &'static str,
    pub account: String,
    pub spare: String,
    /// A volume without tags.
    pub arn: String,
    pub run_id: String,
    pub cursors: Vec<String>,
}

/// Two tenants on one server, each with an account in which two volumes lack a tag.
pub(super) struct Two {
    pub controller: Controller,
    pub proxy: Proxy,
    pub acme: Tenant,
    pub rival: Tenant,
}

impl Two {
    pub fn new() -> Self {
        let proxy = Testbed::shared().proxy();
        let [here, there, spare, other] = [(); 4].map(|()| proxy.fresh_account());
        let arns = [&here, &there].map(|account| {
            let cloud = Cloud::of(&proxy, account);
            cloud.volume(crate::site::HERE, BARE);
            cloud.volume(crate::site::HERE, BARE)
        });
        let [arn, other_arn] = arns;
        let setup = guarded()
            .args(["--mcp-calls-per-hour", "100000", "--mcp-same-calls", "1000"])
            .behind(&proxy)
            .file("manifests/acme.yaml", &manifests("acme", &here, &spare))
            .file("manifests/rival.yaml", &manifests("rival", &there, &other));
        let controller = setup.with_manifests();
        controller.logs(&["manifests applied"]);
        let open = |tenant: &str| key(controller.directory(), &["--tenant", tenant, "--scope", "admin"]);
        let client = Client::new(&controller, "");
        let acme = Tenant::of(client.with(&open("acme")), "acme", [&here.id, &spare.id], arn);
        let rival = Tenant::of(client.with(&open("rival")), "rival", [&there.id, &other.id], other_arn);
        Self { controller, proxy, acme, rival }
    }
}

impl Tenant {
    /// Names that lead to something of this tenant.
    pub fn names(&self) -> Vec<String> {
        let objects =
            ["policy", "account", "spare", "audit", "second"].map(|kind| format!("{kind}-{}", self.name));
        let ids = [&self.account, &self.spare, &self.run_id].map(Clone::clone);
        objects.into_iter().chain(ids).collect()
    }

    /// Looks at two volumes, and remembers what it gets.
    fn of(client: Client, name: &'static str, [account, spare]: [&String; 2], arn: String) -> Self {
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
        let (account, spare) = (account.clone(), spare.clone());
        Self { client, name, account, spare, arn, run_id, cursors: cursors.into() }
    }

    /// What only this tenant may see.
    pub fn marks(&self) -> Vec<String> {
        let volume = self.arn.rsplit('/').next().unwrap().to_owned();
        vec![self.account.clone(), self.spare.clone(), volume, format!("-{}", self.name)]
    }

    /// Whether an answer to somebody else tells of this tenant. What was asked for by name may be repeated.
    #[track_caller]
    pub fn is_hidden_in(&self, answer: &Answer, asked: &[String]) {
        let whole = format!("{}\n{}", answer.head, answer.text);
        // The longest first: one may be a part of another.
        let mut asked: Vec<&String> = asked.iter().collect();
        asked.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let told = asked.into_iter().fold(whole, |told, text| told.replace(text.as_str(), ""));
        for mark in self.marks() {
            assert!(!told.contains(&mark), "an answer tells of {mark}: {answer:?}");
        }
    }

    /// What this tenant sees of what the other must not change.
    pub fn sees(&self) -> Vec<String> {
        let run = format!("/v1/runs/{}", self.run_id);
        let findings = format!("{run}/violations");
        let paths = ["/v1/policies", "/v1/audits", "/v1/runs", &run, &findings];
        paths.iter().map(|path| self.client.get(path).text).collect()
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

/// What the walk below does besides reading, and what it asks with: whoever adds a route or a parameter extends it.
const CHANGES: [&str; 3] = ["post /v1/runs", "post /v1/runs/{runId}/cancel", "put /v1/audits/{name}"];
const PARAMETERS: [&str; 17] = [
    "accounts",
    "audit",
    "cursor",
    "days",
    "dryRun",
    "exempt",
    "format",
    "groupBy",
    "kind",
    "limit",
    "minSeverity",
    "policy",
    "regions",
    "resourceTypes",
    "violationType",
    "waitSeconds",
    "{}",
];

/// Fails when there is something that the walk does not know.
fn is_known(document: &Value) {
    let (mut changes, mut parameters) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            if verb != "get" {
                changes.insert(format!("{verb} {path}"));
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let in_path = parameter["in"] == "path";
                parameters.insert(if in_path { "{}" } else { parameter["name"].as_str().unwrap() });
            }
        }
    }
    assert!(changes.iter().eq(CHANGES), "{changes:?}");
    assert_eq!(parameters, PARAMETERS.into());
}

#[test]
fn nothing_of_one_tenant_is_found_by_the_other() {
    let Two { controller, acme, rival, .. } = Two::new();
    let before = [&acme, &rival].map(Tenant::sees);
    let document = acme.client.get("/openapi.json").json();
    is_known(&document);
    for (one, other) in [(&acme, &rival), (&rival, &acme)] {
        let own: BTreeSet<String> = one.names().into_iter().collect();
        let foreign: BTreeSet<String> =
            other.names().into_iter().filter(|name| !own.contains(name)).collect();
        let mut seen = 0;
        for path in paths(&document, &foreign) {
            let answer = one.client.get(&path);
            let lists = foreign.iter().all(|name| !path.contains(name));
            assert_eq!(answer.status, if lists { 200 } else { 404 }, "{path}: {answer:?}");
            let asked: Vec<String> = path.split('/').nth(3).map(str::to_owned).into_iter().collect();
            other.is_hidden_in(&answer, &asked);
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
        let runs = one.client.get(&format!("/v1/runs?policy=policy-{}", other.name));
        assert_eq!(runs.json()["items"], serde_json::json!([]));

        // And nothing of the other's can be started, changed or ended.
        let check = format!("{{\"accounts\": [\"{}\"]}}", other.account);
        one.client.post("/v1/runs", &check).is(404, "not_found");
        one.client.post("/v1/runs", &format!("{{\"audit\": \"audit-{}\"}}", other.name)).is(404, "not_found");
        if one.run_id != other.run_id {
            one.client.post(&format!("/v1/runs/{}/cancel", other.run_id), "").is(404, "not_found");
        }
        let order = format!("{{\"schedule\": \"0 2 * * *\", \"policy\": \"policy-{}\"}}", other.name);
        for dry in ["", "?dryRun=true"] {
            one.client.send(&format!("PUT /v1/audits/mine{dry}"), &[], &order).is(404, "not_found");
        }
    }
    assert_eq!([&acme, &rival].map(Tenant::sees), before, "nothing has changed");

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
