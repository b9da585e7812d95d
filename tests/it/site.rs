//! An account of a test's own behind a fault proxy of its own, and scans of it.

use tagwarden_testbed::{Account, Proxy, Testbed};

use crate::cloud::Cloud;
use crate::program::{Cell, Ended, OWNER_REQUIRED, Program, Report};

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
