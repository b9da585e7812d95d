//! From a draft to a policy: everything is checked, and everything that is wrong is said at once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::finding::Severity;
use crate::glob::Glob;
use crate::region::{Written, look_up};
use crate::registry::{Meant, Registry};
use crate::text::{folded, quoted};

use super::draft::{
    AccountsDraft, AppliesToDraft, ExemptionDraft, ForbiddenTagDraft, KeyCase, LabelOperator, NamingDraft,
    PolicyDraft, TagRuleDraft, TagSelectorDraft, ValueCase, ValuesDraft,
};
use super::error::{Notes, PolicyError, PolicyWarning, Reason};
use super::naming::{MAX_KEY, MAX_VALUE, Naming};
use super::pattern::Pattern;
use super::revision::revision;
use super::scope::{Accounts, LabelExpression, Scope, TagSelector, TypeSet};
use super::values::ValueRule;
use super::{Exemption, ForbiddenTag, Policy, TagRule};

const MAX_TAGS: usize = 100;
const MAX_ALLOWED: usize = 500;
const MAX_PATTERN: usize = 1024;
const MAX_TYPES: usize = 200;
const MAX_REGIONS: usize = 40;
const MAX_ACCOUNTS: usize = 500;
const MAX_LABELS: usize = 50;
const MAX_SELECTORS: usize = 20;
const MAX_EXEMPTIONS: usize = 200;
const MAX_GLOBS: usize = 100;
const MAX_ARN: usize = 2048;
const MAX_PROSE: usize = 1024;
const MAX_NAME: usize = 253;

/// A policy that can be applied, and what its author should know about it.
#[derive(Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// Things that work, but should be looked at.
    pub warnings: Vec<PolicyWarning>,
}

/// Checks a draft and makes a policy of it. The errors are complete (up to a hundred), in the order of the fields.
pub fn compile(draft: &PolicyDraft, registry: &Arc<Registry>) -> Result<Compiled, Vec<PolicyError>> {
    let mut compiler = Compiler { registry, notes: Notes::default() };
    let policy = compiler.policy(draft);
    let Notes { errors, warnings } = compiler.notes;
    match policy {
        Some(policy) if errors.is_empty() => Ok(Compiled { policy, warnings }),
        _ => Err(errors),
    }
}

struct Compiler<'a> {
    registry: &'a Arc<Registry>,
    notes: Notes,
}

