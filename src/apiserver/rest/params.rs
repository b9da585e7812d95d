//! Query parameters.

use serde_json::json;
use url::form_urlencoded;

use crate::kind::FieldValidation;
use crate::status::{ApiError, Cause};

/// The most bytes of the name of a field manager. Managers are not kept here.
const MAX_MANAGER: usize = 128;

/// What the query of a request says.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    pub(super) limit: Option<i64>,
    pub(super) continue_token: String,
    pub(super) resource_version: String,
    pub(super) resource_version_match: String,
    pub(super) watch: bool,
    pub(super) bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) dry_run: Vec<String>,
    field_validation: Option<String>,
    field_manager: String,
    pub(super) include_object: Option<String>,
    pub(super) propagation_policy: Option<String>,
    pub(super) orphan_dependents: Option<bool>,
}

impl Params {
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut params = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            params.set(&key, value.into_owned())?;
        }
        Ok(params)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), ApiError> {
        match key {
            "labelSelector" => self.label_selector = value,
            "fieldSelector" => self.field_selector = value,
            "limit" => self.limit = Some(number(key, &value)?).filter(|limit| *limit > 0),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.watch = flag(&value),
            "allowWatchBookmarks" => self.bookmarks = flag(&value),
            "sendInitialEvents" => self.send_initial_events = Some(flag(&value)),
            "timeoutSeconds" => {
                self.timeout_seconds =
                    u64::try_from(number(key, &value)?).ok().filter(|seconds| *seconds > 0);
            }
            "dryRun" => self.dry_run.push(value),
            "fieldValidation" => self.field_validation = Some(value),
            "fieldManager" => self.field_manager = value,
            "includeObject" => self.include_object = Some(value),
            "propagationPolicy" => self.propagation_policy = Some(value),
            "orphanDependents" => self.orphan_dependents = Some(flag(&value)),
            // pretty, force and the like change nothing here.
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing is to be written; 422 for another word than `All`. `options` is like `CreateOptions`.
    pub(super) fn is_dry_run(&self, options: &str) -> Result<bool, ApiError> {
        dry_run(self.dry_run.iter().map(String::as_str), options)
    }

    /// What to do about unknown fields; 422 for another word, and for the name of a manager that is too long.
    pub(super) fn field_validation(&self, options: &str) -> Result<FieldValidation, ApiError> {
        if self.field_manager.len() > MAX_MANAGER {
            let cause = Cause::too_long("fieldManager", MAX_MANAGER as u64);
            return Err(ApiError::invalid_options(options, vec![cause]));
        }
        FieldValidation::parse(self.field_validation.as_deref(), options)
    }

    /// The version asked for: `None` for "any" (absent or 0 is told by the text).
    pub(super) fn version(&self) -> Result<Option<i64>, ApiError> {
        match self.resource_version.as_str() {
            "" | "0" => Ok(None),
            text => text.parse().ok().filter(|version| *version > 0).map(Some).ok_or_else(|| {
                ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a number"))
            }),
        }
    }
}

/// Whether nothing is to be written, from all `dryRun` values of a request.
pub(super) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, options: &str) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            let cause = Cause::not_supported("dryRun", &json!([value]), &[json!("All")]);
            return Err(ApiError::invalid_options(options, vec![cause]));
        }
        dry = true;
    }
    Ok(dry)
}

fn number(key: &str, value: &str) -> Result<i64, ApiError> {
    if value.is_empty() {
        return Ok(0);
    }
    value.parse().map_err(|_| ApiError::bad_request(format!("{key}: `{value}` is not a whole number")))
}

/// As an API server reads it: whatever is not a word for no is one for yes.
fn flag(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}
