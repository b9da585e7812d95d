//! What a failed call means, whatever the protocol: which state the coverage gets, and one sentence that says what
//! happened and what to do. No request ids, credentials or bodies.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::text::bounded;

/// Causes are shown in tables and statuses.
const CAUSE_CHARS_MAX: usize = 300;
/// Longer chains of errors do not exist; a cycle must not hang us.
const CHAIN_LENGTH_MAX: usize = 32;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not allowed with these credentials.
    Denied,
    /// The role may be assumed, but not by a session that has tags.
    SessionTags,
    /// There are no credentials to begin with.
    NoCredentials,
    /// A rate limit, still after all retries.
    Throttled,
    /// No answer in time.
    TimedOut,
    /// No connection.
    Unreachable,
    /// The credentials have expired.
    Expired,
    /// The page token is not valid any more: the listing has to start over.
    StaleToken,
    /// Something in the request is wrong, in the eyes of the service.
    Invalid,
    /// Not available in this region.
    Unsupported,
    /// Anything else.
    Failed,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    pub(crate) cause: String,
}

/// The call that was made, for the sentence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The IAM action, `service:Operation`.
    pub(crate) action: &'a str,
    pub(crate) region: &'a str,
    /// The endpoint that was configured instead of AWS's own.
    pub(crate) endpoint: Option<&'a str>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self { kind, cause: bounded(&cause.into(), CAUSE_CHARS_MAX) }
    }

    /// How it shows in the coverage.
    pub(crate) fn gap(&self) -> Gap {
        let state = match self.kind {
            Kind::Denied | Kind::SessionTags | Kind::NoCredentials => CellState::Denied,
            Kind::Throttled => CellState::Throttled,
            Kind::TimedOut => CellState::TimedOut,
            Kind::Unsupported => CellState::Unsupported,
            Kind::Expired | Kind::StaleToken | Kind::Invalid | Kind::Unreachable | Kind::Failed => {
                CellState::Failed
            }
        };
        Gap { state, cause: self.cause.clone() }
    }

    /// The same, when it refused a further page. What was right for the first page differs in the token alone, and
    /// several services have no code of their own for one that has expired.
    pub(crate) fn of_further_page(self) -> Self {
        match self.kind {
            Kind::Invalid => {
                Self::new(Kind::StaleToken, format!("{}: the page token has expired", self.cause))
            }
            _ => self,
        }
    }

    /// What an error of the SDK means.
    pub(crate) fn of<E>(call: Call<'_>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(refusal) = find::<Self>(error) {
            return refusal.clone();
        }
        if let Some(credentials) = find::<CredentialsError>(error) {
            return of_credentials(credentials);
        }
        if let Some(refusal) = of_connection(call, error) {
            return refusal;
        }
        let status = error.raw_response().map(|response| response.status().as_u16());
        of_answer(call, error.code(), status)
    }
}

/// No answer, or not all of it.
fn of_connection<E>(call: Call<'_>, error: &SdkError<E, HttpResponse>) -> Option<Refusal>
where
    E: Error + 'static,
{
    let Call { action, region, .. } = call;
    let timed_out = || Refusal::new(Kind::TimedOut, format!("{action} got no answer in time in {region}"));
    match error {
        SdkError::TimeoutError(_) => Some(timed_out()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            let host = host(call);
            Some(Refusal::new(
                Kind::TimedOut,
                format!("{action}: no connection to {host} in time; {CHECK_NETWORK}"),
            ))
        }
        SdkError::DispatchFailure(failure) => {
            let reason = failure.as_connector_error().map_or_else(|| root(error), root::<ConnectorError>);
            let remedy = if reason.contains("certificate") { TRUST_CERTIFICATE } else { CHECK_NETWORK };
            let cause = format!("{action}: cannot reach {} ({reason}); {remedy}", host(call));
            Some(Refusal::new(Kind::Unreachable, cause))
        }
        SdkError::ResponseError(_)
            if error.raw_response().is_some_and(|answer| answer.status().is_success()) =>
        {
            let reason = root(error);
            Some(Refusal::new(Kind::Failed, format!("{action} in {region}: no complete answer ({reason})")))
        }
        SdkError::ConstructionFailure(_) => Some(Refusal::new(
            Kind::Failed,
            format!("{action} in {region} could not be sent: {}", root(error)),
        )),
        _ => None,
    }
}

const CHECK_NETWORK: &str = "check the network, the proxy and AWS_ENDPOINT_URL";

const TRUST_CERTIFICATE: &str =
    "if a proxy or an endpoint of your own answers there, name its CA in AWS_CA_BUNDLE";

fn host(call: Call<'_>) -> String {
    match call.endpoint {
        Some(endpoint) => without_credentials(endpoint),
        None => {
            format!("the {} endpoint of {}", call.action.split(':').next().unwrap_or_default(), call.region)
        }
    }
}

/// A URL without `user:password@`, query and fragment.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let slash = if path.is_empty() { "" } else { "/" };
    if scheme.is_empty() { format!("{host}{slash}{path}") } else { format!("{scheme}://{host}{slash}{path}") }
}

