//! Runs `tagwarden run` as a user would, and looks at it from outside: its log, its probes, its store.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_testbed::{Account, Proxy};
use tempfile::TempDir;

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);

/// Between two looks at something that does not call.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A controller that was not started yet.
pub struct Setup {
    command: Command,
    directory: TempDir,
}

/// A running controller. It is killed with this value.
pub struct Controller {
    child: Child,
    directory: TempDir,
    log: Arc<Log>,
}

/// What it came to.
pub struct Stopped {
    pub status: Option<i32>,
    /// One event a line.
    pub log: Vec<String>,
    directory: TempDir,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

impl Setup {
    /// `tagwarden run` on a store of its own, with an empty directory `manifests`, away from AWS.
    pub fn new() -> Self {
        Self::with_plane("embedded")
    }

    /// The same in a cluster, as whom the kubeconfig says.
    pub fn on_kubernetes(kubeconfig: &Path) -> Self {
        let mut setup = Self::with_plane("kubernetes");
        setup.command.env("KUBECONFIG", kubeconfig);
        setup
    }

    fn with_plane(plane: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("manifests")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["TAGWARDEN_", "AWS_", "KUBE"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("TAGWARDEN_LISTEN", "127.0.0.1:0")
            .args(["run", "--metrics-listen", "127.0.0.1:0", "--control-plane", plane]);
        Self { command, directory }
    }

    /// Where it is going to run.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets it talk to AWS through this proxy.
    pub fn behind(mut self, proxy: &Proxy) -> Self {
        proxy.equip(&mut self.command);
        self
    }

    /// The same, with this account as its own.
    pub fn behind_as(mut self, proxy: &Proxy, account: &Account) -> Self {
        proxy.equip_as(account, &mut self.command);
        self
    }

    pub fn args<Arg: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = Arg>) -> Self {
        self.command.args(args);
        self
    }

    /// Writes a file below its directory.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    /// Starts it with the directory `manifests`.
    pub fn with_manifests(self) -> Controller {
        self.args(["--manifests", "manifests"]).start()
    }

    pub fn start(mut self) -> Controller {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Log::default());
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                sink.lines.lock().unwrap().0.push(line);
                sink.news.notify_all();
            }
            sink.lines.lock().unwrap().1 = true;
            sink.news.notify_all();
        });
        Controller { child, directory: self.directory, log }
    }
}

impl Controller {
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of the manifest directory.
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.directory.path().join("manifests").join(name)
    }

    /// Writes a file of the manifest directory as a careful writer does: beside it, then renamed.
    pub fn write(&self, name: &str, text: &str) {
        let beside = self.manifest(&format!(".{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.manifest(name)).unwrap();
    }

    /// The first line of the log, from this one on, that contains all of these texts; and the number of the next.
    #[track_caller]
    pub fn logs_from(&self, from: usize, texts: &[&str]) -> (String, usize) {
        let deadline = Instant::now() + WITHIN;
        let mut seen = self.log.lines.lock().unwrap();
        loop {
            let lines = seen.0.iter().enumerate().skip(from);
            let found = lines.clone().find(|(_, line)| texts.iter().all(|text| line.contains(text)));
            if let Some((index, line)) = found {
                return (line.clone(), index + 1);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = seen.1;
            assert!(!ended && !left.is_zero(), "nobody logged {texts:?}:\n{}", seen.0.join("\n"));
            seen = self.log.news.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// The first line of the log that contains all of these texts.
    #[track_caller]
    pub fn logs(&self, texts: &[&str]) -> String {
        self.logs_from(0, texts).0
    }

    /// How many lines there are by now.
    pub fn logged(&self) -> usize {
        self.log.lines.lock().unwrap().0.len()
    }

    /// An address from the line that tells of it.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        let line = self.logs(&[&format!("\"{name}\":\"127.0.0.1:")]);
        let line: Value = serde_json::from_str(&line).unwrap();
        line[name].as_str().unwrap().parse().unwrap()
    }

    /// GET of a probe: status, headers and body.
    #[track_caller]
    pub fn probe(&self, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address("metrics")).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// Waits until `/readyz` answers so; gives what it said.
    #[track_caller]
    pub fn readiness(&self, status: u16) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            let (found, _, body) = self.probe("/readyz");
            if found == status {
                return body;
            }
            assert!(Instant::now() < deadline, "/readyz answers {found}: {body}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// What SIGTERM does.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the controller was gone already");
    }

    /// Ends it in order.
    pub fn stop(self) -> Stopped {
        self.terminate();
        self.end()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Stopped {
        let deadline = Instant::now() + WITHIN;
        let mut seen = self.log.lines.lock().unwrap();
        while !seen.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the controller does not end:\n{}", seen.0.join("\n"));
            seen = self.log.news.wait_timeout(seen, left).unwrap().0;
        }
        let log = seen.0.clone();
        drop(seen);
        let status = self.child.wait().unwrap().code();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Stopped { status, log, directory }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stopped {
    /// The same directory again, for another start.
    pub fn again(self) -> Setup {
        let mut setup = Setup::new();
        setup.command.current_dir(self.directory.path()).env("HOME", self.directory.path());
        setup.directory = self.directory;
        setup
    }

    /// All objects of a kind that its store holds, as `/NAMESPACE/NAME` or, of the cluster, `/NAME`.
    pub fn objects(&self, path: &str) -> Vec<Value> {
        let file = self.directory.path().join("tagwarden.db");
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let plane =
                ControlPlane::open(Location::sqlite(file), tagwarden_api::crds(), Options::new("default"));
            let plane = plane.await.unwrap();
            let request = axum::http::Request::get(path).body(Vec::new()).unwrap();
            let list: Value = plane.client("default").request(request).await.unwrap();
            plane.shutdown().await;
            list["items"].as_array().unwrap().clone()
        })
    }

    /// Changes an object in its store, as `kubectl edit` would have.
    pub fn edit(&self, path: &str, patch: &Value) {
        let file = self.directory.path().join("tagwarden.db");
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let plane =
                ControlPlane::open(Location::sqlite(file), tagwarden_api::crds(), Options::new("default"));
            let plane = plane.await.unwrap();
            let request = axum::http::Request::patch(path)
                .header("content-type", "application/merge-patch+json")
                .body(patch.to_string().into_bytes())
                .unwrap();
            plane.client("default").request::<Value>(request).await.unwrap();
            plane.shutdown().await;
        });
    }

    /// The names of those objects, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let name = |object: &Value| {
            let metadata = &object["metadata"];
            let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/"));
            namespace.unwrap_or_default() + metadata["name"].as_str().unwrap()
        };
        let mut names: Vec<String> = self.objects(path).iter().map(name).collect();
        names.sort();
        names
    }
}
