//! `tagwarden types` and `tagwarden iam-policy`: what the registry knows.

use std::io::{self, Write};

use tagwarden_core::iam;
use tagwarden_core::registry::{ListedBy, Registry, markdown};

use super::Failure;
use crate::cli::{IamPolicy, Types, TypesFormat};
use crate::input;
use crate::render::table;

pub(super) fn types(flags: &Types, registry: &Registry) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match flags.format {
        TypesFormat::Markdown => out.write_all(markdown(registry).as_bytes())?,
        TypesFormat::Table => {
            let mut rows = table::plain(&["TYPE", "CATEGORY", "FREE", "GLOBAL", "LISTED BY", "COST EXPLORER SERVICE"]);
            for id in registry.ids() {
                let row = registry.row(id);
                let listed = match row.listed_by {
                    ListedBy::Native => "native",
                    ListedBy::TaggingApi => "tagging api",
                    ListedBy::Nothing => "-",
                };
                let mark = |yes: bool| if yes { "yes" } else { "" };
                let service = row.cost_service.as_deref().unwrap_or_default();
                rows.add_row([&*row.name, &row.category, mark(row.free), mark(row.global), listed, service]);
            }
            table::write(&rows, &mut out)?;
        }
    }
    Ok(0)
}

pub(super) fn iam_policy(flags: &IamPolicy, registry: &Registry) -> Result<u8, Failure> {
    let types = if flags.types.is_empty() {
        registry.ids().collect()
    } else {
        input::types(&flags.types, registry)?.0
    };
    let document = serde_json::to_string_pretty(&iam::read_policy(registry, &types)).map_err(io::Error::from)?;
    writeln!(io::stdout().lock(), "{document}")?;
    Ok(0)
}
