//! What is measured, and what it aims at.

use crate::bed::estate::Estate;

/// One estate, and how often it is scanned.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub estate: fn() -> Estate,
    /// An odd number: the median is one of them.
    pub runs: usize,
    /// Whether the peer reads it too.
    pub peer: bool,
    pub aims: &'static [Aim],
    /// How many times more the peer should need.
    pub times_less: &'static [(Figure, f64)],
}

/// What is measured of a run.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    WallSeconds,
    CpuSeconds,
    PeakMegabytes,
    Requests,
    Throttled,
}

impl Figure {
    pub const fn name(self) -> &'static str {
        match self {
            Self::WallSeconds => "seconds of wall time",
            Self::CpuSeconds => "seconds of CPU time",
            Self::PeakMegabytes => "megabytes of peak memory",
            Self::Requests => "requests",
            Self::Throttled => "requests throttled",
        }
    }
}

/// A figure that should not be exceeded.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    pub figure: Figure,
    pub at_most: f64,
}

const fn aim(figure: Figure, at_most: f64) -> Aim {
    Aim { figure, at_most }
}

use Figure::{CpuSeconds, PeakMegabytes, Requests, Throttled, WallSeconds};

pub const ROWS: [Row; 4] = [
    Row {
        name: "ec2-10k",
        estate: || Estate::ec2(10_000),
        runs: 5,
        peer: true,
        aims: &[aim(Throttled, 0.0)],
        times_less: &[(WallSeconds, 11.0), (CpuSeconds, 25.0)],
    },
    Row {
        name: "ec2-100k",
        estate: || Estate::ec2(100_000),
        runs: 3,
        peer: false,
        aims: &[aim(CpuSeconds, 4.0), aim(PeakMegabytes, 60.0), aim(Throttled, 0.0)],
        times_less: &[],
    },
    Row {
        name: "mixed-10k",
        estate: || Estate::mixed(10_000, 4),
        runs: 5,
        peer: true,
        aims: &[aim(WallSeconds, 1.0), aim(Requests, 150.0), aim(Throttled, 0.0)],
        times_less: &[(WallSeconds, 11.0), (CpuSeconds, 11.0), (Requests, 13.0)],
    },
    Row {
        name: "mixed-100k",
        estate: || Estate::mixed(100_000, 17),
        runs: 3,
        peer: false,
        aims: &[aim(WallSeconds, 3.0), aim(PeakMegabytes, 60.0), aim(Throttled, 0.0)],
        times_less: &[],
    },
];
