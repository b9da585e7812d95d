//! Tags that a listing does not bring along: asked of the tagging API by ARN, a hundred at a time, while the listing
//! goes on.
//!
//! An ARN that is absent from an answer read to its end has no tags. An answer that was not read to its end says
//! nothing: its resources are sent with their tags unread. Where the tagging API may not be used at all, the
//! service is asked for the tags of each resource.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use tagwarden_app::ports::PageSender;
use tagwarden_core::resource::{Resource, Tag, Tags};
use tokio::sync::mpsc;

use super::{Run, Stop, ecs, lambda, s3};
use crate::limits::Api;
use crate::refusal::{Kind, Refusal};

/// The most that AWS takes in a call.
const ARNS_MAX: usize = 100;
/// Calls under way for one listing. They hide the latency; the token bucket sets the pace.
const JOINS_MAX: usize = 4;
/// Resources asked one by one at the same time.
const SINGLES_MAX: usize = 8;
/// After so many denials without one success it is the role that lacks the permission, not single resources that
/// refuse: the rest is not asked.
const DENIALS_MAX: u32 = 10;

/// How the service itself is asked for the tags of one resource.
#[derive(Debug, Clone, Copy)]
pub(super) enum Single {
    Bucket,
    Function,
    TaskDefinition,
}

impl Single {
    /// `None`: the resource has gone meanwhile.
    async fn tags(self, run: &Run<'_>, resource: &Resource) -> Result<Option<Vec<Tag>>, Refusal> {
        match self {
            Self::Bucket => s3::bucket_tags(run, &resource.id).await,
            Self::Function => lambda::function_tags(run, &resource.arn).await,
            Self::TaskDefinition => ecs::task_definition_tags(run, &resource.arn).await,
        }
    }
}

/// Sends what `listing` lists, with its tags.
pub(super) async fn joined<Listing>(
    run: &Run<'_>,
    single: Single,
    listing: impl FnOnce(PageSender) -> Listing,
) -> Result<(), Stop>
where
    Listing: Future<Output = Result<(), Stop>>,
{
    let (sender, listed) = mpsc::channel(1);
    let join = Join { run, single, bulk_refused: OnceLock::new(), denials: AtomicU32::new(0) };
    let (joining, listing) = tokio::join!(Box::pin(join.all(listed)), Box::pin(listing(sender)));
    // A listing that lost its reader only says so; the reader knows why.
    joining.and(listing)
}

/// Hands a page from a listing on to its join.
pub(super) async fn hand_on(join: &PageSender, page: Vec<Resource>) -> Result<(), Stop> {
    join.send(page).await.map_err(|_| Stop::Closed)
}

struct Join<'a> {
    run: &'a Run<'a>,
    single: Single,
    /// Why the tagging API is not asked any more.
    bulk_refused: OnceLock<Refusal>,
    /// Denials of single calls so far; reset for good by the first success, by becoming `u32::MAX`.
    denials: AtomicU32,
}

