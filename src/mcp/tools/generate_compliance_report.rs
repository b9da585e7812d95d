//! `generate_compliance_report`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::FindingQuery;
use tagwarden_app::ask::{AskError, CheckRequest, RunAnswer, RunReading};
use tagwarden_core::finding::FindingKind;

use super::waiting;
use crate::parts::{RunOut, clean, csv_cell, cut, percent, request};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct GenerateComplianceReport;

/// Tags that a report ranks.
const TAGS_TOLD: usize = 10;

/// Findings that are looked at for the types of a tag.
const FINDINGS: usize = 1000;

/// A tag that is wrong more often than this is a widespread problem, and so is a type.
const WIDESPREAD: u64 = 10;
const WORST_TYPE: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
    Markdown,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Names or ids; default: all.
    #[serde(default)]
    accounts: Vec<String>,
    /// Default: all enabled.
    #[serde(default)]
    regions: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
    /// How `formatted_output` is written.
    #[serde(default)]
    format: Format,
    /// Whether it says what to do; true when left out.
    include_recommendations: Option<bool>,
}

impl Input {
    fn request(&self) -> CheckRequest {
        request(self.policy.as_ref(), &self.resource_types, &self.accounts, &self.regions, None)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    run: RunOut,
    format: String,
    formatted_output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    report_timestamp: String,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Summary {
    overall_compliance_score: f64,
    total_resources: u64,
    compliant_resources: u64,
    non_compliant_resources: u64,
    total_violations: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    summary: Summary,
    data_quality: crate::parts::DataQuality,
    scope: crate::parts::ScopeOut,
    scan_timestamp: String,
    top_violations_by_count: Vec<TopTag>,
    by_resource_type: BTreeMap<String, Part>,
    by_account: BTreeMap<String, Part>,
    by_region: BTreeMap<String, Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recommendations: Vec<Recommendation>,
}

#[derive(Debug, Clone, Serialize)]
struct Part {
    compliance_score: f64,
    total_resources: u64,
    violation_count: u64,
}

#[derive(Debug, Clone, Serialize)]
struct TopTag {
    tag_name: String,
    violation_count: u64,
    affected_resource_types: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Recommendation {
    priority: &'static str,
    title: String,
    description: String,
    estimated_impact: String,
    affected_resources: u64,
}

/// The tags that are missing or wrong most often, with the types on which that was seen.
async fn top_tags(call: &Call, answer: &RunAnswer, reading: &RunReading) -> Result<Vec<TopTag>, AskError> {
    let query = FindingQuery { kind: Some(FindingKind::Violation), ..answer.narrowing.findings() };
    let found = call.ask.findings(&call.who, &answer.run.run_id, &query, None, FINDINGS).await?;
    let mut seen: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
    for (_, row) in &found.findings {
        let (count, types) = seen.entry(clean(&row.finding.tag_key, 128)).or_default();
        *count += 1;
        types.insert(row.resource_type.to_string());
    }
    // The counts of the run are of all findings; without them those of the ones at hand are the best there is.
    for (key, tally) in &reading.breakdown.by_tag {
        let total = tally.missing + tally.invalid;
        if total > 0 {
            seen.entry(clean(key, 128)).or_default().0 = total;
        }
    }
    let mut tags: Vec<TopTag> = seen
        .into_iter()
        .map(|(tag_name, (violation_count, types))| TopTag {
            tag_name,
            violation_count,
            affected_resource_types: types.into_iter().collect(),
        })
        .collect();
    tags.sort_by(|one, other| {
        other.violation_count.cmp(&one.violation_count).then_with(|| one.tag_name.cmp(&other.tag_name))
    });
    tags.truncate(TAGS_TOLD);
    Ok(tags)
}

fn recommendations(reading: &RunReading, tags: &[TopTag]) -> Vec<Recommendation> {
    let mut told = Vec::new();
    let summary = reading.summary;
    if let Some(top) = tags.first().filter(|tag| tag.violation_count > WIDESPREAD) {
        told.push(Recommendation {
            priority: "high",
            title: format!("Fix widespread '{}' violations", top.tag_name),
            description: format!(
                "'{}' is missing or wrong {} times, on {}.",
                top.tag_name,
                top.violation_count,
                top.affected_resource_types.join(", ")
            ),
            estimated_impact: format!("{} violations fewer", top.violation_count),
            affected_resources: top.violation_count,
        });
    }
    if summary.resources() > 0 && summary.score() < 0.5 {
        told.push(Recommendation {
            priority: "high",
            title: "Implement automated tagging policies".into(),
            description:
                "Less than half of the resources are compliant: enforce tags where resources are created."
                    .into(),
            estimated_impact: "New resources are compliant from the start".into(),
            affected_resources: summary.violating,
        });
    }
    let worst = reading.breakdown.by_resource_type.iter().max_by_key(|(_, tally)| tally.violating);
    if let Some((name, tally)) = worst.filter(|(_, tally)| tally.violating > WORST_TYPE) {
        told.push(Recommendation {
            priority: "medium",
            title: format!("Focus tagging efforts on {name} resources"),
            description: format!(
                "{} of {} {name} resources break the policy.",
                tally.violating,
                tally.resources()
            ),
            estimated_impact: format!("{} resources compliant", tally.violating),
            affected_resources: tally.violating,
        });
    }
    if !reading.complete {
        told.push(Recommendation {
            priority: "medium",
            title: "Close the gaps of this report".into(),
            description: reading.gaps.first().map_or_else(String::new, |gap| clean(gap, 300)),
            estimated_impact: "Numbers that cover everything".into(),
            affected_resources: 0,
        });
    }
    if summary.resources() > 0 && summary.score() >= 0.9 {
        told.push(Recommendation {
            priority: "low",
            title: "Maintain excellent compliance".into(),
            description: "Keep watching with a scheduled audit.".into(),
            estimated_impact: "The score stays high".into(),
            affected_resources: 0,
        });
    }
    told
}

fn part(tally: &tagwarden_core::tally::Tally) -> Part {
    Part {
        compliance_score: cut(tally.score()),
        total_resources: tally.resources(),
        violation_count: tally.violations(),
    }
}

fn csv(report: &Report) -> String {
    let mut lines = vec!["Compliance Summary".to_owned(), "Metric,Value".to_owned()];
    let summary = &report.summary;
    lines.push(format!("Overall Compliance Score,{:.2}%", summary.overall_compliance_score * 100.0));
    for (metric, value) in [
        ("Total Resources", summary.total_resources),
        ("Compliant Resources", summary.compliant_resources),
        ("Non-Compliant Resources", summary.non_compliant_resources),
        ("Total Violations", summary.total_violations),
    ] {
        lines.push(format!("{metric},{value}"));
    }
    lines.push(format!("Data Quality,{}", csv_cell(&report.data_quality.note)));
    lines.push(String::new());
    lines.push("Top Violations by Count".into());
    lines.push("Tag Name,Violation Count,Affected Resource Types".into());
    for tag in &report.top_violations_by_count {
        let types = csv_cell(&tag.affected_resource_types.join("; "));
        lines.push(format!("{},{},{types}", csv_cell(&tag.tag_name), tag.violation_count));
    }
    if !report.recommendations.is_empty() {
        lines.push(String::new());
        lines.push("Recommendations".into());
        lines.push("Priority,Title,Description,Estimated Impact,Affected Resources".into());
        for one in &report.recommendations {
            let cells = [one.priority, &one.title, &one.description, &one.estimated_impact].map(csv_cell);
            lines.push(format!("{},{}", cells.join(","), one.affected_resources));
        }
    }
    lines.join("\n") + "\n"
}

/// A text in Markdown that is nothing but text.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for symbol in text.chars() {
        if "\\`*_{}[]<>#|!".contains(symbol) {
            plain.push('\\');
        }
        plain.push(symbol);
    }
    plain
}

fn markdown(report: &Report, now: &str) -> String {
    use std::fmt::Write as _;
    let (summary, mut text) = (&report.summary, String::new());
    let _ = writeln!(
        text,
        "# Tag Compliance Report\n\n**Generated:** {now}\n**Scan Date:** {}\n",
        report.scan_timestamp
    );
    if report.data_quality.status != "complete" {
        let _ = writeln!(text, "> **{}**\n", plain(&report.data_quality.note));
    }
    let _ = writeln!(text, "## Summary\n");
    let _ = writeln!(text, "- Overall compliance: {}", percent(summary.overall_compliance_score));
    let _ = writeln!(
        text,
        "- Resources: {}, of which {} compliant and {} not",
        summary.total_resources, summary.compliant_resources, summary.non_compliant_resources
    );
    let _ = writeln!(text, "- Violations: {}", summary.total_violations);
    let _ = writeln!(text, "- Policy: {}", plain(&report.scope.policy));
    let _ = writeln!(text, "\n## Top Violations by Count\n");
    for tag in &report.top_violations_by_count {
        let types = plain(&tag.affected_resource_types.join(", "));
        let _ = writeln!(text, "- **{}**: {} ({types})", plain(&tag.tag_name), tag.violation_count);
    }
    for (title, parts) in [
        ("By Account", &report.by_account),
        ("By Region", &report.by_region),
        ("By Resource Type", &report.by_resource_type),
    ] {
        if !parts.is_empty() {
            let _ = writeln!(text, "\n## {title}\n\n| | Score | Resources | Violations |\n|---|--:|--:|--:|");
        }
        for (name, part) in parts {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                plain(name),
                percent(part.compliance_score),
                part.total_resources,
                part.violation_count
            );
        }
    }
    if !report.recommendations.is_empty() {
        let _ = writeln!(text, "\n## Recommendations");
    }
    for (place, one) in report.recommendations.iter().enumerate() {
        let _ = writeln!(
            text,
            "\n### {}. {}\n\n{} ({} priority)",
            place + 1,
            plain(&one.title),
            plain(&one.description),
            one.priority
        );
    }
    if !report.data_quality.gaps.is_empty() {
        let _ = writeln!(text, "\n## Not seen\n");
    }
    for gap in &report.data_quality.gaps {
        let _ = writeln!(text, "- {}", plain(gap));
    }
    text
}

