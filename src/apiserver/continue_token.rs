//! The opaque text that the next page of a list is asked for with.
//!
//! It holds where to go on, not what: whoever makes one up gets at most what listing from the start would give.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::status::ApiError;

/// Names are of at most 253 bytes each, doubled by hexadecimals, with some room for the rest.
const MAX_BYTES: usize = 2_048;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// The version that the first page was read at.
    pub resource_version: i64,
    /// The namespace of the last object of the page before; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ContinueToken {
    /// The text for the client.
    pub fn encode(&self) -> String {
        let token = json!(["v1", self.resource_version, self.namespace, self.name]);
        let text = token.to_string();
        text.bytes().fold(String::with_capacity(text.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Reads what a client sent back; 400 for anything that was not made here.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let refused = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        if text.len() > MAX_BYTES {
            return Err(refused("it is too long"));
        }
        let bytes = hex::decode(text).map_err(|_| refused("it was not given out by this server"))?;
        let token: Value =
            serde_json::from_slice(&bytes).map_err(|_| refused("it was not given out by this server"))?;
        let parts = token.as_array().map(Vec::as_slice);
        match parts {
            Some(
                [Value::String(version), Value::Number(at), Value::String(namespace), Value::String(name)],
            ) if version == "v1" && !name.is_empty() => {
                let resource_version =
                    at.as_i64().filter(|at| *at > 0).ok_or_else(|| refused("no version"))?;
                Ok(Self { resource_version, namespace: namespace.clone(), name: name.clone() })
            }
            _ => Err(refused("it was not given out by this server")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_given_out_is_read_back(
            resource_version in 1..i64::MAX, namespace in "[a-z0-9-]{0,63}", name in "[a-z0-9.-]{1,253}",
        ) {
            let token = ContinueToken { resource_version, namespace, name };
            prop_assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
        }

        #[test]
        fn garbage_is_refused(text in "\\PC{0,80}") {
            if let Err(error) = ContinueToken::decode(&text) {
                prop_assert_eq!(error.code, 400);
            }
        }
    }

    #[test]
    fn a_token_is_not_made_by_hand() {
        let hand_made = [
            r#"["v1",0,"a","b"]"#,
            r#"["v1",1,"a",""]"#,
            r#"["v2",1,"a","b"]"#,
            r#"["v1",1.5,"a","b"]"#,
            "{}",
        ];
        for text in hand_made {
            assert_eq!(ContinueToken::decode(&hex::encode(text)).unwrap_err().code, 400, "{text}");
        }
        assert_eq!(ContinueToken::decode(&"61".repeat(4_000)).unwrap_err().code, 400);
        assert_eq!(ContinueToken::decode("").unwrap_err().code, 400);
    }
}
