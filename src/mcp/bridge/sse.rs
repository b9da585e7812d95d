//! Server-sent events, as far as they carry messages: the data of each, and nothing else.

use super::lines::MESSAGE_BYTES;

/// Events out of the pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The data of the event that has not ended.
    data: Vec<u8>,
}

/// An event that nobody keeps in memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Events {
    /// The events that end in this piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > MESSAGE_BYTES {
                return Err(TooLong);
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                events.extend(self.ended(line.trim_ascii_end()));
            }
        }
        Ok(events)
    }

    /// Takes a line; an empty one ends the event.
    fn ended(&mut self, line: &[u8]) -> Option<String> {
        if let Some(data) = line.strip_prefix(b"data:") {
            // Messages are JSON, where a line break between words means no more than a space.
            if !self.data.is_empty() {
                self.data.push(b' ');
            }
            self.data.extend_from_slice(data.trim_ascii());
            return None;
        }
        if !line.is_empty() {
            // Comments, ids and names of events.
            return None;
        }
        let data = std::mem::take(&mut self.data);
        let text = String::from_utf8_lossy(data.trim_ascii()).into_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\nid: 0\nretry: 3000\ndata:\n\nevent: message\ndata: {\"a\":\ndata: 1}\n\n\
                          data:{\"b\":\r\ndata:\"ä\"}\r\n\r\n:\n\ndata: {\"lost\":1}\n";

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                found.extend(events.feed(piece).unwrap());
            }
            assert_eq!(found, ["{\"a\": 1}", "{\"b\": \"ä\"}"], "pieces of {size}");
        }
    }

    #[test]
    fn an_event_has_an_end() {
        let mut events = Events::default();
        let line = format!("data: {}\n", "x".repeat(1 << 16));
        let refused = (0..100).find(|_| events.feed(line.as_bytes()) == Err(TooLong));
        assert_eq!(refused, Some(63), "at four million bytes");
    }
}
