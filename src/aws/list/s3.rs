//! S3: the buckets at home in a region.

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::{Tag, Tags};

use super::join::{Single, hand_on, joined};
use super::{Page, Run, Stop};
use crate::limits::Api;
use crate::refusal::Refusal;

/// Asked of the region's own endpoint for the buckets of that region, so that none is counted twice. The page size
/// is AWS's to choose (10,000): simulators that are told one drop the rest.
pub(super) async fn buckets(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    joined(run, Single::Bucket, |listed| async move {
        let ask = |token: Option<String>| async move {
            let request = run.clients.s3().list_buckets().bucket_region(&*run.region);
            let sent = request.set_continuation_token(token).send();
            let output = run.call(Api::S3, "s3:ListAllMyBuckets", sent).await?;
            let buckets = output.buckets.unwrap_or_default().into_iter();
            let items = buckets
                .filter(|bucket| bucket.bucket_region.as_deref().is_none_or(|home| home == &*run.region))
                .filter_map(|bucket| run.resource(id, bucket.name?, Tags::Unread))
                .collect();
            Ok(Page { items, next: output.continuation_token })
        };
        run.pages(ask, |page| hand_on(&listed, page)).await
    })
    .await
}

/// A bucket without tags is an error to S3; one that was deleted meanwhile is none to us.
pub(super) async fn bucket_tags(run: &Run<'_>, bucket: &str) -> Result<Option<Vec<Tag>>, Refusal> {
    let sent = run.clients.s3().get_bucket_tagging().bucket(bucket).expected_bucket_owner(run.owner()).send();
    let answer = run.attempt(Api::S3, sent).await;
    match answer {
        Ok(output) => {
            Ok(Some(output.tag_set.into_iter().map(|tag| Tag { key: tag.key, value: tag.value }).collect()))
        }
        Err(error) => match error.code() {
            Some("NoSuchTagSet") => Ok(Some(Vec::new())),
            Some("NoSuchBucket") => Ok(None),
            _ => Err(run.refusal("s3:GetBucketTagging", &error)),
        },
    }
}
