//! How scores developed: averages of runs of one scope, by day, week or month.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tagwarden_core::run::RunState;
use tagwarden_core::scope::Scope as RunScope;

use super::error::AskError;
use super::ports::{RunLine, RunQuery};
use super::{Ask, Principal};

/// Scores that differ by no more than this, one point, are the same: resources come and go.
pub const NOISE: f64 = 0.01;

/// Runs read at a time, and how often at most.
const PAGE: usize = 500;
const PAGES: usize = 10;

/// How periods are cut, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
}

impl GroupBy {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    fn start(self, at: Timestamp) -> Date {
        let date = at.to_zoned(TimeZone::UTC).date();
        match self {
            Self::Day => date,
            Self::Week => {
                let back = i64::from(date.weekday().since(Weekday::Monday));
                date.saturating_sub(SignedDuration::from_hours(24 * back))
            }
            Self::Month => date.first_of_month(),
        }
    }
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// Up by more than noise.
    Improving,
    /// Down by more than noise.
    Declining,
    /// Neither.
    Stable,
}

impl Trend {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Improving => "improving",
            Self::Declining => "declining",
            Self::Stable => "stable",
        }
    }

    fn of(change: f64) -> Self {
        match change {
            up if up > NOISE => Self::Improving,
            down if down < -NOISE => Self::Declining,
            _ => Self::Stable,
        }
    }
}

/// The runs of one period, on average.
#[derive(Debug, Clone, PartialEq)]
pub struct Period {
    /// Its first day.
    pub start: Date,
    /// Runs in it.
    pub runs: u64,
    /// Those that saw everything.
    pub complete_runs: u64,
    /// 0 to 1.
    pub score: f64,
    /// Compliant and violating resources.
    pub resources: f64,
    /// Compliant ones.
    pub compliant: f64,
    /// Violations.
    pub violations: f64,
}

/// How scores developed.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The periods with runs, oldest first.
    pub periods: Vec<Period>,
    /// From the first to the last.
    pub trend: Trend,
    /// By how much the score changed, -1 to 1.
    pub change: f64,
    /// What all of these runs looked at; none without runs.
    pub scope: Option<RunScope>,
    /// Their policies.
    pub policies: Vec<String>,
    /// Runs of another scope or policy, which cannot be compared and are left out.
    pub left_out: u64,
    /// What the asker has to know.
    pub notes: Vec<String>,
}

impl Ask {
    /// The history of the last so many days: of an audit, or of the scope that has most runs. Checks on demand are no
    /// history.
    pub async fn history(
        &self,
        who: &Principal,
        days: u32,
        group_by: GroupBy,
        audit: Option<&str>,
    ) -> Result<History, AskError> {
        let audit = match audit {
            Some(name) => Some(self.audit(who, name).await?),
            None => None,
        };
        let since = self.now() - SignedDuration::from_hours(24 * i64::from(days));
        let runs = self.runs_since(who, since).await?;
        let mut scopes: BTreeMap<(String, String), Vec<&RunLine>> = BTreeMap::new();
        for run in &runs {
            scopes.entry((run.scope.digest(), run.policy.clone())).or_default().push(run);
        }
        let wanted = match &audit {
            Some(audit) => runs.iter().find(|run| audit.past_runs.contains(&run.run_id)),
            None => scopes.values().max_by_key(|runs| runs.len()).and_then(|runs| runs.first().copied()),
        };
        let wanted = wanted.map(|run| (run.scope.digest(), run.policy.clone()));
        let chosen = wanted.as_ref().and_then(|key| scopes.get(key)).cloned().unwrap_or_default();
        let left_out = (runs.len() - chosen.len()) as u64;
        let mut history = summed(&chosen, group_by);
        history.left_out = left_out;
        if left_out > 0 {
            history.notes.push(format!(
                "{left_out} runs of other scopes or policies cannot be compared with these and are left out"
            ));
        }
        if chosen.is_empty() {
            history
                .notes
                .push("no scheduled run has ended in this time; checks on demand are no history".into());
        }
        Ok(history)
    }

    /// The runs of audits with results that began since then, newest first.
    async fn runs_since(&self, who: &Principal, since: Timestamp) -> Result<Vec<RunLine>, AskError> {
        let mut query = RunQuery { limit: PAGE, ..RunQuery::default() };
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page = self.runs(who, &query).await?;
            let full = page.len() == PAGE;
            query.before = page.last().map(|run| (run.started_at, run.run_id.clone()));
            let over = page.last().is_none_or(|run| run.started_at < since);
            found.extend(page.into_iter().filter(|run| {
                let counts = run.state == RunState::Succeeded && run.results.is_some();
                counts && run.started_at >= since && !run.run_id.starts_with("adhoc-")
            }));
            if over || !full {
                break;
            }
        }
        Ok(found)
    }
}

