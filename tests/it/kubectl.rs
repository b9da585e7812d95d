//! kubectl, driven as people do, against a real API server and the embedded plane: both have to make it print the same.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::conformance::target::{Site, Target};

const MANIFEST: &str = r#"
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {name: corp, labels: {tier: gold}}
spec:
  description: What every resource carries.
  requiredTags:
    - key: Owner
    - key: CostCenter
      values: {regex: "[A-Z]{2}[0-9]{4}"}
---
apiVersion: tagwarden.io/v1alpha1
kind: ClientAccount
metadata: {name: shop}
spec:
  accountId: "111122223333"
  displayName: Shop
  auth: {roleArn: "arn:aws:iam::111122223333:role/reader"}
---
apiVersion: tagwarden.io/v1alpha1
kind: ComplianceAudit
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  policyRef: {name: corp}
  accounts: {all: true}
"#;

/// Commands that may print something else, and why users can live with it.
const ALLOWED: [(&str, &str); 2] = [
    ("explain tagacct", "the words about what every object has are our own"),
    ("explain tagreport --recursive", "managedFields and selfLink are not kept"),
];

/// What a command printed, without what differs from run to run.
#[derive(Debug, PartialEq)]
struct Printed {
    status: Option<i32>,
    out: String,
    err: String,
}

struct Shell {
    site: Site,
    directory: tempfile::TempDir,
    /// Everything so far: the command and what it printed.
    transcript: Vec<(String, Printed)>,
}

impl Shell {
    async fn on(target: Target) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { site: Site::on(target).await, directory, transcript: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.directory.path().join(name), text).expect("a file");
        self.path(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.kubectl();
        command.args(arguments).env("KUBE_EDITOR", self.path("editor")).env("PATH", path_of_tools());
        command
    }

    /// Runs a command, and remembers what it printed.
    async fn run(&mut self, arguments: &[&str]) -> &Printed {
        let printed = self.quietly(arguments).await;
        let told = arguments.iter().map(|argument| self.plain(argument)).collect::<Vec<_>>().join(" ");
        self.transcript.push((told, printed));
        &self.transcript.last().expect("just pushed").1
    }

    /// Runs a command whose output is not compared.
    async fn quietly(&self, arguments: &[&str]) -> Printed {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread");
        let output = output.expect("kubectl runs");
        let text = |bytes: &[u8]| self.plain(&String::from_utf8_lossy(bytes));
        Printed { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Starts a command that goes on until enough lines were printed.
    async fn until_lines(&mut self, arguments: &[&str], lines: usize, meanwhile: &[&str]) {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().expect("kubectl runs");
        let mut stdout = child.stdout.take().expect("a pipe");
        let (first, printed) = std::sync::mpsc::channel();
        let (done, text) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let (mut text, mut byte) = (Vec::new(), [0]);
            while text.iter().filter(|byte| **byte == b'\n').count() < lines
                && matches!(stdout.read(&mut byte), Ok(1))
            {
                text.push(byte[0]);
                if byte == *b"\n" {
                    let _ = first.send(());
                }
            }
            let _ = done.send(text);
        });
        // The header and the first object are there: the watch has begun, or is about to, from that list on.
        let begun = tokio::task::spawn_blocking(move || {
            printed
                .recv_timeout(Duration::from_secs(30))
                .and_then(|()| printed.recv_timeout(Duration::from_secs(30)))
        });
        begun.await.expect("a thread").expect("two lines in time");
        assert_eq!(self.quietly(meanwhile).await.status, Some(0), "{meanwhile:?}");
        let text = tokio::time::timeout(Duration::from_secs(30), text).await;
        let _ = child.kill();
        let _ = child.wait();
        let out = self.plain(&String::from_utf8_lossy(&text.expect("all lines in time").expect("the lines")));
        self.transcript.push((arguments.join(" "), Printed { status: None, out, err: String::new() }));
    }

