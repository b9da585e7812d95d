//! An agent: a connection that stays open, a key, and requests of the protocol, each of which brings everything along.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::bed::Outcome;

/// One client with its connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    bearer: String,
}

/// What came back.
pub struct Answer {
    /// The result of the method; of a tool, its structured content.
    pub value: Value,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Client {
    pub async fn connect(address: SocketAddr, key: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong on it shows in the request.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string(), bearer: format!("Bearer {key}") })
    }

    /// A page that asks nothing of the store: what the way there and back takes.
    pub async fn health(&mut self) -> Outcome<usize> {
        let request = Request::get("/health").header("host", &self.host).body(Full::default())?;
        Ok(self.send(request).await?.len())
    }

    /// A method of the protocol.
    pub async fn ask(&mut self, method: &str, params: &Value) -> Outcome<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request = Request::post("/mcp")
            .header("host", &self.host)
            .header("authorization", &self.bearer)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Full::from(body))?;
        let body = self.send(request).await?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        let value = answer["result"].take();
        if value.is_null() || value["isError"] == true {
            return Err(format!("{method} {params}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(Answer { value, bytes: body.len() })
    }

    /// A tool, and what it answers.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Outcome<Answer> {
        let mut answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments})).await?;
        answer.value = answer.value["structuredContent"].take();
        Ok(answer)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Outcome<Bytes> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
        }
    }
}
