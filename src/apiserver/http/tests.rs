//! The door, over real sockets: who comes in, who does not, and what everybody is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::Identity;
use crate::kind::tests::fixture;

/// A router that says who it was asked by, and what.
fn echo() -> Router {
    Router::new().fallback(|request: axum::extract::Request| async move {
        let identity = request.extensions().get::<Identity>().cloned();
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        json!({
            "identity": format!("{identity:?}"), "path": parts.uri.path(), "length": body.len(),
            "type": parts.headers.get("content-type").and_then(|value| value.to_str().ok()),
        })
        .to_string()
    })
}

struct Door {
    address: SocketAddr,
    file: tempfile::NamedTempFile,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

fn tokens(lines: &[(&str, &str)]) -> String {
    lines.iter().fold(String::from("# test\n"), |mut text, (token, rest)| {
        let _ = writeln!(text, "sha256:{}:{rest}", hex::encode(Sha256::digest(token.as_bytes())));
        text
    })
}

async fn open(limits: Limits, tls: Tls) -> Door {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tokens(&[("v", "vera:view"), ("e", "edgar:edit"), ("a", "ada:admin")]))
        .unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let settings = Settings { address, tls, tokens: file.path().to_owned(), limits };
    let exposure = Exposure::bind(settings, fixture().clone(), echo()).await.unwrap();
    let (address, stop) = (exposure.address(), CancellationToken::new());
    let done = tokio::spawn(exposure.run(stop.clone()));
    Door { address, file, stop, done }
}

impl Door {
    /// One request on a connection of its own; status, headers and body of the answer.
    async fn ask(&self, request: &str, token: &str, body: &str) -> (u16, String, Value) {
        let authorization =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let text = format!(
            "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
    }

    async fn close(self) {
        self.stop.cancel();
        self.done.await.unwrap();
    }
}

const OURS: &str = "/apis/tagwarden.io/v1alpha1/namespaces/n/clientaccounts";

#[tokio::test]
async fn only_who_is_known_comes_in() {
    let door = open(Limits::default(), Tls::Plain).await;
    for token in ["", "x", "V", "vv"] {
        let (code, head, status) = door.ask(&format!("GET {OURS}"), token, "").await;
        assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")), "{token}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
    }
    let (code, _, answer) = door.ask(&format!("GET {OURS}"), "v", "").await;
    assert_eq!((code, answer["identity"].as_str()), (200, Some("Some(Remote { user: \"vera\" })")));
    let (code, _, status) = door.ask(&format!("POST {OURS}"), "v", "{}").await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        status["message"],
        "clientaccounts.tagwarden.io is forbidden: User \"vera\" cannot create resource \"clientaccounts\" in API \
         group \"tagwarden.io\" in the namespace \"n\""
    );
    assert_eq!(door.ask(&format!("POST {OURS}"), "e", "{}").await.0, 200);
    assert_eq!(door.ask("DELETE /api/v1/namespaces/n", "e", "").await.0, 403);
    assert_eq!(door.ask("DELETE /api/v1/namespaces/n", "a", "").await.0, 200);
    // What is no resource here is the router's to refuse, whoever asks.
    assert_eq!(door.ask("GET /api/v1/namespaces/n/secrets", "v", "").await.0, 200);
    door.close().await;
}

#[tokio::test]
async fn a_changed_token_file_is_in_force_and_a_wrong_one_is_not() {
    let limits =
        Limits { reload: Duration::from_millis(20), refusals_per_second: 1_000, ..Limits::default() };
    let door = open(limits, Tls::Plain).await;
    let code = async |token| door.ask("GET /version", token, "").await.0;
    let becomes = async |token, wanted| {
        for _ in 0..500 {
            if code(token).await == wanted {
                return true;
            }
        }
        false
    };
    assert_eq!(code("v").await, 200);
    std::fs::write(door.file.path(), tokens(&[("n", "new:view")])).unwrap();
    assert!(becomes("n", 200).await && becomes("v", 401).await);
    std::fs::write(door.file.path(), "nonsense").unwrap();
    assert!(!becomes("n", 401).await, "what was in force stays");
    door.close().await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let limits = Limits { body: 1_000, body_time: Duration::from_millis(100), ..Limits::default() };
    let door = open(limits, Tls::Plain).await;
    let (code, _, answer) = door.ask(&format!("POST {OURS}"), "e", &"x".repeat(1_000)).await;
    assert_eq!((code, &answer["length"]), (200, &json!(1_000)));
    let (code, _, status) = door.ask(&format!("POST {OURS}"), "e", &"x".repeat(1_001)).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
    // A body that does not come.
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let head =
        format!("POST {OURS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer e\r\ncontent-length: 9\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    door.close().await;
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let limits = Limits { requests_per_second: 1, burst: 2, refusals_per_second: 1, ..Limits::default() };
    let door = open(limits, Tls::Plain).await;
    assert_eq!(door.ask("GET /version", "v", "").await.0, 200);
    assert_eq!(door.ask("GET /version", "v", "").await.0, 200);
    let (code, head, status) = door.ask("GET /version", "v", "").await;
    assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")));
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(door.ask("GET /version", "a", "").await.0, 200, "each user has a pace of their own");
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(door.ask("GET /version", "x", "").await.0);
    }
    assert_eq!((refused[0], refused[19]), (401, 429));
    door.close().await;
}

