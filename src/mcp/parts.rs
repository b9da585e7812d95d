//! Parts that many answers share. Their names are those of the predecessor where it had them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::{FindingQuery, RunLine};
use tagwarden_app::ask::{Ask, CheckRequest, RunAnswer};
use tagwarden_core::finding::{Finding, FindingKind, Severity};
use tagwarden_core::report::ViolationRow;
use tagwarden_core::run::RunState;
use tagwarden_core::tally::Tally;
use tagwarden_core::text::neutral;

/// Allowed values that a finding tells.
const VALUES_TOLD: usize = 10;

/// A text of somebody else: without control characters, and bounded.
pub(crate) fn clean(text: &str, chars: usize) -> String {
    let hidden = |symbol: char| {
        symbol.is_control()
            || matches!(symbol, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown: String =
        text.chars().take(chars).map(|symbol| if hidden(symbol) { '\u{fffd}' } else { symbol }).collect();
    if text.chars().nth(chars).is_some() {
        shown.push('…');
    }
    shown
}

/// Which findings are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severities {
    /// Violations and advice.
    #[default]
    All,
    /// Violations.
    ErrorsOnly,
    /// Advice.
    WarningsOnly,
}

impl Severities {
    pub(crate) fn kind(self) -> Option<FindingKind> {
        match self {
            Self::All => None,
            Self::ErrorsOnly => Some(FindingKind::Violation),
            Self::WarningsOnly => Some(FindingKind::Advice),
        }
    }

    pub(crate) fn within(self, query: FindingQuery) -> FindingQuery {
        FindingQuery { kind: self.kind(), ..query }
    }
}

/// One finding.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Violation {
    pub(crate) resource_arn: String,
    pub(crate) resource_id: String,
    pub(crate) resource_type: String,
    pub(crate) account_id: String,
    pub(crate) region: String,
    #[serde(flatten)]
    pub(crate) what: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Wrong {
    pub(crate) violation_type: String,
    pub(crate) tag_name: String,
    /// `error` counts against the score, `warning` is advice.
    pub(crate) severity: String,
    /// critical, high, medium, low or info.
    pub(crate) level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_values: Option<Vec<String>>,
    pub(crate) message: String,
}

impl From<&Finding> for Wrong {
    fn from(finding: &Finding) -> Self {
        let allowed = finding.allowed_values.as_ref().map(|values| {
            let mut told: Vec<String> =
                values.iter().take(VALUES_TOLD).map(|value| clean(value, 128)).collect();
            if values.len() > VALUES_TOLD {
                told.push(format!("… {} more", values.len() - VALUES_TOLD));
            }
            told
        });
        Self {
            violation_type: finding.violation_type.as_str().into(),
            tag_name: clean(&finding.tag_key, 128),
            severity: if finding.kind == FindingKind::Violation { "error" } else { "warning" }.into(),
            level: finding.severity.as_str().into(),
            current_value: finding.current_value.as_ref().map(|value| clean(value, 256)),
            allowed_values: allowed,
            message: clean(&finding.message(), 300),
        }
    }
}

impl From<&ViolationRow> for Violation {
    fn from(row: &ViolationRow) -> Self {
        Self {
            resource_arn: clean(&row.arn, 2048),
            resource_id: clean(&row.resource_id, 512),
            resource_type: row.resource_type.to_string(),
            account_id: row.account_id.to_string(),
            region: row.region.to_string(),
            what: Wrong::from(&row.finding),
        }
    }
}

/// Whether the numbers are the whole truth.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DataQuality {
    /// complete, partial or none.
    pub(crate) status: String,
    /// In a sentence.
    pub(crate) note: String,
    /// What was not seen, some of it.
    pub(crate) gaps: Vec<String>,
    /// How much there is in all.
    pub(crate) gap_count: u64,
}

