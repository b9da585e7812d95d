//! How fast resources are judged, against a straightforward judge in the same run.
//!
//! The estate is deterministic: six required tags (two expressions, three lists, one presence) that are for different
//! types, eight and a half tags a resource on average, 8 % of the resources without tags, 70 % clean, 22 % with one to
//! three defects. All contenders must find the same verdicts before anything is measured.

// A program of its own: it reads the clock, prints, and may stop.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use regex::Regex;
use tagwarden_core::finding::Finding;
use tagwarden_core::judge::{Judge, Place, TagSet};
use tagwarden_core::policy::{AppliesToDraft, PolicyDraft, TagRuleDraft, ValuesDraft, compile};
use tagwarden_core::registry::{Registry, TypeId};
use tagwarden_core::resource::{Resource, Tag, Tags};
use tagwarden_core::tally::{Tally, Verdict};

const RESOURCES: usize = 20_000;
const REGION: &str = "eu-west-1";

const OWNER: &str = r"[a-z]+\.[a-z]+@example\.com";
const COST_CENTER: &str = "CC-[0-9]{4}";
const ENVIRONMENTS: &[&str] = &["production", "staging", "development", "test"];
const CLASSES: &[&str] = &["public", "internal", "confidential", "restricted"];
const BACKUPS: &[&str] = &["daily", "weekly", "monthly", "none"];

/// Key, expression, list, types; nothing but the key: presence.
type Rule = (&'static str, Option<&'static str>, &'static [&'static str], &'static [&'static str]);

const RULES: [Rule; 6] = [
    ("Owner", Some(OWNER), &[], &["*"]),
    ("CostCenter", Some(COST_CENTER), &[], &["*"]),
    ("Environment", None, ENVIRONMENTS, &["*"]),
    ("Application", None, &[], &["ec2:instance", "rds:db", "lambda:function", "s3:bucket"]),
    ("DataClass", None, CLASSES, &["s3:bucket", "rds:db", "dynamodb:table"]),
    ("Backup", None, BACKUPS, &["ec2:instance", "ec2:volume", "rds:db"]),
];

/// Types and their share in percent.
const MIX: [(&str, u64); 7] = [
    ("ec2:instance", 50),
    ("ec2:volume", 20),
    ("rds:db", 8),
    ("lambda:function", 12),
    ("s3:bucket", 5),
    ("dynamodb:table", 3),
    ("ecs:service", 2),
];

fn policy() -> PolicyDraft {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let required_tags = RULES
        .iter()
        .map(|(key, regex, allowed, types)| TagRuleDraft {
            key: (*key).to_owned(),
            values: Some(ValuesDraft {
                regex: regex.map(ToOwned::to_owned),
                allowed: (!allowed.is_empty()).then(|| texts(allowed)),
                ..ValuesDraft::default()
            }),
            applies_to: Some(AppliesToDraft { resource_types: texts(types), ..AppliesToDraft::default() }),
            ..TagRuleDraft::default()
        })
        .collect();
    PolicyDraft { name: "bench".to_owned(), required_tags, ..PolicyDraft::default() }
}

/// A small, fixed random sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let sides = u64::try_from(list.len()).unwrap_or(1);
        list[usize::try_from(self.roll(sides)).unwrap_or(0)]
    }
}

fn estate(registry: &Registry) -> Vec<Resource> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    (0..RESOURCES).map(|index| resource(index, registry, &mut dice)).collect()
}

fn resource(index: usize, registry: &Registry, dice: &mut Dice) -> Resource {
    let mut share = dice.roll(100);
    let kind = MIX.iter().find(|(_, percent)| {
        let here = share < *percent;
        share = share.saturating_sub(*percent);
        here
    });
    let kind = kind.map_or(MIX[0].0, |(kind, _)| kind);
    let mut tags = BTreeMap::new();
    let fate = dice.roll(100);
    if fate >= 8 {
        let surname = dice.pick(&["smith", "jones", "novak", "weber", "rossi"]);
        let owner = format!("{}.{surname}@example.com", dice.pick(&["ann", "bob", "eve", "kim"]));
        tags.insert("Owner", owner);
        tags.insert("CostCenter", format!("CC-{:04}", dice.roll(120)));
        tags.insert("Environment", dice.pick(ENVIRONMENTS).to_owned());
        tags.insert("Application", format!("app-{}", dice.roll(200)));
        tags.insert("DataClass", dice.pick(CLASSES).to_owned());
        tags.insert("Backup", dice.pick(BACKUPS).to_owned());
        tags.insert("Name", format!("host-{index:06}"));
        tags.insert("aws:autoscaling:groupName", format!("asg-{}", dice.roll(50)));
        if dice.roll(100) < 60 {
            tags.insert("Team", format!("team-{}", dice.roll(40)));
        }
        if dice.roll(100) < 64 {
            tags.insert("Terraform", "true".to_owned());
        }
    }
    if fate >= 78 {
        for _ in 0..=dice.roll(3) {
            match dice.roll(4) {
                0 => drop(tags.remove(dice.pick(&["Owner", "CostCenter", "Environment"]))),
                1 => drop(tags.insert("Environment", "prod".to_owned())),
                2 => drop(tags.insert("CostCenter", "unknown".to_owned())),
                _ => drop(tags.insert("Owner", String::new())),
            }
        }
    }
    let tags = tags.into_iter().map(|(key, value)| Tag { key: key.to_owned(), value }).collect();
    Resource {
        arn: format!("arn:aws:ec2:{REGION}:123456789012:instance/i-{index:017x}"),
        id: format!("i-{index:017x}"),
        type_id: registry.id(kind).expect("a type of the registry"),
        region: REGION.into(),
        tags: Tags::Read(tags),
    }
}

