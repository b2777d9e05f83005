//! The token endpoint: `POST /token` with the JWT-bearer grant of RFC 7523, as Google's has it, so that Google's own
//! libraries take a key file whose `token_uri` is ours. Other grants, refresh tokens and discovery are absent.

use event::{BatchId, Time, limits};
use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};

use crate::{Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Snapshot, aip193, auth};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

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
        // The assertion in the body is the credential.
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

    fn thank(&self, receipt: &commit::Receipt) -> Reply {
        // Never asked for: this dialect commits nothing.
        crate::chronicle_ingestion::thanks(receipt)
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
        let mut reply = Reply::json(status, format!(r#"{{"error":"{error}","error_description":{description}}}"#));
        if let Some(secs) = refusal.retry_after_secs {
            reply = reply.with_header(RETRY_AFTER, HeaderValue::from(secs));
        }
        if refusal.cause == Cause::WrongMethod {
            reply = reply.with_header(http::header::ALLOW, HeaderValue::from_static("POST"));
        }
        reply
    }
}

fn granted(token: &str) -> Reply {
    let body =
        format!(r#"{{"access_token":"{token}","expires_in":{},"token_type":"Bearer"}}"#, limits::ACCESS_TOKEN_SECS);
    Reply::json(StatusCode::OK, body).with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn grant(body: &[u8], snapshot: &Snapshot, now: Time) -> Result<String, Refusal> {
    let field = |name: &str| form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value);
    match field("grant_type").as_deref() {
        Some(GRANT_TYPE) => {}
        Some(_) => {
            let message = format!("The only grant_type served here is {GRANT_TYPE}.");
            return Err(Refusal::new(Cause::Unsupported, message));
        }
        None => return Err(Refusal::invalid("The form field grant_type is missing.")),
    }
    let assertion = field("assertion").ok_or_else(|| Refusal::invalid("The form field assertion is missing."))?;
    let assertion = auth::verify_assertion(assertion.trim(), snapshot, now).map_err(|error| {
        let cause = match error {
            auth::JwtError::Scope => Cause::PermissionDenied,
            _ => Cause::Unauthenticated,
        };
        Refusal::new(cause, format!("{error}."))
    })?;
    Ok(auth::mint(&assertion, snapshot, now))
}
