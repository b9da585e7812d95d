//! The names of AWS regions: what one looks like, and which are known.
//!
//! Known ones serve to catch slips of the pen. They are never a condition: AWS opens regions faster than anybody
//! upgrades, and which of them an account has enabled only AWS can say.

use crate::glob::Glob;
use crate::resource::GLOBAL;

/// The longest name, or pattern of names, in bytes.
const MAX_BYTES: usize = 32;

/// Below this likeness (0 to 1) an offer would be a guess.
const MIN_LIKENESS: f64 = 0.7;

/// Where in its area a region lies; every name has one of these before its number.
const DIRECTIONS: [&str; 9] =
    ["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];

/// The regions of all partitions that are open to customers.
const KNOWN: [&str; 39] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// What a written region, or pattern of regions, turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// A known region, `global`, or a pattern that matches one of these.
    Known,
    /// It may be a region that is not known yet; with the known one that it looks like.
    Unheard(Option<&'static str>),
    /// No region at all; with the known one that it looks like.
    Impossible(Option<&'static str>),
}

/// What this name, or pattern with `*`, is.
pub(crate) fn look_up(written: &str) -> Written {
    let is_pattern = written.contains('*');
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*');
    if written.len() > MAX_BYTES || !written.bytes().all(plain) || !(is_pattern || is_shaped(written)) {
        return Written::Impossible(nearest(written));
    }
    let pattern = Glob::new(written);
    if KNOWN.iter().chain(&[GLOBAL]).any(|region| pattern.matches(region)) {
        return Written::Known;
    }
    Written::Unheard(if is_pattern { None } else { nearest(written) })
}

/// Area, direction, number: `eu-west-1`, `us-gov-east-1`.
fn is_shaped(name: &str) -> bool {
    let mut parts = name.rsplit('-');
    let number = parts.next().unwrap_or_default();
    let direction = parts.next().unwrap_or_default();
    let mut areas = parts.peekable();
    name == GLOBAL
        || (!number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && DIRECTIONS.contains(&direction)
            && areas.peek().is_some()
            && areas.all(|area| !area.is_empty()))
}

fn nearest(written: &str) -> Option<&'static str> {
    let wanted: String = written.trim().to_lowercase().chars().take(MAX_BYTES).collect();
    let likeness = |region: &str| strsim::normalized_damerau_levenshtein(&wanted, region);
    let offers = KNOWN.iter().chain(&[GLOBAL]).map(|region| (likeness(region), *region));
    // The first of the likest, so that `eu-west` is offered `eu-west-1`.
    let best = offers.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(likeness, _)| *likeness >= MIN_LIKENESS).map(|(_, region)| region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_news() {
        for (written, expected) in [
            ("eu-west-1", Written::Known),
            ("us-gov-east-1", Written::Known),
            ("eusc-de-east-1", Written::Known),
            ("global", Written::Known),
            ("*", Written::Known),
            ("eu-*", Written::Known),
            ("*-1", Written::Known),
            ("us-isob-east-1", Written::Unheard(Some("us-gov-east-1"))),
            ("qx-southwest-12", Written::Unheard(None)),
            ("eu-west-9", Written::Unheard(Some("eu-west-1"))),
            ("eu-wets-*", Written::Unheard(None)),
            ("eu-wets-1", Written::Impossible(Some("eu-west-1"))),
            ("EU-West-1", Written::Impossible(Some("eu-west-1"))),
            ("eu-west-1a", Written::Impossible(Some("eu-west-1"))),
            ("eu-west", Written::Impossible(Some("eu-west-1"))),
            ("globals", Written::Impossible(Some("global"))),
            ("-west-1", Written::Impossible(Some("ca-west-1"))),
            ("Frankfurt", Written::Impossible(None)),
            ("", Written::Impossible(None)),
            ("eu-west-1 ", Written::Impossible(Some("eu-west-1"))),
            ("eu-west-111111111111111111111111111111", Written::Impossible(None)),
        ] {
            assert_eq!(look_up(written), expected, "{written}");
        }
        assert!(KNOWN.is_sorted() && KNOWN.iter().all(|region| is_shaped(region)));
    }
}
