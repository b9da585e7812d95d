//! One row of the registry file, and whether it makes sense by itself.

use std::sync::Arc;

use serde::Deserialize;

use super::template::{ArnTemplate, TemplateError};

/// How the universe of a type is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListedBy {
    /// A paginated call of the service itself: never-tagged resources are seen.
    Native,
    /// The tagging API: only resources that carry, or once carried, a tag are seen.
    TaggingApi,
    /// Nothing yet: the type is known, and cannot be scanned.
    Nothing,
}

/// Where the tags of a type come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TagsFrom {
    /// The listing itself.
    Listing,
    /// The tagging API, a hundred ARNs a call, joined on ARN.
    TaggingApi,
    /// Nowhere yet.
    Nothing,
}

/// One resource type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeRow {
    /// `service:type`, the name used in policies and results.
    pub name: Arc<str>,
    /// For people: compute, storage, database …
    pub category: String,
    /// Free types are scanned only when a rule or the request names them.
    #[serde(default)]
    pub free: bool,
    /// Global types are listed once for an account, under the region `global`.
    #[serde(default)]
    pub global: bool,
    /// The ARN with `{partition}`, `{region}`, `{account}` and one or more `{…}` for the id.
    pub arn: String,
    /// Other shapes of its ARN: read, never written.
    #[serde(default)]
    pub also_arns: Vec<String>,
    /// How its universe is obtained.
    pub listed_by: ListedBy,
    /// Where its tags come from.
    pub tags_from: TagsFrom,
    /// Its filter in the tagging API, where that knows it.
    #[serde(default)]
    pub tagging_filter: Option<String>,
    /// The service under which Cost Explorer bills it; absent where it costs nothing.
    #[serde(default)]
    pub cost_service: Option<String>,
    /// The IAM actions needed to list it and to read its tags.
    pub actions: Vec<String>,
    /// Its `CloudFormation` type.
    #[serde(default)]
    pub cloud_formation: Option<String>,
    /// Former names, accepted with a warning.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// What is wrong with a field of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Not a type name.
    #[error("is not `service:type` in lower case letters, digits and `-`; write for example `ec2:instance`")]
    Name,
    /// Longer than anything of its kind, or empty.
    #[error("must have 1 to {MAX_TEXT} characters")]
    Length,
    /// Not an ARN template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A region in the ARN of a global type.
    #[error("has `{{region}}`, but the type is global; remove one of the two")]
    GlobalWithRegion,
    /// Another type's ARNs look the same.
    #[error("is also the shape of the ARNs of {0}; an ARN must tell its type")]
    SameArn(Arc<str>),
    /// A filter that AWS would answer with nothing.
    #[error("does not fit the ARN `{0}`: write its service, or `service:type` as its resource begins")]
    Filter(String),
    /// A listing without the filter that it needs.
    #[error("needs a `taggingFilter`")]
    NoFilter,
    /// Tags that cannot come from there.
    #[error("does not go with `listedBy: {0}`; write `tagsFrom: {1}`")]
    TagsFrom(&'static str, &'static str),
    /// A native listing that no code provides.
    #[error("is not possible for {0}, the call is not part of this program; write `taggingApi` or `nothing`")]
    NotNative(Arc<str>),
    /// A native listing whose tags would come from elsewhere than the code takes them.
    #[error("must stay `{0}` while the type is listed natively")]
    NativeTags(&'static str),
    /// Not an IAM action.
    #[error("is not an IAM action of the form `service:Action`, for example `ec2:DescribeInstances`")]
    Action,
    /// Reading tags in bulk without being allowed to.
    #[error("must contain `{TAGGING_ACTION}`, because the tagging API is asked")]
    NoTaggingAction,
    /// Not a `CloudFormation` type.
    #[error("is not a CloudFormation type such as `AWS::EC2::Instance`")]
    CloudFormation,
    /// A former name that is in use.
    #[error("is already a name or an alias of {0}")]
    AliasTaken(Arc<str>),
}

/// A problem with its field, such as `alsoArns[1]`, and the value found there.
pub(super) type Complaint = (String, String, FieldProblem);

/// The action that every question to the tagging API needs.
const TAGGING_ACTION: &str = "tag:GetResources";

/// The longest text of a field, in characters.
const MAX_TEXT: usize = 256;

impl ListedBy {
    /// As it is written in the registry file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::TaggingApi => "taggingApi",
            Self::Nothing => "nothing",
        }
    }
}

impl TagsFrom {
    /// As it is written in the registry file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::TaggingApi => "taggingApi",
            Self::Nothing => "nothing",
        }
    }
}

impl TypeRow {
    /// Its ARN templates, the one to write with first. Refuses a row that contradicts itself.
    pub(super) fn check(&self) -> Result<Vec<ArnTemplate>, Complaint> {
        self.check_texts()?;
        let templates = self.templates()?;
        self.check_filter(&templates)?;
        self.check_sources()?;
        self.check_actions()?;
        Ok(templates)
    }

