//! What an account's owner sets up to be looked at: a role, whom it trusts, what it may read. Texts, ready to paste.

use serde::Serialize;
use serde_json::{Value, json};

use crate::account::AccountId;
use crate::iam::{PolicyDocument, read_policy};
use crate::registry::Registry;

/// The name of the role where nobody asks for another.
pub const ROLE_NAME: &str = "tagwarden-reader";

/// A role that lets Tagwarden look at an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRole {
    /// Its name: 1 to 64 letters, digits and `+ = , . @ - _`.
    pub name: String,
    /// The path before the name; `/` for none. Starts and ends with a slash.
    pub path: String,
    /// The ARN of who may assume it, as [`principal_of`] gives it.
    pub principal: String,
    /// What those who assume it have to present.
    pub external_id: Option<String>,
}

/// The name and the path of the role that an ARN means.
pub fn role_of(role_arn: &str) -> Option<(String, String)> {
    let resource = role_arn.splitn(6, ':').nth(5)?.strip_prefix("role/")?;
    let (path, name) = resource.rsplit_once('/').map_or(("", resource), |(path, name)| (path, name));
    let path = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
    (!name.is_empty()).then(|| (name.to_owned(), path))
}

/// Whom a trust policy should name, so that whoever has this identity now can assume the role later: the role
/// behind the session of a role (its path cannot be told from a session), a user as it is, and an account for its
/// root.
pub fn principal_of(caller_arn: &str) -> String {
    let parts: Vec<&str> = caller_arn.splitn(6, ':').collect();
    let [_, partition, service, _, account, resource] = parts[..] else { return caller_arn.to_owned() };
    let session = resource.strip_prefix("assumed-role/").filter(|_| service == "sts");
    match session.and_then(|session| session.split('/').next()) {
        Some(role) => format!("arn:{partition}:iam::{account}:role/{role}"),
        None => caller_arn.to_owned(),
    }
}

/// Every account in which something is trusted can be named as a whole.
pub fn account_principal(partition: &str, account_id: &AccountId) -> String {
    format!("arn:{partition}:iam::{account_id}:root")
}

/// Who may assume the role, and what they have to present.
///
/// Tags of a session travel along when the caller's own session has some (EKS Pod Identity sets them), and then
/// need a permission of their own.
pub fn trust_policy(role: &ClientRole) -> Value {
    let principal = json!({ "AWS": role.principal });
    let mut assume = json!({
        "Sid": "Assume",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sts:AssumeRole",
    });
    if let Some(external_id) = &role.external_id {
        assume["Condition"] = json!({ "StringEquals": { "sts:ExternalId": external_id } });
    }
    let tag = json!({
        "Sid": "TagSession",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sts:TagSession",
    });
    json!({ "Version": "2012-10-17", "Statement": [assume, tag] })
}

/// What every scan of any policy may read.
pub fn full_read_policy(registry: &Registry) -> PolicyDocument {
    read_policy(registry, &registry.ids().collect::<Vec<_>>())
}

/// A JSON document for people: indented, with a line break at its end.
pub fn pretty(document: &impl Serialize) -> String {
    // Writing plain data as JSON cannot fail.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

/// The role as a `CloudFormation` template, in YAML.
pub fn cloud_formation(role: &ClientRole, policy: &PolicyDocument) -> String {
    let mut lines = Lines::default();
    lines.add(0, "AWSTemplateFormatVersion: \"2010-09-09\"");
    lines.add(0, "Description: Lets Tagwarden read the tags of this account. Delete the stack to end that.");
    lines.add(0, "Resources:");
    lines.add(1, "ReaderRole:");
    lines.add(2, "Type: AWS::IAM::Role");
    lines.add(2, "Properties:");
    lines.add(3, &format!("RoleName: {}", quoted(&role.name)));
    if role.path != "/" {
        lines.add(3, &format!("Path: {}", quoted(&role.path)));
    }
    lines.add(3, "Description: Read by Tagwarden. Nothing can be changed with it.");
    lines.add(3, "MaxSessionDuration: 3600");
    lines.add(3, "AssumeRolePolicyDocument:");
    lines.value(4, &trust_policy(role));
    lines.add(3, "Policies:");
    lines.add(4, "- PolicyName: tagwarden-read");
    lines.add(5, "PolicyDocument:");
    lines.value(6, &json!({ "Version": policy.version, "Statement": policy.statement }));
    lines.add(0, "Outputs:");
    lines.add(1, "RoleArn:");
    lines.add(2, "Description: Goes into spec.auth.roleArn of the ClientAccount.");
    lines.add(2, "Value: !GetAtt ReaderRole.Arn");
    lines.text
}

/// YAML, line by line.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// An object or a list, in the order in which it has its fields.
    fn value(&mut self, depth: usize, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in in_order(fields) {
                    self.field(depth, &quoted_key(key), value);
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(fields) => {
                            for (index, (key, value)) in in_order(fields).into_iter().enumerate() {
                                let key = quoted_key(key);
                                if index == 0 {
                                    self.field(depth, &format!("- {key}"), value);
                                } else {
                                    self.field(depth + 1, &key, value);
                                }
                            }
                        }
                        scalar => self.add(depth, &format!("- {}", scalar_text(scalar))),
                    }
                }
            }
            scalar => self.add(depth, &scalar_text(scalar)),
        }
    }

    fn field(&mut self, depth: usize, key: &str, value: &Value) {
        match value {
            Value::Object(_) | Value::Array(_) => {
                self.add(depth, &format!("{key}:"));
                // The fields of a list's item stand one deeper than its dash.
                let below = if key.starts_with("- ") { depth + 2 } else { depth + 1 };
                self.value(below, value);
            }
            scalar => self.add(depth, &format!("{key}: {}", scalar_text(scalar))),
        }
    }
}

