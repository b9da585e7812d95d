//! The types that settings have: how each is read from a text, and shown again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tagwarden_apiserver::Location;
use tagwarden_http::{Host, Origin};
use tagwarden_mcp::Toolset;

/// How many values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// True or false; the flag alone means true.
    Switch,
    /// One value.
    One,
    /// Several, repeated or separated by commas.
    Many,
}

/// A type that a setting can have.
pub trait Value: Sized {
    /// What stands for the value in the usage of the flag.
    const PLACEHOLDER: &'static str;
    /// How many values there are.
    const SHAPE: Shape = Shape::One;
    /// The value where nothing is given and there is no default.
    const ABSENT: Option<Self> = None;
    /// Reads a value. The error says what is wrong and what is expected, without quoting the text.
    fn parse(text: &str) -> Result<Self, String>;
    /// The value as `tagwarden config` shows it; secrets are left out.
    fn show(&self) -> String;
}

/// Where objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlPlane {
    /// In the store, served by this process.
    Embedded,
    /// In a Kubernetes cluster.
    Kubernetes,
}

/// Who may ask over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Whoever shows an API key.
    Keys,
    /// Everybody.
    Off,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The URL of a store. A password in it is used and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    url: String,
    location: Location,
}

/// The name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName(String);

/// The name of a tool for agents that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolName(&'static str);

/// An Amazon Resource Name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arn(String);

/// What is logged: a level, or levels by target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

/// A whole number between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl StoreUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// Where the embedded control plane keeps its objects.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The file, where there is one. Only one process may work with it at a time.
    pub fn file(&self) -> Option<&Path> {
        let path = self.url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        (path != ":memory:").then(|| Path::new(path))
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.show())
    }
}

impl Namespace {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ToolName {
    /// The name itself.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Arn {
    /// The ARN itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LogLevel {
    /// The directives, as `tracing` takes them.
    pub fn directives(&self) -> &str {
        &self.0
    }
}

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// One of a few words.
macro_rules! words {
    ($type:ident, $placeholder:literal, { $($word:literal => $variant:ident),+ }) => {
        impl Value for $type {
            const PLACEHOLDER: &'static str = $placeholder;

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("expected {}", [$(concat!("`", $word, "`")),+].join(" or "))),
                }
            }

            fn show(&self) -> String {
                match self { $(Self::$variant => $word.to_owned()),+ }
            }
        }
    };
}

words!(ControlPlane, "embedded|kubernetes", { "embedded" => Embedded, "kubernetes" => Kubernetes });
words!(Auth, "keys|off", { "keys" => Keys, "off" => Off });
words!(LogFormat, "text|json", { "text" => Text, "json" => Json });