    fn check_texts(&self) -> Result<(), Complaint> {
        if !is_type_name(&self.name) {
            return complain("name", &self.name, FieldProblem::Name);
        }
        let cloud_formation = self.cloud_formation.as_deref();
        let texts = [
            ("category", Some(&*self.category)),
            ("costService", self.cost_service.as_deref()),
            ("cloudFormation", cloud_formation),
        ];
        for (field, text) in texts {
            if let Some(text) = text
                && (text.is_empty() || text.chars().count() > MAX_TEXT)
            {
                return complain(field, text, FieldProblem::Length);
            }
        }
        if let Some(text) = cloud_formation
            && !is_cloud_formation(text)
        {
            return complain("cloudFormation", text, FieldProblem::CloudFormation);
        }
        for (index, alias) in self.aliases.iter().enumerate() {
            if !is_type_name(&alias.to_ascii_lowercase()) {
                return complain(&format!("aliases[{index}]"), alias, FieldProblem::Name);
            }
        }
        Ok(())
    }

    fn templates(&self) -> Result<Vec<ArnTemplate>, Complaint> {
        let others =
            self.also_arns.iter().enumerate().map(|(index, text)| (format!("alsoArns[{index}]"), text));
        let mut templates = Vec::with_capacity(1 + self.also_arns.len());
        for (field, text) in std::iter::once(("arn".to_owned(), &self.arn)).chain(others) {
            if text.chars().count() > MAX_TEXT {
                return complain(&field, text, FieldProblem::Length);
            }
            let template = match ArnTemplate::parse(text) {
                Ok(template) => template,
                Err(error) => return complain(&field, text, error.into()),
            };
            if self.global && template.has_region() {
                return complain(&field, text, FieldProblem::GlobalWithRegion);
            }
            templates.push(template);
        }
        Ok(templates)
    }

    /// AWS answers a wrong filter with nothing, which would look like a clean account.
    fn check_filter(&self, templates: &[ArnTemplate]) -> Result<(), Complaint> {
        let Some(filter) = &self.tagging_filter else { return Ok(()) };
        let (service, kind) =
            filter.split_once(':').map_or((&**filter, None), |(service, kind)| (service, Some(kind)));
        let fits = |template: &ArnTemplate| {
            let resource = template.resource_prefix().trim_start_matches('/');
            let kind_fits = kind.is_none_or(|kind| {
                !kind.is_empty()
                    && resource.strip_prefix(kind).is_some_and(|rest| rest.starts_with(['/', ':']))
            });
            template.service() == service && kind_fits
        };
        if templates.iter().all(fits) {
            return Ok(());
        }
        complain("taggingFilter", filter, FieldProblem::Filter(self.arn.clone()))
    }

    fn check_sources(&self) -> Result<(), Complaint> {
        let expected = match (self.listed_by, self.tags_from) {
            (ListedBy::TaggingApi, from) if from != TagsFrom::TaggingApi => Some(TagsFrom::TaggingApi),
            (ListedBy::Nothing, from) if from != TagsFrom::Nothing => Some(TagsFrom::Nothing),
            (ListedBy::Native, TagsFrom::Nothing) => Some(TagsFrom::Listing),
            _ => None,
        };
        if let Some(expected) = expected {
            let problem = FieldProblem::TagsFrom(self.listed_by.as_str(), expected.as_str());
            return complain("tagsFrom", self.tags_from.as_str(), problem);
        }
        if self.tags_from == TagsFrom::TaggingApi && self.tagging_filter.is_none() {
            return complain("tagsFrom", self.tags_from.as_str(), FieldProblem::NoFilter);
        }
        Ok(())
    }

    fn check_actions(&self) -> Result<(), Complaint> {
        for (index, action) in self.actions.iter().enumerate() {
            if !is_action(action) {
                return complain(&format!("actions[{index}]"), action, FieldProblem::Action);
            }
        }
        let asks = self.tags_from == TagsFrom::TaggingApi;
        if asks && !self.actions.iter().any(|action| action == TAGGING_ACTION) {
            return complain("actions", &self.actions.join(", "), FieldProblem::NoTaggingAction);
        }
        Ok(())
    }
}

pub(super) fn complain<T>(field: &str, value: &str, problem: FieldProblem) -> Result<T, Complaint> {
    Err((field.to_owned(), value.chars().take(MAX_TEXT).collect(), problem))
}

/// Whether this could be the name of a type.
fn is_type_name(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    text.len() <= MAX_TEXT
        && text.split_once(':').is_some_and(|(service, kind)| is_word(service) && is_word(kind))
}

fn is_action(text: &str) -> bool {
    text.len() <= MAX_TEXT
        && text.split_once(':').is_some_and(|(service, action)| {
            !service.is_empty()
                && service.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && action.starts_with(|first: char| first.is_ascii_uppercase())
                && action.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

fn is_cloud_formation(text: &str) -> bool {
    let mut words = text.split("::");
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    words.clone().count() == 3 && words.all(is_word)
}
