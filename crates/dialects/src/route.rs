//! Who claims which path. Routes are data; two claims on one route are found when the server starts.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::snapshot::Limits;
use crate::{Dialect, Head, Scope};

/// One claim of a dialect.
#[derive(Debug, Clone)]
pub struct Route {
    /// The host that it is claimed on: `None` for any, or a name, or `*` and how the name ends. A named host goes
    /// before any host.
    pub host: Option<&'static str>,
    /// The method.
    pub method: Method,
    /// The path: exact, or with `{name}` for a whole segment or the part of it before a `:verb`. Exact goes before
    /// placeholders. `**` at its end stands for everything that goes on with a `/` or `:`, or for nothing, and comes
    /// last of all: `/x/rules**` is `/x/rules`, `/x/rules/7`, `/x/rules:list`.
    pub path: &'static str,
    /// The dialect's own number for what is asked here.
    pub op: u32,
    /// Most bytes of body, uncompressed.
    pub body_bytes_max: fn(&Limits) -> usize,
    /// What the caller must be allowed to do; `None` where no credential is asked for.
    pub needs: Option<Scope>,
}

/// What the placeholders of a path stood for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The text that stood for `{name}`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// A claim that a request meets.
#[derive(Clone)]
pub struct Found<'r> {
    /// Who claims it.
    pub dialect: &'r Arc<dyn Dialect>,
    /// The claim.
    pub route: &'r Route,
    /// What its placeholders stand for.
    pub params: Params,
}

/// Who answers a request.
pub enum Lookup<'r> {
    /// This dialect.
    Found(Found<'r>),
    /// The path is claimed with other methods: this dialect refuses.
    WrongMethod {
        /// One that claims the path.
        dialect: &'r Arc<dyn Dialect>,
        /// The methods of the path.
        allow: Vec<Method>,
    },
    /// Nobody; [`crate::aip193::refuse`] is the form to say so in.
    Unknown,
}

/// Two dialects claim the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} both claim {claim}")]
pub struct Conflict {
    /// The dialect that came first.
    pub first: &'static str,
    /// The other one.
    pub second: &'static str,
    /// Method, host and path.
    pub claim: String,
}

/// All claims, ready to be looked up.
pub struct Router {
    dialects: Vec<Arc<dyn Dialect>>,
    /// By exact path.
    exact: HashMap<&'static str, Vec<Claim>>,
    /// Paths with placeholders by how many segments they have and the first of them, which is "" where that is a
    /// placeholder: a request is compared with the few that it can meet.
    patterns: HashMap<(usize, &'static str), Vec<Claim>>,
    /// Paths that end in `**`.
    open: Vec<Claim>,
}

/// What ends a path that claims all that goes on from it.
const OPEN: &str = "**";

#[derive(Clone, Copy)]
struct Claim {
    dialect: usize,
    route: usize,
}

impl Router {
    /// Gathers the claims; two of the same method, host and path are refused.
    pub fn new(dialects: Vec<Arc<dyn Dialect>>) -> Result<Router, Conflict> {
        let mut router = Router { dialects, exact: HashMap::new(), patterns: HashMap::new(), open: Vec::new() };
        let mut seen: HashMap<(Option<&str>, Method, String), &'static str> = HashMap::new();
        for (dialect_index, dialect) in router.dialects.iter().enumerate() {
            for (route_index, route) in dialect.routes().iter().enumerate() {
                let shape = shape(route.path);
                if let Some(first) = seen.insert((route.host, route.method.clone(), shape), dialect.name()) {
                    let claim = format!("{} {}{}", route.method, route.host.unwrap_or_default(), route.path);
                    return Err(Conflict { first, second: dialect.name(), claim });
                }
                let claim = Claim { dialect: dialect_index, route: route_index };
                if route.path.ends_with(OPEN) {
                    router.open.push(claim);
                } else if route.path.contains('{') {
                    let (count, first) = segments(route.path);
                    let first = if first.starts_with('{') { "" } else { first };
                    router.patterns.entry((count, first)).or_default().push(claim);
                } else {
                    router.exact.entry(route.path).or_default().push(claim);
                }
            }
        }
        Ok(router)
    }

    /// Who answers this. A trailing slash is tolerated where the path without it is claimed (contracts/chronicle.md
    /// §0.1).
    pub fn lookup(&self, head: &Head) -> Lookup<'_> {
        let path = head.path.as_str();
        let trimmed = Some(path.trim_end_matches('/')).filter(|trimmed| !trimmed.is_empty() && *trimmed != path);
        for path in std::iter::once(path).chain(trimmed) {
            match self.lookup_closed(head, path) {
                Lookup::Unknown => {}
                lookup => return lookup,
            }
        }
        self.best(head, path, &mut self.open.iter().copied())
    }

