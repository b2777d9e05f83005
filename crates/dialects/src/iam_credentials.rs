//! The IAM Credentials API, as far as Google's libraries need it to act as a service account: `:generateAccessToken`
//! gives an administrator of an instance a short token of another account there, and `/allowedLocations` says that there
//! are no regional limits, which google-auth asks in the background of every service account.
//!
//! Who may do what is [`auth::grant_by_impersonation`]'s decision. ID tokens, signing of blobs and JWTs, and chains of
//! delegates are absent.

use event::{BatchId, Time, limits};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::auth::{self, Lifetime, Scopes};
use crate::{Caller, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, Snapshot, aip193};

const GENERATE_ACCESS_TOKEN: u32 = 0;
const ALLOWED_LOCATIONS: u32 = 1;

/// The dialect.
pub struct IamCredentials {
    routes: [Route; 2],
}

impl IamCredentials {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> IamCredentials {
        let body_bytes_max = |limits: &crate::snapshot::Limits| limits.api_body_bytes_max.min(64 << 10);
        IamCredentials {
            routes: [
                Route {
                    host: None,
                    method: Method::POST,
                    path: "/v1/projects/-/serviceAccounts/{email}:generateAccessToken",
                    op: GENERATE_ACCESS_TOKEN,
                    body_bytes_max,
                    needs: Some(Scope::Iam),
                },
                Route {
                    host: None,
                    method: Method::GET,
                    path: "/v1/projects/-/serviceAccounts/{email}/allowedLocations",
                    op: ALLOWED_LOCATIONS,
                    body_bytes_max,
                    // It says the same whoever asks, about any account, so that it tells nothing.
                    needs: None,
                },
            ],
        }
    }
}

