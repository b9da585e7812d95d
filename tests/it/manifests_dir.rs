//! The manifest directory: applied at start and on change, by whatever means files are written; and what a mistake in
//! one file does to the others.

use std::os::unix::fs::symlink;

use serde_json::Value;
use tagwarden_testbed::Testbed;

use crate::controller::{Controller, Setup};

const POLICIES: &str = "/apis/tagwarden.io/v1alpha1/taggingpolicies";
const AUDITS: &str = "/apis/tagwarden.io/v1alpha1/complianceaudits";

fn policy(name: &str, key: &str) -> String {
    format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{requiredTags: [{{key: {key}}}]}}\n"
    )
}

/// Suspended, so that nothing runs.
fn audit(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: tagwarden.io/v1alpha1\nkind: ComplianceAudit\nmetadata: {{name: {name}}}\n\
         spec: {{suspend: true, policyRef: {{name: {policy}}}, accounts: {{all: true}}}}\n"
    )
}

/// The number of the line after the next that tells of manifests that were applied.
#[track_caller]
fn applied(controller: &Controller, from: usize) -> usize {
    controller.logs_from(from, &["manifests applied"]).1
}

fn required(object: &Value) -> &str {
    object["spec"]["requiredTags"][0]["key"].as_str().unwrap()
}

#[test]
fn what_is_there_at_start_is_applied_and_changes_are_seen_however_they_are_written() {
    let setup = Setup::new().file("manifests/corp.yaml", &policy("corp", "Owner"));
    let controller = setup.with_manifests();
    let mut line = applied(&controller, 0);
    // Renamed over, written in place, through a link, and left behind by an editor.
    controller.write("corp.yaml", &policy("corp", "Team"));
    line = applied(&controller, line);
    std::fs::write(controller.manifest("more.yml"), policy("more", "Owner")).unwrap();
    line = applied(&controller, line);
    std::fs::create_dir(controller.manifest("..1")).unwrap();
    std::fs::write(controller.manifest("..1").join("linked.yaml"), policy("linked", "One")).unwrap();
    symlink("..1/linked.yaml", controller.manifest("linked.yaml")).unwrap();
    std::fs::write(controller.manifest(".corp.yaml.swp"), policy("swap", "Owner")).unwrap();
    std::fs::write(controller.manifest("corp.yaml~"), policy("backup", "Owner")).unwrap();
    line = applied(&controller, line);
    std::fs::remove_file(controller.manifest("more.yml")).unwrap();
    controller.write("last.yaml", &policy("last", "Owner"));
    applied(&controller, line);
    let stopped = controller.stop();
    assert_eq!(stopped.status, Some(0));
    // Nothing is deleted unless asked for.
    assert_eq!(
        stopped.names(POLICIES),
        ["default/corp", "default/last", "default/linked", "default/more"],
        "{:#?}",
        stopped.log
    );
    let corp = &stopped.objects(POLICIES)[0];
    assert_eq!(required(corp), "Team");
    assert_eq!(corp["metadata"]["labels"]["tagwarden.io/managed-by-manifests"], "true");
    assert!(corp["metadata"]["annotations"]["tagwarden.io/manifest"].as_str().unwrap().contains("corp.yaml"));
}

#[test]
fn objects_without_a_namespace_get_the_one_of_the_settings_and_missing_ones_are_made() {
    let elsewhere = policy("other", "Owner").replace("{name: other}", "{name: other, namespace: team-b}");
    let setup =
        Setup::new().file("manifests/a.yaml", &policy("corp", "Owner")).file("manifests/b.yaml", &elsewhere);
    let controller = setup.args(["--namespace", "finops", "--watch-namespaces", "finops"]).with_manifests();
    applied(&controller, 0);
    controller.logs(&["TaggingPolicy team-b/other is in a namespace that --watch-namespaces leaves out"]);
    let stopped = controller.stop();
    assert_eq!(stopped.names(POLICIES), ["finops/corp", "team-b/other"]);
    assert_eq!(stopped.names("/api/v1/namespaces"), ["default", "finops", "team-b"]);
}

