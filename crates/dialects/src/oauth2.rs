//! The token endpoint: `POST /token` as Google's has it, so that Google's own libraries take a key file whose `token_uri`
//! is ours: the JWT-bearer grant of RFC 7523, and the refresh-token grant of RFC 6749 §6 for the refresh tokens that
//! `penstock account adc` writes. Other grants, consent pages and discovery are absent, and so nobody gets a refresh
//! token here.

use event::{BatchId, Time};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};

use crate::{Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Snapshot, aip193, auth};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const REFRESH_TOKEN: &str = "refresh_token";

/// The dialect.
pub struct OAuth2 {
    routes: [Route; 1],
}

impl OAuth2 {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> OAuth2 {
        let body_bytes_max = |limits: &crate::snapshot::Limits| limits.api_body_bytes_max.min(64 << 10);
        OAuth2 {
            routes: [Route { host: None, method: Method::POST, path: "/token", op: 0, body_bytes_max, needs: None }],
        }
    }
}

impl Dialect for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn authenticate(&self, _: &Found<'_>, _: &Head, _: &Snapshot, _: Time) -> Result<Option<Caller>, Refusal> {
        // The assertion or the refresh token in the body is the credential.
        Ok(None)
    }

    fn accept(
        &self,
        _: &Found<'_>,
        request: &Request,
        _: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        _: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        match grant(&request.body, snapshot, now) {
            Ok(token) => Intake::Answer(granted(&token)),
            Err(refusal) => Intake::Refuse(refusal),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        let (status, error) = match refusal.cause {
            Cause::Unauthenticated => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Cause::PermissionDenied => (StatusCode::BAD_REQUEST, "invalid_scope"),
            Cause::Unsupported => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            // The two words that google-auth tries again on.
            Cause::SlowDown | Cause::Unavailable => (refusal.cause.http_status(), "temporarily_unavailable"),
            Cause::Internal => (refusal.cause.http_status(), "server_error"),
            _ => (refusal.cause.http_status(), "invalid_request"),
        };
        let description = aip193::json_text(&refusal.message, 1_000);
        let body = format!(r#"{{"error":"{error}","error_description":{description}}}"#);
        Reply::json(status, body).with_headers_of(refusal, None)
    }
}

/// `scope` is left out: google-auth fails where a scope that it asked for is not named there, and which of a role's rights
/// its scopes come to is said at use.
fn granted(token: &auth::AccessToken) -> Reply {
    let (token, secs) = (&token.text, auth::Lifetime::STANDARD.secs());
    let body = format!(r#"{{"access_token":"{token}","expires_in":{secs},"token_type":"Bearer"}}"#);
    Reply::json(StatusCode::OK, body).with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn grant(body: &[u8], snapshot: &Snapshot, now: Time) -> Result<auth::AccessToken, Refusal> {
    let field = |name: &str| form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value);
    let need = |name: &str| field(name).ok_or_else(|| Refusal::invalid(format!("The form field {name} is missing.")));
    let grant = match &*need("grant_type")? {
        JWT_BEARER => {
            let assertion = need("assertion")?;
            auth::verify_assertion(assertion.trim(), snapshot, now).map_err(|error| {
                let cause = match error {
                    auth::JwtError::Scope => Cause::PermissionDenied,
                    _ => Cause::Unauthenticated,
                };
                Refusal::new(cause, format!("{error}."))
            })?
        }
        REFRESH_TOKEN => {
            let (refresh_token, client_id) = (need("refresh_token")?, need("client_id")?);
            let (client_secret, scope) = (need("client_secret")?, field("scope"));
            let asked = auth::RefreshRequest {
                refresh_token: &refresh_token,
                client_id: &client_id,
                client_secret: &client_secret,
                scope: scope.as_deref(),
            };
            auth::grant_by_refresh_token(&asked, snapshot).map_err(|error| {
                let cause = match error {
                    auth::NoGrant::Scope => Cause::PermissionDenied,
                    _ => Cause::Unauthenticated,
                };
                Refusal::new(cause, format!("{error}."))
            })?
        }
        _ => {
            let message =
                format!("The values of grant_type that are served here are {JWT_BEARER} and {REFRESH_TOKEN}.");
            return Err(Refusal::new(Cause::Unsupported, message));
        }
    };
    Ok(auth::mint(&grant, auth::Lifetime::STANDARD, snapshot, now))
}
