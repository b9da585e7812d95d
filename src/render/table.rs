//! The screen: the score, what the numbers do not cover, and where it hurts. Fits a hundred columns.

use std::io::{self, Write};

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use tagwarden_core::finding::Severity;
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_core::tally::Tally;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::gaps;
use super::style::{BAD, BOLD, DIM, GOOD, WARN, paint};

/// The width everything fits.
pub const COLUMNS: u16 = 100;

/// Lines of a section before it is cut short.
const LINES: usize = 12;

/// A table without borders, as `kubectl` prints them.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(COLUMNS);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table whose cells are short enough already.
pub fn fixed(header: &[&str]) -> Table {
    let mut table = plain(header);
    table.set_content_arrangement(ContentArrangement::Disabled);
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
pub fn document(
    report: &ScanReport,
    top: &[ViolationRow],
    listed: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
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
///
/// Nothing judged has no percentage.
pub fn percent(tally: &Tally) -> String {
    match (tally.compliant * 1000).checked_div(tally.resources()) {
        Some(tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
        None => "-".to_owned(),
    }
}

fn headline(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    let summary = &report.summary;
    let style = match (summary.violating, report.complete()) {
        (0, true) => GOOD,
        (0, false) => WARN,
        _ => BAD,
    };
    if summary.resources() == 0 {
        let seen = summary.exempt + summary.unknown > 0;
        let text = if seen {
            "No score: nothing got a verdict."
        } else {
            "Nothing in scope of the policy was seen."
        };
        writeln!(out, "{}", paint(BOLD, text))?;
    } else {
        let text = format!("{} compliant", percent(summary));
        writeln!(out, "{}  {} of {} resources", paint(style, &text), summary.compliant, summary.resources())?;
    }
    let by_severity = Severity::ALL.into_iter().zip(summary.by_severity).filter(|(_, count)| *count > 0);
    let severities: Vec<String> =
        by_severity.map(|(severity, count)| format!("{count} {severity}")).collect();
    let colon = if severities.is_empty() { "" } else { ": " };
    let (violating, violations) = (summary.violating, counted(summary.violations(), "violation"));
    writeln!(out, "{violating} violating, {violations}{colon}{}", severities.join(", "))?;
    let advice = counted(summary.advice, "finding");
    writeln!(out, "{} exempt, {} unknown, {advice} of advice", summary.exempt, summary.unknown)
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn partial(report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
    let (open, cells) = gaps::counts(report);
    let all = gaps::of(report);
    writeln!(out)?;
    let title = format!("PARTIAL: {open} of {cells} cells (account, region, type) could not be fully seen.");
    writeln!(out, "{}", paint(WARN, &title))?;
    writeln!(out, "The numbers do not cover:")?;
    for gap in all.iter().take(LINES) {
        item(gap.state, WARN, GAP_MARGIN, &gap.place, out)?;
        continued(GAP_MARGIN, &gap.cause, out)?;
    }
    if all.len() > LINES {
        writeln!(out, "  … and {} more: --format json lists every cell", all.len() - LINES)?;
    }
    if report.summary.unknown > 0 {
        let unknown = counted(report.summary.unknown, "resource");
        writeln!(out, "  The tags of {unknown} could not be read; unknown is on neither side of the score.")?;
    }
    Ok(())
}

/// The margins of the lists: two spaces, the longest word, a gap.
const GAP_MARGIN: usize = 15;
const FINDING_MARGIN: usize = 12;

/// The first line of an item of a list, with its word in the margin.
fn item(word: &str, style: Style, margin: usize, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let space = " ".repeat(margin.saturating_sub(2 + word.len()));
    hanging(&format!("  {}{space}", paint(style, word)), margin, text, out)
}

/// A further line of an item, a little further in.
fn continued(margin: usize, text: &str, out: &mut dyn Write) -> io::Result<()> {
    hanging(&" ".repeat(margin + 2), margin + 2, text, out)
}

/// Text after a margin. What does not fit goes on below, indented by as much; a word longer than a line is cut.
fn hanging(margin: &str, indent: usize, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let width = usize::from(COLUMNS) - indent;
    let mut margin = margin.to_owned();
    let mut line = String::new();
    for word in printable(text).split(' ').flat_map(|word| pieces(word, width)) {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            writeln!(out, "{margin}{line}")?;
            line.clear();
            margin = " ".repeat(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    writeln!(out, "{margin}{line}")
}

/// A word, in pieces that fit.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for symbol in word.chars() {
        match pieces.last_mut() {
            Some(last) if last.width() + symbol.width().unwrap_or(0) <= width => last.push(symbol),
            _ => pieces.push(symbol.to_string()),
        }
    }
    pieces
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
        let account =
            report.accounts.iter().find(|one| one.account_id.as_ref().is_some_and(|own| own.as_str() == id));
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
        let score = percent(tally);
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
    let title = match listed {
        listed if listed > top.len() as u64 => {
            format!("TOP FINDINGS  {} of {listed}: --format csv or json lists all", top.len())
        }
        _ => "FINDINGS".to_owned(),
    };
    writeln!(out, "\n{title}")?;
    let mut last = None;
    for ViolationRow { arn, finding, .. } in top {
        let severity = finding.severity;
        if last != Some((severity, arn)) {
            last = Some((severity, arn));
            item(severity.as_str(), style_of(severity), FINDING_MARGIN, arn, out)?;
        }
        continued(FINDING_MARGIN, &finding.message(), out)?;
    }
    Ok(())
}

fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::Critical | Severity::High => BAD,
        Severity::Medium => WARN,
        Severity::Low | Severity::Info => BOLD,
    }
}

/// Text from the cloud, without what could rewrite the screen: control characters, and those that turn the direction of
/// what follows.
pub fn printable(text: &str) -> String {
    let hidden = |symbol: char| matches!(symbol, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.chars()
        .map(|symbol| if symbol.is_control() || hidden(symbol) { '\u{fffd}' } else { symbol })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        item("high", Style::new(), FINDING_MARGIN, text, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn long_words_are_cut_and_lines_fit() {
        for text in ["a".repeat(300), "字".repeat(120), "word ".repeat(60), format!("x {}", "é".repeat(90))]
        {
            let lines = lines(&text);
            assert!(
                lines.len() > 1 && lines.iter().all(|line| line.width() <= usize::from(COLUMNS)),
                "{lines:?}"
            );
            let kept: String = lines.concat().split_whitespace().collect();
            assert_eq!(kept, format!("high{}", text.replace(' ', "")));
        }
    }

    #[test]
    fn nothing_from_the_cloud_moves_the_cursor() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c\u{fffd}"
        );
    }

    #[test]
    fn a_hundred_percent_means_all() {
        let tally = |compliant, violating| Tally { compliant, violating, ..Tally::default() };
        for (tally, text) in [
            (tally(0, 0), "-"),
            (tally(1, 0), "100.0 %"),
            (tally(99_999, 1), "99.9 %"),
            (tally(1, 2), "33.3 %"),
            (tally(0, 5), "0.0 %"),
        ] {
            assert_eq!(percent(&tally), text);
        }
    }
}