impl DataQuality {
    pub(crate) fn of(answer: &RunAnswer) -> Self {
        let Some(reading) = &answer.reading else {
            return Self::none(&answer.run);
        };
        if reading.complete {
            return Self {
                status: "complete".into(),
                note: "Everything in scope was seen.".into(),
                gaps: Vec::new(),
                gap_count: 0,
            };
        }
        let unknown = match reading.summary.unknown {
            0 => String::new(),
            unknown => format!(" The tags of {unknown} resources could not be read; they are in no number."),
        };
        Self {
            status: "partial".into(),
            note: format!(
                "INCOMPLETE: {} combinations of account, region and type were not fully seen. The numbers cover only \
                 what was seen: do not present them as totals.{unknown}",
                reading.gap_count
            ),
            gaps: reading.gaps.iter().map(|gap| clean(gap, 300)).collect(),
            gap_count: reading.gap_count,
        }
    }

    fn none(run: &RunLine) -> Self {
        let note = match run.state {
            RunState::Queued | RunState::Running => {
                "The run has not ended: there are no results yet. Call get_run with this run_id.".to_owned()
            }
            state => {
                let cause = run.cause.as_deref().map(|cause| clean(cause, 300));
                format!("The run is {state} and has no results. {}", cause.unwrap_or_default())
            }
        };
        Self { status: "none".into(), note, gaps: Vec::new(), gap_count: 0 }
    }
}

/// What was asked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ScopeOut {
    pub(crate) policy: String,
    pub(crate) policy_revision: String,
    /// Ids; `all` stands for all accounts.
    pub(crate) accounts: Vec<String>,
    pub(crate) regions: Vec<String>,
    pub(crate) resource_types: Vec<String>,
}

