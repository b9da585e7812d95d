//! Every setting, once: its type, its default and what it is for. Flags, variables, keys of the file, the usage, the
//! reference page and the sample file all derive from this table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use tagwarden_http::{Host, Origin};
use tagwarden_mcp::Toolset;

use super::Surroundings;
use super::resolve::Resolver;
use super::value::{
    Arn, Auth, Bounded, ControlPlane, LogFormat, LogLevel, Namespace, ObjectName, Shape, StoreUrl, ToolName,
    Value,
};

/// One row of the table.
#[derive(Debug)]
pub struct Setting {
    /// The field of [`Settings`], which is also the id of the argument.
    pub field: &'static str,
    /// What it belongs to, as a heading.
    pub section: &'static str,
    /// What it does, in a few sentences.
    pub about: String,
    /// `metrics-listen`, without the dashes in front.
    pub flag: String,
    /// `TAGWARDEN_METRICS_LISTEN`.
    pub variable: String,
    /// `metricsListen`.
    pub key: String,
    /// What stands for the value: its unit, or what it is.
    pub placeholder: &'static str,
    /// How many values it takes.
    pub shape: Shape,
    /// What it is where nobody says.
    pub default: Default,
}

/// What a setting is where nobody says.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// Nothing at all.
    Nothing,
    /// This text.
    Text(&'static str),
    /// It depends, in these words.
    Depends(&'static str, fn(&Surroundings) -> String),
}

/// The setting that all commands have as a flag of their own.
pub const SHARED: &str = "resource_types";

/// All settings, in the order in which they are shown.
pub fn table() -> &'static [Setting] {
    static TABLE: LazyLock<Vec<Setting>> = LazyLock::new(rows);
    &TABLE
}

impl Setting {
    fn new<T: Value>(
        field: &'static str,
        section: &'static str,
        about: &[&str],
        unit: Option<&'static str>,
        default: Default,
    ) -> Self {
        let about: Vec<&str> = about.iter().map(|line| line.trim()).collect();
        Self {
            field,
            section,
            about: about.join(" "),
            flag: field.replace('_', "-"),
            variable: format!("TAGWARDEN_{}", field.to_ascii_uppercase()),
            key: camel(field),
            placeholder: unit.unwrap_or(T::PLACEHOLDER),
            shape: T::SHAPE,
            default,
        }
    }
}

fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut key = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        key.push_str(&first.to_ascii_uppercase());
        key.push_str(rest);
    }
    key
}

