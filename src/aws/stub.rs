//! A loopback AWS for the tests of this crate: one function answers every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use tagwarden_app::ports::{Access, AccountTarget, AssumedRole, ExternalId, ListError, Session};
use tagwarden_core::listing::Listing;
use tagwarden_core::registry::Registry;
use tagwarden_core::resource::Resource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::client::identity_cache;
use crate::http::shared_client;
use crate::inventory::{AwsSettings, Shared};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::session::AwsSession;
use crate::traffic::Counter;

/// A request as the stub sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `X-Amz-Target` without its prefix, the `Action` of a form, or `METHOD /path`.
    pub(crate) action: String,
    pub(crate) body: String,
    /// The access key that signed.
    pub(crate) key: String,
}

/// An answer: status, content type, body. The length is always right: cuts are a matter of the body.
pub(crate) struct Answer(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

pub(crate) fn xml(body: impl Into<String>) -> Answer {
    Answer(200, "text/xml", body.into())
}

pub(crate) fn json(body: impl Into<String>) -> Answer {
    Answer(200, "application/x-amz-json-1.1", body.into())
}

pub(crate) fn ec2_error(status: u16, code: &str) -> Answer {
    let body = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
    );
    Answer(status, "text/xml", body)
}

pub(crate) fn json_error(status: u16, code: &str) -> Answer {
    Answer(status, "application/x-amz-json-1.1", format!(r#"{{"__type":"{code}","message":"no"}}"#))
}

/// The stub: where it listens, and what it was asked.
pub(crate) struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Starts answering. `sts` is answered by itself: account 111111111111, and a key `ASSUMED1`, `ASSUMED2` … for
    /// each role that is assumed; `answer` may overrule that.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { url, asked }
    }

    /// How often this was asked.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.action == action).count()
    }

    pub(crate) fn shared() -> Arc<Shared> {
        let settings = AwsSettings::new(Registry::builtin());
        let http = shared_client(None).unwrap();
        Arc::new(Shared { settings, http, limits: Limits::default(), counter: Arc::new(Counter::default()) })
    }

    fn ambient(&self, shared: &Shared) -> SdkConfig {
        let keys = Credentials::new("AMBIENT", "secret", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .endpoint_url(&self.url)
            .http_client(shared.http.clone())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .identity_cache(identity_cache())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(std::time::Duration::from_millis(1)),
            )
            .build()
    }

    pub(crate) async fn enter_as(&self, shared: &Arc<Shared>, access: Access) -> Result<AwsSession, Refusal> {
        let target = AccountTarget {
            name: None,
            account_id: Some("111111111111".parse().unwrap()),
            labels: BTreeMap::new(),
            access,
            include_regions: Vec::new(),
            exclude_regions: Vec::new(),
        };
        AwsSession::enter(Arc::clone(shared), &self.ambient(shared), &target).await
    }

    pub(crate) async fn enter(&self) -> AwsSession {
        self.enter_as(&Self::shared(), Access::Ambient).await.unwrap()
    }
}

/// Entering by a role that asks for an `ExternalId`.
pub(crate) fn by_role(chain: &[&str]) -> Access {
    Access::AssumeRole(AssumedRole {
        role_arn: "arn:aws:iam::111111111111:role/tagwarden".into(),
        chain: chain.iter().map(|&arn| arn.to_owned()).collect(),
        external_id: Some(ExternalId("a-secret-id".into())),
        session_name: "tagwarden".into(),
        session_duration_seconds: 3600,
        sts_region: None,
    })
}

/// Everything that a listing sends, and how it ends.
pub(crate) async fn list(session: &AwsSession, listing: Listing) -> (Vec<Resource>, Result<(), ListError>) {
    let (sender, mut pages) = mpsc::channel(1);
    let region = "eu-west-1".into();
    let listing = async { session.list(&listing, &region, &{ sender }).await };
    let collecting = async {
        let mut all = Vec::new();
        while let Some(page) = pages.recv().await {
            assert!(!page.is_empty());
            all.extend(page);
        }
        all
    };
    let (result, all) = tokio::join!(listing, collecting);
    (all, result)
}

/// The listing of one type by its own call.
pub(crate) fn native(name: &str) -> Listing {
    Listing::Native(Registry::builtin().id(name).unwrap())
}

async fn serve(
    stream: TcpStream,
    log: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static>,
) -> Option<()> {
    let mut stream = stream;
    let mut buffer = Vec::new();
    loop {
        let (asked, length) = loop {
            if let Some(parsed) = parse(&buffer) {
                break parsed;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        buffer.drain(..length);
        log.lock().unwrap().push(asked.clone());
        let assumed = log.lock().unwrap().iter().filter(|asked| asked.action == "AssumeRole").count();
        let answer = answer(&asked).or_else(|| sts(&asked, assumed));
        let Answer(status, kind, body) =
            answer.unwrap_or_else(|| Answer(500, "text/plain", format!("unexpected: {}", asked.action)));
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
    }
}

fn sts(asked: &Asked, assumed: usize) -> Option<Answer> {
    match &*asked.action {
        "GetCallerIdentity" => Some(xml(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111111111111:x/y</Arn>\
             <UserId>u</UserId><Account>111111111111</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
        )),
        "AssumeRole" => Some(xml(format!(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED{assumed}</AccessKeyId>\
             <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ))),
        _ => None,
    }
}

/// The first request of a buffer, and how long it is.
fn parse(buffer: &[u8]) -> Option<(Asked, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length = end + header("content-length").map_or(0, |length| length.parse().unwrap());
    let body = String::from_utf8_lossy(buffer.get(end..length)?).into_owned();
    let mut line = head.lines().next()?.split(' ');
    let (method, path) = (line.next()?, line.next()?);
    let target = header("x-amz-target").and_then(|target| target.split('.').next_back().map(str::to_owned));
    let form = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned);
    let plain = || format!("{method} {}", path.split('?').next().unwrap_or_default());
    let action = target.or(form).unwrap_or_else(plain);
    let key = header("authorization").and_then(|value| {
        let credential = value.split("Credential=").nth(1)?;
        credential.split('/').next().map(str::to_owned)
    });
    Some((Asked { action, body, key: key.unwrap_or_default() }, length))
}
