//! The screen: the score, what the numbers do not cover, and where it hurts. Fits a hundred columns.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use tagwarden_core::report::{ScanReport, TOP_VIOLATIONS, ViolationRow};
use tagwarden_core::tally::Tally;

use super::gaps;
use super::style::{BAD, BOLD, DIM, GOOD, WARN, paint};

/// The width everything fits.
pub const COLUMNS: u16 = 100;

/// Lines of a section before it is cut short.
const LINES: usize = 12;

/// A table without borders, as `kubectl` prints them.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Aligns the columns from `first` on to the right: they are numbers.
pub fn numbers(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Writes a table without the spaces that pad its last column.
pub fn write(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The whole screen.
pub fn document(report: &ScanReport, top: &[ViolationRow], listed: u64, out: &mut dyn Write) -> io::Result<()> {
    headline(report, out)?;
    if !report.complete() {
        partial(report, out)?;
    }
    worst_tags(report, out)?;
    breakdown("ACCOUNT", &account_rows(report), out)?;
    breakdown("REGION", &rows(report.by_region.iter()), out)?;
    breakdown("RESOURCE TYPE", &rows(report.by_resource_type.iter()), out)?;
    violations(top, listed, out)?;
    let revision = report.policy_revision.get(..19).unwrap_or(&report.policy_revision);
    let requests: u64 = report.requests.values().sum();
    let footer = format!(
        "run {}  policy {} ({revision})  {requests} requests, {} throttled",
        report.run_id, report.policy_name, report.throttled
    );
    writeln!(out, "\n{}", paint(DIM, &footer))
}

/// A score as a percentage with one decimal, rounded down so that 100.0 means all of them.
pub fn percent(tally: &Tally) -> String {
    let tenths = (tally.compliant * 1000).checked_div(tally.resources()).unwrap_or(1000);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn headline(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    let summary = &report.summary;
    let style = if summary.violating == 0 { GOOD } else { BAD };
    if summary.resources() == 0 {
        writeln!(out, "{}", paint(BOLD, "Nothing in scope of the policy was seen."))?;
    } else {
        let text = format!("{} compliant", percent(summary));
        writeln!(out, "{}  {} of {} resources", paint(style, &text), summary.compliant, summary.resources())?;
    }
    let [critical, high, medium, low, info] = summary.by_severity;
    writeln!(
        out,
        "{} violating ({} violations: {critical} critical, {high} high, {medium} medium, {low} low, {info} info)",
        summary.violating,
        summary.violations()
    )?;
    writeln!(out, "{} exempt, {} unknown, {} pieces of advice", summary.exempt, summary.unknown, summary.advice)
}

fn partial(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    let (open, cells) = gaps::counts(report);
    let all = gaps::of(report);
    writeln!(out)?;
    let title = format!("PARTIAL: {open} of {cells} cells (account, region, type) could not be fully seen.");
    writeln!(out, "{}", paint(WARN, &title))?;
    writeln!(out, "The numbers do not cover:")?;
    for gap in all.iter().take(LINES) {
        let indent = format!("  {:<12} ", gap.state);
        hanging(&paint_first(&indent, gap.state), indent.len(), &gap.place, out)?;
        hanging(&" ".repeat(indent.len()), indent.len(), &gap.cause, out)?;
    }
    if all.len() > LINES {
        writeln!(out, "  … and {} more: --format json lists every cell", all.len() - LINES)?;
    }
    if report.summary.unknown > 0 {
        writeln!(out, "  The tags of {} resources could not be read; they are in no number.", report.summary.unknown)?;
    }
    Ok(())
}

fn paint_first(indent: &str, word: &str) -> String {
    indent.replacen(word, &paint(WARN, word), 1)
}

/// Text after a margin, its further lines indented by as much.
fn hanging(margin: &str, indent: usize, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let width = usize::from(COLUMNS) - indent;
    let mut line = String::new();
    let mut margin = margin.to_owned();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            writeln!(out, "{margin}{line}")?;
            line.clear();
            margin = " ".repeat(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{margin}{line}")
}

fn worst_tags(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    if report.by_tag.is_empty() {
        return Ok(());
    }
    let mut tags: Vec<_> = report.by_tag.iter().collect();
    tags.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.missing + tally.invalid));
    let mut table = plain(&["WORST TAGS", "MISSING", "WRONG"]);
    numbers(&mut table, 1);
    for (key, tally) in tags.iter().take(LINES) {
        table.add_row([printable(key), tally.missing.to_string(), tally.invalid.to_string()]);
    }
    section(&table, tags.len(), out)
}

type Row = (String, Tally);

fn rows<'a, K: AsRef<str> + 'a>(tallies: impl Iterator<Item = (&'a K, &'a Tally)>) -> Vec<Row> {
    let mut rows: Vec<Row> = tallies.map(|(key, tally)| (key.as_ref().to_owned(), *tally)).collect();
    rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.violating));
    rows
}

fn account_rows(report: &ScanReport) -> Vec<Row> {
    let name = |id: &str| {
        let account = report.accounts.iter().find(|one| one.account_id.as_ref().is_some_and(|own| own.as_str() == id));
        account.and_then(|account| account.name.as_deref()).map(|name| format!("{id} {name}"))
    };
    let mut rows: Vec<Row> = report
        .by_account
        .iter()
        .map(|(id, tally)| (name(id.as_str()).unwrap_or_else(|| id.to_string()), *tally))
        .collect();
    rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.violating));
    rows
}

fn breakdown(title: &str, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = plain(&[title, "SCORE", "RESOURCES", "VIOLATING", "EXEMPT", "UNKNOWN"]);
    numbers(&mut table, 1);
    for (key, tally) in rows.iter().take(LINES) {
        let counts = [tally.resources(), tally.violating, tally.exempt, tally.unknown];
        let score = if tally.resources() == 0 { "-".to_owned() } else { percent(tally) };
        table.add_row([printable(key), score].into_iter().chain(counts.map(|count| count.to_string())));
    }
    section(&table, rows.len(), out)
}

fn section(table: &Table, total: usize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    write(table, out)?;
    if total > LINES {
        writeln!(out, "… and {} more", total - LINES)?;
    }
    Ok(())
}

fn violations(top: &[ViolationRow], listed: u64, out: &mut dyn Write) -> io::Result<()> {
    if top.is_empty() {
        return Ok(());
    }
    let mut table = plain(&["SEVERITY", "RESOURCE", "FINDING"]);
    for row in top {
        let severity = row.finding.severity.as_str();
        table.add_row([severity.to_owned(), printable(&row.arn), printable(&row.finding.message())]);
    }
    writeln!(out)?;
    write(&table, out)?;
    if listed > TOP_VIOLATIONS as u64 {
        writeln!(out, "… {} of {listed} findings shown: --format csv or json lists all", top.len())?;
    }
    Ok(())
}

/// Text from the cloud, without the control characters that could rewrite the screen.
pub fn printable(text: &str) -> String {
    text.chars().map(|symbol| if symbol.is_control() { '\u{fffd}' } else { symbol }).collect()
}
