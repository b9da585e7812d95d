//! `find_untagged_resources`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::ports::FindingQuery;
use tagwarden_app::ask::{AskError, CheckRequest};
use tagwarden_core::finding::{FindingKind, ViolationType};

use super::waiting;
use crate::page::{self, Cursor, Room};
use crate::parts::{RunOut, clean, request};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct FindUntaggedResources;

/// Findings read for one page: a resource has several.
const FINDINGS: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Names or ids; default: all.
    #[serde(default)]
    accounts: Vec<String>,
    /// Default: all enabled.
    #[serde(default)]
    regions: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
    /// Look at the cloud now.
    #[serde(default)]
    force_refresh: bool,
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
}

impl Input {
    fn request(&self) -> CheckRequest {
        request(self.policy.as_ref(), &self.resource_types, &self.accounts, &self.regions, None)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    run: RunOut,
    /// Resources that lack a required tag, in all.
    total_untagged: u64,
    resources: Vec<Untagged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Untagged {
    resource_id: String,
    resource_type: String,
    account_id: String,
    region: String,
    arn: String,
    missing_required_tags: Vec<String>,
}

impl Tool for FindUntaggedResources {
    const NAME: &'static str = "find_untagged_resources";
    const TITLE: &'static str = "Find untagged resources";
    const ABOUT: &'static str = "Lists resources that lack required tags, with the tags they lack. A tag that is there with a wrong value is \
         not missing: check_tag_compliance shows those. Answers from a recent run where one covers the question.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let cursor = input.cursor.as_deref().map(Cursor::parse).transpose()?;
        let answer = waiting::checked(call, &input.request(), input.force_refresh, cursor.as_ref()).await?;
        let mut output = Output {
            run: RunOut::answering(&answer, &call.ask),
            total_untagged: 0,
            resources: Vec::new(),
            next_cursor: None,
        };
        if answer.reading.is_none() {
            return Ok(output);
        }
        let query = FindingQuery {
            kind: Some(FindingKind::Violation),
            violation_type: Some(ViolationType::MissingRequiredTag),
            ..answer.narrowing.findings()
        };
        let run_id = &answer.run.run_id;
        output.total_untagged = call.ask.count(&call.who, run_id, &query).await?.resources;
        let after = cursor.map(|cursor| cursor.after);
        let found = call.ask.findings(&call.who, run_id, &query, after, FINDINGS).await?;
        let (mut groups, mut ends): (Vec<Untagged>, Vec<u64>) = (Vec::new(), Vec::new());
        for (place, row) in &found.findings {
            let key = clean(&row.finding.tag_key, 128);
            match (groups.last_mut(), ends.last_mut()) {
                (Some(last), Some(end)) if last.arn == row.arn => {
                    last.missing_required_tags.push(key);
                    *end = *place;
                }
                _ => {
                    groups.push(Untagged {
                        resource_id: clean(&row.resource_id, 512),
                        resource_type: row.resource_type.to_string(),
                        account_id: row.account_id.to_string(),
                        region: row.region.to_string(),
                        arn: clean(&row.arn, 2048),
                        missing_required_tags: vec![key],
                    });
                    ends.push(*place);
                }
            }
        }
        // What the page cut may be half of a resource.
        if found.next.is_some() && groups.len() > 1 {
            groups.pop();
            ends.pop();
        }
        let (limit, whole) = (page::limit(input.limit), groups.len());
        let mut room = Room::new(call.room);
        for group in groups.into_iter().take(limit) {
            if !room.takes(&group) && !output.resources.is_empty() {
                break;
            }
            output.resources.push(group);
        }
        let shown = output.resources.len();
        let more = found.next.is_some() || shown < whole;
        output.next_cursor = ends
            .get(shown.wrapping_sub(1))
            .filter(|_| more)
            .map(|after| Cursor { run_id: run_id.clone(), after: *after }.text());
        Ok(output)
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        waiting::rehearsed(call, &input.request(), input.force_refresh).await
    }
}
