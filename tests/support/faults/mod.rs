//! The fault proxy: what a test puts between its subject and the simulator.
//!
//! It makes the simulator stricter (trust policies, regions that are not enabled, buckets only in their own
//! region), injects faults by rule, keeps a log of every call, and fails the test when the simulator lacks an
//! operation. Each test has its own proxy; all share one simulator.

mod answer;
mod call;
mod listing;
mod regions;
mod rule;
mod serve;
mod state;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::{fmt, io};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub use call::{AMBIENT_ACCOUNT, Call, Protocol};
pub use rule::{Fault, Rule};
use serve::Server;
use state::State;

/// The regions that accounts have enabled, unless a test says otherwise.
pub const REGIONS: [&str; 3] = ["eu-central-1", "eu-west-1", "us-east-1"];

/// The access key of the caller's own account.
pub const AMBIENT_KEY: &str = "AKIATESTBEDAMBIENT00";

/// An account that nothing else uses, and the role that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// The role that the proxy lets the caller assume.
    pub role_arn: String,
    /// What the role's trust policy asks for.
    pub external_id: Option<String>,
}

/// A running proxy. It ends with this value.
///
/// Dropping it panics when a tripwire was touched and nobody took note (see [`Proxy::take_tripwires`]).
pub struct Proxy {
    address: SocketAddr,
    upstream: String,
    state: State,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts a proxy on a free loopback port in front of `upstream` (`host:port`).
    pub fn start(upstream: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fault-proxy")
            .enable_all()
            .build()?;
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let state = State::default();
        state.lock().enabled_regions = REGIONS.iter().map(|region| (*region).to_owned()).collect();
        let server = Server::new(upstream.to_owned(), state.clone());
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(socket)?
        };
        runtime.spawn(accept(listener, server));
        Ok(Self { address, upstream: upstream.to_owned(), state, runtime: Some(runtime) })
    }

    /// What `AWS_ENDPOINT_URL` should be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The simulator behind, `host:port`.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The environment in which an SDK, or the program under test, talks to this proxy with the caller's own
    /// account. Apart from these, no variable named `AWS_…` should be set: see [`Proxy::equip`].
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let fixed = [
            ("AWS_ACCESS_KEY_ID", AMBIENT_KEY),
            ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("NO_PROXY", "127.0.0.1,localhost"),
            ("no_proxy", "127.0.0.1,localhost"),
        ];
        let mut env: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        env.push(("AWS_ENDPOINT_URL", self.url()));
        env
    }

    /// The same, with static credentials of this account, so that it is the caller's own.
    pub fn env_as(&self, account: &Account) -> Vec<(&'static str, String)> {
        let keys = self.enter(account);
        let mut env = self.env();
        env.retain(|(name, _)| !matches!(*name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY"));
        env.push(("AWS_ACCESS_KEY_ID", keys.access_key));
        env.push(("AWS_SECRET_ACCESS_KEY", keys.secret));
        env.push(("AWS_SESSION_TOKEN", keys.session_token));
        env
    }

    /// Makes a command talk to this proxy, whatever the developer's machine is set up for.
    pub fn equip<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        equip(command, self.env())
    }

    /// The same, with this account as the caller's own.
    pub fn equip_as<'c>(&self, account: &Account, command: &'c mut Command) -> &'c mut Command {
        equip(command, self.env_as(account))
    }

    /// Adds a rule. Of the rules that strike a call, the first one wins.
    pub fn rule(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Lets every call through again.
    pub fn clear_rules(&self) {
        self.state.lock().rules.clear();
    }

    /// Lets a role be assumed: by anyone, or only with this external id. A role not named here is refused.
    pub fn trust(&self, role_arn: &str, external_id: Option<&str>) {
        self.state.lock().trust.insert(role_arn.to_owned(), external_id.map(str::to_owned));
    }

    /// Takes the trust in a role back.
    pub fn distrust(&self, role_arn: &str) {
        self.state.lock().trust.remove(role_arn);
    }

    /// An empty account of this test's own, with a trusted role that asks for no external id.
    pub fn fresh_account(&self) -> Account {
        self.admit(next_account_id(), None)
    }

    /// An empty account of this test's own, whose role asks for an external id.
    pub fn fresh_account_with_external_id(&self) -> Account {
        let id = next_account_id();
        let external_id = format!("ext-{id}");
        self.admit(id, Some(external_id))
    }

    /// Opens this account through the role `tagwarden-reader`.
    pub fn admit(&self, id: String, external_id: Option<String>) -> Account {
        let role_arn = format!("arn:aws:iam::{id}:role/tagwarden-reader");
        self.trust(&role_arn, external_id.as_deref());
        Account { id, role_arn, external_id }
    }

    /// The regions that accounts have enabled from now on; others refuse every call.
    pub fn enable_regions(&self, regions: &[&str]) {
        self.state.lock().enabled_regions = regions.iter().map(|region| (*region).to_owned()).collect();
    }

    /// Every call so far, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// The calls of these services and actions; `*` stands for any text.
    pub fn calls_of(&self, service: &str, action: &str) -> Vec<Call> {
        let wanted = |call: &&Call| rule::glob(service, &call.service) && rule::glob(action, &call.action);
        self.state.lock().calls.iter().filter(wanted).cloned().collect()
    }

    /// How many calls of these services and actions there were.
    pub fn count(&self, service: &str, action: &str) -> usize {
        self.calls_of(service, action).len()
    }

    /// Calls that did not fit into the log.
    pub fn uncounted(&self) -> u64 {
        self.state.lock().uncounted
    }

    /// Forgets the calls and the highest numbers in flight.
    pub fn forget_calls(&self) {
        let mut inner = self.state.lock();
        inner.calls.clear();
        inner.uncounted = 0;
        inner.most_in_flight = 0;
        inner.most_in_flight_of.clear();
    }

    /// The most calls that were ever served at once.
    pub fn max_in_flight(&self) -> usize {
        self.state.lock().most_in_flight
    }

    /// The most calls of one service that were ever served at once.
    pub fn max_in_flight_of(&self, service: &str) -> usize {
        self.state.lock().most_in_flight_of.get(service).copied().unwrap_or_default()
    }

    /// What the simulator could not answer, taken note of: dropping the proxy no longer panics for it.
    pub fn take_tripwires(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().tripwires)
    }

    /// Panics when the simulator lacked an operation that was asked for.
    #[track_caller]
    pub fn assert_no_tripwire(&self) {
        let tripwires = self.take_tripwires();
        assert!(tripwires.is_empty(), "the simulator could not answer:\n{}", tripwires.join("\n"));
    }

    fn enter(&self, account: &Account) -> Keys {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &account.role_arn)
            .append_pair("RoleSessionName", "testbed");
        let answer = self.ask_upstream("sts", form.finish());
        let field = |name| serve::between(&answer, name).unwrap_or_default();
        let keys = Keys {
            access_key: field("AccessKeyId"),
            secret: field("SecretAccessKey"),
            session_token: field("SessionToken"),
        };
        assert!(!keys.access_key.is_empty(), "moto gave no credentials for {}: {answer}", account.role_arn);
        self.state.lock().learn(keys.access_key.clone(), account.id.clone());
        keys
    }

    /// Sends a form to the simulator, past rules and log.
    fn ask_upstream(&self, service: &str, form: String) -> String {
        let server = Server::new(self.upstream.clone(), self.state.clone());
        let service = service.to_owned();
        let (sender, receiver) = mpsc::channel();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let _ = sender.send(server.ask(&service, form).await);
            });
        }
        receiver.recv().unwrap_or_else(|_| "the proxy has ended".to_owned())
    }
}

fn equip<'c>(command: &'c mut Command, env: Vec<(&'static str, String)>) -> &'c mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.envs(env)
}

struct Keys {
    access_key: String,
    secret: String,
    session_token: String,
}

/// Accounts differ within the process, which has a simulator of its own.
fn next_account_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(200_000_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

async fn accept(listener: TcpListener, server: Server) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| server.clone().serve(request));
            // Broken connections are what this is for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: a proxy may be dropped inside another runtime.
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            self.assert_no_tripwire();
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxy")
            .field("address", &self.address)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
