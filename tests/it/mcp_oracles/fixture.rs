//! What the conformance suites ask for, as `tests/cases/mcp-fixture.yaml` tells it, behind the product's own gate and
//! transport: so a suite that passes has judged these two.

// Logging is deprecated, and the suites look at it all the same.
#![allow(deprecated)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams,
    CompleteResult, CompletionInfo, ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    InitializeResult, InputRequiredResult, InputResponses, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam,
    PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ServerCapabilities, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tagwarden_app::ask::{Principal, Scope};
use tagwarden_http::{Access, Addresses, CONNECTIONS, Health, HealthStatus, Limits, Server, Settings, Tls};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between two words of a tool that says how far it is.
const STEP: Duration = Duration::from_millis(20);

/// All of it.
#[derive(Debug, Deserialize)]
struct Told {
    tools: Vec<Asked>,
    prompts: Vec<Asked>,
    resources: Vec<Value>,
    templates: Vec<Value>,
}

/// A tool or a prompt.
#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
    #[serde(default)]
    rounds: Vec<Map<String, Value>>,
    #[serde(default)]
    sealed: bool,
    #[serde(default)]
    declared: bool,
    #[serde(default)]
    requires: Option<ClientCapabilities>,
    #[serde(default)]
    progress: Vec<u32>,
    #[serde(default)]
    log: Option<String>,
    #[serde(default)]
    answer: Value,
    #[serde(default)]
    messages: Value,
    /// What the protocol says of it: description, schema, arguments.
    #[serde(flatten)]
    listed: Map<String, Value>,
}

/// Serves the fixture. Nothing is kept from one request to the next.
#[derive(Debug, Clone)]
struct Fixture {
    told: Arc<Told>,
    /// What states are sealed with.
    secret: Arc<str>,
}

/// A fixture that is being served, until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    _stop: DropGuard,
}

/// Serves it on loopback without keys, as `tagwarden run` does.
pub async fn serve() -> Served {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let scopes = [Scope::TagRead, Scope::AuditWrite];
    let settings = Settings {
        address,
        tls: Tls::Plain,
        access: Access::Everybody(Principal::new("default", "anonymous", scopes)),
        addresses: Addresses::new(address, false, Vec::new(), Vec::new()),
        limits: Limits::default(),
        connections: CONNECTIONS,
        clock: Timestamp::now,
    };
    let health = Health {
        status: HealthStatus::Ok,
        version: String::new(),
        checks: Vec::new(),
        policy_source: String::new(),
        policies_synced_at: None,
        last_run_at: None,
        next_run_at: None,
        checked_at: String::new(),
    };
    let (_, health) = watch::channel(Arc::new(health));
    let server = Server::bind(settings, health).await.unwrap();
    let stop = CancellationToken::new();
    let told: Value = serde_saphyr::from_str(include_str!("../../cases/mcp-fixture.yaml")).unwrap();
    let fixture = Fixture { told: Arc::new(typed(told)), secret: uuid::Uuid::new_v4().to_string().into() };
    server.desk().open(tagwarden_mcp::mounted(fixture, stop.clone()));
    let address = server.address();
    tokio::spawn(server.run(stop.clone()));
    Served { address, _stop: stop.drop_guard() }
}

/// A value of the protocol, from its JSON.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the fixture speaks the protocol")
}

/// A result of the protocol, which is the last one of its request.
fn result<T: DeserializeOwned>(mut value: Value) -> T {
    value["resultType"] = "complete".into();
    typed(value)
}

/// The values of a list. What the protocol does not know is left out.
fn typed_all<T: DeserializeOwned>(values: &[Value]) -> Vec<T> {
    values.iter().cloned().map(typed).collect()
}

/// A text with its places filled in, at any depth.
fn filled(value: &Value, fill: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => fill(text).into(),
        Value::Array(values) => values.iter().map(|value| filled(value, fill)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), filled(value, fill))).collect()
        }
        other => other.clone(),
    }
}

impl Asked {
    fn listed<T: DeserializeOwned>(&self) -> T {
        let mut listed = self.listed.clone();
        listed.insert("name".into(), self.name.as_str().into());
        typed(listed.into())
    }

    fn tool(&self) -> Tool {
        let mut listed = self.listed.clone();
        listed.entry("inputSchema").or_insert_with(|| json!({"type": "object"}));
        listed.insert("name".into(), self.name.as_str().into());
        typed(listed.into())
    }
}

