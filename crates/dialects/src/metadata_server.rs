//! What a Compute Engine instance's metadata server says, for one account: google-auth and its like find credentials there
//! when no file names any (contracts/chronicle.md §3).
//!
//! Not a [`crate::Dialect`] among others: it answers every path of a listener of its own, on loopback, since whoever
//! reaches it is given tokens without a credential. What keeps web pages and forwarded requests out is Google's own way:
//! the header `Metadata-Flavor: Google`, which no page can send without being asked, and no `X-Forwarded-For`. A page of
//! a name that was made to mean this machine is not asked, since for the browser it is at home here: so the name must be
//! one that nobody else can own. Absent: identity tokens, attributes, waiting for changes, and what would have to be made
//! up (zone, host name, disks).

use std::net::IpAddr;

use event::{InstanceId, Time};
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;

use crate::auth::{self, Lifetime, NoGrant};
use crate::{Head, Reply, Snapshot};

/// The header that a request must have and every answer has.
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const GOOGLE: &str = "Google";

/// What the account says that it may be used for; how far its role goes is decided at use.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The metadata server of one account.
#[derive(Debug, Clone)]
pub struct MetadataServer {
    account: String,
    project: String,
    project_number: String,
}

impl MetadataServer {
    /// For this account of an instance and its project.
    pub fn new(account: &str, project: &str, instance: InstanceId) -> MetadataServer {
        // Twelve digits as Google's have; derived, so that the same instance keeps the same number.
        let number = 100_000_000_000 + instance.uuid().as_u128() % 900_000_000_000;
        MetadataServer { account: account.to_owned(), project: project.to_owned(), project_number: number.to_string() }
    }

    /// The answer to a request, whatever it asks.
    pub fn answer(&self, head: &Head, snapshot: &Snapshot, now: Time) -> Reply {
        let reply = match self.decide(head, snapshot, now) {
            Ok(reply) => reply,
            Err(Refused(status, text)) => Reply { status, ..plain(text) },
        };
        let reply = match reply.status {
            StatusCode::METHOD_NOT_ALLOWED => reply.with_header(ALLOW, HeaderValue::from_static("GET, HEAD")),
            _ => reply,
        };
        reply.with_header(FLAVOR, HeaderValue::from_static(GOOGLE))
    }

    fn decide(&self, head: &Head, snapshot: &Snapshot, now: Time) -> Result<Reply, Refused> {
        if head.headers.contains_key("x-forwarded-for") {
            return Err(forbidden("A forwarded request is not answered here."));
        }
        if head.headers.get(FLAVOR).is_none_or(|value| value != GOOGLE) {
            return Err(forbidden("The request lacks the header Metadata-Flavor: Google."));
        }
        let hosts = head.headers.get_all(http::header::HOST).iter().count();
        if hosts > 1 || (hosts == 1 && head.host().is_none()) {
            return Err(forbidden("The request does not say clearly which host it means."));
        }
        if let Some(host) = head.host().filter(|host| !is_this_machine(host)) {
            let host: String = host.chars().take(100).collect();
            return Err(forbidden(format!(
                "This is not {host}. Ask an IP address, localhost or metadata.google.internal."
            )));
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refused(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("Only GET is served here, not {}.\n", head.method),
            ));
        }
        let path: Vec<&str> = head.path.trim_matches('/').split('/').collect();
        let is_recursive = head.query_value("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match path.as_slice() {
            [""] => Ok(plain("computeMetadata/\n")),
            ["computeMetadata"] => Ok(plain("v1/\n")),
            ["computeMetadata", "v1"] => Ok(plain("instance/\nproject/\nuniverse/\n")),
            ["computeMetadata", "v1", "project"] => Ok(plain("numeric-project-id\nproject-id\n")),
            ["computeMetadata", "v1", "project", "project-id"] => Ok(plain(&*self.project)),
            ["computeMetadata", "v1", "project", "numeric-project-id"] => Ok(plain(&*self.project_number)),
            ["computeMetadata", "v1", "universe"] => Ok(plain("universe-domain\n")),
            ["computeMetadata", "v1", "universe", "universe-domain"] => Ok(plain("googleapis.com")),
            ["computeMetadata", "v1", "instance"] => Ok(plain("service-accounts/\n")),
            ["computeMetadata", "v1", "instance", "service-accounts", rest @ ..] => {
                self.service_account(rest, is_recursive, head, snapshot, now)
            }
            _ => Err(not_found(head)),
        }
    }

    fn service_account(
        &self,
        path: &[&str],
        is_recursive: bool,
        head: &Head,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Reply, Refused> {
        let scopes = head.query_value("scopes").unwrap_or_default().replace(',', " ");
        let scopes = if scopes.trim().is_empty() { SCOPE } else { &scopes };
        // Found out for every path, so that a client learns at the first one that there is no account any more.
        let grant = auth::grant_on_this_machine(&self.account, scopes, snapshot);
        match grant {
            Err(NoGrant::Disabled) => return Err(forbidden(format!("The account {} is disabled.", self.account))),
            Err(NoGrant::Scope) => {
                let text = format!("None of the scopes is known here; {SCOPE} is.\n");
                return Err(Refused(StatusCode::BAD_REQUEST, text));
            }
            Err(NoGrant::Unknown | NoGrant::RefreshToken) => {
                let text = format!("The account {} does not exist any more.\n", self.account);
                return Err(Refused(StatusCode::NOT_FOUND, text));
            }
            Ok(_) => {}
        }
        let about = json!({ "aliases": ["default"], "email": self.account, "scopes": [SCOPE] });
        let (name, path) = path.split_first().unwrap_or((&"", &[]));
        if name.is_empty() {
            return Ok(if is_recursive {
                as_json(&json!({ "default": about, &*self.account: about }))
            } else {
                plain(format!("default/\n{}/\n", self.account))
            });
        }
        if *name != "default" && *name != self.account {
            return Err(not_found(head));
        }
        match (path, grant) {
            ([], _) if is_recursive => Ok(as_json(&about)),
            ([], _) => Ok(plain("aliases\nemail\nscopes\ntoken\n")),
            (["aliases"], _) => Ok(plain("default\n")),
            (["email"], _) => Ok(plain(&*self.account)),
            (["scopes"], _) => Ok(plain(format!("{SCOPE}\n"))),
            (["token"], Ok(grant)) => {
                let token = auth::mint(&grant, Lifetime::STANDARD, snapshot, now);
                let secs = Lifetime::STANDARD.secs();
                Ok(as_json(&json!({ "access_token": token.text, "expires_in": secs, "token_type": "Bearer" })))
            }
            _ => Err(not_found(head)),
        }
    }
}