impl Join<'_> {
    async fn all(&self, mut listed: mpsc::Receiver<Vec<Resource>>) -> Result<(), Stop> {
        let mut waiting: Vec<Resource> = Vec::new();
        let mut joins = FuturesUnordered::new();
        let mut open = true;
        loop {
            while joins.len() < JOINS_MAX && (waiting.len() >= ARNS_MAX || !open && !waiting.is_empty()) {
                let rest = waiting.split_off(waiting.len().min(ARNS_MAX));
                joins.push(self.chunk(std::mem::replace(&mut waiting, rest)));
            }
            if !open && joins.is_empty() {
                return Ok(());
            }
            tokio::select! {
                page = listed.recv(), if open && waiting.len() < ARNS_MAX => match page {
                    Some(page) => waiting.extend(page),
                    None => open = false,
                },
                Some(chunk) = joins.next() => self.run.send(chunk?).await?,
            }
        }
    }

    /// At most [`ARNS_MAX`] resources, with their tags.
    async fn chunk(&self, mut resources: Vec<Resource>) -> Result<Vec<Resource>, Refusal> {
        if self.bulk_refused.get().is_none() {
            match self.bulk(&resources).await {
                Ok(mut tags) => {
                    for resource in &mut resources {
                        resource.tags = Tags::Read(tags.remove(&resource.arn).unwrap_or_default());
                    }
                    return Ok(resources);
                }
                Err(refusal) if matches!(refusal.kind, Kind::Expired | Kind::StaleToken) => {
                    return Err(refusal);
                }
                Err(refusal) if matches!(refusal.kind, Kind::Denied | Kind::Unsupported) => {
                    // Several chunks may learn it at once; the first reason stays.
                    let _ = self.bulk_refused.set(refusal);
                }
                Err(refusal) => {
                    self.run.note(refusal.gap());
                    return Ok(unread(resources));
                }
            }
        }
        self.one_by_one(resources).await
    }

    async fn bulk(&self, resources: &[Resource]) -> Result<HashMap<String, Vec<Tag>>, Refusal> {
        let run = self.run;
        let arns: Vec<String> = resources.iter().map(|resource| resource.arn.clone()).collect();
        let mut found: HashMap<String, Vec<Tag>> = HashMap::with_capacity(arns.len());
        let mut token: Option<String> = None;
        loop {
            let request = run.clients.tagging().get_resources().set_resource_arn_list(Some(arns.clone()));
            let sent = request.set_pagination_token(token.clone()).send();
            let output = run.call(Api::Tagging, "tag:GetResources", sent).await?;
            for mapping in output.resource_tag_mapping_list.unwrap_or_default() {
                let tags = mapping.tags.unwrap_or_default().into_iter();
                let tags = tags.map(|tag| Tag { key: tag.key, value: tag.value });
                found.entry(mapping.resource_arn.unwrap_or_default()).or_default().extend(tags);
            }
            // AWS answers a list of ARNs in one page; others do not.
            match output.pagination_token.filter(|next| !next.is_empty()) {
                None => return Ok(found),
                next if next == token => {
                    return Err(Refusal::new(
                        Kind::Failed,
                        "tag:GetResources answered the same page token twice",
                    ));
                }
                next => token = next,
            }
        }
    }

    async fn one_by_one(&self, resources: Vec<Resource>) -> Result<Vec<Resource>, Refusal> {
        let asked: Vec<_> = resources.into_iter().map(|resource| self.one(resource)).collect();
        let mut answered = pin!(stream::iter(asked).buffer_unordered(SINGLES_MAX));
        let mut resources = Vec::new();
        while let Some(resource) = answered.next().await {
            resources.extend(resource?);
            // A sign of life: a hundred of these take seconds. Where nobody listens the next page finds out.
            let _ = self.run.pages.try_send(Vec::new());
        }
        Ok(resources)
    }

    async fn one(&self, mut resource: Resource) -> Result<Option<Resource>, Refusal> {
        let denials = self.denials.load(Ordering::Relaxed);
        if (DENIALS_MAX..u32::MAX).contains(&denials) {
            resource.tags = Tags::Unread;
            return Ok(Some(resource));
        }
        resource.tags = match self.single.tags(self.run, &resource).await {
            Ok(None) => return Ok(None),
            Ok(Some(tags)) => {
                self.denials.store(u32::MAX, Ordering::Relaxed);
                Tags::Read(tags)
            }
            Err(refusal) if refusal.kind == Kind::Expired => return Err(refusal),
            Err(refusal) => {
                if refusal.kind == Kind::Denied {
                    let next = |seen: u32| (seen < DENIALS_MAX).then_some(seen + 1);
                    // A failed update means that nothing is counted any more.
                    let _ = self.denials.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
                }
                self.run.note(self.explain(refusal).gap());
                Tags::Unread
            }
        };
        Ok(Some(resource))
    }

    /// The bulk permission is the one to ask for first; the single one comes second.
    fn explain(&self, single: Refusal) -> Refusal {
        match self.bulk_refused.get() {
            Some(bulk) => Refusal::new(single.kind, format!("{}; one by one: {}", bulk.cause, single.cause)),
            None => single,
        }
    }
}

fn unread(mut resources: Vec<Resource>) -> Vec<Resource> {
    for resource in &mut resources {
        resource.tags = Tags::Unread;
    }
    resources
}
