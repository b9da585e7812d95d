//! What a request asks for, read from the request alone: the signature's scope names service and region, the
//! operation stands in a header, in the form, or follows from the path.

use std::fmt::Write;

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde_json::Value;
use url::form_urlencoded;

use super::estate::ACCOUNT;

/// How the keys begin that a session in another account gets; its id follows.
pub const KEY_OF: &str = "ASIA";

/// One call of an AWS API.
#[derive(Debug, Default)]
pub struct Call {
    /// Whose credentials signed it.
    pub account: String,
    /// As in the scope of the signature: `ec2`, `tagging`.
    pub service: String,
    pub region: String,
    /// `DescribeInstances`
    pub operation: String,
    /// What the path is about: a bucket, an ARN.
    pub subject: String,
    fields: Vec<(String, String)>,
    document: Value,
}

impl Call {
    pub fn read(head: &Parts, body: &Bytes) -> Self {
        let mut call = Self::default();
        let header =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let scope = header("authorization").split_once("Credential=").map_or("", |(_, rest)| rest);
        let mut scope = scope.split(',').next().unwrap_or_default().split('/').map(str::to_owned);
        let key = scope.next().unwrap_or_default();
        // The keys that the stub hands out end in the account they are for.
        key.strip_prefix(KEY_OF).unwrap_or(ACCOUNT).clone_into(&mut call.account);
        let mut scope = scope.skip(1);
        call.region = scope.next().unwrap_or_default();
        call.service = scope.next().unwrap_or_default();
        let query = head.uri.query().unwrap_or_default();
        call.fields = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if let Some((_, operation)) = header("x-amz-target").split_once('.') {
            operation.clone_into(&mut call.operation);
            call.document = serde_json::from_slice(body).unwrap_or_default();
        } else if head.method == Method::POST {
            call.fields = form_urlencoded::parse(body).into_owned().collect();
            let action = call.field("Action").unwrap_or_default().to_owned();
            call.operation = action;
        } else {
            call.read_path(head.method.as_str(), head.uri.path());
        }
        call
    }

    fn read_path(&mut self, method: &str, path: &str) {
        let decoded =
            |part: &str| form_urlencoded::parse(part.as_bytes()).next().map(|(text, _)| text.into_owned());
        let operation = match (self.service.as_str(), method) {
            ("lambda", "GET") if path.starts_with("/2015-03-31/functions") => "ListFunctions",
            ("lambda", "GET") if path.starts_with("/2017-03-31/tags/") => {
                self.subject = decoded(&path["/2017-03-31/tags/".len()..]).unwrap_or_default();
                "ListTags"
            }
            ("s3", "GET") if path == "/" => "ListBuckets",
            ("s3", "GET") if self.field("tagging").is_some() => {
                path.trim_matches('/').clone_into(&mut self.subject);
                "GetBucketTagging"
            }
            _ => "",
        };
        operation.clone_into(&mut self.operation);
        if operation.is_empty() {
            let _ = write!(self.operation, "{method} {path}");
        }
    }

    /// `ec2.DescribeInstances`
    pub fn name(&self) -> String {
        format!("{}.{}", self.service, self.operation)
    }

    /// A field of the form, or of the query.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A string of the JSON document. An empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.document[name].as_str().filter(|text| !text.is_empty())
    }

    /// A number of the JSON document.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.document[name].as_u64().and_then(|number| u32::try_from(number).ok())
    }

    /// A list of strings of the JSON document.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.document[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
}
