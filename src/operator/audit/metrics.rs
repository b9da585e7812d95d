//! What is counted of audits. Series that speak of an audit go when it goes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tagwarden_api::audit::ComplianceAuditStatus;
use tagwarden_core::finding::Severity;
use tagwarden_core::run::{RunState, Trigger};

use crate::key::Key;

const OBJECT: [&str; 2] = ["namespace", "name"];

/// The metrics of audits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    score: GaugeVec,
    resources: IntGaugeVec,
    violations: IntGaugeVec,
    last_success: IntGaugeVec,
    last_duration: GaugeVec,
    runs: IntCounterVec,
    /// The audits that have series.
    known: Arc<Mutex<BTreeSet<Key>>>,
}

impl AuditMetrics {
    /// Makes the metrics, in this registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let severity = [OBJECT[0], OBJECT[1], "severity"];
        let ended = [OBJECT[0], OBJECT[1], "result", "trigger"];
        let metrics = Self {
            score: GaugeVec::new(
                Opts::new(
                    "tagwarden_audit_score_ratio",
                    "Compliant resources among those judged, 0 to 1, by the last run that succeeded.",
                ),
                &OBJECT,
            )?,
            resources: IntGaugeVec::new(
                Opts::new("tagwarden_audit_resources", "Resources judged by the last run that succeeded."),
                &OBJECT,
            )?,
            violations: IntGaugeVec::new(
                Opts::new("tagwarden_audit_violations", "Violations found by the last run that succeeded."),
                &severity,
            )?,
            last_success: IntGaugeVec::new(
                Opts::new("tagwarden_audit_last_success_timestamp_seconds", "When a run last succeeded."),
                &OBJECT,
            )?,
            last_duration: GaugeVec::new(
                Opts::new("tagwarden_audit_last_duration_seconds", "How long the last run took."),
                &OBJECT,
            )?,
            runs: IntCounterVec::new(
                Opts::new(
                    "tagwarden_audit_runs_total",
                    "Runs that ended, by result and by what started them.",
                ),
                &ended,
            )?,
            known: Arc::default(),
        };
        registry.register(Box::new(metrics.score.clone()))?;
        registry.register(Box::new(metrics.resources.clone()))?;
        registry.register(Box::new(metrics.violations.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.last_duration.clone()))?;
        registry.register(Box::new(metrics.runs.clone()))?;
        Ok(metrics)
    }

    /// Shows what a status says.
    #[allow(clippy::cast_precision_loss)] // exact below 2^53 resources
    pub(super) fn show(&self, key: &Key, status: &ComplianceAuditStatus) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        let object = [&*key.namespace, &*key.name];
        if let Some(summary) = &status.summary {
            let score = if summary.resources == 0 {
                1.0
            } else {
                summary.compliant as f64 / summary.resources as f64
            };
            self.score.with_label_values(&object).set(score);
            self.resources.with_label_values(&object).set(summary.resources);
            for severity in Severity::ALL {
                let count = summary.by_severity.get(severity.as_str()).copied().unwrap_or_default();
                self.violations.with_label_values(&[object[0], object[1], severity.as_str()]).set(count);
            }
        }
        if let Some(time) = &status.last_successful_time {
            self.last_success.with_label_values(&object).set(time.0.as_second());
        }
        let seconds = status.last_duration.as_deref().and_then(|text| text.strip_suffix('s')?.parse().ok());
        if let Some(seconds) = seconds {
            self.last_duration.with_label_values(&object).set(seconds);
        }
    }

    /// Counts a run that ended.
    pub(super) fn ended(&self, key: &Key, state: RunState, trigger: Trigger) {
        let labels = [&*key.namespace, &*key.name, state.as_str(), trigger.as_str()];
        self.runs.with_label_values(&labels).inc();
    }

    /// Drops the series of an audit.
    pub(super) fn forget(&self, key: &Key) {
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            return;
        }
        let (namespace, name) = (&*key.namespace, &*key.name);
        // A series that is not there was never made.
        let _ = self.score.remove_label_values(&[namespace, name]);
        let _ = self.resources.remove_label_values(&[namespace, name]);
        let _ = self.last_success.remove_label_values(&[namespace, name]);
        let _ = self.last_duration.remove_label_values(&[namespace, name]);
        for severity in Severity::ALL {
            let _ = self.violations.remove_label_values(&[namespace, name, severity.as_str()]);
        }
        for (state, trigger) in
            RunState::ALL.into_iter().flat_map(|state| Trigger::ALL.map(|trigger| (state, trigger)))
        {
            let _ = self.runs.remove_label_values(&[namespace, name, state.as_str(), trigger.as_str()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_go_with_their_audit() {
        let registry = Registry::new();
        let metrics = AuditMetrics::new(&registry).unwrap();
        let status: ComplianceAuditStatus = serde_json::from_value(serde_json::json!({
            "summary": {"score": "50.0", "complete": true, "resources": 4, "compliant": 2, "violating": 2, "exempt": 0,
                        "unknown": 0, "violations": 3, "bySeverity": {"high": 3}, "gaps": 0},
            "lastSuccessfulTime": "2026-11-21T03:00:00Z", "lastDuration": "12s",
        }))
        .unwrap();
        let series = || registry.gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        for name in ["one", "two"] {
            let key = Key::new("tenant", name);
            metrics.show(&key, &status);
            metrics.ended(&key, RunState::Succeeded, Trigger::Schedule);
        }
        assert_eq!(series(), 2 * (4 + 5 + 1));
        metrics.forget(&Key::new("tenant", "one"));
        metrics.forget(&Key::new("tenant", "never"));
        assert_eq!(series(), 4 + 5 + 1);
    }
}
