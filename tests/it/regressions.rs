//! What the predecessor got wrong, and what must never come back: one test for each mistake.

use tagwarden_testbed::{Fault, REGIONS, Rule};

use crate::cloud::{BARE, OWNED};
use crate::program::Program;
use crate::site::{HERE, site};

const THERE: &str = "us-east-1";

// --- counting -----------------------------------------------------------------------------------------------

/// It told findings apart by resource id and tag, so that one of two was lost.
#[test]
fn same_named_resources_of_two_regions_keep_their_violations() {
    let site = site();
    let mut arns: Vec<String> = [HERE, THERE]
        .into_iter()
        .flat_map(|region| {
            [site.cloud.database(region, "orders", BARE), site.cloud.function(region, "orders", BARE)]
        })
        .collect();
    arns.sort();
    let report = site.scan(&["rds:db", "lambda:function"], &[HERE, THERE]);
    assert_eq!(report.violating_arns(), arns);
    assert_eq!((report.summary("violating"), report.summary("violations")), (4, 4));
}

#[test]
fn same_named_resources_of_two_accounts_keep_their_violations() {
    let site = site();
    let (neighbour, cloud) = site.neighbour();
    let mut arns = vec![site.cloud.database(HERE, "orders", BARE), cloud.database(HERE, "orders", BARE)];
    arns.sort();
    let report = site.program(&[&site.account, &neighbour], &["rds:db"], &[HERE]).run().report();
    assert_eq!(report.violating_arns(), arns);
    for account in [&site.account.id, &neighbour.id] {
        let own = report.violations(|row| row["accountId"] == account.as_str());
        assert_eq!(own.len(), 1, "{account}");
    }
}

/// Its rows had no ARN and no account: nobody could tell what to fix.
#[test]
fn every_violation_names_its_resource_in_full() {
    let site = site();
    let arn = site.cloud.volume(HERE, &[("owner", "ada@example.com")]);
    let report = site.scan(&["ec2:volume"], &[HERE]);
    let rows = report.violations(|_| true);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(row["arn"], arn.as_str());
    assert_eq!(row["resourceId"], arn.rsplit('/').next().unwrap());
    assert_eq!(row["accountId"], site.account.id.as_str());
    for (field, value) in [("resourceType", "ec2:volume"), ("region", HERE), ("tagKey", "Owner")] {
        assert_eq!(row[field], value);
    }
}

/// It listed buckets once for each region, or under a region that no filter could name.
#[test]
fn buckets_are_counted_once_and_found_by_their_region() {
    let site = site();
    let (ireland, virginia) =
        (site.cloud.bucket(HERE, "logs", BARE), site.cloud.bucket(THERE, "media", BARE));
    let report = site.scan(&["s3:bucket"], &[]);
    assert!(report.complete());
    assert_eq!(report.summary("resources"), 2);
    for region in REGIONS {
        let expected = u64::from(region == HERE || region == THERE);
        assert_eq!(site.cell(&report, region, "s3:bucket").resources, expected, "{region}");
    }
    for (region, arn) in [(HERE, ireland), (THERE, virginia)] {
        let report = site.scan(&["s3:bucket"], &[region]);
        assert_eq!(report.violating_arns(), [arn]);
        assert_eq!(report.violations(|_| true)[0]["region"], region);
    }
}

/// The ARN of a bucket names no account, and a filter by account lost them all.
#[test]
fn account_filter_keeps_buckets() {
    let site = site();
    let (neighbour, cloud) = site.neighbour();
    let own = site.cloud.bucket(HERE, "logs", BARE);
    cloud.bucket(HERE, "logs", BARE);
    let accounts = [&site.account, &neighbour];
    let report =
        site.program(&accounts, &["s3:bucket"], &[HERE]).args(["--account", &site.account.id]).run().report();
    assert_eq!(report.violating_arns(), [own]);
    assert_eq!(report.0["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(report.violations(|_| true)[0]["accountId"], site.account.id.as_str());
}

#[test]
fn global_types_are_listed_once_whatever_the_regions() {
    let site = site();
    for regions in [&[][..], &[HERE]] {
        site.proxy.forget_calls();
        let report = site.scan(&["cloudfront:distribution"], regions);
        let cells = report.cells();
        assert_eq!(cells.len(), 1, "{cells:?}");
        assert_eq!(cells[0].region, "global");
        assert_eq!(site.proxy.count("tagging", "GetResources"), 1);
    }
}

/// A task definition is its latest active revision; older ones nobody tags any more.
#[test]
fn only_the_latest_revision_of_a_task_definition_counts() {
    let site = site();
    site.cloud.task_definition(HERE, "web", BARE);
    site.cloud.task_definition(HERE, "web", BARE);
    site.cloud.task_definition(HERE, "web", OWNED);
    let report = site.scan(&["ecs:task-definition"], &[HERE]);
    assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 0));
}

