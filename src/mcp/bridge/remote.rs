//! The server: where it is, whom it is trusted by, and one exchange with it.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time::timeout;

use super::failure::Failure;
use super::key::KeyFile;
use super::lines::MESSAGE_BYTES;
use super::sse::Events;
use super::{BridgeError, BridgeSettings};

/// A machine that does not answer is told before people give up.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long the server may say nothing. It gives up itself before.
const SILENT_FOR: Duration = Duration::from_secs(75);

/// How long a connection is kept for the next request; servers keep them longer.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// The most bytes of a file with certificates.
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;

/// A server, and the key to it.
pub(super) struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    key: Option<KeyFile>,
    agent: HeaderValue,
}

/// What the server answers: messages, one after the other.
pub(super) struct Answer<'a> {
    remote: &'a Remote,
    waiting: std::vec::IntoIter<String>,
    stream: Option<(Incoming, Events)>,
}

impl Remote {
    /// Gets everything ready. Nobody is asked yet: the server may come later, and may go and come back.
    pub(super) fn new(settings: BridgeSettings) -> Result<Self, BridgeError> {
        let url = url(&settings.url)?;
        let tls = tls(url.scheme_str() == Some("https"), settings.ca_file.as_deref())?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_WITHIN));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .build(HttpsConnector::from((http, tls)));
        let agent = HeaderValue::from_str(&format!("tagwarden/{}", settings.version));
        Ok(Self {
            client,
            url,
            key: settings.key_file.map(KeyFile::open).transpose()?,
            agent: agent.unwrap_or(HeaderValue::from_static("tagwarden")),
        })
    }

    /// The server for people.
    pub(super) fn shown(&self) -> String {
        let authority = self.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        format!("{}://{authority}", self.url.scheme_str().unwrap_or_default())
    }

    /// Sends a message. Dropping what this gives hangs up, by which the server knows that nobody waits any more.
    pub(super) async fn post(&self, headers: HeaderMap, message: String) -> Result<Answer<'_>, Failure> {
        let mut request = Request::new(Full::new(Bytes::from(message)));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.url);
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(header::USER_AGENT, self.agent.clone());
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.authorization());
        }
        let server = self.shown();
        let response = match timeout(SILENT_FOR, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::unreachable(&server, &error)),
            Err(_) => return Err(Failure::slow(&server, SILENT_FOR)),
        };
        let (head, body) = response.into_parts();
        let kind =
            head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.status == StatusCode::OK && kind.starts_with("text/event-stream") {
            return Ok(Answer::new(self, None, Some(body)));
        }
        let body = self.whole(body).await?;
        if let Some(message) = message_of(&body) {
            // Errors of the protocol have a status of their own.
            return Ok(Answer::new(self, Some(message), None));
        }
        match head.status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Answer::new(self, None, None)),
            status if status.is_success() => {
                Err(Failure::stranger(&server, "it answers with something else"))
            }
            status => Err(Failure::refused(&server, status, &head.headers, &body, self.key.is_some())),
        }
    }

    /// The next piece of a body, if it comes in time.
    async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
        loop {
            return match timeout(SILENT_FOR, body.frame()).await {
                Err(_) => Err(Failure::slow(&self.shown(), SILENT_FOR)),
                Ok(None) => Ok(None),
                Ok(Some(Err(_))) => Err(Failure::cut_off(&self.shown())),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
            };
        }
    }

    async fn whole(&self, mut body: Incoming) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece(&mut body).await? {
            if whole.len() + piece.len() > MESSAGE_BYTES {
                return Err(self.too_long());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    fn too_long(&self) -> Failure {
        Failure::stranger(&self.shown(), "its answer is longer than any of Tagwarden's")
    }
}

impl<'a> Answer<'a> {
    fn new(remote: &'a Remote, message: Option<String>, stream: Option<Incoming>) -> Self {
        let waiting: Vec<String> = message.into_iter().collect();
        Self { remote, waiting: waiting.into_iter(), stream: stream.map(|body| (body, Events::default())) }
    }

    /// The next message; `None` where there is none any more.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(message) = self.waiting.next() {
                return Ok(Some(message));
            }
            let Some((body, events)) = &mut self.stream else { return Ok(None) };
            let Some(piece) = self.remote.piece(body).await? else { return Ok(None) };
            self.waiting = events.feed(&piece).map_err(|_| self.remote.too_long())?.into_iter();
        }
    }
}

