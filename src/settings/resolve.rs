//! Flags, variables, the file and the defaults become settings: once, all mistakes at once, and without forgetting
//! where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::file;
use super::table::{self, Default, Setting, Settings, table};
use super::value::{ControlPlane, Value};

/// Where a value comes from. The first of these that has one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Variable,
    /// The settings file.
    File(PathBuf),
    /// Nobody said.
    Default,
}

/// What was given, by field: the text and where it comes from.
pub type Given = BTreeMap<&'static str, (String, Source)>;

/// What a default may depend on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Whether this process runs in a pod of a Kubernetes cluster.
    pub in_pod: bool,
    /// The namespace of that pod.
    pub pod_namespace: Option<String>,
    /// Whether the log goes to a terminal.
    pub terminal: bool,
}

/// The settings, and how each came about.
#[derive(Debug)]
pub struct Resolution {
    pub settings: Settings,
    pub origins: Vec<Origin>,
}

/// How one setting came about.
#[derive(Debug)]
pub struct Origin {
    pub setting: &'static Setting,
    /// Secrets left out; `-` where there is none.
    pub shown: String,
    pub source: Source,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that cannot be read.
    #[error("the settings file `{path}` cannot be read")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A file that holds no settings.
    #[error("the settings file `{path}`: {message}")]
    File { path: String, message: String },
    /// Values that cannot be used, one a line.
    #[error("{}", .0.join("\n       "))]
    Values(Vec<String>),
}

/// Resolves what the command line and the environment gave, with the file where there is one.
pub fn resolve(
    mut given: Given,
    config: Option<PathBuf>,
    around: &Surroundings,
) -> Result<Resolution, SettingsError> {
    if let Some(path) = config {
        for (field, text) in file::read(&path)? {
            given.entry(field).or_insert_with(|| (text, Source::File(path.clone())));
        }
    }
    let mut resolver = Resolver { given: &given, around, origins: Vec::new(), wrong: Vec::new() };
    let settings = table::read(&mut resolver);
    let Resolver { origins, mut wrong, .. } = resolver;
    if let Some(settings) = settings {
        wrong.extend(contradictions(&settings));
        if wrong.is_empty() {
            return Ok(Resolution { settings, origins });
        }
    }
    Err(SettingsError::Values(wrong))
}

/// Reads one setting after the other.
pub(super) struct Resolver<'a> {
    given: &'a Given,
    around: &'a Surroundings,
    origins: Vec<Origin>,
    wrong: Vec<String>,
}

impl Resolver<'_> {
    /// A setting; `None` where what was given cannot be read, which is then in `wrong`.
    pub(super) fn read<T: Value>(&mut self, field: &'static str) -> Option<T> {
        let setting = table().iter().find(|setting| setting.field == field)?;
        let (text, source) = match (self.given.get(field), setting.default) {
            (Some((text, source)), _) => (Some(text.clone()), source.clone()),
            (None, Default::Nothing) => (None, Source::Default),
            (None, Default::Text(text)) => (Some(text.to_owned()), Source::Default),
            (None, Default::Depends(_, text)) => (Some(text(self.around)), Source::Default),
        };
        let value = match text {
            None => T::ABSENT,
            Some(text) => match T::parse(&text) {
                Ok(value) => Some(value),
                Err(expected) => {
                    // A store that is refused may be a URL with a password in it.
                    let quote =
                        if field == "store" { String::new() } else { format!(" `{}`", clipped(&text)) };
                    let place = Place(setting, &source);
                    self.wrong.push(format!("{place}:{quote} cannot be used: {expected}"));
                    None
                }
            },
        }?;
        self.origins.push(Origin { setting, shown: value.show(), source });
        Some(value)
    }
}

/// The beginning of a text that may be long or odd.
fn clipped(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut clipped: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        clipped.push('…');
    }
    clipped
}

/// Settings that are fine alone and not together.
fn contradictions(settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut refuse = |cond: bool, text: &str| {
        if cond {
            wrong.push(text.to_owned());
        }
    };
    let embedded = settings.control_plane == ControlPlane::Embedded;
    let tls = (settings.api_tls_cert.is_some(), settings.api_tls_key.is_some());
    let self_signed = settings.api_tls_self_signed.is_some();
    refuse(
        !embedded && settings.manifests.is_some(),
        "--manifests: a cluster has its own tools for this: apply the directory with `kubectl apply -f DIR`, Argo CD or \
         Flux, or use --control-plane embedded",
    );
    refuse(
        !embedded && settings.api_listen.is_some(),
        "--api-listen: with --control-plane kubernetes the cluster serves the API",
    );
    refuse(settings.manifests_prune && settings.manifests.is_none(), "--manifests-prune: needs --manifests");
    refuse(
        settings.api_listen.is_some() && settings.api_tokens.is_none(),
        "--api-listen: needs --api-tokens, which says who may use it",
    );
    refuse(
        settings.api_listen.is_none() && (settings.api_tokens.is_some() || tls.0 || tls.1 || self_signed),
        "--api-tokens and --api-tls-…: need --api-listen",
    );
    refuse(tls.0 != tls.1, "--api-tls-cert and --api-tls-key: one needs the other");
    refuse(
        self_signed && (tls.0 || tls.1),
        "--api-tls-self-signed: does not go with --api-tls-cert and --api-tls-key",
    );
    refuse(
        settings.tls_cert.is_some() != settings.tls_key.is_some(),
        "--tls-cert and --tls-key: one needs the other",
    );
    let plain = tls == (false, false) && !self_signed;
    refuse(
        settings.api_listen.is_some_and(|address| !address.ip().is_loopback()) && plain,
        "--api-listen: an address that others can reach needs --api-tls-cert and --api-tls-key, or \
         --api-tls-self-signed",
    );
    wrong
}

/// Where a value was given, in the words of who gave it.
pub(super) struct Place<'a>(pub &'a Setting, pub &'a Source);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Source::Flag => write!(formatter, "--{}", self.0.flag),
            Source::Variable => formatter.write_str(&self.0.variable),
            Source::File(path) => write!(formatter, "{}: {}", path.display(), self.0.key),
            Source::Default => write!(formatter, "the default of --{}", self.0.flag),
        }
    }
}

impl Origin {
    /// Where the value comes from, for people.
    pub fn told(&self) -> String {
        match &self.source {
            Source::Default => "default".to_owned(),
            Source::Flag => format!("flag --{}", self.setting.flag),
            Source::Variable => format!("variable {}", self.setting.variable),
            Source::File(path) => format!("file {}", path.display()),
        }
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Self {
        use std::io::IsTerminal;
        // What the kubelet mounts into a pod that may talk to its API server.
        const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
            && std::path::Path::new(ACCOUNT).join("token").exists();
        let namespace = std::fs::read_to_string(format!("{ACCOUNT}/namespace")).ok();
        Self {
            in_pod,
            pod_namespace: namespace
                .map(|name| name.trim().to_owned())
                .filter(|name| in_pod && !name.is_empty()),
            terminal: std::io::stderr().is_terminal(),
        }
    }
}