#[tokio::test]
async fn slow_clients_are_dropped_and_a_full_house_says_no() {
    let limits = Limits { header_time: Duration::from_millis(100), connections: 1, ..Limits::default() };
    let door = open(limits, Tls::Plain).await;
    let began = Timestamp::now();
    let mut slow = TcpStream::connect(door.address).await.unwrap();
    slow.write_all(b"GET /version HTTP/1.1\r\nhost").await.unwrap();
    let mut second = TcpStream::connect(door.address).await.unwrap();
    let mut nothing = Vec::new();
    let _ = second.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty(), "there was no room");
    let _ = slow.read_to_end(&mut nothing).await;
    assert!(Timestamp::now().duration_since(began).as_secs() < 20);
    door.close().await;
}

#[tokio::test]
async fn questions_about_oneself_are_answered() {
    let door = open(Limits::default(), Tls::Plain).await;
    let ask = async |token: &str, verb: &str| {
        let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {
            "resourceAttributes": {"verb": verb, "group": "tagwarden.io", "resource": "clientaccounts"},
        }});
        let path = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let (code, _, review) = door.ask(path, token, &review.to_string()).await;
        (code, review["status"]["allowed"].clone())
    };
    assert_eq!(ask("v", "get").await, (201, json!(true)));
    assert_eq!(ask("v", "delete").await, (201, json!(false)));
    assert_eq!(ask("e", "delete").await, (201, json!(true)));
    let (_, _, who) = door.ask("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", "e", "{}").await;
    assert_eq!(who["status"]["userInfo"]["username"], "edgar");
    let (code, ..) =
        door.ask("POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "e", "nonsense").await;
    assert_eq!(code, 400);
    door.close().await;
}

/// One request over TLS by somebody who trusts only this certificate.
async fn ask_trusting(door: &Door, certificate: CertificateDer<'static>) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(door.address).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let request = "GET /version HTTP/1.1\r\nhost: x\r\nauthorization: bearer v\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn tls_is_spoken() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("cert.pem"), cert.pem()).unwrap();
    std::fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    let files = TlsFiles { certificate: path("cert.pem"), key: path("key.pem") };
    let door = open(Limits::default(), Tls::Files(files)).await;
    let answer = ask_trusting(&door, cert.der().clone()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_certificate_of_our_own_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let (made, key) = (directory.path().join("tls/api.crt"), directory.path().join("tls/api.key"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let door = open(Limits::default(), Tls::SelfSigned(directory.path().join("tls"))).await;
        seen.push(std::fs::read(&made).unwrap());
        let answer = ask_trusting(&door, CertificateDer::from_pem_file(&made).unwrap()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        door.close().await;
    }
    assert_eq!(seen[0], seen[1], "who trusts it goes on trusting it");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(key).unwrap()) & 0o777, 0o600);
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tokens(&[("v", "vera:view")])).unwrap();
    let bind = async |address: &str, tls: Tls, tokens: &Path| {
        let settings = Settings {
            address: address.parse().unwrap(),
            tls,
            tokens: tokens.to_owned(),
            limits: Limits::default(),
        };
        Exposure::bind(settings, fixture().clone(), echo())
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let plain = bind("0.0.0.0:0", Tls::Plain, file.path()).await;
    assert!(plain.starts_with("the API is not served at 0.0.0.0:0 without TLS"), "{plain}");
    assert!(
        bind("127.0.0.1:0", Tls::Plain, Path::new("nowhere"))
            .await
            .contains("the token file nowhere cannot be read")
    );
    let tls = TlsFiles { certificate: file.path().to_owned(), key: file.path().to_owned() };
    assert!(
        bind("127.0.0.1:0", Tls::Files(tls), file.path()).await.contains("there is no certificate in it")
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(bind(&address, Tls::Plain, file.path()).await.contains("cannot be served at"));
    std::fs::write(file.path(), "hunter2").unwrap();
    let wrong = bind("127.0.0.1:0", Tls::Plain, file.path()).await;
    assert!(wrong.contains("line 1: ") && !wrong.contains("hunter2"), "{wrong}");
}

/// Keeps what is said to the audit log.
#[derive(Clone, Default)]
struct Ear(Arc<std::sync::Mutex<Vec<BTreeMap<&'static str, String>>>>);

impl tracing::Subscriber for Ear {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "tagwarden::audit"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(BTreeMap<&'static str, String>);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name(), value.to_owned());
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn each_write_has_a_line_in_the_audit_log() {
    let ear = Ear::default();
    // The server runs on this thread, too.
    let _guard = tracing::subscriber::set_default(ear.clone());
    let door = open(Limits::default(), Tls::Plain).await;
    door.ask(&format!("GET {OURS}"), "v", "").await;
    door.ask(&format!("POST {OURS}"), "e", r#"{"metadata": {"name": "acme"}}"#).await;
    door.ask(&format!("POST {OURS}"), "e", r#"{"metadata": {"generateName": "a-"}}"#).await;
    door.ask(&format!("DELETE {OURS}/acme"), "v", "").await;
    door.ask(&format!("PATCH {OURS}/acme/status"), "a", "{}").await;
    door.ask(&format!("POST {OURS}"), "nobody", "{}").await;
    door.close().await;
    let lines: Vec<String> = ear
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|line| {
            let names = ["user", "verb", "group", "resource", "subresource", "namespace", "name", "code"];
            names.map(|name| line.get(name).cloned().unwrap_or_default()).join(" ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "edgar create tagwarden.io clientaccounts  n acme 200",
            "edgar create tagwarden.io clientaccounts  n a-* 200",
            "vera delete tagwarden.io clientaccounts  n acme 403",
            "ada patch tagwarden.io clientaccounts status n acme 200",
        ]
    );
}
