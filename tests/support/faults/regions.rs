//! Regions that an account has not enabled. The simulator has none: it answers every region as opted in.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use url::form_urlencoded;

use super::answer::{Answer, error};
use super::call::Protocol;
use super::rule::glob;

/// The regions that `DescribeRegions` knows here.
const KNOWN: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-south-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "me-south-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// Regions that every account has from the start.
fn needs_opt_in(region: &str) -> bool {
    matches!(region, "af-south-1" | "ap-east-1" | "eu-south-1" | "me-south-1")
}

/// Answers `DescribeRegions` as AWS does when these regions are enabled.
pub(super) fn describe(form: &Bytes, enabled: &BTreeSet<String>) -> Answer {
    let question = Question::read(form);
    let known: BTreeSet<&str> = KNOWN.iter().copied().chain(enabled.iter().map(String::as_str)).collect();
    if let Some(unknown) = question.names.iter().find(|name| !known.contains(name.as_str())) {
        return error(
            Protocol::Ec2,
            400,
            "InvalidParameterValue",
            &format!("Invalid region name: {unknown}"),
        );
    }
    let mut items = String::new();
    for region in known {
        let status = match (enabled.contains(region), needs_opt_in(region)) {
            (false, _) => "not-opted-in",
            (true, true) => "opted-in",
            (true, false) => "opt-in-not-required",
        };
        if question.wants(region, status, enabled.contains(region)) {
            let _ = write!(
                items,
                "<item><optInStatus>{status}</optInStatus><regionName>{region}</regionName>\
                 <regionEndpoint>ec2.{region}.amazonaws.com</regionEndpoint></item>"
            );
        }
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <DescribeRegionsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>00000000-0000-4000-8000-000000000000</requestId><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    );
    Answer::new(200, "text/xml;charset=UTF-8", body)
}

#[derive(Default)]
struct Question {
    all: bool,
    names: Vec<String>,
    filters: Vec<(String, Vec<String>)>,
}

impl Question {
    fn read(form: &[u8]) -> Self {
        let mut question = Self::default();
        for (key, value) in form_urlencoded::parse(form) {
            let value = value.into_owned();
            if key == "AllRegions" {
                question.all = value == "true";
            } else if key.starts_with("RegionName.") {
                question.names.push(value);
            } else if key.starts_with("Filter.") && key.ends_with(".Name") {
                question.filters.push((value, Vec::new()));
            } else if key.starts_with("Filter.")
                && let Some((_, values)) = question.filters.last_mut()
            {
                values.push(value);
            }
        }
        question
    }

    fn wants(&self, region: &str, status: &str, enabled: bool) -> bool {
        let field = |name: &str| match name {
            "opt-in-status" => Some(status.to_owned()),
            "region-name" => Some(region.to_owned()),
            "endpoint" => Some(format!("ec2.{region}.amazonaws.com")),
            _ => None,
        };
        (self.all || enabled)
            && (self.names.is_empty() || self.names.iter().any(|name| name == region))
            && self.filters.iter().all(|(name, values)| {
                field(name).is_some_and(|field| values.iter().any(|value| glob(value, &field)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enabled_is_only_shown_on_request() {
        let enabled: BTreeSet<String> = ["eu-west-1", "ap-east-1"].map(str::to_owned).into();
        let ask = |form: &'static str| describe(&Bytes::from_static(form.as_bytes()), &enabled).text();
        let count = |text: &str| text.matches("<item>").count();

        let plain = ask("Action=DescribeRegions");
        assert_eq!(count(&plain), 2);
        assert!(plain.contains("<optInStatus>opted-in</optInStatus><regionName>ap-east-1"));
        assert_eq!(count(&ask("AllRegions=true")), KNOWN.len());
        assert_eq!(
            count(&ask(
                "AllRegions=true&Filter.1.Name=opt-in-status&Filter.1.Value.1=opt-in-not-required&Filter.1.Value.2=opted-in"
            )),
            2
        );
        assert_eq!(count(&ask("Filter.1.Name=region-name&Filter.1.Value.1=eu-*")), 1);
        assert_eq!(count(&ask("RegionName.1=us-east-1")), 0);
        assert!(ask("RegionName.1=xx-nowhere-9").contains("InvalidParameterValue"));
    }
}
