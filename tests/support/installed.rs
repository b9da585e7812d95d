//! What tests need from package indexes: installed once into the user's cache, however many processes ask at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use sha2::{Digest, Sha256};

/// Why there is nowhere to install to.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("neither XDG_CACHE_HOME nor HOME is set: there is nowhere to keep {0}")]
    NoHome(&'static str),
    /// The cache, or a file in it.
    #[error("`{path}` could not be used")]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What went wrong with this path.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Io { path, source }
}

/// The directory of the cache that holds what `pinned` pins, filled by `install` where that has not been done.
///
/// What is installed often cannot be moved, so it is made in place, under a lock, and marked when whole.
pub(crate) fn once<E: From<CacheError>>(
    name: &'static str,
    pinned: &[&str],
    install: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let cache = cache_directory(name)?;
    std::fs::create_dir_all(&cache).map_err(at(&cache))?;
    let digest = hex(&Sha256::digest(pinned.join("\n")));
    let home = cache.join(format!("{name}-{}", &digest[..16]));
    let complete = home.join("complete");

    let lock_path = home.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(at(&lock_path))?;
    File::lock(&lock).map_err(at(&lock_path))?;
    if !complete.is_file() {
        if home.exists() {
            std::fs::remove_dir_all(&home).map_err(at(&home))?;
        }
        std::fs::create_dir_all(&home).map_err(at(&home))?;
        install(&home)?;
        std::fs::write(&complete, "").map_err(at(&complete))?;
    }
    Ok(home)
}

/// The end of what a program said.
pub(crate) fn text_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let start = text.char_indices().rev().nth(2000).map_or(0, |(index, _)| index);
    text[start..].trim().to_owned()
}

fn cache_directory(name: &'static str) -> Result<PathBuf, CacheError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(CacheError::NoHome(name))?.join("tagwarden"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
