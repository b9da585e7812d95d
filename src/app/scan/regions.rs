//! Which regions of each account a scan looks at. Choosing only; nothing here calls anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::survey::Surveyed;

/// What to look at in one account. An account that could not be entered has no regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// To be listed, sorted.
    pub regions: Vec<Arc<str>>,
    /// Wanted, but not to be had here, and why.
    pub unavailable: Vec<(Arc<str>, String)>,
}

/// A region that was asked for and that no account has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub asked: String,
    pub available: Vec<String>,
}

/// The field of each survey, in the same order.
pub(super) fn choose<S>(asked: &[String], surveys: &[Surveyed<S>]) -> Result<Vec<Field>, Missing> {
    let fields = fields(asked, surveys);
    for region in asked {
        let known = |field: &Field| field.regions.iter().any(|name| **name == **region);
        let could_tell = surveys.iter().any(|survey| survey.enabled().is_some());
        if could_tell && !fields.iter().any(known) {
            return Err(Missing { asked: region.clone(), available: available(surveys) });
        }
    }
    Ok(fields)
}

/// The field of each survey, whatever is asked for: a region that nobody has is a gap like any other.
pub(super) fn fields<S>(asked: &[String], surveys: &[Surveyed<S>]) -> Vec<Field> {
    surveys.iter().map(|survey| field(asked, survey)).collect()
}

fn available<S>(surveys: &[Surveyed<S>]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for survey in surveys {
        let allowed = survey.enabled().unwrap_or_default().iter().filter(|region| survey.allows(region));
        names.extend(allowed.map(ToString::to_string));
    }
    names.into_iter().collect()
}

fn field<S>(asked: &[String], survey: &Surveyed<S>) -> Field {
    let Some(entered) = survey.entered() else { return Field::default() };
    let target = &survey.target;
    let named = if asked.is_empty() { &target.include_regions } else { asked };
    // What the owner lists and excludes is excluded; what is asked for and excluded has to be said.
    let counts = |region: &&str| !asked.is_empty() || survey.allows(region);
    let wanted: BTreeSet<&str> = named.iter().map(String::as_str).filter(counts).collect();
    let enabled = match &entered.regions {
        Ok(enabled) if named.is_empty() => {
            let regions = enabled.iter().filter(|region| survey.allows(region)).cloned().collect();
            return Field { regions, ..Field::default() };
        }
        Ok(enabled) => Some(enabled),
        Err(_) => None,
    };
    // Discovery failed: what was named is tried, or else the default region; the report says so.
    let wanted = if named.is_empty() { BTreeSet::from([&*entered.default_region]) } else { wanted };
    let mut field = Field::default();
    for region in wanted {
        match unavailable(region, enabled.map(Vec::as_slice), survey) {
            Some(why) => field.unavailable.push((region.into(), why)),
            None => field.regions.push(region.into()),
        }
    }
    field
}

