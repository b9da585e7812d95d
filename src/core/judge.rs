//! Judging resources: what a policy makes of the tags of each.
//!
//! A judge belongs to one worker. It remembers the texts it has seen, and what each distinct value amounted to
//! under each rule, so that an expression runs once for a value however many resources carry it; a resource with
//! nothing wrong costs a few table look-ups and no allocation. What it remembers is bounded, whatever the estate.

mod explain;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::AccountId;
use crate::finding::Finding;
use crate::intern::{Interner, Symbol};
use crate::policy::{Outcome, Policy, TagSelector, is_reserved};
use crate::registry::TypeId;
use crate::resource::{Resource, Tag, Tags};
use crate::tally::Verdict;
use crate::text::folded;

pub use place::Place;
use place::{Reach, TypeScope};

/// Distinct keys or values that are remembered at most.
const MAX_TEXTS: usize = 1 << 16;
/// Bytes of keys or values that are remembered at most.
const MAX_BYTES: usize = 8 << 20;
/// Bytes of outcomes that are remembered at most, over all checks: a policy may have thousands of checks, each with
/// an outcome for every value. Two hundred rules fit with all the values that are remembered.
const MAX_OUTCOMES: usize = 16 << 20;

/// Judges resources by one policy at one time.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    now: Timestamp,
    lookout: Lookout,
    places: HashMap<Box<[bool]>, Place>,
    keys: Interner,
    /// By key.
    facts: Vec<KeyFacts>,
    /// By key; apart from the facts because it is seldom looked at.
    details: Vec<KeyDetails>,
    values: Interner,
    /// By check, then by value: an [`Outcome`] plus one, or zero while unknown.
    memo: Vec<Vec<u8>>,
    /// What the memo takes, in bytes.
    remembered: usize,
    /// By slot: the value of the resource at hand.
    slots: Vec<Symbol>,
    scratch: TagSet,
    generation: u64,
}

/// The tags of one resource as numbers of one judge. Reuse it from resource to resource.
#[derive(Debug, Clone, Default)]
pub struct TagSet {
    pairs: Vec<(Symbol, Symbol)>,
    /// Whether a value is longer than the naming rules want.
    long: bool,
    generation: u64,
}

/// Which keys a policy looks at. Each has a slot; the slot of a rule is its position.
#[derive(Debug)]
struct Lookout {
    slots: HashMap<Arc<str>, u16>,
    slot_count: usize,
    /// Rules by their key without case.
    by_folded_key: HashMap<String, Arc<[u16]>>,
    /// Rules before this one are required tags.
    required: usize,
    selectors: Vec<(u16, TagSelector)>,
    /// By rule: its part of the selectors.
    of_rules: Vec<Range<usize>>,
    /// By exemption: its part of the selectors.
    of_exemptions: Vec<Range<usize>>,
}

/// What matters about a key on every resource.
#[derive(Debug, Clone, Copy)]
struct KeyFacts {
    slot: u16,
    flags: u8,
}

/// What matters about a key once something may be wrong.
#[derive(Debug, Default)]
struct KeyDetails {
    /// Rules whose key differs from this one in case only.
    near: Option<Arc<[u16]>>,
    /// The forbidden tag that it is.
    forbidden: Option<u16>,
    /// What the naming rules would rather see.
    naming: Option<Arc<str>>,
}

const NEAR: u8 = 1;
const FORBIDDEN: u8 = 2;
const MISNAMED: u8 = 4;
const NO_SLOT: u16 = u16::MAX;
/// No value in this slot, or a value that nothing looks at.
const NONE: Symbol = Symbol::new(u32::MAX);

/// The first impression of a resource.
enum Glance {
    OutOfScope,
    Clean,
    /// With the flags of all its keys.
    Suspicious(u8),
}

