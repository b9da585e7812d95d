//! Which AWS call a request is, told without any service model: from its signature's scope, its target header,
//! its form or its path.

use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;
use url::form_urlencoded;

/// The account behind credentials that no `AssumeRole` gave out, as moto has it.
pub const AMBIENT_ACCOUNT: &str = "123456789012";

/// How a service speaks, which decides what its errors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// EC2's own dialect of the query protocol.
    Ec2,
    /// Form in, XML out: STS, RDS, SNS.
    Query,
    /// S3's REST with XML.
    S3,
    /// JSON with an `X-Amz-Target`.
    Json,
    /// Paths and JSON: Lambda.
    RestJson,
}

/// One request as the proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The signing name of the service: `ec2`, `tagging`, `sts` …
    pub service: String,
    /// The operation, or `METHOD /path` where a REST operation is not known here.
    pub action: String,
    /// The region it was signed for.
    pub region: String,
    /// The account of its credentials.
    pub account: String,
    /// 1 for the first attempt, as the SDK counts.
    pub attempt: u32,
    /// Whether it asked for a further page.
    pub further_page: bool,
    /// Requests being served when it came in, itself included.
    pub in_flight: usize,
    /// What was answered; `None` while it is being served, and when nothing was sent or the caller left.
    pub status: Option<u16>,
    /// The fault that shaped the answer.
    pub fault: Option<&'static str>,
}

/// What a request says about itself.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) access_key: String,
    pub(super) date: String,
    pub(super) service: String,
    pub(super) region: String,
    pub(super) action: String,
    pub(super) protocol: Protocol,
    pub(super) attempt: u32,
    pub(super) page_token: Option<String>,
}

/// The fields under which a request carries the token of a further page.
const PAGE_TOKENS: &[&str] =
    &["NextToken", "nextToken", "PaginationToken", "Marker", "continuation-token", "ExclusiveStartTableName"];

/// Reads what a request is.
pub(super) fn identify(parts: &Parts, body: &Bytes) -> Identity {
    let scope = scope(header(parts, "authorization"));
    let target = header(parts, "x-amz-target");
    let is_form = header(parts, "content-type").starts_with("application/x-www-form-urlencoded");
    let service = scope.service.to_owned();
    let (protocol, action) = if let Some((_, action)) = target.rsplit_once('.') {
        (Protocol::Json, action.to_owned())
    } else if is_form {
        let protocol = if service == "ec2" { Protocol::Ec2 } else { Protocol::Query };
        (protocol, form_value(body, "Action").unwrap_or_default())
    } else if service == "s3" {
        (Protocol::S3, s3_action(parts))
    } else {
        (Protocol::RestJson, rest_action(parts))
    };
    let attempt = header(parts, "amz-sdk-request")
        .split(';')
        .find_map(|part| part.trim().strip_prefix("attempt=")?.parse().ok())
        .unwrap_or(1);
    Identity {
        access_key: scope.access_key.to_owned(),
        date: scope.date.to_owned(),
        region: scope.region.to_owned(),
        page_token: page_token(parts, body, protocol),
        service,
        action,
        protocol,
        attempt,
    }
}

