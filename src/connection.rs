//! The way to a Kubernetes API from the command line: a URL and a token, or a kubeconfig.

use std::error::Error as _;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use kube::config::{AuthInfo, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::cli::Connection;

/// A server that does not answer is told before people give up.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The longest token, and the most certificates in one file.
const TOKEN_BYTES_MAX: u64 = 16 << 10;
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A file that cannot be read.
    #[error("{flag}: `{path}` cannot be read")]
    Read {
        flag: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{flag}: `{path}` {problem}")]
    Content { flag: &'static str, path: String, problem: &'static str },
    /// A URL that is none.
    #[error("--server: `{0}` cannot be used: expected a URL like https://tagwarden.example.com:6443")]
    Server(String),
    /// No kubeconfig, or a bad one.
    #[error("there is no way to a control plane: give --server and --token-file, or a kubeconfig; {0}")]
    Kubeconfig(String),
    /// The client cannot be made.
    #[error("the client cannot be set up")]
    Client(#[source] Box<kube::Error>),
    /// The API refuses, or does not answer.
    #[error("{0}")]
    Refused(String),
    /// A kind that the API does not have.
    #[error("the control plane has no kind `{kind}`;{meant} it has: {}", .known.join(", "))]
    UnknownKind { kind: String, meant: String, known: Vec<String> },
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(&'static str),
}

impl From<kube::Error> for ConnectionError {
    fn from(error: kube::Error) -> Self {
        Self::Refused(match &error {
            kube::Error::Api(status) if status.code == 401 => {
                "the control plane does not know the token (401)".to_owned()
            }
            kube::Error::Api(status) if !status.message.is_empty() => {
                format!("the control plane refuses: {}", status.message)
            }
            kube::Error::Api(status) => {
                format!("the control plane refuses ({} {})", status.code, status.reason)
            }
            other => {
                let cause = root_cause(other);
                match distrust(&cause) {
                    Some(why) => format!("the control plane is not trusted: {why}"),
                    None => format!("the control plane does not answer: {cause}"),
                }
            }
        })
    }
}

const EXPIRED: &str = "its certificate has expired";

/// What is wrong with a certificate, and what to do about it, in place of the words of the TLS library.
fn distrust(cause: &str) -> Option<String> {
    let fault = cause.strip_prefix("invalid peer certificate: ")?;
    let word = fault.split(|symbol: char| !symbol.is_alphanumeric()).next().unwrap_or_default();
    Some(match word {
        "UnknownIssuer" => {
            "nobody whom this machine trusts has signed its certificate; name the one to trust with \
                            --ca, or as certificate-authority in the kubeconfig (a controller that runs with \
                            --api-tls-self-signed DIR has it in DIR/api.crt)"
                .to_owned()
        }
        "Expired" => EXPIRED.to_owned(),
        "certificate" if fault.starts_with("certificate expired") => EXPIRED.to_owned(),
        "certificate" if fault.contains("not valid for name") => {
            format!("its certificate is for another name than that of the URL ({fault})")
        }
        _ => fault.to_owned(),
    })
}

/// Why no way to a cluster or a control plane was found, place by place.
pub fn nowhere(error: &InferConfigError) -> String {
    let kubeconfig = error.source().and_then(|source| source.downcast_ref()).map(of_kubeconfig);
    let kubeconfig = kubeconfig.unwrap_or_else(|| root_cause(error));
    let pod = if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        "this process runs in no pod".to_owned()
    } else {
        // The error keeps its other half to itself.
        let told = error.to_string();
        let half = told.split_once("in-cluster: (").and_then(|(_, rest)| rest.split_once("), kubeconfig: ("));
        format!(
            "the service account of the pod cannot be used ({})",
            half.map_or(told.as_str(), |(half, _)| half)
        )
    };
    format!("{pod}, and {kubeconfig}")
}

fn of_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, path) if source.kind() == std::io::ErrorKind::NotFound => {
            format!("there is no file `{}`", path.display())
        }
        KubeconfigError::ReadConfig(source, path) => format!("`{}` cannot be read: {source}", path.display()),
        other => format!("the kubeconfig cannot be used: {}", root_cause(other)),
    }
}

