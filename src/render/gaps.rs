//! Gaps in words: cells that share a cause become one line, so that a hundred of them still fit a screen.

use std::collections::{BTreeMap, BTreeSet};

use tagwarden_core::coverage::{ANY, CellState};
use tagwarden_core::report::{AccountState, ScanReport};

/// Names spelled out before a list becomes a count.
const NAMED: usize = 3;

/// Cells that went unseen for one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Gaps {
    /// The word of the state.
    pub state: &'static str,
    /// Where: types, regions, accounts.
    pub place: String,
    /// Why.
    pub cause: String,
}

type Field = (BTreeSet<String>, BTreeSet<String>);

/// All gaps of a report, the harder ones first, what the tagging API cannot show last.
pub fn of(report: &ScanReport) -> Vec<Gaps> {
    let mut gaps: Vec<(CellState, Gaps)> = Vec::new();
    for account in &report.accounts {
        if let (AccountState::Failed { cause }, None) = (&account.state, &account.account_id) {
            let place = account.name.clone().unwrap_or_else(|| "the caller's own account".into());
            gaps.push((CellState::Failed, Gaps { state: "failed", place, cause: cause.clone() }));
        }
        if let Some(error) = &account.discovery_error {
            let id = account.account_id.as_ref().map_or("the account", |id| id.as_str());
            let place = format!("which regions {id} has; looked at {}", account.regions.join(", "));
            gaps.push((CellState::Failed, Gaps { state: "undiscovered", place, cause: error.clone() }));
        }
    }
    for ((state, cause, field), accounts) in by_cause(report) {
        let place = place(&field, &accounts);
        gaps.push((state, Gaps { state: state.as_str(), place, cause }));
    }
    gaps.sort_by_key(|(state, _)| *state == CellState::TaggedOnly);
    gaps.into_iter().map(|(_, gap)| gap).collect()
}

/// How many cells there are, and how many of them have a gap.
pub fn counts(report: &ScanReport) -> (usize, usize) {
    (report.gaps().count(), report.coverage.len())
}

/// Types of one account that share a cause and their regions make a field of regions × types, in which every cell
/// has the gap; accounts with the same field share a line.
fn by_cause(report: &ScanReport) -> BTreeMap<(CellState, String, Field), BTreeSet<String>> {
    let mut regions: BTreeMap<(CellState, String, String, String), BTreeSet<String>> = BTreeMap::new();
    for cell in report.gaps() {
        // The place says where: the same refusal in thirty regions is one line.
        let cause = cell.cause.as_deref().unwrap_or_default().replace(&format!(" in {}", cell.region), "");
        let key = (cell.state, cause, cell.account_id.to_string(), cell.resource_type.to_string());
        regions.entry(key).or_default().insert(cell.region.to_string());
    }
    let mut types: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for ((state, cause, account, resource_type), regions) in regions {
        types.entry((state, cause, account, regions)).or_default().insert(resource_type);
    }
    let mut accounts: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for ((state, cause, account, regions), types) in types {
        accounts.entry((state, cause, (regions, types))).or_default().insert(account);
    }
    accounts
}

fn place((regions, types): &Field, accounts: &BTreeSet<String>) -> String {
    let accounts = names(accounts, "account", "accounts");
    let of = |names: &BTreeSet<String>| names.len() == 1 && names.contains(ANY);
    match (of(regions), of(types)) {
        (true, _) => format!("everything in {accounts}"),
        (_, true) => format!("everything in {} of {accounts}", names(regions, "region", "regions")),
        _ => format!(
            "{} in {} of {accounts}",
            names(types, "type", "types"),
            names(regions, "region", "regions")
        ),
    }
}

fn names(names: &BTreeSet<String>, one: &str, many: &str) -> String {
    if names.len() <= NAMED {
        let list = names.iter().cloned().collect::<Vec<_>>().join(", ");
        if one == "account" { format!("{} {list}", if names.len() == 1 { one } else { many }) } else { list }
    } else {
        format!("{} {many}", names.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tagwarden_core::coverage::Cell;

    use super::*;

    fn report(cells: &[(&str, &str, &str)]) -> ScanReport {
        let cell = |(account, region, resource_type): &(&str, &str, &str)| Cell {
            account_id: account.parse().unwrap(),
            region: Arc::from(*region),
            resource_type: Arc::from(*resource_type),
            state: CellState::TimedOut,
            resources: 0,
            cause: Some("no answer".into()),
        };
        ScanReport {
            run_id: String::new(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            finished_at: jiff::Timestamp::UNIX_EPOCH,
            policy_name: String::new(),
            policy_revision: String::new(),
            accounts: Vec::new(),
            summary: tagwarden_core::tally::Tally::default(),
            by_account: BTreeMap::new(),
            by_region: BTreeMap::new(),
            by_resource_type: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            coverage: cells.iter().map(cell).collect(),
            top_violations: Vec::new(),
            requests: BTreeMap::new(),
            throttled: 0,
        }
    }

    fn places(cells: &[(&str, &str, &str)]) -> Vec<String> {
        of(&report(cells)).into_iter().map(|gap| gap.place).collect()
    }

    #[test]
    fn a_line_names_no_cell_that_was_seen() {
        let (one, two) = ("111111111111", "222222222222");
        let apart = [(one, "us-east-1", "ec2:instance"), (one, "eu-west-1", "rds:db")];
        assert_eq!(
            places(&apart),
            [
                "rds:db in eu-west-1 of account 111111111111",
                "ec2:instance in us-east-1 of account 111111111111"
            ]
        );
        let field = [
            (one, "us-east-1", "rds:db"),
            (one, "eu-west-1", "rds:db"),
            (two, "us-east-1", "rds:db"),
            (two, "eu-west-1", "rds:db"),
        ];
        assert_eq!(places(&field), ["rds:db in eu-west-1, us-east-1 of accounts 111111111111, 222222222222"]);
        assert_eq!(places(&[(one, "*", "*")]), ["everything in account 111111111111"]);
    }
}
