//! What Argo CD and Flux make of our objects: the Lua script and the CEL expressions, run over cases by the interpreters that
//! these tools use.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tagwarden_testbed::tools;

fn gitops(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gitops").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(gitops(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap()
}

/// What both tools say of these objects, by these expressions.
fn health(expressions: &Value, objects: &[Value]) -> Vec<Value> {
    let question =
        json!({"script": text("argocd/health.lua"), "expressions": expressions, "objects": objects});
    let mut command = tools::program("gitops");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The expressions for a kind.
fn expressions(kind: &str) -> Value {
    let kustomization = yaml("flux/tagging.yaml");
    let all = kustomization["spec"]["healthCheckExprs"].as_array().unwrap();
    let known: BTreeSet<&str> = all.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    // People declare these; the reports of the controller are looked at in the same way.
    assert_eq!(known, BTreeSet::from(["ClientAccount", "ComplianceAudit", "TaggingPolicy"]));
    let mut found = all.iter().find(|one| one["kind"] == kind).unwrap_or(&all[0]).clone();
    assert_eq!(found["apiVersion"], tagwarden_api::API_VERSION);
    found.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
    found
}

#[test]
fn argo_cd_and_flux_agree_with_the_cases() {
    let cases = yaml("cases/health.yaml");
    let cases = cases.as_array().unwrap();
    let mut seen = BTreeSet::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let expressions = expressions(case["object"]["kind"].as_str().unwrap());
        let answer = &health(&expressions, &[case["object"].clone()])[0];
        assert_eq!(answer["argo"], case["argo"], "{name}: {answer}");
        assert_eq!(answer["argoMessage"], case["message"], "{name}: {answer}");
        assert_eq!(answer["flux"], case["flux"], "{name}: {answer}");
        // An expression that cannot be evaluated is the same as waiting: only what has no status yet may lead there.
        assert_eq!(answer["fluxError"].is_string(), case["object"]["status"].is_null(), "{name}: {answer}");
        seen.insert(answer["argo"].as_str().unwrap().to_owned());
        seen.insert(answer["flux"].as_str().unwrap().to_owned());
    }
    let all =
        ["Current", "Degraded", "Failed", "Healthy", "InProgress", "Progressing", "Suspended", "Unknown"];
    assert_eq!(seen, BTreeSet::from(all.map(str::to_owned)));
}

#[test]
fn the_config_map_holds_the_script() {
    let map = yaml("argocd/argocd-cm.yaml");
    let customizations = map["data"]["resource.customizations"].as_str().unwrap();
    let customizations: Value = serde_saphyr::from_str(customizations).unwrap();
    assert_eq!(customizations["tagwarden.io/*"]["health.lua"], text("argocd/health.lua").as_str());
}

#[test]
fn reasons_in_the_cases_and_the_script_exist() {
    let known: BTreeSet<&str> = tagwarden_api::condition::REASONS.iter().map(|reason| reason.name).collect();
    assert!(
        known.contains("DependencyNotReady") && text("argocd/health.lua").contains("\"DependencyNotReady\"")
    );
    for case in yaml("cases/health.yaml").as_array().unwrap() {
        for condition in case["object"]["status"]["conditions"].as_array().into_iter().flatten() {
            let reason = condition["reason"].as_str().unwrap();
            assert!(known.contains(reason), "{}: there is no reason {reason}", case["name"]);
        }
    }
}

#[test]
fn manifests_of_the_tools_can_be_read() {
    for (name, kinds) in [
        ("argocd/applications.yaml", &["Application", "Application"][..]),
        ("flux/tagwarden.yaml", &["OCIRepository", "HelmRelease"]),
        ("flux/tagging.yaml", &["Kustomization"]),
    ] {
        let text = text(name);
        let found: Vec<Value> =
            text.split("\n---").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        let found: Vec<&str> = found.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{name}");
    }
}
