//! What came of one account, as the store keeps it until the run has ended: JSON with short names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tagwarden_app::audit::outcome::{AccountOutcome, GapLine};
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::report::TagTally;
use tagwarden_core::tally::Tally;

use crate::bulk::{self, TALLY_COLUMNS};
use crate::{StoreError, text};

/// The counters of a tally, in the order of its columns. Fewer of them are those of an earlier version.
type Counters = Vec<u64>;

/// A run outlives the version that began it: what a later one adds has to have a default. Without name, verdict and
/// counts there is no outcome.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    name: String,
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    failure: Option<(String, String)>,
    complete: bool,
    #[serde(default)]
    regions: u64,
    #[serde(default)]
    types: BTreeSet<String>,
    #[serde(default)]
    cells: u64,
    #[serde(default)]
    gaps: u64,
    #[serde(default)]
    told: Vec<Told>,
    #[serde(default)]
    seen: u64,
    summary: Counters,
    #[serde(default)]
    by_region: BTreeMap<String, Counters>,
    #[serde(default)]
    by_resource_type: BTreeMap<String, Counters>,
    #[serde(default)]
    by_tag: BTreeMap<String, [u64; 2]>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    region: String,
    resource_type: String,
    state: String,
    cause: String,
}

/// The outcome as JSON.
pub(crate) fn write(outcome: &AccountOutcome) -> Result<String, StoreError> {
    let stored = |value: &str| text::stored(value).into_owned();
    let checkpoint = Checkpoint {
        name: stored(&outcome.name),
        account_id: outcome.account_id.as_ref().map(ToString::to_string),
        failure: outcome.failure.as_ref().map(|gap| (gap.state.as_str().to_owned(), stored(&gap.cause))),
        complete: outcome.complete,
        regions: outcome.regions,
        types: outcome.types.iter().map(|name| stored(name)).collect(),
        cells: outcome.cells,
        gaps: outcome.gaps,
        told: outcome
            .told
            .iter()
            .map(|gap| Told {
                region: stored(&gap.region),
                resource_type: stored(&gap.resource_type),
                state: gap.state.clone(),
                cause: stored(&gap.cause),
            })
            .collect(),
        seen: outcome.seen,
        summary: counters(&outcome.summary),
        by_region: outcome.by_region.iter().map(|(name, tally)| (stored(name), counters(tally))).collect(),
        by_resource_type: outcome
            .by_resource_type
            .iter()
            .map(|(name, tally)| (stored(name), counters(tally)))
            .collect(),
        by_tag: outcome
            .by_tag
            .iter()
            .map(|(key, tally)| (stored(key), [tally.missing, tally.invalid]))
            .collect(),
    };
    serde_json::to_string(&checkpoint)
        .map_err(|error| StoreError::corrupt("the outcome of an account", error))
}

/// The outcome that this JSON is.
pub(crate) fn read(json: &str) -> Result<AccountOutcome, StoreError> {
    let corrupt = |error: &dyn std::fmt::Display| StoreError::corrupt("the outcome of an account", error);
    let checkpoint: Checkpoint = serde_json::from_str(json).map_err(|error| corrupt(&error))?;
    let tallies = |rows: BTreeMap<String, Counters>| -> Result<BTreeMap<Arc<str>, Tally>, StoreError> {
        rows.into_iter().map(|(name, values)| Ok((Arc::from(name), tally(&values)?))).collect()
    };
    let failure = match checkpoint.failure {
        Some((word, cause)) => {
            let known = CellState::ALL.into_iter().find(|state| state.as_str() == word);
            Some(Gap { state: known.ok_or_else(|| corrupt(&word))?, cause })
        }
        None => None,
    };
    let account_id = checkpoint.account_id.map(|id| id.parse().map_err(|_| corrupt(&id))).transpose()?;
    Ok(AccountOutcome {
        name: checkpoint.name,
        account_id,
        failure,
        complete: checkpoint.complete,
        regions: checkpoint.regions,
        types: checkpoint.types.into_iter().map(Arc::from).collect(),
        cells: checkpoint.cells,
        gaps: checkpoint.gaps,
        told: checkpoint
            .told
            .into_iter()
            .map(|gap| GapLine {
                region: gap.region,
                resource_type: gap.resource_type.into(),
                state: gap.state,
                cause: gap.cause,
            })
            .collect(),
        seen: checkpoint.seen,
        summary: tally(&checkpoint.summary)?,
        by_region: tallies(checkpoint.by_region)?,
        by_resource_type: tallies(checkpoint.by_resource_type)?,
        by_tag: checkpoint
            .by_tag
            .into_iter()
            .map(|(key, [missing, invalid])| (key.into(), TagTally { missing, invalid }))
            .collect(),
    })
}

fn counters(tally: &Tally) -> Counters {
    bulk::tally_values(tally).into_iter().collect()
}

/// More counters than are known are those of a later version; without them the sums would be wrong.
fn tally(counters: &[u64]) -> Result<Tally, StoreError> {
    let mut values = [0; TALLY_COLUMNS];
    let Some(known) = values.get_mut(..counters.len()) else {
        return Err(StoreError::corrupt(
            "the outcome of an account",
            "more counters than this version knows",
        ));
    };
    known.copy_from_slice(counters);
    Ok(bulk::tally_of(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_version_is_understood_and_a_later_one_is_not_guessed_at() {
        let earlier = r#"{"name": "prod", "complete": true, "summary": [7, 2]}"#;
        let outcome = read(earlier).unwrap();
        assert_eq!((&*outcome.name, outcome.complete, outcome.gaps), ("prod", true, 0));
        assert_eq!(outcome.summary, Tally { compliant: 7, violating: 2, ..Tally::default() });
        let with_more = r#"{"name": "prod", "complete": true, "summary": [7, 2], "since": "next year"}"#;
        assert_eq!(read(with_more).unwrap(), outcome);
        let later =
            format!(r#"{{"name": "prod", "complete": true, "summary": {:?}}}"#, [1; TALLY_COLUMNS + 1]);
        assert!(read(&later).is_err());
        assert!(read(r#"{"name": "prod"}"#).is_err(), "there is no outcome");
        assert_eq!(read(&write(&outcome).unwrap()).unwrap(), outcome);
    }
}