macro_rules! settings {
    ($($section:literal { $(
        $(#[doc = $about:literal])+
        $field:ident: $type:ty $(, $unit:literal)? = $default:expr;
    )+ })+) => {
        /// Everything `tagwarden run` goes by, resolved.
        #[derive(Debug, Clone)]
        pub struct Settings { $($($(#[doc = $about])+ pub $field: $type,)+)+ }

        fn rows() -> Vec<Setting> {
            vec![$($(Setting::new::<$type>(
                stringify!($field), $section, &[$($about),+], [$($unit)?].first().copied(), $default,
            ),)+)+]
        }

        /// Reads every setting, so that all that is wrong is found at once.
        pub(super) fn read(resolver: &mut Resolver<'_>) -> Option<Settings> {
            $($(let $field = resolver.read::<$type>(stringify!($field));)+)+
            Some(Settings { $($($field: $field?,)+)+ })
        }
    };
}

settings! {
    "Objects and results" {
        /// Where policies, accounts and audits live: `embedded` keeps them in the store and serves them from this
        /// process, `kubernetes` uses the cluster that the pod runs in or that the kubeconfig names.
        control_plane: ControlPlane = Default::Depends("`kubernetes` in a pod, else `embedded`", |around| {
            if around.in_pod { "kubernetes" } else { "embedded" }.to_owned()
        });
        /// Where runs and findings are kept, and the objects of the embedded control plane: `sqlite:PATH` or
        /// `postgres://USER:PASSWORD@HOST/DATABASE`. Several replicas need PostgreSQL.
        store: StoreUrl = Default::Text("sqlite:tagwarden.db");
        /// A directory of manifests to apply, at start and whenever they change. Only with the embedded control
        /// plane.
        manifests: Option<PathBuf>, "DIR" = Default::Nothing;
        /// Delete objects that came from the manifest directory when they are gone from it. Never while a file
        /// cannot be read or the directory is missing.
        manifests_prune: bool = Default::Text("false");
        /// The namespace of manifests that name none, and of the lease by which replicas elect their leader.
        namespace: Namespace = Default::Depends("that of the pod, else `default`", |around| {
            around.pod_namespace.clone().unwrap_or_else(|| "default".to_owned())
        });
        /// Look after the objects of these namespaces only. Without it, of all.
        watch_namespaces: Vec<Namespace> = Default::Nothing;
    }
    "Listeners" {
        /// Where people, scripts and agents ask: MCP at `/mcp`, REST below `/v1`, its description at `/openapi.json`,
        /// and `/health`.
        listen: SocketAddr = Default::Text("127.0.0.1:8080");
        /// Who may ask there: `keys` asks for an API key, which `tagwarden keys create` makes; `off` lets everybody in who
        /// can reach the address, as the tenant of `--namespace`. Without it, `off` at an address of this machine alone,
        /// else `keys`.
        auth: Option<Auth> = Default::Nothing;
        /// The names under which `--listen` may be asked, besides those of this machine: `tags.example.com`, or
        /// `*.example.com`. Without it, any name where keys are asked for, and none where they are not.
        allowed_hosts: Vec<Host> = Default::Nothing;
        /// The origins of web pages that may ask, for example `https://console.example.com`.
        allowed_origins: Vec<Origin> = Default::Nothing;
        /// The certificate chain of `--listen`, in PEM. It is read again when it changes. Without it, something in front has
        /// to speak TLS where others can listen on the way.
        tls_cert: Option<PathBuf>, "FILE" = Default::Nothing;
        /// The private key of that certificate, in PEM.
        tls_key: Option<PathBuf>, "FILE" = Default::Nothing;
        /// Requests that one tenant may send to `--listen` per second, in the long run.
        tenant_rate: Bounded<1, 100_000>, "REQUESTS" = Default::Text("100");
        /// Requests that one address may send to `--listen` per second, in the long run. Behind a proxy, all have its
        /// address.
        address_rate: Bounded<1, 100_000>, "REQUESTS" = Default::Text("200");
        /// Where `/healthz`, `/readyz` and `/metrics` are served, to anybody who can reach the address.
        metrics_listen: SocketAddr = Default::Text("127.0.0.1:8081");
        /// Serve the API of the embedded control plane here, for `kubectl` and `tagwarden get`. Off unless given.
        /// An address that is not of this machine alone needs TLS.
        api_listen: Option<SocketAddr> = Default::Nothing;
        /// Who may use the API: a file with a line `sha256:HEX:USER:ROLE` for each token, where ROLE is `view`, `edit`
        /// or `admin`.
        api_tokens: Option<PathBuf>, "FILE" = Default::Nothing;
        /// The certificate chain of the API, in PEM.
        api_tls_cert: Option<PathBuf>, "FILE" = Default::Nothing;
        /// The private key of that certificate, in PEM.
        api_tls_key: Option<PathBuf>, "FILE" = Default::Nothing;
        /// Serve the API with a certificate of its own, made once and kept in this directory: `api.key`, and `api.crt`,
        /// which is what clients have to trust. `kubectl` sends tokens over TLS alone.
        api_tls_self_signed: Option<PathBuf>, "DIR" = Default::Nothing;
    }
    "Tools for agents" {
        /// The policy to go by where a namespace has several and a question, over REST as well, names none.
        default_policy: Option<ObjectName> = Default::Nothing;
        /// Offer agents only tools that change nothing, not even audits.
        mcp_read_only: bool = Default::Text("false");
        /// Offer agents only these groups of tools: `read` asks what is known, `scan` looks at the cloud, `policy` creates
        /// and changes audits. Where nobody says, all.
        mcp_toolsets: Vec<Toolset> = Default::Nothing;
        /// Do not offer these tools, whatever their group.
        mcp_without_tools: Vec<ToolName>, "TOOL" = Default::Nothing;
        /// How many calls of tools one key may make in an hour; polling a run is free.
        mcp_calls_per_hour: Bounded<1, 1_000_000>, "CALLS" = Default::Text("100");
        /// How often the same call may be made in five minutes, before it is taken for a loop.
        mcp_same_calls: Bounded<1, 1_000_000>, "CALLS" = Default::Text("3");
    }
    "Audits" {
        /// Extend or override the built-in resource types with this file.
        resource_types: Option<PathBuf>, "FILE" = Default::Nothing;
        /// Let a `ClientAccount` take its external id from a Secret of its namespace. Whoever may write those could
        /// then choose the id of somebody else, so it is off.
        allow_external_id_secret_ref: bool = Default::Text("false");
        /// Let a `ClientAccount` have no external id (`mode: None`). Whoever may create one could then look into every
        /// account whose role trusts Tagwarden without asking for an id. Where nobody says, it is allowed only as long as
        /// the objects are of one user alone: embedded in a file, and without `--api-listen`.
        allow_no_external_id: Option<bool> = Default::Nothing;
        /// Let a `ClientAccount` be looked at with the credentials that Tagwarden runs with (`mode: Ambient`). Whoever may
        /// create one could then look into the account of Tagwarden itself. Where nobody says, it is allowed as
        /// `--allow-no-external-id` is.
        allow_ambient_account: Option<bool> = Default::Nothing;
        /// The role or user that trust policies name as the one who may look at accounts. Found out from AWS unless given;
        /// a role with a path has to be given.
        principal_arn: Option<Arn>, "ARN" = Default::Nothing;
        /// Give up on a listing that brings nothing for this many seconds.
        region_timeout: Bounded<10, 300>, "SECONDS" = Default::Text("60");
        /// Forget runs older than this many days.
        keep_days: Bounded<1, 3650>, "DAYS" = Default::Text("90");
        /// Keep at most this many runs in each namespace.
        keep_runs: Bounded<1, 100_000>, "RUNS" = Default::Text("1000");
    }
    "Logs" {
        /// What is logged, to stderr: `error`, `warn`, `info`, `debug` or `trace`, or such levels by target.
        log_level: LogLevel = Default::Text("info");
        /// How it is logged: for people, or as one JSON object a line.
        log_format: LogFormat = Default::Depends("`text` on a terminal, else `json`", |around| {
            if around.terminal { "text" } else { "json" }.to_owned()
        });
    }
}

impl Settings {
    /// Whether nobody declares objects but the user who started the program.
    fn is_private(&self) -> bool {
        self.control_plane == ControlPlane::Embedded
            && self.api_listen.is_none()
            && !self.store.expose().starts_with("postgres")
    }

    /// Whether accounts without an external id are looked at.
    pub fn allows_no_external_id(&self) -> bool {
        self.allow_no_external_id.unwrap_or_else(|| self.is_private())
    }

    /// Whether accounts are looked at with our own credentials.
    pub fn allows_ambient_account(&self) -> bool {
        self.allow_ambient_account.unwrap_or_else(|| self.is_private())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::resolve::{Given, Source, resolve};
    use super::*;

    #[test]
    fn tenants_who_share_an_installation_are_kept_apart_unless_somebody_says_otherwise() {
        let table: [(&[(&'static str, &str)], bool); 6] = [
            (&[], true),
            (&[("control_plane", "kubernetes")], false),
            (&[("api_listen", "127.0.0.1:0"), ("api_tokens", "tokens")], false),
            (&[("store", "postgres://host/database")], false),
            (&[("allow_no_external_id", "false"), ("allow_ambient_account", "false")], false),
            (
                &[
                    ("control_plane", "kubernetes"),
                    ("allow_no_external_id", "true"),
                    ("allow_ambient_account", "true"),
                ],
                true,
            ),
        ];
        let around = Surroundings { in_pod: false, pod_namespace: None, terminal: false };
        for (given, allowed) in table {
            let given: Given =
                given.iter().map(|(field, text)| (*field, ((*text).to_owned(), Source::Flag))).collect();
            let said = format!("{given:?}");
            let settings = resolve(given, None, &around).unwrap().settings;
            assert_eq!(settings.allows_no_external_id(), allowed, "{said}");
            assert_eq!(settings.allows_ambient_account(), allowed, "{said}");
        }
    }

    #[test]
    fn every_setting_has_names_and_says_what_it_is_for() {
        let keys: BTreeSet<&str> = table().iter().map(|setting| setting.key.as_str()).collect();
        assert_eq!(keys.len(), table().len());
        assert!(keys.contains("apiTlsCert") && keys.contains("store"), "{keys:?}");
        for setting in table() {
            assert!(setting.about.len() > 20 && setting.about.ends_with('.'), "{setting:?}");
            assert_eq!(
                setting.variable,
                format!("TAGWARDEN_{}", setting.flag.replace('-', "_").to_uppercase())
            );
        }
        assert!(table().iter().any(|setting| setting.field == SHARED));
    }
}
