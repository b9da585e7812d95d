//! Long lists: every page is read, every resource is counted once, and calls grow with pages, not with resources.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tagwarden_testbed::{Account, Estate, Fault, Proxy, Rule, Testbed, Truth};

use crate::cloud::{BARE, OWNED};
use crate::program::{OWNER_REQUIRED, Program, Report};
use crate::site::{HERE, site};

const LONG: &str = "451111111111";

/// An account with more than a page of databases, functions and tagged functions in one region, and something of
/// every type that is listed natively. Made once; nobody changes it.
fn long() -> &'static Truth {
    static TRUTH: OnceLock<Truth> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let estate = Estate {
            accounts: &[LONG],
            regions: &[HERE, "us-east-1"],
            seed: 7,
            scale: 0.4,
            many: "rds=105,lambda=70,ecs:service=25,s3=12",
        };
        Testbed::shared().seed(&estate).0
    })
}

fn scan(proxy: &Proxy, account: &Account, types: &str) -> Report {
    let program = Program::behind(proxy).args(["scan", "--format", "json", "--type", types]);
    program
        .policy(OWNER_REQUIRED)
        .accounts(&[account])
        .args(["--region", &[HERE, "us-east-1"].join(",")])
        .run()
        .report()
}

const NATIVE: &str = "ec2:instance,ec2:volume,ec2:snapshot,ec2:elastic-ip,ec2:natgateway,ec2:vpc,ec2:subnet,\
    ec2:security-group,rds:db,rds:cluster,s3:bucket,lambda:function,ecs:cluster,ecs:service,ecs:task-definition";

/// What there really is, by region and type.
fn truth() -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for resource in long().resources.iter().filter(|resource| resource.ignored.is_empty()) {
        *counts.entry((resource.region.clone(), resource.resource_type.clone())).or_default() += 1;
    }
    counts
}

#[track_caller]
fn assert_equals_truth(report: &Report) {
    let truth = truth();
    for cell in report.cells() {
        let expected =
            truth.get(&(cell.region.clone(), cell.resource_type.clone())).copied().unwrap_or_default();
        assert_eq!((cell.state.as_str(), cell.resources), ("complete", expected), "{cell:?}");
    }
    let owned =
        |tags: &BTreeMap<String, String>| tags.get("Owner").is_some_and(|owner| !owner.trim().is_empty());
    let mut bare: Vec<String> = long()
        .resources
        .iter()
        .filter(|resource| {
            resource.ignored.is_empty() && NATIVE.split(',').any(|name| name == resource.resource_type)
        })
        .filter(|resource| !owned(&resource.tags))
        .map(|resource| resource.arn.clone())
        .collect();
    bare.sort();
    assert_eq!(report.violating_arns(), bare);
    assert_eq!(report.violations(|_| true).len(), bare.len(), "nothing is told twice");
}

#[test]
fn more_than_a_page_of_databases_and_functions_is_counted_exactly() {
    let truth = truth();
    let of = |resource_type: &str| truth[&(HERE.to_owned(), resource_type.to_owned())];
    assert!(of("rds:db") > 100 && of("lambda:function") > 50, "the estate is not long enough: {truth:?}");
    let proxy = Testbed::shared().proxy();
    let account = proxy.admit(LONG.to_owned(), None);
    assert_equals_truth(&scan(&proxy, &account, NATIVE));
    assert!(proxy.count("rds", "DescribeDBInstances") >= 3, "two pages here, one in the other region");
}

#[test]
fn lists_cut_into_small_pages_have_the_same_result() {
    long();
    for size in [1, 7] {
        let proxy = Testbed::shared().proxy();
        let account = proxy.admit(LONG.to_owned(), None);
        proxy.rule(Rule::on("*", "*", Fault::Repage { size }));
        assert_equals_truth(&scan(&proxy, &account, NATIVE));
        for (service, action) in
            [("rds", "DescribeDBInstances"), ("lambda", "ListFunctions"), ("s3", "ListBuckets")]
        {
            assert!(proxy.count(service, action) > 2, "{service} {action} came in pages of {size}");
        }
        for (service, action) in
            [("ecs", "ListTaskDefinitions"), ("ecs", "ListClusters"), ("ec2", "DescribeSubnets")]
        {
            assert!(
                size > 1 || proxy.count(service, action) > 2,
                "{service} {action} came in pages of {size}"
            );
        }
    }
}

/// The tagging API is asked by ARN, in bulk, and pages at 50 here.
#[test]
fn tags_of_more_than_a_page_of_functions_are_joined_in_bulk() {
    let truth = truth();
    let functions: u64 =
        truth.iter().filter(|((_, name), _)| name == "lambda:function").map(|(_, count)| count).sum();
    let proxy = Testbed::shared().proxy();
    let account = proxy.admit(LONG.to_owned(), None);
    let report = scan(&proxy, &account, "lambda:function");
    assert!(report.complete());
    assert_eq!(report.summary("resources"), functions);
    assert_eq!(proxy.count("lambda", "ListTags"), 0, "no function is asked for its tags");
    assert!(proxy.count("tagging", "GetResources") <= 6, "{}", proxy.count("tagging", "GetResources"));
}

#[test]
fn services_are_described_ten_at_a_time() {
    let site = site();
    site.cloud.cluster(HERE, "main", OWNED);
    site.cloud.task_definition(HERE, "web", OWNED);
    for number in 0..23 {
        site.cloud.service(HERE, "main", &format!("web-{number}"), "web", BARE);
    }
    let report = site.scan(&["ecs:service"], &[HERE]);
    assert_eq!(site.cell(&report, HERE, "ecs:service").resources, 23);
    assert_eq!(report.summary("violating"), 23);
    assert_eq!(site.proxy.count("ecs", "DescribeServices"), 3);
    assert_eq!(site.proxy.count("ecs", "ListTagsForResource"), 0);
}

#[test]
fn calls_do_not_grow_with_resources() {
    let (few, many) = (calls_for(2), calls_for(40));
    assert_eq!(few, many, "each of them fits on a page");
}

fn calls_for(resources: usize) -> usize {
    let site = site();
    for number in 0..resources {
        let name = format!("thing-{number}");
        site.cloud.volume(HERE, OWNED);
        site.cloud.function(HERE, &name, OWNED);
        site.cloud.bucket(HERE, &name, OWNED);
        site.cloud.cluster(HERE, &name, OWNED);
        site.cloud.task_definition(HERE, &name, OWNED);
    }
    let types = ["ec2:volume", "lambda:function", "s3:bucket", "ecs:cluster", "ecs:task-definition"];
    let report = site.scan(&types, &[HERE]);
    assert_eq!(report.summary("compliant"), 5 * resources as u64);
    site.proxy.calls().len()
}