    /// A text without namespace, directory, uids, versions, times and ages.
    fn plain(&self, text: &str) -> String {
        let directory = self.directory.path().display().to_string();
        let text = text.replace(&self.site.namespace, "<namespace>").replace(&directory, "<directory>");
        // What the embedded plane does not offer.
        let text = text.replace(", application/apply-patch+yaml", "");
        text.lines().map(plain_line).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn last(&self) -> &Printed {
        &self.transcript.last().expect("a command").1
    }
}

fn path_of_tools() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn plain_line(line: &str) -> String {
    // The whole object, quoted, or the beginning of it.
    if let (Some((before, _)), Some((_, after))) =
        (line.split_once("patch: Invalid value: "), line.rsplit_once("strict decoding error: "))
    {
        return format!("{before}patch: Invalid value: <object>: strict decoding error: {after}");
    }
    for (field, shown) in [
        ("uid: ", "<uid>"),
        ("resourceVersion: ", "<version>"),
        ("creationTimestamp: ", "<time>"),
        ("UID:", "<uid>"),
        ("Resource Version:", "<version>"),
        ("Creation Timestamp:", "<time>"),
    ] {
        let indent = line.len() - line.trim_start().len();
        if let Some(rest) = line.trim_start().strip_prefix(field)
            && !rest.trim().is_empty()
            && rest.trim() != "null"
        {
            return format!("{}{field}{shown}", &line[..indent]);
        }
    }
    // Columns are as wide as what stands in them.
    let words = line.split_whitespace().map(|word| if is_age(word) { "<age>" } else { word });
    let indent: String = line.chars().take_while(|symbol| symbol.is_whitespace()).collect();
    // diff names temporary files and the time.
    let line = words.collect::<Vec<_>>().join(" ");
    let line = match line.split_whitespace().next() {
        Some("diff" | "---" | "+++") if line.contains("/LIVE-") || line.contains("/MERGED-") => {
            "<files>".to_owned()
        }
        _ => line,
    };
    indent + &line
}

fn is_age(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|symbol: char| symbol.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|symbol| symbol.is_ascii_digit() || "smhd".contains(symbol))
}

/// All that people do with our kinds. Returns what was printed.
async fn a_day_with_kubectl(mut shell: Shell) -> Vec<(String, Printed)> {
    let manifest = shell.write("manifest.yaml", MANIFEST);
    shell.run(&["apply", "-f", &manifest]).await;
    assert_eq!(shell.last().status, Some(0), "{:?}", shell.last());
    shell.run(&["apply", "-f", &manifest]).await;
    assert!(shell.last().out.contains("unchanged"), "{:?}", shell.last());

    for kinds in
        ["tagpol,tagacct,tagaudit,tagreport", "tagwarden", "tagpol", "clientaccounts", "tagaudit/nightly"]
    {
        shell.run(&["get", kinds]).await;
    }
    assert!(shell.last().out.contains("NAME"), "{:?}", shell.last());
    for arguments in [
        ["get", "tagacct", "-o", "wide"],
        ["get", "tagacct/shop", "-o", "yaml"],
        ["get", "tagacct", "-o", "name"],
        ["get", "tagacct", "-l", "tier=gold"],
        ["get", "tagpol", "-l", "tier=gold"],
        ["get", "tagpol", "--show-labels", "--no-headers"],
        ["get", "tagacct", "--field-selector", "spec.accountId=111122223333"],
        ["get", "tagacct", "--field-selector", "spec.displayName=Shop"],
        ["get", "tagacct", "-o", "jsonpath={.items[*].spec.accountId}"],
        ["get", "tagaudit", "-o", "custom-columns=N:.metadata.name,P:.spec.policyRef.name"],
        ["get", "tagpol", "--chunk-size", "1"],
        ["get", "nope", "-o", "wide"],
        ["get", "tagpol/none", "-o", "wide"],
    ] {
        shell.run(&arguments).await;
    }
    changes(&mut shell).await;
    looks(&mut shell).await;
    waits(&mut shell).await;
    shell.transcript
}

