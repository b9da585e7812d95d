//! The request rates that AWS grants an account in a region, as token buckets.

use std::collections::HashMap;
use std::time::Instant;

use super::calls::Call;

/// (requests at once, requests a second after that) of the APIs that share a bucket. EC2's and Lambda's are
/// documented by AWS; the others are assumed.
fn rate(call: &Call) -> Option<(f64, f64)> {
    match (call.service.as_str(), call.operation.as_str()) {
        ("ec2", _) => Some((100.0, 20.0)),
        ("rds", _) => Some((60.0, 20.0)),
        ("ecs", _) => Some((50.0, 20.0)),
        ("lambda" | "tagging", _) => Some((15.0, 15.0)),
        ("dynamodb", "ListTagsOfResource") => Some((10.0, 10.0)),
        ("sts", _) => Some((600.0, 600.0)),
        _ => None,
    }
}

/// All buckets of all accounts.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: HashMap<(String, String, String), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limits {
    /// Whether the call is let through.
    pub fn admit(&mut self, call: &Call) -> bool {
        let Some((burst, per_second)) = rate(call) else { return true };
        let now = Instant::now();
        let key = (call.account.clone(), call.service.clone(), call.region.clone());
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: burst, filled: now });
        let dripped = now.duration_since(bucket.filled).as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + dripped).min(burst);
        bucket.filled = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}
