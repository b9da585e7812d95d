//! `tagwarden types` and `tagwarden iam-policy`: what the registry knows.

use std::io::{self, Write};

use comfy_table::ColumnConstraint;
use tagwarden_core::iam;
use tagwarden_core::registry::{ListedBy, Registry, markdown};

use super::{Failure, warn};
use crate::cli::{IamPolicy, Types, TypesFormat};
use crate::input;
use crate::render::table;

pub(super) fn types(flags: &Types, registry: &Registry) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match flags.format {
        TypesFormat::Markdown => out.write_all(markdown(registry).as_bytes())?,
        TypesFormat::Table => {
            let mut rows = table::plain(&["TYPE", "CATEGORY", "NOTE", "LISTED BY", "COST EXPLORER SERVICE"]);
            // A name is there to be copied.
            if let Some(names) = rows.column_mut(0) {
                names.set_constraint(ColumnConstraint::ContentWidth);
            }
            for id in registry.ids() {
                let row = registry.row(id);
                let listed = match row.listed_by {
                    ListedBy::Native => "native",
                    ListedBy::TaggingApi => "tagging api",
                    ListedBy::Nothing => "-",
                };
                let note = match (row.free, row.global) {
                    (true, true) => "free, global",
                    (true, false) => "free",
                    (false, true) => "global",
                    (false, false) => "",
                };
                let service = row.cost_service.as_deref().unwrap_or_default();
                rows.add_row([&*row.name, &row.category, note, listed, service]);
            }
            table::write(&rows, &mut out)?;
        }
    }
    Ok(0)
}

pub(super) fn iam_policy(flags: &IamPolicy, registry: &Registry) -> Result<u8, Failure> {
    let types = match flags.types.as_slice() {
        [] => registry.ids().collect(),
        [all] if all == "all" => registry.ids().collect(),
        names => {
            let (types, renamed) = input::types(names, registry)?;
            for word in &renamed {
                warn(word);
            }
            types
        }
    };
    let document =
        serde_json::to_string_pretty(&iam::read_policy(registry, &types)).map_err(io::Error::from)?;
    writeln!(io::stdout().lock(), "{document}")?;
    Ok(0)
}