// --- filters ------------------------------------------------------------------------------------------------

/// It counted what was left after filtering: with warnings only, everything was fine.
#[test]
fn severity_filter_leaves_the_score_alone() {
    let site = site();
    site.cloud.volume(HERE, OWNED);
    site.cloud.volume(HERE, BARE);
    site.cloud.volume(HERE, BARE);
    let scans = ["all", "errors", "warnings"].map(|severity| {
        let program = site.program(&[&site.account], &["ec2:volume"], &[HERE]);
        program.args(["--severity", severity]).run().report()
    });
    let listed = scans.each_ref().map(|report| report.violations(|_| true).len());
    assert_eq!(listed, [2, 2, 0]);
    for report in &scans {
        assert_eq!(report.0["summary"], scans[0].0["summary"]);
        assert_eq!((report.summary("resources"), report.summary("compliant")), (3, 1));
        assert_eq!(report.0["byRegion"], scans[0].0["byRegion"]);
    }
}

/// It dropped regions that it did not know, and called the rest complete.
#[test]
fn a_region_that_does_not_exist_is_refused_not_dropped() {
    let site = site();
    let ended = site.run(&["ec2:volume"], &[HERE, "eu-nowhere-9"]);
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("`eu-nowhere-9`") && ended.stderr.contains(HERE), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

/// It scanned regions that nobody had asked for.
#[test]
fn only_the_regions_asked_for_are_called() {
    let site = site();
    let types = ["s3:bucket", "ec2:volume", "lambda:function", "sns:topic"];
    let report = site.scan(&types, &["eu-central-1"]);
    assert!(report.cells().iter().all(|cell| cell.region == "eu-central-1"));
    let elsewhere: Vec<_> = site
        .proxy
        .calls()
        .into_iter()
        .filter(|call| {
            call.region != "eu-central-1" && call.service != "sts" && call.action != "DescribeRegions"
        })
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

// --- types --------------------------------------------------------------------------------------------------

/// It called them free, and refused policies that named them.
#[test]
fn sns_and_sqs_named_by_the_policy_are_scanned() {
    let site = site();
    let named: &[_] = &[("Name", "orders")];
    let mut bare = vec![site.cloud.topic(HERE, "orders", named), site.cloud.queue(HERE, "orders", named)];
    bare.sort();
    site.cloud.topic(HERE, "payments", OWNED);
    let policy = "
apiVersion: tagwarden.io/v1alpha1
kind: TaggingPolicy
metadata: {name: messages}
spec:
  requiredTags:
    - key: Owner
      appliesTo:
        resourceTypes: [sns:topic, sqs:queue]
";
    let program =
        Program::inside(&site.proxy, &site.account).args(["scan", "--format", "json", "--region", HERE]);
    let report = program.policy(policy).run().report();
    assert_eq!(report.violating_arns(), bare);
    let mut types: Vec<_> =
        report.violations(|_| true).iter().map(|row| row["resourceType"].to_string()).collect();
    types.sort();
    assert_eq!(types, ["\"sns:topic\"", "\"sqs:queue\""]);
    assert_eq!(report.summary("compliant"), 1);
    for resource_type in ["sns:topic", "sqs:queue"] {
        assert_eq!(site.cell(&report, HERE, resource_type).state, "tagged_only");
    }
    assert!(!report.complete(), "never-tagged ones cannot be seen, and the result says so");
}

/// Asked for everything, it asked the tagging API, which does not know what was never tagged.
#[test]
fn never_tagged_resources_are_found_when_everything_is_asked_for() {
    let site = site();
    let mut bare = vec![
        site.cloud.volume(HERE, BARE),
        site.cloud.database(HERE, "orders", BARE),
        site.cloud.bucket(HERE, "logs", BARE),
        site.cloud.function(HERE, "resize", BARE),
        site.cloud.cluster(HERE, "main", BARE),
    ];
    bare.sort();
    let report = site.scan(&["all"], &[HERE]);
    let found = report.violating_arns();
    for arn in &bare {
        assert!(found.contains(arn), "{arn} is not among {found:#?}");
    }
}

/// Tags of tables come in pages of ten; only the first was read.
#[test]
fn a_table_keeps_all_of_its_fifty_tags() {
    let site = site();
    let keys: Vec<String> = (0..49).map(|number| format!("k{number:02}")).collect();
    let mut tags: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    tags.extend(OWNED);
    site.cloud.table(HERE, "orders", &tags);
    let report = site.scan(&["dynamodb:table"], &[HERE]);
    assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 0));
}

