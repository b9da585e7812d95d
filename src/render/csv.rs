//! CSV: one finding a row, the gaps as comments before the header.

use std::io::{self, Write};

use tagwarden_core::report::{COLUMNS, ScanReport, ViolationRow};
use tagwarden_core::text::neutral;

use super::gaps;
use super::json::Violation;
use super::spool::Spool;

/// One finding as a line, its end included.
pub fn row(row: &ViolationRow) -> io::Result<Vec<u8>> {
    let Violation {
        arn,
        resource_id,
        resource_type,
        account_id,
        region,
        tag_key,
        violation_type,
        severity,
        kind,
        current_value,
        allowed_values,
        expected_format,
        exempted_by,
        exempt_until,
        message,
    } = Violation::from(row);
    let allowed = allowed_values.unwrap_or_default().join("; ");
    let cells: [&str; COLUMNS.len()] = [
        arn,
        resource_id,
        resource_type,
        account_id,
        region,
        tag_key,
        violation_type,
        severity,
        kind,
        current_value.unwrap_or_default(),
        &allowed,
        expected_format.unwrap_or_default(),
        exempted_by.unwrap_or_default(),
        exempt_until.as_deref().unwrap_or_default(),
        &message,
    ];
    line(&cells.map(neutral))
}

/// The whole file.
pub fn document(report: &ScanReport, rows: &mut Spool, out: &mut dyn Write) -> io::Result<()> {
    if !report.complete() {
        let (gaps, cells) = gaps::counts(report);
        writeln!(out, "# partial: {gaps} of {cells} cells could not be fully seen")?;
        for gap in gaps::of(report) {
            writeln!(out, "# {}: {}: {}", gap.state, one_line(&gap.place), one_line(&gap.cause))?;
        }
        if report.summary.unknown > 0 {
            writeln!(out, "# unknown: the tags of {} resources could not be read", report.summary.unknown)?;
        }
    }
    out.write_all(&line(&COLUMNS.map(str::to_owned))?)?;
    rows.pour(out)
}

fn line<const N: usize>(cells: &[String; N]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted() {
        let text = String::from_utf8(line(&["a,b".to_owned(), "\"q\"\n".to_owned()]).unwrap()).unwrap();
        assert_eq!(text, "\"a,b\",\"\"\"q\"\"\n\"\n");
    }
}
