//! The image without a container engine: what its files say to those who build and run it, and the program alone in an empty
//! root, as the user of the image, where nothing but its data directory can be written.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tagwarden_testbed::tools;
use tempfile::TempDir;

use crate::program::Program;

/// Far longer than anything here takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);

/// The user of the image.
const USER: &str = "65532";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file as Docker's builder or Compose understands it.
#[track_caller]
pub fn understood(form: &str, name: &str) -> Value {
    let output = tools::program("containers").arg(form).arg(root().join(name)).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The last instruction of this name in a stage.
#[track_caller]
pub fn instruction<'a>(stage: &'a Value, name: &str) -> &'a Value {
    let commands = stage["commands"].as_array().unwrap();
    let found =
        commands.iter().rev().find(|command| command["name"].as_str().unwrap().eq_ignore_ascii_case(name));
    &found.unwrap_or_else(|| panic!("there is no {name}"))["is"]
}

#[test]
fn the_image_is_the_program_and_nothing_to_break_in_with() {
    let stages = understood("dockerfile", "Dockerfile");
    let stages = stages.as_array().unwrap();
    let (build, last) = (&stages[0], stages.last().unwrap());
    let toolchain = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let toolchain: &str = toolchain.split('"').nth(1).unwrap();
    assert_eq!(instruction(build, "ENV")["Env"][0]["Value"], toolchain, "another compiler than the tests'");
    let minor = toolchain.rsplit_once('.').unwrap().0;
    assert!(build["base"].as_str().unwrap().contains(&format!("/rust:{minor}-")), "{}", build["base"]);
    assert!(last["base"].as_str().unwrap().ends_with(":nonroot"), "{}", last["base"]);
    assert_eq!(instruction(last, "USER")["User"], format!("{USER}:{USER}"));
    let program = "/usr/local/bin/tagwarden";
    assert_eq!(words(&instruction(last, "ENTRYPOINT")["CmdLine"]), [program]);
    let check = words(&instruction(last, "HEALTHCHECK")["Health"]["Test"]);
    assert_eq!(check, ["CMD", program, "healthcheck"]);

    // What the image sets is what the program reads.
    let command = words(&instruction(last, "CMD")["CmdLine"]);
    assert_eq!(command, ["run"]);
    let mut program = Program::alone().args(["config", "--format", "json"]);
    for variable in instruction(last, "ENV")["Env"].as_array().unwrap() {
        program = program.env(variable["Key"].as_str().unwrap(), variable["Value"].as_str().unwrap());
    }
    let ended = program.run();
    let settings: Value = serde_json::from_str(&ended.stdout).unwrap();
    let ports = ["listen", "metricsListen"].map(|key| {
        let setting = &settings[key];
        assert!(setting["from"].as_str().unwrap().starts_with("variable TAGWARDEN_"), "{key}: {setting}");
        setting["value"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    });
    assert_eq!(words(&instruction(last, "EXPOSE")["Ports"]), ports);
}

#[test]
fn the_context_of_the_build_has_all_that_the_build_needs() {
    let text = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(lines.next(), Some("*"), "what is not named stays out");
    let context = tempfile::tempdir().unwrap();
    for line in lines {
        let path = line.strip_prefix('!').unwrap();
        let there = context.path().join(path);
        std::fs::create_dir_all(there.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(root().join(path), there).unwrap();
    }
    // Cargo looks for the sources of every target of every member.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(context.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        for target in package["targets"].as_array().unwrap() {
            let source = target["src_path"].as_str().unwrap();
            assert!(Path::new(source).exists(), "{source} is not in the context");
        }
    }
    // What is compiled into the program from outside of `src`.
    assert!(context.path().join("config/resource-types.yaml").exists());
}

#[test]
fn compose_runs_the_program_with_what_it_knows() {
    let project = understood("compose", "docker-compose.yaml");
    let (server, database) = (&project["services"]["tagwarden"], &project["services"]["postgres"]);
    assert_eq!(server["read_only"], true);
    assert_eq!(words(&server["cap_drop"]), ["ALL"]);
    assert_eq!(server["depends_on"]["postgres"]["condition"], "service_healthy");
    assert!(database["healthcheck"]["test"].is_array());
    for port in server["ports"].as_array().unwrap() {
        assert_eq!(port["host_ip"], "127.0.0.1", "others can reach it");
    }
    let mut command = words(&server["command"]);
    assert_eq!(command[0], "run");
    "config".clone_into(&mut command[0]);
    let mut program = Program::alone().args(&command).args(["--format", "json"]);
    for (name, value) in server["environment"].as_object().unwrap() {
        if name.starts_with("TAGWARDEN_") {
            program = program.env(name, value.as_str().unwrap());
        }
    }
    let ended = program.run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let settings: Value = serde_json::from_str(&ended.stdout).unwrap();
    let store = settings["store"]["value"].as_str().unwrap();
    assert!(store.starts_with("postgres://") && store.contains("postgres:5432/tagwarden"), "{store}");
    assert!(!ended.stdout.contains("secret"), "{}", ended.stdout);
    let mounted = server["volumes"][0]["target"].as_str().unwrap();
    assert_eq!(settings["manifests"]["value"], mounted);
}

