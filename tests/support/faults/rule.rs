//! What should go wrong, where, and how often.

use std::time::Duration;

use bytes::Bytes;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error of the service, written as its protocol writes errors.
    Error {
        /// The HTTP status.
        status: u16,
        /// The code as the service spells it.
        code: String,
        /// The message.
        message: String,
    },
    /// The rate limit error of the service.
    Throttle,
    /// The refusal of the service for want of a permission.
    Deny,
    /// The answer of the service to credentials that have expired.
    ExpireCredentials,
    /// Refuses the page token. Touches only calls that carry one.
    ExpireToken,
    /// Cuts the listing into pages of this many items, whatever the simulator does. A rule for actions with a `*`
    /// touches only those that page.
    Repage {
        /// Items a page, at least 1.
        size: usize,
    },
    /// This answer, whatever was asked: for operations that the simulator lacks.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The content type.
        content_type: &'static str,
        /// The body.
        body: Bytes,
    },
    /// Closes the connection without an answer.
    Drop,
    /// Lets the call wait first.
    Delay(Duration),
    /// Promises the whole body and closes the connection half-way.
    BreakBody,
    /// Sends only this share of the body, with a length that agrees: nothing on the wire tells.
    TruncateBody {
        /// 0 to 99 percent.
        keep_percent: u8,
    },
}

impl Fault {
    /// An error of the service.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: code.to_owned(), message: "injected".to_owned() }
    }

    /// The name used in the call log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
            Self::ExpireCredentials => "expire-credentials",
            Self::ExpireToken => "expire-token",
            Self::Repage { .. } => "repage",
            Self::Answer { .. } => "answer",
            Self::Drop => "drop",
            Self::Delay(_) => "delay",
            Self::BreakBody => "break-body",
            Self::TruncateBody { .. } => "truncate-body",
        }
    }

    /// Faults of the wire come on top of an answer; the others are the answer.
    fn is_of_the_wire(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::BreakBody | Self::TruncateBody { .. })
    }
}

/// A fault, the calls it is for, and how often it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    service: String,
    action: String,
    region: Option<String>,
    account: Option<String>,
    skip: u32,
    left: Option<u32>,
    fault: Fault,
}

impl Rule {
    /// A fault for every call of these services and actions; `*` stands for any text.
    pub fn on(service: &str, action: &str, fault: Fault) -> Self {
        Self {
            service: service.to_owned(),
            action: action.to_owned(),
            region: None,
            account: None,
            skip: 0,
            left: None,
            fault,
        }
    }

    /// Only in this region.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Only with credentials of this account.
    #[must_use]
    pub fn in_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Only this many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Only one time.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Not for the first `calls` that it would strike.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    fn is_for(&self, call: &Target<'_>) -> bool {
        let same =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        glob(&self.service, call.service)
            && glob(&self.action, call.action)
            && same(&self.region, call.region)
            && same(&self.account, call.account)
            && match self.fault {
                Fault::ExpireToken => call.further_page,
                Fault::Repage { .. } => call.pages || !self.action.contains('*'),
                _ => true,
            }
    }

    /// Whether it strikes now; counts.
    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The call that rules are matched with.
pub(super) struct Target<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
    pub(super) further_page: bool,
    /// Whether it is known how the action pages.
    pub(super) pages: bool,
}

/// What happens to one call: at most one fault that is its answer, and one of the wire on top.
#[derive(Debug, Default)]
pub(super) struct Strike {
    pub(super) answer: Option<Fault>,
    pub(super) wire: Option<Fault>,
}

/// Picks the first rule of either kind that strikes.
pub(super) fn strike(rules: &mut [Rule], call: &Target<'_>) -> Strike {
    let mut strike = Strike::default();
    for rule in rules.iter_mut() {
        let slot = if rule.fault.is_of_the_wire() { &mut strike.wire } else { &mut strike.answer };
        if slot.is_none() && rule.is_for(call) && rule.strikes() {
            *slot = Some(rule.fault.clone());
        }
    }
    strike
}

/// Whether a text is what a pattern with `*` describes.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| glob(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(service: &'a str, action: &'a str, region: &'a str, further_page: bool) -> Target<'a> {
        Target { service, action, region, account: "111122223333", further_page, pages: false }
    }

    #[test]
    fn globs() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("Describe*", "DescribeVpcs", true),
            ("Describe*s", "DescribeVpcs", true),
            ("*Vpc*", "DescribeVpcs", true),
            ("Describe*x", "DescribeVpcs", false),
            ("ec2", "ec2x", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_strikes_wins_and_is_used_up() {
        let mut rules = [
            Rule::on("ec2", "Describe*", Fault::Throttle).times(2),
            Rule::on("ec2", "DescribeVpcs", Fault::Deny).in_region("eu-west-1"),
            Rule::on("*", "*", Fault::Delay(Duration::from_secs(1))).in_account("111122223333"),
        ];
        let mut next = |region| {
            let strike = strike(&mut rules, &target("ec2", "DescribeVpcs", region, false));
            assert!(strike.wire.is_some());
            strike.answer
        };
        assert_eq!(next("eu-west-1"), Some(Fault::Throttle));
        assert_eq!(next("us-east-1"), Some(Fault::Throttle));
        assert_eq!(next("us-east-1"), None);
        assert_eq!(next("eu-west-1"), Some(Fault::Deny));
    }

    #[test]
    fn a_token_expires_only_where_there_is_one_and_not_before_its_turn() {
        let mut rules = [Rule::on("tagging", "*", Fault::ExpireToken).after(1).once()];
        let mut next =
            |further| strike(&mut rules, &target("tagging", "GetResources", "eu-west-1", further)).answer;
        assert_eq!(next(false), None);
        assert_eq!(next(true), None, "page 2 is let through");
        assert_eq!(next(true), Some(Fault::ExpireToken));
        assert_eq!(next(true), None);
    }

    #[test]
    fn another_account_or_service_is_left_alone() {
        let mut rules =
            [Rule::on("rds", "*", Fault::Deny).in_account("999999999999"), Rule::on("s3", "*", Fault::Deny)];
        assert_eq!(
            strike(&mut rules, &target("rds", "DescribeDBInstances", "eu-west-1", false)).answer,
            None
        );
    }
}