#[allow(clippy::cast_precision_loss)] // exact below 2^53
fn summed(runs: &[&RunLine], group_by: GroupBy) -> History {
    let mut periods: BTreeMap<Date, Period> = BTreeMap::new();
    for run in runs {
        let Some(results) = run.results else { continue };
        let start = group_by.start(run.started_at);
        let period = periods.entry(start).or_insert(Period {
            start,
            runs: 0,
            complete_runs: 0,
            score: 0.0,
            resources: 0.0,
            compliant: 0.0,
            violations: 0.0,
        });
        period.runs += 1;
        period.complete_runs += u64::from(results.complete);
        period.score += results.summary.score();
        period.resources += results.summary.resources() as f64;
        period.compliant += results.summary.compliant as f64;
        period.violations += results.summary.violations() as f64;
    }
    let mut periods: Vec<Period> = periods.into_values().collect();
    for period in &mut periods {
        let runs = period.runs as f64;
        for sum in [&mut period.score, &mut period.resources, &mut period.compliant, &mut period.violations] {
            *sum /= runs;
        }
    }
    let change = match (periods.first(), periods.last()) {
        (Some(first), Some(last)) => last.score - first.score,
        _ => 0.0,
    };
    let mut policies: Vec<String> = runs.iter().map(|run| run.policy.clone()).collect();
    policies.sort_unstable();
    policies.dedup();
    History {
        trend: Trend::of(change),
        change,
        scope: runs.first().map(|run| run.scope.clone()),
        policies,
        left_out: 0,
        notes: Vec::new(),
        periods,
    }
}

#[cfg(test)]
mod tests {
    use tagwarden_core::tally::Tally;

    use super::super::ports::RunNumbers;
    use super::*;

    fn run(at: &str, compliant: u64, violating: u64) -> RunLine {
        let summary =
            Tally { compliant, violating, by_severity: [0, violating, 0, 0, 0], ..Tally::default() };
        RunLine {
            run_id: format!("nightly-{at}"),
            trigger: "schedule".into(),
            state: RunState::Succeeded,
            policy: "corp".into(),
            policy_revision: "sha256:0".into(),
            scope: RunScope::default(),
            started_at: at.parse().unwrap(),
            finished_at: Some(at.parse().unwrap()),
            cause: None,
            results: Some(RunNumbers { complete: true, gaps: 0, findings: violating, summary }),
        }
    }

    #[test]
    fn periods_are_averages_and_not_sums() {
        let runs = [
            run("2026-11-16T02:00:00Z", 8, 2),
            run("2026-11-17T02:00:00Z", 10, 0),
            run("2026-11-22T02:00:00Z", 9, 1),
            run("2026-12-01T02:00:00Z", 5, 5),
        ];
        let runs: Vec<&RunLine> = runs.iter().collect();
        let weeks = summed(&runs, GroupBy::Week);
        let shape: Vec<(String, u64)> =
            weeks.periods.iter().map(|period| (period.start.to_string(), period.runs)).collect();
        assert_eq!(shape, [("2026-11-16".to_owned(), 3), ("2026-11-30".to_owned(), 1)]);
        let first = &weeks.periods[0];
        assert!((first.score - 0.9).abs() < 1e-9 && (first.resources - 10.0).abs() < 1e-9);
        assert!((first.violations - 1.0).abs() < 1e-9);
        assert_eq!(weeks.trend, Trend::Declining);
        assert_eq!(summed(&runs, GroupBy::Day).periods.len(), 4);
        assert_eq!(summed(&runs, GroupBy::Month).periods[0].start.to_string(), "2026-11-01");
    }

    #[test]
    fn noise_is_no_trend() {
        for (change, trend) in [
            (0.0, Trend::Stable),
            (0.009, Trend::Stable),
            (-0.009, Trend::Stable),
            (0.02, Trend::Improving),
            (-0.02, Trend::Declining),
        ] {
            assert_eq!(Trend::of(change), trend, "{change}");
        }
        assert_eq!(summed(&[], GroupBy::Day).trend, Trend::Stable);
    }
}
