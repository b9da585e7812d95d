//! A resource as a scan sees it: identity and tags, nothing else.

use std::sync::Arc;

use crate::registry::TypeId;

/// The name under which resources without a home region are filed (IAM, Route 53, `CloudFront`).
pub const GLOBAL: &str = "global";

/// One tag as the cloud gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Case-sensitive, never empty.
    pub key: String,
    /// May be empty.
    pub value: String,
}

/// The tags of a resource, or the fact that they could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// All of them, system tags (`aws:…`) included.
    Read(Vec<Tag>),
    /// The resource exists, but its tags could not be read; it is counted as unknown, never as untagged.
    Unread,
}

/// One resource of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The full ARN; the identity everywhere.
    pub arn: String,
    /// What people call it: the instance id, the bucket name, the function name.
    pub id: String,
    /// Its row in the registry.
    pub type_id: TypeId,
    /// The home region, or [`GLOBAL`].
    pub region: Arc<str>,
    /// Its tags.
    pub tags: Tags,
}