/// An answer that says no, by its code where there is one, else by its HTTP status: some front ends refuse in a
/// protocol that the SDK does not expect, and their code is lost.
fn of_answer(call: Call<'_>, code: Option<&str>, status: Option<u16>) -> Refusal {
    let Call { action, region, .. } = call;
    let what = match (code, status) {
        (Some(code), _) => printable(code),
        (None, Some(200..300)) => "the answer cannot be understood".to_owned(),
        (None, Some(status)) => format!("HTTP {status}"),
        (None, None) => "no code".to_owned(),
    };
    let kind = kind_of(code, status);
    let cause = match kind {
        Kind::Denied if code.is_some_and(is_unknown_key) => {
            format!(
                "{action} in {region}: AWS does not know the credentials ({what}); check AWS_PROFILE or the keys"
            )
        }
        // It needs no permission, so none is missing.
        Kind::Denied if action == "sts:GetCallerIdentity" => {
            format!(
                "{action} was denied in {region} ({what}): check the credentials, the proxy and AWS_ENDPOINT_URL"
            )
        }
        Kind::Denied => format!("{action} was denied in {region} ({what}): add {action} to the role"),
        Kind::Throttled => {
            format!(
                "{action} was throttled in {region} ({what}) after all retries: scan again later or less at once"
            )
        }
        Kind::TimedOut => format!("{action} got no answer in time in {region} ({what})"),
        Kind::Expired => {
            format!("{action}: the credentials have expired ({what}); renew them, e.g. `aws sso login`")
        }
        Kind::StaleToken => format!("{action} in {region}: the page token has expired ({what})"),
        Kind::Unsupported => format!("{action} is not available in {region} ({what})"),
        Kind::Invalid | Kind::Failed | Kind::SessionTags | Kind::NoCredentials | Kind::Unreachable => {
            format!("{action} failed in {region} ({what})")
        }
    };
    Refusal::new(kind, cause)
}

fn kind_of(code: Option<&str>, status: Option<u16>) -> Kind {
    let Some(code) = code else {
        return match status {
            Some(401 | 403) => Kind::Denied,
            Some(429) => Kind::Throttled,
            Some(408 | 504) => Kind::TimedOut,
            _ => Kind::Failed,
        };
    };
    // JSON protocols may prefix a namespace, query protocols a category.
    let code = code.rsplit(['#', '.']).next().unwrap_or(code);
    match code {
        _ if is_throttle_code(code) => Kind::Throttled,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => Kind::Expired,
        "PaginationTokenExpiredException"
        | "InvalidNextToken"
        | "InvalidNextTokenException"
        | "InvalidPaginationToken"
        | "ExpiredNextTokenException"
        | "InvalidMarker" => Kind::StaleToken,
        "InvalidArgument"
        | "InvalidParameterException"
        | "InvalidParameterValue"
        | "InvalidParameterValueException"
        | "ValidationError"
        | "ValidationException" => Kind::Invalid,
        "OptInRequired"
        | "SubscriptionRequiredException"
        | "UnknownEndpoint"
        | "InvalidAction"
        | "UnknownOperation"
        | "UnknownOperationException"
        | "UnsupportedOperation"
        | "UnsupportedOperationException"
        | "RegionDisabledException" => Kind::Unsupported,
        "RequestTimeout" | "RequestTimeoutException" => Kind::TimedOut,
        _ if is_unknown_key(code) || is_denial(code) => Kind::Denied,
        _ if matches!(status, Some(401 | 403)) => Kind::Denied,
        _ if status == Some(429) => Kind::Throttled,
        _ => Kind::Failed,
    }
}

