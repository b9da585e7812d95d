//! `tagwarden crds`: the definitions that a cluster needs before it takes our objects.

use std::io::{self, Write};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::Failure;
use crate::cli::Crds;

const HEAD: &str = "# Written by `tagwarden crds`; change src/api, not this file.\n";

pub(super) fn run(flags: &Crds) -> Result<u8, Failure> {
    let definitions = tagwarden_api::crds();
    let Some(directory) = &flags.out else {
        let mut out = io::stdout().lock();
        for definition in &definitions {
            out.write_all(format!("---\n{HEAD}{}", yaml(definition)?).as_bytes())?;
        }
        return Ok(0);
    };
    std::fs::create_dir_all(directory)?;
    for definition in &definitions {
        std::fs::write(directory.join(file_name(definition)), format!("{HEAD}{}", yaml(definition)?))?;
    }
    Ok(0)
}

/// `tagwarden.io_taggingpolicies.yaml`, as Kubernetes' own generators name them.
fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

fn yaml(definition: &CustomResourceDefinition) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! { compact_list_indent: false, prefer_block_scalars: false };
    // Through JSON, whose keys are sorted and whose whole numbers have no fraction.
    let mut tree = serde_json::to_value(definition).map_err(io::Error::from)?;
    whole_numbers(&mut tree);
    serde_saphyr::to_string_with_options(&tree, options).map_err(|error| io::Error::other(error).into())
}

/// Bounds come out of the schema as `1.0`, and an API server gives them back as `1`.
fn whole_numbers(tree: &mut serde_json::Value) {
    use serde_json::Value;
    match tree {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
            if let (true, Some(float)) = (number.is_f64(), whole) {
                #[allow(clippy::cast_possible_truncation)] // it is whole, and far from the limit
                let whole = float as i64;
                *number = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
