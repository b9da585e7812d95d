//! The chart: what it renders, what it refuses, and what a real API server makes of it.

mod installed;
mod rendered;
mod schemas;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tagwarden_testbed::tools;
use tempfile::TempDir;

/// The release and its namespace, in the recordings and on the server.
const RELEASE: &str = "tagwarden";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart() -> PathBuf {
    root().join("charts/tagwarden")
}

/// The sets of values that the chart is rendered with: a name, and the file.
fn value_sets() -> Vec<(String, PathBuf)> {
    let directory = std::fs::read_dir(chart().join("ci")).unwrap();
    let mut sets: Vec<(String, PathBuf)> = directory
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.strip_suffix("-values.yaml").unwrap().to_owned(), path)
        })
        .collect();
    sets.sort();
    assert!(sets.len() >= 8, "{sets:?}");
    sets
}

/// Helm with a home of its own.
struct Helm {
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Without a cluster.
    fn alone() -> Self {
        Self { home: tempfile::tempdir().unwrap(), kubeconfig: None }
    }

    /// As whom the kubeconfig says.
    fn on(kubeconfig: &Path) -> Self {
        Self { home: tempfile::tempdir().unwrap(), kubeconfig: Some(kubeconfig.to_owned()) }
    }

    fn command(&self) -> Command {
        let mut command = tools::program("helm");
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().into_owned();
            if ["HELM_", "KUBE"].iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.home.path())
            .env("HELM_CACHE_HOME", self.home.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.home.path().join("config"))
            .env("HELM_DATA_HOME", self.home.path().join("data"))
            .env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(Path::new("absent")));
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// What it prints.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it refuses with.
    #[track_caller]
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "helm {arguments:?} succeeds");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The manifests with these values, and these arguments besides.
    #[track_caller]
    fn template(&self, values: &Path, more: &[&str]) -> String {
        let (chart, values) = (chart(), values.to_str().unwrap());
        let mut arguments = vec!["template", RELEASE, chart.to_str().unwrap(), "--namespace", RELEASE];
        // The newest that the pinned Helm knows changes with it.
        arguments.extend(["--kube-version", "1.33.0", "--values", values]);
        arguments.extend(more);
        self.run(&arguments)
    }
}

/// The objects of a stream of YAML documents.
#[track_caller]
fn objects(text: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    for document in format!("\n{text}").split("\n---") {
        if document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let object = serde_saphyr::from_str(document);
            objects.push(object.unwrap_or_else(|error| panic!("{error}: {document}")));
        }
    }
    objects
}

/// The only object of a kind.
#[track_caller]
fn only(objects: &[Value], kind: &str) -> Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    found[0].clone()
}