    /// Among the claims that are no open ends.
    fn lookup_closed(&self, head: &Head, path: &str) -> Lookup<'_> {
        let (count, first) = segments(path);
        let exact = self.exact.get(path);
        let named = self.patterns.get(&(count, first)).filter(|_| !first.is_empty());
        let unnamed = self.patterns.get(&(count, ""));
        let closed = exact.into_iter().chain(named).chain(unnamed).flatten();
        self.best(head, path, &mut closed.copied())
    }

    /// The best of these claims on a path.
    fn best(&self, head: &Head, path: &str, claims: &mut dyn Iterator<Item = Claim>) -> Lookup<'_> {
        let mut allow: Vec<Method> = Vec::new();
        let mut other = None;
        let mut best: Option<(u8, Claim, Params)> = None;
        let host = head.host();
        for claim in claims {
            let route = self.route(claim);
            let is_exact = !route.path.contains('{') && !route.path.ends_with(OPEN);
            let Some(params) = (if is_exact { Some(Params::default()) } else { match_path(route.path, path) }) else {
                continue;
            };
            let Some(host_rank) = match_host(route.host, host.as_deref()) else { continue };
            if route.method == head.method {
                let rank = host_rank * 2 + u8::from(is_exact);
                if best.as_ref().is_none_or(|(best, ..)| *best < rank) {
                    best = Some((rank, claim, params));
                }
            } else {
                if !allow.contains(&route.method) {
                    allow.push(route.method.clone());
                }
                other = Some(claim.dialect);
            }
        }
        match (best, other) {
            (Some((_, claim, params)), _) => {
                Lookup::Found(Found { dialect: &self.dialects[claim.dialect], route: self.route(claim), params })
            }
            (None, Some(dialect)) => Lookup::WrongMethod { dialect: &self.dialects[dialect], allow },
            (None, None) => Lookup::Unknown,
        }
    }

    fn route(&self, claim: Claim) -> &Route {
        &self.dialects[claim.dialect].routes()[claim.route]
    }
}

/// The path with its placeholders' names removed: two of the same shape claim the same requests.
fn shape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut in_name = false;
    for char in path.chars() {
        if char == '}' {
            in_name = false;
        }
        if !in_name {
            out.push(char);
        }
        if char == '{' {
            in_name = true;
        }
    }
    out
}

/// How well a claim's host fits: a name 2, an ending 1, any 0; `None` when it does not.
fn match_host(claimed: Option<&str>, host: Option<&str>) -> Option<u8> {
    let Some(claimed) = claimed else { return Some(0) };
    let host = host?;
    match claimed.strip_prefix('*') {
        Some(ending) => host.ends_with(ending).then_some(1),
        None => (host == claimed).then_some(2),
    }
}

/// How many segments a path has, and the first of them.
fn segments(path: &str) -> (usize, &str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let first = rest.split('/').next().unwrap_or_default();
    (rest.bytes().filter(|byte| *byte == b'/').count() + 1, first)
}

