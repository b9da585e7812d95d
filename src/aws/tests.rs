//! What a session does with the answers of AWS, good and bad.

use std::sync::atomic::{AtomicUsize, Ordering};

use tagwarden_app::ports::{Access, Session};
use tagwarden_core::coverage::CellState;
use tagwarden_core::listing::Listing;
use tagwarden_core::registry::Registry;
use tagwarden_core::resource::{Resource, Tags};

use crate::stub::{Answer, Asked, Stub, by_role, ec2_error, json, json_error, list, native, xml};

fn volumes(ids: &[&str], next: Option<&str>) -> String {
    let item = |id: &&str| {
        let tags = "<tagSet><item><key>Owner</key><value>a</value></item></tagSet>";
        format!("<item><volumeId>{id}</volumeId>{tags}</item>")
    };
    let items = ids.iter().map(item).collect::<Vec<_>>().concat();
    let next = next.map_or_else(String::new, |next| format!("<nextToken>{next}</nextToken>"));
    format!("<DescribeVolumesResponse><volumeSet>{items}</volumeSet>{next}</DescribeVolumesResponse>")
}

fn functions(names: &[&str]) -> Answer {
    let functions: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"FunctionName":"{name}","FunctionArn":"{}"}}"#, function_arn(name)))
        .collect();
    json(format!(r#"{{"Functions":[{}]}}"#, functions.join(",")))
}

fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:eu-west-1:111111111111:function:{name}")
}

