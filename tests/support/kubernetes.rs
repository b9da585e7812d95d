//! A real Kubernetes API server of this process's own: etcd and kube-apiserver on loopback, empty, gone when dropped.
//!
//! There is no controller-manager: a deleted namespace stays `Terminating`, nothing collects what lost its owner, and
//! the aggregated roles `view`, `edit` and `admin` are empty.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Guarded, tail, wait_for};
use crate::go_tools::{self, GoToolError};
use crate::kubernetes_audit::{self, Requests};

const START_WITHIN: Duration = Duration::from_mins(1);
/// Another process may take the free port first; then the next one is tried.
const PORTS_TO_TRY: u32 = 5;
/// How many users can be handed out: the token file is read only once, at the start.
const USERS: u32 = 200;
/// The token of the administrator.
const ADMIN: &str = "admin-of-the-testbed";

/// Why the API server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// Its programs.
    #[error("the real Kubernetes API server cannot be built")]
    Tool(#[from] GoToolError),
    /// Files, processes, ports.
    #[error("{what} could not be used")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key that signs service account tokens.
    #[error("a key could not be made")]
    Key(#[source] rcgen::Error),
    /// It did not come up.
    #[error("{program} did not answer within {START_WITHIN:?}; the end of its log:\n{log}")]
    NotUp {
        /// Which of the two.
        program: &'static str,
        /// Its last words.
        log: String,
    },
    /// A request to etcd, or a call of kubectl.
    #[error("{what} failed: {output}")]
    Failed {
        /// Which.
        what: String,
        /// What it said.
        output: String,
    },
}

/// A running API server with its etcd. Both end with this value, and with this process.
#[derive(Debug)]
pub struct Kubernetes {
    port: u16,
    etcd_port: u16,
    programs: PathBuf,
    names: AtomicU32,
    // Dropped in this order: the API server, its etcd, then their directory.
    api_server: Mutex<Option<Guarded>>,
    _etcd: Guarded,
    directory: TempDir,
}

/// Somebody whom the API server knows by a bearer token, without any right until a role is bound.
#[derive(Debug, Clone)]
pub struct User {
    /// As in a `RoleBinding`.
    pub name: String,
    /// The bearer token.
    pub token: String,
}

impl Kubernetes {
    /// Starts an empty API server; builds it first where that has not been done.
    pub fn start() -> Result<Self, KubernetesError> {
        let etcd_program = go_tools::directory("etcd")?.join("server");
        let programs = go_tools::directory("kubernetes")?;
        let directory =
            tempfile::Builder::new().prefix("tagwarden-kubernetes-").tempdir().map_err(at("a directory"))?;
        prepare(directory.path())?;
        let (etcd, etcd_port) = first_port("etcd", |port| start_etcd(&etcd_program, directory.path(), port))?;
        let (api_server, port) = first_port("kube-apiserver", |port| {
            start_api_server(&programs, directory.path(), port, etcd_port)
        })?;
        Ok(Self {
            port,
            etcd_port,
            programs,
            names: AtomicU32::new(0),
            api_server: Mutex::new(Some(api_server)),
            _etcd: etcd,
            directory,
        })
    }

    /// Its base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with the certificates that its own is to be verified with, in PEM.
    pub fn certificates(&self) -> PathBuf {
        certificates(self.directory.path())
    }

    /// The bearer token of an administrator.
    pub fn token(&self) -> &'static str {
        ADMIN
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The kubeconfig of a user.
    pub fn kubeconfig_of(&self, user: &User) -> Result<PathBuf, KubernetesError> {
        // A colon in `KUBECONFIG` stands between two files.
        let path = self.directory.path().join(format!("kubeconfig-{}", user.name.replace(':', "-")));
        write(&path, &kubeconfig(self.directory.path(), self.port, &user.token))?;
        Ok(path)
    }

    /// What a user asked for so far.
    pub fn requests_of(&self, user: &User) -> Requests {
        kubernetes_audit::of(self.directory.path(), &user.name)
    }

    /// A user that nobody else has been given.
    ///
    /// # Panics
    /// When there are no more of them.
    pub fn fresh_user(&self) -> User {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        assert!(number < USERS, "all {USERS} users of the API server have been handed out");
        user(number)
    }

    /// Makes a namespace that nothing else uses, and gives its name.
    pub fn fresh_namespace(&self) -> Result<String, KubernetesError> {
        let name = format!("fresh-{}", self.names.fetch_add(1, Ordering::Relaxed));
        ran("kubectl", self.kubectl().args(["create", "namespace", &name]))?;
        Ok(name)
    }

    /// kubectl of the server's own version, as the administrator.
    pub fn kubectl(&self) -> Command {
        kubectl(&self.programs, self.directory.path(), &self.kubeconfig())
    }

    /// Kills the API server and starts it again, on the same port, with what etcd holds.
    pub fn restart(&self) -> Result<(), KubernetesError> {
        self.stop();
        self.resume()
    }

    /// Kills the API server, until it is [resumed](Self::resume).
    pub fn stop(&self) {
        drop(self.api_server.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Starts the API server that was stopped.
    pub fn resume(&self) -> Result<(), KubernetesError> {
        let mut api_server = self.api_server.lock().unwrap_or_else(PoisonError::into_inner);
        if api_server.is_none() {
            let started = start_api_server(&self.programs, self.directory.path(), self.port, self.etcd_port)?;
            *api_server = Some(started);
        }
        Ok(())
    }

    /// Has etcd forget all versions but the newest: a list that is continued from before gets 410, and after a
    /// [restart](Self::restart) a watch does, too.
    pub fn compact(&self) -> Result<(), KubernetesError> {
        // Any key will do; the answer's header tells the revision of the store.
        let range = etcd(self.etcd_port, "/v3/kv/range", &json!({"key": "AA==", "count_only": true}))?;
        let revision = &range["header"]["revision"];
        let compaction = json!({"revision": revision, "physical": true});
        etcd(self.etcd_port, "/v3/kv/compaction", &compaction).map(drop)
    }
}

/// kubectl as this testbed builds it, led by a kubeconfig and by nothing of the person who runs it. It keeps what it
/// caches in `directory`.
pub fn kubectl_with(kubeconfig: &Path, directory: &Path) -> Result<Command, KubernetesError> {
    Ok(kubectl(&go_tools::directory("kubernetes")?, directory, kubeconfig))
}

fn kubectl(programs: &Path, directory: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(programs.join("kubectl"));
    command
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", directory.join("kubectl-cache"))
        .env("KUBERC", "off")
        .env("HOME", directory)
        .stdin(Stdio::null());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name);
    }
    command
}

/// Files that both servers find at their start.
fn prepare(directory: &Path) -> Result<(), KubernetesError> {
    for name in ["etcd", "certificates"] {
        std::fs::create_dir(directory.join(name)).map_err(at(name))?;
    }
    let key = rcgen::KeyPair::generate().map_err(KubernetesError::Key)?;
    write(&directory.join("service-accounts.key"), &key.serialize_pem())?;
    write(&directory.join("service-accounts.pub"), &key.public_key_pem())?;
    let mut tokens = format!("{ADMIN},admin,admin,\"system:masters\"\n");
    for user in (0..USERS).map(user) {
        let line = format!("{0},{1},{1}\n", user.token, user.name);
        tokens.push_str(&line);
    }
    write(&directory.join("audit-policy.json"), kubernetes_audit::POLICY)?;
    write(&directory.join("tokens.csv"), &tokens)
}

fn user(number: u32) -> User {
    User { name: format!("user-{number}"), token: format!("token-of-user-{number}") }
}

fn start_etcd(program: &Path, directory: &Path, port: u16) -> Result<Guarded, KubernetesError> {
    let (own, url) = (directory.join("etcd"), format!("http://127.0.0.1:{port}"));
    let peers = format!("http://127.0.0.1:{}", free_port()?);
    let mut command = Command::new(program);
    command
        .arg("--data-dir")
        .arg(own.join("data"))
        .args(["--name=testbed", "--unsafe-no-fsync", "--log-level=error"])
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("testbed={peers}")]);
    up("etcd", &command, &own, || etcd(port, "/v3/maintenance/status", &json!({})).is_ok())
}

