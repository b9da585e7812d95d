//! Estates that are computed, not stored: the tags of a resource follow from its kind, region and number, so the
//! stub answers any page without holding a hundred thousand resources. The truth about an estate is found by
//! code of its own, which shares nothing with the product.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The account that owns every estate.
pub const ACCOUNT: &str = "123456789012";

/// The regions that every AWS account has enabled, the most used first.
const REGIONS: [&str; 17] = [
    "us-east-1",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-2",
    "us-west-2",
    "us-east-2",
    "us-west-1",
    "ca-central-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "sa-east-1",
];

/// The resource types of the estates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Instance,
    Volume,
    Db,
    Function,
    Bucket,
    Table,
    Service,
}

use Kind::{Bucket, Db, Function, Instance, Service, Table, Volume};

impl Kind {
    pub const ALL: [Self; 7] = [Instance, Volume, Db, Function, Bucket, Table, Service];

    /// The name in policies and reports.
    pub fn type_name(self) -> &'static str {
        match self {
            Instance => "ec2:instance",
            Volume => "ec2:volume",
            Db => "rds:db",
            Function => "lambda:function",
            Bucket => "s3:bucket",
            Table => "dynamodb:table",
            Service => "ecs:service",
        }
    }

    /// The name of one resource, which ends in its number. Names repeat between regions, as they do in life;
    /// those of buckets must not.
    pub fn name(self, region: &str, number: u32) -> String {
        match self {
            Instance => format!("i-0c52e8f1a0b{number:06x}"),
            Volume => format!("vol-0d81c3e7a5{number:07x}"),
            Db => format!("orders-db-{number:06x}"),
            Function => format!("resize-image-{number:06x}"),
            Bucket => format!("example-data-{region}-{number:06x}"),
            Table => format!("sessions-{number:06x}"),
            Service => format!("checkout-{number:06x}"),
        }
    }

    pub fn arn(self, region: &str, number: u32) -> String {
        let name = self.name(region, number);
        match self {
            Instance => format!("arn:aws:ec2:{region}:{ACCOUNT}:instance/{name}"),
            Volume => format!("arn:aws:ec2:{region}:{ACCOUNT}:volume/{name}"),
            Db => format!("arn:aws:rds:{region}:{ACCOUNT}:db:{name}"),
            Function => format!("arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"),
            Bucket => format!("arn:aws:s3:::{name}"),
            Table => format!("arn:aws:dynamodb:{region}:{ACCOUNT}:table/{name}"),
            Service => format!("arn:aws:ecs:{region}:{ACCOUNT}:service/main/{name}"),
        }
    }
}

/// Whether an untagged resource had tags once: then the tagging API knows of it. So it is for half of ours.
pub fn once_tagged(number: u32) -> bool {
    number.is_multiple_of(2)
}

/// The number at the end of a name or ARN.
pub fn number(name: &str) -> Option<u32> {
    u32::from_str_radix(name.get(name.len().checked_sub(6)?..)?, 16).ok()
}

/// What a required tag must look like.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    Any,
    /// For the policy a regular expression, for the truth a function that agrees with it.
    Like(&'static str, fn(&str) -> bool),
    OneOf(&'static [&'static str]),
}

/// A required tag.
#[derive(Debug)]
pub struct Rule {
    pub key: &'static str,
    pub values: Values,
    pub applies_to: &'static [Kind],
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

/// The policy: two regular expressions, three lists, one that only has to be there.
pub const RULES: [Rule; 6] = [
    Rule {
        key: "CostCenter",
        values: Values::Like("^CC-[0-9]{4}$", |value| {
            value
                .strip_prefix("CC-")
                .is_some_and(|rest| rest.len() == 4 && rest.bytes().all(|b| b.is_ascii_digit()))
        }),
        applies_to: &Kind::ALL,
        good: &["CC-1001", "CC-1002", "CC-2040", "CC-3100", "CC-3200", "CC-4711", "CC-5005", "CC-9000"],
        bad: &["1001", "CC-12", "cost-center-1", "CC-10010"],
    },
    Rule {
        key: "Owner",
        values: Values::Like("^[a-z]+@example\\.com$", |value| {
            value
                .strip_suffix("@example.com")
                .is_some_and(|who| !who.is_empty() && who.bytes().all(|b| b.is_ascii_lowercase()))
        }),
        applies_to: &Kind::ALL,
        good: &["payments@example.com", "search@example.com", "data@example.com", "platform@example.com"],
        bad: &["payments", "payments@example.org", "@example.com"],
    },
    Rule {
        key: "Environment",
        values: Values::OneOf(&["production", "staging", "development", "sandbox"]),
        applies_to: &Kind::ALL,
        good: &["production", "production", "production", "staging", "development", "sandbox"],
        bad: &["prod", "stage", "dev-2", "tbd"],
    },
    Rule {
        key: "Application",
        values: Values::Any,
        applies_to: &[Instance, Volume, Db, Function, Service],
        good: &["checkout", "search", "ledger", "images", "mail", "reports"],
        bad: &["", "  "],
    },
    Rule {
        key: "DataClass",
        values: Values::OneOf(&["public", "internal", "confidential", "restricted"]),
        applies_to: &[Volume, Db, Bucket, Table],
        good: &["public", "internal", "internal", "confidential", "restricted"],
        bad: &["secret", "tier-1"],
    },
    Rule {
        key: "Backup",
        values: Values::OneOf(&["none", "daily", "weekly"]),
        applies_to: &[Instance, Volume, Db, Table],
        good: &["none", "daily", "daily", "weekly"],
        bad: &["hourly", "yes"],
    },
];

/// Tags that no rule is about: key, and the beginning of the value.
const OTHER_TAGS: [(&str, &str); 6] = [
    ("Name", "node"),
    ("Project", "apollo"),
    ("ManagedBy", "terraform"),
    ("Version", "v"),
    ("Team", "squad"),
    ("aws:cloudformation:stack-name", "stack"),
];

/// One tag.
pub type Tag = (&'static str, String);

/// Resources, and where they are.
#[derive(Debug)]
pub struct Estate {
    pub regions: &'static [&'static str],
    /// How many there are of each kind, over all regions.
    counts: [u32; 7],
}

impl Estate {
    /// Instances only.
    pub fn ec2(size: u32) -> Self {
        Self { regions: &REGIONS[..4], counts: [size, 0, 0, 0, 0, 0, 0] }
    }

