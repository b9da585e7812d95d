//! `tagwarden token` and `tagwarden certificate`: what the API over HTTP needs, for those who have no tools at hand.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

use super::Failure;
use crate::cli::{CertificateFlags, TokenFlags};
use crate::render::table::printable;

/// How long a certificate is good for.
const CERTIFICATE_DAYS: i64 = 365;

/// Makes a token, and prints the line that lets its holder in.
pub(super) fn token(flags: &TokenFlags) -> Result<u8, Failure> {
    // Twice 122 random bits.
    let token: String = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat();
    create(&flags.out)?.write_all(token.as_bytes())?;
    let digest = Sha256::digest(&token).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    writeln!(io::stdout().lock(), "sha256:{digest}:{}:{}", printable(&flags.user), flags.role.word())?;
    Ok(0)
}

/// Makes a certificate that vouches for itself, and its key.
pub(super) fn certificate(flags: &CertificateFlags) -> Result<u8, Failure> {
    let failed = |error: rcgen::Error| Failure::Write(io::Error::other(error));
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let date = |days: i64| {
        let day = today.saturating_add(jiff::Span::new().days(days));
        date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(flags.host.clone()).map_err(failed)?;
    // Clocks differ.
    (params.not_before, params.not_after) = (date(-1), date(CERTIFICATE_DAYS));
    params.distinguished_name.push(rcgen::DnType::CommonName, "tagwarden");
    let certificate = params.self_signed(&key).map_err(failed)?;
    std::fs::create_dir_all(&flags.out)?;
    create(&flags.out.join("tls.key"))?.write_all(key.serialize_pem().as_bytes())?;
    std::fs::write(flags.out.join("tls.crt"), certificate.pem())?;
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
