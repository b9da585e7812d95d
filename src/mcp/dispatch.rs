//! The one way in: every call, whatever the transport, goes through here in the same order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tagwarden_app::ask::ports::{AuditRow, AuditRows};
use tagwarden_app::ask::{Ask, AskError, Code, HIDDEN, Principal, conceal, quoted, redact};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::{Guard, Kind, Limits};
use crate::parts::clean;
use crate::tool::{Call, Entry, Report, Toolset};
use crate::{page, tools, validate};

/// Bytes of an answer: a little under 8000 tokens of JSON.
const ANSWER_BYTES: usize = 24_000;

/// What an answer needs besides its list.
const FRAME_BYTES: usize = 8_000;

/// How long an answer waits until its row is written. A store that hangs must not hold up what needs no store.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How long the rows of calls under way are waited for at the end.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// Characters of arguments that are kept in the record.
const ARGUMENT_CHARS: usize = 2_000;

/// How deep arguments are kept in the record: deeper than any that are let in.
const ARGUMENT_DEPTH: usize = 8;

/// Characters that are kept of what came of a call.
const SUMMARY_CHARS: usize = 300;

/// What a server offers.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Only tools that change nothing.
    pub read_only: bool,
    /// The groups of tools that are offered.
    pub toolsets: BTreeSet<Toolset>,
    /// Tools that are not, whatever their group.
    pub without: BTreeSet<String>,
    /// How much a client may do.
    pub limits: Limits,
    /// What the version of the program is.
    pub version: &'static str,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            read_only: false,
            toolsets: Toolset::ALL.into_iter().collect(),
            without: BTreeSet::new(),
            limits: Limits::default(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Who calls, and how.
#[derive(Clone)]
pub struct Caller {
    /// Who.
    pub who: Principal,
    /// How they came: `stdio` or `mcp`.
    pub channel: &'static str,
    /// What ties the call to the log, where the way they came has a name for it.
    pub(crate) id: Option<String>,
    /// Tells how far the call is.
    pub(crate) report: Report,
    /// Cancelled when they do not want it any more.
    pub(crate) cancel: CancellationToken,
}

impl Caller {
    /// Somebody who is told nothing until the answer.
    pub fn quiet(who: Principal, channel: &'static str) -> Self {
        Self { who, channel, id: None, report: Arc::new(|_, _, _| {}), cancel: CancellationToken::new() }
    }
}

/// The tools, and whatever guards them. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    ask: Ask,
    rows: Arc<dyn AuditRows>,
    settings: ServerSettings,
    tools: Vec<Entry>,
    guard: Guard,
    /// The calls under way.
    calls: TaskTracker,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Server {
    /// Offers what the settings say.
    pub fn new(ask: Ask, rows: Arc<dyn AuditRows>, settings: ServerSettings) -> Self {
        let guard = Guard::new(settings.limits);
        let calls = TaskTracker::new();
        Self(Arc::new(Inner { ask, rows, settings, tools: tools::all(), guard, calls }))
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.0.ask
    }

    pub(crate) fn settings(&self) -> &ServerSettings {
        &self.0.settings
    }

    /// The tools that this principal can use, by name.
    pub(crate) fn offered(&self, who: &Principal) -> impl Iterator<Item = &Entry> {
        let who = who.clone();
        self.0.tools.iter().filter(move |tool| self.offers(tool) && who.may(tool.scope))
    }

    fn offers(&self, tool: &Entry) -> bool {
        let settings = &self.0.settings;
        settings.toolsets.contains(&tool.toolset)
            && !settings.without.contains(tool.name)
            && (!settings.read_only || tool.hints.read_only)
    }

    /// Calls a tool. The error is for the one who called, and goes into the answer.
    ///
    /// The call is a task of its own: when this future is dropped, or the caller cancels, it ends, and its row says so.
    pub async fn call(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Value, AskError> {
        let cancel = caller.cancel.child_token();
        let caller = Caller { cancel: cancel.clone(), ..caller.clone() };
        let wanted = cancel.drop_guard();
        let work = self.clone().recorded(caller, name.to_owned(), arguments);
        let result = self.0.calls.spawn(work).await;
        drop(wanted);
        result.unwrap_or_else(|error| Err(AskError::internal(&error)))
    }

    /// Waits until the calls under way are in the record, but not for ever.
    pub(crate) async fn settled(&self) {
        self.0.calls.close();
        if timeout(SETTLE_WITHIN, self.0.calls.wait()).await.is_err() {
            tracing::warn!("not every call came to an end in time");
        }
    }

    async fn recorded(
        self,
        caller: Caller,
        name: String,
        arguments: Map<String, Value>,
    ) -> Result<Value, AskError> {
        let (at, began) = (self.0.ask.now(), Instant::now());
        let arguments_digest = digest(&name, &arguments);
        let (kept, secrets) = redacted(&arguments);
        let (server, whose, tool) = (self.clone(), caller.clone(), name.clone());
        // One more task, so that a tool that breaks down takes nothing along but itself.
        let work = tokio::spawn(async move { server.guarded(&whose, &tool, arguments).await });
        let result = work.await.unwrap_or_else(|error| Err(AskError::internal(&error)));
        let result = result.map_err(|error| AskError { message: told(&error.message, &secrets), ..error });
        let row = AuditRow {
            at,
            correlation_id: caller.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            principal: caller.who.id.to_string(),
            tenant: caller.who.tenant.to_string(),
            channel: caller.channel,
            operation: clean(&conceal(&name), 64),
            arguments_digest,
            arguments: kept,
            status: result.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok").to_owned(),
            duration: began.elapsed(),
            summary: result.as_ref().map_or_else(|error| clean(&error.message, SUMMARY_CHARS), summary),
        };
        tracing::info!(
            correlation_id = row.correlation_id,
            tool = row.operation,
            status = row.status,
            tenant = row.tenant,
            principal = row.principal,
            milliseconds = row.duration.as_millis(),
            "call"
        );
        let error = match timeout(WRITE_WITHIN, self.0.rows.append(&row)).await {
            Ok(Ok(())) => return result,
            Ok(Err(error)) => error.message,
            Err(_) => "the store does not answer".to_owned(),
        };
        tracing::error!(correlation_id = row.correlation_id, error, "a call is not in the record");
        result
    }

    async fn guarded(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Value, AskError> {
        let (guard, who) = (&self.0.guard, &caller.who);
        // First of all: what is refused costs a row, too.
        guard.pace(who, Instant::now())?;
        let known = self.0.tools.iter().find(|tool| tool.name == name && self.offers(tool));
        let Some(tool) = known else {
            guard.admit(who, Kind::Unknown, name, Instant::now())?;
            return Err(self.unknown(name, who));
        };
        who.must(tool.scope)?;
        let mut arguments = validate::validated(arguments)?;
        let dry = match arguments.remove("dry_run") {
            None => false,
            Some(Value::Bool(dry)) => dry,
            Some(_) => return Err(AskError::invalid("dry_run is no boolean", "give true or false")),
        };
        if !dry && !tool.free {
            guard.admit(who, Kind::Counted, &digest(name, &arguments), Instant::now())?;
        }
        if let Some(Value::String(cursor)) = arguments.get_mut("cursor") {
            *cursor = page::unsealed(&who.tenant, name, cursor)?.to_owned();
        }
        let call = Call {
            ask: self.0.ask.clone(),
            who: who.clone(),
            report: Arc::clone(&caller.report),
            room: ANSWER_BYTES - FRAME_BYTES,
        };
        let work = (tool.run)(&call, Value::Object(arguments), dry);
        let mut answer = tokio::select! {
            biased;
            () = caller.cancel.cancelled() => return Err(cancelled()),
            answer = timeout(self.0.settings.limits.call_time, work) => answer.map_err(|_| too_slow())??,
        };
        if let Some(Value::String(cursor)) = answer.get_mut("next_cursor") {
            *cursor = page::sealed(&who.tenant, name, cursor);
        }
        fits(answer)
    }

    fn unknown(&self, name: &str, who: &Principal) -> AskError {
        let names: Vec<&str> = self.offered(who).map(|tool| tool.name).collect();
        AskError::new(
            Code::UnknownTool,
            format!("there is no tool {}", quoted(name)),
            format!("use one of: {}", names.join(", ")),
        )
    }
}

fn cancelled() -> AskError {
    AskError::new(Code::Cancelled, "the call was cancelled", "call again")
}

fn too_slow() -> AskError {
    let fix = "ask for less, or call start_compliance_check and then get_run";
    AskError::new(Code::Timeout, "the call took too long", fix).after(Duration::from_secs(5))
}

/// The answer, unless it is larger than clients take. Tools cut their lists themselves; this is the net below.
fn fits(answer: Value) -> Result<Value, AskError> {
    let bytes = serde_json::to_vec(&answer).map_or(usize::MAX, |text| text.len());
    if bytes <= ANSWER_BYTES {
        return Ok(answer);
    }
    Err(AskError::invalid(
        format!("the answer takes {bytes} bytes, and clients take about {ANSWER_BYTES}"),
        "give a smaller limit, or ask for fewer types, regions or accounts",
    ))
}

fn digest(name: &str, arguments: &Map<String, Value>) -> String {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(serde_json::to_vec(arguments).unwrap_or_default());
    let bytes = hash.finalize();
    bytes.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The arguments for the record: bounded, and without what may be secret. And what that was, by its name alone.
fn redacted(arguments: &Map<String, Value>) -> (String, Vec<String>) {
    let mut arguments = Value::Object(arguments.clone());
    let secrets = redact(&mut arguments, ARGUMENT_DEPTH);
    (clean(&arguments.to_string(), ARGUMENT_CHARS), secrets)
}

/// What an error says, which may quote what was asked: answers end in transcripts, and rows in the record.
fn told(message: &str, secrets: &[String]) -> String {
    let hide = |text: String, secret: &String| match secret.as_str() {
        "" => text,
        secret => text.replace(secret, &HIDDEN.to_string()),
    };
    conceal(&secrets.iter().fold(message.to_owned(), hide))
}

/// What came of a call, in a few words.
fn summary(answer: &Value) -> String {
    const TOLD: [&str; 7] =
        ["status", "run_id", "total", "total_violations", "compliance_score", "complete", "dry_run"];
    let told = TOLD.iter().filter_map(|key| Some(format!("{key}={}", answer.get(key)?)));
    clean(&told.collect::<Vec<_>>().join(" "), SUMMARY_CHARS)
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
