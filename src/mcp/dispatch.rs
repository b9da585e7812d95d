//! The one way in: every call, whatever the transport, goes through here in the same order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tagwarden_app::ask::ports::{AuditRow, AuditRows};
use tagwarden_app::ask::{Ask, AskError, Code, Principal, quoted};
use tagwarden_app::keys::mentions_key;
use tokio_util::sync::CancellationToken;

use crate::guard::{Guard, Kind, Limits};
use crate::parts::clean;
use crate::tool::{Call, Entry, Report, Toolset};
use crate::{tools, validate};

/// Bytes of an answer: a little under 8000 tokens of JSON.
const ANSWER_BYTES: usize = 24_000;

/// What an answer needs besides its list.
const FRAME_BYTES: usize = 8_000;

/// Nobody waits longer for a call.
const WITHIN: Duration = Duration::from_secs(28);

/// Bytes of arguments that are kept in the record.
const ARGUMENT_BYTES: usize = 2_000;

/// Parts of names whose values are not kept in the record.
const SECRET: [&str; 7] =
    ["secret", "token", "password", "credential", "external_id", "api_key", "authorization"];

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
    /// Tells how far the call is.
    pub(crate) report: Report,
    /// Cancelled when they do not want it any more.
    pub(crate) cancel: CancellationToken,
}

impl Caller {
    /// Somebody who is told nothing until the answer.
    pub fn quiet(who: Principal, channel: &'static str) -> Self {
        Self { who, channel, report: Arc::new(|_, _, _| {}), cancel: CancellationToken::new() }
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
        Self(Arc::new(Inner { ask, rows, settings, tools: tools::all(), guard }))
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
    pub async fn call(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Value, AskError> {
        let (at, began) = (self.0.ask.now(), Instant::now());
        let digest = digest(name, &arguments);
        let kept = redacted(&arguments);
        let result = self.guarded(caller, name, arguments, &digest).await;
        let status = result.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok");
        let row = AuditRow {
            at,
            correlation_id: uuid::Uuid::now_v7().to_string(),
            principal: caller.who.id.to_string(),
            tenant: caller.who.tenant.to_string(),
            channel: caller.channel,
            operation: clean(name, 64),
            arguments_digest: digest,
            arguments: kept,
            status: status.to_owned(),
            duration: began.elapsed(),
            summary: result.as_ref().map_or_else(|error| clean(&error.message, 300), summary),
        };
        tracing::info!(
            correlation_id = row.correlation_id,
            tool = row.operation,
            status,
            tenant = row.tenant,
            principal = row.principal,
            milliseconds = row.duration.as_millis(),
            "call"
        );
        if let Err(error) = self.0.rows.append(&row).await {
            tracing::error!(correlation_id = row.correlation_id, %error, "a call is not in the record");
        }
        result
    }

    async fn guarded(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Map<String, Value>,
        digest: &str,
    ) -> Result<Value, AskError> {
        let known = self.0.tools.iter().find(|tool| tool.name == name && self.offers(tool));
        let Some(tool) = known else {
            self.0.guard.admit(&caller.who, Kind::Unknown, digest, Instant::now())?;
            return Err(self.unknown(name, &caller.who));
        };
        caller.who.must(tool.scope)?;
        let mut arguments = validate::validated(arguments)?;
        let dry = match arguments.remove("dry_run") {
            None => false,
            Some(Value::Bool(dry)) => dry,
            Some(_) => return Err(AskError::invalid("dry_run is no boolean", "give true or false")),
        };
        let kind = if dry || tool.free { Kind::Free } else { Kind::Counted };
        self.0.guard.admit(&caller.who, kind, digest, Instant::now())?;
        let call = Call {
            ask: self.0.ask.clone(),
            who: caller.who.clone(),
            report: Arc::clone(&caller.report),
            room: ANSWER_BYTES - FRAME_BYTES,
        };
        let work = (tool.run)(&call, Value::Object(arguments), dry);
        let answer = tokio::select! {
            biased;
            () = caller.cancel.cancelled() => {
                return Err(AskError::new(Code::Conflict, "the call was cancelled", "call again"));
            }
            answer = tokio::time::timeout(WITHIN, work) => answer.map_err(|_| {
                AskError::new(Code::Timeout, "the call took too long", "ask for less, or call start_compliance_check and then get_run")
                    .after(Duration::from_secs(5))
            })??,
        };
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

/// The arguments for the record: bounded, and without what may be secret.
fn redacted(arguments: &Map<String, Value>) -> String {
    let mut arguments = Value::Object(arguments.clone());
    redact(&mut arguments, 0);
    clean(&arguments.to_string(), ARGUMENT_BYTES)
}

fn redact(value: &mut Value, depth: usize) {
    match value {
        _ if depth > 8 => *value = Value::Null,
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.to_lowercase();
                if SECRET.iter().any(|word| key.contains(word)) {
                    *value = Value::from("…");
                } else {
                    redact(value, depth + 1);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, depth + 1)),
        Value::String(text) if looks_secret(text) => *value = Value::from("…"),
        _ => {}
    }
}

/// Keys of AWS and our own, wherever somebody pasted them.
fn looks_secret(text: &str) -> bool {
    let key = |prefix: &str| {
        text.match_indices(prefix).any(|(at, _)| {
            let rest = text[at + prefix.len()..].bytes();
            rest.take_while(u8::is_ascii_alphanumeric).count() >= 16
        })
    };
    key("AKIA") || key("ASIA") || mentions_key(text) || text.to_lowercase().contains("bearer ")
}

/// What came of a call, in a few words.
fn summary(answer: &Value) -> String {
    const TOLD: [&str; 7] =
        ["status", "run_id", "total", "total_violations", "compliance_score", "complete", "dry_run"];
    let told = TOLD.iter().filter_map(|key| Some(format!("{key}={}", answer.get(key)?)));
    clean(&told.collect::<Vec<_>>().join(" "), 300)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        let Value::Object(arguments) = json!({
            "api_key": "x1", "nested": [{"ExternalId": "x2", "external_id": "x3"}], "name": "AKIAIOSFODNN7EXAMPLE",
            "header": "Bearer x4", "a_note": "plain", "long": "y".repeat(5000),
        }) else {
            panic!()
        };
        let kept = redacted(&arguments);
        for secret in ["x1", "x3", "AKIA", "x4"] {
            assert!(!kept.contains(secret), "{kept}");
        }
        assert!(kept.contains("plain") && kept.chars().count() <= ARGUMENT_BYTES + 1);
    }

    #[test]
    fn a_digest_is_of_the_tool_and_its_arguments() {
        let arguments = Map::new();
        assert_ne!(digest("a", &arguments), digest("b", &arguments));
        assert_eq!(digest("a", &arguments), digest("a", &arguments));
    }
}
