//! Whole scans, measured from the outside: `cargo bench --bench scan [-- ROW… [--runs N] [--no-peer]]`.
//!
//! The release binary scans estates that a stub of AWS serves with AWS's own latency, page sizes and rate limits.
//! Every count has to equal the truth about the estate; a wrong one fails the bench, however fast it was. Times
//! and sizes are printed beside what they aim at, and never fail it: they depend on the machine.
//! The row `controller` runs the controller instead, with a thousand accounts.
//! `-- --serve ROW` leaves the stub running, for a profiler.

#![allow(clippy::print_stdout, unreachable_pub)]

#[allow(dead_code)] // each bench uses a part of it
#[path = "../bed/mod.rs"]
mod bed;
mod controller;
mod peer;
mod product;
mod rows;
mod table;

use std::fs;
use std::path::PathBuf;

use bed::stub::Stub;
use bed::{Outcome, policy};
use rows::{ROWS, Row};
use table::{Measurement, PRODUCT};

/// The directory of this bench, and what is in it.
struct Bench {
    directory: tempfile::TempDir,
    peer: Option<PathBuf>,
    runs: Option<usize>,
}

fn main() -> Outcome<()> {
    let mut wanted = Vec::new();
    let mut bench = Bench { directory: tempfile::tempdir()?, peer: peer::python(), runs: None };
    fs::write(bench.policy(), policy::manifest())?;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so to every bench.
            "--bench" => (),
            "--no-peer" => bench.peer = None,
            "--runs" => bench.runs = Some(arguments.next().ok_or("--runs needs a number")?.parse()?),
            "--serve" => return bench.serve(&arguments.next().ok_or("--serve needs a row")?),
            row => wanted.push(row.to_owned()),
        }
    }
    let mut measurements = Vec::new();
    for row in ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| name == row.name)) {
        bench.measure(row, &mut measurements)?;
    }
    table::print(&measurements);
    if wanted.is_empty() || wanted.iter().any(|name| name == "controller") {
        controller::measure(bench.directory.path())?;
    }
    if bench.peer.is_none() {
        println!("the peer was left out: it needs a python3 with boto3");
    }
    Ok(())
}

impl Bench {
    fn policy(&self) -> PathBuf {
        self.directory.path().join("policy.yaml")
    }

    fn measure(&self, row: &'static Row, measurements: &mut Vec<Measurement>) -> Outcome<()> {
        let stub = Stub::start((row.estate)(), true)?;
        table::truth(row, &stub.estate.truth(true));
        let mut runs = Vec::new();
        for _ in 0..self.runs.unwrap_or(row.runs).max(1) {
            stub.forget();
            let usage = product::scan(&stub, self.directory.path(), &self.policy())?;
            runs.push((usage, stub.traffic()));
        }
        measurements.push(Measurement::of(row, PRODUCT, &runs));
        let Some(python) = self.peer.as_ref().filter(|_| row.peer) else { return Ok(()) };
        for (reader, limited) in [("boto3, no limits", false), ("boto3", true)] {
            let stub = Stub::start((row.estate)(), limited)?;
            let usage = peer::read(&stub, python, self.directory.path())?;
            measurements.push(Measurement::of(row, reader, &[(usage, stub.traffic())]));
        }
        Ok(())
    }

    /// Serves an estate until told to end.
    fn serve(self, name: &str) -> Outcome<()> {
        let row = ROWS.iter().find(|row| row.name == name).ok_or("there is no such row")?;
        let stub = Stub::start((row.estate)(), true)?;
        table::truth(row, &stub.estate.truth(true));
        println!("AWS_ENDPOINT_URL={}, policy {}; press Enter to end", stub.url(), self.policy().display());
        std::io::stdin().read_line(&mut String::new())?;
        println!("{:#?}", stub.traffic());
        Ok(())
    }
}
