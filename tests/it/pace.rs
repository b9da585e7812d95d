//! How hard a scan looks: what may be under way at once, how long it waits, and for whom.

use std::time::Duration;

use tagwarden_testbed::{Fault, REGIONS, Rule};

use crate::cloud::BARE;
use crate::site::{HERE, site, site_with};

#[test]
fn a_silent_region_times_out_alone() {
    let site = site();
    for region in REGIONS {
        site.cloud.volume(region, BARE);
    }
    let never = Fault::Delay(Duration::from_mins(10));
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", never).in_region(HERE));
    let mut program = site.program(&[&site.account], &["ec2:volume"], &[]).args(["--region-timeout", "10"]);
    let report = program.run().report();
    assert!(!report.complete());
    for region in REGIONS {
        let cell = site.cell(&report, region, "ec2:volume");
        let expected = if region == HERE { ("timed_out", 0) } else { ("complete", 1) };
        assert_eq!((cell.state.as_str(), cell.resources), expected, "{region}");
    }
    assert_eq!(site.cell(&report, HERE, "ec2:volume").cause, "no answer for 10 s");
    for call in site.proxy.calls_of("ec2", "DescribeVolumes") {
        let answered = call.status == Some(200);
        assert_eq!(answered, call.region != HERE, "the others were answered while one was silent: {call:?}");
    }
}

#[test]
fn a_region_has_its_own_bounded_share_of_calls() {
    let site = site();
    // Slow enough for all that may be under way to be under way.
    site.proxy.rule(Rule::on("*", "Describe*", Fault::Delay(Duration::from_millis(400))));
    let types = ["ec2:instance", "ec2:volume", "ec2:snapshot", "ec2:elastic-ip", "ec2:natgateway", "ec2:vpc"];
    let more = ["ec2:subnet", "ec2:security-group", "rds:db", "rds:cluster"];
    let report = site.scan(&[&types[..], &more[..]].concat(), &[HERE]);
    assert!(report.complete());
    let most = site.proxy.max_in_flight();
    assert!((2..=8).contains(&most), "{most} calls at once for ten types in one region");

    site.proxy.forget_calls();
    let report = site.scan(&[&types[..], &more[..]].concat(), &[]);
    assert!(report.complete());
    let most = site.proxy.max_in_flight();
    assert!((9..=8 * REGIONS.len()).contains(&most), "{most} calls at once in {} regions", REGIONS.len());
}

#[test]
fn a_slow_listing_that_keeps_answering_is_not_silent() {
    // Three pages of revisions, none of which is a result before the last one is in.
    let site = site_with("ecs:task-definition");
    let page = Fault::Delay(Duration::from_secs(4));
    site.proxy.rule(Rule::on("ecs", "ListTaskDefinitions", page));
    site.proxy.rule(Rule::on("ecs", "ListTaskDefinitions", Fault::Repage { size: 1 }));
    let types = ["ecs:task-definition"];
    let mut program = site.program(&[&site.account], &types, &[HERE]).args(["--region-timeout", "10"]);
    let report = program.run().report();
    let cell = site.cell(&report, HERE, "ecs:task-definition");
    assert_eq!((cell.state.as_str(), cell.resources), ("complete", 3), "{cell:?}");
}

#[test]
fn accounts_are_scanned_side_by_side_up_to_a_limit() {
    let site = site();
    let neighbours = [(); 3].map(|()| site.neighbour().0);
    let accounts = [&site.account, &neighbours[0], &neighbours[1], &neighbours[2]];
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Delay(Duration::from_millis(500))));
    for (limit, expected) in [("1", 1..=1), ("3", 2..=3)] {
        site.proxy.forget_calls();
        let mut program = site.program(&accounts, &["ec2:volume"], &[HERE]).args(["--concurrency", limit]);
        assert!(program.run().report().complete());
        let calls = site.proxy.calls_of("ec2", "DescribeVolumes");
        assert_eq!(calls.len(), 4);
        // By then all accounts are entered, and nothing else is asked.
        let most = calls.iter().map(|call| call.in_flight).max().unwrap();
        assert!(expected.contains(&most), "{most} at once with --concurrency {limit}");
    }
}
