//! The tools, one file each.

mod cancel_run;
mod check_tag_compliance;
mod export_violations_csv;
mod find_untagged_resources;
mod generate_compliance_report;
mod get_audit_status;
mod get_run;
mod get_tagging_policy;
mod get_violation_history;
mod list_accounts;
mod list_audits;
mod listed;
mod schedule_compliance_audit;
mod start_compliance_check;
mod validate_resource_tags;
mod waiting;

pub(crate) use listed::conditions_in_words;

use std::sync::LazyLock;

use crate::tool::Entry;

/// The names of all of them.
pub(crate) fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| all().iter().map(|tool| tool.name).collect());
    &NAMES
}

/// All of them, by name.
pub(crate) fn all() -> Vec<Entry> {
    let mut tools = vec![
        Entry::of::<cancel_run::CancelRun>(),
        Entry::of::<check_tag_compliance::CheckTagCompliance>(),
        Entry::of::<export_violations_csv::ExportViolationsCsv>(),
        Entry::of::<find_untagged_resources::FindUntaggedResources>(),
        Entry::of::<generate_compliance_report::GenerateComplianceReport>(),
        Entry::of::<get_audit_status::GetAuditStatus>(),
        Entry::of::<get_run::GetRun>(),
        Entry::of::<get_tagging_policy::GetTaggingPolicy>(),
        Entry::of::<get_violation_history::GetViolationHistory>(),
        Entry::of::<list_accounts::ListAccounts>(),
        Entry::of::<list_audits::ListAudits>(),
        Entry::of::<schedule_compliance_audit::ScheduleComplianceAudit>(),
        Entry::of::<start_compliance_check::StartComplianceCheck>(),
        Entry::of::<validate_resource_tags::ValidateResourceTags>(),
    ];
    tools.sort_by_key(|tool| tool.name);
    tools
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Clients load all of it at once.
    const LIST_BYTES: usize = 25_000;

    #[test]
    fn every_tool_says_what_it_is_and_does() {
        let tools = all();
        let names: BTreeSet<&str> = tools.iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), tools.len());
        for tool in &tools {
            let listed = serde_json::to_value(tool.listed()).unwrap();
            let hints = &listed["annotations"];
            for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
                assert!(hints[hint].is_boolean(), "{}: {hint}", tool.name);
            }
            assert!(tool.about.len() > 40 && tool.about.len() < 1024, "{}", tool.name);
            assert!(!(tool.hints.read_only && tool.hints.destructive), "{}", tool.name);
            assert!(
                !tool.hints.read_only || tool.scope == tagwarden_app::ask::Scope::TagRead,
                "{}",
                tool.name
            );
            assert_eq!(listed["inputSchema"]["properties"]["dry_run"]["type"], "boolean", "{}", tool.name);
        }
    }

    #[test]
    fn the_list_of_tools_is_small() {
        let tools = all();
        let listed: Vec<_> = tools.iter().map(Entry::listed).collect();
        let bytes = serde_json::to_vec(&listed).unwrap().len();
        assert!(bytes <= LIST_BYTES, "{bytes}");
    }

    /// Schemas as strict clients want them: one type each, nothing to look up, and every input described.
    #[test]
    fn schemas_are_plain() {
        fn walk(value: &Value, at: &str) {
            match value {
                Value::Object(object) => {
                    assert!(!object.contains_key("$ref") && !object.contains_key("$defs"), "{at}");
                    assert!(!object.get("type").is_some_and(Value::is_array), "{at}: {value}");
                    if let Some(Value::Object(properties)) = object.get("properties") {
                        for (name, property) in properties {
                            let typed = property.get("type").is_some() || property.get("anyOf").is_some();
                            assert!(typed, "{at}.{name}: {property}");
                        }
                    }
                    object.iter().for_each(|(key, value)| walk(value, &format!("{at}.{key}")));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, at)),
                _ => {}
            }
        }
        for tool in all() {
            for schema in [&tool.input, &tool.output] {
                assert_eq!(schema["type"], "object", "{}", tool.name);
                walk(&Value::Object((**schema).clone()), tool.name);
            }
            let Value::Object(properties) = &tool.input["properties"] else { panic!("{}", tool.name) };
            for (name, property) in properties {
                assert!(property["description"].is_string(), "{}.{name}: {property}", tool.name);
            }
        }
    }
}
