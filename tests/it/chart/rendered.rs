//! What the chart renders, without a cluster.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tagwarden_testbed::tools;

use super::{Helm, chart, objects, only, root, value_sets};
use crate::packaging::{instruction, understood};
use crate::program::Program;

/// Where a text differs from its recording; with `UPDATE_GOLDEN`, it becomes the recording.
#[track_caller]
fn recorded(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    if golden == text {
        return;
    }
    let same = golden.lines().zip(text.lines()).take_while(|(before, now)| before == now).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(its end)").to_owned();
    panic!(
        "{}, line {}: recorded `{}`, now `{}`; if it is right now: UPDATE_GOLDEN=1 cargo test --test it chart",
        path.display(),
        same + 1,
        line(&golden),
        line(text)
    );
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    let (helm, chart) = (Helm::alone(), chart());
    for (name, values) in value_sets() {
        let arguments = ["lint", "--strict", chart.to_str().unwrap(), "--values", values.to_str().unwrap()];
        let said = helm.run(&arguments);
        let complaints: Vec<&str> =
            said.lines().filter(|line| line.contains("[WARNING]") || line.contains("[ERROR]")).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }
}

#[test]
fn renderings_are_as_recorded() {
    let helm = Helm::alone();
    let directory = root().join("tests/golden/chart");
    for (name, values) in value_sets() {
        // The definitions are the same each time, and compared below.
        let text = helm.template(&values, &["--set", "crds.install=false"]);
        recorded(&directory.join(format!("{name}.yaml")), &text);
    }
    let known: BTreeSet<String> = value_sets().into_iter().map(|(name, _)| format!("{name}.yaml")).collect();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name) || name == "previous.yaml", "nothing renders {name} any more");
    }
}

#[test]
fn definitions_are_those_of_the_program_and_stay_when_told_to() {
    let helm = Helm::alone();
    for file in std::fs::read_dir(root().join("crds")).unwrap() {
        let file = file.unwrap().path();
        let copy = chart().join("files/crds").join(file.file_name().unwrap());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::copy(&file, &copy).unwrap();
        }
        let text = std::fs::read_to_string(&copy).unwrap_or_default();
        let same = text == std::fs::read_to_string(&file).unwrap();
        assert!(same, "{} differs from crds/: UPDATE_DOCS=1 cargo test --test it chart", copy.display());
    }
    for (set, keep) in [("default", Some("keep")), ("extras", None)] {
        let values = chart().join(format!("ci/{set}-values.yaml"));
        let rendered = objects(&helm.template(&values, &["--show-only", "templates/crds.yaml"]));
        assert_eq!(rendered.len(), tagwarden_api::crds().len());
        for mut crd in rendered {
            let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
            assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"].as_str(), keep, "{name}");
            let (plural, group) = name.split_once('.').unwrap();
            let text = std::fs::read_to_string(root().join(format!("crds/{group}_{plural}.yaml"))).unwrap();
            let mut ours: Value = serde_saphyr::from_str(&text).unwrap();
            for crd in [&mut crd, &mut ours] {
                let metadata = crd["metadata"].as_object_mut().unwrap();
                metadata.retain(|key, _| key == "name");
            }
            assert_eq!(crd, ours, "{name}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence() {
    let (helm, chart) = (Helm::alone(), chart());
    for (setting, expected) in [
        ("replicas=2", "2 replicas need PostgreSQL, since a SQLite file has one process"),
        ("replicas=many", "replicas"),
        ("replica=1", "additional properties 'replica' not allowed"),
        ("settings.keepDay=3", "additional properties 'keepDay' not allowed"),
        ("settings.store=sqlite:a", "additional properties 'store' not allowed"),
        ("settings.regionTimeout=5", "minimum: got 5, want 10"),
        ("image.digest=latest", "image/digest"),
        ("aws.roleArn=tagwarden", "aws/roleArn"),
        ("metrics.address=localhost", "metrics/address"),
        ("watchNamespaces={Team_A}", "watchNamespaces/0"),
        ("terminationGracePeriodSeconds=5", "minimum: got 5, want 25"),
    ] {
        let refused = helm.refusal(&["template", "x", chart.to_str().unwrap(), "--set", setting]);
        assert!(refused.contains(expected), "{setting}: {refused}");
    }
    let role = "aws.roleArn=arn:aws:iam::111122223333:role/x,serviceAccount.create=false";
    let refused = helm.refusal(&["template", "x", chart.to_str().unwrap(), "--set", role]);
    assert!(refused.contains("annotate that account with eks.amazonaws.com/role-arn"), "{refused}");
    let old = ["template", "x", chart.to_str().unwrap(), "--kube-version", "1.29.0"];
    assert!(helm.refusal(&old).contains(">=1.30.0-0"));
    // As EKS says it.
    helm.run(&["template", "x", chart.to_str().unwrap(), "--kube-version", "v1.30.4-eks-a18cd3a"]);
}

#[test]
fn a_parent_chart_turns_it_on_and_off() {
    let parent = tempfile::tempdir().unwrap();
    let own = parent.path();
    let description = "apiVersion: v2\nname: parent\nversion: 1.0.0\n\
                       dependencies: [{name: tagwarden, version: 0.1.0, condition: tagwarden.enabled}]\n";
    std::fs::write(own.join("Chart.yaml"), description).unwrap();
    let values = "global: {imageRegistry: registry.example.com}\ntagwarden: {crds: {install: false}}\n";
    std::fs::write(own.join("values.yaml"), values).unwrap();
    std::fs::create_dir(own.join("charts")).unwrap();
    std::os::unix::fs::symlink(chart(), own.join("charts/tagwarden")).unwrap();
    let helm = Helm::alone();
    let template = |enabled: bool| {
        let set = format!("tagwarden.enabled={enabled}");
        objects(&helm.run(&["template", "parent", own.to_str().unwrap(), "--set", &set]))
    };
    let image = &only(&template(true), "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().unwrap().starts_with("registry.example.com/tagwarden/tagwarden:"), "{image}");
    assert!(template(false).is_empty());
}

#[test]
fn the_program_takes_the_settings_of_every_rendering() {
    let helm = Helm::alone();
    let stages = understood("dockerfile", "Dockerfile");
    let image = instruction(stages.as_array().unwrap().last().unwrap(), "ENV");
    for (name, values) in value_sets() {
        let objects = objects(&helm.template(&values, &["--set", "crds.install=false"]));
        let configs: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "ConfigMap" && object["data"]["tagwarden.yaml"].is_string())
            .collect();
        let settings = configs[0]["data"]["tagwarden.yaml"].as_str().unwrap();
        let container = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let mut arguments: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(arguments[..3], ["run", "--config", "/etc/tagwarden/tagwarden.yaml"], "{name}");
        arguments[0] = "config";
        arguments[2] = "tagwarden.yaml";
        let mut program = Program::alone().args(&arguments).args(["--format", "json"]);
        // Those of the chart go before those of the image, and both before the file.
        for variable in image["Env"].as_array().unwrap().iter().chain(container["env"].as_array().unwrap()) {
            let text = |key: &str| variable[key].as_str();
            let name = text("Key").or_else(|| text("name")).unwrap();
            let value = text("Value").or_else(|| text("value")).unwrap_or("postgres://a:b@c/d");
            if name.starts_with("TAGWARDEN_") {
                program = program.env(name, value);
            }
        }
        program.file("tagwarden.yaml", settings);
        let ended = program.run();
        assert_eq!(ended.status, Some(0), "{name}: {}", ended.stderr);
        let resolved: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(resolved["controlPlane"]["value"], "kubernetes", "{name}");
        assert_eq!(resolved["store"]["from"], "variable TAGWARDEN_STORE", "{name}");
        let port = resolved["metricsListen"]["value"].as_str().unwrap().rsplit(':').next().unwrap();
        assert_eq!(container["ports"][0]["containerPort"].to_string(), port, "{name}");
        // Others can reach the server where the chart says so, and nowhere else.
        let listen: std::net::SocketAddr = resolved["listen"]["value"].as_str().unwrap().parse().unwrap();
        let served = container["ports"].as_array().unwrap().iter().find(|port| port["name"] == "server");
        assert_eq!(listen.ip().is_loopback(), served.is_none(), "{name}");
        assert!(served.is_none_or(|port| port["containerPort"] == listen.port()), "{name}");
    }
}

/// The keys that a schema of values knows, with dots between.
fn known(schema: &Value, at: &str, keys: &mut BTreeSet<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        if inner["properties"].is_object() && path != "settings" {
            known(inner, &path, keys);
        } else {
            keys.insert(path);
        }
    }
}

/// The keys that values have.
fn given(values: &Value, schema: &Value, at: &str, keys: &mut BTreeSet<String>) {
    for (key, inner) in values.as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let below = &schema["properties"][key];
        if below["properties"].is_object() && path != "settings" {
            given(inner, below, &path, keys);
        } else {
            keys.insert(path);
        }
    }
}

