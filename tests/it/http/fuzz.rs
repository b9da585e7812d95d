//! The description of REST against the server that serves it: whatever is sent, the answer is one that the description
//! names, in the shape that it gives.

use tagwarden_testbed::schemathesis;

use super::tenants::Two;
use super::*;

#[test]
fn the_server_does_what_its_description_says_whatever_is_sent() {
    let Two { controller, acme, .. } = Two::new();
    let url = format!("http://{}", acme.client.address);
    let scratch = tempfile::tempdir().unwrap();
    let operations = acme.client.get("/openapi.json").json()["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum::<usize>();
    let began = Instant::now();
    let said = schemathesis(scratch.path(), &url, &acme.client.key, &[("run", &acme.run_id)]);
    println!("schemathesis took {:?}", began.elapsed());
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    assert!(said.contains(&format!("Tested: {operations}")), "{said}");
    let log = controller.stop().log.join("\n");
    assert!(!log.contains("broke down") && !log.contains("panicked"), "{log}");
}
