//! Files and flags, turned into what the use cases take. Everything wrong is found here, before anything is done.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_api::access::{ResolvedAccess, ResolvedAccount, resolve_accounts};
use tagwarden_api::error::ManifestError;
use tagwarden_api::manifests::{MAX_FILE_BYTES, Manifests, PolicyManifest};
use tagwarden_app::ports::{Access, AccountTarget, AssumedRole, ExternalId};
use tagwarden_core::policy::{Compiled, Policy, PolicyError, Requested, compile, fallback};
use tagwarden_core::registry::{Registry, RegistryError, TypeId, UnknownType};

use crate::cli::Scan;
use crate::commands::TENANT;

/// Files read from one directory.
const MAX_FILES: usize = 1_000;

/// The endings of manifest files in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What is wrong with a file or a flag.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file that cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A directory without manifests, or with too many.
    #[error("`{path}` holds {found} files ending in .yaml, .yml or .json; expected 1 to {MAX_FILES}")]
    Directory { path: String, found: usize },
    /// Documents with mistakes, one a line.
    #[error("{}", lines(.0))]
    Manifests(Vec<ManifestError>),
    /// No policy, or no account, where one was promised.
    #[error("`{path}` holds no {kind}")]
    Without { path: String, kind: &'static str },
    /// Several policies where there is room for one.
    #[error("`{path}` holds more than one policy; convert one file with one policy at a time")]
    NotOne { path: String },
    /// The policy that is used where there is none; it names no type, so this takes a broken build.
    #[error("the built-in policy is refused: {}", .0.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "))]
    Fallback(Vec<PolicyError>),
    /// Several policies, and no word which.
    #[error("there are {} policies; choose one with --policy-name: {}", .0.len(), .0.join(", "))]
    WhichPolicy(Vec<String>),
    /// A name that no policy has.
    #[error("--policy-name: there is no policy `{name}`; there is: {}", .known.join(", "))]
    NoSuchPolicy { name: String, known: Vec<String> },
    /// An account id that no manifest has.
    #[error("--account: no ClientAccount has the id {id}; there is: {}", .known.join(", "))]
    NoSuchAccount { id: String, known: Vec<String> },
    /// Several accounts without a way into them.
    #[error("--account: more than one account needs --accounts, which says how to enter each")]
    NoWayIn,
    /// A name that no type has.
    #[error("--type: {0}")]
    Type(UnknownType),
    /// A bad file of resource types.
    #[error("--resource-types: `{path}`")]
    Registry {
        path: String,
        #[source]
        source: RegistryError,
    },
}

/// What a scan was told, and what was decided where it was not told.
#[derive(Debug)]
pub struct Chosen {
    pub policy: Arc<Policy>,
    pub accounts: Vec<AccountTarget>,
    pub types: Requested,
    /// What people should know and need not act on.
    pub warnings: Vec<String>,
}

/// The built-in registry, extended by the operator's file.
pub fn registry(file: Option<&Path>) -> Result<Arc<Registry>, InputError> {
    let Some(path) = file else { return Ok(Registry::builtin()) };
    let failed = |source| InputError::Registry { path: path.display().to_string(), source };
    let text = String::from_utf8(read_file(path)?)
        .map_err(|error| failed(RegistryError::Shape(format!("it is not UTF-8 text: {error}"))))?;
    Registry::builtin().with_overrides(&text).map(Arc::new).map_err(failed)
}

/// Reads and checks everything a scan needs.
pub fn choose(flags: &Scan, registry: &Arc<Registry>) -> Result<Chosen, InputError> {
    let mut warnings = Vec::new();
    let policy = policy(flags, registry, &mut warnings)?;
    let accounts = accounts(flags)?;
    let types = match flags.types.as_slice() {
        [] => Requested::All,
        names if names.iter().any(|name| name == "all") => Requested::All,
        names => {
            let (types, renamed) = types(names, registry)?;
            warnings.extend(renamed);
            Requested::Types(types)
        }
    };
    if policy.types_in_scope(&types).is_empty() {
        warnings.push("no required or forbidden tag of the policy applies to the types asked for".into());
    }
    Ok(Chosen { policy, accounts, types, warnings })
}

/// The types of these names and patterns, and a word about each former name.
pub fn types(names: &[String], registry: &Registry) -> Result<(Vec<TypeId>, Vec<String>), InputError> {
    let mut types = Vec::new();
    let mut renamed = Vec::new();
    for name in names {
        let meant = registry.resolve(name).map_err(InputError::Type)?;
        if let Some(current) = meant.renamed {
            renamed.push(format!("--type: `{name}` is now called `{current}`"));
        }
        types.extend(meant.types);
    }
    Ok((types, renamed))
}

