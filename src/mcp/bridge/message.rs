//! A message of the client: it passes as it came, and a few fields of it are repeated in headers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Where a request says of which version it is, if it belongs to the era in which each of them does.
const VERSION_OF_REQUEST: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";

/// The field that the header `Mcp-Name` repeats, by method.
const NAMED_BY: [(&str, &str); 5] = [
    ("tools/call", "name"),
    ("prompts/get", "name"),
    ("resources/read", "uri"),
    ("resources/subscribe", "uri"),
    ("resources/unsubscribe", "uri"),
];

/// A message that can go on.
#[derive(Debug)]
pub(super) struct Message {
    /// All of it.
    pub(super) text: String,
    /// What becomes of it.
    pub(super) kind: Kind,
    value: Value,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It gets an answer.
    Request(Value),
    /// It says that nobody waits for the answer to that request any more.
    Cancel(Value),
    /// It gets none.
    Told,
}

impl Message {
    /// Reads a line. The error is the answer.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let refused = |id: &Value, code: i64, message: &str| {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
        };
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return Err(refused(&Value::Null, -32700, "the line is no JSON: send one message a line"));
        };
        let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        if !value.is_object() {
            return Err(refused(&Value::Null, -32600, "the line is no message: batches are not part of MCP"));
        }
        let method = value["method"].as_str();
        let kind = match (method, value.get("id")) {
            (Some("notifications/cancelled"), None) => Kind::Cancel(value["params"]["requestId"].clone()),
            (Some(_), Some(id @ (Value::String(_) | Value::Number(_)))) => Kind::Request(id.clone()),
            (Some(_), Some(_)) => {
                return Err(refused(&Value::Null, -32600, "the id of a request is a text or a number"));
            }
            _ => Kind::Told,
        };
        Ok(Self { text, kind, value })
    }

    /// Whether its answer says which version both sides speak from now on.
    pub(super) fn initializes(&self) -> bool {
        self.value["method"] == "initialize"
    }

    /// What HTTP says beside it. `agreed` is the version of a client that initialised.
    pub(super) fn headers(&self, agreed: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        let Some(version) = self.value.pointer(VERSION_OF_REQUEST).and_then(Value::as_str) else {
            if let Some(version) = agreed.filter(|_| !self.initializes()) {
                add(PROTOCOL_VERSION, version);
            }
            return headers;
        };
        add(PROTOCOL_VERSION, version);
        let method = self.value["method"].as_str().unwrap_or_default();
        add(METHOD, method);
        let named = NAMED_BY.iter().find(|(of, _)| *of == method);
        if let Some(name) = named.and_then(|(_, field)| self.value["params"][field].as_str()) {
            add(NAME, &encoded(name));
        }
        headers
    }
}

/// A text as the value of a header: as it is, or in base64 where a header could not carry it.
fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
    let marked = text.starts_with("=?base64?") && text.ends_with("?=");
    if plain && !marked { text.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(message: &Value, agreed: Option<&str>) -> Vec<(String, String)> {
        let message = Message::parse(message.to_string().as_bytes()).unwrap();
        let headers = message.headers(agreed);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn what_becomes_of_a_message() {
        for (line, kind) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Kind::Request(json!(1))),
            (r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#, Kind::Request(json!("a"))),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
                Kind::Cancel(json!(7)),
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Kind::Told),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Kind::Told),
        ] {
            let message = Message::parse(line.as_bytes()).unwrap();
            assert_eq!((message.kind, message.text.as_str()), (kind, line));
        }
        for (line, code) in [
            (&b"hello"[..], -32700),
            (b"{\"id\":\"\xff\"}", -32700),
            (b"[]", -32600),
            (b"1", -32600),
            (br#"{"id":null,"method":"ping"}"#, -32600),
        ] {
            let refused: Value = serde_json::from_str(&Message::parse(line).unwrap_err()).unwrap();
            assert_eq!(refused["error"]["code"], code);
        }
    }

    #[test]
    fn headers_are_those_of_the_era() {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        assert_eq!(headers(&list, None), []);
        let version = |version: &str| ("mcp-protocol-version".to_owned(), version.to_owned());
        assert_eq!(headers(&list, Some("2025-11-25")), [version("2025-11-25")]);
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"});
        assert_eq!(headers(&initialize, Some("2025-11-25")), []);
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        for (method, params, name) in [
            ("tools/list", json!({"name": "x"}), None),
            ("tools/call", json!({"name": "list_audits"}), Some("list_audits")),
            ("prompts/get", json!({"name": " ä"}), Some("=?base64?IMOk?=")),
            ("resources/read", json!({"uri": "tagwarden://a b"}), Some("tagwarden://a b")),
            ("resources/read", json!({"uri": "=?base64?IMOk?="}), Some("=?base64?PT9iYXNlNjQ/SU1Paz89?=")),
        ] {
            let mut params = params;
            params["_meta"] = meta.clone();
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let mut expected = vec![version("2026-07-28"), ("mcp-method".to_owned(), method.to_owned())];
            expected.extend(name.map(|name| ("mcp-name".to_owned(), name.to_owned())));
            assert_eq!(headers(&request, Some("2025-11-25")), expected);
        }
    }
}
