//! Rows on their way into a document whose head is known only at the end.

use std::io::{self, Read, Seek, Write};

use tempfile::SpooledTempFile;

/// Up to this much stays in memory; more goes to an unnamed temporary file.
const IN_MEMORY: usize = 1 << 20;

/// A bounded buffer of rows already in their final form.
#[derive(Debug)]
pub struct Spool {
    file: SpooledTempFile,
    rows: u64,
}

impl Spool {
    pub fn new() -> Self {
        Self { file: SpooledTempFile::new(IN_MEMORY), rows: 0 }
    }

    /// Appends a row, with the separator before it if it is not the first.
    pub fn push(&mut self, separator: &str, row: &[u8]) -> io::Result<()> {
        if self.rows > 0 {
            self.file.write_all(separator.as_bytes())?;
        }
        self.rows += 1;
        self.file.write_all(row)
    }

    /// Writes all rows, in order.
    pub fn pour(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.file.rewind()?;
        let mut chunk = vec![0; 64 << 10];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                read => out.write_all(&chunk[..read])?,
            }
        }
    }
}
