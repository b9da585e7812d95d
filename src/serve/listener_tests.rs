//! Listeners over real sockets: who gets a place, who is dropped, and which certificate is shown.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::TlsFiles;

const LIMITS: Limits = Limits {
    connections: 8,
    connections_per_address: 4,
    strangers: None,
    handshake_time: Duration::from_secs(10),
    head_time: Duration::from_secs(10),
    idle_time: Duration::from_mins(1),
    write_time: Duration::from_secs(10),
    reload: Duration::from_millis(20),
};

struct Open {
    address: SocketAddr,
    stop: CancellationToken,
    done: JoinHandle<()>,
}

async fn open(tls: Tls, limits: Limits) -> Open {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls, limits).await.unwrap();
    let (address, stop) = (listener.address(), CancellationToken::new());
    let peer = |request: Request<Body>| async move {
        format!("{:?}", request.extensions().get().map(Peer::address))
    };
    let router = Router::new()
        .route("/", get(peer))
        .route("/read", post(async |_: Bytes| "read"))
        .route("/refuse", post(async || StatusCode::FORBIDDEN));
    let done = tokio::spawn(listener.run(router, stop.clone()));
    Open { address, stop, done }
}

impl Open {
    async fn close(self) {
        self.stop.cancel();
        self.done.await.unwrap();
    }
}

/// What comes until the other side closes.
async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_request_says_where_it_comes_from() {
    let open = open(Tls::Plain, LIMITS).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.ends_with("Some(127.0.0.1)"), "{answer}");
    open.close().await;
}

#[tokio::test]
async fn a_head_a_byte_at_a_time_ends_and_an_idle_connection_stays() {
    let limits = Limits { head_time: Duration::from_millis(100), ..LIMITS };
    let open = open(Tls::Plain, limits).await;
    let mut kept = TcpStream::connect(open.address).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    kept.read_exact(&mut begin).await.unwrap();

    let mut slow = TcpStream::connect(open.address).await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), rest(&mut slow)).await.unwrap();
    assert!(!answer.contains("200"), "{answer}");

    kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(rest(kept).await.matches("HTTP/1.1 200").count(), 1);
    open.close().await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_body_ends_the_connection() {
    let open = open(Tls::Plain, LIMITS).await;
    let head = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all((head("/read", 4) + "body" + &head("/refuse", 0)).as_bytes()).await.unwrap();
    stream.write_all((head("/refuse", 100_000) + "the beginning").as_bytes()).await.unwrap();
    let answers = rest(stream).await;
    let closes: Vec<bool> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| answer.contains("connection: close")).collect();
    assert_eq!(closes, [false, false, true], "{answers}");
    open.close().await;
}

#[tokio::test]
async fn one_address_does_not_take_all_places() {
    let limits = Limits { connections_per_address: 1, ..LIMITS };
    let open = open(Tls::Plain, limits).await;
    let mut first = TcpStream::connect(open.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    first.read_exact(&mut begin).await.unwrap();
    assert_eq!(rest(TcpStream::connect(open.address).await.unwrap()).await, "");
    drop(first);
    loop {
        let mut next = TcpStream::connect(open.address).await.unwrap();
        let _ = next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        if rest(next).await.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    open.close().await;
}

/// Whether the listener proves that it is the one with this certificate.
async fn shows(address: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), stream).await.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let files =
        TlsFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
    let renew = || {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        std::fs::write(&files.certificate, cert.pem()).unwrap();
        cert.der().clone()
    };
    let old = renew();
    let open = open(Tls::Files(files.clone()), LIMITS).await;
    assert!(shows(open.address, &old).await);
    let new = renew();
    while !shows(open.address, &new).await {}
    assert!(!shows(open.address, &old).await);
    let mut certificate = Certificate::load(files.clone()).unwrap();
    let before = certificate.config();
    std::fs::write(&files.certificate, "nonsense").unwrap();
    certificate.reload();
    assert!(Arc::ptr_eq(&before, &certificate.config()), "the one from before stays in force");
    assert!(shows(open.address, &new).await);
    open.close().await;
}
