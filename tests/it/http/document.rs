//! The description of REST that is committed is the one that is served.

use std::path::Path;

use super::*;

#[test]
fn the_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/openapi.json");
    let printed = Program::alone().args(["docs", "openapi"]).run().stdout;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        printed == committed,
        "docs/reference/openapi.json is out of date; run\n    UPDATE_DOCS=1 cargo test --test it http::document"
    );
    let controller = Setup::new().start();
    let client = Client::new(&controller, "");
    let served = client.until("/openapi.json", |answer| answer.status == 200);
    assert_eq!(served.text, committed);
    controller.stop();
}