/// Makes the root read-only except for its data, and goes on as the user of the image. The arguments are the root, how
/// to become that user, and the command.
const ENTER: &str = r#"
set -e
root=$1
become=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$root/var/lib/tagwarden" "$root/var/lib/tagwarden"
mount -o remount,bind,ro "$root"
if [ "$become" = chroot ]; then exec chroot --userspec=65532:65532 --groups= "$root" "$@"; fi
exec unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/ "$@"
"#;

/// A root with the program, the libraries that it is linked with, and a directory for its data.
struct EmptyRoot {
    directory: TempDir,
}

impl EmptyRoot {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("tagwarden-root-").tempdir().unwrap();
        let this = Self { directory };
        let program = Path::new(env!("CARGO_BIN_EXE_tagwarden"));
        this.put(program, Path::new("/usr/local/bin/tagwarden"));
        for library in libraries(program) {
            this.put(&library, &library);
        }
        let data = this.path().join("var/lib/tagwarden");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::set_permissions(this.path(), PermissionsExt::from_mode(0o755)).unwrap();
        this
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn put(&self, from: &Path, to: &Path) {
        let to = self.path().join(to.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }

    /// The program in this root. `sudo` where that asks for nothing, else a user namespace: either will do.
    fn command(&self, arguments: &[&str]) -> Command {
        let is = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
        };
        let superuser = is("id", &["-u"]).is_some_and(|id| id == b"0\n");
        let mut command = Command::new("unshare");
        let become_user = if superuser {
            command.args(["--mount", "--propagation", "private"]);
            "chroot"
        } else if is("sudo", &["-n", "true"]).is_some() {
            command = Command::new("sudo");
            command.args(["-n", "unshare", "--mount", "--propagation", "private"]);
            "chroot"
        } else {
            command.args(["--user", "--map-root-user", "--mount", "--propagation", "private"]);
            "unshare"
        };
        command.args(["sh", "-c", ENTER, "sh"]).arg(self.path()).arg(become_user);
        command.arg("/usr/local/bin/tagwarden").args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// What the loader would load for a program: a static one has none.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

/// A running program, killed with this value.
struct Contained {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Contained {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines, log: Vec::new() }
    }

    /// Waits for a line of the log.
    #[track_caller]
    fn logs(&mut self, text: &str) -> Value {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("nobody logged `{text}`:\n{}", self.log.join("\n"));
            };
            self.log.push(line.clone());
            if line.contains(text) {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // The last of the chain: those before it end with it, and it may be somebody else's.
        let kill = ["kill", "-KILL", &pid_of(self).to_string()];
        let killed = Command::new(kill[0]).args(&kill[1..]).stderr(Stdio::null()).status();
        if !killed.is_ok_and(|status| status.success()) {
            let _ = Command::new("sudo").arg("-n").args(kill).status();
        }
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_program_needs_nothing_but_itself_and_a_place_for_its_data() {
    let root = EmptyRoot::new();
    let store = "sqlite:/var/lib/tagwarden/tagwarden.db";
    let run = ["run", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--store", store];
    let mut contained = Contained::start(root.command(&run));
    let line = contained.logs("\"starting\"");
    let address: SocketAddr = line["metrics"].as_str().unwrap().parse().unwrap();
    contained.logs("\"ready\"");
    assert!(root.path().join("var/lib/tagwarden/tagwarden.db").exists());

    let asks = |path: &[&str]| {
        let address = address.to_string();
        let arguments = [&["healthcheck", "--address", &address], path].concat();
        let output = root.command(&arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(asks(&[]), (Some(0), "ok\n".to_owned()));
    let (status, said) = asks(&["--ready"]);
    assert!(status == Some(0) && said.ends_with("ready\n"), "{said}");

    // As the user of the image, and really unable to write elsewhere.
    let refused = root.command(&["crds", "--out", "/definitions"]).output().unwrap();
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("Read-only file system"), "{refused}");
    #[cfg(target_os = "linux")]
    {
        let pid = pid_of(&contained);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        let own = std::fs::metadata(root.path()).unwrap();
        let outside = std::os::unix::fs::MetadataExt::uid(&own).to_string();
        let uid = line("Uid:").split_whitespace().nth(1).unwrap().to_owned();
        assert!(uid == USER || (uid == outside && uid != "0"), "{status}");
        assert_eq!(line("CapEff:").split_whitespace().nth(1), Some("0000000000000000"), "{status}");
    }
    assert!(get(address, "/metrics").contains("tagwarden_build_info{version="));
    drop(contained);
}

/// The process that the others led to.
fn pid_of(contained: &Contained) -> u32 {
    let mut pid = contained.child.id();
    while let Ok(children) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        && let Some(child) = children.split_whitespace().next()
    {
        pid = child.parse().unwrap();
    }
    pid
}
