//! The sink that turns a scan into text: findings are rendered as they come, the document at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice};
use tagwarden_app::ports::FindingSink;
use tagwarden_core::finding::FindingKind;
use tagwarden_core::report::{ScanReport, TOP_VIOLATIONS, Top, ViolationRow};
use tempfile::NamedTempFile;

use super::spool::Spool;
use super::{csv, json, markdown, table};
use crate::cli::{Format, Listed};

/// Where a document goes: stdout, or a file that appears once it is whole.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file that is replaced in one step.
    File(PathBuf),
    /// Something that is there and is no file: `/dev/stderr`, a named pipe.
    Stream(File, PathBuf),
}

/// A result that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file that was asked for.
    #[error("`{path}` cannot be written; choose another --output")]
    Target {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Standard output.
    #[error("the result cannot be written to standard output")]
    Stdout(#[source] io::Error),
    /// What comes before the end is kept in the temporary directory.
    #[error("the findings cannot be kept in `{}`; choose another directory with TMPDIR", std::env::temp_dir().display())]
    Spool(#[source] io::Error),
}

impl OutputError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Target { path: path.display().to_string(), source }
    }
}

impl Output {
    /// Makes sure, before any work, that the target can be written. Leaves nothing behind.
    pub fn open(target: Option<&Path>) -> Result<Self, OutputError> {
        let Some(target) = target else { return Ok(Self::Stdout) };
        let failed = OutputError::at(target);
        // Through symbolic links, so that the file is replaced and not the link.
        let path = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")))
            }
            Ok(found) if !found.is_file() => {
                let stream = OpenOptions::new().write(true).open(&path).map_err(failed)?;
                Ok(Self::Stream(stream, path))
            }
            Ok(_) => {
                OpenOptions::new().append(true).open(&path).map_err(&failed)?;
                beside(&path).map_err(failed)?;
                Ok(Self::File(path))
            }
            Err(_) => {
                beside(&path).map_err(failed)?;
                Ok(Self::File(path))
            }
        }
    }

    /// Whether this is where people look.
    pub fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes the document, whole or not at all where it goes to a file. A reader that has seen enough, as `head`
    /// has, is no failure.
    pub fn write(self, document: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        match self {
            Self::Stdout => match buffered(io::stdout().lock(), document) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => result.map_err(OutputError::Stdout),
            },
            Self::Stream(stream, path) => buffered(stream, document).map_err(OutputError::at(&path)),
            Self::File(path) => replace(&path, document).map_err(OutputError::at(&path)),
        }
    }
}

fn buffered(out: impl Write, document: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    document(&mut out)?;
    out.flush()
}

fn replace(path: &Path, document: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = beside(path)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    buffered(file.as_file(), document)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A new file in the directory of another, gone when it is dropped.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tagwarden-");
    // Temporary files are private; what was asked for by name gets what the umask leaves.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The name of the temporary file would only confuse.
    builder.tempfile_in(directory).map_err(|error| io::Error::from(error.kind()))
}

/// Renders a scan.
#[derive(Debug)]
pub struct ReportWriter {
    format: Format,
    listed: Listed,
    rows: Spool,
    /// What counts comes first; advice and what is exempt fill the rest.
    top: [Top; 2],
    listed_rows: u64,
    output: Option<Output>,
}

impl ReportWriter {
    pub fn new(format: Format, listed: Listed, output: Output) -> Self {
        Self {
            format,
            listed,
            rows: Spool::new(),
            top: Default::default(),
            listed_rows: 0,
            output: Some(output),
        }
    }

    fn take(&mut self, row: &ViolationRow) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Markdown => self.top[usize::from(!row.finding.counts())].offer(row),
            Format::Json => self.rows.push(",\n", &json::row(row)?)?,
            Format::Ndjson => {
                let mut line = json::row(row)?;
                line.push(b'\n');
                self.rows.push("", &line)?;
            }
            Format::Csv => self.rows.push("", &csv::row(row)?)?,
        }
        Ok(())
    }
}

impl Listed {
    fn includes(self, row: &ViolationRow) -> bool {
        match self {
            Self::All => true,
            Self::Errors => row.finding.kind == FindingKind::Violation,
            Self::Warnings => row.finding.kind == FindingKind::Advice,
        }
    }
}

impl FindingSink for ReportWriter {
    type Error = OutputError;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), OutputError> {
        let listed = self.listed;
        for row in rows.iter().filter(|row| listed.includes(row)) {
            self.listed_rows += 1;
            self.take(row).map_err(OutputError::Spool)?;
        }
        Ok(())
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), OutputError> {
        let Some(output) = self.output.take() else { return Ok(()) };
        let (format, rows) = (self.format, &mut self.rows);
        let top: Vec<ViolationRow> =
            std::mem::take(&mut self.top).into_iter().flat_map(Top::into_rows).take(TOP_VIOLATIONS).collect();
        let listed_rows = self.listed_rows;
        let coloured = output.is_stdout() && AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        output.write(|out| match format {
            Format::Table => {
                // A screen or two: small enough to take the colours out afterwards.
                let mut screen = Vec::new();
                table::document(report, &top, listed_rows, &mut screen)?;
                let plain = |screen: &[u8]| anstream::adapter::strip_bytes(screen).into_vec();
                out.write_all(&if coloured { screen } else { plain(&screen) })
            }
            Format::Markdown => markdown::document(report, &top, listed_rows, out),
            Format::Json => json::document(report, rows, out),
            Format::Ndjson => json::lines(report, rows, out),
            Format::Csv => csv::document(report, rows, out),
        })
    }
}
