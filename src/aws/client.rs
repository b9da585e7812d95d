//! SDK clients: made once for a region and the credentials in force, all of them counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::{Region, SdkConfig};
use aws_smithy_runtime::client::retries::RetryPartition;
use aws_smithy_runtime_api::client::identity::SharedIdentityCache;
use aws_types::service_config::ServiceConfigKey;

use crate::traffic::{Counter, Counting};

/// Credentials are renewed this long before they expire.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_mins(5);

/// A cache for the credentials of one account. Shared by all clients of the account, or each would assume the role
/// for itself.
pub(crate) fn identity_cache() -> SharedIdentityCache {
    IdentityCache::lazy().buffer_time(RENEW_BEFORE_EXPIRY).build()
}

/// A client of a service. Retries have a budget of their own for each account and region, so that one that is
/// throttled all the time uses up nobody else's.
macro_rules! client {
    ($sdk:ident, $config:expr, $counter:expr $(, $customize:expr)?) => {{
        let builder = $sdk::config::Builder::from($config)
            .interceptor(Counting(Arc::clone($counter)))
            .retry_partition(RetryPartition::custom(stringify!($sdk)).build());
        $(let builder = $customize(builder);)?
        $sdk::Client::from_conf(builder.build())
    }};
}

/// The STS client of a configuration.
pub(crate) fn sts(config: &SdkConfig, counter: &Arc<Counter>) -> aws_sdk_sts::Client {
    client!(aws_sdk_sts, config, counter)
}

/// The clients made with the same credentials.
#[derive(Debug)]
pub(crate) struct Clients {
    config: SdkConfig,
    counter: Arc<Counter>,
    regions: Mutex<HashMap<Arc<str>, Arc<RegionClients>>>,
}

impl Clients {
    pub(crate) fn new(config: SdkConfig, counter: Arc<Counter>) -> Self {
        Self { config, counter, regions: Mutex::default() }
    }

    /// Those of a region.
    pub(crate) fn region(&self, region: &Arc<str>) -> Arc<RegionClients> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(regions.entry(Arc::clone(region)).or_insert_with(|| Arc::new(self.of_region(region))))
    }

    /// The endpoint that is configured instead of AWS's own, for messages.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    fn of_region(&self, region: &str) -> RegionClients {
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        RegionClients {
            config,
            counter: Arc::clone(&self.counter),
            ec2: OnceLock::new(),
            ecs: OnceLock::new(),
            lambda: OnceLock::new(),
            rds: OnceLock::new(),
            s3: OnceLock::new(),
            sts: OnceLock::new(),
            tagging: OnceLock::new(),
        }
    }
}

/// The clients of a region, each made when it is first needed.
#[derive(Debug)]
pub(crate) struct RegionClients {
    config: SdkConfig,
    counter: Arc<Counter>,
    ec2: OnceLock<aws_sdk_ec2::Client>,
    ecs: OnceLock<aws_sdk_ecs::Client>,
    lambda: OnceLock<aws_sdk_lambda::Client>,
    rds: OnceLock<aws_sdk_rds::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    sts: OnceLock<aws_sdk_sts::Client>,
    tagging: OnceLock<aws_sdk_resourcegroupstagging::Client>,
}

impl RegionClients {
    pub(crate) fn ec2(&self) -> &aws_sdk_ec2::Client {
        self.ec2.get_or_init(|| client!(aws_sdk_ec2, &self.config, &self.counter))
    }

    pub(crate) fn ecs(&self) -> &aws_sdk_ecs::Client {
        self.ecs.get_or_init(|| client!(aws_sdk_ecs, &self.config, &self.counter))
    }

    pub(crate) fn lambda(&self) -> &aws_sdk_lambda::Client {
        self.lambda.get_or_init(|| client!(aws_sdk_lambda, &self.config, &self.counter))
    }

    pub(crate) fn rds(&self) -> &aws_sdk_rds::Client {
        self.rds.get_or_init(|| client!(aws_sdk_rds, &self.config, &self.counter))
    }

    /// Custom endpoints have no DNS name for each bucket.
    pub(crate) fn s3(&self) -> &aws_sdk_s3::Client {
        let path_style = self.has_own_s3_endpoint();
        self.s3.get_or_init(|| {
            client!(aws_sdk_s3, &self.config, &self.counter, |builder: aws_sdk_s3::config::Builder| {
                builder.force_path_style(path_style)
            })
        })
    }

    pub(crate) fn sts(&self) -> &aws_sdk_sts::Client {
        self.sts.get_or_init(|| sts(&self.config, &self.counter))
    }

    pub(crate) fn tagging(&self) -> &aws_sdk_resourcegroupstagging::Client {
        self.tagging.get_or_init(|| client!(aws_sdk_resourcegroupstagging, &self.config, &self.counter))
    }

    fn has_own_s3_endpoint(&self) -> bool {
        let key = ServiceConfigKey::builder()
            .service_id("S3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let for_s3 = || Some(self.config.service_config()?.load_config(key.ok()?)).flatten();
        self.config.endpoint_url().is_some() || for_s3().is_some()
    }
}