/// What one writes first: owned texts, a map for each resource, the expression for each value.
struct Straightforward {
    rules: Vec<OwnedRule>,
}

/// Key, expression, list, types.
type OwnedRule = (String, Option<Regex>, Vec<String>, Vec<String>);

struct OwnedFinding {
    _key: String,
    _kind: &'static str,
    _value: Option<String>,
}

impl Straightforward {
    fn new() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rules = RULES.iter().map(|(key, regex, allowed, types)| {
            let regex = regex.map(|regex| Regex::new(&format!("^(?:{regex})$")).expect("an expression"));
            ((*key).to_owned(), regex, texts(allowed), texts(types))
        });
        Self { rules: rules.collect() }
    }

    fn judge(&self, kind: &str, resource: &Resource) -> (Verdict, Vec<OwnedFinding>) {
        let Tags::Read(tags) = &resource.tags else { return (Verdict::Unknown, Vec::new()) };
        let tags: HashMap<String, String> =
            tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        let mut findings = Vec::new();
        for (key, regex, allowed, types) in &self.rules {
            if !types.iter().any(|wanted| wanted == "*" || wanted == kind) {
                continue;
            }
            let value = tags.get(key).filter(|value| !value.trim().is_empty());
            let wrong = match value {
                None => Some("missing_required_tag"),
                Some(value) if !allowed.is_empty() && !allowed.contains(value) => Some("invalid_value"),
                Some(value) if regex.as_ref().is_some_and(|regex| !regex.is_match(value)) => {
                    Some("invalid_format")
                }
                Some(_) => None,
            };
            if let Some(kind) = wrong {
                findings.push(OwnedFinding { _key: key.clone(), _kind: kind, _value: value.cloned() });
            }
        }
        (if findings.is_empty() { Verdict::Compliant } else { Verdict::Violating }, findings)
    }
}

/// The contenders, ready to run over the whole estate.
struct Arena {
    registry: Arc<Registry>,
    resources: Vec<Resource>,
    judge: Judge,
    place: Place,
    sets: Vec<(TypeId, TagSet)>,
    findings: Vec<Finding>,
    baseline: Straightforward,
}

impl Arena {
    fn new() -> Self {
        let registry = Registry::builtin();
        let compiled = compile(&policy(), &registry).expect("a valid policy");
        let mut judge = Judge::new(Arc::new(compiled.policy), Timestamp::UNIX_EPOCH);
        let place = judge.place(&"123456789012".parse().expect("an id"), &BTreeMap::new(), REGION);
        let resources = estate(&registry);
        let sets = resources
            .iter()
            .map(|resource| {
                let mut set = TagSet::default();
                if let Tags::Read(tags) = &resource.tags {
                    judge.intern(tags, &mut set);
                }
                (resource.type_id, set)
            })
            .collect();
        Self {
            registry,
            resources,
            judge,
            place,
            sets,
            findings: Vec::new(),
            baseline: Straightforward::new(),
        }
    }

    fn interned(&mut self) -> Tally {
        let mut tally = Tally::default();
        for (type_id, set) in &self.sets {
            let verdict = self.judge.judge_interned(&self.place, *type_id, "", set, &mut self.findings);
            tally.add(verdict.unwrap_or(Verdict::Unknown), &self.findings);
        }
        tally
    }

    fn whole(&mut self) -> Tally {
        let mut tally = Tally::default();
        for resource in &self.resources {
            let verdict = self.judge.judge(&self.place, resource, &mut self.findings);
            tally.add(verdict, &self.findings);
        }
        tally
    }

    fn baseline(&mut self) -> (u64, u64) {
        let (mut compliant, mut violations) = (0, 0);
        for resource in &self.resources {
            let kind = &self.registry.row(resource.type_id).name;
            let (verdict, findings) = self.baseline.judge(kind, resource);
            compliant += u64::from(verdict == Verdict::Compliant);
            violations += u64::try_from(black_box(findings).len()).unwrap_or(0);
        }
        (compliant, violations)
    }
}

/// The best of a few passes: what the machine can do, not what else it did.
fn per_second<T>(mut pass: impl FnMut() -> T) -> f64 {
    let best = (0..40).map(|_| {
        let start = Instant::now();
        black_box(pass());
        start.elapsed()
    });
    let best = best.min().unwrap_or(Duration::MAX);
    f64::from(u32::try_from(RESOURCES).unwrap_or(u32::MAX)) / best.as_secs_f64()
}

fn evaluation(criterion: &mut Criterion) {
    let mut arena = Arena::new();
    let tally = arena.interned();
    assert_eq!(tally, arena.whole(), "the two paths differ");
    assert_eq!((tally.compliant, tally.violations()), arena.baseline(), "the baseline differs");
    println!(
        "estate: {RESOURCES} resources, {} compliant, {} violations",
        tally.compliant,
        tally.violations()
    );

    let mut group = criterion.benchmark_group("evaluation");
    group.throughput(Throughput::Elements(u64::try_from(RESOURCES).unwrap_or(1)));
    group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    group.bench_function("interned", |bencher| bencher.iter(|| arena.interned()));
    group.bench_function("whole", |bencher| bencher.iter(|| arena.whole()));
    group.bench_function("straightforward", |bencher| bencher.iter(|| arena.baseline()));
    group.finish();

    let baseline = per_second(|| arena.baseline());
    for (name, rate) in [
        ("interned", per_second(|| arena.interned())),
        ("whole", per_second(|| arena.whole())),
        ("straightforward", baseline),
    ] {
        println!("{name:>16}: {:7.2} M resources/s/core, {:5.1}x", rate / 1e6, rate / baseline);
    }
}

criterion_group!(benches, evaluation);
criterion_main!(benches);