/// The value of a field of a form.
pub(super) fn form_value(body: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

struct Scope<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`
fn scope(authorization: &str) -> Scope<'_> {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    let mut fields = credential.split([',', ' ']).next().unwrap_or_default().split('/');
    let mut next = || fields.next().filter(|field| !field.is_empty()).unwrap_or("unsigned");
    Scope { access_key: next(), date: next(), region: next(), service: next() }
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn s3_action(parts: &Parts) -> String {
    let path = parts.uri.path().trim_matches('/');
    let asks = |name: &str| query(parts).any(|(key, _)| key == name);
    let method = parts.method.as_str();
    let name = match (method, path.is_empty(), path.contains('/')) {
        ("GET", true, _) => "ListBuckets",
        ("GET", false, false) if asks("tagging") => "GetBucketTagging",
        ("GET", false, false) if asks("location") => "GetBucketLocation",
        ("PUT", false, false) if asks("tagging") => "PutBucketTagging",
        ("DELETE", false, false) if asks("tagging") => "DeleteBucketTagging",
        ("HEAD", false, false) => "HeadBucket",
        ("PUT", false, false) if parts.uri.query().is_none() => "CreateBucket",
        _ => return format!("{method} {}", parts.uri.path()),
    };
    name.to_owned()
}

fn rest_action(parts: &Parts) -> String {
    let method = parts.method.as_str();
    let path = parts.uri.path().trim_end_matches('/');
    match (method, path) {
        ("GET", "/2015-03-31/functions") => "ListFunctions".to_owned(),
        ("GET", _) if path.starts_with("/2017-03-31/tags/") => "ListTags".to_owned(),
        _ => format!("{method} {path}"),
    }
}

fn query(parts: &Parts) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

fn page_token(parts: &Parts, body: &Bytes, protocol: Protocol) -> Option<String> {
    let is_token = |key: &str| PAGE_TOKENS.contains(&key);
    let found = match protocol {
        Protocol::Ec2 | Protocol::Query => {
            form_urlencoded::parse(body).find(|(key, _)| is_token(key)).map(|(_, value)| value.into_owned())
        }
        Protocol::S3 | Protocol::RestJson => {
            query(parts).find(|(key, _)| is_token(key)).map(|(_, value)| value.into_owned())
        }
        Protocol::Json => serde_json::from_slice::<Value>(body).ok().and_then(|value| {
            let fields = value.as_object()?;
            let (_, token) = fields.iter().find(|(key, _)| is_token(key))?;
            token.as_str().map(str::to_owned)
        }),
    };
    found.filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Identity {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        identify(&parts, &Bytes::copy_from_slice(body.as_bytes()))
    }

    fn signed(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260102/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
    }

    #[test]
    fn every_protocol_is_told_apart() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        type Case<'a> = (
            &'a str,
            &'a str,
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a str,
            Protocol,
            &'a str,
            Option<&'a str>,
        );
        let cases: &[Case<'_>] = &[
            (
                "ec2",
                "POST",
                "/",
                &[FORM],
                "Action=DescribeVpcs&NextToken=a%2Fb",
                Protocol::Ec2,
                "DescribeVpcs",
                Some("a/b"),
            ),
            (
                "rds",
                "POST",
                "/",
                &[FORM],
                "Action=DescribeDBInstances",
                Protocol::Query,
                "DescribeDBInstances",
                None,
            ),
            (
                "tagging",
                "POST",
                "/",
                &[("x-amz-target", "ResourceGroupsTaggingAPI_20170126.GetResources")],
                r#"{"PaginationToken":""}"#,
                Protocol::Json,
                "GetResources",
                None,
            ),
            (
                "ecs",
                "POST",
                "/",
                &[("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListClusters")],
                r#"{"nextToken":"x"}"#,
                Protocol::Json,
                "ListClusters",
                Some("x"),
            ),
            (
                "lambda",
                "GET",
                "/2015-03-31/functions/?Marker=m",
                &[],
                "",
                Protocol::RestJson,
                "ListFunctions",
                Some("m"),
            ),
            (
                "s3",
                "GET",
                "/?x-id=ListBuckets&bucket-region=eu-west-1",
                &[],
                "",
                Protocol::S3,
                "ListBuckets",
                None,
            ),
            ("s3", "GET", "/logs?tagging", &[], "", Protocol::S3, "GetBucketTagging", None),
            ("s3", "GET", "/logs/a/b", &[], "", Protocol::S3, "GET /logs/a/b", None),
        ];
        for (service, method, uri, headers, body, protocol, action, token) in cases {
            let authorization = signed(service);
            let mut all = headers.to_vec();
            all.push(("authorization", &authorization));
            all.push(("amz-sdk-request", "attempt=2; max=3"));
            let found = identity(method, uri, &all, body);
            assert_eq!(found.service, *service);
            assert_eq!((found.protocol, found.action.as_str()), (*protocol, *action), "{uri} {body}");
            assert_eq!(found.page_token.as_deref(), *token, "{uri} {body}");
            assert_eq!(
                (found.access_key.as_str(), found.region.as_str(), found.attempt),
                ("AKID", "eu-west-1", 2)
            );
        }
    }

    #[test]
    fn an_unsigned_request_is_still_something() {
        let found = identity("GET", "/x", &[], "");
        assert_eq!(
            (found.service.as_str(), found.region.as_str(), found.attempt),
            ("unsigned", "unsigned", 1)
        );
    }
}
