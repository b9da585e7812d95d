//! Lambda: functions, without their versions: tags belong to the function.

use tagwarden_core::registry::TypeId;
use tagwarden_core::resource::{Tag, Tags};

use super::join::{Single, hand_on, joined};
use super::{Page, Run, Stop};
use crate::limits::Api;
use crate::refusal::Refusal;

/// The most that AWS returns in a page.
const PAGE_SIZE: i32 = 50;

pub(super) async fn functions(run: &Run<'_>, id: TypeId) -> Result<(), Stop> {
    joined(run, Single::Function, |listed| async move {
        let ask = |marker: Option<String>| async move {
            let sent = run.clients.lambda().list_functions().max_items(PAGE_SIZE).set_marker(marker).send();
            let output = run.call(Api::Lambda, "lambda:ListFunctions", sent).await?;
            let functions = output.functions.unwrap_or_default().into_iter();
            let items = functions
                .filter_map(|function| {
                    let (arn, name) = (function.function_arn?, function.function_name?);
                    Some(run.resource_with_arn(id, arn, name, Tags::Unread))
                })
                .collect();
            Ok(Page { items, next: output.next_marker })
        };
        run.pages(ask, |page| hand_on(&listed, page)).await
    })
    .await
}

/// `None` for a function that was deleted meanwhile.
pub(super) async fn function_tags(run: &Run<'_>, arn: &str) -> Result<Option<Vec<Tag>>, Refusal> {
    let sent = run.clients.lambda().list_tags().resource(arn).send();
    let output = run.unless_gone(Api::Lambda, "lambda:ListTags", "ResourceNotFoundException", sent).await?;
    let tags = output.map(|output| output.tags.unwrap_or_default().into_iter());
    Ok(tags.map(|tags| tags.map(|(key, value)| Tag { key, value }).collect()))
}
