//! The role that lets Tagwarden in, as `CloudFormation`: AWS's own linter has nothing to say about it.

use tagwarden_core::onboarding::{ClientRole, ROLE_NAME, cloud_formation, full_read_policy};
use tagwarden_core::registry::Registry;
use tagwarden_testbed::cfn_lint;

#[test]
fn the_template_of_the_role_is_clean() {
    let policy = full_read_policy(&Registry::builtin());
    for (path, external_id) in [("/", Some("7f0c29b1d8a64c3f9e5b7a1d2c4e6f80")), ("/finops/readers/", None)] {
        let role = ClientRole {
            name: ROLE_NAME.to_owned(),
            path: path.to_owned(),
            principal: "arn:aws:iam::999988887777:role/tagwarden".to_owned(),
            external_id: external_id.map(str::to_owned),
        };
        let template = cloud_formation(&role, &policy);
        if let Err(said) = cfn_lint(&template) {
            panic!("{said}\n{template}");
        }
    }
}