/// A body that is one message, on one line.
fn message_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // Line breaks within JSON stand between its words alone.
    let line = || String::from_utf8_lossy(body.trim_ascii()).replace(['\r', '\n'], " ");
    (value["jsonrpc"] == "2.0").then(line)
}

/// The URL of the server, with the path that is meant.
fn url(text: &str) -> Result<Uri, BridgeError> {
    let refused = || BridgeError::Url(crate::parts::clean(text, 200));
    if text.contains('@') {
        return Err(BridgeError::Credentials);
    }
    let parts = text.parse::<Uri>().map_err(|_| refused())?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(refused()) };
    let path = parts.path_and_query.filter(|path| path.as_str() != "/");
    let path = path.unwrap_or(http::uri::PathAndQuery::from_static("/mcp"));
    match scheme.as_str() {
        _ if path.query().is_some() || text.contains('#') || authority.host().is_empty() => {
            return Err(refused());
        }
        "https" => {}
        "http" if is_here(authority.host()) => {}
        "http" => return Err(BridgeError::PlainHttp(authority.host().to_owned())),
        _ => return Err(refused()),
    }
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().map_err(|_| refused())
}

/// Whether a name means this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Whom to trust: the system's certificates, or those that `SSL_CERT_FILE` names instead, and those of the file.
fn tls(wanted: bool, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, BridgeError> {
    let mut roots = RootCertStore::empty();
    if wanted {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some certificates of this machine cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
    }
    if let Some(path) = ca_file {
        let found = certificates(path)?;
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(not_certificates(path));
        }
    }
    if wanted && roots.is_empty() {
        return Err(BridgeError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BridgeError::Tls)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BridgeError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CERTIFICATES_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|source| BridgeError::Read {
            flag: "--ca-file",
            path: path.display().to_string(),
            source,
        })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.map_err(|_| not_certificates(path))
}

fn not_certificates(path: &Path) -> BridgeError {
    let problem = "holds no certificate in PEM";
    BridgeError::Content { flag: "--ca-file", path: path.display().to_string(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_means_the_tools() {
        for (text, expected) in [
            ("https://tags.example.com", "https://tags.example.com/mcp"),
            ("https://tags.example.com:8443/", "https://tags.example.com:8443/mcp"),
            ("https://example.com/tags/mcp", "https://example.com/tags/mcp"),
            ("http://localhost:8080", "http://localhost:8080/mcp"),
            ("http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080/mcp"),
            ("http://[::1]:8080", "http://[::1]:8080/mcp"),
        ] {
            assert_eq!(url(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn nothing_is_sent_where_others_read_along() {
        for text in ["http://tags.example.com", "http://10.0.0.1:80", "http://localhost.example.com/mcp"] {
            assert!(matches!(url(text), Err(BridgeError::PlainHttp(_))), "{text}");
        }
        assert!(matches!(url("https://me:tw_key@example.com"), Err(BridgeError::Credentials)));
        for text in [
            "",
            "tags.example.com",
            "/mcp",
            "ftp://example.com",
            "https://",
            "https://a/mcp?key=b",
            "https://a/#b",
        ] {
            assert!(matches!(url(text), Err(BridgeError::Url(_))), "{text}");
        }
    }

    #[test]
    fn messages_stay_as_they_are_on_one_line() {
        let body = b"{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1.0,\n  \"result\": {\"new\": 12345678901234567890123}\n}\n";
        let line = message_of(body).unwrap();
        assert!(line.contains("12345678901234567890123") && !line.contains('\n'), "{line}");
        for body in [&b"<html>"[..], b"{}", b"{\"code\":\"unauthorized\"}", b""] {
            assert_eq!(message_of(body), None);
        }
    }
}
