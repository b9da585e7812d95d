//! `ClientAccount`: an account that may be looked at, and how to get in.

// The schema derive repeats each struct inside a function, where no `pub` can be reached; clippy takes the columns
// for repeated attributes; and the comments are descriptions in the CRD, read by people at a terminal.
#![allow(unreachable_pub, clippy::duplicated_attributes, clippy::doc_markdown)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::is_default;

/// An account that may be looked at, and how to get in.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tagwarden.io",
    version = "v1alpha1",
    kind = "ClientAccount",
    plural = "clientaccounts",
    shortname = "tagacct",
    category = "tagwarden",
    namespaced,
    status = "ClientAccountStatus",
    derive = "PartialEq",
    doc = "A cloud account that may be looked at, and how to get in.",
    selectable = ".spec.accountId",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.accountId"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Regions", type_ = "integer", json_path = ".status.regions.enabled"),
    printcolumn(name = "Last Verified", type_ = "date", json_path = ".status.lastVerifiedTime"),
    printcolumn(
        name = "Missing",
        type_ = "string",
        json_path = ".status.missingPermissions[*]",
        priority = 1
    ),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.auth.roleArn", priority = 1),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.auth.roleArn) || self.auth.roleArn.split(':')[4] == self.accountId").message("auth.roleArn must be a role of accountId")
)]
pub struct ClientAccountSpec {
    /// Neither verifies the account nor lets audits look at it while true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,

    /// The id of the account: 12 digits, in quotes. Cannot be changed.
    #[schemars(length(max = 12), regex(pattern = "^[0-9]{12}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("accountId cannot be changed; create another ClientAccount"))]
    pub account_id: String,

    /// What people call the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub display_name: Option<String>,

    /// How to get in.
    pub auth: AccountAuth,

    /// The regions that may be looked at. All that the account has enabled when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<AccountRegions>,

    /// How often it is made sure that the account can still be entered and read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// How often it is made sure that an account can still be entered and read.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// How long after a success, for example `30m`; at least a minute. `1h` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("must be at least 1m"))]
    pub interval: Option<String>,

    /// How long after a failure; at least ten seconds. `5m` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("must be at least 10s"))]
    pub retry_interval: Option<String>,
}

/// How to get into an account.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(!has(self.mode) || self.mode == 'AssumeRole') == has(self.roleArn)").message("mode AssumeRole (the default) needs roleArn; mode Ambient takes none"),
    validation = Rule::new("!has(self.mode) || self.mode == 'AssumeRole' || (!has(self.chain) && !has(self.externalId))").message("mode Ambient takes neither chain nor externalId")
)]
pub struct AccountAuth {
    /// AssumeRole (the default): assume `roleArn`. Ambient: use the credentials that Tagwarden runs with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: AuthMode,

    /// The ARN of a role in the account, for example `arn:aws:iam::123456789012:role/tagwarden-reader`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$")
    )]
    pub role_arn: Option<String>,

    /// ARNs of roles to go through first, in order, at most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 3),
        inner(
            length(max = 2048),
            regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$")
        )
    )]
    pub chain: Vec<String>,

    /// The external id that the trust policy of `roleArn` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalIdSource>,

    /// How long a session lasts, in seconds: 900 to 3600, 3600 when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 900, max = 3600))]
    pub session_duration_seconds: Option<i32>,

    /// The name of the session in the account's CloudTrail: 2 to 64 letters, digits and `_ + = , . @ -`;
    /// `tagwarden` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[A-Za-z0-9_+=,.@-]+$"))]
    pub session_name: Option<String>,

    /// The region whose STS endpoint is used. The default region's when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]+$"))]
    pub sts_region: Option<String>,
}

/// How to get into an account.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// By assuming a role.
    #[default]
    AssumeRole,
    /// With the credentials that Tagwarden runs with.
    Ambient,
}

/// Where the external id comes from.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.mode) && self.mode == 'SecretRef') == has(self.secretRef)").message("mode SecretRef needs secretRef; the other modes take none")
)]
pub struct ExternalIdSource {
    /// Generated (the default): made once by the control plane, which a one-shot scan does not have. SecretRef:
    /// read from a Secret. None: the role asks for none, which is fit only for roles of one's own organisation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: ExternalIdMode,

    /// The Secret of mode SecretRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// Where the external id comes from.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExternalIdMode {
    /// Made once by the control plane.
    #[default]
    Generated,
    /// Read from a Secret.
    SecretRef,
    /// There is none.
    None,
}

/// An entry of a Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key inside it; `externalId` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// The regions of an account that may be looked at.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.mode) && self.mode == 'Listed') == (has(self.include) && size(self.include) > 0)").message("mode Listed needs include; mode Enabled (the default) takes none")
)]
pub struct AccountRegions {
    /// Enabled (the default): all that the account has enabled. Listed: those of `include`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: RegionMode,

    /// The regions of mode Listed, for example `eu-west-1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 32), regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]+$")))]
    pub include: Vec<String>,

    /// Regions that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 32), regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]+$")))]
    pub exclude: Vec<String>,
}

/// Which regions of an account may be looked at.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RegionMode {
    /// All that the account has enabled.
    #[default]
    Enabled,
    /// Those that are listed.
    Listed,
}

/// How an account is doing.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientAccountStatus {
    /// The generation of the spec that this status is about; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: whether audits can look at the account. Assumable and PermissionsVerified say why or why not;
    /// Conflict, Unsafe, Reconciling and Stalled are there only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The value of the annotation `tagwarden.io/requestedAt` that was acted upon last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The external id that the trust policy of the role has to ask for. It is unique to this object, and no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    pub external_id: Option<String>,

    /// The Secret that keeps the external id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id_secret_ref: Option<OwnedObjectRef>,

    /// The ConfigMap with the trust policy, the read policy and a CloudFormation template, ready to paste.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onboarding_config_map_ref: Option<OwnedObjectRef>,

    /// Who Tagwarden is in the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub caller_arn: Option<String>,

    /// When the account was last found to be all right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,

    /// When that was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verify_attempt_time: Option<Time>,

    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_verify_time: Option<Time>,

    /// IAM actions that the role needs and does not have, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 128)))]
    pub missing_permissions: Vec<String>,

    /// The regions of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<RegionsStatus>,
}

/// An object in the same namespace that belongs to this one.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OwnedObjectRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// The regions of an account.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RegionsStatus {
    /// How many the account has enabled.
    pub enabled: i32,
}