/// The fields of a policy as people are used to read them.
fn in_order(fields: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    const ORDER: [&str; 8] =
        ["Version", "Statement", "Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
    let mut fields: Vec<_> = fields.iter().collect();
    let place = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
    fields.sort_by_key(|(key, _)| place(key));
    fields
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A YAML scalar that is text whatever it looks like. JSON's way to write it is one of YAML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn quoted_key(key: &str) -> String {
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric()) { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(external_id: Option<&str>) -> ClientRole {
        ClientRole {
            name: ROLE_NAME.to_owned(),
            path: "/".to_owned(),
            principal: "arn:aws:iam::999988887777:role/tagwarden".to_owned(),
            external_id: external_id.map(str::to_owned),
        }
    }

    #[test]
    fn whom_to_trust() {
        for (caller, principal) in [
            (
                "arn:aws:sts::999988887777:assumed-role/tagwarden/session-1",
                "arn:aws:iam::999988887777:role/tagwarden",
            ),
            ("arn:aws-cn:sts::999988887777:assumed-role/t/s", "arn:aws-cn:iam::999988887777:role/t"),
            ("arn:aws:iam::999988887777:user/ada", "arn:aws:iam::999988887777:user/ada"),
            ("arn:aws:iam::999988887777:root", "arn:aws:iam::999988887777:root"),
            ("no arn", "no arn"),
        ] {
            assert_eq!(principal_of(caller), principal);
        }
        let account = "999988887777".parse().unwrap();
        assert_eq!(account_principal("aws", &account), "arn:aws:iam::999988887777:root");
    }

    #[test]
    fn the_name_and_the_path_of_a_role() {
        let split = |arn| role_of(arn).map(|(name, path)| format!("{path} {name}"));
        assert_eq!(split("arn:aws:iam::111122223333:role/reader").as_deref(), Some("/ reader"));
        assert_eq!(split("arn:aws:iam::111122223333:role/a/b/reader").as_deref(), Some("/a/b/ reader"));
        assert_eq!(split("arn:aws:iam::111122223333:user/reader"), None);
        assert_eq!(split("arn:aws:iam::111122223333:role/"), None);
        assert_eq!(split("reader"), None);
    }

    #[test]
    fn trust_asks_for_the_external_id() {
        let policy = trust_policy(&role(Some("7f0c")));
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Condition"], json!({ "StringEquals": { "sts:ExternalId": "7f0c" } }));
        assert_eq!(statement["Action"], "sts:AssumeRole");
        assert_eq!(policy["Statement"][1]["Action"], "sts:TagSession");
        assert!(trust_policy(&role(None))["Statement"][0].get("Condition").is_none());
    }

    #[test]
    fn a_template_says_what_the_documents_say() {
        let policy = full_read_policy(&Registry::builtin());
        let role = ClientRole { path: "/finops/".to_owned(), ..role(Some("yes: \"no\" #1")) };
        let template = cloud_formation(&role, &policy);
        // The intrinsic function is the only part that is not plain YAML.
        let plain = template.replace("!GetAtt ReaderRole.Arn", "arn");
        let read: Value = serde_saphyr::from_str(&plain).unwrap();
        let properties = &read["Resources"]["ReaderRole"]["Properties"];
        assert_eq!(properties["AssumeRolePolicyDocument"], trust_policy(&role));
        assert_eq!(properties["Policies"][0]["PolicyDocument"], serde_json::to_value(&policy).unwrap());
        assert_eq!(properties["RoleName"], ROLE_NAME);
        assert_eq!(properties["Path"], "/finops/");
        assert_eq!(read["Outputs"]["RoleArn"]["Value"], "arn");
    }
}
