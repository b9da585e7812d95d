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

/// The counters of a tally, in the order of its columns.
type Counters = [u64; TALLY_COLUMNS];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    name: String,
    account_id: Option<String>,
    failure: Option<(String, String)>,
    complete: bool,
    regions: u64,
    types: BTreeSet<String>,
    cells: u64,
    gaps: u64,
    told: Vec<Told>,
    seen: u64,
    summary: Counters,
    by_region: BTreeMap<String, Counters>,
    by_resource_type: BTreeMap<String, Counters>,
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
    let tallies = |rows: BTreeMap<String, Counters>| {
        rows.into_iter().map(|(name, values)| (Arc::from(name), bulk::tally_of(values))).collect()
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
        summary: bulk::tally_of(checkpoint.summary),
        by_region: tallies(checkpoint.by_region),
        by_resource_type: tallies(checkpoint.by_resource_type),
        by_tag: checkpoint
            .by_tag
            .into_iter()
            .map(|(key, [missing, invalid])| (key.into(), TagTally { missing, invalid }))
            .collect(),
    })
}

fn counters(tally: &Tally) -> Counters {
    let mut values = [0; TALLY_COLUMNS];
    for (value, counter) in values.iter_mut().zip(bulk::tally_values(tally)) {
        *value = counter;
    }
    values
}