fn start_api_server(
    programs: &Path,
    directory: &Path,
    port: u16,
    etcd_port: u16,
) -> Result<Guarded, KubernetesError> {
    let own = directory.join("api-server");
    std::fs::create_dir_all(&own).map_err(at("a directory"))?;
    let in_directory = |name: &str| directory.join(name).display().to_string();
    let mut command = Command::new(programs.join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        // Versions go when a test says so, and only then.
        .arg("--etcd-compaction-interval=0")
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", in_directory("certificates")))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", in_directory("service-accounts.pub")))
        .arg(format!("--service-account-signing-key-file={}", in_directory("service-accounts.key")))
        .arg("--authorization-mode=RBAC")
        .arg(format!("--token-auth-file={}", in_directory("tokens.csv")))
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--disable-admission-plugins=ServiceAccount")
        .arg(format!("--audit-policy-file={}", in_directory("audit-policy.json")))
        .arg(format!("--audit-log-path={}", kubernetes_audit::log(directory).display()))
        .arg("--endpoint-reconciler-type=none");
    let config = directory.join("kubeconfig");
    up("kube-apiserver", &command, &own, || {
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return false;
        }
        let written = write(&config, &kubeconfig(directory, port, ADMIN));
        let mut ready = kubectl(programs, directory, &config);
        written.is_ok() && ran("kubectl", ready.args(["get", "--raw", "/readyz"])).is_ok()
    })
}

