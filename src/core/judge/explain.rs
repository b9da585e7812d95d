//! What exactly is wrong with a resource that made a bad first impression.

use std::sync::Arc;

use crate::finding::{Exempted, Finding, FindingKind, Severity, ViolationType};
use crate::intern::Symbol;
use crate::policy::{KeyCase, Outcome, Policy, TagRule};
use crate::tally::Verdict;

use super::place::TypeScope;
use super::{FORBIDDEN, Judge, MISNAMED, NEAR, NONE, TagSet};

impl Judge {
    /// Writes down the findings. The slots hold the values of the resource.
    pub(super) fn explain(
        &mut self,
        scope: &TypeScope,
        arn: &str,
        set: &TagSet,
        flags: u8,
        findings: &mut Vec<Finding>,
    ) -> Verdict {
        let policy = Arc::clone(&self.policy);
        for &rule in &scope.rules {
            if self.hold(self.lookout.of_rules[usize::from(rule)].clone()) {
                self.explain_rule(rule, &policy.rules()[usize::from(rule)], set, flags, findings);
            }
        }
        if flags & FORBIDDEN != 0 {
            self.explain_forbidden(set, findings);
        }
        if flags & MISNAMED != 0 || set.long {
            self.explain_naming(set, findings);
        }
        self.exempt(&policy, scope, arn, findings);
        if findings.iter().any(Finding::counts) {
            Verdict::Violating
        } else if findings.iter().any(|finding| finding.kind == FindingKind::Violation) {
            Verdict::Exempt
        } else {
            Verdict::Compliant
        }
    }

    fn explain_rule(
        &mut self,
        position: u16,
        rule: &TagRule,
        set: &TagSet,
        flags: u8,
        findings: &mut Vec<Finding>,
    ) {
        let mut value = self.slots[usize::from(position)];
        if value == NONE
            && flags & NEAR != 0
            && let Some((key, near)) = self.misspelled(position, set)
        {
            let kind = if rule.key_case() == KeyCase::Exact { kind(rule) } else { FindingKind::Advice };
            findings.push(Finding {
                kind,
                current_value: Some(self.keys.text(key).as_ref().into()),
                ..finding(rule, ViolationType::WrongCase)
            });
            if rule.key_case() == KeyCase::Exact {
                return;
            }
            value = near;
        }
        if value == NONE {
            if rule.required() {
                findings.push(missing(rule));
            }
            return;
        }
        let outcome = self.outcome(usize::from(position), value);
        let broken = match outcome {
            Outcome::Good => return,
            Outcome::Blank => missing(rule),
            Outcome::NotAllowed => Finding {
                allowed_values: rule.values().allowed().cloned(),
                ..finding(rule, ViolationType::InvalidValue)
            },
            Outcome::BadPattern | Outcome::BadLength | Outcome::BadCase => Finding {
                expected_format: rule.values().expected(Some(outcome)),
                ..finding(rule, ViolationType::InvalidFormat)
            },
        };
        findings.push(Finding { current_value: Some(self.values.text(value).as_ref().into()), ..broken });
    }

    /// The tag whose key differs from the rule's in case only; the first by key when there are several.
    fn misspelled(&self, rule: u16, set: &TagSet) -> Option<(Symbol, Symbol)> {
        set.pairs
            .iter()
            .copied()
            .filter(|(key, _)| {
                self.details[key.index()].near.as_ref().is_some_and(|near| near.contains(&rule))
            })
            .min_by_key(|(key, _)| self.keys.text(*key))
    }

    fn explain_forbidden(&self, set: &TagSet, findings: &mut Vec<Finding>) {
        let start = findings.len();
        for &(key, value) in &set.pairs {
            let Some(position) = self.details[key.index()].forbidden else { continue };
            findings.push(Finding {
                kind: FindingKind::Violation,
                violation_type: ViolationType::ForbiddenTag,
                severity: self.policy.forbidden()[usize::from(position)].severity,
                tag_key: Arc::clone(self.keys.text(key)),
                current_value: Some(self.values.text(value).as_ref().into()),
                allowed_values: None,
                expected_format: None,
                exempted: None,
            });
        }
        findings[start..].sort_by(|a, b| a.tag_key.cmp(&b.tag_key));
    }

    fn explain_naming(&self, set: &TagSet, findings: &mut Vec<Finding>) {
        let Some(naming) = self.policy.naming() else { return };
        let start = findings.len();
        for &(key, value) in &set.pairs {
            let advice = |expected: &Arc<str>, current_value| Finding {
                kind: FindingKind::Advice,
                violation_type: ViolationType::NamingRule,
                severity: Severity::Low,
                tag_key: Arc::clone(self.keys.text(key)),
                current_value,
                allowed_values: None,
                expected_format: Some(Arc::clone(expected)),
                exempted: None,
            };
            if let Some(expected) = &self.details[key.index()].naming {
                findings.push(advice(expected, None));
            }
            if set.long && value != NONE && !crate::policy::is_reserved(self.keys.text(key)) {
                let value = self.values.text(value);
                if let Some(expected) = naming.value_breach(value) {
                    findings.push(advice(expected, Some(value.as_ref().into())));
                }
            }
        }
        findings[start..].sort_by(|a, b| a.tag_key.cmp(&b.tag_key));
    }

    /// Marks what the exemptions of the place cover; the first one in the policy speaks.
    fn exempt(&mut self, policy: &Policy, scope: &TypeScope, arn: &str, findings: &mut [Finding]) {
        if findings.is_empty() {
            return;
        }
        for &position in &scope.exemptions {
            let exemption = &policy.exemptions()[usize::from(position)];
            let selectors = self.lookout.of_exemptions[usize::from(position)].clone();
            if !exemption.covers_arn(arn) || !self.hold(selectors) {
                continue;
            }
            for finding in findings.iter_mut().filter(|finding| finding.exempted.is_none()) {
                if exemption.covers_key(&finding.tag_key) {
                    let by = Arc::clone(exemption.name());
                    finding.exempted = Some(Exempted { by, until: exemption.expires_at() });
                }
            }
        }
    }
}

fn kind(rule: &TagRule) -> FindingKind {
    if rule.required() { FindingKind::Violation } else { FindingKind::Advice }
}

fn finding(rule: &TagRule, violation_type: ViolationType) -> Finding {
    Finding {
        kind: kind(rule),
        violation_type,
        severity: rule.severity(),
        tag_key: Arc::clone(rule.key()),
        current_value: None,
        allowed_values: None,
        expected_format: None,
        exempted: None,
    }
}

fn missing(rule: &TagRule) -> Finding {
    Finding {
        allowed_values: rule.values().allowed().cloned(),
        expected_format: rule.values().expected(None),
        ..finding(rule, ViolationType::MissingRequiredTag)
    }
}