async fn changes(shell: &mut Shell) {
    let changed =
        shell.write("changed.yaml", &MANIFEST.replace("What every resource carries.", "What all carry."));
    shell.run(&["diff", "-f", &changed]).await;
    assert_eq!(shell.last().status, Some(1), "{:?}", shell.last());
    assert!(shell.last().out.contains("+ description: What all carry."), "{:?}", shell.last());
    shell.run(&["apply", "-f", &changed, "--dry-run=server"]).await;
    shell.run(&["apply", "-f", &changed]).await;
    shell.run(&["diff", "-f", &changed]).await;
    assert_eq!(shell.last().status, Some(0), "{:?}", shell.last());

    let strict = shell.write("strict.yaml", &MANIFEST.replace("displayName", "displayNmae"));
    shell.run(&["apply", "-f", &strict]).await;
    assert!(shell.last().err.contains("unknown field \"spec.displayNmae\""), "{:?}", shell.last());
    let broken = shell.write("broken.yaml", &MANIFEST.replace("111122223333:role", "999999999999:role"));
    shell.run(&["apply", "-f", &broken]).await;
    assert!(shell.last().err.contains("auth.roleArn must be a role of accountId"), "{:?}", shell.last());

    for arguments in [
        ["label", "tagacct/shop", "tier=silver"].as_slice(),
        &["label", "tagacct/shop", "tier=gold"],
        &["label", "tagacct/shop", "tier=gold", "--overwrite"],
        &["label", "tagacct/shop", "tier-"],
        &["annotate", "tagaudit/nightly", "tagwarden.io/requestedAt=now"],
        &["patch", "tagacct/shop", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#],
        &["patch", "tagacct/shop", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/suspend"}]"#],
        &["patch", "tagacct/shop", "-p", r#"{"spec":{"suspend":true}}"#],
        &["patch", "tagacct/shop", "--type=merge", "-p", r#"{"spec":{"accountId":"444455556666"}}"#],
        &[
            "patch",
            "tagacct/shop",
            "--type=merge",
            "--subresource=status",
            "-p",
            r#"{"status":{"observedGeneration":1}}"#,
        ],
        &["get", "tagacct/shop", "-o", "yaml"],
    ] {
        shell.run(arguments).await;
    }
    editor(shell, "sed -i 's/displayName: .*/displayName: Edited/' \"$1\"");
    shell.run(&["edit", "tagacct/shop"]).await;
    assert!(shell.last().out.contains("edited"), "{:?}", shell.last());
    editor(shell, "true");
    shell.run(&["edit", "tagacct/shop"]).await;
    shell.run(&["get", "tagacct/shop", "-o", "jsonpath={.spec.displayName}"]).await;
    assert_eq!(shell.last().out, "Edited");
    shell.until_lines(&["get", "tagacct", "-w"], 3, &["annotate", "tagacct/shop", "seen=yes"]).await;
}

fn editor(shell: &Shell, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = shell.write("editor", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(Path::new(&path), std::fs::Permissions::from_mode(0o755)).expect("an editor");
}

async fn looks(shell: &mut Shell) {
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "shop.1"},
        "regarding": {"apiVersion": "tagwarden.io/v1alpha1", "kind": "ClientAccount", "name": "shop", "namespace": shell.site.namespace},
        "reason": "AccountVerified", "action": "Verify", "note": "All is well.", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.123456Z", "reportingController": "tagwarden.io/controller", "reportingInstance": "pod-1"});
    let event = shell.write("event.json", &event.to_string());
    shell.run(&["create", "-f", &event]).await;
    assert_eq!(shell.last().status, Some(0), "{:?}", shell.last());
    for arguments in [
        ["get", "events"].as_slice(),
        &["events"],
        &["events", "--for", "clientaccount/shop"],
        &["describe", "tagacct/shop"],
        &["describe", "tagpol", "corp"],
        &["explain", "tagacct"],
        &["explain", "tagacct.spec.auth"],
        &["explain", "tagaudit.spec.schedule"],
        &["explain", "tagpol.spec.nope"],
        &["explain", "tagreport", "--recursive"],
        &["api-resources", "--api-group=tagwarden.io"],
        &["get", "ns", "default", "--no-headers"],
        &["create", "configmap", "settings", "--from-literal=a=b"],
        &["get", "configmaps", "settings"],
    ] {
        shell.run(arguments).await;
    }
}

async fn waits(shell: &mut Shell) {
    // kubectl does not trust a status that is about an older spec.
    let ready = json!({"status": {"observedGeneration": 1000, "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    .to_string();
    let patch = ["patch", "tagacct/shop", "--type=merge", "--subresource=status", "-p", &ready];
    let condition = ["wait", "--for=condition=Ready", "tagacct/shop", "--timeout=30s"];
    let waiting = shell.quietly(&condition);
    let (waited, patched) = tokio::join!(waiting, shell.quietly(&patch));
    assert_eq!((waited.status, patched.status), (Some(0), Some(0)), "{waited:?} {patched:?}");
    for arguments in [
        condition.as_slice(),
        &["wait", "--for=condition=Compliant", "tagaudit/nightly", "--timeout=1s"],
        &["wait", "--for=jsonpath={.spec.displayName}=Edited", "tagacct/shop", "--timeout=30s"],
        &["get", "tagacct"],
        &["delete", "tagpol/none"],
        &["delete", "tagpol/corp"],
        &["delete", "tagacct,tagaudit", "--all"],
        &["wait", "--for=delete", "tagacct/shop", "--timeout=30s"],
        &["get", "tagpol,tagacct,tagaudit"],
    ] {
        shell.run(arguments).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_the_same_on_both_planes() {
    let (embedded, real) =
        tokio::join!(async { a_day_with_kubectl(Shell::on(Target::EmbeddedHttp).await).await }, async {
            a_day_with_kubectl(Shell::on(Target::Real).await).await
        },);
    let mut differences = Vec::new();
    for ((command, embedded), (_, real)) in embedded.iter().zip(&real) {
        let allowed = ALLOWED.iter().any(|(allowed, _)| allowed == command);
        assert!(
            !allowed || embedded != real,
            "`{command}` prints the same by now: it need not be allowed to differ"
        );
        if !allowed && embedded != real {
            differences.push(format!("$ kubectl {command}\nreal:     {real:#?}\nembedded: {embedded:#?}"));
        }
    }
    assert_eq!(embedded.len(), real.len());
    assert!(
        differences.is_empty(),
        "{} commands print something else:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_is_refused_with_a_sentence_that_helps() {
    let mut shell = Shell::on(Target::EmbeddedHttp).await;
    let manifest = shell.write("manifest.yaml", MANIFEST);
    let printed = shell.run(&["apply", "--server-side", "-f", &manifest]).await;
    assert_ne!(printed.status, Some(0), "{printed:?}");
    assert!(printed.err.contains("without --server-side"), "{printed:?}");
    assert!(shell.quietly(&["get", "tagpol"]).await.out.is_empty());
}

/// `tagwarden get` is for machines without kubectl: what both can do looks the same.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_get_prints_what_kubectl_prints() {
    let shell = Shell::on(Target::EmbeddedHttp).await;
    let manifest = shell.write("manifest.yaml", MANIFEST);
    assert_eq!(shell.quietly(&["apply", "-f", &manifest]).await.status, Some(0));
    for arguments in [
        ["get", "tagacct"].as_slice(),
        &["get", "taggingpolicies,ClientAccount,complianceaudit"],
        &["get", "tagwarden", "-o", "wide"],
        &["get", "tagwarden", "-o", "name"],
        &["get", "tagacct", "shop", "-o", "name"],
        &["get", "tagacct/shop", "tagpol/corp"],
        &["get", "tagacct", "shop", "-o", "yaml"],
        &["get", "tagacct/shop", "-o", "json"],
        &["get", "tagpol", "-o", "json"],
        &["get", "tagpol,tagacct", "-o", "yaml"],
        &["get", "tagacct", "-l", "tier=gold"],
        &["get", "tagpol", "-l", "tier=gold", "-o", "json"],
        &["get", "tagpol", "-A"],
        &["get", "events"],
    ] {
        let theirs = shell.quietly(arguments).await;
        let ours = ours(&shell, arguments).await;
        assert_eq!(ours.status, theirs.status, "{arguments:?}: {}", ours.err);
        if arguments.contains(&"yaml") {
            // Which quotes stand around a text is a matter of taste.
            let tree = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).expect("YAML");
            assert_eq!(tree(&ours.out), tree(&theirs.out), "{arguments:?}");
        } else {
            assert_eq!(ours.out, theirs.out, "{arguments:?}");
        }
    }
    for (arguments, told) in [
        (["get", "tagacct", "shop", "none"].as_slice(), "clientaccounts.tagwarden.io \"none\" not found"),
        (&["get", "policies"], "did you mean `taggingpolicies`?"),
        (&["get", "tagpol", "tagacct/shop"], "expected either KIND/NAME everywhere"),
        (&["get", "tagpol,tagacct", "--watch"], "--watch takes one kind"),
        (&["get", "tagpol", "corp", "-A"], "does not go with --all-namespaces"),
    ] {
        let refused = ours(&shell, arguments).await;
        assert!(refused.status == Some(2) && refused.err.contains(told), "{arguments:?}: {refused:?}");
    }
    watches(&shell).await;
}

fn ours_as_command(shell: &Shell, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    command
        .args(arguments)
        .args(["--namespace", &shell.site.namespace].iter().filter(|_| !arguments.contains(&"-A")));
    command.arg("--kubeconfig").arg(shell.site.kubeconfig());
    command
}

async fn ours(shell: &Shell, arguments: &[&str]) -> Printed {
    let mut command = ours_as_command(shell, arguments);
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("it runs");
    let text = |bytes: &[u8]| shell.plain(&String::from_utf8_lossy(bytes));
    Printed { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Each change comes as it is made, under the headings that were there at first.
async fn watches(shell: &Shell) {
    use std::io::{BufRead, BufReader};
    let mut child = ours_as_command(shell, &["get", "tagacct", "shop", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("it goes on").expect("a line");
    tokio::task::block_in_place(|| {
        assert!(line().starts_with("NAME "));
        assert!(line().starts_with("shop "));
    });
    for name in ["Second", "Third"] {
        let patch = json!({ "spec": { "displayName": name } }).to_string();
        assert_eq!(
            shell.quietly(&["patch", "tagacct/shop", "--type=merge", "-p", &patch]).await.status,
            Some(0)
        );
        let told = tokio::task::block_in_place(&mut line);
        assert!(told.starts_with("shop ") && told.contains(name), "{told}");
    }
    child.kill().expect("it was there");
    child.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_says_what_to_trust() {
    let shell = Shell::on(Target::EmbeddedHttp).await;
    let text = std::fs::read_to_string(shell.site.kubeconfig()).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let token = shell.write("token", config["users"][0]["user"]["token"].as_str().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    command.args(["get", "tagpol", "--server", server, "--token-file", &token]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("nobody whom this machine trusts has signed its certificate") && told.contains("--ca"),
        "{told}"
    );
}
