//! Tagging policies: from what people write to what a judge can apply.

mod draft;

pub use draft::{
    AccountsDraft, AppliesToDraft, ExemptionDraft, ForbiddenTagDraft, KeyCase, LabelExpressionDraft,
    LabelOperator, NameCase, NamingDraft, PolicyDraft, ResourcesDraft, TagRuleDraft, TagSelectorDraft,
    ValueCase, ValuesDraft, fallback,
};
