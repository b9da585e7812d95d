//! The bundle for Claude Desktop: valid, packed as the release packs it, and what is in it starts what it should.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tagwarden_testbed::{mcp_session, node};

use super::{first_steps, guarded, has_reached};

/// The packer.
const TOOL: &str = "@anthropic-ai/mcpb/dist/cli/cli.js";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn it_is_valid_and_packs() {
    let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // What is packed is not looked into; a small file packs fast.
    std::fs::write(path("program"), "#!/bin/sh\n").unwrap();
    let tool = node::program(TOOL);
    let words = std::iter::once(tool.get_program()).chain(tool.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let run = |command: &mut Command| {
        let output = command.env("MCPB", words.join(" ")).current_dir(directory.path()).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{said}");
        said
    };
    let script = root().join("packaging/mcpb/pack.sh");
    let said = run(Command::new(script).args([path("program"), path("tagwarden.mcpb")]));
    assert!(!said.to_lowercase().contains("warning"), "{said}");

    let mut unpack = node::program(TOOL);
    run(unpack.arg("unpack").args([path("tagwarden.mcpb"), path("out")]));
    let manifest: Value = serde_json::from_slice(&std::fs::read(path("out/manifest.json")).unwrap()).unwrap();
    assert_eq!(
        manifest["version"],
        env!("CARGO_PKG_VERSION"),
        "packaging/mcpb/manifest.json is of another version"
    );
    assert_eq!(manifest["compatibility"]["platforms"], serde_json::json!([std::env::consts::OS]));
    let entry = manifest["server"]["entry_point"].as_str().unwrap();
    assert!(path("out").join(entry).is_file());
    assert_eq!(manifest["server"]["mcp_config"]["command"], format!("${{__dirname}}/{entry}"));
    for word in manifest["server"]["mcp_config"]["args"].as_array().unwrap() {
        let setting = word.as_str().unwrap().strip_prefix("${user_config.");
        if let Some(setting) = setting.and_then(|rest| rest.strip_suffix('}')) {
            assert_eq!(manifest["user_config"][setting]["required"], true, "{setting}");
        }
    }
}

/// With the packer that is pinned here, so with nothing that somebody else can change.
#[test]
fn the_release_packs_it_the_same_way() {
    let workflow = std::fs::read_to_string(root().join(".github/workflows/release.yaml")).unwrap();
    for part in ["npm ci --prefix tests/mcp-node --ignore-scripts", TOOL, "packaging/mcpb/pack.sh"] {
        assert!(workflow.contains(part), "{part}");
    }
}

#[test]
fn what_it_starts_asks_the_server_that_the_user_named() {
    let (controller, key) = guarded();
    let file = controller.directory().join("key");
    std::fs::write(&file, key).unwrap();
    let text = std::fs::read_to_string(root().join("packaging/mcpb/manifest.json")).unwrap();
    let text = text
        .replace("${__dirname}/server/tagwarden", env!("CARGO_BIN_EXE_tagwarden"))
        .replace("${user_config.url}", &format!("http://{}", controller.address("listen")))
        .replace("${user_config.api_key_file}", file.to_str().unwrap());
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let start = &manifest["server"]["mcp_config"];
    let mut command = Command::new(start["command"].as_str().unwrap());
    command.args(start["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()));
    command.current_dir(controller.directory()).env("HOME", controller.directory());
    has_reached(&mcp_session(&command, "auto", &first_steps()).0);
    controller.stop();
}
