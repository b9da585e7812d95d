//! The fault matrix: each way in which AWS or the network can fail, and what the user gets to see.
//!
//! Every test runs the program itself against the simulator behind the fault proxy, in an account of its own.
//! `docs/reliability.md` lists them.

use tagwarden_testbed::{Fault, REGIONS, Rule};

use crate::cloud::{BARE, OWNED};
use crate::site::{HERE, site, site_with};

/// A fault that passes, and what it costs.
struct Passing {
    resource_type: &'static str,
    call: (&'static str, &'static str),
    fault: Fault,
    /// How often it strikes.
    times: u32,
}

/// A fault that passes costs attempts, and nothing else.
#[track_caller]
fn passes(passing: &Passing) {
    let Passing { resource_type, call: (service, action), fault, times } = passing;
    let (times, resource_type) = (*times, *resource_type);
    let site = site_with(resource_type);
    let throttles = if *fault == Fault::Throttle { u64::from(times) } else { 0 };
    site.proxy.rule(Rule::on(service, action, fault.clone()).times(times));
    let report = site.scan(&[resource_type], &[HERE]);
    let context = format!("{service} {action} {fault:?}");
    assert!(report.complete(), "{context}: {:#}", report.0["coverage"]);
    let cell = site.cell(&report, HERE, resource_type);
    assert_eq!((cell.state.as_str(), cell.resources), ("complete", 3), "{context}");
    assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 2), "{context}");
    assert_eq!(report.violating_arns().len(), 2, "{context}");
    assert_eq!(report.0["throttled"], throttles, "{context}");
    let calls = site.proxy.calls_of(service, action);
    assert_eq!(calls.len(), times as usize + 1, "{context}: {calls:#?}");
}

/// A fault that stays is a gap of this state after so many attempts; the type beside it is seen, and the exit
/// status stays 0. Gives the cause.
#[track_caller]
fn stays(
    resource_type: &str,
    (service, action): (&str, &str),
    fault: &Fault,
    state: &str,
    attempts: usize,
) -> String {
    let site = site_with(resource_type);
    site.proxy.rule(Rule::on(service, action, fault.clone()));
    let report = site.scan(&[resource_type, "ec2:vpc"], &[HERE]);
    assert!(!report.complete());
    let cell = site.cell(&report, HERE, resource_type);
    assert_eq!((cell.state.as_str(), cell.resources), (state, 0), "{fault:?}: {cell:?}");
    assert_eq!(site.cell(&report, HERE, "ec2:vpc").state, "complete");
    assert!(report.violations(|row| row["resourceType"] == resource_type).is_empty());
    assert_eq!(site.proxy.count(service, action), attempts, "{fault:?}");
    cell.cause
}

// --- faults that pass ---------------------------------------------------------------------------------------

#[test]
fn a_throttled_ec2_call_is_made_again() {
    let call = ("ec2", "DescribeVolumes");
    passes(&Passing { resource_type: "ec2:volume", call, fault: Fault::Throttle, times: 2 });
}

#[test]
fn a_throttled_json_call_is_made_again() {
    let call = ("ecs", "ListClusters");
    passes(&Passing { resource_type: "ecs:cluster", call, fault: Fault::Throttle, times: 2 });
}

#[test]
fn a_slowed_down_s3_call_is_made_again() {
    let call = ("s3", "ListBuckets");
    passes(&Passing { resource_type: "s3:bucket", call, fault: Fault::Throttle, times: 1 });
}

#[test]
fn an_internal_error_is_asked_again() {
    let call = ("rds", "DescribeDBInstances");
    let fault = Fault::error(500, "InternalFailure");
    passes(&Passing { resource_type: "rds:db", call, fault, times: 1 });
}

#[test]
fn a_dropped_connection_is_made_again() {
    let call = ("rds", "DescribeDBInstances");
    passes(&Passing { resource_type: "rds:db", call, fault: Fault::Drop, times: 1 });
}

#[test]
fn a_body_that_breaks_off_is_fetched_again() {
    let call = ("ec2", "DescribeVolumes");
    passes(&Passing { resource_type: "ec2:volume", call, fault: Fault::BreakBody, times: 1 });
}

/// The length agrees, so nothing on the wire tells; an XML parser may well take what is there for all there is.
#[test]
fn a_truncated_xml_answer_is_never_a_smaller_count() {
    for (resource_type, call) in
        [("ec2:volume", ("ec2", "DescribeVolumes")), ("rds:db", ("rds", "DescribeDBInstances"))]
    {
        for keep_percent in [0, 60, 99] {
            passes(&Passing { resource_type, call, fault: Fault::TruncateBody { keep_percent }, times: 1 });
        }
    }
}

