//! The formats of strings that an API server checks, as far as definitions here use them. Others are hints only.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;

/// A format that a text must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    DateTime,
    Date,
    Ipv4,
    Ipv6,
    Uuid,
    Uri,
    Int32,
    Int64,
}

impl Format {
    /// The format of this name, when it is one that is checked.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" | "datetime" => Self::DateTime,
            "date" => Self::Date,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uuid" => Self::Uuid,
            "uri" => Self::Uri,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            _ => return None,
        })
    }

    /// As errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uuid => "uuid",
            Self::Uri => "uri",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
        }
    }

    /// Whether a text has it. Formats of numbers say nothing about texts.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::DateTime => is_date_time(text),
            Self::Date => text.len() == 10 && text.parse::<Date>().is_ok(),
            Self::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
            Self::Uuid => uuid::Uuid::try_parse(text).is_ok(),
            Self::Uri => text.starts_with('/') || url::Url::parse(text).is_ok(),
            Self::Int32 | Self::Int64 => true,
        }
    }
}

/// RFC 3339 and nothing wider: jiff alone would take `2026-01-01 00Z[Etc/UTC]`.
fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at = |index: usize, any: &[u8]| bytes.get(index).is_some_and(|byte| any.contains(byte));
    bytes.len() >= 20
        && at(4, b"-")
        && at(10, b"Tt")
        && at(13, b":")
        && at(16, b":")
        && !text.contains('[')
        && text.parse::<Timestamp>().is_ok()
}
