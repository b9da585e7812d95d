//! The registry as a document.

use std::fmt::Write as _;

use super::{ListedBy, Registry, TagsFrom, TypeRow};

const HEAD: &str = "\
# Resource types

<!-- Written from config/resource-types.yaml by a test; change that file, not this one. -->

The types that Tagwarden knows, in the order of its results. A file of your own can add types or replace
them: the comments in `config/resource-types.yaml` say how.

- **Scope**: a scan without named types looks at every type that costs something, and at the *free* ones that a
  rule of the policy names.
- **Region**: *global* types are listed once for an account, under the region `global`.
- **Listed by**: *service* is a paginated call of the service itself, which sees every resource. *Tagging API* sees
  only resources that have, or once had, a tag; such a result is marked `tagged_only`. Types listed by *nothing* are
  known by name, and reported as `unsupported` when they are in scope.
- **IAM actions**: all that is needed to list the type and to read its tags; `tagwarden iam-policy` prints the policy.

";

/// The table of all types, as Markdown.
pub fn markdown(registry: &Registry) -> String {
    let mut page = String::from(HEAD);
    let free = registry.len() - registry.cost_generating().count();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{} types, {free} of them free.\n", registry.len());
    page.push_str(
        "| Type | Category | Scope | Region | Listed by | Tags from | Cost Explorer service | IAM actions | CloudFormation |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for id in registry.ids() {
        line(&mut page, registry.row(id));
    }
    page
}

fn line(page: &mut String, row: &TypeRow) {
    let scope = if row.free { "free" } else { "default" };
    let region = if row.global { "global" } else { "regional" };
    let listed_by = match row.listed_by {
        ListedBy::Native => "service",
        ListedBy::TaggingApi => "tagging API",
        ListedBy::Nothing => "nothing",
    };
    let tags_from = match row.tags_from {
        TagsFrom::Listing => "the listing",
        TagsFrom::TaggingApi => "tagging API",
        TagsFrom::Nothing => "–",
    };
    let cost = row.cost_service.as_deref().unwrap_or("–");
    let actions: Vec<String> = row.actions.iter().map(|action| format!("`{action}`")).collect();
    let actions = if actions.is_empty() { "–".to_owned() } else { actions.join(" ") };
    let cloud_formation = row.cloud_formation.as_deref().unwrap_or("–");
    let _ = writeln!(
        page,
        "| `{}` | {} | {scope} | {region} | {listed_by} | {tags_from} | {cost} | {actions} | {cloud_formation} |",
        row.name, row.category
    );
}