#[test]
fn a_truncated_json_answer_is_never_a_smaller_count() {
    for (resource_type, call) in [
        ("ecs:cluster", ("ecs", "ListClusters")),
        ("lambda:function", ("lambda", "ListFunctions")),
        ("lambda:function", ("tagging", "GetResources")),
    ] {
        passes(&Passing { resource_type, call, fault: Fault::TruncateBody { keep_percent: 60 }, times: 1 });
    }
}

// --- faults that stay ---------------------------------------------------------------------------------------

#[test]
fn a_rate_limit_that_holds_is_throttled_after_three_attempts() {
    let cause = stays("rds:db", ("rds", "DescribeDBInstances"), &Fault::Throttle, "throttled", 3);
    assert!(cause.contains("rds:DescribeDBInstances") && cause.contains("Throttling"), "{cause}");
    let cause = stays("ec2:volume", ("ec2", "DescribeVolumes"), &Fault::Throttle, "throttled", 3);
    assert!(cause.contains("RequestLimitExceeded"), "{cause}");
}

#[test]
fn answers_that_are_always_truncated_are_a_failure() {
    for (resource_type, call) in [
        ("ec2:volume", ("ec2", "DescribeVolumes")),
        ("rds:db", ("rds", "DescribeDBInstances")),
        ("ecs:cluster", ("ecs", "ListClusters")),
        ("sns:topic", ("tagging", "GetResources")),
    ] {
        let cause = stays(resource_type, call, &Fault::TruncateBody { keep_percent: 60 }, "failed", 3);
        assert!(cause.contains("cut short"), "{cause}");
    }
}

#[test]
fn connections_that_always_drop_are_a_failure() {
    let cause = stays("rds:db", ("rds", "DescribeDBInstances"), &Fault::Drop, "failed", 3);
    assert!(cause.contains("cannot reach"), "{cause}");
}

#[test]
fn a_denied_call_is_made_once_and_named() {
    for (resource_type, call, action) in [
        ("ec2:volume", ("ec2", "DescribeVolumes"), "ec2:DescribeVolumes"),
        ("rds:db", ("rds", "DescribeDBInstances"), "rds:DescribeDBInstances"),
        ("s3:bucket", ("s3", "ListBuckets"), "s3:ListAllMyBuckets"),
        ("lambda:function", ("lambda", "ListFunctions"), "lambda:ListFunctions"),
        ("ecs:cluster", ("ecs", "ListClusters"), "ecs:ListClusters"),
        ("sns:topic", ("tagging", "GetResources"), "tag:GetResources"),
    ] {
        let cause = stays(resource_type, call, &Fault::Deny, "denied", 1);
        assert!(cause.contains(&format!("add {action} to the role")), "{cause}");
    }
}

// --- one region among several -------------------------------------------------------------------------------

#[test]
fn a_denied_region_leaves_the_others_alone() {
    let site = site();
    for region in REGIONS {
        site.cloud.database(region, "orders", BARE);
    }
    site.proxy.rule(Rule::on("rds", "*", Fault::Deny).in_region(HERE));
    let report = site.scan(&["rds:db"], &[]);
    assert!(!report.complete());
    for region in REGIONS {
        let cell = site.cell(&report, region, "rds:db");
        let expected = if region == HERE { ("denied", 0) } else { ("complete", 1) };
        assert_eq!((cell.state.as_str(), cell.resources), expected, "{region}");
    }
    let denied = site.proxy.calls_of("rds", "*").into_iter().filter(|call| call.region == HERE).count();
    assert_eq!(denied, 1, "a refusal is final");
    assert_eq!(report.summary("violating"), 2);
}

#[test]
fn denied_regions_cost_one_call_a_listing_and_delay_nobody() {
    let site = site();
    for region in REGIONS {
        site.cloud.volume(region, OWNED);
    }
    for region in ["eu-central-1", HERE] {
        site.proxy.rule(Rule::on("ec2", "DescribeV*", Fault::Deny).in_region(region));
    }
    let report = site.scan(&["ec2:volume", "ec2:vpc"], &[]);
    for region in REGIONS {
        let state = if region == "us-east-1" { "complete" } else { "denied" };
        assert_eq!(site.cell(&report, region, "ec2:volume").state, state, "{region}");
        assert_eq!(site.cell(&report, region, "ec2:vpc").state, state, "{region}");
    }
    let calls = site.proxy.calls_of("ec2", "DescribeV*");
    assert_eq!(calls.len(), 6, "{calls:#?}");
    assert!(calls.iter().all(|call| call.attempt == 1));
}

