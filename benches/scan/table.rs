//! What is printed: a line for people and a line of JSON for each measurement, then the aims and the ratios.

use serde_json::json;

use super::rows::{Aim, Figure, Row};
use crate::bed::estate::{Counts, Truth};
use crate::bed::process::Usage;
use crate::bed::stub::Traffic;

/// The reader that the aims are about.
pub const PRODUCT: &str = "tagwarden";

/// The median over the runs of one reader on one estate.
#[derive(Debug)]
pub struct Measurement {
    row: &'static Row,
    reader: &'static str,
    runs: usize,
    median: Usage,
    wall_seconds_min: f64,
    wall_seconds_max: f64,
    /// Of the run that sent the most requests.
    requests: u64,
    throttled: u64,
}

impl Measurement {
    /// `runs` holds at least one.
    pub fn of(row: &'static Row, reader: &'static str, runs: &[(Usage, Traffic)]) -> Self {
        let sorted = |figure: fn(&Usage) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(|(usage, _)| figure(usage)).collect();
            figures.sort_by(f64::total_cmp);
            figures
        };
        let median = |figure| sorted(figure)[runs.len() / 2];
        let wall = sorted(|usage| usage.wall_seconds);
        Self {
            row,
            reader,
            runs: runs.len(),
            median: Usage {
                wall_seconds: median(|usage| usage.wall_seconds),
                cpu_seconds: median(|usage| usage.cpu_seconds),
                peak_megabytes: median(|usage| usage.peak_megabytes),
                own_megabytes: median(|usage| usage.own_megabytes),
                stub_cores: median(|usage| usage.stub_cores),
            },
            wall_seconds_min: wall[0],
            wall_seconds_max: wall[runs.len() - 1],
            requests: runs.iter().map(|(_, traffic)| traffic.total()).max().unwrap_or_default(),
            throttled: runs.iter().map(|(_, traffic)| traffic.throttled).max().unwrap_or_default(),
        }
    }

    fn print(&self) {
        let Usage { wall_seconds, cpu_seconds, peak_megabytes, own_megabytes, stub_cores } = self.median;
        println!(
            "{:22} {:17} {:>8.2} {:>16} {:>7.2} {:>7.1} {:>7.1} {:>9} {:>10} {:>6.2}",
            self.row.name,
            self.reader,
            wall_seconds,
            format!("({:.2}..{:.2})", self.wall_seconds_min, self.wall_seconds_max),
            cpu_seconds,
            peak_megabytes,
            own_megabytes,
            self.requests,
            self.throttled,
            stub_cores,
        );
    }

    fn json(&self) -> serde_json::Value {
        let Usage { wall_seconds, cpu_seconds, peak_megabytes, own_megabytes, stub_cores } = self.median;
        json!({
            "row": self.row.name,
            "reader": self.reader,
            "runs": self.runs,
            "wallSeconds": wall_seconds,
            "wallSecondsMin": self.wall_seconds_min,
            "wallSecondsMax": self.wall_seconds_max,
            "cpuSeconds": cpu_seconds,
            "peakMegabytes": peak_megabytes,
            "ownMegabytes": own_megabytes,
            "requests": self.requests,
            "throttled": self.throttled,
            "stubCores": stub_cores,
        })
    }

    fn figure(&self, of: Figure) -> f64 {
        #[allow(clippy::cast_precision_loss)] // a few thousand requests
        match of {
            Figure::WallSeconds => self.median.wall_seconds,
            Figure::CpuSeconds => self.median.cpu_seconds,
            Figure::PeakMegabytes => self.median.peak_megabytes,
            Figure::Requests => self.requests as f64,
            Figure::Throttled => self.throttled as f64,
        }
    }
}

/// What the estate of a row holds.
pub fn truth(row: &Row, truth: &Truth) {
    let Counts { resources, compliant, violations } = truth.total();
    println!("{}: {resources} resources, {compliant} compliant, {violations} violations", row.name);
}

/// The lines of all measurements, then their aims and ratios.
pub fn print(measurements: &[Measurement]) {
    println!(
        "\n{:22} {:17} {:>8} {:>16} {:>7} {:>7} {:>7} {:>9} {:>10} {:>6}",
        "estate",
        "reader",
        "wall s",
        "(min..max)",
        "CPU s",
        "RSS MB",
        "own MB",
        "requests",
        "throttled",
        "stub"
    );
    for measurement in measurements {
        measurement.print();
    }
    println!();
    for measurement in measurements {
        println!("{}", measurement.json());
    }
    println!();
    for ours in measurements.iter().filter(|one| one.reader == PRODUCT) {
        for aim in ours.row.aims {
            print_aim(ours, *aim);
        }
        for peer in measurements.iter().filter(|one| one.row.name == ours.row.name && one.reader != PRODUCT) {
            print_ratios(ours, peer);
        }
    }
}

fn print_aim(ours: &Measurement, Aim { figure, at_most }: Aim) {
    let found = ours.figure(figure);
    let verdict = if found <= at_most { "HIT" } else { "MISS" };
    println!("{verdict:4} {}: {found:.2} {}, aim at most {at_most}", ours.row.name, figure.name());
}

fn print_ratios(ours: &Measurement, peer: &Measurement) {
    for (figure, at_least) in ours.row.times_less {
        let ratio = peer.figure(*figure) / ours.figure(*figure);
        let verdict = if ratio >= *at_least { "HIT" } else { "MISS" };
        let (row, name, reader) = (ours.row.name, figure.name(), peer.reader);
        println!("{verdict:4} {row}: {ratio:.1} times fewer {name} than {reader}, aim at least {at_least}");
    }
}
