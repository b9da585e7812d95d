//! TLS of our own, and a certificate that is renewed while the server runs.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tagwarden_serve::{Listener, Tls};

use super::*;

/// Makes a certificate and its key, as `tls.crt` and `tls.key`.
pub(super) fn renew(directory: &Path) -> CertificateDer<'static> {
    let scratch = tempfile::tempdir().unwrap();
    let tls = Tls::SelfSigned(scratch.path().to_owned());
    let address = "127.0.0.1:0".parse().unwrap();
    let bound = Listener::bind(address, tls, tagwarden_http::CONNECTIONS);
    drop(tokio::runtime::Runtime::new().unwrap().block_on(bound).unwrap());
    for (from, to) in [("api.key", "tls.key"), ("api.crt", "tls.crt")] {
        std::fs::copy(scratch.path().join(from), directory.join(to)).unwrap();
    }
    CertificateDer::from_pem_file(directory.join("tls.crt")).unwrap()
}

/// What `/health` says to somebody who trusts this certificate alone.
fn trusting(address: SocketAddr, certificate: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(WITHIN))?;
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let setup = Setup::new().args(["--tls-cert", "tls.crt", "--tls-key", "tls.key"]);
    let old = renew(setup.directory());
    let controller = setup.start();
    let address = controller.address("listen");
    let answer = trusting(address, &old).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let plain = Client::new(&controller, "").get("/health");
    assert_eq!(plain.status, 0, "nothing is said in the clear: {plain:?}");

    let new = renew(controller.directory());
    let deadline = Instant::now() + WITHIN;
    while trusting(address, &new).is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        std::thread::park_timeout(LOOK_AGAIN);
    }
    assert!(trusting(address, &old).is_err());
    controller.stop();
}
