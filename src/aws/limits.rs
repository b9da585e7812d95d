//! Token buckets per account, region and API, a little below what AWS refills: a scan that never runs into a
//! limit is faster than one that is refused and retries, and leaves room for the account's own work. STS has none:
//! two calls an account stay far below the hundreds a second that it allows.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tagwarden_core::account::AccountId;

/// Buckets kept at most; beyond it those that nobody is using go first.
const BUCKETS_MAX: usize = 20_000;

/// APIs that share a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    Ec2,
    Rds,
    S3,
    Lambda,
    Ecs,
    Tagging,
}

impl Api {
    /// (requests at once, requests a second after that). EC2 and Lambda as AWS documents them for reading calls;
    /// the others are cautious assumptions.
    const fn rate(self) -> (u32, u32) {
        match self {
            Self::Ec2 => (100, 20),
            Self::Rds => (60, 20),
            Self::S3 => (100, 50),
            Self::Lambda | Self::Tagging => (15, 15),
            Self::Ecs => (50, 20),
        }
    }

    fn quota(self) -> Quota {
        let (burst, per_second) = self.rate();
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
    }
}

type Key = (AccountId, Arc<str>, Api);

/// One bucket. Waits are first come, first served, as long as the caller waits.
pub(crate) type Bucket = Arc<DefaultDirectRateLimiter>;

/// All buckets of a process.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Limits {
    /// The bucket of an API in a region of an account.
    pub(crate) fn bucket(&self, account: &AccountId, region: &Arc<str>, api: Api) -> Bucket {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
        let key = (account.clone(), Arc::clone(region), api);
        Arc::clone(buckets.entry(key).or_insert_with(|| Arc::new(RateLimiter::direct(api.quota()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(bucket: &Bucket) -> usize {
        (0..1000).take_while(|_| bucket.check().is_ok()).count()
    }

    #[test]
    fn accounts_regions_and_apis_do_not_share() {
        let limits = Limits::default();
        let (one, two): (AccountId, AccountId) =
            ("111111111111".parse().unwrap(), "222222222222".parse().unwrap());
        let (ireland, ohio): (Arc<str>, Arc<str>) = ("eu-west-1".into(), "us-east-2".into());
        assert!(burst(&limits.bucket(&one, &ireland, Api::Lambda)) >= 15);
        assert!(limits.bucket(&one, &ireland, Api::Lambda).check().is_err());
        for (account, region, api) in
            [(&two, &ireland, Api::Lambda), (&one, &ohio, Api::Lambda), (&one, &ireland, Api::Tagging)]
        {
            assert!(limits.bucket(account, region, api).check().is_ok());
        }
    }

    #[test]
    fn a_bucket_holds_the_documented_burst() {
        let limits = Limits::default();
        let account: AccountId = "111111111111".parse().unwrap();
        // A token or two may drip in while the loop runs on a busy machine.
        for (api, size) in [(Api::Ec2, 100), (Api::Rds, 60), (Api::Ecs, 50), (Api::Tagging, 15)] {
            let taken = burst(&limits.bucket(&account, &"eu-west-1".into(), api));
            assert!((size..size + 5).contains(&taken), "{api:?}: {taken}");
        }
    }
}
