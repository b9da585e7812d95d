//! The way of a request: identified, struck or not, passed on, and its answer corrected where the simulator is
//! not like AWS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::AMBIENT_KEY;
use super::answer::{Answer, error, of_fault, region_disabled};
use super::call::{Identity, Protocol, form_value, identify};
use super::listing::{Paging, paging};
use super::regions;
use super::rule::{Fault, Strike};
use super::state::{CutListing, State};

const MAX_REQUEST: usize = 16 << 20;
const MAX_ANSWER: usize = 256 << 20;
/// Pages of the simulator that are joined into one list before it is cut anew.
const MAX_PAGES: usize = 10_000;
/// What page tokens of our own look like: `testbed:LISTING:OFFSET`.
const OWN_TOKEN: &str = "testbed:";

/// Serves the requests of one proxy.
#[derive(Debug, Clone)]
pub(super) struct Server {
    upstream: String,
    state: State,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
pub(super) struct Dropped;

impl Server {
    pub(super) fn new(upstream: String, state: State) -> Self {
        // A connection each: an idle one may be closed by the simulator at the moment of its next use.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { upstream, state, client }
    }

    /// Answers one request.
    pub(super) async fn serve(self, request: Request<Incoming>) -> Result<Response<Sent>, Dropped> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_REQUEST).collect().await.map_err(|_| Dropped)?.to_bytes();
        let call = identify(&parts, &body);
        let (in_flight, Strike { answer, wire }) = self.state.begin(&call);
        if let Some(Fault::Delay(delay)) = wire {
            tokio::time::sleep(delay).await;
        }
        let is_head = parts.method == Method::HEAD;
        let answer = match answer {
            Some(Fault::Drop) => return Err(Dropped),
            Some(Fault::Repage { size }) => self.repaged(&call, parts, body, size).await,
            Some(fault) => of_fault(&fault, call.protocol).ok_or(Dropped)?,
            None => self.plain(&call, parts, body).await,
        };
        in_flight.answered(answer.status.as_u16());
        Ok(sent(answer, wire.as_ref(), is_head))
    }

    /// Sends a form of the caller's own account straight to the simulator.
    pub(super) async fn ask(&self, service: &str, form: String) -> String {
        let credential = format!("{AMBIENT_KEY}/20260101/us-east-1/{service}/aws4_request");
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(
                AUTHORIZATION,
                format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"),
            )
            .body(());
        match request {
            Ok(request) => {
                let (parts, ()) = request.into_parts();
                self.pass_on(parts, form.into()).await.map_or_else(|cause| cause, |answer| answer.text())
            }
            Err(error) => error.to_string(),
        }
    }

    /// The answer that AWS would give.
    async fn plain(&self, call: &Identity, parts: Parts, body: Bytes) -> Answer {
        if let Some(token) = call.page_token.as_deref().and_then(|token| token.strip_prefix(OWN_TOKEN)) {
            return self.further_page(call, token);
        }
        let disabled = {
            let inner = self.state.lock();
            if call.service == "ec2" && call.action == "DescribeRegions" {
                return regions::describe(&body, &inner.enabled_regions);
            }
            !inner.enabled_regions.contains(&call.region)
        };
        if disabled && call.region != "unsigned" {
            return region_disabled(call.protocol);
        }
        if call.service == "sts" && call.action == "AssumeRole" {
            return self.assume_role(call, parts, body).await;
        }
        self.upstream(call, parts, body).await
    }

    /// Asks the simulator, and mends what it gets wrong.
    async fn upstream(&self, call: &Identity, parts: Parts, body: Bytes) -> Answer {
        let lists_tagged = call.service == "tagging" && call.action == "GetResources";
        let body = if lists_tagged { in_moto_s_words(&body) } else { body };
        let answer = match self.pass_on(parts, body).await {
            Ok(answer) => answer,
            Err(cause) => {
                self.state.trip(format!("{}.{}: {cause}", call.service, call.action));
                return error(call.protocol, 502, "TestbedUpstream", &cause);
            }
        };
        let html =
            answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if html
            && (answer.status.is_server_error() || answer.status == StatusCode::NOT_FOUND)
            && call.protocol != Protocol::S3
            || answer.status == StatusCode::INTERNAL_SERVER_ERROR
        {
            let text: String = answer.text().chars().take(300).collect();
            self.state.trip(format!(
                "moto does not know {}.{}: {} {text}",
                call.service, call.action, answer.status
            ));
            return error(call.protocol, 501, "NotImplemented", "the simulator lacks this operation");
        }
        if lists_tagged && answer.status.is_success() {
            return self.without_foreign_buckets(call, answer).await;
        }
        answer
    }

    async fn pass_on(&self, parts: Parts, body: Bytes) -> Result<Answer, String> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request =
            Request::builder().method(parts.method).uri(format!("http://{}{path}", self.upstream));
        for (name, value) in &parts.headers {
            if ![HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, ACCEPT_ENCODING].contains(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer =
            self.client.request(request).await.map_err(|error| format!("moto did not answer: {error:?}"))?;
        let (parts, body) = answer.into_parts();
        let body =
            Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Enforces trust policies, which the simulator does not look at, and learns whose the new credentials are.
    async fn assume_role(&self, call: &Identity, parts: Parts, body: Bytes) -> Answer {
        let role = form_value(&body, "RoleArn").unwrap_or_default();
        let offered = form_value(&body, "ExternalId");
        let trusted = match self.state.lock().trust.get(&role) {
            None => false,
            Some(None) => true,
            Some(asked) => *asked == offered,
        };
        if !trusted {
            let caller = self.state.lock().account_of(&call.access_key);
            let message = format!(
                "User: arn:aws:sts::{caller}:assumed-role/caller/session is not authorized to perform: sts:AssumeRole \
                 on resource: {role}"
            );
            return error(Protocol::Query, 403, "AccessDenied", &message);
        }
        let answer = self.upstream(call, parts, body).await;
        if let (Some(key), Some(account)) = (between(&answer.text(), "AccessKeyId"), role.split(':').nth(4)) {
            self.state.lock().learn(key, account.to_owned());
        }
        answer
    }

    /// The simulator names every bucket in every region; AWS only in its own.
    async fn without_foreign_buckets(&self, call: &Identity, answer: Answer) -> Answer {
        let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
        let Some(rows) = body.get_mut("ResourceTagMappingList").and_then(Value::as_array_mut) else {
            return answer;
        };
        let mut kept = Vec::with_capacity(rows.len());
        for row in std::mem::take(rows) {
            let bucket = row["ResourceARN"].as_str().and_then(|arn| arn.strip_prefix("arn:aws:s3:::"));
            if let Some(bucket) = bucket
                && self.region_of_bucket(call, bucket).await.is_some_and(|region| region != call.region)
            {
                continue;
            }
            kept.push(row);
        }
        *rows = kept;
        answer.with_body(body.to_string())
    }

    async fn region_of_bucket(&self, call: &Identity, bucket: &str) -> Option<String> {
        let account = self.state.lock().account_of(&call.access_key);
        let known = self.state.lock().bucket_region(&account, bucket);
        if known.is_some() {
            return known;
        }
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", call.access_key, call.date);
        let (parts, ()) = Request::get(format!("/{bucket}?location"))
            .header(
                AUTHORIZATION,
                format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"),
            )
            .body(())
            .ok()?
            .into_parts();
        let answer =
            self.pass_on(parts, Bytes::new()).await.ok().filter(|answer| answer.status.is_success())?;
        let region = between(&answer.text(), "LocationConstraint").filter(|region| !region.is_empty());
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        self.state.lock().learn_bucket_region(&account, bucket, &region);
        Some(region)
    }

    /// Fetches a listing to its end and serves its first page in another size.
    async fn repaged(&self, call: &Identity, parts: Parts, body: Bytes, size: usize) -> Answer {
        if call.page_token.as_deref().is_some_and(|token| token.starts_with(OWN_TOKEN)) {
            return self.plain(call, parts, body).await;
        }
        let Some(paging) = paging(call) else {
            self.state.trip(format!("{}.{} cannot be cut into pages here", call.service, call.action));
            return error(call.protocol, 501, "NotImplemented", "no paging is known for this operation");
        };
        let first = self.plain(call, parts.clone(), body.clone()).await;
        if !first.status.is_success() {
            return first;
        }
        let Some(mut list) = paging.split(&first) else { return first };
        for _ in 0..MAX_PAGES {
            let Some(token) = list.next.take() else { break };
            let mut parts = parts.clone();
            let body = paging.ask_for(&mut parts, &body, &token);
            let answer = self.upstream(call, parts, body).await;
            let Some(page) = paging.split(&answer).filter(|_| answer.status.is_success()) else {
                return answer;
            };
            list.items.extend(page.items);
            list.next = page.next;
        }
        let listing = CutListing { paging, answer: first, list, size: size.max(1) };
        let (id, listing) = self.state.lock().keep(listing);
        page(&listing, id, 0)
    }

    fn further_page(&self, call: &Identity, token: &str) -> Answer {
        let place =
            token.split_once(':').and_then(|(id, offset)| Some((id.parse().ok()?, offset.parse().ok()?)));
        let found = place.and_then(|(id, offset): (u64, usize)| {
            let listing = self.state.lock().listing(id)?;
            (paging(call) == Some(listing.paging) && offset < listing.list.items.len())
                .then(|| page(&listing, id, offset))
        });
        found
            .or_else(|| of_fault(&Fault::ExpireToken, call.protocol))
            .unwrap_or_else(|| error(call.protocol, 400, "InvalidNextToken", token))
    }
}

/// The simulator spells one type filter in its own way, and answers one that it does not know with nothing.
fn in_moto_s_words(body: &Bytes) -> Bytes {
    String::from_utf8_lossy(body).replace("\"logs:log-group\"", "\"logs:loggroup\"").into()
}

fn page(listing: &CutListing, id: u64, offset: usize) -> Answer {
    let items = &listing.list.items;
    let end = items.len().min(offset + listing.size);
    let next = (end < items.len()).then(|| format!("{OWN_TOKEN}{id}:{end}"));
    let body = Paging::join(&listing.paging, &listing.list, &items[offset..end], next.as_deref());
    listing.answer.with_body(body)
}

/// The text of the first element of this name.
pub(super) fn between(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}"))?;
    let (attributes, rest) = rest.split_once('>')?;
    if attributes.ends_with('/') {
        return Some(String::new());
    }
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim().to_owned())
}

/// Puts an answer on the wire, harmed as told.
fn sent(answer: Answer, wire: Option<&Fault>, is_head: bool) -> Response<Sent> {
    let whole = answer.body.len();
    let (body, promised, breaks) = match wire {
        Some(Fault::BreakBody) => (answer.body.slice(..whole / 2), whole.max(1), true),
        Some(Fault::TruncateBody { keep_percent }) => {
            let kept = whole * usize::from((*keep_percent).min(99)) / 100;
            (answer.body.slice(..kept), kept, false)
        }
        _ => (answer.body, whole, false),
    };
    let mut response = Response::new(Sent { rest: Some(body).filter(|body| !body.is_empty()), breaks });
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    let headers = response.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    if !is_head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(promised));
    }
    response
}

/// A body in one piece, after which the connection may break.
#[derive(Debug)]
pub(super) struct Sent {
    rest: Option<Bytes>,
    breaks: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if std::mem::take(&mut self.breaks) {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, Bytes::len) as u64;
        if self.breaks { SizeHint::default() } else { SizeHint::with_exact(rest) }
    }
}
