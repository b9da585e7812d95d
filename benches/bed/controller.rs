//! A running controller: started, asked, and ended.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::stub::Stub;
use super::{Outcome, in_aws};

/// Between two looks at the metrics.
const GLANCE: Duration = Duration::from_millis(100);
const START_GLANCE: Duration = Duration::from_millis(2);
/// Far longer than anything takes.
const WITHIN: Duration = Duration::from_mins(10);

/// `tagwarden run` with a store of its own. Killed when dropped.
pub struct Controller {
    child: Child,
    pub started: Instant,
    /// Where it answers people and agents.
    pub listen: SocketAddr,
    metrics: SocketAddr,
}

impl Controller {
    /// Starts it with these further arguments, and waits until it is ready.
    pub fn start(stub: &Stub, directory: &Path, store: &Path, arguments: &[&str]) -> Outcome<Self> {
        let (metrics, listen) = (free_address()?, free_address()?);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
        in_aws(&mut command, stub, directory)
            .args(["run", "--control-plane", "embedded", "--metrics-listen", &metrics.to_string()])
            .args(["--listen", &listen.to_string()])
            .args(["--log-level", "warn", "--store"])
            .arg(format!("sqlite:{}", store.display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(File::create(directory.join("controller.log"))?);
        let started = Instant::now();
        let controller = Self { child: command.spawn()?, started, listen, metrics };
        while !controller.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            if started.elapsed() > WITHIN {
                return Err("the controller is not ready".into());
            }
            std::thread::sleep(START_GLANCE);
        }
        Ok(controller)
    }

    /// The name of its process below `/proc`.
    pub fn id(&self) -> String {
        self.child.id().to_string()
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.metrics).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Waits until the series that begin so add up to this.
    pub fn until(&self, series: &str, value: f64) -> Outcome<()> {
        loop {
            let text = self.get("/metrics").unwrap_or_default();
            let values = text.lines().filter(|line| line.starts_with(series));
            let sum: f64 = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            if sum >= value {
                return Ok(());
            }
            if self.started.elapsed() > WITHIN {
                return Err(format!("{series} is {sum}, not {value}").into());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Ends it as an orchestrator would. An error unless it ends well.
    pub fn stop(mut self) -> Outcome<()> {
        Command::new("kill").args(["-TERM", &self.id()]).status()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the controller ended with {status}").into()) }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