fn match_path(pattern: &'static str, path: &str) -> Option<Params> {
    let (pattern, is_open) = match pattern.strip_suffix(OPEN) {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut params = Params::default();
    let mut segments = path.split('/');
    let mut wanted = pattern.split('/').peekable();
    while let Some(expected) = wanted.next() {
        let segment = segments.next()?;
        if is_open && wanted.peek().is_none() {
            // The rest of the path is nobody's business but the claimant's.
            let goes_on = segment.strip_prefix(expected)?;
            return (goes_on.is_empty() || goes_on.starts_with(':')).then_some(params);
        }
        let Some((name, verb)) = expected.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            if expected != segment {
                return None;
            }
            continue;
        };
        let value = segment.strip_suffix(verb)?;
        // `{id}` alone does not swallow a verb: `/forwarders/{id}` is not `/forwarders/7:generateFiles`.
        if value.is_empty() || (verb.is_empty() && value.contains(':')) {
            return None;
        }
        params.0.push((name, value.to_owned()));
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use event::{BatchId, Time};
    use http::HeaderMap;

    struct Fake(&'static str, Vec<Route>);

    impl Dialect for Fake {
        fn name(&self) -> &'static str {
            self.0
        }
        fn routes(&self) -> &[Route] {
            &self.1
        }
        fn authenticate(&self, _: &Found<'_>, _: &Head, _: &Snapshot, _: Time) -> Result<Option<Caller>, Refusal> {
            Ok(None)
        }
        fn accept(
            &self,
            _: &Found<'_>,
            _: &Request,
            _: Option<Caller>,
            _: &Snapshot,
            _: Time,
            _: &mut dyn FnMut() -> BatchId,
        ) -> Intake {
            Intake::Refuse(Refusal::internal())
        }
        fn refuse(&self, refusal: &Refusal) -> Reply {
            aip193::refuse(refusal)
        }
    }

    fn fake(name: &'static str, routes: &[(Option<&'static str>, &'static str, &'static str)]) -> Arc<dyn Dialect> {
        let route = |(op, (host, method, path)): (usize, &(Option<&'static str>, &str, &'static str))| Route {
            host: *host,
            method: method.parse().unwrap(),
            path,
            op: op as u32,
            body_bytes_max: |_| 0,
            needs: None,
        };
        Arc::new(Fake(name, routes.iter().enumerate().map(route).collect()))
    }

    fn head(method: &str, host: &str, path: &str) -> Head {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        Head::new(method.parse().unwrap(), path, None, headers, [127, 0, 0, 1].into()).unwrap()
    }

    #[test]
    fn lookups() {
        let router = Router::new(vec![
            fake("a", &[(None, "GET", "/v2/logtypes"), (None, "POST", "/v2/x:do"), (None, "POST", "/v1/f/{id}:go")]),
            fake(
                "b",
                &[
                    (None, "GET", "/v1/f/{id}"),
                    (None, "DELETE", "/v1/f/{id}"),
                    (None, "GET", "/v1/f/all"),
                    (Some("*.example.com"), "GET", "/v2/logtypes"),
                    (Some("one.example.com"), "GET", "/v2/logtypes"),
                    (None, "GET", "/{v}/p/{id}/rules**"),
                    (None, "GET", "/{v}/p/{id}/rules/mine"),
                    (None, "POST", "/{v}/p/{id}:search"),
                ],
            ),
        ])
        .unwrap();
        let check = |method: &str, host: &str, path: &str, expected: &str| {
            let got = match router.lookup(&head(method, host, path)) {
                Lookup::Found(found) => {
                    format!("{}{} {}", found.dialect.name(), found.route.op, found.params.get("id").unwrap_or("-"))
                }
                Lookup::WrongMethod { dialect, allow } => format!("{} allows {allow:?}", dialect.name()),
                Lookup::Unknown => "unknown".to_owned(),
            };
            assert_eq!(got, expected, "{method} {host} {path}");
        };
        check("GET", "h", "/v2/logtypes", "a0 -");
        check("GET", "h:8480", "/v2/logtypes/", "a0 -");
        check("GET", "[::1]:8480", "/v2/logtypes", "a0 -");
        check("POST", "h", "/v2/x%3Ado", "a1 -");
        check("POST", "h", "/v2/x:do/", "a1 -");
        check("GET", "h", "/v1/f/7", "b0 7");
        check("GET", "h", "/v1/f/all", "b2 -");
        check("GET", "h", "/v1/f/7:go", "a allows [POST]");
        check("POST", "h", "/v1/f/7:go", "a2 7");
        check("POST", "h", "/v1/f/7", "b allows [GET, DELETE]");
        check("GET", "two.Example.com", "/v2/logtypes", "b3 -");
        check("GET", "one.example.com:443", "/v2/logtypes", "b4 -");
        check("GET", "h", "/v1/f//", "unknown");
        check("GET", "h", "/v1/p/7/rules", "b5 7");
        check("GET", "h", "/v2/p/7/rules/9", "b5 7");
        check("GET", "h", "/v2/p/7/rules/9/10:go", "b5 7");
        check("GET", "h", "/v2/p/7/rules:list", "b5 7");
        check("GET", "h", "/v2/p/7/rulesets", "unknown");
        check("GET", "h", "/v2/p/7/rules/mine", "b6 7");
        check("POST", "h", "/v2/p/7/rules/9", "b allows [GET]");
        check("POST", "h", "/v1/p/7:search", "b7 7");
        check("POST", "h", "/v1/p/7:searches", "unknown");
        check("GET", "h", "/v1/f/7/8", "unknown");
        check("GET", "h", "/", "unknown");
        check("GET", "h", "", "unknown");
    }

    #[test]
    fn two_claims_on_one_route_are_refused() {
        let conflict = |first: &[(Option<&'static str>, &'static str, &'static str)], second: &[_]| {
            Router::new(vec![fake("a", first), fake("b", second)]).err().map(|conflict| conflict.to_string())
        };
        let claim = |path| [(None, "GET", path)];
        assert_eq!(conflict(&claim("/x"), &claim("/x")).as_deref(), Some("a and b both claim GET /x"));
        assert_eq!(conflict(&claim("/x/{a}"), &claim("/x/{b}")).as_deref(), Some("a and b both claim GET /x/{b}"));
        assert_eq!(conflict(&claim("/x/{a}"), &claim("/x/y")), None);
        assert_eq!(conflict(&claim("/x"), &[(None, "POST", "/x")]), None);
        assert_eq!(conflict(&claim("/x"), &[(Some("h"), "GET", "/x")]), None);
    }
}
