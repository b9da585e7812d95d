//! The least that an account has to allow: an IAM policy derived from the registry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::registry::{Registry, TypeId};

/// What every scan needs, whatever its types: the regions to look into. `sts:GetCallerIdentity`, which tells
/// whose account it is, needs no permission.
const BASE_ACTIONS: [&str; 1] = ["ec2:DescribeRegions"];

/// The most characters of a managed policy, white space not counted.
pub const MAX_MANAGED_POLICY_CHARS: usize = 6144;

/// An IAM policy document. Serializes to the JSON that IAM takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    /// The version of the policy language.
    pub version: &'static str,
    /// One statement a service, sorted.
    pub statement: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name, letters and digits.
    pub sid: String,
    /// Always `Allow`.
    pub effect: &'static str,
    /// The actions, sorted.
    pub action: Vec<String>,
    /// Always `*`: most of these actions know no narrower resource, and a listing that leaves out what it may
    /// not see would look complete.
    pub resource: &'static str,
}

/// The policy that lets a scan list these types and read their tags, and do nothing else.
pub fn read_policy(registry: &Registry, types: &[TypeId]) -> PolicyDocument {
    let mut by_service: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let actions = types.iter().flat_map(|id| actions_for(registry, *id));
    for action in BASE_ACTIONS.into_iter().chain(actions) {
        let service = action.split_once(':').map_or(action, |(service, _)| service);
        by_service.entry(service).or_default().insert(action);
    }
    let statement = by_service.into_iter().map(|(service, actions)| Statement {
        sid: sid(service),
        effect: "Allow",
        action: actions.into_iter().map(str::to_owned).collect(),
        resource: "*",
    });
    PolicyDocument { version: "2012-10-17", statement: statement.collect() }
}

/// The actions that one type needs beyond those of every scan, as the registry has them.
pub fn actions_for(registry: &Registry, id: TypeId) -> impl Iterator<Item = &str> {
    registry.row(id).actions.iter().map(String::as_str)
}

impl PolicyDocument {
    /// Its size as IAM counts it, to be held against [`MAX_MANAGED_POLICY_CHARS`].
    pub fn chars(&self) -> usize {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.chars().filter(|char| !char.is_whitespace()).count()
    }
}

/// `cognito-idp` → `ReadCognitoIdp`: a Sid has no other characters than letters and digits.
fn sid(service: &str) -> String {
    let mut sid = String::from("Read");
    for word in service.split('-') {
        let mut chars = word.chars();
        sid.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        sid.extend(chars);
    }
    sid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(registry: &Registry, names: &[&str]) -> Vec<TypeId> {
        names.iter().map(|name| registry.id(name).unwrap()).collect()
    }

    #[test]
    fn the_document_is_what_iam_takes() {
        let registry = Registry::builtin();
        let types = ids(&registry, &["s3:bucket", "ec2:volume", "ec2:instance", "kms:key"]);
        let expected = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "ReadEc2",
                    "Effect": "Allow",
                    "Action": ["ec2:DescribeInstances", "ec2:DescribeRegions", "ec2:DescribeVolumes"],
                    "Resource": "*",
                },
                {
                    "Sid": "ReadS3",
                    "Effect": "Allow",
                    "Action": ["s3:GetBucketTagging", "s3:ListAllMyBuckets"],
                    "Resource": "*",
                },
                { "Sid": "ReadTag", "Effect": "Allow", "Action": ["tag:GetResources"], "Resource": "*" },
            ],
        });
        assert_eq!(serde_json::to_value(read_policy(&registry, &types)).unwrap(), expected);
    }

    #[test]
    fn the_order_of_the_types_does_not_matter() {
        let registry = Registry::builtin();
        let mut types: Vec<TypeId> = registry.ids().collect();
        let policy = read_policy(&registry, &types);
        types.reverse();
        types.extend(registry.ids());
        assert_eq!(read_policy(&registry, &types), policy);
    }

    #[test]
    fn no_type_still_needs_the_regions() {
        let policy = read_policy(&Registry::builtin(), &[]);
        assert_eq!(policy.statement.len(), 1);
        assert_eq!(policy.statement[0].action, ["ec2:DescribeRegions"]);
    }

    #[test]
    fn all_types_fit_one_managed_policy_and_only_read() {
        let registry = Registry::builtin();
        let policy = read_policy(&registry, &registry.ids().collect::<Vec<_>>());
        assert!(policy.chars() <= MAX_MANAGED_POLICY_CHARS, "{} characters", policy.chars());
        let sids: BTreeSet<_> = policy.statement.iter().map(|statement| &statement.sid).collect();
        assert_eq!(sids.len(), policy.statement.len());
        for statement in &policy.statement {
            assert!(statement.sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", statement.sid);
            for action in &statement.action {
                let verb = action.split_once(':').unwrap().1;
                assert!(
                    ["Describe", "List", "Get"].iter().any(|read| verb.starts_with(read)),
                    "{action} may write"
                );
            }
        }
    }

    #[test]
    fn a_service_becomes_a_sid() {
        assert_eq!(sid("cognito-idp"), "ReadCognitoIdp");
        assert_eq!(sid("s3"), "ReadS3");
    }
}
