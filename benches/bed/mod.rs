//! What several benches stand on: a stub of AWS with its estates, and the product as a process that is watched from the
//! outside.

pub mod answers;
pub mod calls;
pub mod controller;
pub mod estate;
pub mod limits;
pub mod policy;
pub mod process;
pub mod stub;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use stub::Stub;

/// An error of a bench ends it, and is for people to read.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// With the environment of a client of the stub, and nothing of the caller's.
pub fn in_aws<'a>(command: &'a mut Command, stub: &Stub, home: &Path) -> &'a mut Command {
    command.env_clear().env("HOME", home).envs([
        ("AWS_ENDPOINT_URL", stub.url().as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ])
}

/// What is printed in front of a figure that has an aim.
pub fn verdict(hit: bool) -> &'static str {
    if hit { "HIT " } else { "MISS" }
}
