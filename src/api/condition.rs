//! Every condition and every reason that a status can have, with what it means and what to do about it.
//!
//! `docs/reference/conditions.md` is made from [`CONDITIONS`] and [`REASONS`]. A reason is part of the API: people
//! write alerts on it.

// The meanings are read by people at a terminal and on a page.
#![allow(clippy::doc_markdown)]

/// A condition of a kind.
#[derive(Debug, Clone, Copy)]
pub struct ConditionType {
    /// Its type.
    pub name: &'static str,
    /// The kinds that have it.
    pub kinds: &'static [&'static str],
    /// What True and False mean.
    pub meaning: &'static str,
}

/// A reason of a condition.
#[derive(Debug, Clone, Copy)]
pub struct Reason {
    /// The word.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What people can do about it; empty when nothing is to be done.
    pub remedy: &'static str,
}

macro_rules! conditions {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal in $kinds:expr, $meaning:literal;)+) => {
        $($(#[doc = $doc])+ pub const $constant: &str = $name;)+

        /// All conditions.
        pub const CONDITIONS: &[ConditionType] =
            &[$(ConditionType { name: $name, kinds: $kinds, meaning: $meaning },)+];
    };
}

macro_rules! reasons {
    ($($constant:ident = $name:literal, $meaning:literal, $remedy:literal;)+) => {
        /// The words.
        pub mod reason {
            $(#[doc = $meaning] pub const $constant: &str = $name;)+
        }

        /// All reasons.
        pub const REASONS: &[Reason] = &[$(Reason { name: $name, meaning: $meaning, remedy: $remedy },)+];
    };
}

const ALL: &[&str] = &["ClientAccount", "ComplianceAudit", "TaggingPolicy"];
const ACCOUNT: &[&str] = &["ClientAccount"];
const AUDIT: &[&str] = &["ComplianceAudit", "ComplianceReport"];
const POLICY: &[&str] = &["TaggingPolicy"];

conditions! {
    /// Whether the work succeeds. Violations do not change it.
    READY = "Ready" in &["ClientAccount", "ComplianceAudit", "ComplianceReport", "TaggingPolicy"],
        "Whether the work succeeds: the policy can be used, the account can be read, the last run brought a result. Violations do not change it.";
    /// Work is under way, or about to be tried again. Present only while True.
    RECONCILING = "Reconciling" in ALL, "Work is under way, or is about to be tried again. Present only while True.";
    /// Nothing will change until somebody changes something. Present only while True.
    STALLED = "Stalled" in ALL, "Nothing will change until somebody changes the object or what it refers to. Present only while True.";
    /// Whether the spec makes sense.
    VALID = "Valid" in POLICY, "Whether the spec makes sense. While it does not, the last revision that did stays in force.";
    /// Whether the role can be assumed.
    ASSUMABLE = "Assumable" in ACCOUNT, "Whether the account can be entered: the role can be assumed, or the ambient credentials belong to it.";
    /// Whether the role may read what a scan reads.
    PERMISSIONS_VERIFIED = "PermissionsVerified" in ACCOUNT, "Whether the role may read what a scan reads. status.missingPermissions names what it may not.";
    /// Two objects name one account. Present only while True.
    CONFLICT = "Conflict" in ACCOUNT, "Another ClientAccount names the same account, and comes before this one: the account lets it in, or, as long as it lets neither in, it is older. Present only while True.";
    /// The role can be assumed without the external id. Present only while True.
    UNSAFE = "Unsafe" in ACCOUNT, "The role can be assumed without the external id, so anybody who may assume roles through Tagwarden could enter the account. Present only while True.";
    /// What the last run found.
    COMPLIANT = "Compliant" in AUDIT, "What the last run found. Unknown while nothing was found out, or when something could not be seen and nothing that could be seen breaks the policy.";
}

reasons! {
    SUCCEEDED = "Succeeded", "The work was done.", "";
    FAILED = "Failed", "The work failed for a reason of no other name.", "Read the message.";
    PROGRESSING = "Progressing", "The work is under way.", "";
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry", "The work failed, and is tried again.", "Read the message; if it stays, look at the log.";
    SUSPENDED = "Suspended", "spec.suspend is true.", "Set it to false when work is to go on.";
    DEPENDENCY_NOT_READY = "DependencyNotReady", "Something that the object refers to does not exist or is not ready.", "Create or mend what the message names; nothing else is needed.";
    FORBIDDEN = "Forbidden", "The API server does not let Tagwarden do what it has to do.", "Let its service account do what the message names, as the rules of the Helm chart do; it is tried again by itself.";
    INVALID_SPEC = "InvalidSpec", "The spec cannot be acted upon.", "Correct the field that the message names.";
    PARTIAL = "Partial", "The run succeeded, and could not see everything in scope.", "The ComplianceReport names each gap and its cause.";
    NO_RUN_YET = "NoRunYet", "No run has ended yet.", "";
    NO_ACCOUNTS = "NoAccounts", "spec.accounts selects no ClientAccount.", "Create one, or correct names or labels.";
    NO_USABLE_ACCOUNT = "NoUsableAccount", "None of the accounts could be entered.", "Look at the conditions of the ClientAccounts.";
    TIMED_OUT = "TimedOut", "The run took longer than spec.timeout.", "Raise the timeout, or look at fewer regions or types.";
    TOO_MANY_RESOURCES = "TooManyResources", "The run met more resources than spec.resources.maxResources.", "Raise the bound, or split the audit.";
    CANCELLED = "Cancelled", "The run was stopped.", "";
    INVALID_SCHEDULE = "InvalidSchedule", "spec.schedule cannot be understood, or never comes due.", "Correct it; the message shows where.";
    INVALID_TIME_ZONE = "InvalidTimeZone", "spec.timeZone names no zone of the IANA database.", "Use a name like Europe/Paris.";
    INVALID_DURATION = "InvalidDuration", "A duration cannot be understood.", "Use a form like 90s, 5m or 1h30m.";
    COMPLIANT = "Compliant", "Everything in scope was seen, and spec.compliantWhen holds.", "";
    VIOLATIONS_FOUND = "ViolationsFound", "There are violations.", "The ComplianceReport lists the most severe ones.";
    SCORE_TOO_LOW = "ScoreTooLow", "The score is under spec.compliantWhen.minScore.", "The ComplianceReport lists the most severe violations.";
    TOO_MANY_VIOLATIONS = "TooManyViolations", "A severity has more violations than spec.compliantWhen.maxBySeverity allows.", "The ComplianceReport lists the most severe violations.";
    INCOMPLETE = "Incomplete", "Nothing that was seen breaks the policy, and not everything was seen.", "Close the gaps that the ComplianceReport names.";
    NOTHING_JUDGED = "NothingJudged", "No resource was in scope of the policy.", "Check the accounts, the types and what the policy applies to.";
    VALID = "Valid", "The spec makes sense.", "";
    RULE_CONFLICT = "Conflict", "Rules that cannot all be kept, or a rule that nothing can satisfy.", "Correct the field that the message names.";
    DUPLICATE_KEY = "DuplicateKey", "The same tag key stands twice.", "Remove one.";
    DUPLICATE_NAME = "DuplicateName", "Two exemptions have one name.", "Rename one.";
    EMPTY_ALLOWED = "EmptyAllowed", "A list of allowed values has no value.", "Add values, or leave out the list.";
    INVALID_ACCOUNT = "InvalidAccount", "Not an account id.", "An account id has 12 digits; put it in quotes.";
    INVALID_ARN = "InvalidArn", "A pattern that no ARN matches.", "Correct it.";
    INVALID_REGEX = "InvalidRegex", "A regular expression cannot be used.", "The message shows where; lookaround and backreferences do not exist.";
    INVALID_REGION = "InvalidRegion", "A pattern that no region matches.", "Correct it.";
    INVALID_SELECTOR = "InvalidSelector", "A choice of accounts, tags or resources that makes no sense.", "Correct the field that the message names.";
    MALFORMED = "Malformed", "The object does not have the expected shape.", "Correct the field that the message names.";
    OUT_OF_RANGE = "OutOfRange", "Too many, too long, too large or too small.", "Correct the field that the message names.";
    REQUIRED = "Required", "Something that must be given is not.", "Add the field that the message names.";
    RESERVED_KEY = "ReservedKey", "A tag key that belongs to AWS.", "Keys that start with aws: are set by AWS alone.";
    UNKNOWN_TYPE = "UnknownType", "There is no such resource type.", "The message names similar ones; `tagwarden types` lists all.";
    ASSUMED = "Assumed", "The role was assumed.", "";
    AMBIENT = "Ambient", "The credentials that Tagwarden runs with belong to the account.", "";
    ASSUME_ROLE_DENIED = "AssumeRoleDenied", "AWS refused to let the role be assumed.", "Have the owner of the account deploy the role that `tagwarden client-role` prints, or compare its trust policy with the one in the onboarding ConfigMap.";
    TAG_SESSION_DENIED = "TagSessionDenied", "The trust policy lacks sts:TagSession.", "Allow sts:TagSession beside sts:AssumeRole.";
    EXTERNAL_ID_NOT_ALLOWED = "ExternalIdNotAllowed", "externalId.mode SecretRef or None is not allowed here: a tenant could get into the account of another.", "Use mode Generated, or run with --allow-external-id-secret-ref or --allow-no-external-id.";
    AMBIENT_NOT_ALLOWED = "AmbientNotAllowed", "auth.mode Ambient is not allowed here: a tenant could look into the account that Tagwarden itself runs in.", "Use a role, or run with --allow-ambient-account.";
    EXTERNAL_ID_MISSING = "ExternalIdMissing", "The Secret with the external id does not exist or lacks the key.", "Create it; the message names both.";
    EXTERNAL_ID_NOT_REQUIRED = "ExternalIdNotRequired", "The role can be assumed without the external id.", "Add the condition sts:ExternalId to the trust policy of the role.";
    WRONG_ACCOUNT = "WrongAccount", "What was entered is not the account that spec.accountId names.", "Correct accountId, roleArn or the credentials.";
    DUPLICATE_ACCOUNT = "DuplicateAccount", "Another ClientAccount names the same account.", "Remove one of the two.";
    NO_CREDENTIALS = "NoCredentials", "Tagwarden itself has no AWS credentials.", "Give the process credentials: an IAM role for its pod or task, or a profile.";
    REGION_DISABLED = "RegionDisabled", "The region whose STS endpoint is used is not enabled in the account.", "Name another in auth.stsRegion.";
    THROTTLED = "Throttled", "AWS refused because of a rate limit.", "It is tried again by itself.";
    UNREACHABLE = "Unreachable", "AWS could not be reached.", "Check network, proxy and DNS; it is tried again by itself.";
    PERMISSIONS_GRANTED = "PermissionsGranted", "Everything that a scan reads can be read.", "";
    PERMISSIONS_MISSING = "PermissionsMissing", "Some of what a scan reads cannot be read.", "Add the actions of status.missingPermissions to the role's policy.";
    NOT_VERIFIED = "NotVerified", "It could not be found out.", "It is tried again by itself.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CONDITIONS, REASONS};

    #[test]
    fn words_are_unique_and_well_formed() {
        let names: Vec<&str> = REASONS.iter().map(|reason| reason.name).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len(), "a reason stands twice");
        for name in names.into_iter().chain(CONDITIONS.iter().map(|condition| condition.name)) {
            assert!(name.chars().all(char::is_alphanumeric), "{name}");
            assert!(name.starts_with(char::is_uppercase), "{name}");
        }
    }

    #[test]
    fn every_reason_of_a_refused_policy_is_documented() {
        use tagwarden_core::policy::Reason::{
            Conflict, DuplicateKey, DuplicateName, EmptyAllowed, InvalidAccount, InvalidArn, InvalidRegex,
            InvalidRegion, InvalidSelector, Malformed, OutOfRange, Required, ReservedKey, UnknownType,
        };
        let refusals = [
            Conflict,
            DuplicateKey,
            DuplicateName,
            EmptyAllowed,
            InvalidAccount,
            InvalidArn,
            InvalidRegex,
            InvalidRegion,
            InvalidSelector,
            Malformed,
            OutOfRange,
            Required,
            ReservedKey,
            UnknownType,
        ];
        for refusal in refusals {
            assert!(REASONS.iter().any(|reason| reason.name == refusal.as_str()), "{refusal}");
        }
    }
}
