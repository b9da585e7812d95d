//! x
use std::path::{Path, PathBuf};
/// Where the Python files are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../estate")
}
