//! The way into AWS: what is shared by all accounts, and how they are entered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::app_name::AppName;
use tagwarden_app::ports::{AccountTarget, Inventory, Traffic};
use tagwarden_core::coverage::Gap;
use tagwarden_core::registry::Registry;

use crate::client::identity_cache;
use crate::http::shared_client;
use crate::limits::Limits;
use crate::session::AwsSession;
use crate::traffic::Counter;

/// Where no region is configured anywhere.
const FALLBACK_REGION: &str = "us-east-1";

/// What can be told to the adapter. Everything else is the SDK's: environment, profiles, SSO, `credential_process`,
/// web identity, container and instance roles, `AWS_ENDPOINT_URL`, proxies.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// The types that listings speak of.
    pub registry: Arc<Registry>,
    /// A PEM file with certificates to trust besides the system's (`AWS_CA_BUNDLE`).
    pub ca_bundle: Option<PathBuf>,
    /// The default region; `None` asks the environment and the profile, then falls back to us-east-1.
    pub region: Option<String>,
    /// For a connection to be made. 3 s is sensible.
    pub connect_timeout: Duration,
    /// For one attempt of one call, its whole body included. 30 s is sensible.
    pub attempt_timeout: Duration,
    /// Attempts of one call, the first included. 3 is sensible; at least 1.
    pub attempts_max: u32,
}

impl AwsSettings {
    /// Sensible settings for these types.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            ca_bundle: None,
            region: None,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(30),
            attempts_max: 3,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// The certificates cannot be used.
    #[error("the CA bundle `{}` (AWS_CA_BUNDLE) cannot be used: {reason}", path.display())]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up with the certificates of this system")]
    Tls,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: AwsSettings,
    pub(crate) http: SharedHttpClient,
    pub(crate) limits: Limits,
    pub(crate) counter: Arc<Counter>,
}

impl Shared {
    /// The configuration of the process itself, with credentials that are read anew.
    pub(crate) async fn ambient(&self) -> SdkConfig {
        let settings = &self.settings;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .operation_attempt_timeout(settings.attempt_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts_max.max(1)))
            .timeout_config(timeouts)
            // Attempts have a timeout of their own, bodies included.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(identity_cache());
        if let Ok(name) = AppName::new("tagwarden") {
            loader = loader.app_name(name);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        match config.region() {
            Some(_) => config,
            None => config.into_builder().region(Region::from_static(FALLBACK_REGION)).build(),
        }
    }
}

/// The resources of AWS accounts.
#[derive(Debug, Clone)]
pub struct AwsInventory {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ambient: SdkConfig,
}

impl AwsInventory {
    /// Makes the adapter ready. Nothing is sent to AWS yet, except by a credential chain that needs it.
    pub async fn connect(settings: AwsSettings) -> Result<Self, AwsError> {
        let http = shared_client(settings.ca_bundle.as_deref())?;
        let shared = Arc::new(Shared {
            settings,
            http,
            limits: Limits::default(),
            counter: Arc::new(Counter::default()),
        });
        let ambient = shared.ambient().await;
        Ok(Self { shared, ambient })
    }
}

impl Inventory for AwsInventory {
    type Session = AwsSession;

    async fn enter(&self, target: &AccountTarget) -> Result<AwsSession, Gap> {
        AwsSession::enter(Arc::clone(&self.shared), &self.ambient, target)
            .await
            .map_err(|refusal| refusal.gap())
    }

    fn traffic(&self) -> Traffic {
        self.shared.counter.traffic()
    }

    fn throttled(&self) -> u64 {
        self.shared.counter.throttled()
    }
}
