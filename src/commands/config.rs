//! `tagwarden config`: what `tagwarden run` with the same flags would go by.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::Failure;
use crate::cli::{Config, ListFormat};
use crate::render::table;
use crate::settings::Settings;

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
    for problem in missing(&resolution.settings) {
        super::warn(&problem);
    }
    Ok(0)
}

/// What `run` would look for in vain, here and now. It may be that the settings are meant for another machine.
fn missing(settings: &Settings) -> Vec<String> {
    let files = [
        ("--api-tokens", &settings.api_tokens),
        ("--api-tls-cert", &settings.api_tls_cert),
        ("--api-tls-key", &settings.api_tls_key),
        ("--resource-types", &settings.resource_types),
    ];
    let files = files.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?, "file")));
    let manifests = settings.manifests.as_deref().map(|path| ("--manifests", path, "directory"));
    let store = settings.store.file().and_then(Path::parent).map(|path| ("--store", path, "directory"));
    let is_there = |path: &Path, what| match what {
        "file" => path.is_file(),
        _ => path.as_os_str().is_empty() || path.is_dir(),
    };
    files
        .chain(manifests)
        .chain(store)
        .filter(|(_, path, what)| !is_there(path, what))
        .map(|(flag, path, what)| format!("{flag}: there is no {what} `{}` here", path.display()))
        .collect()
}