/// Whether a code stands for a rate limit.
pub(crate) fn is_throttle_code(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "TooManyRequests"
            | "SlowDown"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete"
            | "ProvisionedThroughputExceededException"
            | "TransactionInProgressException"
    )
}

fn is_denial(code: &str) -> bool {
    code.starts_with("AccessDenied")
        || matches!(
            code,
            "UnauthorizedOperation"
                | "UnauthorizedAccess"
                | "NotAuthorized"
                | "NotAuthorizedException"
                | "AuthorizationError"
                | "AllAccessDisabled"
                | "Forbidden"
                | "OperationNotPermitted"
        )
}

fn is_unknown_key(code: &str) -> bool {
    matches!(
        code,
        "AuthFailure"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "InvalidToken"
    )
}

const NO_CREDENTIALS: &str = "no AWS credentials found: set AWS_PROFILE to a profile of ~/.aws/config, run \
    `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// The process has no credentials, or could not get them.
fn of_credentials(error: &CredentialsError) -> Refusal {
    let chain = chain_text(error);
    if chain.contains("SSO token") {
        return Refusal::new(
            Kind::NoCredentials,
            "no valid SSO session: run `aws sso login` for the profile in use",
        );
    }
    // The end of the chain of sources: nobody before it had any credentials.
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) || chain.contains("IMDS") {
        return Refusal::new(Kind::NoCredentials, NO_CREDENTIALS);
    }
    match error {
        CredentialsError::ProviderTimedOut(_) => Refusal::new(
            Kind::TimedOut,
            "the source of the AWS credentials did not answer in time: check AWS_PROFILE and the network",
        ),
        other => Refusal::new(
            Kind::Failed,
            format!(
                "the AWS credentials could not be obtained ({}): check AWS_PROFILE and ~/.aws/config",
                root(other)
            ),
        ),
    }
}

/// The error of this type in a chain, if it has one.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(CHAIN_LENGTH_MAX)
}

fn chain_text(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The text of the innermost error: it names the reason, the outer ones only the place.
fn root<T: Error + 'static>(error: &T) -> String {
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    printable(&innermost)
}