impl Dialect for IamCredentials {
    fn name(&self) -> &'static str {
        "iam_credentials"
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn authenticate(
        &self,
        at: &Found<'_>,
        head: &Head,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Option<Caller>, Refusal> {
        let Some(scope) = at.route.needs else { return Ok(None) };
        let caller = auth::authenticate(head, snapshot, now)?;
        caller.require(scope)?;
        Ok(Some(caller))
    }

    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        _: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        if at.route.op == ALLOWED_LOCATIONS {
            // No bit of the bitmap set: every location is allowed.
            return Intake::Answer(Reply::json(StatusCode::OK, r#"{"locations":[],"encodedLocations":"0x0"}"#));
        }
        let Some(caller) = caller else {
            return Intake::Refuse(Refusal::unauthenticated("The request has no credential."));
        };
        let email = at.params.get("email").unwrap_or_default();
        match generate(email, &request.body, &caller, snapshot, now) {
            Ok(reply) => Intake::Answer(reply),
            Err(refusal) => Intake::Refuse(refusal.of(&caller)),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        aip193::refuse(refusal)
    }
}

fn generate(email: &str, body: &[u8], caller: &Caller, snapshot: &Snapshot, now: Time) -> Result<Reply, Refusal> {
    let Asked { scopes, lifetime } = read(body)?;
    let grant = auth::grant_by_impersonation(caller, email, scopes, snapshot)?;
    let token = auth::mint(&grant, lifetime, snapshot, now);
    let (text, expires_at) = (&token.text, token.expires_at);
    // Whole seconds: google-auth reads the time without a fraction only.
    let body = format!(r#"{{"accessToken":"{text}","expireTime":"{expires_at}"}}"#);
    Ok(Reply::json(StatusCode::OK, body).with_header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

struct Asked {
    scopes: Scopes,
    lifetime: Lifetime,
}

fn read(body: &[u8]) -> Result<Asked, Refusal> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))?;
    let Value::Object(fields) = &body else { return Err(Refusal::invalid("The body is not a JSON object.")) };
    let known = ["delegates", "scope", "lifetime"];
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Refusal::invalid_field(name, format!("is no field of this call; it takes {}", known.join(", "))));
    }
    if !texts(&body, "delegates")?.is_empty() {
        return Err(Refusal::invalid_field("delegates", "chains of impersonation are not served: leave it empty"));
    }
    let scope = texts(&body, "scope")?;
    if scope.is_empty() {
        return Err(Refusal::invalid_field("scope", "at least one is needed"));
    }
    let scopes = Scopes::from_google(&scope.join(" ")).ok_or_else(|| {
        let example = "such as https://www.googleapis.com/auth/cloud-platform";
        Refusal::invalid_field("scope", format!("none of them is known here, {example}"))
    })?;
    let lifetime = match &body["lifetime"] {
        Value::Null => Lifetime::new(limits::ACCESS_TOKEN_SECS_MAX),
        Value::String(text) => duration_secs(text).and_then(Lifetime::new),
        _ => None,
    };
    let lifetime = lifetime.ok_or_else(|| {
        let most = limits::ACCESS_TOKEN_SECS_MAX;
        Refusal::invalid_field("lifetime", format!("a text of seconds from \"1s\" to \"{most}s\" is expected"))
    })?;
    Ok(Asked { scopes, lifetime })
}

/// A list of texts; nothing, null and a text by itself are lists too.
fn texts<'b>(body: &'b Value, name: &str) -> Result<Vec<&'b str>, Refusal> {
    let wrong = || Refusal::invalid_field(name, "a list of texts is expected");
    match &body[name] {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

/// The whole seconds of a protobuf duration in JSON: `600s`, `3.5s`.
fn duration_secs(text: &str) -> Option<u64> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let secs: u64 = whole.parse().ok()?;
    // A token may live shorter than was asked for, never longer than the limit.
    let beyond = secs == limits::ACCESS_TOKEN_SECS_MAX && fraction.bytes().any(|byte| byte != b'0');
    (!beyond).then_some(secs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::{Role, authenticate_bearer, sign_assertion};
    use crate::testing::{KeyPair, OPERATOR, OURS, THEIRS, World, instance};

    const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";
    const IAM: &str = "https://www.googleapis.com/auth/iam";

    /// An account of every role in both instances, and the keys to all of them.
    struct Accounts {
        world: World,
        pair: std::sync::Arc<KeyPair>,
    }

    fn accounts() -> Accounts {
        let mut world = World::new();
        let pair = KeyPair::from_seed("one");
        for (name, id) in [("ours", OURS), ("theirs", THEIRS)] {
            for role in [Role::Ingest, Role::Read, Role::Admin] {
                world.add_account(&format!("{}@{name}", role.name()), id, role, "k", &pair);
            }
        }
        Accounts { world, pair }
    }

    impl Accounts {
        fn token(&self, email: &str, scope: &str) -> String {
            let (world, pair) = (&self.world, &self.pair);
            let url = "http://127.0.0.1:8480/token";
            let key_file = auth::KeyFile::new("p", "k", &pair.private_pem, email, url, instance(OURS));
            let assertion = sign_assertion(&key_file, url, scope, world.now).unwrap();
            let form =
                format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
            let (status, body) = world.call("POST", "/token", &[], form.as_bytes()).replied();
            assert_eq!(status, 200, "{body}");
            body["access_token"].as_str().unwrap().to_owned()
        }

        fn generate(&self, bearer: &str, email: &str, body: &Value) -> (u16, Value) {
            let path = format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
            let headers = [("authorization", format!("Bearer {bearer}"))];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            self.world.call("POST", &path, &headers, body.to_string().as_bytes()).replied()
        }
    }

    #[test]
    fn only_administrators_get_tokens_of_others_and_only_of_their_own_instance() {
        let accounts = accounts();
        let body = json!({"delegates": null, "scope": [CLOUD], "lifetime": "600s"});
        for role in ["ingest", "read", "admin"] {
            for scope in [CLOUD, IAM, "https://www.googleapis.com/auth/chronicle"] {
                let bearer = accounts.token(&format!("{role}@ours"), scope);
                let may = role == "admin" && scope != "https://www.googleapis.com/auth/chronicle";
                for target in ["ingest", "read", "admin"] {
                    let (status, reply) = accounts.generate(&bearer, &format!("{target}@ours"), &body);
                    assert_eq!(status, if may { 200 } else { 403 }, "{role} {scope} → {target}: {reply}");
                }
                // Whether another instance has such an account is not to be told.
                let ask = |email: &str| {
                    let (status, reply) = accounts.generate(&bearer, email, &body);
                    (status, reply.to_string().replace(email, "…"))
                };
                assert_eq!(ask("admin@theirs"), ask("nobody@theirs"), "{role} {scope}");
                assert_eq!(ask("admin@theirs").0, if may { 404 } else { 403 }, "{role} {scope}");
            }
        }
        assert_eq!(accounts.generate("ours-admin", "ingest@ours", &body).0, 401, "an API key is no bearer");
        let path = "/v1/projects/-/serviceAccounts/ingest@ours:generateAccessToken?key=ours-admin";
        assert_eq!(accounts.world.call("POST", path, &[], body.to_string().as_bytes()).replied().0, 403);
        assert_eq!(accounts.generate(OPERATOR, "ingest@theirs", &body).0, 200, "the operator reaches every instance");
    }

    #[test]
    fn the_token_is_the_targets_and_no_more() {
        let mut accounts = accounts();
        let bearer = accounts.token("admin@ours", IAM);
        let check = |accounts: &Accounts, target: &str, scope: Value, expected: &[Scope]| {
            let body = json!({"scope": scope, "lifetime": "600s"});
            let (status, reply) = accounts.generate(&bearer, target, &body);
            assert_eq!(status, 200, "{reply}");
            let until = accounts.world.now.secs() + 600;
            assert_eq!(reply["expireTime"], Time::from_secs(until).unwrap().to_string());
            let token = reply["accessToken"].as_str().unwrap();
            let caller = authenticate_bearer(token, &accounts.world.snapshot, accounts.world.now).unwrap();
            assert_eq!((caller.sender(), caller.instance()), (target, Some(instance(OURS))));
            assert_eq!(caller.scopes(), Scopes::of(expected), "{target} {scope}");
            let late = Time::from_secs(until).unwrap();
            assert!(authenticate_bearer(token, &accounts.world.snapshot, late).is_err(), "it lives 600 s");
            token.to_owned()
        };
        check(&accounts, "ingest@ours", json!([CLOUD]), &[Scope::Ingest]);
        check(&accounts, "read@ours", json!([CLOUD]), &[Scope::Read]);
        check(&accounts, "read@ours", json!(["https://www.googleapis.com/auth/malachite-ingestion"]), &[]);
        check(&accounts, "ingest@ours", json!(CLOUD), &[Scope::Ingest]);
        let token =
            check(&accounts, "admin@ours", json!([CLOUD, "openid"]), &[Scope::Ingest, Scope::Read, Scope::Admin]);
        // No chains.
        assert_eq!(accounts.generate(&token, "ingest@ours", &json!({"scope": [CLOUD]})).0, 403);

        // A rotation of the target ends it; a disabled target is none.
        let target = accounts.world.snapshot.accounts.get_mut("admin@ours").unwrap();
        let key = target.keys.remove("k").unwrap();
        target.keys.insert("new".to_owned(), key);
        assert!(authenticate_bearer(&token, &accounts.world.snapshot, accounts.world.now).is_err());
        let bearer = accounts.token("admin@theirs", IAM);
        accounts.world.snapshot.accounts.get_mut("read@theirs").unwrap().disabled = true;
        let (status, reply) = accounts.generate(&bearer, "read@theirs", &json!({"scope": [CLOUD]}));
        assert_eq!((status, reply["error"]["message"].as_str().unwrap().contains("disabled")), (403, true), "{reply}");
    }

    #[test]
    fn faults_name_their_field() {
        let accounts = accounts();
        let bearer = accounts.token("admin@ours", IAM);
        let check = |body: Value, field: &str| {
            let (status, reply) = accounts.generate(&bearer, "ingest@ours", &body);
            let named = &reply["error"]["details"][0]["fieldViolations"][0]["field"];
            assert_eq!((status, named), (400, &json!(field)), "{body}: {reply}");
        };
        check(json!({"scope": [CLOUD], "lifetime": "3601s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "3600.1s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "0s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "0.9s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "-1s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "600"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "1.s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": "99999999999999999999s"}), "lifetime");
        check(json!({"scope": [CLOUD], "lifetime": 600}), "lifetime");
        check(json!({"scope": [CLOUD], "delegates": ["projects/-/serviceAccounts/a@b"]}), "delegates");
        check(json!({"scope": [CLOUD], "delegates": {}}), "delegates");
        check(json!({"scope": [CLOUD], "lifetme": "600s"}), "lifetme");
        check(json!({"scope": []}), "scope");
        check(json!({"scope": null}), "scope");
        check(json!({"scope": [1]}), "scope");
        check(json!({"scope": ["https://www.googleapis.com/auth/drive"]}), "scope");
        assert_eq!(accounts.generate(&bearer, "ingest@ours", &json!([])).0, 400);
        let good = |lifetime: Value| {
            accounts.generate(&bearer, "ingest@ours", &json!({"scope": [CLOUD], "lifetime": lifetime})).0
        };
        assert_eq!([json!("1s"), json!("3600s"), json!("3600.000s"), json!("1.5s"), Value::Null].map(good), [200; 5]);
    }

    #[test]
    fn there_are_no_regional_limits_for_anybody() {
        let world = World::new();
        let path = "/v1/projects/-/serviceAccounts/x@p.iam.gserviceaccount.com/allowedLocations";
        for headers in [&[][..], &[("authorization", "Bearer expired")]] {
            let (status, body) = world.call("GET", path, headers, b"").replied();
            assert_eq!((status, body), (200, json!({"locations": [], "encodedLocations": "0x0"})));
        }
    }
}
