//! Messages from one side to the other, several side by side.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::lines::{self, Line};
use super::message::{Kind, Message};
use super::remote::Remote;

/// Messages under way at a time; further requests are refused.
const SIDE_BY_SIDE: usize = 64;

/// Answers that wait to be read.
const WAITING_MAX: usize = 64;

/// How long answers may still come once the client says nothing more: a little more than a call may take.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// How long the last answer may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

struct Relay {
    remote: Remote,
    out: mpsc::Sender<String>,
    /// The requests under way, by the text of their ids.
    under_way: Mutex<HashMap<String, CancellationToken>>,
    /// The version that a client has agreed on who initialised.
    agreed: Mutex<Option<String>>,
}

/// Lets messages pass until the client says nothing more and has its answers, or reads no more.
pub(super) async fn relay<R, W>(remote: Remote, mut input: R, output: W)
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (out, answers) = mpsc::channel(WAITING_MAX);
    let mut writing = tokio::spawn(write(output, answers));
    let relay = Arc::new(Relay { remote, out, under_way: Mutex::default(), agreed: Mutex::default() });
    let mut tasks = JoinSet::new();
    loop {
        let line = tokio::select! {
            biased;
            _ = &mut writing => return,
            line = lines::next(&mut input) => line,
        };
        while tasks.try_join_next().is_some() {}
        match line {
            Ok(Line::Text(line)) if line.trim_ascii().is_empty() => {}
            Ok(Line::Text(line)) => match Message::parse(&line) {
                Ok(message) => relay.take(message, &mut tasks).await,
                Err(refusal) => relay.say(refusal).await,
            },
            Ok(Line::TooLong) => relay.say(too_long()).await,
            Ok(Line::End) => break,
            Err(error) => {
                tracing::warn!(%error, "standard input cannot be read any more");
                break;
            }
        }
    }
    let answered = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        _ = &mut writing => return,
        _ = timeout(LAST_ANSWERS, answered) => {}
    }
    tasks.shutdown().await;
    drop(relay);
    let _ = timeout(LAST_WORDS, writing).await;
}

async fn write<W: AsyncWrite + Unpin>(mut output: W, mut answers: mpsc::Receiver<String>) -> io::Result<()> {
    while let Some(mut line) = answers.recv().await {
        line.push('\n');
        output.write_all(line.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

fn too_long() -> String {
    let error = serde_json::json!({
        "code": -32_600, "message": format!("a message has at most {} bytes", lines::MESSAGE_BYTES),
    });
    serde_json::json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string()
}

impl Relay {
    /// Takes a message of the client. What takes time goes on in a task.
    async fn take(self: &Arc<Self>, message: Message, tasks: &mut JoinSet<()>) {
        let crowded = tasks.len() >= SIDE_BY_SIDE;
        match &message.kind {
            // Over HTTP, hanging up says the same.
            Kind::Cancel(id) => {
                if let Some(request) = self.under_way().remove(&id.to_string()) {
                    request.cancel();
                }
            }
            Kind::Told if crowded => tracing::warn!("a notification was dropped: too many messages at once"),
            Kind::Told => {
                let relay = Arc::clone(self);
                tasks.spawn(async move { relay.tell(message).await });
            }
            Kind::Request(id) if crowded => self.say(Failure::crowded().answer(id)).await,
            Kind::Request(id) => {
                let (id, cancelled) = (id.clone(), CancellationToken::new());
                if self.under_way().contains_key(&id.to_string()) {
                    return self.say(Failure::taken().answer(&id)).await;
                }
                self.under_way().insert(id.to_string(), cancelled.clone());
                let relay = Arc::clone(self);
                tasks.spawn(async move {
                    match cancelled.run_until_cancelled(relay.exchange(message, &id)).await {
                        // Nobody waits for an answer.
                        None => return,
                        Some(Ok(())) => {}
                        Some(Err(failure)) => relay.say(failure.answer(&id)).await,
                    }
                    relay.under_way().remove(&id.to_string());
                });
            }
        }
    }

    /// Sends something on that gets no answer.
    async fn tell(&self, message: Message) {
        let headers = message.headers(self.agreed().as_deref());
        if let Err(failure) = self.remote.post(headers, message.text).await {
            tracing::debug!(?failure, "a notification did not reach the server");
        }
    }

    /// Sends a request on, and all that comes back, until its answer has come.
    async fn exchange(&self, message: Message, id: &Value) -> Result<(), Failure> {
        let headers = message.headers(self.agreed().as_deref());
        let initializes = message.initializes();
        let mut answer = self.remote.post(headers, message.text).await?;
        while let Some(line) = answer.next().await? {
            let Ok(value) = serde_json::from_str::<Value>(&line) else {
                return Err(Failure::stranger(&self.remote.shown(), "it sends something else than messages"));
            };
            let Some(line) = answers(&value, id, &line) else {
                self.say(line).await;
                continue;
            };
            if initializes && let Some(version) = value["result"]["protocolVersion"].as_str() {
                *self.agreed() = Some(version.to_owned());
            }
            self.say(line).await;
            return Ok(());
        }
        Err(Failure::cut_off(&self.remote.shown()))
    }

    async fn say(&self, line: String) {
        // A client that reads no more ends everything elsewhere.
        let _ = self.out.send(line).await;
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agreed(&self) -> MutexGuard<'_, Option<String>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message, if it is the answer to this request. A server that could not read the request does not know its id.
fn answers(value: &Value, id: &Value, line: &str) -> Option<String> {
    if !value["method"].is_null() || (value["error"].is_null() && value["result"].is_null()) {
        return None;
    }
    if value["id"].is_null() {
        let mut value = value.clone();
        value["id"] = id.clone();
        return Some(value.to_string());
    }
    (value["id"] == *id).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_belongs_to_its_request() {
        let id = json!(1);
        for (message, expected) in [
            (json!({"id": 1, "result": {}}), Some(json!({"id": 1, "result": {}}))),
            (json!({"id": null, "error": {"code": 1}}), Some(json!({"id": 1, "error": {"code": 1}}))),
            (json!({"error": {"code": 1}}), Some(json!({"id": 1, "error": {"code": 1}}))),
            (json!({"id": "1", "result": {}}), None),
            (json!({"id": 1, "method": "ping"}), None),
            (json!({"method": "notifications/progress", "params": {}}), None),
            (json!({"id": 1}), None),
        ] {
            let found = answers(&message, &id, &message.to_string());
            let found = found.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            assert_eq!(found, expected, "{message}");
        }
    }
}
