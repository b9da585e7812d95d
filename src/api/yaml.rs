//! A policy as a manifest that people read and keep: fields in a fixed order, defaults left out.

use serde::Serialize;

use crate::policy::{TaggingPolicy, TaggingPolicySpec};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: &'a TaggingPolicySpec,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

/// A policy that cannot be written as YAML; none is known.
#[derive(Debug, thiserror::Error)]
#[error("the policy cannot be written as YAML")]
pub struct NotWritable(#[from] serde_saphyr::SerializeError);

/// The manifest of a policy. Read again, it is the same policy; labels and annotations are not written.
pub fn to_yaml(policy: &TaggingPolicy) -> Result<String, NotWritable> {
    let metadata = Metadata {
        name: policy.metadata.name.as_deref().unwrap_or_default(),
        namespace: policy.metadata.namespace.as_deref(),
    };
    let document =
        Document { api_version: crate::API_VERSION, kind: "TaggingPolicy", metadata, spec: &policy.spec };
    let options = serde_saphyr::ser_options! { compact_list_indent: false, prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&document, options)?)
}
