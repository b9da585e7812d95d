//! What goes wrong between here and the server, as the answer to a request: what happened, and what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use rustls::CertificateError;
use serde_json::{Value, json};
use tagwarden_app::keys::mentions_key;

use crate::parts::clean;

/// The code of all of them, in the range that the protocol leaves to programs. `data.code` tells them apart.
const CODE: i64 = -32_000;

/// The most characters of what a server says.
const TOLD_CHARS: usize = 500;

/// Why there is no answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: String,
    message: String,
    fix: String,
    retry_after: Option<u64>,
}

impl Failure {
    fn new(code: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), fix: fix.into(), retry_after: None }
    }

    fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// More than anybody asks side by side.
    pub(super) fn crowded() -> Self {
        Self::new("rate_limited", "too many requests wait for their answers", "wait for some of them")
            .after(1)
    }

    /// Two answers could not be told apart.
    pub(super) fn taken() -> Self {
        Self::new(
            "invalid_input",
            "a request with this id waits for its answer",
            "give every request its own id",
        )
    }

    /// Nothing came for this long.
    pub(super) fn slow(server: &str, waited: Duration) -> Self {
        let seconds = waited.as_secs();
        Self::new(
            "timeout",
            format!("{server} said nothing for {seconds} seconds"),
            "ask again; for a long check call start_compliance_check, and then get_run",
        )
        .after(5)
    }

    /// The connection ended before the answer did.
    pub(super) fn cut_off(server: &str) -> Self {
        Self::new("unavailable", format!("{server} hung up before its answer was complete"), "ask again")
            .after(1)
    }

    /// Something else than Tagwarden.
    pub(super) fn stranger(server: &str, what: &str) -> Self {
        Self::new(
            "not_found",
            format!("what answers at {server} does not speak MCP: {what}"),
            "check --url: it is what `tagwarden run --listen` serves, and ends in /mcp",
        )
    }

    /// An answer of this status that is no message.
    pub(super) fn refused(
        server: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        keyed: bool,
    ) -> Self {
        let number = status.as_u16();
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        // Of somebody else, so that it is bounded, and without what looks like a key.
        let text = |field: &str| {
            let text = said[field].as_str().filter(|text| !text.is_empty() && !mentions_key(text));
            text.map(|text| clean(text, TOLD_CHARS))
        };
        let message = |fallback: &str| {
            text("message")
                .map_or_else(|| format!("{fallback} ({number})"), |text| format!("{text} ({number})"))
        };
        let fix = |fallback: &str| text("fix").unwrap_or_else(|| fallback.to_owned());
        let failure = match number {
            401 if keyed => Self::new(
                "unauthorized",
                message("the server does not accept the key"),
                "put a valid key into the file of --api-key-file: whoever runs the server makes one with `tagwarden keys \
                 create`; the file is read anew for every request",
            ),
            401 => Self::new(
                "unauthorized",
                "the server asks for an API key (401)",
                "start this program with --api-key-file FILE; whoever runs the server makes a key with `tagwarden keys \
                 create`",
            ),
            403 => Self::new(
                "insufficient_scope",
                message("the server refuses this"),
                fix("use a key that allows it, and the name by which the server expects to be reached"),
            ),
            404 | 405 => Self::stranger(server, &format!("it answers {number}")),
            413 => Self::new("invalid_input", message("the request is too large"), fix("ask for less")),
            429 => {
                Self::new("rate_limited", message("too many requests"), fix("wait, and ask again")).after(1)
            }
            502..=504 => Self::new(
                "unavailable",
                message("the server cannot answer now"),
                fix("ask again in a few seconds; GET /health of the server says what is the matter"),
            )
            .after(5),
            300..=399 => Self::new(
                "not_found",
                format!("{server} says that the server is elsewhere ({number})"),
                "give the final URL with --url: a key is not sent to where an answer points",
            ),
            _ => Self::new(
                "internal",
                message("the server cannot answer"),
                fix("ask again; the server's log says more"),
            ),
        };
        let wait = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            code: text("code").filter(|_| number != 404).unwrap_or(failure.code),
            retry_after: wait.or(failure.retry_after),
            ..failure
        }
    }

    /// No connection, or one that broke.
    pub(super) fn unreachable(server: &str, error: &(dyn Error + 'static)) -> Self {
        let lost = |what: String| {
            Self::new("unavailable", what, "ask again; if it stays so, check --url, and that the server runs")
                .after(5)
        };
        let mut deepest = None;
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return distrusted(server, error);
            }
            match cause.downcast_ref::<hyper::Error>() {
                Some(error) if error.is_parse() => {
                    return Self::stranger(
                        server,
                        "it does not speak HTTP; if it speaks TLS, the URL begins with https",
                    );
                }
                Some(error) if error.is_incomplete_message() => return Self::cut_off(server),
                _ => {}
            }
            deepest = Some(cause);
            next = match cause.downcast_ref::<io::Error>() {
                // `source` of such an error passes over the one inside.
                Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
                None => cause.source(),
            };
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        return lost(format!("nothing listens at {server}: the connection was refused"));
                    }
                    io::ErrorKind::TimedOut => return lost(format!("{server} does not answer")),
                    _ => {}
                }
            }
        }
        let cause = deepest.map(ToString::to_string).unwrap_or_default();
        lost(format!("{server} cannot be reached: {}", clean(&cause, TOLD_CHARS)))
    }

    /// As the answer to this request.
    pub(super) fn answer(&self, id: &Value) -> String {
        let Self { code, message, fix, retry_after } = self;
        let mut data = json!({"code": code, "message": message, "fix": fix});
        if let Some(seconds) = retry_after {
            data["retry_after"] = (*seconds).into();
        }
        let error = json!({"code": CODE, "message": format!("{message}. What to do: {fix}"), "data": data});
        json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
    }
}

