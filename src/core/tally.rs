//! Counters, and the score they make.

use crate::finding::{Finding, FindingKind};

/// What the tags of one resource amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No required or forbidden rule applies: not counted.
    OutOfScope,
    /// In scope, without a violation.
    Compliant,
    /// In scope, with a violation that no exemption covers.
    Violating,
    /// In scope, and every violation is covered by an exemption.
    Exempt,
    /// In scope, but the tags could not be read.
    Unknown,
}

/// Counters over any set of resources. Adding two tallies gives the tally of the union of disjoint sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// In scope, without a violation.
    pub compliant: u64,
    /// In scope, with at least one violation that counts.
    pub violating: u64,
    /// In scope, every violation exempt; in neither side of the score.
    pub exempt: u64,
    /// In scope, tags unread; in neither side of the score.
    pub unknown: u64,
    /// Violations that count, by `Severity as usize`.
    pub by_severity: [u64; 5],
    /// Violations that count, by `ViolationType as usize`.
    pub by_violation_type: [u64; 6],
    /// Findings that are advice.
    pub advice: u64,
}

impl Tally {
    /// Counts one resource and what was found on it.
    pub fn add(&mut self, verdict: Verdict, findings: &[Finding]) {
        match verdict {
            Verdict::OutOfScope => return,
            Verdict::Compliant => self.compliant += 1,
            Verdict::Violating => self.violating += 1,
            Verdict::Exempt => self.exempt += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        for finding in findings {
            if finding.counts() {
                self.by_severity[finding.severity as usize] += 1;
                self.by_violation_type[finding.violation_type as usize] += 1;
            } else if finding.kind == FindingKind::Advice {
                self.advice += 1;
            }
        }
    }

    /// Adds the counters of another, disjoint set.
    pub fn merge(&mut self, other: &Self) {
        self.compliant += other.compliant;
        self.violating += other.violating;
        self.exempt += other.exempt;
        self.unknown += other.unknown;
        self.advice += other.advice;
        for (mine, theirs) in self.by_severity.iter_mut().zip(other.by_severity) {
            *mine += theirs;
        }
        for (mine, theirs) in self.by_violation_type.iter_mut().zip(other.by_violation_type) {
            *mine += theirs;
        }
    }

    /// Resources that have a verdict: compliant and violating ones.
    pub fn resources(&self) -> u64 {
        self.compliant + self.violating
    }

    /// Violations that count.
    pub fn violations(&self) -> u64 {
        self.by_severity.iter().sum()
    }

    /// `compliant / resources`, from 0 to 1; 1 when nothing is in scope.
    #[allow(clippy::cast_precision_loss)] // exact below 2^53 resources
    pub fn score(&self) -> f64 {
        if self.resources() == 0 { 1.0 } else { self.compliant as f64 / self.resources() as f64 }
    }
}
