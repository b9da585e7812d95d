//! The proxy in front of the real simulator, spoken to as an SDK would.

use std::time::Duration;

use bytes::Bytes;
use futures::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::serve::between;
use super::*;
use crate::Testbed;

/// A status and a whole body, or the fact that there was none.
type Got = Result<(u16, String), String>;

/// One caller: credentials and a region.
struct Caller {
    url: String,
    key: String,
    region: &'static str,
}

impl Caller {
    fn ambient(proxy: &Proxy, region: &'static str) -> Self {
        Self { url: proxy.url(), key: AMBIENT_KEY.to_owned(), region }
    }

    /// Assumes the role of an account, which must work.
    async fn of(proxy: &Proxy, account: &Account, region: &'static str) -> Self {
        let (status, answer) = assume(proxy, &account.role_arn, account.external_id.as_deref()).await;
        assert_eq!(status, 200, "{answer}");
        Self { url: proxy.url(), key: between(&answer, "AccessKeyId").unwrap(), region }
    }

    async fn form(&self, service: &str, pairs: &[(&str, &str)]) -> Got {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.send(service, "/", &[("content-type", "application/x-www-form-urlencoded")], "POST", body).await
    }

    async fn json(&self, service: &str, target: &str, body: &Value) -> Got {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        self.send(service, "/", &headers, "POST", body.to_string()).await
    }

    async fn send(
        &self,
        service: &str,
        path: &str,
        headers: &[(&str, &str)],
        method: &str,
        body: String,
    ) -> Got {
        let scope = format!("{}/20260101/{}/{service}/aws4_request", self.key, self.region);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .header("amz-sdk-request", "attempt=1; max=3");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn make_volumes(&self, count: usize) {
        for number in 0..count {
            let name = format!("volume-{number}");
            let (status, answer) = self
                .form(
                    "ec2",
                    &[
                        ("Action", "CreateVolume"),
                        ("Size", "8"),
                        ("AvailabilityZone", &format!("{}a", self.region)),
                        ("TagSpecification.1.ResourceType", "volume"),
                        ("TagSpecification.1.Tag.1.Key", "Name"),
                        ("TagSpecification.1.Tag.1.Value", &name),
                    ],
                )
                .await
                .unwrap();
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// Follows page tokens; gives the number of items of each page, or the answer that was no page.
    async fn volumes(&self) -> Result<Vec<usize>, String> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let (status, page) =
                self.form("ec2", &[("Action", "DescribeVolumes"), ("NextToken", &token)]).await?;
            if status != 200 {
                return Err(page);
            }
            pages.push(page.matches("<volumeId>").count());
            match between(&page, "nextToken").filter(|token| !token.is_empty()) {
                Some(next) => token = next,
                None => return Ok(pages),
            }
        }
    }

    async fn tagged(&self) -> Result<Vec<usize>, String> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let (status, page) =
                self.json("tagging", GET_RESOURCES, &json!({ "PaginationToken": token })).await?;
            if status != 200 {
                return Err(page);
            }
            let page: Value = serde_json::from_str(&page).unwrap();
            pages.push(page["ResourceTagMappingList"].as_array().unwrap().len());
            match page["PaginationToken"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => return Ok(pages),
            }
        }
    }
}

mod futures {
    use std::future::Future;

    /// Runs all of them at once.
    pub(super) async fn join_all<F>(futures: Vec<F>) -> Vec<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await.unwrap());
        }
        outputs
    }
}

const GET_RESOURCES: &str = "ResourceGroupsTaggingAPI_20170126.GetResources";

async fn assume(proxy: &Proxy, role: &str, external_id: Option<&str>) -> (u16, String) {
    let caller = Caller::ambient(proxy, "us-east-1");
    let mut pairs = vec![("Action", "AssumeRole"), ("RoleArn", role), ("RoleSessionName", "test")];
    pairs.extend(external_id.map(|id| ("ExternalId", id)));
    caller.form("sts", &pairs).await.unwrap()
}

