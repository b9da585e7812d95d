//! `tagwarden config`: what `tagwarden run` with the same flags would go by.

use std::io::{self, Write};

use serde_json::json;

use super::Failure;
use crate::cli::{Config, ListFormat};
use crate::render::table;

pub(super) fn run(flags: Config) -> Result<u8, Failure> {
    let resolution = flags.settings.resolve()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match flags.format {
        ListFormat::Table => {
            let mut rows = table::fixed(&["SETTING", "VALUE", "FROM"]);
            for origin in &resolution.origins {
                rows.add_row([origin.setting.key.clone(), table::printable(&origin.shown), origin.told()]);
            }
            table::write(&rows, &mut out)?;
        }
        ListFormat::Json => {
            let settings: serde_json::Map<_, _> = resolution
                .origins
                .iter()
                .map(|origin| {
                    let entry = json!({ "value": origin.shown, "from": origin.told() });
                    (origin.setting.key.clone(), entry)
                })
                .collect();
            serde_json::to_writer_pretty(&mut out, &settings).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(0)
}