impl Compiler<'_> {
    fn refuse(&mut self, path: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.notes.refuse(path, reason, message);
    }

    fn policy(&mut self, draft: &PolicyDraft) -> Option<Policy> {
        let bounded = [
            self.notes.bound("metadata.name", &draft.name, MAX_NAME),
            self.notes.bound("spec.description", &draft.description, MAX_PROSE),
            self.notes.bound_list("spec.requiredTags", &draft.required_tags, MAX_TAGS),
            self.notes.bound_list("spec.optionalTags", &draft.optional_tags, MAX_TAGS),
            self.notes.bound_list("spec.forbiddenTags", &draft.forbidden_tags, MAX_TAGS),
            self.notes.bound_list("spec.exemptions", &draft.exemptions, MAX_EXEMPTIONS),
        ];
        if bounded.contains(&false) {
            return None;
        }
        let mut rules = Vec::with_capacity(draft.required_tags.len() + draft.optional_tags.len());
        for (index, tag) in draft.required_tags.iter().enumerate() {
            rules.push(self.tag_rule(&format!("spec.requiredTags[{index}]"), tag, true));
        }
        for (index, tag) in draft.optional_tags.iter().enumerate() {
            rules.push(self.tag_rule(&format!("spec.optionalTags[{index}]"), tag, false));
        }
        self.unique_keys(draft);
        let mut forbidden: Vec<_> = draft
            .forbidden_tags
            .iter()
            .enumerate()
            .map(|(index, tag)| self.forbidden(&format!("spec.forbiddenTags[{index}]"), tag, draft))
            .collect();
        forbidden.sort_by_key(|tag| tag.severity);
        let naming = draft.naming.as_ref().and_then(|naming| self.naming(naming));
        if let Some(naming) = &naming {
            self.fits_naming(draft, naming);
        }
        let exemptions = draft
            .exemptions
            .iter()
            .enumerate()
            .map(|(index, exemption)| self.exemption(&format!("spec.exemptions[{index}]"), exemption, draft))
            .collect();
        if draft.required_tags.is_empty() && draft.forbidden_tags.is_empty() {
            self.notes
                .warn("spec", "has no required and no forbidden tag, so every resource is out of its scope");
        }
        Some(Policy {
            name: draft.name.as_str().into(),
            revision: revision(draft, self.registry).into(),
            registry: Arc::clone(self.registry),
            rules: rules.into_iter().collect::<Option<_>>()?,
            forbidden: forbidden.into(),
            naming,
            exemptions,
        })
    }

    fn tag_rule(&mut self, path: &str, tag: &TagRuleDraft, required: bool) -> Option<TagRule> {
        self.key(&format!("{path}.key"), &tag.key);
        self.notes.bound(&format!("{path}.description"), &tag.description, MAX_PROSE);
        let default = ValuesDraft::default();
        let values = tag.values.as_ref().unwrap_or(&default);
        let values = self.values(&format!("{path}.values"), values, required);
        let scope = match &tag.applies_to {
            Some(scope) => self.applies_to(&format!("{path}.appliesTo"), scope),
            None => {
                Scope { types: TypeSet::all(), accounts: None, regions: Box::default(), tags: Box::default() }
            }
        };
        Some(TagRule {
            key: tag.key.as_str().into(),
            severity: tag.severity.unwrap_or(if required { Severity::High } else { Severity::Low }),
            required,
            key_case: tag.key_case,
            values: values?,
            scope,
        })
    }

    fn key(&mut self, path: &str, key: &str) {
        if key.trim().is_empty() {
            self.refuse(path, Reason::Required, "is missing; name the tag");
        } else if is_reserved(key) {
            let message = format!(
                "{} begins with `aws:`, which only AWS can set; such tags are never judged",
                quoted(key)
            );
            self.refuse(path, Reason::ReservedKey, message);
        } else {
            self.notes.bound(path, key, MAX_KEY as usize);
        }
    }

    /// No two rules for one key: which of them would hold? Keys that differ only in case are one key as soon as one of
    /// the rules ignores case.
    fn unique_keys(&mut self, draft: &PolicyDraft) {
        let mut seen: HashMap<String, Vec<(&TagRuleDraft, String)>> = HashMap::new();
        for (path, tag) in numbered("requiredTags", &draft.required_tags)
            .chain(numbered("optionalTags", &draft.optional_tags))
        {
            let namesakes = seen.entry(folded(&tag.key)).or_default();
            for (other, place) in namesakes.iter() {
                let message = if other.key == tag.key {
                    format!("{} is already the key of {place}; keep one of them", quoted(&tag.key))
                } else if other.key_case == KeyCase::Insensitive || tag.key_case == KeyCase::Insensitive {
                    format!(
                        "{} differs only in case from {} of {place}, and keyCase Insensitive makes them one key",
                        quoted(&tag.key),
                        quoted(&other.key)
                    )
                } else {
                    continue;
                };
                self.notes.refuse(format!("{path}.key"), Reason::DuplicateKey, message);
                break;
            }
            namesakes.push((tag, path));
        }
    }

    fn values(&mut self, path: &str, values: &ValuesDraft, required: bool) -> Option<ValueRule> {
        let errors = self.notes.errors.len();
        let pattern = values.regex.as_ref().and_then(|regex| {
            self.pattern(&format!("{path}.regex"), regex, values.case == ValueCase::Insensitive)
        });
        self.lengths(path, values, required);
        let allowed = values.allowed.as_deref();
        let allowed_path = format!("{path}.allowed");
        match allowed {
            Some([]) => {
                self.refuse(
                    &*allowed_path,
                    Reason::EmptyAllowed,
                    "is empty, so no value is accepted; list values or leave the field out",
                );
            }
            Some(list) if self.notes.bound_list(&allowed_path, list, MAX_ALLOWED) => {
                for (index, value) in list.iter().enumerate() {
                    self.notes.bound(&format!("{allowed_path}[{index}]"), value, MAX_VALUE as usize);
                }
            }
            _ => {}
        }
        if self.notes.errors.len() > errors {
            return None;
        }
        let rule = ValueRule::new(allowed, pattern, values.case, values.min_length, values.max_length);
        for (index, value) in allowed.unwrap_or_default().iter().enumerate() {
            let contradiction = if required && value.trim().is_empty() {
                Some("a blank value counts as missing".to_owned())
            } else {
                rule.contradiction(value)
            };
            if let Some(why) = contradiction {
                let message = format!("{} can never be accepted: {why}", quoted(value));
                self.refuse(format!("{allowed_path}[{index}]"), Reason::Conflict, message);
            }
        }
        Some(rule)
    }

    fn lengths(&mut self, path: &str, values: &ValuesDraft, required: bool) {
        for (field, length) in [("minLength", values.min_length), ("maxLength", values.max_length)] {
            if let Some(length) = length.filter(|length| *length > MAX_VALUE) {
                let message = format!("is {length}; values have 0 to {MAX_VALUE} characters");
                self.refuse(format!("{path}.{field}"), Reason::OutOfRange, message);
            }
        }
        match (values.min_length, values.max_length) {
            (Some(min), Some(max)) if min > max => {
                let message = format!("is {min}, more than maxLength {max}, so no value is accepted");
                self.refuse(format!("{path}.minLength"), Reason::Conflict, message);
            }
            (_, Some(0)) if required => {
                let message = "is 0, but a required tag without a value counts as missing";
                self.refuse(format!("{path}.maxLength"), Reason::Conflict, message);
            }
            _ => {}
        }
    }

    fn pattern(&mut self, path: &str, source: &str, ignore_case: bool) -> Option<Pattern> {
        if !self.notes.bound(path, source, MAX_PATTERN) {
            return None;
        }
        match Pattern::new(source, ignore_case) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                self.refuse(path, Reason::InvalidRegex, message);
                None
            }
        }
    }

    fn applies_to(&mut self, path: &str, scope: &AppliesToDraft) -> Scope {
        Scope {
            types: self.types(&format!("{path}.resourceTypes"), &scope.resource_types),
            accounts: scope
                .accounts
                .as_ref()
                .map(|accounts| self.accounts(&format!("{path}.accounts"), accounts)),
            regions: self.regions(&format!("{path}.regions"), &scope.regions),
            tags: self.selectors(&format!("{path}.tags"), &scope.tags),
        }
    }

    fn types(&mut self, path: &str, patterns: &[String]) -> TypeSet {
        if patterns.is_empty() || !self.notes.bound_list(path, patterns, MAX_TYPES) {
            return TypeSet::all();
        }
        let registry = Arc::clone(self.registry);
        let count = registry.ids().count();
        let mut members = vec![false; count].into_boxed_slice();
        let mut named = members.clone();
        for (index, pattern) in patterns.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let meant = registry.resolve(pattern).unwrap_or_else(|unknown| {
                self.refuse(&*path, Reason::UnknownType, unknown.to_string());
                Meant::default()
            });
            if let Some(name) = meant.renamed {
                self.notes.warn(
                    path,
                    format!("{} is a former name of {}; use that", quoted(pattern), quoted(&name)),
                );
            }
            let by_service = pattern.split_once(':').is_some_and(|(service, _)| !service.contains('*'));
            for id in meant.types {
                members[id.index()] = true;
                named[id.index()] |= by_service;
            }
        }
        let all = patterns.iter().any(|pattern| pattern == "*");
        TypeSet::of((!all).then_some(members), named)
    }

    fn accounts(&mut self, path: &str, accounts: &AccountsDraft) -> Accounts {
        let mut ids = Vec::new();
        if self.notes.bound_list(&format!("{path}.ids"), &accounts.ids, MAX_ACCOUNTS) {
            for (index, id) in accounts.ids.iter().enumerate() {
                match id.parse() {
                    Ok(id) => ids.push(id),
                    Err(error) => self.refuse(
                        format!("{path}.ids[{index}]"),
                        Reason::InvalidAccount,
                        format!("{error}"),
                    ),
                }
            }
        }
        if accounts.match_labels.len() > MAX_LABELS {
            let message =
                format!("has {} entries; at most {MAX_LABELS} are possible", accounts.match_labels.len());
            self.refuse(format!("{path}.matchLabels"), Reason::OutOfRange, message);
        }
        let expressions_path = format!("{path}.matchExpressions");
        if self.notes.bound_list(&expressions_path, &accounts.match_expressions, MAX_LABELS) {
            for (index, expression) in accounts.match_expressions.iter().enumerate() {
                let path = format!("{expressions_path}[{index}]");
                let wants_values = matches!(expression.operator, LabelOperator::In | LabelOperator::NotIn);
                if expression.key.is_empty() {
                    self.refuse(format!("{path}.key"), Reason::Required, "is missing; name the label");
                }
                if wants_values == expression.values.is_empty() {
                    let verb = if wants_values { "needs at least one value" } else { "takes no values" };
                    self.refuse(
                        format!("{path}.values"),
                        Reason::InvalidSelector,
                        format!("operator {} {verb}", expression.operator.as_str()),
                    );
                }
                self.notes.bound_list(&format!("{path}.values"), &expression.values, MAX_GLOBS);
            }
        }
        Accounts {
            ids: ids.into(),
            labels: accounts.match_labels.clone(),
            expressions: accounts
                .match_expressions
                .iter()
                .map(|expression| LabelExpression {
                    key: expression.key.clone(),
                    operator: expression.operator,
                    values: expression.values.clone().into(),
                })
                .collect(),
        }
    }

    fn regions(&mut self, path: &str, patterns: &[String]) -> Box<[Glob]> {
        if self.notes.bound_list(path, patterns, MAX_REGIONS) {
            for (index, pattern) in patterns.iter().enumerate() {
                self.region(format!("{path}[{index}]"), pattern);
            }
        }
        patterns.iter().map(|pattern| Glob::new(pattern)).collect()
    }

    fn region(&mut self, path: String, pattern: &str) {
        let quoted_pattern = quoted(pattern);
        let offer = |nearest: Option<&str>, otherwise: &str| {
            nearest.map_or_else(|| otherwise.to_owned(), |region| format!("did you mean `{region}`?"))
        };
        match look_up(pattern) {
            Written::Known => {}
            Written::Unheard(nearest) => {
                let offer = offer(nearest, "check the spelling");
                self.notes
                    .warn(path, format!("{quoted_pattern} is no region known to this version; {offer}"));
            }
            Written::Impossible(nearest) => {
                let offer = offer(nearest, "write for example `eu-west-1`, `eu-*` or `global`");
                self.refuse(path, Reason::InvalidRegion, format!("{quoted_pattern} is no region; {offer}"));
            }
        }
    }

    fn selectors(&mut self, path: &str, selectors: &[TagSelectorDraft]) -> Box<[TagSelector]> {
        if self.notes.bound_list(path, selectors, MAX_SELECTORS) {
            for (index, selector) in selectors.iter().enumerate() {
                let key_path = format!("{path}[{index}].key");
                if selector.key.is_empty() {
                    self.refuse(key_path, Reason::Required, "is missing; name the tag");
                } else {
                    self.notes.bound(&key_path, &selector.key, MAX_KEY as usize);
                }
                self.globs(&format!("{path}[{index}].values"), &selector.values, MAX_VALUE as usize);
            }
        }
        let compile = |selector: &TagSelectorDraft| TagSelector {
            key: selector.key.as_str().into(),
            values: selector.values.iter().map(|value| Glob::new(value)).collect(),
        };
        selectors.iter().map(compile).collect()
    }

    fn globs(&mut self, path: &str, patterns: &[String], max: usize) -> Box<[Glob]> {
        if self.notes.bound_list(path, patterns, MAX_GLOBS) {
            for (index, pattern) in patterns.iter().enumerate() {
                self.notes.bound(&format!("{path}[{index}]"), pattern, max);
            }
        }
        patterns.iter().map(|pattern| Glob::new(pattern)).collect()
    }

    fn forbidden(&mut self, path: &str, tag: &ForbiddenTagDraft, draft: &PolicyDraft) -> ForbiddenTag {
        let key_path = format!("{path}.key");
        self.key(&key_path, &tag.key);
        self.notes.bound(&format!("{path}.description"), &tag.description, MAX_PROSE);
        let key = Glob::new(&tag.key);
        let earlier = numbered("forbiddenTags", &draft.forbidden_tags).take_while(|(other, _)| other != path);
        if let Some((other, _)) = earlier.into_iter().find(|(_, other)| other.key == tag.key) {
            let message = format!("{} is already the key of {other}; keep one of them", quoted(&tag.key));
            self.refuse(&*key_path, Reason::DuplicateKey, message);
        }
        let required =
            numbered("requiredTags", &draft.required_tags).map(|(rule, tag)| (rule, tag, "requires"));
        let optional =
            numbered("optionalTags", &draft.optional_tags).map(|(rule, tag)| (rule, tag, "describes"));
        for (rule, wanted, verb) in required.chain(optional).filter(|(_, wanted, _)| key.matches(&wanted.key))
        {
            let message =
                format!("{} forbids {}, which {rule} {verb}", quoted(&tag.key), quoted(&wanted.key));
            self.refuse(&*key_path, Reason::Conflict, message);
        }
        ForbiddenTag { key, severity: tag.severity.unwrap_or(Severity::High) }
    }

    fn naming(&mut self, naming: &NamingDraft) -> Option<Naming> {
        let errors = self.notes.errors.len();
        let pattern = naming
            .key_pattern
            .as_ref()
            .and_then(|source| self.pattern("spec.naming.keyPattern", source, false));
        for (field, length, range) in [
            ("maxKeyLength", naming.max_key_length, 1..=MAX_KEY),
            ("maxValueLength", naming.max_value_length, 0..=MAX_VALUE),
        ] {
            if let Some(length) = length.filter(|length| !range.contains(length)) {
                let message = format!("is {length}; {} to {} is possible", range.start(), range.end());
                self.refuse(format!("spec.naming.{field}"), Reason::OutOfRange, message);
            }
        }
        (self.notes.errors.len() == errors).then(|| {
            Naming::new(
                pattern,
                naming.key_case,
                naming.allow_special_characters.unwrap_or(true),
                naming.max_key_length,
                naming.max_value_length,
            )
        })
    }

    /// A tag that the policy itself asks for must not break its own naming rules.
    fn fits_naming(&mut self, draft: &PolicyDraft, naming: &Naming) {
        for (path, tag) in numbered("requiredTags", &draft.required_tags)
            .chain(numbered("optionalTags", &draft.optional_tags))
        {
            if let Some(expected) = naming.key_breach(&tag.key) {
                let message = format!("{} breaks spec.naming, which asks for {expected}", quoted(&tag.key));
                self.refuse(format!("{path}.key"), Reason::Conflict, message);
            }
            let Some(values) = &tag.values else { continue };
            if values.min_length.is_some_and(|min| min as usize > naming.max_value()) {
                let message = format!(
                    "asks for more than the {} characters of spec.naming.maxValueLength",
                    naming.max_value()
                );
                self.refuse(format!("{path}.values.minLength"), Reason::Conflict, message);
            }
            for (index, value) in values.allowed.iter().flatten().enumerate() {
                if let Some(expected) = naming.value_breach(value) {
                    let message = format!("{} breaks spec.naming, which asks for {expected}", quoted(value));
                    self.refuse(format!("{path}.values.allowed[{index}]"), Reason::Conflict, message);
                }
            }
        }
    }

    fn exemption(&mut self, path: &str, exemption: &ExemptionDraft, draft: &PolicyDraft) -> Exemption {
        let name_path = format!("{path}.name");
        if exemption.name.trim().is_empty() {
            self.refuse(
                &*name_path,
                Reason::Required,
                "is missing; findings refer to the exemption by its name",
            );
        }
        self.notes.bound(&name_path, &exemption.name, MAX_NAME);
        let earlier = numbered("exemptions", &draft.exemptions).take_while(|(other, _)| other != path);
        if let Some((other, _)) = earlier.into_iter().find(|(_, other)| other.name == exemption.name) {
            let message =
                format!("{} is already the name of {other}; choose another", quoted(&exemption.name));
            self.refuse(name_path, Reason::DuplicateName, message);
        }
        self.notes.bound(&format!("{path}.reason"), &exemption.reason, MAX_PROSE);
        let resources_path = format!("{path}.resources");
        match (&exemption.resources, exemption.arns.is_empty()) {
            (None, true) => self.refuse(
                path,
                Reason::Required,
                "says nothing about where it holds; give arns or resources",
            ),
            (Some(_), false) => {
                self.refuse(path, Reason::Conflict, "gives both arns and resources; give one of them");
            }
            (Some(resources), true)
                if resources.types.is_empty()
                    && resources.accounts.is_none()
                    && resources.regions.is_empty()
                    && resources.tags.is_empty() =>
            {
                self.refuse(
                    &*resources_path,
                    Reason::InvalidSelector,
                    "is empty and would let everything off; give types, accounts, regions or tags",
                );
            }
            _ => {}
        }
        for (index, arn) in exemption.arns.iter().enumerate().filter(|(_, arn)| !arn.starts_with("arn:")) {
            let message = format!(
                "{} matches no ARN; write for example `arn:aws:ec2:*:123456789012:vpc/*`",
                quoted(arn)
            );
            self.notes.refuse(format!("{path}.arns[{index}]"), Reason::InvalidArn, message);
        }
        Exemption {
            name: exemption.name.as_str().into(),
            path: path.to_owned(),
            expires_at: exemption.expires_at,
            arns: self.globs(&format!("{path}.arns"), &exemption.arns, MAX_ARN),
            resources: exemption.resources.as_ref().map(|resources| Scope {
                types: self.types(&format!("{resources_path}.types"), &resources.types),
                accounts: resources
                    .accounts
                    .as_ref()
                    .map(|accounts| self.accounts(&format!("{resources_path}.accounts"), accounts)),
                regions: self.regions(&format!("{resources_path}.regions"), &resources.regions),
                tags: self.selectors(&format!("{resources_path}.tags"), &resources.tags),
            }),
            tag_keys: self.globs(&format!("{path}.tagKeys"), &exemption.tag_keys, MAX_KEY as usize),
        }
    }
}

/// The entries of a list in `spec`, each with its path.
fn numbered<'a, T>(field: &'static str, list: &'a [T]) -> impl Iterator<Item = (String, &'a T)> + use<'a, T> {
    list.iter().enumerate().map(move |(index, entry)| (format!("spec.{field}[{index}]"), entry))
}

/// Whether only AWS can set tags with this key.
pub(crate) fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}
