//! The reference pages that are made from code, so that neither can say something that the other does not.

mod api;
mod conditions;

pub use api::page as api;
pub use conditions::page as conditions;

/// A text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
