//! Manifests of accounts, as a user of the program would write them.

use std::fmt::Write;

use crate::faults::Account;

/// An account with the name and the labels of its `ClientAccount`.
#[derive(Debug, Clone, Copy)]
pub struct NamedAccount<'a> {
    /// The name of the object.
    pub name: &'a str,
    /// Key and value.
    pub labels: &'a [(&'a str, &'a str)],
    /// What it stands for.
    pub account: &'a Account,
}

/// `ClientAccount` documents, each with the `Secret` that holds its external id where it has one.
pub fn client_accounts(accounts: &[NamedAccount<'_>]) -> String {
    let mut text = String::new();
    for NamedAccount { name, labels, account: Account { id, role_arn, external_id } } in accounts {
        let mut lines = String::new();
        for (index, (key, value)) in labels.iter().enumerate() {
            let _ = writeln!(lines, "{}    {key}: {value:?}", if index == 0 { "  labels:\n" } else { "" });
        }
        let source = match external_id {
            None => "      mode: None\n".to_owned(),
            Some(_) => format!(
                "      mode: SecretRef\n      secretRef:\n        name: {name}\n        key: externalId\n"
            ),
        };
        let _ = write!(
            text,
            "---\napiVersion: tagwarden.io/v1alpha1\nkind: ClientAccount\nmetadata:\n  name: {name}\n{lines}spec:\n  \
             accountId: \"{id}\"\n  auth:\n    roleArn: {role_arn}\n    externalId:\n{source}"
        );
        if let Some(external_id) = external_id {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  externalId: {external_id:?}\n"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_stands_in_a_secret() {
        let account = Account {
            id: "012345678901".to_owned(),
            role_arn: "arn:aws:iam::012345678901:role/reader".to_owned(),
            external_id: Some("ext-1".to_owned()),
        };
        let open = Account { external_id: None, ..account.clone() };
        let text = client_accounts(&[
            NamedAccount { name: "shop", labels: &[("tier", "gold")], account: &account },
            NamedAccount { name: "open", labels: &[], account: &open },
        ]);
        let documents: Vec<&str> = text.split("---\n").filter(|document| !document.is_empty()).collect();
        assert_eq!(documents.len(), 3);
        assert!(
            documents[0].contains("accountId: \"012345678901\"") && documents[0].contains("tier: \"gold\"")
        );
        assert!(documents[0].contains("mode: SecretRef") && !documents[0].contains("ext-1"));
        assert!(documents[1].contains("kind: Secret") && documents[1].contains("externalId: \"ext-1\""));
        assert!(documents[2].contains("mode: None"));
    }
}
