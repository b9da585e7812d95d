//! `tagwarden run`: what it says at first, when it is ready, how it ends, and what a database that is away does to it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tagwarden_testbed::Testbed;

use crate::controller::Setup;
use crate::program::Program;

#[test]
fn a_first_start_says_what_is_missing_and_a_signal_ends_it() {
    let controller = Setup::new().start();
    for hint in [
        "no TaggingPolicy yet",
        "no ClientAccount yet",
        "no ComplianceAudit yet",
        "--manifests",
        "no AWS credentials",
    ] {
        controller.logs(&[hint]);
    }
    let body = controller.readiness(200);
    assert_eq!(body, "[+] control plane: ok\n[+] store: ok\n[+] controllers: ok\n[+] listener: ok\nready\n");
    assert_eq!(controller.probe("/healthz").2, "ok\n");
    assert_eq!(controller.probe("/nothing").0, 404);
    let stopped = controller.stop();
    assert_eq!(stopped.status, Some(0), "{:#?}", stopped.log);
    assert!(stopped.log.last().unwrap().contains("stopped"));
    // Not at a terminal: every line is an object.
    for line in &stopped.log {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let controller = Setup::new().start();
    controller.readiness(200);
    let (status, head, body) = controller.probe("/metrics");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    for name in [
        "tagwarden_build_info{version=",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "tagwarden_aws_throttles_total 0",
        "controller_runtime_max_concurrent_reconciles{controller=",
        "workqueue_depth{",
        "rest_client_requests_total{code=\"200\",method=\"GET\"}",
    ] {
        assert!(body.contains(name), "{name}: {body}");
    }
    controller.stop();
}

#[test]
fn what_cannot_start_says_why_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    for (arguments, expected) in [
        (vec!["--metrics-listen", &*taken], format!("--metrics-listen: nothing can be served at {taken}")),
        (
            vec!["--metrics-listen", free, "--store", "sqlite:none/a.db"],
            "there is no directory to put it in".to_owned(),
        ),
        (
            vec!["--metrics-listen", free, "--resource-types", "absent.yaml"],
            "`absent.yaml` cannot be read".to_owned(),
        ),
        (
            vec!["--metrics-listen", free, "--control-plane", "kubernetes"],
            "there is no way to a Kubernetes cluster".to_owned(),
        ),
    ] {
        let program = Program::alone().env("KUBECONFIG", "absent").without_env("KUBERNETES_SERVICE_HOST");
        let ended = program.args(["run", "--listen", free]).args(&arguments).run();
        assert_eq!(ended.status, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(&expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn two_processes_do_not_share_a_file() {
    let controller = Setup::new().start();
    controller.readiness(200);
    let store = format!("sqlite:{}", controller.directory().join("tagwarden.db").display());
    let free = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let ended = Program::alone().args(["run", "--store", &store]).args(free).run();
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the store is in use") && ended.stderr.contains("need PostgreSQL"),
        "{}",
        ended.stderr
    );
    // A lock goes with its process, also with one that is killed.
    drop(controller);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Tokens of three people, and the file that knows them: `viewer`, `editor` and `boss`.
fn tokens() -> String {
    let digest = |token: &str| -> String {
        use sha2::Digest;
        hex(&sha2::Sha256::digest(token))
    };
    [("viewer", "view"), ("editor", "edit"), ("boss", "admin")]
        .map(|(user, role)| format!("sha256:{}:{user}:{role}\n", digest(&format!("{user}-token"))))
        .concat()
}

/// A request over the API listener, with a body of this kind; gives the status and the answer.
pub fn request(address: SocketAddr, token: &str, head: &str, body: &[u8]) -> (u16, Value) {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses does not read to the end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn the_api_knows_people_by_their_tokens_and_lets_them_do_what_they_may() {
    const POLICIES: &str = "/apis/tagwarden.io/v1alpha1/namespaces/default/taggingpolicies";
    let policy = "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: corp}\n\
                  spec: {requiredTags: [{key: Owner}]}\n";
    let setup = Setup::new()
        .file("tokens", &tokens())
        .file("viewer", "viewer-token\n")
        .file("manifests/corp.yaml", policy);
    let controller = setup.args(["--api-listen", "127.0.0.1:0", "--api-tokens", "tokens"]).with_manifests();
    let address = controller.address("api");
    controller.logs(&["manifests applied"]);

    let other = policy.replace("corp", "other");
    let other = serde_saphyr::from_str::<Value>(&other).unwrap().to_string();
    let post = format!("POST {POLICIES}");
    let (status, answer) = request(address, "viewer-token", &post, other.as_bytes());
    assert_eq!((status, answer["reason"].as_str()), (403, Some("Forbidden")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("viewer"), "{answer}");
    assert_eq!(request(address, "viewer-token", &format!("GET {POLICIES}/corp"), b"").0, 200);
    assert_eq!(request(address, "nobody", &format!("GET {POLICIES}/corp"), b"").0, 401);
    assert_eq!(request(address, "editor-token", &post, other.as_bytes()).0, 201);
    assert_eq!(request(address, "boss-token", "GET /api/v1/secrets", b"").0, 404);

    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(4 << 20));
    let (status, answer) = request(address, "editor-token", &post, large.as_bytes());
    assert_eq!((status, answer["reason"].as_str()), (413, Some("RequestEntityTooLarge")), "{answer}");
    assert_eq!(controller.probe("/readyz").0, 200);

    let get = |kinds: &str, more: &[&str]| {
        let token = controller.directory().join("viewer");
        let program =
            Program::alone().args(["get", kinds, "--server", &format!("http://{address}"), "--token-file"]);
        program.args([&token]).args(more).run()
    };
    let listed = get("tagpol", &[]);
    assert_eq!(listed.status, Some(0), "{}", listed.stderr);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(lines[0].starts_with("NAME ") && lines[0].ends_with("AGE"), "{}", listed.stdout);
    assert!(lines[1].starts_with("corp ") && lines[2].starts_with("other "), "{}", listed.stdout);
    let all = get("tagwarden,ns", &["-A"]);
    assert!(all.stdout.contains("NAMESPACE   NAME "), "{}", all.stdout);
    assert!(all.stdout.contains("taggingpolicy.tagwarden.io/corp"), "{}", all.stdout);
    assert!(all.stdout.contains("namespace/default"), "{}", all.stdout);
    assert!(get("tagacct", &[]).stderr.contains("No resources found in default namespace."));
    let unknown = get("pods", &[]);
    assert_eq!(unknown.status, Some(2));
    assert!(unknown.stderr.contains("has no kind `pods`; it has: "), "{}", unknown.stderr);

    let stopped = controller.stop();
    assert_eq!(
        stopped.names("/apis/tagwarden.io/v1alpha1/taggingpolicies"),
        ["default/corp", "default/other"]
    );
    let tokens_told = stopped.log.iter().any(|line| line.contains("-token\""));
    assert!(!tokens_told, "{:#?}", stopped.log);
}

/// With all that its files want in it.
#[test]
fn a_namespace_that_somebody_deletes_is_made_again() {
    const NAMESPACE: &str = "/api/v1/namespaces/team-b";
    let policy = "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: corp, namespace: team-b}\n\
                  spec: {requiredTags: [{key: Owner}]}\n";
    let setup = Setup::new().file("tokens", &tokens()).file("manifests/corp.yaml", policy);
    let controller = setup.args(["--api-listen", "127.0.0.1:0", "--api-tokens", "tokens"]).with_manifests();
    let address = controller.address("api");
    let (_, line) = controller.logs_from(0, &["manifests applied"]);
    assert_eq!(request(address, "boss-token", &format!("DELETE {NAMESPACE}"), b"").0, 200);
    let deadline = Instant::now() + Duration::from_mins(1);
    while request(address, "viewer-token", &format!("GET {NAMESPACE}"), b"").0 != 404 {
        assert!(Instant::now() < deadline, "the namespace does not go");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    controller.write("more.yaml", &policy.replace("corp", "more"));
    let (told, _) = controller.logs_from(line, &["manifests applied"]);
    assert!(told.contains("\"created\":2") && told.contains("\"failed\":0"), "{told}");
    let names = controller.stop().names("/apis/tagwarden.io/v1alpha1/taggingpolicies");
    assert_eq!(names, ["team-b/corp", "team-b/more"]);
}

/// A wire to a server that can be cut.
struct Wire {
    address: SocketAddr,
    upstream: SocketAddr,
    up: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    /// To this server; cut at first.
    fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            upstream,
            up: Arc::default(),
            streams: Arc::default(),
        };
        let (up, streams, upstream) = (Arc::clone(&wire.up), Arc::clone(&wire.streams), wire.upstream);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if up.load(Ordering::SeqCst)
                    && let Ok(server) = TcpStream::connect(upstream)
                {
                    connect(&client, &server).unwrap();
                    streams.lock().unwrap().extend([client, server]);
                }
            }
        });
        wire
    }

    fn mend(&self) {
        self.up.store(true, Ordering::SeqCst);
    }

    fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn connect(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

#[test]
fn a_database_that_is_away_is_waited_for_and_nothing_is_lost() {
    let database = Testbed::postgres().fresh_database().unwrap();
    let url: url::Url = database.parse().unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let wire = Wire::to(upstream);
    let mut through = url;
    through.set_port(Some(wire.address.port())).unwrap();
    let policy = "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: corp}\n\
                  spec: {requiredTags: [{key: Owner}]}\n";
    let setup = Setup::new().file("manifests/corp.yaml", policy).args(["--store", through.as_str()]);
    let controller = setup.with_manifests();

    let body = controller.readiness(503);
    assert!(body.contains("[-] control plane: ") && body.ends_with("not ready\n"), "{body}");
    assert_eq!(controller.probe("/healthz").0, 200);

    wire.mend();
    controller.readiness(200);
    let (_, line) = controller.logs_from(0, &["manifests applied", "\"created\":1"]);

    wire.cut();
    let body = controller.readiness(503);
    assert!(body.contains("[-] control plane: "), "{body}");
    controller.write("more.yaml", &policy.replace("corp", "more"));

    wire.mend();
    controller.readiness(200);
    controller.logs_from(line, &["created", "TaggingPolicy default/more"]);
    let stopped = controller.stop();
    assert_eq!(stopped.status, Some(0), "{:#?}", stopped.log);
    assert!(stopped.log.iter().all(|line| !line.contains("password")), "{:#?}", stopped.log);
}

#[test]
fn the_role_for_an_account_is_printed_for_its_owner() {
    let principal = ["--principal", "arn:aws:iam::111122223333:role/tagwarden"];
    let role =
        |arguments: &[&str]| Program::alone().args(["client-role"]).args(principal).args(arguments).run();
    let ended = role(&["--external-id", "an-id-of-ours"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let template: Value = serde_saphyr::from_str(&ended.stdout.replace("!GetAtt ", "")).unwrap();
    let properties = &template["Resources"]["ReaderRole"]["Properties"];
    let assume = &properties["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(assume["Principal"]["AWS"], principal[1]);
    assert_eq!(assume["Condition"]["StringEquals"]["sts:ExternalId"], "an-id-of-ours");
    assert_eq!(properties["RoleName"], "tagwarden-reader");
    assert!(!role(&["--no-external-id"]).stdout.contains("sts:ExternalId"));
    for (arguments, expected) in [
        (&[][..], "give --external-id"),
        (&["--external-id", "x"], "--external-id: expected 2 to 1224"),
        (&["--external-id", "an-id", "--name", "a b"], "--name: `a b` is no name of a role"),
    ] {
        let ended = role(arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_token_is_made_once_and_only_its_digest_is_printed() {
    use sha2::Digest;
    use std::os::unix::fs::PermissionsExt;
    let program = Program::alone();
    let file = program.directory().join("ada.token");
    let mut program = program.args(["token", "ada", "--role", "edit", "--out", "ada.token"]);
    let ended = program.run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.len() >= 64 && !ended.stdout.contains(&token));
    let digest = hex(&sha2::Sha256::digest(&token));
    assert_eq!(ended.stdout, format!("sha256:{digest}:ada:edit\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = program.run();
    assert_eq!(again.status, Some(2));
    assert!(again.stderr.contains("`ada.token` cannot be created"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
}
