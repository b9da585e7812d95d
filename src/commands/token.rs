//! `tagwarden token`: a token for the API over HTTP, and the line that makes it known there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Failure;
use crate::cli::Token;

/// Makes a token, and prints the line that lets its holder in.
pub(super) fn run(flags: &Token) -> Result<u8, Failure> {
    // Twice 122 random bits.
    let token: String =
        [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat();
    create(&flags.out)?.write_all(token.as_bytes())?;
    let digest = Sha256::digest(&token).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    writeln!(io::stdout().lock(), "sha256:{digest}:{}:{}", flags.user, flags.role.word())?;
    Ok(0)
}

/// A file that its owner alone can read, and that was not there before.
fn create(path: &Path) -> Result<File, Failure> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| Failure::Create { path: path.display().to_string(), source })
}
