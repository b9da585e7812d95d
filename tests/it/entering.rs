//! Ways into accounts that are closed, and credentials that expire on the way.

use std::time::Duration;

use tagwarden_testbed::{Account, Fault, REGIONS, Rule};

use crate::cloud::OWNED;
use crate::site::{HERE, Site, site, site_with};

/// Credentials that expire on the way, in each protocol.
#[test]
fn expired_credentials_are_renewed_once() {
    for (resource_type, service, action) in [
        ("ec2:volume", "ec2", "DescribeVolumes"),
        ("ec2:volume", "ec2", "DescribeRegions"),
        ("rds:db", "rds", "DescribeDBInstances"),
        ("ecs:cluster", "ecs", "ListClusters"),
        ("lambda:function", "tagging", "GetResources"),
        ("s3:bucket", "s3", "ListBuckets"),
    ] {
        let site = site_with(resource_type);
        site.proxy.rule(Rule::on(service, action, Fault::ExpireCredentials).once());
        let report = site.scan(&[resource_type], &[HERE]);
        assert!(report.complete(), "{resource_type}: {:#}", report.0["coverage"]);
        assert_eq!((report.summary("compliant"), report.summary("violating")), (1, 2), "{resource_type}");
        assert_eq!(site.proxy.count("sts", "AssumeRole"), 2, "{resource_type}");
        assert_eq!(site.proxy.count(service, action), 2, "{resource_type}");
    }
}

#[test]
fn listings_that_expire_together_share_one_renewal() {
    let site = site();
    for region in REGIONS {
        site.cloud.volume(region, OWNED);
        // Each region's first call is refused, whichever credentials the others have by then.
        site.proxy
            .rule(Rule::on("ec2", "DescribeVolumes", Fault::ExpireCredentials).in_region(region).once());
    }
    // No call is answered before all are under way.
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_secs(1))).times(3));
    let report = site.scan(&["ec2:volume"], &[]);
    assert!(report.complete(), "{:#}", report.0["coverage"]);
    assert_eq!(site.proxy.count("sts", "AssumeRole"), 2);
    assert_eq!(site.proxy.count("ec2", "DescribeVolumes"), 6);
}

#[test]
fn credentials_that_expire_again_are_a_failure() {
    let site = site_with("ec2:volume");
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::ExpireCredentials));
    let report = site.scan(&["ec2:volume", "ec2:vpc"], &[HERE]);
    let cell = site.cell(&report, HERE, "ec2:volume");
    assert_eq!((cell.state.as_str(), cell.resources), ("failed", 0), "{cell:?}");
    assert!(cell.cause.contains("credentials have expired (RequestExpired)"), "{}", cell.cause);
    assert_eq!(site.proxy.count("sts", "AssumeRole"), 2, "fresh ones once, not for ever");
    assert_eq!(site.proxy.count("ec2", "DescribeVolumes"), 2);
}

/// Two accounts, one of them behind a closed door.
#[track_caller]
fn one_of_two(close: impl FnOnce(&Site, Account) -> Account) {
    let site = site_with("ec2:volume");
    let (closed, _) = site.neighbour();
    let closed = close(&site, closed);
    let mut program = site.program(&[&site.account, &closed], &["ec2:volume"], &[HERE]);
    let report = program.run().report();
    assert!(!report.complete());
    assert_eq!(site.cell(&report, HERE, "ec2:volume").resources, 3);
    let rows: Vec<_> = report.cells().into_iter().filter(|cell| cell.account == closed.id).collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = report.cell(&closed.id, "*", "*");
    assert_eq!(row.state, "denied");
    assert!(row.cause.contains(&closed.role_arn) && row.cause.contains("ExternalId"), "{}", row.cause);
    for id in [&site.account, &closed].map(|account| account.external_id.as_deref().unwrap()) {
        assert!(!row.cause.contains(id), "an external id is nobody else's business: {}", row.cause);
    }
    assert!(site.proxy.calls().iter().all(|call| call.account != closed.id));
    let failed: Vec<_> =
        report.0["accounts"].as_array().unwrap().iter().filter(|row| row["state"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["accountId"], closed.id.as_str());
}

#[test]
fn a_wrong_external_id_closes_that_account_only() {
    one_of_two(|_, account| Account { external_id: Some("not-the-one".to_owned()), ..account });
}

#[test]
fn an_external_id_that_is_missing_closes_that_account_only() {
    let site = site();
    let (closed, _) = site.neighbour();
    let closed = Account { external_id: None, ..closed };
    let mut program = site.program(&[&site.account, &closed], &["ec2:vpc"], &[HERE]);
    let report = program.run().report();
    assert_eq!(report.cell(&closed.id, "*", "*").state, "denied");
    assert_eq!(site.cell(&report, HERE, "ec2:vpc").state, "complete");
}

#[test]
fn a_role_that_is_gone_closes_that_account_only() {
    one_of_two(|site, account| {
        site.proxy.distrust(&account.role_arn);
        account
    });
}

#[test]
fn a_scan_that_enters_no_account_ends_with_status_3() {
    let site = site();
    site.proxy.distrust(&site.account.role_arn);
    let ended = site.run(&["ec2:volume"], &[]);
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    let report = ended.document();
    assert_eq!(site.cell(&report, "*", "*").state, "denied");
}

#[test]
fn each_role_is_assumed_once() {
    let site = site();
    let (neighbour, _) = site.neighbour();
    let types =
        ["ec2:volume", "ec2:vpc", "rds:db", "s3:bucket", "lambda:function", "ecs:service", "sns:topic"];
    let report = site.program(&[&site.account, &neighbour], &types, &[]).run().report();
    assert_eq!(report.0["accounts"].as_array().unwrap().len(), 2);
    assert_eq!(site.proxy.count("sts", "AssumeRole"), 2);
    assert_eq!(report.0["requests"]["sts.AssumeRole"], 2);
}
