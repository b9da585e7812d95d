//! What every answer is held against.

use serde_json::Value;

use crate::bed::Outcome;
use crate::bed::estate::Counts;
use crate::client::Answer;

/// What the server must say.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What there is, found by code of its own.
    pub counts: Counts,
    /// The run that everything is answered out of.
    pub run_id: String,
    /// How many tools there are.
    pub tools: usize,
}

impl Expected {
    /// A check that was answered without a look at the cloud.
    pub fn check(&self, answer: &Answer) -> Outcome<()> {
        if answer.value["cached"] != true || answer.value["run_id"] != self.run_id.as_str() {
            return Err(format!("not out of run {}: {}", self.run_id, answer.value).into());
        }
        self.run(answer)
    }

    /// The numbers of the run.
    pub fn run(&self, answer: &Answer) -> Outcome<()> {
        counts(&self.counts, &answer.value)
    }
}

/// Whether these are the numbers of the estate.
pub fn counts(counts: &Counts, value: &Value) -> Outcome<()> {
    let told =
        ["total_resources", "compliant_resources", "total_violations"].map(|name| value[name].as_u64());
    let there = [counts.resources, counts.compliant, counts.violations].map(Some);
    if told == there { Ok(()) } else { Err(format!("it says {told:?}, the truth is {there:?}").into()) }
}