    /// Half instances, a fifth volumes, and of everything else a little.
    pub fn mixed(size: u32, regions: usize) -> Self {
        let counts = [50, 20, 8, 12, 5, 3, 2].map(|percent| size / 100 * percent);
        Self { regions: &REGIONS[..regions.min(REGIONS.len())], counts }
    }

    /// The resource types that there are any of.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.counts[*kind as usize] > 0)
    }

    /// How many of a kind there are in a region.
    pub fn count(&self, kind: Kind, region: &str) -> u32 {
        let regions = u32::try_from(self.regions.len()).unwrap_or(u32::MAX);
        let total = self.counts[kind as usize];
        match self.index(region) {
            Some(index) => total / regions + u32::from(index < total % regions),
            None => 0,
        }
    }

    fn index(&self, region: &str) -> Option<u32> {
        self.regions.iter().position(|one| *one == region).and_then(|index| u32::try_from(index).ok())
    }

    /// The tags of a resource. 8 % have none, 70 % are as they should be, 22 % have one to three defects.
    pub fn tags(&self, kind: Kind, region: &str, number: u32) -> Vec<Tag> {
        let mut dice = self.dice(kind, region, number);
        let fate = dice.below(100);
        if fate < 8 {
            return Vec::new();
        }
        let mut rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.applies_to.contains(&kind)).collect();
        let defects = if fate < 78 { 0 } else { 1 + dice.below(3) };
        let mut tags = Vec::with_capacity(10);
        for _ in 0..defects {
            let rule = rules.swap_remove(dice.below(rules.len()));
            if dice.below(2) == 0 {
                tags.push((rule.key, dice.one_of(rule.bad).to_owned()));
            }
        }
        tags.extend(rules.iter().map(|rule| (rule.key, dice.one_of(rule.good).to_owned())));
        for (key, start) in OTHER_TAGS {
            if dice.below(4) > 0 {
                let mut value = String::with_capacity(16);
                let _ = write!(value, "{start}-{}", dice.below(2000));
                tags.push((key, value));
            }
        }
        tags
    }

    fn dice(&self, kind: Kind, region: &str, number: u32) -> Dice {
        let place = u64::from(self.index(region).unwrap_or_default()) << 8 | kind as u64;
        Dice(place << 32 | u64::from(number))
    }

    /// What a reader must find. Tables that never had a tag can be seen only by listing tables; a scan that takes
    /// them from the tagging API cannot know of them.
    pub fn truth(&self, tables_from_tagging_api: bool) -> Truth {
        let mut truth = Truth::default();
        for kind in self.kinds() {
            let counts = truth.by_type.entry(kind.type_name().to_owned()).or_default();
            for region in self.regions {
                for number in 0..self.count(kind, region) {
                    let tags = self.tags(kind, region, number);
                    let unlisted = tables_from_tagging_api && kind == Table;
                    if !unlisted || !tags.is_empty() || once_tagged(number) {
                        counts.add(violations(kind, &tags));
                    }
                }
            }
        }
        truth
    }
}

/// How many rules the tags of a resource break.
fn violations(kind: Kind, tags: &[Tag]) -> u64 {
    let broken = RULES.iter().filter(|rule| rule.applies_to.contains(&kind)).filter(|rule| {
        let value = tags.iter().find(|(key, _)| *key == rule.key).map(|(_, value)| value.as_str());
        !value.is_some_and(|value| match rule.values {
            Values::Any => !value.trim().is_empty(),
            Values::Like(_, holds) => holds(value),
            Values::OneOf(allowed) => allowed.contains(&value),
        })
    });
    broken.count() as u64
}

/// What there is to find, by resource type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    pub by_type: BTreeMap<String, Counts>,
}

impl Truth {
    pub fn total(&self) -> Counts {
        self.by_type.values().fold(Counts::default(), |sum, one| Counts {
            resources: sum.resources + one.resources,
            compliant: sum.compliant + one.compliant,
            violations: sum.violations + one.violations,
        })
    }
}

/// Counters over some resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Counts {
    pub resources: u64,
    pub compliant: u64,
    pub violations: u64,
}

impl Counts {
    fn add(&mut self, violations: u64) {
        self.resources += 1;
        self.compliant += u64::from(violations == 0);
        self.violations += violations;
    }
}

/// A small generator of well-mixed numbers (`SplitMix64`), the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The remainder of a 31-bit number fits any usize.
        usize::try_from(mixed >> 33).unwrap_or_default() % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}