/// What lies at the bottom of an error: the layers of a client repeat each other.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A client, and the namespace that it works in when nobody says.
pub async fn connect(flags: &Connection) -> Result<(Client, String), ConnectionError> {
    let mut config = match (&flags.server, &flags.kubeconfig) {
        (Some(server), _) => direct(server, flags)?,
        (None, Some(path)) => {
            let file = Kubeconfig::read_from(path)
                .map_err(|error| ConnectionError::Kubeconfig(of_kubeconfig(&error)))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| ConnectionError::Kubeconfig(of_kubeconfig(&error)))?
        }
        (None, None) => {
            Config::infer().await.map_err(|error| ConnectionError::Kubeconfig(nowhere(&error)))?
        }
    };
    config.connect_timeout = Some(CONNECT_WITHIN);
    if let Some(path) = config.auth_info.token_file.take() {
        config.auth_info.token = with_token(Path::new(&path))?.token;
    }
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| ConnectionError::Client(Box::new(error)))?;
    Ok((client, namespace))
}

fn direct(server: &str, flags: &Connection) -> Result<Config, ConnectionError> {
    let mut config = Config::new(server_url(server)?);
    if let Some(path) = &flags.token_file {
        config.auth_info = with_token(path)?;
    }
    if let Some(path) = &flags.ca {
        certificates(path)?;
        config.root_cert_file = Some(path.clone());
    }
    Ok(config)
}

/// With the token of a file, not its path: the client would send the line break at the end of the file along.
fn with_token(path: &Path) -> Result<AuthInfo, ConnectionError> {
    serde_json::from_value(serde_json::json!({ "token": token(path)? }))
        .map_err(|_| ConnectionError::Refused("the token cannot be used".to_owned()))
}

/// The URL of an API.
pub fn server_url(text: &str) -> Result<axum::http::Uri, ConnectionError> {
    let url: Option<axum::http::Uri> = text.parse().ok();
    url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        .ok_or_else(|| ConnectionError::Server(text.to_owned()))
}

/// The token of a file that holds nothing else.
pub fn token(path: &Path) -> Result<String, ConnectionError> {
    let bytes = read("--token-file", path, TOKEN_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let problem = match text.trim() {
        "" => "is empty",
        token if token.contains(char::is_whitespace) => "holds more than a token",
        token if token.starts_with("sha256:") => {
            "holds the digest of a token; the server needs that, a client the token"
        }
        token => return Ok(token.to_owned()),
    };
    Err(ConnectionError::Content { flag: "--token-file", path: path.display().to_string(), problem })
}

/// The certificates of a PEM file.
pub fn certificates(path: &Path) -> Result<Vec<u8>, ConnectionError> {
    let bytes = read("--ca", path, CERTIFICATES_BYTES_MAX)?;
    if String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----") {
        return Ok(bytes);
    }
    let path = path.display().to_string();
    Err(ConnectionError::Content { flag: "--ca", path, problem: "holds no certificate in PEM" })
}

fn read(flag: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, ConnectionError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|source| ConnectionError::Read { flag, path: path.display().to_string(), source })?;
    if bytes.len() as u64 > limit {
        let path = path.display().to_string();
        return Err(ConnectionError::Content { flag, path, problem: "is too large" });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_says_what_to_do() {
        for (cause, told) in [
            ("invalid peer certificate: UnknownIssuer", "--ca"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; it is for \"b\"",
                "another name",
            ),
            ("invalid peer certificate: certificate expired: verification time 1", "has expired"),
            ("invalid peer certificate: BadSignature", "BadSignature"),
        ] {
            let found = distrust(cause).unwrap();
            assert!(found.contains(told), "{cause}: {found}");
        }
        assert_eq!(distrust("Connection refused"), None);
    }

    #[test]
    fn a_kubeconfig_that_is_not_there_is_named() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let told = of_kubeconfig(&KubeconfigError::ReadConfig(missing, "/etc/kubeconfig".into()));
        assert_eq!(told, "there is no file `/etc/kubeconfig`");
    }
}
