//! What a tool is, and how one of its own types becomes one of many in the registry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{JsonObject, Tool as Listed, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tagwarden_app::ask::{Ask, AskError, Principal, Scope};

use crate::schema;

/// A group of tools that can be switched on and off together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Toolset {
    /// Asks what is known.
    Read,
    /// Looks at the cloud.
    Scan,
    /// Creates and changes audits.
    Policy,
}

impl Toolset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Scan, Self::Policy];

    /// The word in flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Policy => "policy",
        }
    }
}

/// What clients are told about the effects of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // as the protocol has them
pub struct Hints {
    /// Changes nothing but our own record.
    pub read_only: bool,
    /// May overwrite something.
    pub destructive: bool,
    /// Twice is like once.
    pub idempotent: bool,
    /// May look at a cloud.
    pub open_world: bool,
}

impl Hints {
    /// Answers out of what is known.
    pub const ASKS: Self = Self { read_only: true, destructive: false, idempotent: true, open_world: false };
    /// May look at the cloud.
    pub const LOOKS: Self = Self { read_only: true, destructive: false, idempotent: true, open_world: true };
}

/// Tells how far a call is: done, of how much, and in words.
pub(crate) type Report = Arc<dyn Fn(f64, f64, String) + Send + Sync>;

/// What a call has to work with.
#[derive(Clone)]
pub(crate) struct Call {
    /// Knows everything.
    pub(crate) ask: Ask,
    /// Who calls.
    pub(crate) who: Principal,
    /// Tells how far it is.
    pub(crate) report: Report,
    /// The most bytes of an answer.
    pub(crate) room: usize,
}

/// A tool.
pub(crate) trait Tool: 'static {
    /// Its name.
    const NAME: &'static str;
    /// The same for people.
    const TITLE: &'static str;
    /// What it does and when to use it.
    const ABOUT: &'static str;
    /// Its group.
    const TOOLSET: Toolset;
    /// What one needs to call it.
    const SCOPE: Scope = Scope::TagRead;
    /// What clients are told about its effects.
    const HINTS: Hints;
    /// Whether calls are free: polling is no loop.
    const FREE: bool = false;

    /// What it takes.
    type Input: DeserializeOwned + JsonSchema + Send + Sync;
    /// What it answers.
    type Output: Serialize + JsonSchema;

    /// Does it.
    fn call(call: &Call, input: Self::Input) -> impl Future<Output = Result<Self::Output, AskError>> + Send;

    /// Says what it would do. Makes no cloud call, and writes nothing.
    fn rehearse(call: &Call, input: &Self::Input) -> impl Future<Output = Result<String, AskError>> + Send;
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Value, AskError>> + Send + 'a>>;

/// A tool of the registry.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) toolset: Toolset,
    pub(crate) scope: Scope,
    pub(crate) hints: Hints,
    pub(crate) free: bool,
    pub(crate) input: Arc<JsonObject>,
    pub(crate) output: Arc<JsonObject>,
    pub(crate) run: for<'a> fn(&'a Call, Value, bool) -> Running<'a>,
}

impl Entry {
    pub(crate) fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            title: T::TITLE,
            about: T::ABOUT,
            toolset: T::TOOLSET,
            scope: T::SCOPE,
            hints: T::HINTS,
            free: T::FREE,
            input: with_dry_run(schema::input::<T::Input>()),
            output: schema::output::<T::Output>(),
            run: |call, arguments, dry| Box::pin(run::<T>(call, arguments, dry)),
        }
    }

    /// As a client sees it.
    pub(crate) fn listed(&self) -> Listed {
        let hints = ToolAnnotations::new()
            .read_only(self.hints.read_only)
            .destructive(self.hints.destructive)
            .idempotent(self.hints.idempotent)
            .open_world(self.hints.open_world);
        Listed::new(self.name, self.about, Arc::clone(&self.input))
            .with_title(self.title)
            .with_raw_output_schema(Arc::clone(&self.output))
            .with_annotations(hints)
    }
}

/// Every tool can be rehearsed. The wrapper takes the argument out before the tool sees the others.
fn with_dry_run(schema: Arc<JsonObject>) -> Arc<JsonObject> {
    let mut schema = Arc::unwrap_or_clone(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let about = "Only say what would be done.";
        properties.insert("dry_run".into(), serde_json::json!({"type": "boolean", "description": about}));
    }
    Arc::new(schema)
}

async fn run<T: Tool>(call: &Call, arguments: Value, dry: bool) -> Result<Value, AskError> {
    let input: T::Input = serde_json::from_value(arguments).map_err(|error| {
        AskError::invalid(
            bounded(&error.to_string()),
            format!("see the input schema of {}: names, types and allowed words", T::NAME),
        )
    })?;
    if dry {
        let would = T::rehearse(call, &input).await?;
        return Ok(serde_json::json!({ "dry_run": would }));
    }
    let output = T::call(call, input).await?;
    serde_json::to_value(output).map_err(|error| AskError::internal(&error))
}

/// An error of the parser quotes what the caller wrote.
fn bounded(text: &str) -> String {
    crate::parts::clean(text, 300)
}

/// How long a call may wait for a run.
pub(crate) const WAIT: Duration = Duration::from_secs(22);