#[tokio::test]
async fn a_role_is_only_for_those_it_trusts() {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account_with_external_id();
    let role = &account.role_arn;
    for (role, external_id) in [
        (role.as_str(), None),
        (role.as_str(), Some("wrong")),
        ("arn:aws:iam::999999999999:role/unknown", account.external_id.as_deref()),
    ] {
        let (status, answer) = assume(&proxy, role, external_id).await;
        assert_eq!(
            (status, between(&answer, "Code").as_deref()),
            (403, Some("AccessDenied")),
            "{role} {external_id:?}"
        );
    }
    let caller = Caller::of(&proxy, &account, "eu-west-1").await;
    caller.form("ec2", &[("Action", "DescribeVpcs")]).await.unwrap();
    let calls = proxy.calls_of("ec2", "*");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&calls[0].account, calls[0].region.as_str(), calls[0].status),
        (&account.id, "eu-west-1", Some(200))
    );

    proxy.distrust(role);
    assert_eq!(assume(&proxy, role, account.external_id.as_deref()).await.0, 403);
    assert!(proxy.env_as(&account).iter().any(|(name, _)| *name == "AWS_SESSION_TOKEN"));
}

#[tokio::test]
async fn lists_come_in_the_pages_that_a_rule_asks_for() {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account();
    let caller = Caller::of(&proxy, &account, "eu-west-1").await;
    caller.make_volumes(7).await;
    assert_eq!(caller.volumes().await.unwrap(), [7]);

    proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::ExpireToken).after(1).once());
    proxy.rule(Rule::on("*", "*", Fault::Repage { size: 3 }).in_account(&account.id));
    let refused = caller.volumes().await.unwrap_err();
    assert_eq!(between(&refused, "Code").as_deref(), Some("InvalidNextToken"), "the token of page 3");
    assert_eq!(caller.volumes().await.unwrap(), [3, 3, 1]);
    assert_eq!(caller.tagged().await.unwrap(), [3, 3, 1]);
    assert_eq!(proxy.calls_of("ec2", "DescribeVolumes").iter().filter(|call| call.further_page).count(), 4);

    proxy.clear_rules();
    let forged = json!({ "PaginationToken": "testbed:999999:3" });
    let (status, answer) = caller.json("tagging", GET_RESOURCES, &forged).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer.contains("PaginationTokenExpiredException"), "{answer}");
}

#[tokio::test]
async fn a_list_that_nobody_can_cut_is_said_so() {
    let proxy = Testbed::shared().proxy();
    proxy.rule(Rule::on("sts", "GetCallerIdentity", Fault::Repage { size: 1 }));
    let caller = Caller::ambient(&proxy, "us-east-1");
    assert_eq!(caller.form("sts", &[("Action", "GetCallerIdentity")]).await.unwrap().0, 501);
    assert_eq!(proxy.take_tripwires().len(), 1);
}

#[tokio::test]
async fn the_wire_can_fail_in_four_ways() {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account();
    let caller = Caller::of(&proxy, &account, "us-east-1").await;
    let ask = async || caller.form("ec2", &[("Action", "DescribeSubnets")]).await;
    let (_, whole) = ask().await.unwrap();

    proxy.rule(Rule::on("ec2", "*", Fault::Drop).once());
    assert!(ask().await.is_err());
    proxy.rule(Rule::on("ec2", "*", Fault::BreakBody).once());
    assert!(ask().await.is_err());
    proxy.rule(Rule::on("ec2", "*", Fault::TruncateBody { keep_percent: 50 }).once());
    let (status, cut) = ask().await.unwrap();
    assert_eq!((status, cut.len()), (200, whole.len() / 2));
    proxy.rule(Rule::on("ec2", "*", Fault::error(503, "ServiceUnavailable")).once());
    assert_eq!(ask().await.unwrap().0, 503);
    assert_eq!(ask().await.unwrap().1.len(), whole.len(), "and then it works again");

    let faults: Vec<_> = proxy.calls_of("ec2", "*").iter().map(|call| (call.fault, call.status)).collect();
    assert_eq!(
        faults,
        [
            (None, Some(200)),
            (Some("drop"), None),
            (Some("break-body"), Some(200)),
            (Some("truncate-body"), Some(200)),
            (Some("error"), Some(503)),
            (None, Some(200)),
        ]
    );
}