/// Lines of each breakdown, the worst first.
const LINES: usize = 20;

fn worst<'a, K: ToString + 'a>(
    parts: impl Iterator<Item = (K, &'a tagwarden_core::tally::Tally)>,
) -> BTreeMap<String, Part> {
    let mut parts: Vec<(String, Part)> = parts.map(|(name, tally)| (name.to_string(), part(tally))).collect();
    parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.violation_count));
    parts.truncate(LINES);
    parts.into_iter().collect()
}

impl Tool for GenerateComplianceReport {
    const NAME: &'static str = "generate_compliance_report";
    const TITLE: &'static str = "Compliance report";
    const ABOUT: &'static str = "Writes a report as JSON, CSV or Markdown: summary, top violations, breakdowns, what was not seen, and \
         recommendations. Answers from a recent run where one covers the question.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let answer = waiting::checked(call, &input.request(), false, None).await?;
        let run = RunOut::answering(&answer, &call.ask);
        let now = call.ask.now().to_string();
        let format = match input.format {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Markdown => "markdown",
        };
        let Some(reading) = &answer.reading else {
            return Ok(Output {
                run,
                format: format.into(),
                formatted_output: String::new(),
                summary: None,
                report_timestamp: now,
            });
        };
        let tags = top_tags(call, &answer, reading).await?;
        let tally = reading.summary;
        let summary = Summary {
            overall_compliance_score: cut(tally.score()),
            total_resources: tally.resources(),
            compliant_resources: tally.compliant,
            non_compliant_resources: tally.violating,
            total_violations: tally.violations(),
        };
        let wanted = input.include_recommendations.unwrap_or(true);
        let parts = &reading.breakdown;
        let report = Report {
            summary: summary.clone(),
            data_quality: run.data_quality.clone(),
            scope: run.scope.clone(),
            scan_timestamp: run.scan_timestamp.clone().unwrap_or_default(),
            recommendations: if wanted { recommendations(reading, &tags) } else { Vec::new() },
            top_violations_by_count: tags,
            by_resource_type: worst(parts.by_resource_type.iter()),
            by_account: worst(parts.by_account.iter().map(|(name, _, _, tally)| (name, tally))),
            by_region: worst(parts.by_region.iter()),
        };
        let formatted_output = match input.format {
            Format::Json => serde_json::to_string(&report).map_err(|error| AskError::internal(&error))?,
            Format::Csv => csv(&report),
            Format::Markdown => markdown(&report, &now),
        };
        Ok(Output {
            run,
            format: format.into(),
            formatted_output,
            summary: Some(summary),
            report_timestamp: now,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        waiting::rehearsed(call, &input.request(), false).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_no_markup() {
        assert_eq!(plain("[x](javascript:1) <b>"), "\\[x\\](javascript:1) \\<b\\>");
    }
}