#[test]
fn without_region_discovery_the_default_region_is_scanned() {
    let site = site();
    site.cloud.volume("us-east-1", OWNED);
    site.cloud.volume(HERE, OWNED);
    site.proxy.rule(Rule::on("ec2", "DescribeRegions", Fault::Deny));
    let report = site.scan(&["ec2:volume"], &[]);
    assert!(!report.complete(), "the other regions were not seen");
    let account = &report.0["accounts"][0];
    assert_eq!(account["discoveryFailed"], true);
    assert!(account["discoveryError"].as_str().unwrap().contains("add ec2:DescribeRegions"), "{account}");
    assert_eq!(account["regions"], serde_json::json!(["us-east-1"]));
    assert_eq!(report.summary("resources"), 1);
}

#[test]
fn a_region_that_is_not_enabled_is_never_called() {
    let site = site();
    site.cloud.volume(HERE, OWNED);
    site.proxy.enable_regions(&[HERE, "us-east-1"]);
    let report = site.scan(&["ec2:volume", "s3:bucket", "sns:topic"], &[]);
    assert_eq!(report.0["accounts"][0]["regions"], serde_json::json!([HERE, "us-east-1"]));
    assert!(site.proxy.calls().iter().all(|call| call.region != "eu-central-1"));
    assert!(report.cells().iter().all(|cell| cell.region != "eu-central-1"));
}

#[test]
fn a_region_asked_for_and_not_enabled_is_refused_with_the_enabled_ones() {
    let site = site();
    let ended = site.run(&["ec2:volume"], &["ap-east-1"]);
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("ap-east-1") && ended.stderr.contains(&REGIONS.join(", ")),
        "{}",
        ended.stderr
    );
    assert_eq!(site.proxy.count("ec2", "DescribeVolumes"), 0);
}

// --- tags that cannot be read -------------------------------------------------------------------------------

/// The types whose listing has no tags, and the call that has those of one resource.
const JOINED: [(&str, (&str, &str)); 3] = [
    ("s3:bucket", ("s3", "GetBucketTagging")),
    ("lambda:function", ("lambda", "ListTags")),
    ("ecs:task-definition", ("ecs", "ListTagsForResource")),
];

#[test]
fn without_the_tagging_api_each_service_is_asked_for_tags() {
    for (resource_type, (service, action)) in JOINED {
        let site = site_with(resource_type);
        site.proxy.rule(Rule::on("tagging", "*", Fault::Deny));
        let report = site.scan(&[resource_type], &[HERE]);
        assert!(report.complete(), "{:#}", report.0["coverage"]);
        assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 2), "{resource_type}");
        assert_eq!(site.proxy.count("tagging", "*"), 1);
        assert_eq!(site.proxy.count(service, action), 3);
    }
}

#[test]
fn tags_that_may_not_be_read_are_unknown_not_missing() {
    for (resource_type, (service, action)) in JOINED {
        let site = site_with(resource_type);
        site.proxy.rule(Rule::on("tagging", "*", Fault::Deny));
        site.proxy.rule(Rule::on(service, action, Fault::Deny));
        let report = site.scan(&[resource_type], &[HERE]);
        assert!(!report.complete());
        let cell = site.cell(&report, HERE, resource_type);
        assert_eq!((cell.state.as_str(), cell.resources), ("denied", 3), "{cell:?}");
        assert!(cell.cause.contains("tag:GetResources"), "{}", cell.cause);
        assert_eq!((report.summary("unknown"), report.summary("resources")), (3, 0));
        assert!(report.violations(|_| true).is_empty());
    }
}

#[test]
fn tags_that_did_not_arrive_are_unknown_not_missing() {
    for (fault, state) in [
        (Fault::error(500, "InternalServiceException"), "failed"),
        (Fault::Throttle, "throttled"),
        (Fault::Drop, "failed"),
        (Fault::TruncateBody { keep_percent: 60 }, "failed"),
    ] {
        let site = site_with("lambda:function");
        site.proxy.rule(Rule::on("tagging", "*", fault.clone()));
        let report = site.scan(&["lambda:function"], &[HERE]);
        let cell = site.cell(&report, HERE, "lambda:function");
        assert_eq!((cell.state.as_str(), cell.resources), (state, 3), "{fault:?}: {cell:?}");
        assert_eq!((report.summary("unknown"), report.summary("violating")), (3, 0), "{fault:?}");
    }
}

