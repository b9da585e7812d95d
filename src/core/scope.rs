//! What a run was asked to look at: runs of different scopes are never compared.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The scope of a run, as asked for. Empty sets mean everything that there is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Account ids; without any, the caller's own account.
    pub accounts: BTreeSet<String>,
    /// Region names.
    pub regions: BTreeSet<String>,
    /// Names of resource types.
    pub resource_types: BTreeSet<String>,
}

impl Scope {
    /// `sha256:…`, equal for equal scopes.
    pub fn digest(&self) -> String {
        // Three sets of texts: serialising them cannot fail.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scopes_have_equal_digests_and_others_do_not() {
        let scope = |accounts: &[&str], regions: &[&str]| Scope {
            accounts: accounts.iter().map(ToString::to_string).collect(),
            regions: regions.iter().map(ToString::to_string).collect(),
            resource_types: BTreeSet::new(),
        };
        assert_eq!(scope(&["1", "2"], &[]).digest(), scope(&["2", "1"], &[]).digest());
        assert_ne!(scope(&["a"], &[]).digest(), scope(&[], &["a"]).digest());
    }
}
