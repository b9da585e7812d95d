//! The sink that turns a scan into text: findings are rendered as they come, the document at the end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tagwarden_app::ports::FindingSink;
use tagwarden_core::finding::FindingKind;
use tagwarden_core::report::{ScanReport, Top, ViolationRow};
use tempfile::NamedTempFile;

use super::spool::Spool;
use super::{csv, json, markdown, table};
use crate::cli::{Format, Listed};

/// Where a document goes: stdout, or a file that appears once it is whole.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A temporary file beside the target, and the target.
    File(NamedTempFile, PathBuf),
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be written; choose another --output")]
pub struct OutputError {
    path: String,
    #[source]
    source: io::Error,
}

impl Output {
    /// Makes sure, before any work, that the target can be written.
    pub fn open(target: Option<&Path>) -> Result<Self, OutputError> {
        let Some(target) = target else { return Ok(Self::Stdout) };
        let failed = |source| OutputError { path: target.display().to_string(), source };
        if target.is_dir() {
            return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
        }
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(directory).map_err(failed)?;
        Ok(Self::File(file, target.to_owned()))
    }

    /// Writes the document, whole or not at all where it goes to a file.
    pub fn write(self, document: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Stdout => {
                // Buffered and, through anstream, without colours where they cannot be seen.
                let mut out = io::BufWriter::new(anstream::stdout().lock());
                document(&mut out)?;
                out.flush()
            }
            Self::File(file, target) => {
                let mut out = io::BufWriter::new(anstream::StripStream::new(file.as_file().try_clone()?));
                document(&mut out)?;
                out.flush()?;
                file.as_file().sync_all()?;
                readable_by_the_umask(&file)?;
                file.persist(target).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
}

/// Temporary files are private; what was asked for by name gets the usual permissions.
#[cfg(unix)]
fn readable_by_the_umask(file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_the_umask(_: &NamedTempFile) -> io::Result<()> {
    Ok(())
}

/// Renders a scan.
#[derive(Debug)]
pub struct ReportWriter {
    format: Format,
    listed: Listed,
    rows: Spool,
    top: Top,
    listed_rows: u64,
    output: Option<Output>,
}

impl ReportWriter {
    pub fn new(format: Format, listed: Listed, output: Output) -> Self {
        Self { format, listed, rows: Spool::new(), top: Top::default(), listed_rows: 0, output: Some(output) }
    }

    fn lists(&self, row: &ViolationRow) -> bool {
        match self.listed {
            Listed::All => true,
            Listed::Errors => row.finding.kind == FindingKind::Violation,
            Listed::Warnings => row.finding.kind == FindingKind::Advice,
        }
    }
}

impl FindingSink for ReportWriter {
    type Error = io::Error;

    async fn findings(&mut self, rows: &[ViolationRow]) -> io::Result<()> {
        for row in rows {
            if !self.lists(row) {
                continue;
            }
            self.listed_rows += 1;
            match self.format {
                Format::Table | Format::Markdown => self.top.offer(row),
                Format::Json => self.rows.push(",\n", &json::row(row)?)?,
                Format::Ndjson => {
                    let mut line = json::row(row)?;
                    line.push(b'\n');
                    self.rows.push("", &line)?;
                }
                Format::Csv => self.rows.push("", &csv::row(row)?)?,
            }
        }
        Ok(())
    }

    async fn finish(&mut self, report: &ScanReport) -> io::Result<()> {
        let Some(output) = self.output.take() else { return Ok(()) };
        let (format, rows) = (self.format, &mut self.rows);
        let top = std::mem::take(&mut self.top).into_rows();
        let listed_rows = self.listed_rows;
        output.write(|out| match format {
            Format::Table => table::document(report, &top, listed_rows, out),
            Format::Markdown => markdown::document(report, &top, listed_rows, out),
            Format::Json => json::document(report, rows, out),
            Format::Ndjson => json::lines(report, rows, out),
            Format::Csv => csv::document(report, rows, out),
        })
    }
}