#[tokio::test]
async fn what_is_served_at_once_is_counted() {
    let proxy = Testbed::shared().proxy();
    proxy.rule(Rule::on("sts", "*", Fault::Delay(Duration::from_millis(300))));
    let asks: Vec<_> = (0..4)
        .map(|_| {
            let caller = Caller::ambient(&proxy, "us-east-1");
            async move { caller.form("sts", &[("Action", "GetCallerIdentity")]).await }
        })
        .collect();
    assert!(join_all(asks).await.iter().all(Result::is_ok));
    assert_eq!(
        (proxy.max_in_flight(), proxy.max_in_flight_of("sts"), proxy.max_in_flight_of("ec2")),
        (4, 4, 0)
    );
    proxy.forget_calls();
    assert_eq!((proxy.max_in_flight(), proxy.count("*", "*")), (0, 0));
}

#[tokio::test]
async fn every_protocol_has_its_own_errors() {
    let proxy = Testbed::shared().proxy();
    proxy.rule(Rule::on("*", "*", Fault::Throttle));
    let caller = Caller::ambient(&proxy, "us-east-1");
    let ec2 = caller.form("ec2", &[("Action", "DescribeVpcs")]).await.unwrap();
    let rds = caller.form("rds", &[("Action", "DescribeDBInstances")]).await.unwrap();
    let s3 = caller.send("s3", "/", &[], "GET", String::new()).await.unwrap();
    let tagging = caller.json("tagging", GET_RESOURCES, &json!({})).await.unwrap();
    let lambda = caller.send("lambda", "/2015-03-31/functions/", &[], "GET", String::new()).await.unwrap();
    assert_eq!((ec2.0, rds.0, s3.0, tagging.0, lambda.0), (503, 400, 503, 400, 429));
    assert!(ec2.1.starts_with("<Response><Errors>") && ec2.1.contains("RequestLimitExceeded"));
    assert!(rds.1.starts_with("<ErrorResponse>") && rds.1.contains("Throttling"));
    assert!(s3.1.starts_with("<Error><Code>SlowDown"));
    assert!(tagging.1.contains(r#""__type":"ThrottlingException""#));
    assert_eq!(proxy.calls_of("lambda", "ListFunctions").len(), 1);
}

#[tokio::test]
async fn a_region_that_is_not_enabled_refuses() {
    let proxy = Testbed::shared().proxy();
    proxy.enable_regions(&["us-east-1", "ap-east-1"]);
    let home = Caller::ambient(&proxy, "us-east-1");
    let (_, answer) = home.form("ec2", &[("Action", "DescribeRegions")]).await.unwrap();
    assert_eq!(answer.matches("<item>").count(), 2);
    let abroad = Caller::ambient(&proxy, "eu-west-1");
    let (status, answer) = abroad.form("ec2", &[("Action", "DescribeVpcs")]).await.unwrap();
    assert_eq!((status, between(&answer, "Code").as_deref()), (401, Some("AuthFailure")));
}

#[tokio::test]
async fn a_bucket_is_tagged_in_its_own_region_alone() {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account();
    let home = Caller::of(&proxy, &account, "eu-central-1").await;
    let bucket = format!("/bucket-{}", account.id);
    let place = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(home.send("s3", &bucket, &[], "PUT", place.to_owned()).await.unwrap().0, 200);
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let tagged = home.send("s3", &format!("{bucket}?tagging"), &[], "PUT", tags.to_owned()).await.unwrap();
    assert!((200..300).contains(&tagged.0), "{tagged:?}");
    let abroad = Caller { url: proxy.url(), key: home.key.clone(), region: "us-east-1" };
    assert_eq!((home.tagged().await.unwrap(), abroad.tagged().await.unwrap()), (vec![1], vec![0]));
}

#[tokio::test]
async fn what_the_simulator_lacks_fails_the_test() {
    let proxy = Testbed::shared().proxy();
    let caller = Caller::ambient(&proxy, "us-east-1");
    let target = "ResourceGroupsTaggingAPI_20170126.GetComplianceSummary";
    assert_eq!(caller.json("tagging", target, &json!({})).await.unwrap().0, 501);
    assert!(proxy.take_tripwires()[0].contains("tagging.GetComplianceSummary"));

    caller.json("tagging", target, &json!({})).await.unwrap();
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(proxy)));
    assert!(dropped.is_err(), "a tripwire that nobody looked at must be loud");
}