#[test]
fn the_schema_knows_every_value_and_every_setting_and_no_other() {
    let text = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    known(&schema, "", &mut expected);
    given(&values, &schema, "", &mut found);
    // A parent chart gives these.
    expected.retain(|key| key != "global" && key != "enabled" && key != "resources.claims");
    assert_eq!(found, expected);

    let ended = Program::alone().args(["config", "--format", "json"]).run();
    let settings: Value = serde_json::from_str(&ended.stdout).unwrap();
    // What follows from other values, or is about the embedded control plane.
    let of_the_chart = |key: &str| {
        let others = ["controlPlane", "store", "namespace", "watchNamespaces", "resourceTypes"];
        let listeners = ["listen", "auth", "tlsCert", "tlsKey", "metricsListen"];
        let embedded = key.starts_with("manifests") || key.starts_with("api");
        others.contains(&key) || listeners.contains(&key) || embedded
    };
    let expected: Vec<&String> =
        settings.as_object().unwrap().keys().filter(|key| !of_the_chart(key)).collect();
    let found: Vec<&String> =
        schema["properties"]["settings"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(found, expected);
}

#[test]
fn the_readme_is_made_from_the_values() {
    let mut command = tools::program("helm-docs");
    // With the directory above, it would take every chart for one.
    command.args(["--dry-run", "--chart-search-root"]).arg(chart()).current_dir(root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    let path = chart().join("README.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made.trim_end().to_owned() + "\n").unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found.trim_end(), made.trim_end(), "UPDATE_DOCS=1 cargo test --test it chart");
    assert!(!made.contains("No description"), "a value has no comment");
}

#[test]
fn what_the_pages_tell_people_to_type_is_accepted() {
    let (helm, chart) = (Helm::alone(), chart());
    let mut typed = 0;
    for page in ["docs/install/helm.md", "charts/tagwarden/README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap().replace("\\\n", " ");
        for line in
            text.lines().filter(|line| line.starts_with("helm install") || line.starts_with("helm upgrade"))
        {
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
            let set = words.windows(2).filter(|pair| pair[0] == "--set").flat_map(|pair| [pair[0], pair[1]]);
            let set: Vec<&str> = set.collect();
            helm.run(&[&["template", "tagwarden", chart.to_str().unwrap()], &set[..]].concat());
            typed += 1;
        }
    }
    assert!(typed >= 6, "{typed}");
}