impl Fixture {
    /// What the client still has to bring, if anything. A state that was tampered with is an error.
    fn missing(
        &self,
        asked: &Asked,
        responses: Option<InputResponses>,
        state: Option<&str>,
        can: &ClientCapabilities,
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let round = match state {
            Some(state) if asked.sealed => self.unsealed(asked, state)?,
            _ => 0,
        };
        let Some(requests) = asked.rounds.get(round) else { return Ok(None) };
        let responses = responses.unwrap_or_default();
        let known = !asked.sealed || state.is_some();
        let complete = requests.keys().all(|key| responses.get(key).is_some_and(Value::is_object));
        let next = if known && complete { round + 1 } else { round };
        let Some(requests) = asked.rounds.get(next) else { return Ok(None) };
        let can_do = |method: &Value| match method.as_str() {
            Some("elicitation/create") => can.elicitation.is_some(),
            Some("sampling/createMessage") => can.sampling.is_some(),
            _ => can.roots.is_some(),
        };
        let asking: Map<String, Value> = requests
            .iter()
            .filter(|(_, request)| !asked.declared || can_do(&request["method"]))
            .map(|(key, request)| (key.clone(), request.clone()))
            .collect();
        let sealed = asked.sealed.then(|| self.sealed(asked, next));
        Ok(Some(InputRequiredResult::new(Some(typed(asking.into())), sealed)))
    }

    fn sealed(&self, asked: &Asked, round: usize) -> String {
        let seal = Sha256::digest(format!("{0} {1} {round} {0}", self.secret, asked.name));
        let seal: String = seal.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{round}.{seal}")
    }

    fn unsealed(&self, asked: &Asked, state: &str) -> Result<usize, ErrorData> {
        let round = state.split_once('.').and_then(|(round, _)| round.parse().ok());
        let round = round.filter(|round| self.sealed(asked, *round) == state);
        round.ok_or_else(|| ErrorData::invalid_params("this state was not made here", None))
    }
}

fn unknown(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no {name}"), None)
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> InitializeResult {
        let offers = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_completions();
        InitializeResult::new(offers.build())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.told.tools.iter().find(|tool| tool.name == name).map(Asked::tool)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.told.tools.iter().map(Asked::tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = self.told.tools.iter().find(|tool| tool.name == request.name);
        let tool = tool.ok_or_else(|| unknown(&request.name))?;
        let can = context.client_capabilities().unwrap_or_default();
        if let Some(required) = tool.requires.clone()
            && can.sampling.is_none()
        {
            return Err(ErrorData::missing_required_client_capability(required));
        }
        if let Some(asks) =
            self.missing(tool, request.input_responses, request.request_state.as_deref(), &can)?
        {
            return Ok(asks.into());
        }
        let token = context.meta.get_progress_token();
        for &done in &tool.progress {
            if let Some(token) = &token {
                let told = ProgressNotificationParam::new(token.clone(), done.into()).with_total(100.0);
                let _ = context.peer.notify_progress(told).await;
            }
            tokio::time::sleep(STEP).await;
        }
        if let (Some(line), Some(_)) = (&tool.log, context.meta.log_level()) {
            let told = LoggingMessageNotificationParam::new(LoggingLevel::Info, line.as_str().into());
            let _ = context.peer.notify_logging_message(told).await;
        }
        Ok(result::<CallToolResult>(tool.answer.clone()).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(self.told.prompts.iter().map(Asked::listed).collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let prompt = self.told.prompts.iter().find(|prompt| prompt.name == request.name);
        let prompt = prompt.ok_or_else(|| unknown(&request.name))?;
        let can = context.client_capabilities().unwrap_or_default();
        let state = request.request_state.as_deref();
        if let Some(asks) = self.missing(prompt, request.input_responses, state, &can)? {
            return Ok(asks.into());
        }
        let given = request.arguments.unwrap_or_default();
        let fill = |text: &str| {
            given.iter().fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
            })
        };
        let messages = filled(&prompt.messages, &fill);
        Ok(result::<GetPromptResult>(json!({"messages": messages})).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(typed_all(&self.told.resources)))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(typed_all(&self.told.templates)))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let fixed = self.told.resources.iter().find(|resource| resource["uri"] == uri).cloned();
        let made = || {
            self.told.templates.iter().find_map(|template| {
                let (before, after) = template["uriTemplate"].as_str()?.split_once("{id}")?;
                let id = uri.strip_prefix(before)?.strip_suffix(after)?;
                Some(filled(template, &|text| text.replace("{id}", id)))
            })
        };
        let Some(found) = fixed.or_else(made) else {
            return Err(ErrorData::resource_not_found(
                "there is no such resource",
                Some(json!({"uri": uri})),
            ));
        };
        let mut content = json!({"uri": uri, "mimeType": found["mimeType"]});
        for kind in ["text", "blob"].into_iter().filter(|kind| found[*kind].is_string()) {
            content[kind] = found[kind].clone();
        }
        Ok(result::<ReadResourceResult>(json!({"contents": [content]})).into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(CompletionInfo::new(vec!["test".to_owned()]).expect("few")))
    }
}