/// Whether a name cannot be a stranger's: an address says itself where it leads, and the names are not for sale.
fn is_this_machine(host: &str) -> bool {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = host.strip_suffix('.').unwrap_or(host);
    is_address(in_brackets.unwrap_or(host)) || ["localhost", "metadata", "metadata.google.internal"].contains(&name)
}

/// A status and a text for people.
struct Refused(StatusCode, String);

fn forbidden(text: impl std::fmt::Display) -> Refused {
    Refused(StatusCode::FORBIDDEN, format!("{text}\n"))
}

fn not_found(head: &Head) -> Refused {
    let path: String = head.path.chars().take(200).collect();
    Refused(StatusCode::NOT_FOUND, format!("Nothing is served at {path}.\n"))
}

fn plain(text: impl Into<String>) -> Reply {
    let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/text"))];
    Reply { status: StatusCode::OK, headers, body: text.into().into() }
}

fn as_json(value: &serde_json::Value) -> Reply {
    // Exactly this: google-auth reads other types as text.
    let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Reply { status: StatusCode::OK, headers, body: value.to_string().into() }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::auth::{Role, authenticate_bearer};
    use crate::testing::{KeyPair, OURS, World, instance};
    use crate::{Scope, auth::Scopes};

    const EMAIL: &str = "sa@p.iam.gserviceaccount.com";

    fn world(role: Role) -> (World, MetadataServer) {
        let mut world = World::new();
        world.add_account(EMAIL, OURS, role, "k", &KeyPair::from_seed("one"));
        (world, MetadataServer::new(EMAIL, "proj", instance(OURS)))
    }

    fn ask(
        of: &(World, MetadataServer),
        method: &str,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, String) {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let head = Head::new(method.parse().unwrap(), path, query, headers, [127, 0, 0, 1].into()).unwrap();
        let reply = of.1.answer(&head, &of.0.snapshot, of.0.now);
        let flavor = reply.headers.iter().filter(|(name, value)| *name == FLAVOR && value == "Google").count();
        assert_eq!(flavor, 1, "{target}: every answer has the header once");
        (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
    }

    const FLAVORED: &[(&str, &str)] = &[("metadata-flavor", "Google")];

    #[test]
    fn every_path_that_libraries_ask() {
        let of = world(Role::Ingest);
        let check = |target: &str, expected: (u16, &str)| {
            let (status, body) = ask(&of, "GET", target, FLAVORED);
            assert_eq!((status, body.as_str()), expected, "{target}");
        };
        let about = r#"{"aliases":["default"],"email":"sa@p.iam.gserviceaccount.com","scopes":["https://www.googleapis.com/auth/cloud-platform"]}"#;
        check("/", (200, "computeMetadata/\n"));
        check("/computeMetadata/v1/", (200, "instance/\nproject/\nuniverse/\n"));
        check("/computeMetadata/v1/project/project-id", (200, "proj"));
        check("/computeMetadata/v1/project/numeric-project-id", (200, "714363268908"));
        check("/computeMetadata/v1/universe/universe-domain", (200, "googleapis.com"));
        let accounts = "/computeMetadata/v1/instance/service-accounts";
        check(&format!("{accounts}/"), (200, &format!("default/\n{EMAIL}/\n")));
        check(&format!("{accounts}/?recursive=true"), (200, &format!(r#"{{"default":{about},"{EMAIL}":{about}}}"#)));
        for name in ["default", EMAIL] {
            check(&format!("{accounts}/{name}/?recursive=true"), (200, about));
            check(&format!("{accounts}/{name}"), (200, "aliases\nemail\nscopes\ntoken\n"));
            check(&format!("{accounts}/{name}/email"), (200, EMAIL));
            check(&format!("{accounts}/{name}/scopes"), (200, &format!("{SCOPE}\n")));
            check(&format!("{accounts}/{name}/aliases"), (200, "default\n"));
        }
        let nothing = |path: &str| check(path, (404, &format!("Nothing is served at {path}.\n")));
        nothing(&format!("{accounts}/other@p/token"));
        nothing(&format!("{accounts}/default/identity"));
        nothing(&format!("{accounts}/default/token/more"));
        nothing("/computeMetadata/v1/instance/zone");
        nothing("/computeMetadata/v1beta1/project/project-id");
        nothing("/v2/logtypes");
        nothing("/api/status");
        nothing("/metrics");
    }

    #[test]
    fn tokens_go_no_further_than_the_accounts_role() {
        let check = |role: Role, query: &str, expected: &[Scope]| {
            let of = world(role);
            let path = format!("/computeMetadata/v1/instance/service-accounts/default/token{query}");
            let (status, body) = ask(&of, "GET", &path, FLAVORED);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &body["expires_in"], &body["token_type"]), (200, &json!(3599), &json!("Bearer")));
            let token = body["access_token"].as_str().unwrap();
            let caller = authenticate_bearer(token, &of.0.snapshot, of.0.now).unwrap();
            assert_eq!((caller.sender(), caller.instance()), (EMAIL, Some(instance(OURS))));
            assert_eq!(caller.scopes(), Scopes::of(expected), "{role:?} {query}");
        };
        let all = [Scope::Ingest, Scope::Read, Scope::Admin, Scope::Iam];
        check(Role::Ingest, "", &[Scope::Ingest]);
        check(Role::Read, "?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform", &[Scope::Read]);
        check(Role::Admin, "?scopes=", &all);
        let (ingestion, readonly) = (
            "https://www.googleapis.com/auth/malachite-ingestion",
            "https://www.googleapis.com/auth/chronicle.readonly",
        );
        check(Role::Admin, &format!("?scopes={ingestion}"), &[Scope::Ingest]);
        check(Role::Admin, &format!("?scopes=openid,{ingestion},{readonly}"), &[Scope::Ingest, Scope::Read]);
        check(Role::Ingest, &format!("?scopes={readonly}"), &[]);
        let of = world(Role::Admin);
        let path = "/computeMetadata/v1/instance/service-accounts/default/token?scopes=https://example.com/x";
        assert_eq!(ask(&of, "GET", path, FLAVORED).0, 400);
    }

    #[test]
    fn what_is_not_asked_as_google_asks_is_refused() {
        let of = world(Role::Admin);
        let token = "/computeMetadata/v1/instance/service-accounts/default/token";
        for path in ["/", token, "/nothing"] {
            assert_eq!(ask(&of, "GET", path, &[]).0, 403, "{path} without the header");
            assert_eq!(ask(&of, "GET", path, &[("metadata-flavor", "Other")]).0, 403, "{path} with another");
            let forwarded = [("metadata-flavor", "Google"), ("x-forwarded-for", "192.0.2.1")];
            assert_eq!(ask(&of, "GET", path, &forwarded).0, 403, "{path} forwarded");
            assert_eq!(ask(&of, "POST", path, FLAVORED).0, 405, "POST {path}");
        }
    }

    #[test]
    fn a_name_that_may_be_a_strangers_is_refused() {
        let of = world(Role::Admin);
        let check = |host: &str, expected: u16| {
            let token = "/computeMetadata/v1/instance/service-accounts/default/token";
            let (status, body) = ask(&of, "GET", token, &[("metadata-flavor", "Google"), ("host", host)]);
            assert_eq!(status, expected, "{host}: {body}");
        };
        for host in ["127.0.0.1", "127.0.0.1:8482", "[::1]:8482", "[::1]", "localhost:8482", "LocalHost"] {
            check(host, 200);
        }
        for host in ["metadata.google.internal", "metadata.google.internal.:80", "metadata", "169.254.169.254"] {
            check(host, 200);
        }
        for host in ["evil.example", "evil.example:8482", "127.0.0.1.evil.example", "localhost.evil.example:8482", ""] {
            check(host, 403);
        }
    }

    #[test]
    fn an_account_that_ended_gives_nothing() {
        let paths = [
            "/computeMetadata/v1/instance/service-accounts/",
            "/computeMetadata/v1/instance/service-accounts/default/token",
        ];
        for path in paths {
            let mut of = world(Role::Admin);
            of.0.snapshot.accounts.get_mut(EMAIL).unwrap().disabled = true;
            assert_eq!(ask(&of, "GET", path, FLAVORED).0, 403);
            of.0.snapshot.accounts.remove(EMAIL);
            assert_eq!(ask(&of, "GET", path, FLAVORED).0, 404);
            let mut of = world(Role::Admin);
            of.0.snapshot.instances.clear();
            assert_eq!(ask(&of, "GET", path, FLAVORED).0, 404);
        }
    }
}