#[test]
fn a_bad_file_is_told_of_and_stops_nothing() {
    let setup = Setup::new().file("manifests/corp.yaml", &policy("corp", "Owner"));
    let controller = setup.args(["--manifests-prune"]).with_manifests();
    let line = applied(&controller, 0);
    controller.write("corp.yaml", &policy("corp", "Team").replace("requiredTags", "requiredTag"));
    let (told, line) = controller.logs_from(line, &["\"ERROR\"", "corp.yaml: document 1"]);
    assert!(
        told.contains("(TaggingPolicy corp): spec.requiredTag: unknown field, did you mean `requiredTags`?"),
        "{told}"
    );
    controller.write("good.yaml", &policy("good", "Owner"));
    let line = applied(&controller, line);
    controller.write("corp.yaml", &policy("corp", "Squad"));
    let line = applied(&controller, line);
    controller.logs_from(line - 1, &["all manifests are fine again"]);
    let stopped = controller.stop();
    assert_eq!(stopped.names(POLICIES), ["default/corp", "default/good"]);
    assert_eq!(required(&stopped.objects(POLICIES)[0]), "Squad");
    assert!(
        stopped.log.iter().any(|line| line.contains("nothing is pruned while a manifest file has mistakes"))
    );
    let events = stopped.objects("/api/v1/namespaces/default/events");
    let refused: Vec<&Value> = events.iter().filter(|event| event["reason"] == "ManifestRefused").collect();
    assert_eq!(refused.len(), 1, "{events:#?}");
    assert_eq!(refused[0]["involvedObject"]["name"], "corp");
    assert!(refused[0]["message"].as_str().unwrap().contains("did you mean `requiredTags`?"));
}

#[test]
fn what_a_bad_file_declared_is_named_when_the_file_is_gone() {
    let setup = Setup::new()
        .file("manifests/corp.yaml", &policy("corp", "Owner"))
        .file("manifests/other.yaml", &policy("other", "Owner"));
    let controller = setup.with_manifests();
    let mut line = applied(&controller, 0);
    controller.write("corp.yaml", &policy("corp", "Team").replace("requiredTags", "requiredTag"));
    line = controller.logs_from(line, &["corp.yaml: document 1"]).1;
    std::fs::remove_file(controller.manifest("corp.yaml")).unwrap();
    let stays =
        ["stays, although no manifest declares it any more", "TaggingPolicy default/corp", "corp.yaml"];
    controller.logs_from(line, &stays);
    controller.logs_from(line, &["all manifests are fine again"]);
    assert_eq!(controller.stop().names(POLICIES), ["default/corp", "default/other"]);
}

#[test]
fn an_edit_by_hand_is_undone_with_a_word_about_whose_it_is() {
    let setup = Setup::new().file("manifests/corp.yaml", &policy("corp", "Owner"));
    let controller = setup.with_manifests();
    applied(&controller, 0);
    let stopped = controller.stop();
    let one = "/apis/tagwarden.io/v1alpha1/namespaces/default/taggingpolicies/corp";
    // A label of their own is nobody else's business.
    let edit = serde_json::json!({
        "metadata": { "labels": { "team": "x" } }, "spec": { "requiredTags": [{ "key": "Mine" }] },
    });
    stopped.edit(one, &edit);
    let controller = stopped.again().with_manifests();
    let told = controller.logs(&["was edited by hand, and is what its file says again"]);
    for text in ["TaggingPolicy default/corp", "\"file\":\"corp.yaml\"", "spec.requiredTags"] {
        assert!(told.contains(text), "{told}");
    }
    applied(&controller, 0);
    let stopped = controller.stop();
    let corp = &stopped.objects(POLICIES)[0];
    assert_eq!((required(corp), &corp["metadata"]["labels"]["team"]), ("Owner", &"x".into()));
    let events = stopped.objects("/api/v1/namespaces/default/events");
    let restored: Vec<&Value> = events.iter().filter(|event| event["reason"] == "ManifestRestored").collect();
    assert_eq!(restored.len(), 1, "{events:#?}");
    assert_eq!(restored[0]["involvedObject"]["name"], "corp");
    assert!(restored[0]["message"].as_str().unwrap().contains("(corp.yaml, document 1): change it there"));
    // Told once; and a change of the file is no edit.
    let setup = stopped.again().file("manifests/corp.yaml", &policy("corp", "Team"));
    let controller = setup.with_manifests();
    applied(&controller, 0);
    let log = controller.stop().log;
    assert!(!log.iter().any(|line| line.contains("edited by hand")), "{log:#?}");
}

/// Two replicas whose directories differ, because one is rolled out before the other.
#[test]
fn only_the_replica_that_leads_applies_its_directory() {
    let store = Testbed::postgres().fresh_database().unwrap();
    let replica = |name: &str| {
        let setup = Setup::new().file(&format!("manifests/{name}.yaml"), &policy(name, "Owner"));
        setup.args(["--store", &store, "--manifests-prune"]).with_manifests()
    };
    let first = replica("first");
    applied(&first, 0);
    let second = replica("second");
    second.logs(&["the manifest directory is applied once this replica leads"]);
    second.readiness(200);
    let line = first.logged();
    first.write("more.yaml", &policy("more", "Owner"));
    applied(&first, line);
    assert_eq!(first.stop().status, Some(0));
    second.logs(&["this replica leads: its manifest directory is in force"]);
    let (told, _) = second.logs_from(0, &["manifests applied"]);
    assert!(told.contains("\"created\":1") && told.contains("\"pruned\":2"), "{told}");
}