/// A certificate that is refused, or no TLS at all.
fn distrusted(server: &str, error: &rustls::Error) -> Failure {
    let rustls::Error::InvalidCertificate(why) = error else {
        let fix = "check that the port of --url serves https, and not something else";
        return Failure::new(
            "unavailable",
            format!("{server} does not speak TLS as it should: {error}"),
            fix,
        );
    };
    let (what, fix) = match why {
        // The second is of one that calls itself as a trusted one does: a certificate that was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "nobody whom this machine trusts has signed its certificate".to_owned(),
            "name the certificate to trust with --ca-file",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            "have the server's certificate renewed, or set this clock right",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is for another name ({why})"),
            "give --url with a name that the certificate is for",
        ),
        other => (other.to_string(), "have the server's certificate looked at"),
    };
    Failure::new("unavailable", format!("{server} is not trusted: {what}"), fix)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SERVER: &str = "https://tags.example.com";

    #[test]
    fn every_refusal_says_what_to_do() {
        let body =
            br#"{"code":"insufficient_scope","message":"this needs audit:write","fix":"use such a key"}"#;
        for (status, body, code, message, fix) in [
            (401, &b"{}"[..], "unauthorized", "does not accept the key (401)", "--api-key-file"),
            (403, body, "insufficient_scope", "this needs audit:write (403)", "use such a key"),
            (403, b"<html>", "insufficient_scope", "refuses this (403)", "a key that allows it"),
            (404, b"", "not_found", "it answers 404", "ends in /mcp"),
            (413, b"", "invalid_input", "too large (413)", "ask for less"),
            (429, b"", "rate_limited", "too many requests (429)", "wait"),
            (503, b"", "unavailable", "cannot answer now (503)", "/health"),
            (301, b"", "not_found", "elsewhere (301)", "--url"),
            (500, b"", "internal", "cannot answer (500)", "log"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = Failure::refused(SERVER, status, &HeaderMap::new(), body, true);
            let answer: Value = serde_json::from_str(&failure.answer(&json!(7))).unwrap();
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(CODE)));
            let data = &answer["error"]["data"];
            assert_eq!(data["code"], code, "{answer}");
            assert!(data["message"].as_str().unwrap().contains(message), "{answer}");
            assert!(data["fix"].as_str().unwrap().contains(fix), "{answer}");
        }
    }

    #[test]
    fn waits_are_told_and_keys_are_not() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("17"));
        let key = tagwarden_app::keys::NewKey::from_random(&[7; 38]);
        let body = json!({"message": format!("no {}", key.expose()), "fix": key.expose()}).to_string();
        let failure =
            Failure::refused(SERVER, StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes(), true);
        let answer = failure.answer(&json!("a"));
        assert!(answer.contains("\"retry_after\":17") && !answer.contains(key.expose()), "{answer}");
        let failure = Failure::refused(SERVER, StatusCode::UNAUTHORIZED, &headers, b"", false);
        assert!(failure.fix.contains("start this program with --api-key-file"), "{failure:?}");
    }

    #[test]
    fn a_connection_that_fails_says_why() {
        let hidden =
            |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, message, fix) in [
            (io::Error::from(io::ErrorKind::ConnectionRefused), "nothing listens", "server runs"),
            (io::Error::from(io::ErrorKind::TimedOut), "does not answer", "server runs"),
            (io::Error::other("no such name"), "no such name", "check --url"),
            (
                hidden(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
                "has signed its certificate",
                "--ca-file",
            ),
            (hidden(rustls::Error::InvalidCertificate(CertificateError::Expired)), "has expired", "renewed"),
            (
                hidden(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)),
                "another name",
                "--url",
            ),
            (hidden(rustls::Error::HandshakeNotComplete), "does not speak TLS", "https"),
        ] {
            let failure = Failure::unreachable(SERVER, &error);
            assert!(failure.message.contains(message) && failure.message.contains(SERVER), "{failure:?}");
            assert!(failure.fix.contains(fix), "{failure:?}");
        }
    }
}