impl Judge {
    /// A judge who decides at `now` which exemptions are in force.
    pub fn new(policy: Arc<Policy>, now: Timestamp) -> Self {
        let lookout = Lookout::new(&policy);
        Self {
            now,
            places: HashMap::new(),
            keys: Interner::default(),
            facts: Vec::new(),
            details: Vec::new(),
            values: Interner::default(),
            memo: vec![Vec::new(); policy.rules().len() + lookout.selectors.len()],
            remembered: 0,
            slots: vec![NONE; lookout.slot_count],
            scratch: TagSet::default(),
            generation: 0,
            lookout,
            policy,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The part of the policy that is for one region (or `global`) of one account. Cheap to keep and to clone, and
    /// good for every judge of the same policy and time.
    pub fn place(
        &mut self,
        account_id: &AccountId,
        labels: &BTreeMap<String, String>,
        region: &str,
    ) -> Place {
        place::place(&self.policy, self.now, &mut self.places, account_id, labels, region)
    }

    /// Judges a resource found at `place`. Whatever `findings` held is replaced by what was found: rules in the order
    /// of the policy, then forbidden keys, then naming, both by key.
    pub fn judge(&mut self, place: &Place, resource: &Resource, findings: &mut Vec<Finding>) -> Verdict {
        findings.clear();
        let Some(scope) = place.scope(resource.type_id) else { return Verdict::OutOfScope };
        let Tags::Read(tags) = &resource.tags else { return Verdict::Unknown };
        let mut set = std::mem::take(&mut self.scratch);
        self.intern(tags, &mut set);
        let verdict = self.verdict(scope, &resource.arn, &set, findings);
        self.scratch = set;
        verdict
    }

    /// Turns tags into numbers, for [`judge_interned`](Self::judge_interned).
    pub fn intern(&mut self, tags: &[Tag], set: &mut TagSet) {
        self.make_room();
        set.pairs.clear();
        set.long = false;
        set.generation = self.generation;
        let max_value = self.policy.naming().map_or(usize::MAX, crate::policy::Naming::max_value);
        for tag in tags {
            let key = self.key(&tag.key);
            let facts = self.facts[key.index()];
            // Bytes are at least as many as characters; which of the values is too long is found out later.
            let long = tag.value.len() > max_value && !is_reserved(&tag.key);
            let looked_at = facts.slot != NO_SLOT || facts.flags & (NEAR | FORBIDDEN) != 0 || long;
            let value = if looked_at { self.values.intern(&tag.value) } else { NONE };
            set.long |= long;
            set.pairs.push((key, value));
        }
    }

    /// Judges tags that this judge has turned into numbers, as [`judge`](Self::judge) does. `None` if that was so long ago that
    /// it has forgotten them.
    pub fn judge_interned(
        &mut self,
        place: &Place,
        type_id: TypeId,
        arn: &str,
        set: &TagSet,
        findings: &mut Vec<Finding>,
    ) -> Option<Verdict> {
        findings.clear();
        if set.generation != self.generation {
            return None;
        }
        Some(match place.scope(type_id) {
            Some(scope) => self.verdict(scope, arn, set, findings),
            None => Verdict::OutOfScope,
        })
    }

    fn verdict(
        &mut self,
        scope: &TypeScope,
        arn: &str,
        set: &TagSet,
        findings: &mut Vec<Finding>,
    ) -> Verdict {
        match self.glance(scope, set) {
            Glance::OutOfScope => Verdict::OutOfScope,
            Glance::Clean => Verdict::Compliant,
            Glance::Suspicious(flags) => self.explain(scope, arn, set, flags, findings),
        }
    }

    /// Sorts the values into their slots and looks whether anything may be wrong.
    fn glance(&mut self, scope: &TypeScope, set: &TagSet) -> Glance {
        self.slots.fill(NONE);
        let mut flags = 0;
        for &(key, value) in &set.pairs {
            let facts = self.facts[key.index()];
            flags |= facts.flags;
            if facts.slot != NO_SLOT {
                self.slots[usize::from(facts.slot)] = value;
            }
        }
        let mut suspicious = flags != 0 || set.long;
        let mut in_scope = scope.reach == Reach::Always;
        for &rule in &scope.rules {
            let rule = usize::from(rule);
            if !self.hold(self.lookout.of_rules[rule].clone()) {
                continue;
            }
            let required = rule < self.lookout.required;
            in_scope |= required;
            suspicious |= match self.slots[rule] {
                NONE => required,
                value => self.outcome(rule, value) != Outcome::Good,
            };
        }
        match (in_scope, suspicious) {
            (false, _) => Glance::OutOfScope,
            (true, false) => Glance::Clean,
            (true, true) => Glance::Suspicious(flags),
        }
    }

    /// Whether the tags of the resource at hand satisfy all of these selectors.
    fn hold(&mut self, selectors: Range<usize>) -> bool {
        for selector in selectors {
            let value = self.slots[usize::from(self.lookout.selectors[selector].0)];
            if value == NONE || self.outcome(self.policy.rules().len() + selector, value) != Outcome::Good {
                return false;
            }
        }
        true
    }

    /// What a value amounts to under a check: a rule, or after those a selector.
    fn outcome(&mut self, check: usize, value: Symbol) -> Outcome {
        match self.memo[check].get(value.index()).copied().and_then(Outcome::remembered) {
            Some(outcome) => outcome,
            None => self.find_out(check, value),
        }
    }

    #[cold]
    fn find_out(&mut self, check: usize, value: Symbol) -> Outcome {
        let text = self.values.text(value);
        let outcome = match self.policy.rules().get(check) {
            Some(rule) if rule.required() && text.trim().is_empty() => Outcome::Blank,
            Some(rule) => rule.values().judge(text),
            None if self.lookout.selectors[check - self.policy.rules().len()].1.accepts(text) => {
                Outcome::Good
            }
            None => Outcome::NotAllowed,
        };
        self.remember(check, value, outcome);
        outcome
    }

    /// Where there is no room left the outcome is found out again, up to the next resource, which makes room.
    fn remember(&mut self, check: usize, value: Symbol, outcome: Outcome) {
        let column = &mut self.memo[check];
        if column.len() <= value.index() {
            if self.remembered >= MAX_OUTCOMES {
                return;
            }
            let before = column.capacity();
            column.resize(value.index() + 1, 0);
            self.remembered += column.capacity() - before;
        }
        column[value.index()] = outcome.to_remember();
    }

    /// The number of a key, about which everything is known from then on.
    fn key(&mut self, text: &str) -> Symbol {
        let key = self.keys.intern(text);
        if key.index() == self.facts.len() {
            let (facts, details) = self.study(text);
            self.facts.push(facts);
            self.details.push(details);
        }
        key
    }

    fn study(&self, key: &str) -> (KeyFacts, KeyDetails) {
        let slot = self.lookout.slots.get(key).copied();
        let mut facts = KeyFacts { slot: slot.unwrap_or(NO_SLOT), flags: 0 };
        if is_reserved(key) {
            return (facts, KeyDetails::default());
        }
        let rules = self.policy.rules().len();
        // A key that has a rule of its own is not a misspelling of another.
        let near = match slot {
            Some(slot) if usize::from(slot) < rules => None,
            _ => self.lookout.by_folded_key.get(&folded(key)),
        };
        let forbidden = self.policy.forbidden().iter().position(|tag| tag.key.matches(key));
        let details = KeyDetails {
            near: near.cloned(),
            forbidden: forbidden.and_then(|position| u16::try_from(position).ok()),
            naming: self.policy.naming().and_then(|naming| naming.key_breach(key)).cloned(),
        };
        facts.flags = [
            (details.near.is_some(), NEAR),
            (details.forbidden.is_some(), FORBIDDEN),
            (details.naming.is_some(), MISNAMED),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .sum();
        (facts, details)
    }

    /// Forgets everything once it is too much. Only between resources.
    fn make_room(&mut self) {
        let full = |texts: &Interner| texts.len() >= MAX_TEXTS || texts.bytes() >= MAX_BYTES;
        if full(&self.keys) || full(&self.values) || self.remembered >= MAX_OUTCOMES {
            self.keys.clear();
            self.facts.clear();
            self.details.clear();
            self.values.clear();
            // Not only emptied: what another mix of values needs next would come on top.
            self.memo.fill_with(Vec::new);
            self.remembered = 0;
            self.generation += 1;
        }
    }
}

impl Lookout {
    fn new(policy: &Policy) -> Self {
        let mut lookout = Self {
            slots: HashMap::new(),
            slot_count: policy.rules().len(),
            by_folded_key: HashMap::new(),
            required: policy.required().count(),
            selectors: Vec::new(),
            of_rules: Vec::new(),
            of_exemptions: Vec::new(),
        };
        let mut by_folded_key: HashMap<String, Vec<u16>> = HashMap::new();
        for (position, rule) in (0_u16..).zip(policy.rules()) {
            lookout.slots.insert(Arc::clone(rule.key()), position);
            by_folded_key.entry(folded(rule.key())).or_default().push(position);
        }
        lookout.by_folded_key = by_folded_key.into_iter().map(|(key, rules)| (key, rules.into())).collect();
        for rule in policy.rules() {
            let range = lookout.watch(&rule.scope().tags);
            lookout.of_rules.push(range);
        }
        for exemption in policy.exemptions() {
            let range = lookout.watch(exemption.resources().map_or(&[], |scope| &*scope.tags));
            lookout.of_exemptions.push(range);
        }
        lookout
    }

    fn watch(&mut self, selectors: &[TagSelector]) -> Range<usize> {
        let start = self.selectors.len();
        for selector in selectors {
            // At most 400 lists of 20 selectors, so a u16 holds every slot.
            let next = u16::try_from(self.slot_count).unwrap_or(NO_SLOT - 1);
            let slot = *self.slots.entry(Arc::clone(&selector.key)).or_insert(next);
            self.slot_count = self.slot_count.max(usize::from(slot) + 1);
            self.selectors.push((slot, selector.clone()));
        }
        start..self.selectors.len()
    }
}
