//! The picture of the rooms, held against every `Cargo.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Which room may use which: `ARCHITECTURE.md` draws the same.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "tagwarden",
        &[
            "tagwarden-api",
            "tagwarden-apiserver",
            "tagwarden-app",
            "tagwarden-aws",
            "tagwarden-core",
            "tagwarden-http",
            "tagwarden-mcp",
            "tagwarden-operator",
            "tagwarden-store",
        ],
    ),
    ("tagwarden-api", &["tagwarden-core"]),
    ("tagwarden-apiserver", &["tagwarden-api", "tagwarden-serve"]),
    ("tagwarden-app", &["tagwarden-core"]),
    ("tagwarden-aws", &["tagwarden-app", "tagwarden-core"]),
    ("tagwarden-core", &[]),
    ("tagwarden-http", &["tagwarden-app", "tagwarden-core", "tagwarden-serve"]),
    ("tagwarden-mcp", &["tagwarden-app", "tagwarden-core"]),
    ("tagwarden-operator", &["tagwarden-api", "tagwarden-app", "tagwarden-core"]),
    ("tagwarden-serve", &[]),
    ("tagwarden-store", &["tagwarden-app", "tagwarden-core"]),
    ("tagwarden-testbed", &[]),
];

/// Libraries that only one room may name: what they hide stays hidden.
const OWNERS: &[(&str, &[&str])] = &[
    ("aws-", &["tagwarden-aws"]),
    ("sqlx", &["tagwarden-apiserver", "tagwarden-store"]),
    ("kube", &["tagwarden", "tagwarden-api", "tagwarden-apiserver", "tagwarden-operator"]),
    ("k8s-openapi", &["tagwarden", "tagwarden-api", "tagwarden-apiserver", "tagwarden-operator"]),
    ("axum", &["tagwarden", "tagwarden-apiserver", "tagwarden-http", "tagwarden-mcp", "tagwarden-serve"]),
    ("rmcp", &["tagwarden-mcp"]),
    (
        "tokio",
        &[
            "tagwarden",
            "tagwarden-apiserver",
            "tagwarden-app",
            "tagwarden-aws",
            "tagwarden-http",
            "tagwarden-mcp",
            "tagwarden-operator",
            "tagwarden-serve",
            "tagwarden-store",
            "tagwarden-testbed",
        ],
    ),
];

struct Package {
    name: String,
    /// Normal and build dependencies; tests may use more.
    dependencies: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| text(&dependency["name"]))
                .collect(),
        })
        .collect()
}

#[test]
fn rooms_use_only_what_the_picture_allows() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in packages() {
        let allowed = arrows.get(package.name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{} is not in the picture", package.name));
        for dependency in package.dependencies.iter().filter(|name| name.starts_with("tagwarden")) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{} must not depend on {dependency}: see the rooms in ARCHITECTURE.md",
                package.name
            );
        }
    }
}

#[test]
fn every_room_of_the_picture_exists() {
    let names: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    for (room, _) in ARROWS {
        assert!(names.contains(*room), "{room} is in the picture, and not in the workspace");
    }
}

#[test]
fn sdks_are_named_only_where_they_are_hidden() {
    for package in packages() {
        for (prefix, owners) in OWNERS {
            let named = package.dependencies.iter().any(|name| name.starts_with(prefix));
            assert!(
                !named || owners.contains(&package.name.as_str()),
                "{} names {prefix}…, which belongs to {owners:?}",
                package.name
            );
        }
    }
}

/// Every dependency with its features, as cargo resolves them for these kinds of edges.
fn features(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--prefix", "none", "--no-dedupe", "--offline"])
        .args(["--edges", edges, "--format", "{p} [{f}]"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.replace(" (*)", "")).collect()
}

#[test]
fn build_and_test_agree_on_features() {
    let (build, test) = (features("normal,build"), features("normal,build,dev"));
    let differ: Vec<_> = build.difference(&test).collect();
    assert!(
        differ.is_empty(),
        "a test-only dependency turns features on in {differ:?}: everything that uses them would be built twice. \
         Name the features in tests/support/Cargo.toml, as it does for the others"
    );
}

#[test]
fn the_architecture_page_knows_every_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    assert!(page.lines().count() <= 200, "ARCHITECTURE.md is a map: at most 200 lines");
    for room in [
        "src/core",
        "src/app",
        "src/api",
        "src/aws",
        "src/store",
        "src/operator",
        "src/apiserver",
        "src/http",
        "src/serve",
        "src/mcp",
        "tests/support",
    ] {
        assert!(page.contains(room), "ARCHITECTURE.md does not mention {room}");
    }
}
