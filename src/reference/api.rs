//! `docs/reference/api.md`: every field of every kind, from the definitions that clusters get.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::cell;

const HEAD: &str = "\
# Kinds and their fields

<!-- Written by `tagwarden docs api`; change src/api, not this page. -->

All kinds are of `tagwarden.io/v1alpha1` and live in a namespace. `[]` stands for each entry of a list, `{}` for each
value of a map. Rules that span fields are CEL, enforced by the API server; [conditions.md](conditions.md) explains the
conditions.
";

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for definition in tagwarden_api::crds() {
        kind(&mut page, &definition);
    }
    page
}

fn kind(page: &mut String, definition: &CustomResourceDefinition) {
    let names = &definition.spec.names;
    let short: Vec<String> = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(page, "\n## {}\n", names.kind);
    let Some(version) = definition.spec.versions.first() else { return };
    let Some(root) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) else {
        return;
    };
    let about = root.description.as_deref().unwrap_or_default();
    let _ =
        writeln!(page, "{} `kubectl get {}`, in short {}.\n", cell(about), names.plural, short.join(", "));
    page.push_str("| Field | Type | |\n|---|---|---|\n");
    for part in ["spec", "status"] {
        if let Some(props) = root.properties.as_ref().and_then(|fields| fields.get(part)) {
            let required = root.required.iter().flatten().any(|name| name == part);
            field(page, part, props, required);
        }
    }
}

fn field(page: &mut String, path: &str, props: &JSONSchemaProps, required: bool) {
    let mut about = cell(props.description.as_deref().unwrap_or_default());
    for rule in props.x_kubernetes_validations.iter().flatten() {
        let _ = write!(about, " *{}.*", cell(rule.message.as_deref().unwrap_or(&rule.rule)));
    }
    let type_ = describe(props);
    let needed = if required { ", required" } else { "" };
    let _ = writeln!(page, "| `{path}` | {type_}{needed} | {} |", about.trim());
    // Those of Kubernetes itself have a page of their own.
    if !path.ends_with(".conditions") {
        inner(page, path, props);
    }
}

fn inner(page: &mut String, path: &str, props: &JSONSchemaProps) {
    for (name, props_of) in props.properties.iter().flatten() {
        let required = props.required.iter().flatten().any(|needed| needed == name);
        field(page, &format!("{path}.{name}"), props_of, required);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &props.items {
        inner(page, &format!("{path}[]"), items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &props.additional_properties {
        inner(page, &format!("{path}{{}}"), values);
    }
}

/// The type with its bounds.
fn describe(props: &JSONSchemaProps) -> String {
    let words: Vec<String> = props
        .enum_
        .iter()
        .flatten()
        .filter_map(|word| word.0.as_str().map(|word| format!("`{word}`")))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    match props.type_.as_deref() {
        Some("array") => {
            let items = match &props.items {
                Some(JSONSchemaPropsOrArray::Schema(items)) => describe(items),
                _ => "anything".to_owned(),
            };
            let bounds = bounds(props.min_items, props.max_items);
            format!("list of {items}{}", or_empty(bounds.as_deref(), "entries"))
        }
        Some("string") if props.format.as_deref() == Some("date-time") => "time".to_owned(),
        Some("string") => {
            format!("text{}", or_empty(bounds(props.min_length, props.max_length).as_deref(), "characters"))
        }
        Some("integer") => {
            #[allow(clippy::cast_possible_truncation)] // bounds of our own, and whole
            let whole = |bound: f64| bound as i64;
            let bounds = bounds(props.minimum.map(whole), props.maximum.map(whole));
            bounds.map_or_else(|| "whole number".to_owned(), |bounds| format!("whole number, {bounds}"))
        }
        Some("boolean") => "true or false".to_owned(),
        Some("object") if props.additional_properties.is_some() => {
            format!("map{}", or_empty(bounds(None, props.max_properties).as_deref(), "entries"))
        }
        Some("object") => "object".to_owned(),
        other => other.unwrap_or("anything").to_owned(),
    }
}

fn or_empty(bounds: Option<&str>, unit: &str) -> String {
    bounds.map(|bounds| format!(", {bounds} {unit}")).unwrap_or_default()
}

fn bounds(least: Option<i64>, most: Option<i64>) -> Option<String> {
    match (least.filter(|least| *least != 0), most) {
        (Some(least), Some(most)) if least == most => Some(format!("{least}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, None) => None,
    }
}
