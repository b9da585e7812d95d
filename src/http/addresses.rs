//! Under which names this server may be asked, and from which web pages.
//!
//! A page of anybody can have its own name lead to this machine, and then ask with the visitor's browser (DNS
//! rebinding). So a name has to be known; a bare address cannot be rebound and is always right. Pages of other origins
//! have to be known as well, whatever name they use.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, ORIGIN,
    VARY,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use crate::fault::Fault;

/// The name of a host: `tags.example.com`, or `*.example.com` for all names below it.
#[derive(Clone, PartialEq, Eq)]
pub struct Host(String);

/// The origin of a web page: `https://console.example.com`.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Names and origins that are let in.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Names beyond those of this machine; `None`: any name.
    pub hosts: Option<Vec<Host>>,
    /// Origins beyond the server's own.
    pub origins: Vec<Origin>,
    /// Whether pages of this machine are let in: where the server can be reached from this machine alone.
    pub local_origins: bool,
}

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() <= 253 && name.split('.').all(label) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err("expected the name of a host without a port, for example tags.example.com or *.example.com")
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected scheme, host and port alone, for example https://console.example.com";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|rest| rest.as_str() == "/")
            && !text.ends_with('/');
        if plain { Ok(Self(text.to_ascii_lowercase())) } else { Err(EXPECTED) }
    }
}

impl Host {
    fn fits(&self, name: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(below) => name.len() > below.len() && name.ends_with(below),
            None => name == self.0,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Addresses {
    /// Those of a server that listens here. Without hosts of its own, one that demands keys can be asked under any name: a
    /// page that rebinds a name has no key. One that does not can be asked under names of this machine alone.
    pub fn new(listen: SocketAddr, keys: bool, hosts: Vec<Host>, origins: Vec<Origin>) -> Self {
        let hosts = if keys && hosts.is_empty() { None } else { Some(hosts) };
        Self { hosts, origins, local_origins: listen.ip().is_loopback() }
    }

    /// Lets a request in by the name that it uses and the page that it comes from; gives the origin where the answer has to
    /// say that it may be read.
    pub fn check<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, Fault> {
        let host = self.host(uri, headers)?;
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(None) };
        let known = origins.next().is_none() && origin.to_str().is_ok_and(|text| self.is_known(text, &host));
        if known { Ok(Some(origin)) } else { Err(foreign_origin()) }
    }

    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Fault> {
        let mut shown = headers.get_all(HOST).iter();
        let authority = match (shown.next(), shown.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
            _ => None,
        };
        let authority = authority.filter(|authority| !authority.as_str().contains('@')).ok_or_else(|| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "the request has no Host header, several, or one that names no host",
                "send one Host header",
            )
        })?;
        let asked = [Some(&authority), uri.authority()];
        if asked.into_iter().flatten().all(|authority| self.is_ours(authority.host())) {
            return Ok(authority);
        }
        Err(Fault::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "this server does not answer under this name",
            "use a name that it knows, or let it know this one with --allowed-hosts",
        ))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = host.to_ascii_lowercase();
        let Some(hosts) = &self.hosts else { return true };
        address(&name).is_some()
            || name == "localhost"
            || name.ends_with(".localhost")
            || hosts.iter().any(|host| host.fits(&name))
    }

    fn is_known(&self, origin: &str, host: &Authority) -> bool {
        let origin = origin.to_ascii_lowercase();
        let Ok(uri) = origin.parse::<Uri>() else { return false };
        let Some(authority) = uri.authority() else { return false };
        let local = |name: &str| {
            name == "localhost" || address(name).is_some_and(|address: IpAddr| address.is_loopback())
        };
        self.origins.iter().any(|known| known.0 == origin)
            || authority.as_str().eq_ignore_ascii_case(host.as_str())
            || (self.local_origins && local(authority.host()))
    }
}

/// A bare address, in brackets where it is one of version 6.
fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn foreign_origin() -> Fault {
    Fault::new(
        StatusCode::FORBIDDEN,
        "origin_not_allowed",
        "this server does not answer to pages of this origin",
        "let it know the origin with --allowed-origins",
    )
}

/// What pages may send besides the headers that need no permission.
const SENT: &[&str] = &["authorization", "content-type", "accept", "last-event-id", "x-request-id"];

/// What pages may read besides the headers that need no permission.
const READ: &str = "mcp-protocol-version, mcp-session-id, retry-after, www-authenticate, x-request-id";

/// How long a browser may remember the permission.
const REMEMBER: &str = "600";

