//! Lines of a client: one message each, of a bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The most bytes of a message, in either direction. Servers take less.
pub(super) const MESSAGE_BYTES: usize = 4 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Text(Vec<u8>),
    /// A line that nobody keeps in memory.
    TooLong,
    /// There is nothing more.
    End,
}

/// Reads a line. Of one that is too long, all is read and nothing kept.
pub(super) async fn next<R: AsyncBufRead + Unpin>(input: &mut R) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let bytes = input.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Line::TooLong,
                (false, true) => Line::End,
                (false, false) => Line::Text(line),
            });
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        too_long |= line.len() + part.len() > MESSAGE_BYTES;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let read = end.map_or(bytes.len(), |end| end + 1);
        input.consume(read);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Text(line) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one_and_long_ones_are_skipped() {
        let long = "x".repeat(MESSAGE_BYTES + 1);
        let text = format!("one\n\n{long}\ntwo\nthree");
        // A small buffer, so that lines come in parts.
        let mut input = tokio::io::BufReader::with_capacity(7, text.as_bytes());
        let mut found = Vec::new();
        loop {
            match next(&mut input).await.unwrap() {
                Line::End => break,
                line => found.push(line),
            }
        }
        let text = |text: &str| Line::Text(text.as_bytes().to_vec());
        assert_eq!(found, [text("one"), text(""), Line::TooLong, text("two"), text("three")]);
    }
}
