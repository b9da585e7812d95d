//! The demo, on a small estate: what a new user sees first has to work.

use std::process::Command;

use tagwarden_testbed::manifests::{NamedAccount, client_accounts};
use tagwarden_testbed::{Estate, REGIONS, Testbed};

#[test]
fn the_controller_of_the_demo_notices_broken_tags() {
    let bed = Testbed::shared();
    let proxy = bed.proxy();
    let accounts = [proxy.fresh_account(), proxy.fresh_account_with_external_id()];
    let ids = [accounts[0].id.as_str(), accounts[1].id.as_str()];
    let (_, truth) = bed.seed(&Estate { accounts: &ids, regions: &REGIONS, seed: 7, scale: 0.2, many: "" });
    let directory = tempfile::Builder::new().prefix("tagwarden-demo-").tempdir().unwrap();
    std::fs::copy(truth, directory.path().join("truth.json")).unwrap();
    let manifests = client_accounts(&[
        NamedAccount { name: "shop", labels: &[("tier", "gold")], account: &accounts[0] },
        NamedAccount { name: "analytics", labels: &[("tier", "silver")], account: &accounts[1] },
    ]);
    std::fs::write(directory.path().join("accounts.yaml"), manifests).unwrap();

    let program = std::path::Path::new(env!("CARGO_BIN_EXE_tagwarden"));
    let mut demo = Command::new("hack/demo-run.sh");
    demo.current_dir(env!("CARGO_MANIFEST_DIR")).arg(program.parent().unwrap()).arg(directory.path());
    let output = proxy.equip(&mut demo).output().unwrap();
    let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{told}");

    let before = printed.find("lost its Owner").unwrap_or_else(|| panic!("nothing was broken: {printed}"));
    let violations = |text: &str| -> Vec<u64> {
        let lines = text.lines().filter(|line| line.contains("shop ") && line.contains("@daily"));
        lines.map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect()
    };
    let (first, second) = (violations(&printed[..before]), violations(&printed[before..]));
    assert!(!first.is_empty() && !second.is_empty(), "{printed}");
    assert!(
        second.iter().min() > first.iter().max(),
        "nobody noticed: {first:?}, then {second:?}\n{printed}"
    );
    for name in ["demo", "starter", "shop", "analytics", "estate-2"] {
        assert!(printed.contains(name), "{name}: {printed}");
    }
}