// --- pages that expire --------------------------------------------------------------------------------------

/// Page tokens that expire on page 3, as each protocol says it.
#[test]
fn an_expired_page_token_starts_the_listing_over() {
    for (resource_type, (service, action)) in [
        ("ec2:volume", ("ec2", "DescribeVolumes")),
        ("rds:db", ("rds", "DescribeDBInstances")),
        ("lambda:function", ("lambda", "ListFunctions")),
        ("ecs:task-definition", ("ecs", "ListTaskDefinitions")),
        ("s3:bucket", ("s3", "ListBuckets")),
        ("sns:topic", ("tagging", "GetResources")),
    ] {
        let site = site_with(resource_type);
        site.proxy.rule(Rule::on(service, action, Fault::ExpireToken).after(1).once());
        site.proxy.rule(Rule::on(service, action, Fault::Repage { size: 1 }));
        let report = site.scan(&[resource_type], &[HERE]);
        let cell = site.cell(&report, HERE, resource_type);
        let whole = if resource_type == "sns:topic" { "tagged_only" } else { "complete" };
        assert_eq!((cell.state.as_str(), cell.resources), (whole, 3), "{cell:?}");
        assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 2), "{resource_type}");
        assert_eq!(report.violations(|_| true).len(), 2, "{resource_type}");
        assert_eq!(
            site.proxy.count(service, action),
            6,
            "three pages up to the refusal, then three from the start"
        );
    }
}

#[test]
fn page_tokens_that_always_expire_are_a_failure() {
    let site = site_with("ec2:volume");
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::ExpireToken));
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Repage { size: 1 }));
    let report = site.scan(&["ec2:volume"], &[HERE]);
    assert!(!report.complete());
    let cell = site.cell(&report, HERE, "ec2:volume");
    assert_eq!((cell.state.as_str(), cell.resources), ("failed", 1), "{cell:?}");
    assert!(cell.cause.contains("page token"), "{}", cell.cause);
    assert_eq!(site.proxy.count("ec2", "DescribeVolumes"), 6, "three times from the start, two pages each");
}

// --- answers that are none ----------------------------------------------------------------------------------

/// A login page of a network, or whatever else answers in the place of AWS.
#[test]
fn a_web_page_in_place_of_an_answer_is_a_failure() {
    let page = Fault::Answer {
        status: 200,
        content_type: "text/html",
        body: "<!DOCTYPE html><html><body>Please log in</body></html>".into(),
    };
    for (resource_type, call) in [
        ("ec2:volume", ("ec2", "DescribeVolumes")),
        ("rds:db", ("rds", "DescribeDBInstances")),
        ("s3:bucket", ("s3", "ListBuckets")),
        ("lambda:function", ("lambda", "ListFunctions")),
        ("ecs:cluster", ("ecs", "ListClusters")),
        ("sns:topic", ("tagging", "GetResources")),
    ] {
        stays(resource_type, call, &page, "failed", 1);
    }
}

/// A front end refuses in a protocol of its own: the code is lost, the status is not.
#[test]
fn a_refusal_in_another_protocol_is_still_a_denial() {
    let body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    let refusal = Fault::Answer { status: 403, content_type: "text/xml", body: body.into() };
    let cause = stays("ecs:cluster", ("ecs", "ListClusters"), &refusal, "denied", 1);
    assert!(cause.contains("ecs:ListClusters"), "{cause}");
}

/// ECS answers with a success that lists what it would not describe.
#[test]
fn a_description_that_leaves_some_out_is_a_gap() {
    let site = site_with("ecs:cluster");
    let body = r#"{"clusters":[],"failures":[{"arn":"arn:aws:ecs:eu-west-1:1:cluster/a","reason":"ACCESS_DENIED"}]}"#;
    let answer = Fault::Answer { status: 200, content_type: "application/x-amz-json-1.1", body: body.into() };
    site.proxy.rule(Rule::on("ecs", "DescribeClusters", answer));
    let report = site.scan(&["ecs:cluster", "ec2:vpc"], &[HERE]);
    let cell = site.cell(&report, HERE, "ecs:cluster");
    assert_eq!(cell.state, "failed");
    assert!(cell.cause.contains("ACCESS_DENIED"), "{}", cell.cause);
}
