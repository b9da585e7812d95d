//! The quick start of kubectl, typed as it stands: with the real kubectl, against the embedded control plane and against a
//! real API server, and an account of a simulated AWS.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tagwarden_testbed::{Account, Kubernetes, Proxy, Testbed, tools};
use tempfile::TempDir;

use super::document;

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(3);

/// The blocks to type of a section of the page.
fn section(title: &str) -> Vec<String> {
    let page = document("docs/quickstart/kubectl.md");
    let begins =
        |wanted: &str| page.prose().iter().find(|(_, line)| *line == wanted).map(|(number, _)| *number);
    let start = begins(&format!("## {title}")).unwrap_or_else(|| panic!("there is no section {title}"));
    let next = page.prose().into_iter().find(|(number, line)| *number > start && line.starts_with("## "));
    let end = next.map_or(usize::MAX, |(number, _)| number);
    let blocks = page.blocks().into_iter().filter(|block| block.language == "sh");
    blocks.filter(|block| (start..end).contains(&block.line)).map(|block| block.text).collect()
}

/// Somebody at a terminal: a directory, the programs, and AWS.
struct Reader {
    directory: TempDir,
    account: Account,
    proxy: Proxy,
    /// In place of the port that the page names.
    api: String,
    kubeconfig: Option<PathBuf>,
}

impl Reader {
    fn new(kubeconfig: Option<PathBuf>) -> Self {
        let proxy = Testbed::shared().proxy();
        let account = proxy.fresh_account();
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_tagwarden"), programs.join("tagwarden")).unwrap();
        symlink(tools::directory("kubernetes").join("kubectl"), programs.join("kubectl")).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { directory, account, proxy, api: free.to_string(), kubeconfig }
    }

    /// A shell that runs a block.
    fn shell(&self, block: &str) -> Command {
        let home = self.directory.path();
        let place = home.join("tagging");
        // The AWS CLI is not part of what is tried: it says who one is.
        let aws = format!("aws() {{ echo {}; }}\n", self.account.id);
        let block =
            block.replace("127.0.0.1:6443", &self.api).replace("\ntagwarden run", "\nexec tagwarden run");
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c"]).arg(aws + &block);
        command.current_dir(if place.is_dir() { place.as_path() } else { home });
        self.proxy.equip_as(&self.account, &mut command);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", home.join("bin").display())).env("HOME", home);
        for variable in ["TAGWARDEN_LISTEN", "TAGWARDEN_METRICS_LISTEN"] {
            command.env(variable, "127.0.0.1:0");
        }
        // So that a look does not read what somebody else has.
        command.env("KUBECONFIG", self.kubeconfig.clone().unwrap_or_else(|| home.join("absent")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a block to its end, and gives what it printed.
    #[track_caller]
    fn types(&self, block: &str) -> String {
        let output = self.shell(block).output().unwrap();
        let (told, printed) =
            (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{block}\n{printed}\n{told}");
        printed.into_owned()
    }

    /// Runs a block that goes on, until it logs this.
    #[track_caller]
    fn starts(&self, block: &str, ready: &str) -> Server {
        let mut child = self.shell(block).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let server = Server { child, lines };
        let (began, mut seen) = (Instant::now(), Vec::new());
        while let Ok(line) = server.lines.recv_timeout(WITHIN.saturating_sub(began.elapsed())) {
            if line.contains(ready) {
                return server;
            }
            seen.push(line);
        }
        panic!("waited in vain for {ready}:\n{}", seen.join("\n"));
    }
}

/// What a block has started. It ends with this value.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end also when nobody listens any more: a full pipe would stop the program.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The blocks of a section that starts something and then looks at it.
fn start_and_look(title: &str) -> (String, String) {
    let [start, look] = <[String; 2]>::try_from(section(title)).unwrap();
    (start, look)
}

fn leads_to_a_score(reader: &Reader, title: &str, ready: &str) {
    let [declare] = <[String; 1]>::try_from(section("Declare")).unwrap();
    reader.types(&declare);
    let (start, look) = start_and_look(title);
    let server = reader.starts(&start, ready);
    let seen = reader.types(&look);
    assert!(seen.contains("complianceaudit.tagwarden.io/nightly condition met"), "{seen}");
    let report = seen.lines().find(|line| line.starts_with("compliancereport.tagwarden.io/nightly-"));
    assert!(report.is_some_and(|line| line.contains("Succeeded")), "{seen}");

    let mut reader_of_results = String::new();
    for block in section("What you see") {
        // The second terminal has the kubeconfig from before.
        let own = look.lines().find(|line| line.starts_with("export ")).unwrap_or_default();
        reader_of_results += &reader.types(&format!("{own}\n{block}"));
    }
    assert!(reader_of_results.contains("Kind:         ComplianceReport"), "{reader_of_results}");
    assert!(
        reader_of_results.contains("complianceaudit.tagwarden.io/nightly annotated"),
        "{reader_of_results}"
    );
    drop(server);
}

#[test]
fn without_a_cluster_the_quick_start_leads_to_a_score() {
    leads_to_a_score(&Reader::new(None), "Without a cluster", "the API is served");
}

#[test]
fn in_a_cluster_the_quick_start_leads_to_a_score() {
    // Of its own: the page uses the namespace `default`, and installs definitions.
    let cluster = Kubernetes::start().unwrap();
    let reader = Reader::new(Some(cluster.kubeconfig()));
    leads_to_a_score(&reader, "In a cluster", "ready");
}
