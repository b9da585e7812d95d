//! Markdown, for a ticket or a wiki page.

use std::io::{self, Write};

use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::tally::Tally;

use super::gaps;
use super::table::{percent, printable};

/// The whole document.
pub fn document(report: &ScanReport, top: &[ViolationRow], listed: u64, out: &mut dyn Write) -> io::Result<()> {
    let summary = &report.summary;
    writeln!(out, "# Tag Compliance Report\n")?;
    writeln!(out, "**Scan date:** {}  ", report.finished_at)?;
    writeln!(out, "**Policy:** {} (`{}`)  ", cell(&report.policy_name), report.policy_revision)?;
    writeln!(out, "**Run:** {}\n", report.run_id)?;
    partial(report, out)?;
    writeln!(out, "## Summary\n")?;
    writeln!(out, "- Score: {}", percent(summary))?;
    writeln!(out, "- Resources in scope: {}", summary.resources())?;
    writeln!(out, "- Compliant: {}", summary.compliant)?;
    writeln!(out, "- Violating: {} ({} violations)", summary.violating, summary.violations())?;
    writeln!(out, "- Exempt: {}", summary.exempt)?;
    writeln!(out, "- Unknown: {}\n", summary.unknown)?;
    let accounts = report.by_account.iter().map(|(id, tally)| (id.as_str(), tally));
    breakdown("Account", accounts, out)?;
    breakdown("Region", report.by_region.iter().map(|(region, tally)| (&**region, tally)), out)?;
    breakdown("Resource type", report.by_resource_type.iter().map(|(name, tally)| (&**name, tally)), out)?;
    violations(top, listed, out)
}

fn partial(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    if report.complete() {
        return Ok(());
    }
    let (open, cells) = gaps::counts(report);
    writeln!(out, "> **Partial.** {open} of {cells} cells (account, region, type) could not be fully seen.\n")?;
    writeln!(out, "| State | Not covered | Cause |\n|---|---|---|")?;
    for gap in gaps::of(report) {
        writeln!(out, "| {} | {} | {} |", gap.state, cell(&gap.place), cell(&gap.cause))?;
    }
    writeln!(out)
}

fn breakdown<'a>(
    title: &str,
    rows: impl Iterator<Item = (&'a str, &'a Tally)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "| {title} | Score | Resources | Violating | Exempt | Unknown |\n|---|--:|--:|--:|--:|--:|")?;
    for (key, tally) in rows {
        let Tally { violating, exempt, unknown, .. } = tally;
        let (score, resources) = (percent(tally), tally.resources());
        writeln!(out, "| {} | {score} | {resources} | {violating} | {exempt} | {unknown} |", cell(key))?;
    }
    writeln!(out)
}

fn violations(top: &[ViolationRow], listed: u64, out: &mut dyn Write) -> io::Result<()> {
    if top.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Top findings ({} of {listed})\n", top.len())?;
    writeln!(out, "| Severity | Resource | Finding |\n|---|---|---|")?;
    for row in top {
        writeln!(out, "| {} | {} | {} |", row.finding.severity, cell(&row.arn), cell(&row.finding.message()))?;
    }
    Ok(())
}

/// Text from the cloud as the content of a table cell: nothing in it can start a column, a link or a tag.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in printable(text).chars() {
        match symbol {
            '<' => escaped.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' => escaped.extend(['\\', symbol]),
            _ => escaped.push(symbol),
        }
    }
    escaped
}
