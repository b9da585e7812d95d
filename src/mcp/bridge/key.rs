//! The key of the client, in a file that may get a new one at any time.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;

use super::BridgeError;

/// The longest file.
const BYTES_MAX: u64 = 4 << 10;

/// The flag that names the file.
const FLAG: &str = "--api-key-file";

/// A file with a key.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    /// The last one that could be used. Whoever writes the file may be half-way.
    last: Mutex<HeaderValue>,
}

impl KeyFile {
    /// Reads the key, which must be there at the start.
    pub(super) fn open(path: PathBuf) -> Result<Self, BridgeError> {
        let last = Mutex::new(read(&path)?);
        Ok(Self { path, last })
    }

    /// What the file holds now, as a header says it; while that cannot be used, what it held before.
    pub(super) fn authorization(&self) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.path) {
            Ok(value) => *last = value,
            Err(error) => tracing::warn!(%error, "the key from before is used"),
        }
        last.clone()
    }
}

fn read(path: &std::path::Path) -> Result<HeaderValue, BridgeError> {
    let shown = || path.display().to_string();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| BridgeError::Read { flag: FLAG, path: shown(), source })?;
    let refused = |problem| BridgeError::Content { flag: FLAG, path: shown(), problem };
    let key = bytes.trim_ascii();
    if key.is_empty() {
        return Err(refused("is empty"));
    }
    if bytes.len() as u64 > BYTES_MAX || !key.iter().all(u8::is_ascii_graphic) {
        return Err(refused("holds more than a key"));
    }
    let mut value =
        HeaderValue::from_bytes(&[b"Bearer ", key].concat()).map_err(|_| refused("holds no key"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_anew_and_one_that_is_half_written_does_not_count() {
        let directory = std::env::temp_dir().join(format!("tagwarden-key-{}", uuid::Uuid::now_v7()));
        let write = |bytes: &[u8]| std::fs::write(&directory, bytes).unwrap();
        assert!(matches!(KeyFile::open(directory.clone()), Err(BridgeError::Read { .. })));
        for (bytes, problem) in [
            (&b""[..], "is empty"),
            (b" \n\n", "is empty"),
            (b"tw_one tw_two", "holds more than a key"),
            ("tw_ä".as_bytes(), "holds more than a key"),
            (&[b'x'; 5000], "holds more than a key"),
        ] {
            write(bytes);
            let error = KeyFile::open(directory.clone()).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("tw_"), "{error}");
        }
        write(b" tw_one\r\n");
        let file = KeyFile::open(directory.clone()).unwrap();
        assert_eq!(file.authorization(), "Bearer tw_one");
        write(b"tw_two");
        assert_eq!(file.authorization(), "Bearer tw_two");
        write(b"");
        assert_eq!(file.authorization(), "Bearer tw_two");
        assert!(!format!("{file:?}").contains("tw_two"), "{file:?}");
        std::fs::remove_file(directory).unwrap();
    }
}