impl Value for bool {
    const PLACEHOLDER: &'static str = "true|false";
    const SHAPE: Shape = Shape::Switch;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("expected true or false".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for StoreUrl {
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Location>() {
            Ok(location) => Ok(Self { url: text.to_owned(), location }),
            Err(error) => Err(error.to_string()),
        }
    }

    fn show(&self) -> String {
        self.location.to_string()
    }
}

impl Value for PathBuf {
    const PLACEHOLDER: &'static str = "PATH";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for SocketAddr {
    const PLACEHOLDER: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Self, String> {
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        Self::from_str(local.as_deref().unwrap_or(text))
            .map_err(|_| "expected an address and a port, for example 127.0.0.1:8081 or [::]:8081".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A type that reads and shows itself.
macro_rules! itself {
    ($type:ty, $placeholder:literal) => {
        impl Value for $type {
            const PLACEHOLDER: &'static str = $placeholder;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(str::to_owned)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}

itself!(Host, "HOST");
itself!(Origin, "ORIGIN");

impl Value for Namespace {
    const PLACEHOLDER: &'static str = "NAME";

    fn parse(text: &str) -> Result<Self, String> {
        if label(text) { Ok(Self(text.to_owned())) } else { Err(format!("expected at most 63 {CHARACTERS}")) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

const CHARACTERS: &str = "lower-case letters, digits and `-`, with a letter or a digit at both ends";

fn label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
}

impl Value for ObjectName {
    const PLACEHOLDER: &'static str = "NAME";

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() <= 253 && text.split('.').all(label) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected the name of an object: words of {CHARACTERS}, with dots between them"))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for Toolset {
    const PLACEHOLDER: &'static str = "TOOLSET";

    fn parse(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|toolset| toolset.as_str() == text);
        known.ok_or_else(|| format!("the toolsets are {}", Self::ALL.map(Self::as_str).join(", ")))
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Value for ToolName {
    const PLACEHOLDER: &'static str = "TOOL";

    fn parse(text: &str) -> Result<Self, String> {
        let tools = tagwarden_mcp::tool_names();
        let known = tools.iter().find(|tool| **tool == text);
        known.map(|tool| Self(tool)).ok_or_else(|| format!("the tools are {}", tools.join(", ")))
    }

    fn show(&self) -> String {
        self.0.to_owned()
    }
}

impl Value for Arn {
    const PLACEHOLDER: &'static str = "ARN";

    fn parse(text: &str) -> Result<Self, String> {
        let fits =
            text.starts_with("arn:") && text.split(':').count() >= 6 && !text.contains(char::is_whitespace);
        if fits && text.len() <= 2048 {
            return Ok(Self(text.to_owned()));
        }
        Err("expected an ARN, for example arn:aws:iam::111122223333:role/tagwarden".to_owned())
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for LogLevel {
    const PLACEHOLDER: &'static str = "LEVEL";

    /// Stricter than `tracing`, which takes any word for a target.
    fn parse(text: &str) -> Result<Self, String> {
        let level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let target = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
        };
        let fits = |directive: &str| match directive.split_once('=') {
            Some((before, after)) => target(before) && level(after),
            None => level(directive),
        };
        if text.split(',').all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err("expected `error`, `warn`, `info`, `debug` or `trace`, or such levels by target, for example \
             `info,tagwarden_aws=debug`"
            .to_owned())
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl<const MIN: u32, const MAX: u32> Value for Bounded<MIN, MAX> {
    const PLACEHOLDER: &'static str = "N";

    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("expected a whole number from {MIN} to {MAX}"))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SHAPE: Shape = T::SHAPE;
    const ABSENT: Option<Self> = Some(None);

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), T::show)
    }
}

/// The most values of a list.
const VALUES_MAX: usize = 100;

impl<T: Value> Value for Vec<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SHAPE: Shape = Shape::Many;
    const ABSENT: Option<Self> = Some(Self::new());

    fn parse(text: &str) -> Result<Self, String> {
        let texts: Vec<&str> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        if texts.len() > VALUES_MAX {
            return Err(format!("expected at most {VALUES_MAX} values"));
        }
        texts.into_iter().map(T::parse).collect()
    }

    fn show(&self) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_shown_without_user_password_and_options() {
        for (url, shown) in [
            ("sqlite:a@b.db", "sqlite:a@b.db"),
            ("sqlite:///var/lib/a.db", "sqlite:/var/lib/a.db"),
            ("postgres://db/tags", "postgres://db/tags"),
            ("postgres://me:secret@db:5433/tags?sslmode=require&password=secret", "postgres://db:5433/tags"),
        ] {
            let store = StoreUrl::parse(url).unwrap();
            assert_eq!((store.show(), format!("{store:?}")), (shown.to_owned(), shown.to_owned()), "{url}");
            assert_eq!(store.expose(), url);
        }
        for url in ["mysql://me:secret@db", "postgres://me:sec@ret@db/tags"] {
            assert!(!StoreUrl::parse(url).unwrap_err().contains("secret"), "{url}");
        }
        let file = |url: &str| StoreUrl::parse(url).unwrap().file().map(Path::to_owned);
        assert_eq!(file("sqlite:///a.db"), Some("/a.db".into()));
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("postgres://db/tags"), None);
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_given() {
        fn same<T: Value>(texts: &[&str]) {
            for text in texts {
                assert_eq!(T::parse(text).map(|value| value.show()), Ok((*text).to_owned()));
            }
        }
        same::<ControlPlane>(&["embedded", "kubernetes"]);
        same::<LogFormat>(&["text", "json"]);
        same::<bool>(&["true", "false"]);
        same::<SocketAddr>(&["127.0.0.1:0", "[::]:8081"]);
        same::<Vec<Namespace>>(&["a", "a,b-1"]);
        same::<Option<Namespace>>(&["team-1"]);
        same::<Option<ObjectName>>(&["owner", "team-1.owner"]);
        same::<Vec<Toolset>>(&["read", "scan,policy"]);
        same::<Vec<ToolName>>(&["list_audits", "get_run,cancel_run"]);
        same::<Bounded<10, 300>>(&["10", "300"]);
        same::<Arn>(&["arn:aws:iam::111122223333:role/path/tagwarden"]);
        same::<LogLevel>(&["info", "warn,tagwarden_aws=debug"]);
    }

    #[test]
    fn nonsense_is_refused() {
        fn refused<T: Value>(texts: &[&str]) {
            for text in texts {
                assert!(T::parse(text).is_err(), "{text}");
            }
        }
        refused::<ControlPlane>(&["", "Embedded", "k8s"]);
        refused::<bool>(&["", "yes", "TRUE"]);
        refused::<SocketAddr>(&["", "8081", ":8081", "127.0.0.1", "example.com:80"]);
        refused::<Namespace>(&["", "-a", "a-", "A", "a.b", &"a".repeat(64)]);
        refused::<ObjectName>(&["", "A", "a..b", "a_b", &"a.".repeat(127)]);
        refused::<Toolset>(&["", "Read", "nope"]);
        refused::<ToolName>(&["", "list_audit", "LIST_AUDITS"]);
        refused::<Bounded<10, 300>>(&["", "9", "301", "-1", "1.5", "99999999999"]);
        refused::<Arn>(&["", "tagwarden", "arn:aws:iam", "arn:aws:iam::1:role/a b"]);
        refused::<LogLevel>(&["", "loud", "tagwarden=loud"]);
        refused::<Vec<Namespace>>(&["a,B"]);
    }
}
