//! `tagwarden kubeconfig`: how `kubectl` finds the API of the embedded control plane.

use std::io::{self, Write};
use std::path::Path;

use k8s_openapi::ByteString;
use serde_json::json;

use super::Failure;
use crate::cli::Kubeconfig;
use crate::connection;

pub(super) fn run(flags: &Kubeconfig) -> Result<u8, Failure> {
    let url = connection::server_url(&flags.server)?;
    connection::token(&flags.token_file)?;
    if url.scheme_str() == Some("http") {
        super::warn(
            "kubectl sends no token over plain HTTP, so that it will be refused: serve the API with \
             --api-tls-self-signed DIR, and give the URL with https:// and --ca DIR/api.crt here",
        );
    }
    let mut cluster = json!({ "server": flags.server });
    if let Some(ca) = &flags.ca {
        cluster["certificate-authority-data"] = json!(ByteString(connection::certificates(ca)?));
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "tagwarden", "cluster": cluster }],
        "users": [{ "name": "tagwarden", "user": { "tokenFile": absolute(&flags.token_file)? } }],
        "contexts": [{
            "name": "tagwarden",
            "context": { "cluster": "tagwarden", "user": "tagwarden", "namespace": flags.namespace },
        }],
        "current-context": "tagwarden",
    });
    let text = serde_saphyr::to_string(&config).map_err(io::Error::other)?;
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(0)
}

/// A kubeconfig is used from anywhere.
fn absolute(path: &Path) -> io::Result<String> {
    Ok(std::path::absolute(path)?.display().to_string())
}