/// Starts a server whose log goes to its own directory, and waits until it answers.
fn up(
    program: &'static str,
    command: &Command,
    own: &Path,
    mut answers: impl FnMut() -> bool,
) -> Result<Guarded, KubernetesError> {
    // Nothing of theirs is worth a slow end.
    let mut server = Guarded::spawn(command, "KILL", own).map_err(at(program))?;
    let up = wait_for(START_WITHIN, || if server.ended() { Some(false) } else { answers().then_some(true) });
    if up == Some(true) { Ok(server) } else { Err(KubernetesError::NotUp { program, log: tail(own) }) }
}

fn first_port(
    program: &'static str,
    mut start: impl FnMut(u16) -> Result<Guarded, KubernetesError>,
) -> Result<(Guarded, u16), KubernetesError> {
    let mut last = KubernetesError::NotUp { program, log: String::new() };
    for _ in 0..PORTS_TO_TRY {
        let port = free_port()?;
        match start(port) {
            Ok(server) => return Ok((server, port)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn free_port() -> Result<u16, KubernetesError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(at("a loopback port"))?;
    Ok(listener.local_addr().map_err(at("a loopback port"))?.port())
}

/// The API server makes its own certificate at the first start, and adds the one that signed it.
fn certificates(directory: &Path) -> PathBuf {
    directory.join("certificates").join("apiserver.crt")
}

/// JSON, which is YAML.
fn kubeconfig(directory: &Path, port: u16, token: &str) -> String {
    let cluster = json!({
        "server": format!("https://127.0.0.1:{port}"),
        "certificate-authority": certificates(directory),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": "testbed", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "current-context": "testbed",
    })
    .to_string()
}

/// Posts to etcd's JSON gateway. HTTP/1.0, so that the answer ends with the connection and comes in one piece.
fn etcd(port: u16, path: &str, request: &Value) -> Result<Value, KubernetesError> {
    let body = request.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(at("etcd"))?;
    stream.set_read_timeout(Some(START_WITHIN)).map_err(at("etcd"))?;
    let head = format!(
        "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).map_err(at("etcd"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(at("etcd"))?;
    let failed = || KubernetesError::Failed { what: format!("etcd's {path}"), output: answer.clone() };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(failed)?;
    if head.split_whitespace().nth(1) != Some("200") {
        return Err(failed());
    }
    serde_json::from_str(body).map_err(|_| failed())
}

fn ran(what: &str, command: &mut Command) -> Result<Output, KubernetesError> {
    let output = command.output().map_err(at(what))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(2000).collect();
    Err(KubernetesError::Failed { what: what.to_owned(), output: said })
}

fn write(path: &Path, text: &str) -> Result<(), KubernetesError> {
    std::fs::write(path, text).map_err(at(&path.display().to_string()))
}

fn at(what: &str) -> impl FnOnce(io::Error) -> KubernetesError + use<> {
    let what = what.to_owned();
    move |source| KubernetesError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// One server for all that is asked of it: its start is what costs.
    #[test]
    fn a_real_api_server_that_can_be_restarted_and_compacted() {
        let server = Kubernetes::start().unwrap();
        let version = ran("version", server.kubectl().args(["get", "--raw", "/version"])).unwrap();
        assert!(text(&version).contains("v1.36.3"), "{}", text(&version));

        let namespace = server.fresh_namespace().unwrap();
        let user = server.fresh_user();
        let config = server.kubeconfig_of(&user).unwrap();
        let may = |verb| {
            let mut command = kubectl_with(&config, server.directory.path()).unwrap();
            text(&command.args(["auth", "can-i", verb, "configmaps", "-n", &namespace]).output().unwrap())
        };
        assert_eq!(may("list"), "no");
        let role = ["create", "role", "lists", "--verb=list", "--resource=configmaps", "-n", &namespace];
        ran("role", server.kubectl().args(role)).unwrap();
        let bind = ["create", "rolebinding", "lists", "--role=lists", "--user", &user.name, "-n", &namespace];
        ran("bind", server.kubectl().args(bind)).unwrap();

        server.compact().unwrap();
        server.restart().unwrap();
        assert_eq!(may("list"), "yes");
        assert_eq!(may("delete"), "no");
    }
}
