//! The certificate of a listener: from files, or made; and read again when its files change.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// How the listener keeps tokens from being read on the way.
#[derive(Clone, Debug)]
pub enum Tls {
    /// It does not: for a loopback address only, and not for kubectl, which sends no token in the clear.
    Plain,
    /// By this certificate.
    Files(TlsFiles),
    /// By a certificate of its own, made once and kept in this directory: `api.crt`, which clients have to be given
    /// to trust, and `api.key`.
    SelfSigned(PathBuf),
}

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
    /// A certificate of our own that could not be made or kept.
    #[error("a certificate cannot be made in {}: {why}", directory.display())]
    Unmade {
        /// Where it was to be kept.
        directory: PathBuf,
        /// Why.
        why: String,
    },
}

/// The most bytes that are read of a file.
const MAX_BYTES: u64 = 1 << 20;

/// How many years a certificate of our own is valid: whoever trusts it was given it, and nobody renews it.
const YEARS: i16 = 10;

impl Tls {
    /// Certificate and key, which are made if they have to be; `None` for plain text.
    pub(crate) fn files(self, address: IpAddr) -> Result<Option<TlsFiles>, TlsError> {
        match self {
            Self::Plain => Ok(None),
            Self::Files(files) => Ok(Some(files)),
            Self::SelfSigned(directory) => {
                let files =
                    TlsFiles { certificate: directory.join("api.crt"), key: directory.join("api.key") };
                if !files.certificate.exists() || !files.key.exists() {
                    make(&files, address).map_err(|why| TlsError::Unmade { directory, why })?;
                }
                Ok(Some(files))
            }
        }
    }
}

/// A certificate for this machine under its usual names, and for the address.
fn make(files: &TlsFiles, address: IpAddr) -> Result<(), String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !address.is_unspecified() && !names.contains(&address.to_string()) {
        names.push(address.to_string());
    }
    let failed = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let at = |year: i16| rcgen::date_time_ymd(i32::from(year), today.month().unsigned_abs(), 1);
    params.not_before = at(today.year());
    params.not_after = at(today.year() + YEARS);
    params.distinguished_name.push(rcgen::DnType::CommonName, "tagwarden");
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    // The key first: a certificate without one would be made anew, and nobody trusts that yet.
    keep(&files.key, &key.serialize_pem()).map_err(|error| error.kind().to_string())?;
    keep(&files.certificate, &certificate.pem()).map_err(|error| error.kind().to_string())
}

/// Writes a file that only its owner may read.
fn keep(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let part = file.with_extension("part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&part)?.write_all(text.as_bytes())?;
    std::fs::rename(part, file)
}

/// A certificate in use, with what its files were when they were last read.
pub(crate) struct Certificate {
    files: TlsFiles,
    seen: [u8; 32],
    config: Arc<ServerConfig>,
}

impl Certificate {
    /// Reads certificate and key.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let text = Pem::read(&files)?;
        Ok(Self { config: text.config(&files)?, seen: text.digest(), files })
    }

    /// What a connection that begins now speaks.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Where the certificate is.
    pub fn file(&self) -> &Path {
        &self.files.certificate
    }

    /// Takes up files that have changed. What is wrong with them is said once, and those from before stay in force.
    pub fn reload(&mut self) {
        // A file that is away for a moment is being replaced.
        let Ok(text) = Pem::read(&self.files) else { return };
        let digest = text.digest();
        if digest == self.seen {
            return;
        }
        self.seen = digest;
        match text.config(&self.files) {
            Ok(config) => {
                tracing::info!(file = %self.files.certificate.display(), "the certificate changed and is in force");
                self.config = config;
            }
            Err(error) => tracing::warn!(%error, "the certificate from before stays in force"),
        }
    }
}

/// The text of certificate and key.
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { certificate: read("certificate", &files.certificate)?, key: read("key", &files.key)? })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new_with_prefix(&self.certificate).chain_update([0]).chain_update(&self.key).finalize().into()
    }

    /// The settings of a listener with this certificate. HTTP/1.1 only: each stream has a connection of its own.
    fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
        let certificates = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
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
}

fn certificates(bytes: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(unreadable("certificate", file, "there is no certificate in it".to_owned())),
    }
}

fn read(what: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| unreadable(what, file, error.kind().to_string()))?;
    Ok(bytes)
}

fn unreadable(what: &'static str, file: &Path, why: String) -> TlsError {
    TlsError::Unreadable { what, file: file.to_owned(), why }
}
