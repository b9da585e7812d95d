//! `Secret`: where a manifest file keeps an external id. Only what is needed of it, and nothing prints it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use serde_json::Value;

/// The entries of a Kubernetes Secret, decoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret {
    entries: BTreeMap<String, Vec<u8>>,
}

impl Secret {
    /// The bytes under a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// Its keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Takes the entries of `data`, then those of `stringData`, which win; or returns the key whose data is not
    /// base64.
    pub(crate) fn decode(document: &Value) -> Result<Self, String> {
        let entries = |field: &str| document.get(field).and_then(Value::as_object).into_iter().flatten();
        let mut decoded = BTreeMap::new();
        for (key, value) in entries("data") {
            let ByteString(bytes) = serde_json::from_value(value.clone()).map_err(|_| key.clone())?;
            decoded.insert(key.clone(), bytes);
        }
        for (key, value) in entries("stringData") {
            decoded.insert(key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec());
        }
        Ok(Self { entries: decoded })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.entries.keys()).finish()
    }
}
