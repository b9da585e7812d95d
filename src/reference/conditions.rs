//! `docs/reference/conditions.md`: every condition and reason of a status.

use std::fmt::Write as _;

use tagwarden_api::condition::{CONDITIONS, REASONS};

use super::cell;

const HEAD: &str = "\
# Conditions and reasons

<!-- Written by `tagwarden docs conditions`; change src/api/condition.rs, not this page. -->

What `status.conditions` of our objects can say. `Ready` is about the work, `Compliant` about what it found: an audit
that finds ten thousand violations is Ready. `kubectl wait --for=condition=Ready` works for every kind. Conditions that
are said to be present only while True are not there otherwise.

";

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("| Condition | Of | Meaning |\n|---|---|---|\n");
    for condition in CONDITIONS {
        let kinds: Vec<String> = condition.kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let _ =
            writeln!(page, "| `{}` | {} | {} |", condition.name, kinds.join(", "), cell(condition.meaning));
    }
    page.push_str("\n## Reasons\n\n| Reason | What happened | What to do |\n|---|---|---|\n");
    let mut reasons: Vec<_> = REASONS.iter().collect();
    reasons.sort_by_key(|reason| reason.name);
    for reason in reasons {
        let _ = writeln!(page, "| `{}` | {} | {} |", reason.name, cell(reason.meaning), cell(reason.remedy));
    }
    page
}
