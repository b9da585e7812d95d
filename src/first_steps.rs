//! What a new user is told: what is missing before there is anything to do, and how to add it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tagwarden_operator::Frame;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::observed::Observed;
use crate::settings::{ControlPlane, Settings};

/// How often it is asked whether everything is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the first manifests may take until they are seen by the controllers.
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// Waits until work can begin, and says what is missing for it. `applied` is cancelled when the manifests were
/// applied for the first time.
pub async fn tell(
    observed: Arc<Observed>,
    frame: Arc<Frame>,
    settings: Settings,
    applied: CancellationToken,
    began: Instant,
) {
    while !observed.is_ready() {
        sleep(LOOK_EVERY).await;
    }
    tracing::info!(milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "ready");
    applied.cancelled().await;
    sleep(SEEN_WITHIN).await;
    let declared = Declared {
        policies: frame.policies.len(),
        accounts: frame.accounts.len(),
        audits: frame.audits.len(),
    };
    for hint in hints(&declared, &settings, credentials()) {
        tracing::warn!("{hint}");
    }
}

struct Declared {
    policies: usize,
    accounts: usize,
    audits: usize,
}

/// One sentence for each thing that is missing, and one that says where to put it.
fn hints(declared: &Declared, settings: &Settings, credentials: bool) -> Vec<String> {
    let Declared { policies, accounts, audits } = declared;
    let mut hints = Vec::new();
    if *policies == 0 {
        hints.push(
            "there is no TaggingPolicy yet: it says what tags must look like; policies/starter.yaml is one"
                .into(),
        );
    }
    if *accounts == 0 {
        let example = if settings.allows_ambient_account() {
            "for the one that the credentials belong to, `spec: {accountId: \"…\", auth: {mode: Ambient}}`"
        } else {
            "`spec: {accountId: \"…\", auth: {roleArn: …}}`, whose role `tagwarden client-role` prints; or, with \
             --allow-ambient-account, the one that the credentials belong to, `auth: {mode: Ambient}`"
        };
        hints.push(format!(
            "there is no ClientAccount yet: it says which AWS account may be looked at; {example}"
        ));
    }
    if *audits == 0 {
        hints.push(
            "there is no ComplianceAudit yet: it says when to look; `spec: {policyRef: {name: starter}, accounts: {all: \
             true}, schedule: \"@daily\"}` does so now and every night"
                .into(),
        );
    }
    if !hints.is_empty() {
        hints.push(place(settings).to_owned());
    }
    if !credentials {
        hints.push(
            "no AWS credentials were found in the environment or the user's files: unless this machine has an instance \
             role, set AWS_PROFILE, or whatever the AWS CLI works with"
                .into(),
        );
    }
    hints
}

fn place(settings: &Settings) -> &'static str {
    match settings.control_plane {
        ControlPlane::Kubernetes => "declare them with `kubectl apply -f FILE`",
        ControlPlane::Embedded if settings.manifests.is_some() => {
            "declare them in files of the manifest directory: changes are applied within seconds"
        }
        ControlPlane::Embedded => {
            "declare them in files of a directory, and name it with --manifests; or apply them with kubectl to \
             --api-listen"
        }
    }
}

/// Whether there is any sign of credentials. Nobody is asked.
fn credentials() -> bool {
    const VARIABLES: [&str; 5] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    const FILES: [(&str, &str); 2] =
        [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = set("HOME").map(PathBuf::from).unwrap_or_default();
    VARIABLES.iter().any(|name| set(name).is_some())
        || FILES.iter().any(|(name, file)| set(name).map_or_else(|| home.join(file), PathBuf::from).is_file())
}