#[test]
fn an_audit_that_two_files_declare_is_taken_from_neither() {
    let setup = Setup::new()
        .file("manifests/a.yaml", &audit("nightly", "one"))
        .file("manifests/b.yaml", &audit("nightly", "two"))
        .file("manifests/c.yaml", &audit("weekly", "one"));
    let controller = setup.args(["--manifests-prune"]).with_manifests();
    let told = controller.logs(&["ComplianceAudit default/nightly is declared 2 times"]);
    assert!(told.contains("a.yaml, document 1 and b.yaml, document 1"), "{told}");
    let line = controller.logged();
    std::fs::remove_file(controller.manifest("b.yaml")).unwrap();
    applied(&controller, line);
    // Declared twice again, it stays what it was.
    controller.write("d.yaml", &audit("nightly", "three"));
    controller.logs_from(line, &["a.yaml, document 1 and d.yaml, document 1"]);
    let stopped = controller.stop();
    assert_eq!(stopped.names(AUDITS), ["default/nightly", "default/weekly"]);
    assert_eq!(stopped.objects(AUDITS)[0]["spec"]["policyRef"]["name"], "one");
}

#[test]
fn pruning_takes_what_is_gone_from_the_files_and_never_what_a_missing_directory_held() {
    let setup = Setup::new()
        .file("manifests/corp.yaml", &policy("corp", "Owner"))
        .file("manifests/old.yaml", &policy("old", "Owner"));
    let controller = setup.args(["--manifests-prune"]).with_manifests();
    let mut line = applied(&controller, 0);
    std::fs::rename(controller.directory().join("manifests"), controller.directory().join("away")).unwrap();
    line =
        controller.logs_from(line, &["the manifest directory cannot be read", "objects stay as they are"]).1;
    std::fs::create_dir(controller.directory().join("manifests")).unwrap();
    line = controller.logs_from(line, &["nothing is pruned while the manifest directory holds no file"]).1;
    std::fs::remove_dir(controller.directory().join("manifests")).unwrap();
    line = controller.logs_from(line, &["the manifest directory cannot be read"]).1;
    std::fs::remove_file(controller.directory().join("away/old.yaml")).unwrap();
    std::fs::rename(controller.directory().join("away"), controller.directory().join("manifests")).unwrap();
    controller.logs_from(line, &["pruned", "TaggingPolicy default/old", "old.yaml"]);
    let stopped = controller.stop();
    assert_eq!(stopped.names(POLICIES), ["default/corp"]);
}

/// Too much would go with it.
#[test]
fn a_namespace_is_not_pruned_and_named_as_left() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-b}\n";
    let inside = policy("inside", "Owner").replace("{name: inside}", "{name: inside, namespace: team-b}");
    let setup = Setup::new()
        .file("manifests/corp.yaml", &policy("corp", "Owner"))
        .file("manifests/team.yaml", &[namespace, inside.as_str()].join("---\n"));
    let controller = setup.args(["--manifests-prune"]).with_manifests();
    let line = applied(&controller, 0);
    std::fs::remove_file(controller.manifest("team.yaml")).unwrap();
    controller.logs_from(line, &["pruned", "TaggingPolicy team-b/inside", "team.yaml"]);
    controller
        .logs_from(line, &["stays", "Namespace team-b", "delete it with kubectl, and all that is in it"]);
    let stopped = controller.stop();
    assert_eq!(stopped.names(POLICIES), ["default/corp"]);
    assert_eq!(stopped.names("/api/v1/namespaces"), ["default", "team-b"]);
}

#[test]
fn a_second_start_with_the_same_files_writes_nothing() {
    let account = "apiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata: {name: acme, labels: {tier: gold}}\n\
                   spec: {suspend: true, accountId: \"111122223333\", auth: {mode: Ambient}}\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: acme}\nstringData: {externalId: an-id}\n";
    let setup = Setup::new().file(
        "manifests/all.yaml",
        &[account, secret, &policy("corp", "Owner"), &audit("nightly", "corp")].join("---\n"),
    );
    let controller = setup.with_manifests();
    applied(&controller, 0);
    let stopped = controller.stop();
    let versions = |stopped: &crate::controller::Stopped| -> Vec<Value> {
        ["/api/v1/secrets", POLICIES, AUDITS, "/apis/tagwarden.io/v1alpha1/clientaccounts"]
            .into_iter()
            .flat_map(|path| stopped.objects(path))
            // Controllers write statuses as they please; a file may only change what people declare.
            .map(|object| serde_json::json!([object["metadata"]["name"], object["metadata"]["generation"]]))
            .collect()
    };
    let before = versions(&stopped);
    assert_eq!(before.len(), 4);
    let controller = stopped.again().with_manifests();
    let told = controller.logs(&["manifests applied"]);
    assert!(told.contains("\"created\":0,\"changed\":0,\"unchanged\":4,\"pruned\":0,\"failed\":0"), "{told}");
    assert_eq!(versions(&controller.stop()), before);
}
