//! The controller on a real API server, under exactly the rules that the chart ships: none too few, none too many.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagwarden_testbed::{AMBIENT_ACCOUNT, Asked, Kubernetes, Testbed};

use crate::conformance::target::{Site, Target};
use crate::controller::Setup;

const WITHIN: Duration = Duration::from_mins(2);

/// Both files, by the name of the role that they become.
const RULES: [(&str, &str); 2] = [
    ("controller", include_str!("../../charts/tagwarden/files/controller-rules.yaml")),
    ("leader", include_str!("../../charts/tagwarden/files/leader-rules.yaml")),
];

const POLICY: &str = "
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {name: corp}
spec:
  requiredTags: [{key: Owner, appliesTo: {resourceTypes: [ec2:volume]}}]
";

/// What becomes of the policy: its last good revision is then written anew.
const BETTER: &str =
    r#"{"spec":{"requiredTags":[{"key":"Team","appliesTo":{"resourceTypes":["ec2:volume"]}}]}}"#;

fn objects() -> String {
    format!(
        "{POLICY}
---
apiVersion: tagwarden.io/v1alpha1
kind: ClientAccount
metadata: {{name: own}}
spec: {{accountId: \"{AMBIENT_ACCOUNT}\", auth: {{mode: Ambient}}}}
---
apiVersion: tagwarden.io/v1alpha1
kind: ClientAccount
metadata: {{name: acme}}
spec:
  accountId: \"111122223333\"
  auth: {{roleArn: \"arn:aws:iam::111122223333:role/reader\"}}
---
apiVersion: tagwarden.io/v1alpha1
kind: ComplianceAudit
metadata: {{name: nightly}}
spec:
  policyRef: {{name: corp}}
  accounts: {{names: [own]}}
  regions: {{include: [eu-west-1]}}
  resources: {{include: [ec2:volume]}}
  report: {{successfulHistoryLimit: 1}}
"
    )
}

/// What the rules allow, one by one.
fn allowed() -> BTreeSet<Asked> {
    let mut allowed = BTreeSet::new();
    for (_, text) in RULES {
        let rules: Vec<Value> = serde_saphyr::from_str(text).unwrap();
        let words = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        for rule in rules {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    for verb in words(&rule["verbs"]) {
                        allowed.insert(Asked { group: group.clone(), resource: resource.clone(), verb });
                    }
                }
            }
        }
    }
    allowed
}

fn roles(namespace: &str, user: &str) -> String {
    let documents = RULES.iter().flat_map(|(name, rules)| {
        let rules: Value = serde_saphyr::from_str(rules).unwrap();
        let metadata = json!({"name": name, "namespace": namespace});
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        [
            json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}),
            json!({
                "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            }),
        ]
    });
    json!({"apiVersion": "v1", "kind": "List", "items": documents.collect::<Vec<_>>()}).to_string()
}

#[track_caller]
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// kubectl as the administrator, in the namespace of the test.
struct Admin<'a> {
    server: &'a Kubernetes,
    namespace: &'a str,
    directory: tempfile::TempDir,
}

impl Admin<'_> {
    #[track_caller]
    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = self.server.kubectl();
        command.args(["--namespace", self.namespace]).args(arguments);
        run(command)
    }

    #[track_caller]
    fn apply(&self, manifest: &str) {
        let file = self.directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// Waits until the JSON path of an object has this value.
    #[track_caller]
    fn wait(&self, object: &str, path: &str, value: &str) {
        self.kubectl(&["wait", object, &format!("--for=jsonpath={path}={value}"), "--timeout=120s"]);
    }

    #[track_caller]
    fn run_now(&self, token: &str) {
        let annotation = format!("tagwarden.io/requestedAt={token}");
        self.kubectl(&["annotate", "--overwrite", "tagaudit/nightly", &annotation]);
        self.wait("tagaudit/nightly", "{.status.lastHandledReconcileAt}", token);
        until("the run ends", || {
            self.kubectl(&["get", "tagaudit/nightly", "-o", "jsonpath={.status.run.id}"]).is_empty()
        });
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: it does not");
    }
}