/// Why a region cannot be looked at, if it cannot. Without discovery, whatever is allowed is tried.
fn unavailable<S>(region: &str, enabled: Option<&[Arc<str>]>, survey: &Surveyed<S>) -> Option<String> {
    if !survey.allows(region) {
        return Some("the account's owner does not let us look at this region".into());
    }
    let enabled = enabled?;
    let missing = !enabled.iter().any(|name| **name == *region);
    missing.then(|| format!("the region is not enabled in this account; enabled: {}", enabled.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tagwarden_core::coverage::{CellState, Gap};

    use super::super::survey::Entered;
    use super::*;
    use crate::ports::{Access, AccountTarget};

    fn surveyed(enabled: Option<&[&str]>, include: &[&str], exclude: &[&str]) -> Surveyed<()> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let gap = Gap { state: CellState::Denied, cause: "no".into() };
        let regions = enabled.map(|names| names.iter().map(|name| Arc::from(*name)).collect()).ok_or(gap);
        Surveyed {
            target: AccountTarget {
                name: None,
                account_id: None,
                labels: BTreeMap::new(),
                access: Access::Ambient,
                include_regions: owned(include),
                exclude_regions: owned(exclude),
            },
            result: Ok(Entered {
                session: Arc::new(()),
                account_id: "111111111111".parse().unwrap(),
                default_region: "us-east-1".into(),
                regions,
            }),
        }
    }

    fn chosen(asked: &[&str], survey: Surveyed<()>) -> Result<(Vec<String>, Vec<String>), Missing> {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let mut fields = choose(&asked, &[survey])?;
        let field = fields.remove(0);
        let regions = field.regions.iter().map(ToString::to_string).collect();
        Ok((regions, field.unavailable.iter().map(|(region, _)| region.to_string()).collect()))
    }

    type Names = &'static [&'static str];

    #[test]
    fn enabled_and_allowed_and_asked_for() {
        let enabled: Option<&[&str]> = Some(&["eu-west-1", "us-east-1", "us-west-2"]);
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let cases: &[(Names, Names, Names, Names, Names)] = &[
            // asked, include, exclude → regions, unavailable
            (&[], &[], &[], &["eu-west-1", "us-east-1", "us-west-2"], &[]),
            (&[], &[], &["us-east-1"], &["eu-west-1", "us-west-2"], &[]),
            (&[], &["eu-west-1", "ap-east-1"], &[], &["eu-west-1"], &["ap-east-1"]),
            (&["eu-west-1", "eu-west-1"], &[], &[], &["eu-west-1"], &[]),
            (&["eu-west-1"], &["eu-west-1", "us-east-1"], &[], &["eu-west-1"], &[]),
        ];
        for (asked, include, exclude, regions, unavailable) in cases {
            let result = chosen(asked, surveyed(enabled, include, exclude)).unwrap();
            assert_eq!(
                result,
                (strings(regions), strings(unavailable)),
                "asked {asked:?}, include {include:?}"
            );
        }
    }

    #[test]
    fn a_region_that_no_account_has_is_refused_with_the_available_ones() {
        let missing = chosen(&["mars-1"], surveyed(Some(&["eu-west-1", "us-east-1"]), &[], &["us-east-1"]));
        assert_eq!(missing, Err(Missing { asked: "mars-1".into(), available: vec!["eu-west-1".into()] }));
        let outside =
            chosen(&["us-east-1"], surveyed(Some(&["eu-west-1", "us-east-1"]), &["eu-west-1"], &[]));
        assert!(outside.is_err(), "the owner of the account allows eu-west-1 only");
    }

    #[test]
    fn a_region_that_some_account_has_is_a_gap_in_the_others() {
        let surveys = [
            surveyed(Some(&["eu-west-1"]), &[], &[]),
            surveyed(Some(&["eu-west-1", "eu-south-1"]), &[], &[]),
        ];
        let fields = choose(&["eu-south-1".to_owned()], &surveys).unwrap();
        assert_eq!(&*fields[0].unavailable[0].0, "eu-south-1");
        assert!(fields[0].unavailable[0].1.contains("enabled: eu-west-1"));
        assert_eq!(fields[1].regions, vec![Arc::from("eu-south-1")]);
    }

    #[test]
    fn a_region_that_an_owner_excludes_is_a_gap_where_it_is_asked_for() {
        let surveys =
            [surveyed(Some(&["eu-west-1"]), &[], &["eu-west-1"]), surveyed(Some(&["eu-west-1"]), &[], &[])];
        let fields = choose(&["eu-west-1".to_owned()], &surveys).unwrap();
        assert!(fields[0].regions.is_empty() && fields[0].unavailable[0].1.contains("owner"));
        assert_eq!(fields[1].regions, vec![Arc::from("eu-west-1")]);
    }

    #[test]
    fn without_discovery_nothing_is_tried_that_the_owner_does_not_allow() {
        let none: Vec<String> = Vec::new();
        let not_the_default = chosen(&[], surveyed(None, &[], &["us-east-1"])).unwrap();
        assert_eq!(not_the_default, (none.clone(), vec!["us-east-1".to_owned()]));
        let not_included = chosen(&["eu-west-1"], surveyed(None, &["sa-east-1"], &[])).unwrap();
        assert_eq!(not_included, (none, vec!["eu-west-1".to_owned()]));
    }

    #[test]
    fn without_discovery_the_named_regions_or_the_default_one() {
        assert_eq!(chosen(&[], surveyed(None, &[], &[])).unwrap().0, ["us-east-1"]);
        assert_eq!(chosen(&["eu-west-1"], surveyed(None, &[], &[])).unwrap().0, ["eu-west-1"]);
        assert_eq!(chosen(&[], surveyed(None, &["sa-east-1"], &[])).unwrap().0, ["sa-east-1"]);
    }
}