impl ScopeOut {
    pub(crate) fn of(answer: &RunAnswer) -> Self {
        let (run, narrowing) = (&answer.run, &answer.narrowing);
        let names = |narrow: Vec<String>, wide: Vec<String>| match (narrow.is_empty(), wide.is_empty()) {
            (false, _) => narrow,
            (true, false) => wide,
            (true, true) => vec!["all".to_owned()],
        };
        let wide = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        Self {
            policy: clean(&run.policy, 253),
            policy_revision: run.policy_revision.clone(),
            accounts: names(
                narrowing.accounts.iter().map(ToString::to_string).collect(),
                wide(&run.scope.accounts),
            ),
            regions: names(wide(&narrowing.regions), wide(&run.scope.regions)),
            resource_types: names(wide(&narrowing.resource_types), wide(&run.scope.resource_types)),
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ProgressOut {
    pub(crate) accounts: usize,
    pub(crate) accounts_done: usize,
    pub(crate) resources: u64,
}

/// Everything that a run says in numbers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RunOut {
    pub(crate) run_id: String,
    /// completed, running, queued, succeeded, failed or cancelled.
    pub(crate) status: String,
    /// Whether everything in scope was seen.
    pub(crate) complete: bool,
    /// Whether an earlier run answered, without a cloud call.
    pub(crate) cached: bool,
    /// 0 to 1: `compliant_resources` / `total_resources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compliance_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_resources: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compliant_resources: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) non_compliant_resources: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exempt_resources: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown_resources: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_violations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) violations_by_severity: Option<BTreeMap<String, u64>>,
    /// When the results were complete, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scan_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<u64>,
    pub(crate) started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<ProgressOut>,
    pub(crate) scope: ScopeOut,
    pub(crate) data_quality: DataQuality,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

impl RunOut {
    pub(crate) fn of(answer: &RunAnswer, status: &str, now: Timestamp) -> Self {
        let tally = answer.reading.as_ref().map(|reading| reading.summary);
        let by_severity = |tally: Tally| {
            Severity::ALL
                .into_iter()
                .map(|severity| (severity.as_str().to_owned(), tally.by_severity[severity as usize]))
                .collect()
        };
        Self {
            run_id: answer.run.run_id.clone(),
            status: status.into(),
            complete: answer.reading.as_ref().is_some_and(|reading| reading.complete),
            cached: answer.cached,
            // Of a failed run the score would be 1: nothing was seen that breaks the policy.
            compliance_score: tally
                .filter(|tally| tally.resources() > 0 || answer.reading.as_ref().is_some_and(|r| r.complete))
                .map(|tally| cut(tally.score())),
            total_resources: tally.map(|tally| tally.resources()),
            compliant_resources: tally.map(|tally| tally.compliant),
            non_compliant_resources: tally.map(|tally| tally.violating),
            exempt_resources: tally.map(|tally| tally.exempt),
            unknown_resources: tally.map(|tally| tally.unknown),
            total_violations: tally.map(|tally| tally.violations()),
            violations_by_severity: tally.map(by_severity),
            scan_timestamp: answer.reading.as_ref().and(answer.run.finished_at).map(|at| at.to_string()),
            age_seconds: answer.reading.as_ref().and(answer.age(now)).map(|age| age.as_secs()),
            started_at: answer.run.started_at.to_string(),
            progress: answer.progress.map(|progress| ProgressOut {
                accounts: progress.accounts,
                accounts_done: progress.accounts_done,
                resources: progress.resources,
            }),
            scope: ScopeOut::of(answer),
            data_quality: DataQuality::of(answer),
            notes: answer.notes.iter().map(|note| clean(note, 300)).collect(),
        }
    }

    /// `completed` or `running` for a question; anything else in the words of a run.
    pub(crate) fn answering(answer: &RunAnswer, ask: &Ask) -> Self {
        let status = match answer.run.state {
            RunState::Succeeded => "completed",
            RunState::Queued | RunState::Running => "running",
            ended => ended.as_str(),
        };
        Self::of(answer, status, ask.now())
    }
}

/// A score with four decimals, cut: it is 1 only if nothing breaks the policy.
pub(crate) fn cut(score: f64) -> f64 {
    // What binary fractions lack of 0.29 is no violation.
    (score * 10_000.0 + 1e-6).floor() / 10_000.0
}

/// A score in percent, cut likewise.
pub(crate) fn percent(score: f64) -> String {
    format!("{:.1}%", (score * 1000.0 + 1e-6).floor() / 10.0)
}

/// Four decimals.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

/// Where the predecessor has its filters.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filters {
    /// Regions.
    #[serde(default, alias = "region")]
    pub(crate) regions: Vec<String>,
    /// Account ids or names.
    #[serde(default, alias = "account_id", deserialize_with = "one_or_many")]
    pub(crate) accounts: Vec<String>,
}

/// A text or a list of them.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// What a check is about, from the arguments of a tool.
pub(crate) fn request(
    policy: Option<&String>,
    resource_types: &[String],
    accounts: &[String],
    regions: &[String],
    filters: Option<&Filters>,
) -> CheckRequest {
    let filters = filters.cloned().unwrap_or_default();
    CheckRequest {
        policy: policy.cloned(),
        resource_types: resource_types.to_vec(),
        accounts: accounts.iter().cloned().chain(filters.accounts).collect(),
        regions: regions.iter().cloned().chain(filters.regions).collect(),
    }
}

/// A cell of a spreadsheet that is text and nothing else: quoted where needed, and no formula.
pub(crate) fn csv_cell(text: &str) -> String {
    let text = neutral(&clean(text, 2048));
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_one_only_if_nothing_is_wrong() {
        for (score, told) in
            [(1.0, 1.0), (0.999_96, 0.9999), (0.29, 0.29), (2.0 / 3.0, 0.6666), (0.0, 0.0), (0.000_01, 0.0)]
        {
            assert!((cut(score) - told).abs() < 1e-12, "{score}");
        }
        for (score, told) in [(1.0, "100.0%"), (0.9999, "99.9%"), (0.29, "29.0%"), (0.0, "0.0%")] {
            assert_eq!(percent(score), told);
        }
        for hundredth in 0..=10_000_u32 {
            let score = f64::from(hundredth) / 10_000.0;
            assert!((cut(score) - score).abs() < 1e-12, "{score}");
        }
    }

    #[test]
    fn texts_of_a_cloud_are_data() {
        assert_eq!(clean("a\u{1b}[2J\u{202e}b\n", 100), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
        assert_eq!(clean("abc", 2), "ab…");
        for (text, cell) in [
            ("plain", "plain"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@x", "'@x"),
            ("-1", "'-1"),
            (" =1", "' =1"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("a\nb", "a\u{fffd}b"),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