fn lines<'a>(asked: impl Iterator<Item = &'a Asked>) -> String {
    asked.map(|asked| format!("\n  {asked}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_needs_what_the_chart_allows_and_nothing_else() {
    let site = Site::on(Target::Real).await;
    tokio::task::spawn_blocking(move || scenario(&site.namespace)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing_is_told_where_people_look() {
    let site = Site::on(Target::Real).await;
    tokio::task::spawn_blocking(move || without_permissions(&site.namespace)).await.unwrap();
}

/// The same roles, which may not create these.
fn without_creating(roles: &str, resources: &[&str]) -> String {
    let mut list: Value = serde_json::from_str(roles).unwrap();
    for role in list["items"].as_array_mut().unwrap() {
        for rule in role["rules"].as_array_mut().into_iter().flatten() {
            if rule["resources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|resource| resources.iter().any(|name| resource == name))
            {
                rule["verbs"].as_array_mut().unwrap().retain(|verb| verb != "create");
            }
        }
    }
    list.to_string()
}

fn without_permissions(namespace: &str) {
    const REASON: &str = r#"{.status.conditions[?(@.type=="Ready")].reason}"#;
    const MESSAGE: &str = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
    let (server, proxy) = (Testbed::kubernetes(), Testbed::shared().proxy());
    let user = server.fresh_user();
    let admin = Admin { server, namespace, directory: tempfile::tempdir().unwrap() };
    let roles = roles(namespace, &user.name);
    admin.apply(&without_creating(&roles, &["secrets", "compliancereports", "events"]));
    let controller = Setup::on_kubernetes(&server.kubeconfig_of(&user).unwrap())
        .behind(&proxy)
        .args(["--namespace", namespace, "--watch-namespaces", namespace, "--store", "sqlite:tagwarden.db"])
        .args(["--allow-ambient-account"])
        .start();
    admin.apply(&objects());
    for (object, resource) in [("tagaudit/nightly", "compliancereports"), ("tagacct/acme", "secrets")] {
        admin.wait(object, REASON, "Forbidden");
        let said = admin.kubectl(&["get", object, "-o", MESSAGE]);
        assert!(
            said.contains(&format!("cannot create resource \"{resource}\""))
                && said.contains("service account"),
            "{said}"
        );
        assert!(!said.contains(&user.name), "{said}");
    }
    let audit = admin.kubectl(&["get", "tagaudit/nightly", "-o", MESSAGE]);
    assert!(audit.contains("events cannot be written"), "{audit}");
    // Granted: nothing else is needed.
    admin.apply(&roles);
    admin.kubectl(&["wait", "tagaudit/nightly", "--for=condition=Ready", "--timeout=120s"]);
    assert_eq!(controller.stop().status, Some(0));
}

fn scenario(namespace: &str) {
    let (server, proxy) = (Testbed::kubernetes(), Testbed::shared().proxy());
    let user = server.fresh_user();
    let admin = Admin { server, namespace, directory: tempfile::tempdir().unwrap() };
    admin.apply(&roles(namespace, &user.name));

    let controller = Setup::on_kubernetes(&server.kubeconfig_of(&user).unwrap())
        .behind(&proxy)
        .args(["--namespace", namespace, "--watch-namespaces", namespace, "--store", "sqlite:tagwarden.db"])
        .args(["--allow-ambient-account"])
        .start();
    admin.apply(&objects());
    admin.kubectl(&["wait", "tagacct/own", "tagaudit/nightly", "--for=condition=Ready", "--timeout=120s"]);
    // Three runs, of which one report stays; what happens again is an event that happened again.
    for token in ["first", "second"] {
        admin.run_now(token);
    }
    until("only one report is kept", || {
        admin.kubectl(&["get", "tagreport", "-o", "name"]).lines().count() == 1
    });
    // Whoever changes an external id does not change it for long.
    admin.kubectl(&["wait", "tagacct/acme", "--for=jsonpath={.status.externalId}", "--timeout=120s"]);
    let secret = |path: &str| admin.kubectl(&["get", "secret/acme-external-id", "-o", path]);
    let id = secret("jsonpath={.data.externalId}");
    let stolen = r#"{"data":{"externalId":"c3RvbGVu"}}"#;
    admin.kubectl(&["patch", "secret/acme-external-id", "--type=merge", "--patch", stolen]);
    admin.kubectl(&["annotate", "tagacct/acme", "tagwarden.io/requestedAt=look"]);
    admin.wait("tagacct/acme", "{.status.lastHandledReconcileAt}", "look");
    assert_eq!(secret("jsonpath={.data.externalId}"), id);
    let revision = || admin.kubectl(&["get", "tagpol/corp", "-o", "jsonpath={.status.revision}"]);
    let before = revision();
    admin.kubectl(&["patch", "tagpol/corp", "--type=merge", "--patch", BETTER]);
    until("the policy has another revision", || revision() != before);
    let stopped = controller.stop();
    assert_eq!(stopped.status, Some(0), "{}", stopped.log.join("\n"));

    let (allowed, asked) = (allowed(), server.requests_of(&user));
    assert!(
        asked.forbidden.is_empty(),
        "the controller asks for more than its rules allow:{}",
        lines(asked.forbidden.iter())
    );
    let unused: Vec<&Asked> = allowed.difference(&asked.allowed).collect();
    assert!(unused.is_empty(), "no need for these was seen:{}", lines(unused.into_iter()));
}