// --- failures -----------------------------------------------------------------------------------------------

/// A listing that failed was an empty one, and the result was complete.
#[test]
fn a_failed_listing_is_a_gap_not_zero() {
    let site = site();
    site.cloud.database(HERE, "orders", BARE);
    site.cloud.volume(HERE, OWNED);
    site.proxy.rule(Rule::on("rds", "*", Fault::error(400, "InvalidRequest")));
    let report = site.scan(&["rds:db", "ec2:volume"], &[HERE]);
    assert!(!report.complete());
    let cell = site.cell(&report, HERE, "rds:db");
    assert_eq!(cell.state, "failed");
    assert!(cell.cause.contains("rds:DescribeDBInstances"), "{}", cell.cause);
}

/// One type with something unexpected in it ended the whole scan.
#[test]
fn a_type_that_fails_leaves_the_others_alone() {
    let site = site();
    site.cloud.volume(HERE, BARE);
    site.cloud.cluster(HERE, "main", BARE);
    let body = bytes_of("{\"clusterArns\": true}");
    site.proxy.rule(Rule::on("ecs", "ListClusters", body));
    let report = site.scan(&["ecs:cluster", "ec2:volume"], &[HERE]);
    assert_eq!(site.cell(&report, HERE, "ecs:cluster").state, "failed");
    let volumes = site.cell(&report, HERE, "ec2:volume");
    assert_eq!((volumes.state.as_str(), volumes.resources), ("complete", 1));
}

fn bytes_of(body: &'static str) -> Fault {
    Fault::Answer { status: 200, content_type: "application/x-amz-json-1.1", body: body.into() }
}

/// Tags that could not be read were no tags, and every rule was broken.
#[test]
fn unreadable_tags_are_no_violations() {
    let site = site();
    site.cloud.bucket(HERE, "logs", OWNED);
    site.cloud.volume(HERE, BARE);
    site.proxy.rule(Rule::on("tagging", "*", Fault::Deny));
    site.proxy.rule(Rule::on("s3", "GetBucketTagging", Fault::Deny));
    let report = site.scan(&["s3:bucket", "ec2:volume"], &[HERE]);
    assert!(report.violations(|row| row["resourceType"] == "s3:bucket").is_empty());
    assert_eq!((report.summary("unknown"), report.summary("violating")), (1, 1));
    assert_eq!(report.0["summary"]["score"], 0.0, "what is unknown is neither good nor bad");
}

/// What is gone was reported as untagged.
#[test]
fn a_resource_that_vanishes_on_the_way_is_no_violation() {
    let site = site();
    site.cloud.bucket(HERE, "logs", OWNED);
    site.proxy.rule(Rule::on("tagging", "*", Fault::Deny));
    site.proxy.rule(Rule::on("s3", "GetBucketTagging", Fault::error(404, "NoSuchBucket")));
    let report = site.scan(&["s3:bucket"], &[HERE]);
    assert!(report.complete(), "{:#}", report.0["coverage"]);
    assert_eq!((report.summary("resources"), report.summary("unknown")), (0, 0));
}
