//! One HTTP client, one connection pool, for all accounts and regions: endpoints belong to regions, not to
//! accounts; only the signatures differ.

use std::path::Path;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::inventory::AwsError;
use crate::lean::lean;
use crate::whole::{Document, whole_or_error};

/// More certificates than any real bundle has (public ones hold about 150), in bytes.
const CA_BUNDLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Idle connections kept for an endpoint; enough for all types of a region at once.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// The client that all sessions share. Proxies are taken from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
/// `NO_PROXY`; the certificates of the bundle are trusted in addition to the system's.
pub(crate) fn shared_client(ca_bundle: Option<&Path>) -> Result<SharedHttpClient, AwsError> {
    let trust = trust_store(ca_bundle)?;
    let tls = TlsContext::builder().with_trust_store(trust).build().map_err(|_| AwsError::Tls)?;
    let inner = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    });
    Ok(SharedHttpClient::new(WholeAnswers { inner }))
}

fn trust_store(ca_bundle: Option<&Path>) -> Result<TrustStore, AwsError> {
    // The connector asserts that the system has certificates; a machine without any (a bare container talking to
    // a local endpoint over plain HTTP) is to get an error from TLS when it needs them, not a panic.
    let system = !rustls_native_certs::load_native_certs().certs.is_empty();
    let trust = TrustStore::empty().with_native_roots(system);
    match ca_bundle {
        Some(path) => Ok(trust.with_pem_certificate(read_bundle(path)?)),
        None => Ok(trust),
    }
}

/// The bytes of a bundle whose certificates are all usable: the connector would panic on one that is not.
fn read_bundle(path: &Path) -> Result<Vec<u8>, AwsError> {
    let refused = |reason: String| AwsError::CaBundle { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if length > CA_BUNDLE_BYTES_MAX {
        return Err(refused(format!("it is larger than {CA_BUNDLE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| refused(format!("not a PEM file: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| refused(format!("certificate {}: {error}", roots.len() + 1)))?;
    }
    if roots.is_empty() {
        return Err(refused("no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    Ok(bytes)
}

/// Makes sure of the end of every answer ([`crate::whole`]), and shortens the long ones ([`crate::lean`]).
#[derive(Debug)]
struct WholeAnswers {
    inner: SharedHttpClient,
}

// `validate_base_client_config` is not passed on: it would build and drop a connector, with all certificates, for
// each of thousands of clients.
impl HttpClient for WholeAnswers {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(WholeAnswersConnector {
            inner: self.inner.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct WholeAnswersConnector {
    inner: SharedHttpConnector,
}

impl HttpConnector for WholeAnswersConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let bodiless = request.method() == "HEAD";
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let response = answer.await?;
            Ok(if bodiless { response } else { guarded(response) })
        })
    }
}

fn guarded(response: HttpResponse) -> HttpResponse {
    let no_content = matches!(response.status().as_u16(), 204 | 304);
    let refusal = !response.status().is_success();
    let document = response.headers().get("content-type").and_then(Document::of);
    match document {
        Some(document) if !no_content => response.map(|body: SdkBody| {
            let whole = whole_or_error(body, document, refusal);
            if document == Document::Xml { lean(whole) } else { whole }
        }),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn refusal(content: &[u8]) -> String {
        let directory = std::env::temp_dir().join(format!("tagwarden-ca-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{}.pem", content.len()));
        std::fs::File::create(&path).unwrap().write_all(content).unwrap();
        let error = shared_client(Some(&path)).unwrap_err().to_string();
        std::fs::remove_dir_all(&directory).unwrap();
        error
    }

    #[test]
    fn an_unusable_bundle_is_refused_by_name() {
        for (content, reason) in [
            (&b"hello"[..], "no `BEGIN CERTIFICATE`"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "not a PEM file"),
        ] {
            let message = refusal(content);
            assert!(message.contains(reason) && message.contains("AWS_CA_BUNDLE"), "{message}");
        }
    }

    #[test]
    fn a_missing_bundle_is_refused_by_name() {
        let error = shared_client(Some(Path::new("/nonexistent/ca.pem"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/ca.pem"), "{error}");
    }
}