/// One line without control characters, bounded.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(120).collect()
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    const CALL: Call<'static> = Call { action: "ec2:DescribeVolumes", region: "eu-west-1", endpoint: None };

    #[derive(Debug, thiserror::Error)]
    #[error("service error")]
    struct ServiceError(ErrorMetadata);

    impl ProvideErrorMetadata for ServiceError {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    type Sdk = SdkError<ServiceError, HttpResponse>;

    fn answer(status: u16) -> HttpResponse {
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty())
    }

    #[test]
    fn codes_and_statuses() {
        for (code, status, kind) in [
            (Some("UnauthorizedOperation"), 403, Kind::Denied),
            (Some("AccessDenied"), 403, Kind::Denied),
            (Some("AccessDeniedException"), 400, Kind::Denied),
            (Some("AuthFailure"), 401, Kind::Denied),
            (Some("SomethingNew"), 403, Kind::Denied),
            (None, 403, Kind::Denied),
            (Some("RequestLimitExceeded"), 503, Kind::Throttled),
            (Some("Throttling"), 400, Kind::Throttled),
            (Some("ThrottlingException"), 400, Kind::Throttled),
            (Some("TooManyRequestsException"), 429, Kind::Throttled),
            (Some("SlowDown"), 503, Kind::Throttled),
            (None, 429, Kind::Throttled),
            (None, 504, Kind::TimedOut),
            (Some("ExpiredToken"), 403, Kind::Expired),
            (Some("ExpiredTokenException"), 400, Kind::Expired),
            (Some("com.amazonaws#ExpiredTokenException"), 400, Kind::Expired),
            (Some("RequestExpired"), 400, Kind::Expired),
            (Some("PaginationTokenExpiredException"), 400, Kind::StaleToken),
            (Some("InvalidNextToken"), 400, Kind::StaleToken),
            (Some("InvalidParameterValue"), 400, Kind::Invalid),
            (Some("OptInRequired"), 403, Kind::Unsupported),
            (Some("InvalidAction"), 400, Kind::Unsupported),
            (Some("InternalError"), 500, Kind::Failed),
            (None, 500, Kind::Failed),
        ] {
            let metadata = match code {
                Some(code) => ErrorMetadata::builder().code(code).build(),
                None => ErrorMetadata::builder().build(),
            };
            let refusal = Refusal::of(CALL, &Sdk::service_error(ServiceError(metadata), answer(status)));
            assert_eq!(refusal.kind, kind, "{code:?} {status}");
            assert!(refusal.cause.starts_with("ec2:DescribeVolumes"), "{}", refusal.cause);
        }
    }

    #[test]
    fn a_denial_names_the_remedy() {
        let metadata =
            ErrorMetadata::builder().code("UnauthorizedOperation").message("request id 1234").build();
        let refusal = Refusal::of(CALL, &Sdk::service_error(ServiceError(metadata), answer(403)));
        assert_eq!(
            refusal.cause,
            "ec2:DescribeVolumes was denied in eu-west-1 (UnauthorizedOperation): add ec2:DescribeVolumes to the role"
        );
        assert_eq!(refusal.gap().state, CellState::Denied);
    }

    #[test]
    fn no_answer() {
        let call = Call { endpoint: Some("http://user:secret@127.0.0.1:9/x?y"), ..CALL };
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let refusal = Refusal::of(call, &Sdk::dispatch_failure(ConnectorError::io(refused.into())));
        assert_eq!(refusal.kind, Kind::Unreachable);
        assert!(refusal.cause.contains("http://127.0.0.1:9/x"), "{}", refusal.cause);
        assert!(
            refusal.cause.contains("connection refused") && !refusal.cause.contains("secret"),
            "{}",
            refusal.cause
        );
        for timeout in
            [Sdk::timeout_error("slow"), Sdk::dispatch_failure(ConnectorError::timeout("slow".into()))]
        {
            assert_eq!(Refusal::of(call, &timeout).kind, Kind::TimedOut);
        }
        let cut = Sdk::response_error(crate::whole::CutShort { bytes: 5 }, answer(200));
        assert!(Refusal::of(CALL, &cut).cause.contains("cut short after 5 bytes"));
    }

    #[test]
    fn credentials_are_found_anywhere_in_the_chain() {
        let in_connector =
            |error: CredentialsError| Sdk::dispatch_failure(ConnectorError::other(error.into(), None));
        let none = Refusal::of(CALL, &in_connector(CredentialsError::not_loaded_no_source()));
        assert_eq!(none.kind, Kind::NoCredentials);
        assert!(none.cause.contains("AWS_PROFILE") && none.cause.contains("aws sso login"), "{}", none.cause);
        let role = Refusal::new(Kind::Denied, "the role said no");
        let nested = Refusal::of(CALL, &in_connector(CredentialsError::provider_error(role.clone())));
        assert_eq!(nested, role);
        let sso = CredentialsError::provider_error("the SSO token has expired and cannot be refreshed");
        assert!(Refusal::of(CALL, &in_connector(sso)).cause.contains("`aws sso login`"));
    }

    #[test]
    fn an_invalid_parameter_of_a_further_page_is_its_token() {
        for (kind, further) in [(Kind::Invalid, Kind::StaleToken), (Kind::Denied, Kind::Denied)] {
            assert_eq!(Refusal::new(kind, "no").of_further_page().kind, further);
        }
    }

    #[test]
    fn causes_are_bounded() {
        let refusal = Refusal::new(Kind::Failed, "é".repeat(1000));
        assert_eq!(refusal.cause.chars().count(), CAUSE_CHARS_MAX);
    }
}
