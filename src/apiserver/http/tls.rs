//! The certificate of the listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that lead to its issuer.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or has no PEM in it.
    #[error("{what} cannot be read from {}: {why}", file.display())]
    Unreadable {
        /// `certificate` or `key`.
        what: &'static str,
        /// Where it should be.
        file: PathBuf,
        /// Why, without what is in it.
        why: String,
    },
    /// A key that is not the certificate's, or of a kind that is not known.
    #[error("certificate and key do not go together: {0}")]
    Mismatch(rustls::Error),
}

/// The settings of a listener with this certificate. HTTP/1.1 only: each watch has a connection of its own.
pub(super) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read("key", &files.key)?)
        .map_err(|_| unreadable("key", &files.key, "there is no private key in it".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Mismatch)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read("certificate", file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(unreadable("certificate", file, "there is no certificate in it".to_owned())),
    }
}

fn read(what: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| unreadable(what, file, error.kind().to_string()))
}

fn unreadable(what: &'static str, file: &Path, why: String) -> TlsError {
    TlsError::Unreadable { what, file: file.to_owned(), why }
}
