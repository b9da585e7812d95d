//! The few protobuf bodies that kubectl sends although JSON would do: reviews of its own rights, new namespaces and
//! new config maps. Only their fields are read; anything else is 415, and nothing is ever answered in protobuf.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::status::ApiError;

/// What such a body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The content type of such bodies.
pub(super) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The most fields of one message.
const MAX_FIELDS: usize = 100_000;

/// The object in a body, as JSON.
pub(super) fn to_json(body: &[u8]) -> Result<Value, ApiError> {
    let broken = || ApiError::bad_request("the body is not what its content type says");
    let envelope = body.strip_prefix(MAGIC).and_then(Message::parse).ok_or_else(broken)?;
    let names = envelope.message(1).ok_or_else(broken)?;
    let raw = envelope.message(2).unwrap_or_default();
    let (api_version, kind) = (names.text(1), names.text(2));
    let mut object = match (api_version.as_str(), kind.as_str()) {
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => access_review(&raw),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            json!({"spec": {"namespace": raw.message(2).unwrap_or_default().text(1)}})
        }
        ("authentication.k8s.io/v1", "SelfSubjectReview") => json!({}),
        ("v1", "Namespace") => json!({"metadata": metadata(&raw)}),
        ("v1", "ConfigMap") => config_map(&raw),
        _ => {
            let message = format!(
                "{CONTENT_TYPE} is not read for this kind; accepted media types include: application/json"
            );
            return Err(ApiError::unsupported_media_type(message));
        }
    };
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    Ok(object)
}

fn access_review(review: &Message) -> Value {
    let spec = review.message(2).unwrap_or_default();
    if let Some(path) = spec.message(2) {
        return json!({"spec": {"nonResourceAttributes": {"path": path.text(1), "verb": path.text(2)}}});
    }
    let attributes = spec.message(1).unwrap_or_default();
    let names = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let fields: Map<String, Value> = names
        .into_iter()
        .zip(1..)
        .map(|(name, number)| (name.to_owned(), json!(attributes.text(number))))
        .collect();
    json!({"spec": {"resourceAttributes": fields}})
}

fn metadata(object: &Message) -> Value {
    let metadata = object.message(1).unwrap_or_default();
    let mut fields = Map::new();
    for (name, number) in [("name", 1), ("generateName", 2), ("namespace", 3)] {
        fields.insert(name.to_owned(), json!(metadata.text(number)));
    }
    fields.insert("labels".to_owned(), Value::Object(metadata.texts(11)));
    fields.insert("annotations".to_owned(), Value::Object(metadata.texts(12)));
    Value::Object(fields)
}

fn config_map(object: &Message) -> Value {
    let mut map = json!({"metadata": metadata(object)});
    let (data, bytes) = (object.texts(2), object.bytes(3));
    if !data.is_empty() {
        map["data"] = Value::Object(data);
    }
    if !bytes.is_empty() {
        map["binaryData"] = Value::Object(bytes);
    }
    if object.number(4) == 1 {
        map["immutable"] = json!(true);
    }
    map
}

/// A message: its fields by number, as they stand.
#[derive(Default)]
struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            if fields.len() == MAX_FIELDS {
                return None;
            }
            let tag = varint(&mut rest)?;
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut rest)?),
                1 => Field::Bytes(take(&mut rest, 8)?),
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    Field::Bytes(take(&mut rest, length)?)
                }
                5 => Field::Bytes(take(&mut rest, 4)?),
                _ => return None,
            };
            fields.push((tag >> 3, field));
        }
        Some(Self(fields))
    }

    fn all(&self, number: u64) -> impl Iterator<Item = Field<'a>> {
        self.0.iter().filter(move |(each, _)| *each == number).map(|(_, field)| *field)
    }

    fn slices(&self, number: u64) -> impl Iterator<Item = &'a [u8]> {
        self.all(number).filter_map(|field| if let Field::Bytes(bytes) = field { Some(bytes) } else { None })
    }

    fn message(&self, number: u64) -> Option<Self> {
        self.slices(number).last().and_then(Self::parse)
    }

    fn text(&self, number: u64) -> String {
        self.slices(number)
            .last()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    fn number(&self, number: u64) -> u64 {
        self.all(number)
            .filter_map(|field| if let Field::Number(number) = field { Some(number) } else { None })
            .last()
            .unwrap_or(0)
    }

    /// A map: entries with a key and a value.
    fn texts(&self, number: u64) -> Map<String, Value> {
        let entries = self.slices(number).filter_map(Self::parse);
        entries.map(|entry| (entry.text(1), json!(entry.text(2)))).collect()
    }

    fn bytes(&self, number: u64) -> Map<String, Value> {
        let entries = self.slices(number).filter_map(Self::parse);
        entries
            .filter_map(|entry| {
                let bytes = entry.slices(2).last().unwrap_or_default().to_vec();
                Some((entry.text(1), serde_json::to_value(ByteString(bytes)).ok()?))
            })
            .collect()
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field of bytes, short enough for one byte of length.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let names = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &names), &field(2, raw), &field(3, b""), &field(4, b"")].concat()
    }

    #[test]
    fn reviews_are_read() {
        let attributes =
            [field(1, b"n"), field(2, b"create"), field(3, b"tagwarden.io"), field(5, b"clientaccounts")];
        let raw = [field(1, b""), field(2, &field(1, &attributes.concat()))].concat();
        let review = to_json(&body("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw)).unwrap();
        let attributes = &review["spec"]["resourceAttributes"];
        assert_eq!(
            (&attributes["verb"], &attributes["resource"]),
            (&json!("create"), &json!("clientaccounts"))
        );
        assert_eq!((&attributes["namespace"], &attributes["name"]), (&json!("n"), &json!("")));
    }

    #[test]
    fn namespaces_and_config_maps_are_read() {
        let label = [field(1, b"a"), field(2, b"b")].concat();
        let raw = field(1, &[field(1, b"team"), field(11, &label)].concat());
        let namespace = to_json(&body("v1", "Namespace", &raw)).unwrap();
        assert_eq!(
            (&namespace["metadata"]["name"], &namespace["metadata"]["labels"]),
            (&json!("team"), &json!({"a": "b"}))
        );
        let raw = [field(1, &field(1, b"m")), field(2, &label), field(3, &label), vec![4 << 3, 1]].concat();
        let map = to_json(&body("v1", "ConfigMap", &raw)).unwrap();
        assert_eq!(
            (&map["data"], &map["binaryData"], &map["immutable"]),
            (&json!({"a": "b"}), &json!({"a": "Yg=="}), &json!(true))
        );
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(to_json(&body("v1", "Secret", b"")).unwrap_err().code, 415);
        assert_eq!(to_json(b"{}").unwrap_err().code, 400);
        assert_eq!(to_json(b"k8s\0\xff\xff").unwrap_err().code, 400);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = to_json(&[MAGIC, &bytes].concat());
            let _ = to_json(&body("v1", "ConfigMap", &bytes[..bytes.len().min(100)]));
        }
    }
}
