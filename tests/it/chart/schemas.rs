//! What the chart renders, held against the schemas of the real API server: a field that it does not know is a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tagwarden_testbed::{Testbed, tools};

use super::{Helm, objects, value_sets};

/// Where references of a document of the API server point to.
const COMPONENTS: &str = "#/components/schemas/";

/// `apps/v1`, `Deployment`.
type Kind = (String, String);

/// Writes a schema for each of these kinds, where [`location`] finds it.
fn write_schemas(kinds: &BTreeSet<Kind>, directory: &Path) {
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    for (api_version, kind) in kinds {
        let document = documents.entry(api_version.clone()).or_insert_with(|| document(api_version));
        let schema = schema(document, api_version, kind);
        std::fs::write(directory.join(file_name(api_version, kind)), schema.to_string()).unwrap();
    }
}

/// What the API server says of a version of a group; for what it does not serve, what the definition says.
fn document(api_version: &str) -> Value {
    if api_version == "monitoring.coreos.com/v1" {
        let file = tools::directory("prometheus-operator").join("monitoring.coreos.com_servicemonitors.yaml");
        let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let kind = &definition["spec"]["names"]["kind"];
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": "monitoring.coreos.com", "version": "v1", "kind": kind}]);
        return json!({"components": {"schemas": {"defined": schema}}});
    }
    let path = if api_version.contains('/') { "apis" } else { "api" };
    let mut kubectl: Command = Testbed::kubernetes().kubectl();
    let output =
        kubectl.args(["get", "--raw", &format!("/openapi/v3/{path}/{api_version}")]).output().unwrap();
    assert!(output.status.success(), "{api_version}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The schema of a kind with all that it refers to, closed against fields that nobody knows.
fn schema(document: &Value, api_version: &str, kind: &str) -> Value {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = json!([{"group": group, "kind": kind, "version": version}]);
    let all = document["components"]["schemas"].as_object().unwrap();
    let found = all.iter().find(|(_, schema)| schema["x-kubernetes-group-version-kind"] == wanted);
    let (root, _) = found.unwrap_or_else(|| panic!("the API server knows no {api_version} {kind}"));
    let (mut kept, mut open) = (serde_json::Map::new(), vec![root.clone()]);
    while let Some(name) = open.pop() {
        if kept.contains_key(&name) {
            continue;
        }
        let mut schema = all[&name].clone();
        close(&mut schema, &mut open);
        kept.insert(name, schema);
    }
    json!({"$ref": format!("{COMPONENTS}{root}"), "components": {"schemas": kept}})
}

/// Lets objects have the fields that are named and no others, and notes what is referred to.
fn close(schema: &mut Value, references: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                references.push(target.strip_prefix(COMPONENTS).unwrap().to_owned());
            }
            let open = fields.contains_key("additionalProperties")
                || fields.contains_key("x-kubernetes-preserve-unknown-fields");
            if fields.get("properties").is_some_and(Value::is_object) && !open {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            fields.values_mut().for_each(|inner| close(inner, references));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| close(inner, references)),
        _ => {}
    }
}

/// As [`location`] puts it together.
fn file_name(api_version: &str, kind: &str) -> String {
    let suffix = match api_version.split_once('/') {
        Some((group, version)) => format!("{}-{version}", group.split('.').next().unwrap()),
        None => api_version.to_owned(),
    };
    format!("{}-{suffix}.json", kind.to_lowercase())
}

fn location(directory: &Path) -> String {
    format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", directory.display())
}

/// What kubeconform says of these manifests.
fn conforms(schemas: &Path, manifests: &Path) -> (bool, Value) {
    let mut command = tools::program("kubeconform");
    command.args(["-strict", "-summary", "-output", "json", "-schema-location", &location(schemas)]);
    let output = command.arg(manifests).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    let said = said.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), said)
}

#[test]
fn every_rendering_conforms_to_the_schemas_of_the_api_server() {
    let (helm, directory) = (Helm::alone(), tempfile::tempdir().unwrap());
    let (schemas, manifests) = (directory.path().join("schemas"), directory.path().join("manifests"));
    std::fs::create_dir(&schemas).unwrap();
    std::fs::create_dir(&manifests).unwrap();
    let (mut kinds, mut rendered) = (BTreeSet::new(), 0);
    for (name, values) in value_sets() {
        let text = helm.template(&values, &[]);
        for object in objects(&text) {
            let word = |key: &str| object[key].as_str().unwrap().to_owned();
            kinds.insert((word("apiVersion"), word("kind")));
            rendered += 1;
        }
        std::fs::write(manifests.join(format!("{name}.yaml")), text).unwrap();
    }
    write_schemas(&kinds, &schemas);
    let (fine, said) = conforms(&schemas, &manifests);
    assert!(fine, "{:#}", said["resources"]);
    assert_eq!(said["summary"]["valid"], rendered, "{}", said["summary"]);

    // Of the many, one mistake of each sort is found.
    let good = std::fs::read_to_string(manifests.join("monitoring.yaml")).unwrap();
    let wrong = directory.path().join("wrong.yaml");
    for (right, mistaken) in [
        ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSecond: 30"),
        ("replicas: 1", "replicas: one"),
        ("scrapeTimeout: 10s", "scrapeTimeouts: 10s"),
        ("targetPort: metrics", "targetPort: [metrics]"),
    ] {
        assert!(good.contains(right), "{right}");
        std::fs::write(&wrong, good.replacen(right, mistaken, 1)).unwrap();
        let (fine, said) = conforms(&schemas, &wrong);
        assert!(!fine && said["summary"]["invalid"] == 1, "{mistaken}: {}", said["summary"]);
    }
}