fn mapping(arn: &str, tags: &str) -> String {
    format!(r#"{{"ResourceARN":"{arn}","Tags":[{tags}]}}"#)
}

const OWNER: &str = r#"{"Key":"Owner","Value":"a"}"#;

fn ids(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(|resource| &*resource.id).collect()
}

fn tag_counts(resources: &[Resource]) -> Vec<(&str, Option<usize>)> {
    let count = |tags: &Tags| match tags {
        Tags::Read(tags) => Some(tags.len()),
        Tags::Unread => None,
    };
    let mut counts: Vec<_> =
        resources.iter().map(|resource| (&*resource.id, count(&resource.tags))).collect();
    counts.sort_unstable();
    counts
}

/// Answers every listing of volumes with this.
fn always(
    answer: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Option<Answer> {
    let asked_so_far = AtomicUsize::new(0);
    move |asked| {
        (asked.action == "DescribeVolumes")
            .then(|| answer(asked_so_far.fetch_add(1, Ordering::SeqCst), asked))
    }
}

#[tokio::test]
async fn every_page_is_followed_and_counted() {
    let stub = Stub::start(always(|_, asked| {
        let second = asked.body.contains("NextToken=two");
        xml(if second { volumes(&["vol-3"], None) } else { volumes(&["vol-1", "vol-2"], Some("two")) })
    }))
    .await;
    let shared = Stub::shared();
    let session = stub.enter_as(&shared, Access::Ambient).await.unwrap();
    let (found, result) = list(&session, native("ec2:volume")).await;
    result.unwrap();
    assert_eq!(ids(&found), ["vol-1", "vol-2", "vol-3"]);
    assert_eq!(found[0].arn, "arn:aws:ec2:eu-west-1:111111111111:volume/vol-1");
    assert_eq!(&*found[0].region, "eu-west-1");
    let requests = shared.counter.traffic().requests;
    assert_eq!(requests.get("ec2.DescribeVolumes"), Some(&2));
    assert_eq!(requests.get("sts.GetCallerIdentity"), Some(&1));
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again_and_never_counted() {
    let whole = volumes(&["vol-1", "vol-2", "vol-3"], None);
    let cut = whole[..whole.len() / 2].to_owned();
    let once = cut.clone();
    let stub = Stub::start(always(move |nth, _| xml(if nth == 0 { &once } else { &whole }))).await;
    let (found, result) = list(&stub.enter().await, native("ec2:volume")).await;
    result.unwrap();
    assert_eq!(found.len(), 3);

    let stub = Stub::start(always(move |_, _| xml(&cut))).await;
    let (found, result) = list(&stub.enter().await, native("ec2:volume")).await;
    let error = result.unwrap_err();
    assert_eq!((found.len(), error.gap.state, error.restart), (0, CellState::Failed, false));
    assert!(error.gap.cause.contains("cut short"), "{}", error.gap.cause);
    assert_eq!(stub.count("DescribeVolumes"), 3);
}

#[tokio::test]
async fn refusals_become_gaps() {
    for (code, status, state, restart, attempts) in [
        ("UnauthorizedOperation", 403, CellState::Denied, false, 1),
        ("RequestLimitExceeded", 503, CellState::Throttled, false, 3),
        ("InvalidNextToken", 400, CellState::Failed, true, 1),
        ("OptInRequired", 401, CellState::Unsupported, false, 1),
        ("InternalError", 500, CellState::Failed, false, 3),
    ] {
        let stub = Stub::start(always(move |_, _| ec2_error(status, code))).await;
        let shared = Stub::shared();
        let session = stub.enter_as(&shared, Access::Ambient).await.unwrap();
        let error = list(&session, native("ec2:volume")).await.1.unwrap_err();
        assert_eq!((error.gap.state, error.restart), (state, restart), "{code}");
        assert!(error.gap.cause.contains("ec2:DescribeVolumes"), "{}", error.gap.cause);
        assert_eq!(stub.count("DescribeVolumes"), attempts, "{code}");
        assert_eq!(shared.counter.throttled() > 0, state == CellState::Throttled, "{code}");
    }
}

#[tokio::test]
async fn an_empty_success_is_no_empty_listing() {
    let stub = Stub::start(|asked| asked.action.contains("/functions").then(|| json(""))).await;
    let error = list(&stub.enter().await, native("lambda:function")).await.1.unwrap_err();
    assert!(error.gap.cause.contains("cut short after 0 bytes"), "{}", error.gap.cause);
}

#[tokio::test]
async fn a_refusal_without_a_body_is_judged_by_its_status() {
    let stub = Stub::start(always(|_, _| Answer(403, "text/xml", String::new()))).await;
    let error = list(&stub.enter().await, native("ec2:volume")).await.1.unwrap_err();
    assert_eq!((error.gap.state, stub.count("DescribeVolumes")), (CellState::Denied, 1));
}

#[tokio::test]
async fn a_token_that_repeats_is_not_followed_for_ever() {
    let stub = Stub::start(always(|_, _| xml(volumes(&["vol-1"], Some("same"))))).await;
    let error = list(&stub.enter().await, native("ec2:volume")).await.1.unwrap_err();
    assert!(error.gap.cause.contains("same page token twice"), "{}", error.gap.cause);
    assert_eq!(stub.count("DescribeVolumes"), 2);
}

#[tokio::test]
async fn a_closed_receiver_ends_a_listing() {
    let stub = Stub::start(always(|nth, _| xml(volumes(&["vol-1"], Some(&nth.to_string()))))).await;
    let session = stub.enter().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    session.list(&native("ec2:volume"), &"eu-west-1".into(), &sender).await.unwrap();
    assert_eq!(stub.count("DescribeVolumes"), 1);
}

#[tokio::test]
async fn a_role_is_assumed_once_for_all_listings() {
    let stub = Stub::start(|asked| {
        if asked.action == "AssumeRole" {
            // The ExternalId belongs to the last role only.
            let last = asked.body.contains("role%2Ftagwarden");
            assert_eq!(asked.body.contains("ExternalId=a-secret-id"), last, "{}", asked.body);
            assert_eq!(asked.key, if last { "ASSUMED1" } else { "AMBIENT" });
        }
        (asked.action == "DescribeVolumes").then(|| {
            assert_eq!(asked.key, "ASSUMED2");
            xml(volumes(&["vol-1"], None))
        })
    })
    .await;
    let shared = Stub::shared();
    let session = stub.enter_as(&shared, by_role(&["arn:aws:iam::222222222222:role/hub"])).await.unwrap();
    for _ in 0..3 {
        list(&session, native("ec2:volume")).await.1.unwrap();
    }
    assert_eq!(stub.count("AssumeRole"), 2);
    assert_eq!(shared.counter.traffic().requests.get("sts.AssumeRole"), Some(&2));
}

#[tokio::test]
async fn a_refused_role_says_what_to_check() {
    let denied =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>x</Message></Error></ErrorResponse>";
    let stub = Stub::start(move |asked| {
        (asked.action == "AssumeRole").then(|| Answer(403, "text/xml", denied.into()))
    })
    .await;
    let refusal = stub.enter_as(&Stub::shared(), by_role(&[])).await.unwrap_err();
    assert_eq!(refusal.gap().state, CellState::Denied);
    for part in ["arn:aws:iam::111111111111:role/tagwarden", "AccessDenied", "trust policy", "ExternalId"] {
        assert!(refusal.cause.contains(part), "{}", refusal.cause);
    }
    assert!(!refusal.cause.contains("a-secret-id"), "{}", refusal.cause);
}

#[tokio::test]
async fn another_account_than_the_one_meant_is_refused() {
    let other = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::2:x</Arn>\
                 <Account>222222222222</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let stub = Stub::start(move |asked| (asked.action == "GetCallerIdentity").then(|| xml(other))).await;
    let refusal = stub.enter_as(&Stub::shared(), Access::Ambient).await.unwrap_err();
    assert!(
        refusal.cause.contains("222222222222") && refusal.cause.contains("111111111111"),
        "{}",
        refusal.cause
    );
}

#[tokio::test]
async fn expired_credentials_are_replaced_once() {
    for code in ["RequestExpired", "ExpiredToken"] {
        let stub = Stub::start(always(move |_, asked| match &*asked.key {
            "ASSUMED1" => ec2_error(400, code),
            _ => xml(volumes(&["vol-1"], None)),
        }))
        .await;
        let session = stub.enter_as(&Stub::shared(), by_role(&[])).await.unwrap();
        assert!(list(&session, native("ec2:volume")).await.1.unwrap_err().restart);
        let (found, result) = list(&session, native("ec2:volume")).await;
        result.unwrap();
        assert_eq!((found.len(), stub.count("AssumeRole")), (1, 2), "{code}");
    }

    let stub = Stub::start(always(|_, _| ec2_error(400, "RequestExpired"))).await;
    let session = stub.enter_as(&Stub::shared(), by_role(&[])).await.unwrap();
    let restarts = [
        list(&session, native("ec2:volume")).await.1.unwrap_err().restart,
        list(&session, native("ec2:volume")).await.1.unwrap_err().restart,
    ];
    assert_eq!((restarts, stub.count("AssumeRole")), ([true, false], 2));
}

#[tokio::test]
async fn only_enabled_regions_are_named_in_order() {
    let region = |name: &str, state: &str| {
        format!("<item><regionName>{name}</regionName><optInStatus>{state}</optInStatus></item>")
    };
    let items = [
        region("us-east-1", "opt-in-not-required"),
        region("af-south-1", "not-opted-in"),
        region("eu-south-1", "opted-in"),
    ]
    .concat();
    let stub = Stub::start(move |asked| {
        let answer =
            format!("<DescribeRegionsResponse><regionInfo>{items}</regionInfo></DescribeRegionsResponse>");
        (asked.action == "DescribeRegions").then(|| xml(answer))
    })
    .await;
    let session = stub.enter().await;
    for _ in 0..2 {
        let regions = session.regions().await.unwrap();
        assert_eq!(regions.iter().map(|name| &**name).collect::<Vec<_>>(), ["eu-south-1", "us-east-1"]);
    }
    assert_eq!(stub.count("DescribeRegions"), 1);
}

#[tokio::test]
async fn absent_from_a_complete_answer_means_untagged() {
    let stub = Stub::start(|asked| match &*asked.action {
        "GET /2015-03-31/functions/" | "GET /2015-03-31/functions" => Some(functions(&["a", "b", "c"])),
        // A second page, as simulators answer even a list of ARNs.
        "GetResources" if asked.body.contains("page-2") => Some(json(format!(
            r#"{{"ResourceTagMappingList":[{}],"PaginationToken":""}}"#,
            mapping(&function_arn("c"), OWNER)
        ))),
        "GetResources" => Some(json(format!(
            r#"{{"ResourceTagMappingList":[{}],"PaginationToken":"page-2"}}"#,
            mapping(&function_arn("a"), OWNER)
        ))),
        _ => None,
    })
    .await;
    let (found, result) = list(&stub.enter().await, native("lambda:function")).await;
    result.unwrap();
    assert_eq!(tag_counts(&found), [("a", Some(1)), ("b", Some(0)), ("c", Some(1))]);
}

#[tokio::test]
async fn tags_that_could_not_be_read_are_unread_and_a_gap() {
    let stub = Stub::start(|asked| match &*asked.action {
        "GET /2015-03-31/functions/" | "GET /2015-03-31/functions" => Some(functions(&["a", "b"])),
        "GetResources" if asked.body.contains("page-2") => Some(json_error(500, "InternalServiceException")),
        "GetResources" => Some(json(format!(
            r#"{{"ResourceTagMappingList":[{}],"PaginationToken":"page-2"}}"#,
            mapping(&function_arn("a"), OWNER)
        ))),
        _ => None,
    })
    .await;
    let (found, result) = list(&stub.enter().await, native("lambda:function")).await;
    let error = result.unwrap_err();
    assert_eq!((error.gap.state, error.restart), (CellState::Failed, false));
    assert!(error.gap.cause.contains("tag:GetResources"), "{}", error.gap.cause);
    assert_eq!(tag_counts(&found), [("a", None), ("b", None)]);
}

#[tokio::test]
async fn without_the_tagging_api_each_resource_is_asked() {
    let stub = Stub::start(|asked| match &*asked.action {
        "GET /2015-03-31/functions/" | "GET /2015-03-31/functions" => Some(functions(&["a", "b"])),
        "GetResources" => Some(json_error(400, "AccessDeniedException")),
        action if action.starts_with("GET /2017-03-31/tags/") && action.ends_with('a') => {
            Some(json(r#"{"Tags":{"Owner":"a"}}"#))
        }
        action if action.starts_with("GET /2017-03-31/tags/") => Some(json(r#"{"Tags":{}}"#)),
        _ => None,
    })
    .await;
    let (found, result) = list(&stub.enter().await, native("lambda:function")).await;
    result.unwrap();
    assert_eq!(tag_counts(&found), [("a", Some(1)), ("b", Some(0))]);
}

#[tokio::test]
async fn a_role_that_may_read_no_tags_at_all_is_not_asked_for_each() {
    let names: Vec<String> = (0..60).map(|nth| format!("f{nth:02}")).collect();
    let stub = Stub::start(move |asked| match &*asked.action {
        "GET /2015-03-31/functions/" | "GET /2015-03-31/functions" => {
            Some(functions(&names.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        "GetResources" => Some(json_error(400, "AccessDeniedException")),
        _ => Some(json_error(403, "AccessDeniedException")).filter(|_| asked.action.contains("/tags/")),
    })
    .await;
    let shared = Stub::shared();
    let session = stub.enter_as(&shared, Access::Ambient).await.unwrap();
    let (found, result) = list(&session, native("lambda:function")).await;
    let gap = result.unwrap_err().gap;
    assert_eq!(gap.state, CellState::Denied);
    assert!(
        gap.cause.contains("add tag:GetResources") && gap.cause.contains("add lambda:ListTags"),
        "{}",
        gap.cause
    );
    assert_eq!(found.iter().filter(|resource| resource.tags == Tags::Unread).count(), 60);
    let asked = shared.counter.traffic().requests["lambda.ListTags"];
    assert!((10..20).contains(&asked), "{asked} calls");
}

#[tokio::test]
async fn an_expired_page_token_of_a_join_asks_for_a_fresh_start() {
    let stub = Stub::start(|asked| match &*asked.action {
        "GET /2015-03-31/functions/" | "GET /2015-03-31/functions" => Some(functions(&["a"])),
        "GetResources" => Some(json_error(400, "PaginationTokenExpiredException")),
        _ => None,
    })
    .await;
    let (found, result) = list(&stub.enter().await, native("lambda:function")).await;
    assert!(result.unwrap_err().restart && found.is_empty());
}

#[tokio::test]
async fn services_are_described_ten_at_a_time_with_their_tags() {
    let arn = |nth: usize| format!("arn:aws:ecs:eu-west-1:111111111111:service/main/s{nth:02}");
    let stub = Stub::start(move |asked| match &*asked.action {
        "ListClusters" => {
            Some(json(r#"{"clusterArns":["arn:aws:ecs:eu-west-1:111111111111:cluster/main"]}"#))
        }
        "ListServices" => {
            let arns: Vec<String> = (0..23).map(|nth| format!("{:?}", arn(nth))).collect();
            Some(json(format!(r#"{{"serviceArns":[{}]}}"#, arns.join(","))))
        }
        "DescribeServices" => {
            let wanted: Vec<usize> = (0..23).filter(|nth| asked.body.contains(&arn(*nth))).collect();
            assert!(wanted.len() <= 10 && asked.body.contains("TAGS"), "{}", asked.body);
            let service = |nth: &usize| {
                let tags = r#"[{"key":"Owner","value":"a"}]"#;
                let status = if *nth == 5 { "INACTIVE" } else { "ACTIVE" };
                format!(
                    r#"{{"serviceArn":"{}","serviceName":"s{nth:02}","status":"{status}","tags":{tags}}}"#,
                    arn(*nth)
                )
            };
            // One was deleted meanwhile, which is right; one could not be described, which is a gap.
            let failures = r#"[{"reason":"MISSING"},{"reason":"TOO_BUSY"}]"#;
            let services: Vec<String> = wanted.iter().map(service).collect();
            Some(json(format!(r#"{{"services":[{}],"failures":{failures}}}"#, services.join(","))))
        }
        _ => None,
    })
    .await;
    let (found, result) = list(&stub.enter().await, native("ecs:service")).await;
    assert_eq!((found.len(), stub.count("DescribeServices")), (22, 3));
    assert!(tag_counts(&found).iter().all(|(_, tags)| *tags == Some(1)));
    let gap = result.unwrap_err().gap;
    assert!(gap.state == CellState::Failed && gap.cause.contains("TOO_BUSY"), "{}", gap.cause);
}

#[tokio::test]
async fn a_cluster_that_was_deleted_meanwhile_takes_only_its_services_along() {
    for gone_at in ["ListServices", "DescribeServices"] {
        let stub = Stub::start(move |asked| {
            let cluster = if asked.body.contains("cluster/gone") { "gone" } else { "main" };
            if asked.action == gone_at && cluster == "gone" {
                return Some(json_error(400, "ClusterNotFoundException"));
            }
            let arn = |what: &str| format!("arn:aws:ecs:eu-west-1:111111111111:{what}");
            match &*asked.action {
                "ListClusters" => Some(json(format!(
                    r#"{{"clusterArns":["{}","{}"]}}"#,
                    arn("cluster/gone"),
                    arn("cluster/main")
                ))),
                "ListServices" => {
                    let service = arn(&format!("service/{cluster}/web"));
                    Some(json(format!(r#"{{"serviceArns":["{service}"]}}"#)))
                }
                "DescribeServices" => {
                    let service = arn(&format!("service/{cluster}/web"));
                    let service = format!(r#"{{"serviceArn":"{service}","serviceName":"web","tags":[]}}"#);
                    Some(json(format!(r#"{{"services":[{service}],"failures":[]}}"#)))
                }
                _ => None,
            }
        })
        .await;
        let (found, result) = list(&stub.enter().await, native("ecs:service")).await;
        result.unwrap();
        let arns: Vec<_> = found.iter().map(|resource| &*resource.arn).collect();
        assert_eq!(arns, ["arn:aws:ecs:eu-west-1:111111111111:service/main/web"], "{gone_at}");
    }
}

#[tokio::test]
async fn the_tagging_pass_keeps_what_was_asked_for() {
    let registry = Registry::builtin();
    let stub = Stub::start(|asked| {
        (asked.action == "GetResources").then(|| {
            let region = "eu-west-1:111111111111";
            let mappings = [
                mapping(&format!("arn:aws:dynamodb:{region}:table/orders"), OWNER),
                mapping(&format!("arn:aws:dynamodb:{region}:table/once-tagged"), ""),
                mapping(&format!("arn:aws:sns:{region}:not-asked-for"), OWNER),
                mapping("arn:aws:dynamodb:eu-west-2:111111111111:table/elsewhere", OWNER),
                mapping(&format!("arn:aws:unheard-of:{region}:thing/x"), OWNER),
            ];
            json(format!(r#"{{"ResourceTagMappingList":[{}],"PaginationToken":""}}"#, mappings.join(",")))
        })
    })
    .await;
    let session = stub.enter().await;
    let listing = Listing::Tagged(vec![registry.id("dynamodb:table").unwrap()]);
    let (found, result) = list(&session, listing).await;
    result.unwrap();
    assert_eq!(tag_counts(&found), [("once-tagged", Some(0)), ("orders", Some(1))]);
}

#[tokio::test]
async fn an_arn_that_a_type_ought_to_know_is_a_gap_of_that_type_alone() {
    let registry = Registry::builtin();
    let id = |name: &str| registry.id(name).unwrap();
    let stub = Stub::start(|asked| {
        (asked.action == "GetResources").then(|| {
            let region = "eu-west-1:111111111111";
            let mappings = [
                mapping(&format!("arn:aws:eks:{region}:nodegroup/main/workers/0a1b"), OWNER),
                mapping(&format!("arn:aws:eks:{region}:nodegroup/main/new-form"), OWNER),
                mapping("arn:aws:eks:eu-west-2:111111111111:nodegroup/main/elsewhere", OWNER),
                mapping(&format!("arn:aws:codepipeline:{region}:webhook:other-type"), OWNER),
                mapping(&format!("arn:aws:codepipeline:{region}:release"), OWNER),
            ];
            json(format!(r#"{{"ResourceTagMappingList":[{}],"PaginationToken":""}}"#, mappings.join(",")))
        })
    })
    .await;
    let session = stub.enter().await;
    let listing = Listing::Tagged(vec![id("eks:nodegroup"), id("codepipeline:pipeline")]);
    let (found, result) = list(&session, listing).await;
    assert_eq!(ids(&found), ["workers", "release"]);
    let error = result.unwrap_err();
    assert_eq!((error.gap.state, error.restart), (CellState::Failed, false));
    assert_eq!(error.types, Some(vec![id("eks:nodegroup")]));
    assert!(
        error.gap.cause.contains("named 1 ARNs") && error.gap.cause.contains("new-form"),
        "{}",
        error.gap.cause
    );
}

#[tokio::test]
async fn what_is_no_arn_at_all_is_a_gap_of_everything_asked_for() {
    let stub = Stub::start(|asked| {
        let answer = || json(r#"{"ResourceTagMappingList":[{"ResourceARN":"orders"}],"PaginationToken":""}"#);
        (asked.action == "GetResources").then(answer)
    })
    .await;
    let id = Registry::builtin().id("dynamodb:table").unwrap();
    let error = list(&stub.enter().await, Listing::Tagged(vec![id])).await.1.unwrap_err();
    assert!(error.is_about(id) && error.gap.cause.contains("`orders`"), "{}", error.gap.cause);
}

#[tokio::test]
async fn an_expired_page_token_asks_for_a_fresh_start() {
    let stub = Stub::start(|asked| {
        (asked.action == "GetResources").then(|| json_error(400, "PaginationTokenExpiredException"))
    })
    .await;
    let listing = Listing::Tagged(vec![Registry::builtin().id("dynamodb:table").unwrap()]);
    assert!(list(&stub.enter().await, listing).await.1.unwrap_err().restart);
}

#[tokio::test]
async fn what_nothing_can_list_is_a_gap() {
    let stub = Stub::start(|_| None).await;
    let session = stub.enter().await;
    let id = Registry::builtin().id("iam:role").unwrap();
    let error = list(&session, Listing::Impossible(id)).await.1.unwrap_err();
    assert_eq!((error.gap.state, error.restart), (CellState::Unsupported, false));
    assert!(error.gap.cause.contains("iam:role"), "{}", error.gap.cause);
}
