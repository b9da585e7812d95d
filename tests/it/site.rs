//! An account of a test's own behind a fault proxy of its own, and scans of it.

use tagwarden_testbed::{Account, Proxy, Testbed};

use crate::cloud::{BARE, Cloud, OWNED};
use crate::program::{Cell, Ended, OWNER_REQUIRED, Program, Report};

/// The region where most tests take place.
pub const HERE: &str = "eu-west-1";

/// See the module.
pub struct Site {
    pub proxy: Proxy,
    pub account: Account,
    pub cloud: Cloud,
}

/// A site whose role asks for an external id, as a client's does.
pub fn site() -> Site {
    let proxy = Testbed::shared().proxy();
    let account = proxy.fresh_account_with_external_id();
    let cloud = Cloud::of(&proxy, &account);
    Site { proxy, account, cloud }
}

/// Three of a type in [`HERE`], two of them without an owner.
fn three_of(cloud: &Cloud, resource_type: &str) {
    for (number, tags) in [OWNED, BARE, BARE].into_iter().enumerate() {
        let name = format!("thing-{number}");
        match resource_type {
            "ec2:volume" => cloud.volume(HERE, tags),
            "rds:db" => cloud.database(HERE, &name, tags),
            "s3:bucket" => cloud.bucket(HERE, &name, tags),
            "lambda:function" => cloud.function(HERE, &name, tags),
            "ecs:cluster" => cloud.cluster(HERE, &name, tags),
            "ecs:task-definition" => cloud.task_definition(HERE, &name, tags),
            "sns:topic" => cloud.topic(HERE, &name, &[&[("Name", "topic")], tags].concat()),
            other => panic!("the tests cannot make a {other}"),
        };
    }
}

/// A site with three of a type in [`HERE`], two of them without an owner.
pub fn site_with(resource_type: &str) -> Site {
    let site = site();
    three_of(&site.cloud, resource_type);
    site
}

impl Site {
    /// Another account behind the same proxy.
    pub fn neighbour(&self) -> (Account, Cloud) {
        let account = self.proxy.fresh_account_with_external_id();
        let cloud = Cloud::of(&self.proxy, &account);
        (account, cloud)
    }

    /// A scan of these accounts, each entered through its role, by a policy that requires an owner.
    pub fn program(&self, accounts: &[&Account], types: &[&str], regions: &[&str]) -> Program {
        let program = Program::behind(&self.proxy).args(["scan", "--format", "json"]);
        let program = program.policy(OWNER_REQUIRED).accounts(accounts).args(["--type", &types.join(",")]);
        if regions.is_empty() { program } else { program.args(["--region", &regions.join(",")]) }
    }

    /// Runs such a scan of this account to its end, whatever comes of it.
    pub fn run(&self, types: &[&str], regions: &[&str]) -> Ended {
        self.program(&[&self.account], types, regions).run()
    }

    /// The report of such a scan, which must be a success.
    #[track_caller]
    pub fn scan(&self, types: &[&str], regions: &[&str]) -> Report {
        self.run(types, regions).report()
    }

    /// The coverage of a type in a region of this account.
    #[track_caller]
    pub fn cell(&self, report: &Report, region: &str, resource_type: &str) -> Cell {
        report.cell(&self.account.id, region, resource_type)
    }
}