/// Says that a page of this origin may read the answer.
pub(crate) fn allow(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// What a browser is told that asks first whether it may ask.
pub(crate) fn permit(request: &HeaderMap, headers: &mut HeaderMap) {
    let wanted = request.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok());
    let granted: Vec<&str> = wanted
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| {
            let name = name.to_ascii_lowercase();
            (SENT.contains(&&*name) || name.starts_with("mcp-"))
                && HeaderName::from_bytes(name.as_bytes()).is_ok()
        })
        .collect();
    if let Ok(granted) = HeaderValue::from_str(&granted.join(", ")) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, granted);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBER));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if !origin.is_empty() {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn code(addresses: &Addresses, host: &str, origin: &str) -> String {
        match addresses.check(&Uri::from_static("/v1/runs"), &headers(host, origin)) {
            Ok(_) => "ok".to_owned(),
            Err(fault) => fault.body.code,
        }
    }

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_has_to_be_known_and_an_address_needs_none() {
        let local = "127.0.0.1:8080".parse().unwrap();
        let strict = Addresses::new(local, false, hosts(&["Tags.example.com", "*.corp.example"]), Vec::new());
        for (host, expected) in [
            ("127.0.0.1:8080", "ok"),
            ("[::1]:8080", "ok"),
            ("10.1.2.3", "ok"),
            ("localhost", "ok"),
            ("a.localhost:1", "ok"),
            ("tags.example.com", "ok"),
            ("TAGS.example.com:443", "ok"),
            ("a.b.corp.example", "ok"),
            ("corp.example", "host_not_allowed"),
            ("evil.example", "host_not_allowed"),
            ("tags.example.com.evil.example", "host_not_allowed"),
            ("127.0.0.1.evil.example", "host_not_allowed"),
            ("localhost.evil.example", "host_not_allowed"),
            ("user@localhost", "bad_host"),
            ("", "bad_host"),
        ] {
            assert_eq!(code(&strict, host, ""), expected, "{host}");
        }
        let missing = strict.check(&Uri::from_static("/"), &HeaderMap::new()).unwrap_err();
        assert_eq!(missing.status, StatusCode::BAD_REQUEST);
        let usual = headers("localhost", "");
        let absolute = strict.check(&Uri::from_static("http://evil.example/v1"), &usual);
        assert_eq!(absolute.unwrap_err().body.code, "host_not_allowed");
        let open = Addresses::new("0.0.0.0:8080".parse().unwrap(), true, Vec::new(), Vec::new());
        assert_eq!(code(&open, "tagwarden.tags.svc:8080", ""), "ok");
    }

    #[test]
    fn a_page_has_to_be_known() {
        let origins = || vec!["https://console.example.com".parse().unwrap()];
        let local = Addresses::new("127.0.0.1:8080".parse().unwrap(), false, Vec::new(), origins());
        let far = Addresses::new("0.0.0.0:8080".parse().unwrap(), true, Vec::new(), origins());
        for (origin, here, there) in [
            ("https://console.example.com", "ok", "ok"),
            ("http://console.example.com", "origin_not_allowed", "origin_not_allowed"),
            ("https://console.example.com:8443", "origin_not_allowed", "origin_not_allowed"),
            ("http://localhost:6274", "ok", "origin_not_allowed"),
            ("http://127.0.0.1:6274", "ok", "origin_not_allowed"),
            ("http://localhost:8080", "ok", "ok"),
            ("https://evil.example", "origin_not_allowed", "origin_not_allowed"),
            ("http://localhost.evil.example", "origin_not_allowed", "origin_not_allowed"),
            ("null", "origin_not_allowed", "origin_not_allowed"),
        ] {
            assert_eq!(code(&local, "localhost:8080", origin), here, "{origin}");
            assert_eq!(code(&far, "localhost:8080", origin), there, "{origin}");
        }
    }

    #[test]
    fn names_and_origins_are_read_strictly() {
        for bad in ["", "*", "*.", "a..b", "a:80", "https://a", "a b", "a/b"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
        for bad in
            ["", "a.example", "ftp://a", "https://a/", "https://a/b", "https://u@a", "https://a?b", "null"]
        {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        assert_eq!("HTTPS://A.example:8443".parse::<Origin>().unwrap().to_string(), "https://a.example:8443");
    }

    #[test]
    fn pages_may_send_what_the_protocol_needs_and_nothing_else() {
        let mut request = HeaderMap::new();
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            "Authorization, mcp-protocol-version,Mcp-Param-x, x-forwarded-for, mcp-\u{7f}"
                .parse()
                .unwrap_or_else(|_| {
                    "Authorization, mcp-protocol-version,Mcp-Param-x, x-forwarded-for".parse().unwrap()
                }),
        );
        let mut answer = HeaderMap::new();
        permit(&request, &mut answer);
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "Authorization, mcp-protocol-version, Mcp-Param-x");
    }
}