fn policy(
    flags: &Scan,
    registry: &Arc<Registry>,
    warnings: &mut Vec<String>,
) -> Result<Arc<Policy>, InputError> {
    let Some(path) = &flags.policy else {
        warnings.push("no --policy: CostCenter, Owner and Environment are required of everything".into());
        let compiled = compile(&fallback(), registry).map_err(InputError::Fallback)?;
        return Ok(Arc::new(compiled.policy));
    };
    let manifests = manifests(path)?;
    let manifest = only(flags.policy_name.as_deref(), path, manifests.policies())?;
    let compiled = manifest.compile(registry).map_err(InputError::Manifests)?;
    warnings.extend(told(&compiled, &manifest.origin.to_string(), Timestamp::now()));
    Ok(Arc::new(compiled.policy))
}

fn only<'a>(
    name: Option<&str>,
    path: &Path,
    policies: &'a [PolicyManifest],
) -> Result<&'a PolicyManifest, InputError> {
    let known = || policies.iter().map(|policy| policy.origin.name.clone()).collect();
    match (name, policies) {
        (_, []) => Err(InputError::Without { path: path.display().to_string(), kind: "TaggingPolicy" }),
        (None, [only]) => Ok(only),
        (None, _) => Err(InputError::WhichPolicy(known())),
        (Some(name), _) => policies
            .iter()
            .find(|policy| policy.origin.name == name)
            .ok_or_else(|| InputError::NoSuchPolicy { name: name.to_owned(), known: known() }),
    }
}

/// What a good policy still has to say.
pub fn told(compiled: &Compiled, origin: &str, now: Timestamp) -> Vec<String> {
    let expired = compiled.policy.expired_exemptions(now);
    let all = compiled.warnings.iter().cloned().chain(expired);
    all.map(|warning| format!("{origin}: {}: {}", warning.path, warning.message)).collect()
}

fn accounts(flags: &Scan) -> Result<Vec<AccountTarget>, InputError> {
    let Some(path) = &flags.accounts else {
        return match flags.account.as_slice() {
            [] => Ok(vec![own_account(None)]),
            [id] => Ok(vec![own_account(Some(id.clone()))]),
            _ => Err(InputError::NoWayIn),
        };
    };
    let manifests = manifests(path)?;
    let known: Vec<&str> =
        manifests.accounts().iter().map(|account| &*account.object.spec.account_id).collect();
    if known.is_empty() {
        return Err(InputError::Without { path: path.display().to_string(), kind: "ClientAccount" });
    }
    if let Some(id) = flags.account.iter().find(|id| !known.contains(&id.as_str())) {
        let known = known.into_iter().map(str::to_owned).collect();
        return Err(InputError::NoSuchAccount { id: id.to_string(), known });
    }
    let resolved = resolve_accounts(&manifests, &flags.account).map_err(InputError::Manifests)?;
    Ok(resolved.into_iter().map(target).collect())
}

fn own_account(account_id: Option<tagwarden_core::account::AccountId>) -> AccountTarget {
    AccountTarget {
        name: None,
        account_id,
        labels: std::collections::BTreeMap::new(),
        access: Access::Ambient,
        include_regions: Vec::new(),
        exclude_regions: Vec::new(),
    }
}

fn target(account: ResolvedAccount) -> AccountTarget {
    let access = match account.access {
        ResolvedAccess::Ambient => Access::Ambient,
        ResolvedAccess::AssumeRole(role) => Access::AssumeRole(AssumedRole {
            role_arn: role.role_arn,
            chain: role.chain,
            external_id: role.external_id.map(|id| ExternalId(id.expose().to_owned())),
            session_name: role.session_name,
            session_duration_seconds: role.session_duration_seconds,
            sts_region: role.sts_region,
        }),
    };
    AccountTarget {
        name: Some(account.origin.name),
        account_id: Some(account.account_id),
        labels: account.labels,
        access,
        include_regions: account.include_regions,
        exclude_regions: account.exclude_regions,
    }
}

/// All objects of a file, or of the manifest files of a directory.
pub fn manifests(path: &Path) -> Result<Manifests, InputError> {
    let mut manifests = Manifests::new(TENANT);
    let mut errors = Vec::new();
    for file in files(path)? {
        if let Err(found) = manifests.read(&file.display().to_string(), &read_file(&file)?) {
            errors.extend(found);
        }
    }
    if errors.is_empty() { Ok(manifests) } else { Err(InputError::Manifests(errors)) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let failed = |source| InputError::Read { path: path.display().to_string(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // Editors and ConfigMap mounts keep files of their own, which start with a dot.
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if ENDINGS.contains(&ending) && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(InputError::Directory { path: path.display().to_string(), found: files.len() });
    }
    Ok(files)
}

/// Reads a file, one byte beyond the limit at most, so that a huge one is refused and not swallowed.
pub fn read_file(path: &Path) -> Result<Vec<u8>, InputError> {
    let failed = |source| InputError::Read { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    std::fs::File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn lines(errors: &[ManifestError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n       ")
}
