//! Amazon Resource Names: the identity of every resource.
//!
//! An [`Arn`] borrows the text it was read from and only knows the six fields; which type of resource it
//! names, and what people call that resource, is the registry's knowledge.

use std::fmt;

/// The longest ARN that AWS hands out, in bytes; a longer text is not read.
pub const MAX_BYTES: usize = 2048;

/// How much of a refused text is repeated in the message, in characters.
const QUOTED_CHARS: usize = 120;

/// An ARN, in its fields. `Display` gives back the text it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub partition: &'a str,
    /// The namespace of the service, such as `ec2` or `states`.
    pub service: &'a str,
    /// Empty where the service leaves it out.
    pub region: &'a str,
    /// Twelve digits, a word such as `aws` for what AWS owns, or empty where the service leaves it out.
    pub account: &'a str,
    /// Everything after: never empty, and may contain `:` and `/`.
    pub resource: &'a str,
}

/// A text that is not an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Longer than any ARN.
    #[error("`{start}…` is not an ARN: it has {bytes} bytes, and an ARN at most {MAX_BYTES}")]
    TooLong {
        /// How it begins.
        start: String,
        /// How long it is.
        bytes: usize,
    },
    /// Of another form.
    #[error("`{text}` is not an ARN: {problem}; expected `arn:partition:service:region:account:resource`")]
    Malformed {
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        problem: Malformed,
    },
}

/// What keeps a text from being an ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `arn:` in front.
    #[error("it does not begin with `arn:`")]
    Prefix,
    /// Fewer than six fields.
    #[error("it has fewer than six fields between its colons")]
    Fields,
    /// Empty, or with other characters than lower case letters, digits and `-`.
    #[error("its partition is not a word of lower case letters, digits and `-`")]
    Partition,
    /// Empty, or with other characters than lower case letters, digits and `-`.
    #[error("its service is not a word of lower case letters, digits and `-`")]
    Service,
    /// With other characters than lower case letters, digits and `-`.
    #[error("its region is neither empty nor a word of lower case letters, digits and `-`")]
    Region,
    /// With other characters than lower case letters, digits and `-`.
    #[error("its account is neither empty nor twelve digits nor a word")]
    Account,
    /// Empty, or with control characters.
    #[error("its resource is empty or contains control characters")]
    Resource,
}

impl<'a> Arn<'a> {
    /// Reads an ARN.
    pub fn parse(text: &'a str) -> Result<Self, ArnError> {
        if text.len() > MAX_BYTES {
            return Err(ArnError::TooLong { start: quoted(text), bytes: text.len() });
        }
        Self::fields(text).map_err(|problem| ArnError::Malformed { text: quoted(text), problem })
    }

    fn fields(text: &'a str) -> Result<Self, Malformed> {
        let rest = text.strip_prefix("arn:").ok_or(Malformed::Prefix)?;
        let mut fields = rest.splitn(5, ':');
        let mut next = || fields.next().ok_or(Malformed::Fields);
        let arn = Self {
            partition: next()?,
            service: next()?,
            region: next()?,
            account: next()?,
            resource: next()?,
        };
        if arn.partition.is_empty() || !is_word(arn.partition) {
            return Err(Malformed::Partition);
        }
        if arn.service.is_empty() || !is_word(arn.service) {
            return Err(Malformed::Service);
        }
        if !is_word(arn.region) {
            return Err(Malformed::Region);
        }
        if !is_word(arn.account) {
            return Err(Malformed::Account);
        }
        if arn.resource.is_empty() || arn.resource.chars().any(char::is_control) {
            return Err(Malformed::Resource);
        }
        Ok(arn)
    }
}

impl<'a> TryFrom<&'a str> for Arn<'a> {
    type Error = ArnError;

    fn try_from(text: &'a str) -> Result<Self, Self::Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Arn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(formatter, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_resource_keeps_its_colons() {
        let arn = Arn::parse("arn:aws-cn:logs:cn-north-1:123456789012:log-group:/aws/lambda/f:*").unwrap();
        assert_eq!(
            arn,
            Arn {
                partition: "aws-cn",
                service: "logs",
                region: "cn-north-1",
                account: "123456789012",
                resource: "log-group:/aws/lambda/f:*",
            }
        );
    }

    #[test]
    fn region_and_account_may_be_left_out() {
        let arn = Arn::parse("arn:aws:s3:::logs").unwrap();
        assert_eq!((arn.region, arn.account, arn.resource), ("", "", "logs"));
        assert_eq!(Arn::parse("arn:aws:iam::aws:policy/ReadOnlyAccess").unwrap().account, "aws");
    }

    #[test]
    fn a_refusal_quotes_the_text_and_says_what_was_expected() {
        let error = Arn::parse("i-0123456789").unwrap_err().to_string();
        assert_eq!(
            error,
            "`i-0123456789` is not an ARN: it does not begin with `arn:`; \
             expected `arn:partition:service:region:account:resource`"
        );
    }

    #[test]
    fn every_field_is_checked() {
        let cases = [
            ("", Malformed::Prefix),
            ("ARN:aws:s3:::b", Malformed::Prefix),
            ("arn:aws:s3:::", Malformed::Resource),
            ("arn:aws:s3::", Malformed::Fields),
            ("arn::s3:::b", Malformed::Partition),
            ("arn:AWS:s3:::b", Malformed::Partition),
            ("arn:aws::::b", Malformed::Service),
            ("arn:aws:s 3:::b", Malformed::Service),
            ("arn:aws:ec2:*:123456789012:instance/i", Malformed::Region),
            ("arn:aws:ec2:us-east-1:{account}:instance/i", Malformed::Account),
            ("arn:aws:s3:::a\nb", Malformed::Resource),
        ];
        for (text, expected) in cases {
            match Arn::parse(text) {
                Err(ArnError::Malformed { problem, .. }) => assert_eq!(problem, expected, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn length_is_bounded_and_so_is_the_message() {
        let prefix = "arn:aws:s3:::";
        let longest = format!("{prefix}{}", "b".repeat(MAX_BYTES - prefix.len()));
        assert!(Arn::parse(&longest).is_ok());
        let error = Arn::parse(&format!("{longest}b")).unwrap_err();
        assert!(matches!(error, ArnError::TooLong { bytes, .. } if bytes == MAX_BYTES + 1));
        assert!(error.to_string().len() < 300);
        assert!(Arn::parse(&"é".repeat(900)).unwrap_err().to_string().chars().count() < 300);
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(
            partition in "[a-z0-9-]{1,12}",
            service in "[a-z0-9-]{1,20}",
            region in "[a-z0-9-]{0,16}",
            account in "([0-9]{12})?",
            resource in "\\PC{1,200}",
        ) {
            let text = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
            let arn = Arn::parse(&text).unwrap();
            prop_assert_eq!(arn.to_string(), text.as_str());
            prop_assert_eq!(
                (arn.partition, arn.service, arn.region, arn.account, arn.resource),
                (&*partition, &*service, &*region, &*account, &*resource)
            );
        }

        #[test]
        fn any_text_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000), arn in any::<bool>()) {
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            if arn {
                text.insert_str(0, "arn:aws:");
            }
            match Arn::parse(&text) {
                Ok(arn) => prop_assert_eq!(arn.to_string(), text),
                Err(error) => prop_assert!(error.to_string().contains("is not an ARN")),
            }
        }
    }
}
