//! The chart on a real API server: installed, upgraded, used by the program as its service account, and removed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagwarden_testbed::kubernetes::User;
use tagwarden_testbed::{AMBIENT_ACCOUNT, Kubernetes, Proxy, Testbed};
use tempfile::TempDir;

use super::{Helm, RELEASE, chart, objects, only, root};
use crate::controller::{Controller, Setup};
use crate::program::Program;
use crate::run::request;

/// Where people keep what is looked after.
const TENANT: &str = "finops";

fn declared(tenant: &str) -> String {
    format!(
        "
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {{name: corp, namespace: {tenant}}}
spec:
  requiredTags: [{{key: Owner, appliesTo: {{resourceTypes: [ec2:volume]}}}}]
---
apiVersion: tagwarden.io/v1alpha1
kind: ClientAccount
metadata: {{name: own, namespace: {tenant}}}
spec: {{accountId: \"{AMBIENT_ACCOUNT}\", auth: {{mode: Ambient}}}}
---
apiVersion: tagwarden.io/v1alpha1
kind: ComplianceAudit
metadata: {{name: nightly, namespace: {tenant}}}
spec:
  policyRef: {{name: corp}}
  accounts: {{names: [own]}}
  regions: {{include: [eu-west-1]}}
  resources: {{include: [ec2:volume]}}
"
    )
}

/// A cluster of its own, since definitions belong to all of one.
struct Cluster {
    server: Kubernetes,
    helm: Helm,
    files: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let server = Kubernetes::start().unwrap();
        let helm = Helm::on(&server.kubeconfig());
        let cluster = Self { server, helm, files: tempfile::tempdir().unwrap() };
        for namespace in [TENANT, "team-a", "team-b"] {
            cluster.kubectl(&["create", "namespace", namespace]);
        }
        cluster
    }

    #[track_caller]
    fn kubectl(&self, arguments: &[&str]) -> String {
        succeeds(self.server.kubectl().args(arguments))
    }

    /// The names of objects, `deployment.apps/tagwarden`.
    #[track_caller]
    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let listed = self.kubectl(&[&["get", "-o", "name"], arguments].concat());
        listed.lines().map(str::to_owned).collect()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `helm install` or `upgrade` of a chart with a set of values.
    #[track_caller]
    fn helm(&self, verb: &str, chart: &Path, set: &str) -> String {
        let values = chart_values(set);
        let arguments = [
            verb,
            RELEASE,
            chart.to_str().unwrap(),
            "--namespace",
            RELEASE,
            "--values",
            values.to_str().unwrap(),
        ];
        let create = if verb == "install" { &["--create-namespace"][..] } else { &[] };
        self.helm.run(&[&arguments[..], create].concat())
    }

    /// What was last installed.
    #[track_caller]
    fn got(&self, what: &str) -> Vec<Value> {
        objects(&self.helm.run(&["get", what, RELEASE, "--namespace", RELEASE]))
    }

    /// A chart that renders what the last release did: where users come from. The recording is made anew with a release,
    /// by `UPDATE_GOLDEN_PREVIOUS=1`, and never in between: what cannot be upgraded from it must not be changed.
    fn previous(&self) -> PathBuf {
        let path = root().join("tests/golden/chart/previous.yaml");
        if std::env::var_os("UPDATE_GOLDEN_PREVIOUS").is_some() {
            let now = Helm::alone().template(&chart_values("default"), &[]);
            std::fs::write(&path, now).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        let chart = self.file("previous/Chart.yaml", "apiVersion: v2\nname: tagwarden\nversion: 0.0.1\n");
        self.file("previous/templates/all.yaml", &text.replace("{{", "{{ \"{{\" }}"));
        chart.parent().unwrap().to_owned()
    }

    /// Who the chart's service account is, with a token that was asked for it.
    fn service_account(&self, name: &str) -> User {
        let token = self.kubectl(&["create", "token", name, "--namespace", RELEASE]);
        User { name: format!("system:serviceaccount:{RELEASE}:{name}"), token: token.trim().to_owned() }
    }
}

fn chart_values(set: &str) -> PathBuf {
    chart().join(format!("ci/{set}-values.yaml"))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_installs_upgrades_works_and_leaves_what_people_declared() {
    let cluster = Cluster::start();

    // From the last release to this one, and the notes say what to do next.
    cluster.helm("install", &cluster.previous(), "default");
    let said = cluster.helm("upgrade", &chart(), "default");
    for line in ["helm test tagwarden", "create-pod-identity-association", "kind: ComplianceAudit"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let definitions = ["clientaccounts", "complianceaudits", "compliancereports", "taggingpolicies"];
    let definitions =
        definitions.map(|kind| format!("customresourcedefinition.apiextensions.k8s.io/{kind}.tagwarden.io"));
    cluster.kubectl(
        &[&["wait", "--for=condition=Established"], &definitions.each_ref().map(String::as_str)[..]].concat(),
    );
    works(&cluster, TENANT);

    // To several replicas on PostgreSQL, to fewer rights, and back.
    for set in ["ha", "namespaces", "irsa", "default"] {
        cluster.helm("upgrade", &chart(), set);
        let deployment = only(&cluster.got("manifest"), "Deployment");
        let path = "jsonpath={.spec.replicas} {.spec.strategy.type}";
        let found = cluster.kubectl(&["get", "deployment/tagwarden", "--namespace", RELEASE, "-o", path]);
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (replicas, strategy) = (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]);
        assert_eq!(found, format!("{} {}", word(replicas), word(strategy)), "{set}");
        if set == "namespaces" {
            works(&cluster, "team-b");
        }
    }
    let own = chart();
    let served = ["upgrade", RELEASE, own.to_str().unwrap(), "--namespace", RELEASE];
    let said = cluster.helm.run(&[&served[..], &["--set", "server.enabled=true"]].concat());
    assert!(said.contains("tagwarden keys create"), "{said}");
    serves(&cluster);
    assert!(
        cluster.names(&["roles", "--namespace", "team-a"]).is_empty(),
        "rights that are not given any more stay"
    );

    // What people declared outlives the release, and the next one takes it over.
    cluster.helm.run(&["uninstall", RELEASE, "--namespace", RELEASE]);
    assert_eq!(cluster.names(&["crds"]), definitions);
    assert_eq!(
        cluster.names(&["tagpol,tagacct,tagaudit", "--namespace", TENANT]),
        [
            "taggingpolicy.tagwarden.io/corp",
            "clientaccount.tagwarden.io/own",
            "complianceaudit.tagwarden.io/nightly"
        ]
    );
    assert!(!cluster.names(&["tagreport", "--namespace", TENANT]).is_empty(), "reports are gone");
    let left =
        cluster.names(&["all,configmaps,pvc,serviceaccounts,roles,rolebindings", "--namespace", RELEASE]);
    assert_eq!(left, ["persistentvolumeclaim/tagwarden"]);
    assert!(cluster.names(&["clusterroles", "-l", "app.kubernetes.io/instance=tagwarden"]).is_empty());
    cluster.helm("install", &chart(), "default");
    assert_eq!(cluster.names(&["tagaudit", "--namespace", TENANT]).len(), 1);
}

/// The program as the chart's service account, with the chart's settings. Also gives who that is.
fn start(cluster: &Cluster, proxy: &Proxy) -> (Controller, User) {
    let installed = cluster.got("manifest");
    let account = only(&installed, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"].clone();
    let user = cluster.service_account(account.as_str().unwrap());
    let settings = only(&installed, "ConfigMap")["data"]["tagwarden.yaml"].clone();
    let controller = Setup::on_kubernetes(&cluster.server.kubeconfig_of(&user).unwrap())
        .behind(proxy)
        .file("tagwarden.yaml", settings.as_str().unwrap())
        // The volume of the pod; and addresses that others can reach ask for keys.
        .args([
            "--config",
            "tagwarden.yaml",
            "--store",
            "sqlite:tagwarden.db",
            "--auth",
            "keys",
            "--allow-ambient-account",
        ])
        .start();
    (controller, user)
}

/// It does its work, and needs no other right.
fn works(cluster: &Cluster, tenant: &str) {
    let proxy = Testbed::shared().proxy();
    let (controller, user) = start(cluster, &proxy);
    let declared = cluster.file("declared.yaml", &declared(tenant));
    cluster.kubectl(&["apply", "-f", declared.to_str().unwrap()]);
    let ready = ["wait", "tagacct/own", "tagaudit/nightly", "--for=condition=Ready", "--timeout=60s"];
    let waited = cluster.server.kubectl().args(ready).args(["--namespace", tenant]).output().unwrap();
    if !waited.status.success() {
        let forbidden = cluster.server.requests_of(&user).forbidden;
        let log = controller.stop().log.join("\n");
        panic!("it does not work: forbidden are {forbidden:?}\n{log}");
    }
    controller.readiness(200);

    let pod = only(&cluster.got("hooks"), "Pod");
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let address = controller.address("metrics").to_string();
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let service = json!(["tagwarden.tagwarden.svc:8081"]);
    let mut arguments = words(&pod["spec"]["containers"][0]["args"]);
    assert_eq!(arguments.last(), words(&service).first());
    *arguments.last_mut().unwrap() = address;
    let asked = Program::alone().args(&arguments).run();
    assert_eq!(asked.status, Some(0), "{}{}", asked.stdout, asked.stderr);
    assert!(asked.stdout.ends_with("ready\n"), "{}", asked.stdout);

    let stopped = controller.stop();
    assert_eq!(stopped.status, Some(0), "{}", stopped.log.join("\n"));
    let asked = Program::alone().args(&arguments).run();
    assert_eq!(asked.status, Some(1), "{}{}", asked.stdout, asked.stderr);
    let forbidden = cluster.server.requests_of(&user).forbidden;
    assert!(forbidden.is_empty(), "the chart allows too little: {forbidden:?}");
}

/// People with a key ask, and order an audit.
fn serves(cluster: &Cluster) {
    let proxy = Testbed::shared().proxy();
    let (controller, user) = start(cluster, &proxy);
    controller.readiness(200);
    let address = controller.address("listen");
    let store = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let create = ["keys", "create", "--store", &store, "--tenant", TENANT, "--scope", "tag:read,audit:write"];
    let created = Program::alone().args(create).run();
    assert_eq!(created.status, Some(0), "{}", created.stderr);
    let key = created.stdout.trim();
    let order = json!({"schedule": "0 4 * * *", "policy": "corp"}).to_string();
    let put = || request(address, key, "PUT /v1/audits/ordered", order.as_bytes());
    assert_eq!(request(address, "nobody", "GET /v1/audits", b"").0, 401);
    // A new key is known within a second.
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut answer = put();
    while answer.0 == 401 && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(100));
        answer = put();
    }
    assert_eq!(answer.0, 201, "{}", answer.1);
    let path = "jsonpath={.spec.schedule}";
    let found = cluster.kubectl(&["get", "tagaudit/ordered", "--namespace", TENANT, "-o", path]);
    assert_eq!(found, "0 4 * * *");
    controller.stop();
    let forbidden = cluster.server.requests_of(&user).forbidden;
    assert!(forbidden.is_empty(), "the chart allows too little: {forbidden:?}");
    cluster.kubectl(&["delete", "tagaudit/ordered", "--namespace", TENANT]);
}
