//! Tokens and JWTs as real libraries make them, and everything that must not work.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use event::Time;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::testing::{KeyPair, OPERATOR, OURS, Outcome, THEIRS, World, instance};

const EMAIL: &str = "ingest@proj.iam.gserviceaccount.com";
const GOOGLE: &str = "https://oauth2.googleapis.com/token";
const MALACHITE: &str = "https://www.googleapis.com/auth/malachite-ingestion";

/// A JWT of any header and claims, its first two segments written with this alphabet and padding.
fn jwt(key_file: &KeyFile, header: &Value, claims: &Value, engine: &base64::engine::GeneralPurpose) -> String {
    let der: String =
        key_file.private_key.lines().filter(|line| !line.starts_with('-')).flat_map(|line| line.chars()).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let signed = format!("{}.{}", engine.encode(header.to_string()), engine.encode(claims.to_string()));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", engine.encode(signature))
}

fn exchange(world: &World, assertion: &str) -> Outcome {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("assertion", assertion)
        .finish();
    world.call("POST", "/token", &[("content-type", "application/x-www-form-urlencoded")], form.as_bytes())
}

fn token_of(outcome: Outcome) -> String {
    let (status, body) = outcome.replied();
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(3599), &json!("Bearer")));
    body["access_token"].as_str().unwrap().to_owned()
}

fn use_token(world: &World, token: &str) -> (u16, Value) {
    world.call("GET", "/v2/logtypes", &[("authorization", &format!("Bearer {token}"))], b"").replied()
}

#[test]
fn assertions_of_real_libraries_are_taken() {
    let mut world = World::new();
    let pair = KeyPair::from_seed("one");
    let key_file = world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &pair);
    world.add_account(EMAIL, OURS, Role::Ingest, "kid0", &KeyPair::from_seed("two"));
    let now = world.now.secs();
    let claims = |aud: Value, exp: i64| json!({"iss": EMAIL, "aud": aud, "scope": MALACHITE, "iat": now, "exp": exp});
    let with_kid = json!({"typ": "JWT", "alg": "RS256", "kid": "kid1"});
    let without = json!({"alg": "RS256", "typ": "JWT"});

    let check = |name: &str, header: &Value, claims: Value, engine| {
        let token = token_of(exchange(&world, &jwt(&key_file, header, &claims, engine)));
        let (status, body) = use_token(&world, &token);
        assert_eq!(status, 200, "{name}: {body}");
    };
    check("google-auth", &with_kid, claims(json!(GOOGLE), now + 3600), &URL_SAFE_NO_PAD);
    check("fluent-bit: no kid, plain base64", &without, claims(json!(GOOGLE), now + 3000), &STANDARD);
    check(
        "yup-oauth2: own url, padding",
        &without,
        claims(json!("http://127.0.0.1:8480/token"), now + 3595),
        &URL_SAFE,
    );
    check(
        "older endpoint",
        &with_kid,
        claims(json!("https://www.googleapis.com/oauth2/v4/token"), now + 3600),
        &URL_SAFE_NO_PAD,
    );
    check("aud list", &with_kid, claims(json!(["https://example.com", GOOGLE]), now + 3600), &URL_SAFE_NO_PAD);
    check(
        "clock 5 min ahead",
        &with_kid,
        json!({"iss": EMAIL, "aud": GOOGLE, "scope": MALACHITE, "iat": now + 300, "exp": now + 3900}),
        &URL_SAFE_NO_PAD,
    );
    check(
        "fractions",
        &with_kid,
        json!({"iss": EMAIL, "aud": GOOGLE, "scope": MALACHITE, "iat": now as f64 + 0.5, "exp": now as f64 + 99.5}),
        &URL_SAFE_NO_PAD,
    );
    check(
        "several scopes",
        &with_kid,
        json!({"iss": EMAIL, "aud": GOOGLE, "iat": now, "exp": now + 60,
        "scope": format!("openid https://www.googleapis.com/auth/cloud-platform {MALACHITE}")}),
        &URL_SAFE_NO_PAD,
    );

    let token = token_of(exchange(&world, &sign_assertion(&key_file, GOOGLE, MALACHITE, world.now).unwrap()));
    assert_eq!(use_token(&world, &token).0, 200);
    let bearer = sign_bearer(&key_file, MALACHITE, world.now).unwrap();
    assert_eq!(use_token(&world, &bearer).0, 200);
}

#[test]
fn assertions_that_prove_nothing_are_refused() {
    let mut world = World::new();
    let (pair, other) = (KeyPair::from_seed("one"), KeyPair::from_seed("two"));
    let key_file = world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &pair);
    let stranger = KeyFile { private_key: other.private_pem.clone(), ..key_file.clone() };
    let disabled = world.add_account("off@x", OURS, Role::Ingest, "kid1", &pair);
    world.snapshot.accounts.get_mut("off@x").unwrap().disabled = true;
    let now = world.now.secs();
    let header = json!({"alg": "RS256", "kid": "kid1"});
    let good = json!({"iss": EMAIL, "aud": GOOGLE, "scope": MALACHITE, "iat": now, "exp": now + 3600});
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        claims
    };
    let sign = |key_file: &KeyFile, header: &Value, claims: &Value| jwt(key_file, header, claims, &URL_SAFE_NO_PAD);

    let check = |name: &str, assertion: &str, error: &str, part: &str| {
        let (status, body) = exchange(&world, assertion).replied();
        assert_eq!((status, &body["error"]), (400, &json!(error)), "{name}: {body}");
        let description = body["error_description"].as_str().unwrap();
        assert!(description.contains(part), "{name}: {description}");
        // What is no assertion is no bearer either.
        if error == "invalid_grant" && !name.starts_with("aud") {
            assert_eq!(use_token(&world, assertion).0, 401, "{name} as bearer");
        }
    };
    let invalid = "account or signature is not valid";
    check("other's key", &sign(&stranger, &header, &good), "invalid_grant", invalid);
    check("unknown account", &sign(&key_file, &header, &with("iss", json!("x@y"))), "invalid_grant", invalid);
    check("disabled account", &sign(&disabled, &header, &with("iss", json!("off@x"))), "invalid_grant", invalid);
    check("unknown kid", &sign(&key_file, &json!({"alg": "RS256", "kid": "kid9"}), &good), "invalid_grant", invalid);
    check("alg none", &sign(&key_file, &json!({"alg": "none"}), &good), "invalid_grant", "must be RS256");
    check("alg HS256", &sign(&key_file, &json!({"alg": "HS256"}), &good), "invalid_grant", "must be RS256");
    check("alg missing", &sign(&key_file, &json!({}), &good), "invalid_grant", "header is not JSON with an alg");
    let signed = sign(&key_file, &header, &good);
    let unsigned = signed.rsplit_once('.').unwrap().0;
    check("signature cut off", &format!("{unsigned}."), "invalid_grant", invalid);
    check("two segments", unsigned, "invalid_grant", "");
    check("one bit of the signature", &flip_last(&signed), "invalid_grant", "");
    let claims =
        URL_SAFE_NO_PAD.encode(with("scope", json!("https://www.googleapis.com/auth/cloud-platform")).to_string());
    let mut segments: Vec<&str> = signed.split('.').collect();
    segments[1] = &claims;
    check("claims exchanged", &segments.join("."), "invalid_grant", invalid);
    check("nonsense", "a.b.c", "invalid_grant", "malformed");
    check("empty", "", "invalid_grant", "malformed");
    check(
        "expired",
        &sign(
            &key_file,
            &header,
            &json!({"iss": EMAIL, "aud": GOOGLE, "scope": MALACHITE, "iat": now - 4000, "exp": now - 400}),
        ),
        "invalid_grant",
        "expired at",
    );
    check(
        "from the future",
        &sign(
            &key_file,
            &header,
            &json!({"iss": EMAIL, "aud": GOOGLE, "scope": MALACHITE, "iat": now + 400, "exp": now + 500}),
        ),
        "invalid_grant",
        "in the future",
    );
    check(
        "lives too long",
        &sign(&key_file, &header, &with("exp", json!(now + 3601))),
        "invalid_grant",
        "at most 3600 seconds",
    );
    check(
        "ends before it begins",
        &sign(&key_file, &header, &with("exp", json!(now - 1))),
        "invalid_grant",
        "after its iat",
    );
    check(
        "time at the end of numbers",
        &sign(&key_file, &header, &with("exp", json!(i64::MAX))),
        "invalid_grant",
        "after its iat",
    );
    check(
        "aud of others",
        &sign(&key_file, &header, &with("aud", json!("https://example.com/token"))),
        "invalid_grant",
        "expected http://127.0.0.1:8480/token",
    );
    check("aud missing", &sign(&key_file, &header, &with("aud", Value::Null)), "invalid_grant", "aud");
    check(
        "no scope",
        &sign(&key_file, &header, &with("scope", Value::Null)),
        "invalid_scope",
        "no scope that is known",
    );
    check(
        "foreign scope",
        &sign(&key_file, &header, &with("scope", json!("https://www.googleapis.com/auth/drive"))),
        "invalid_scope",
        "no scope",
    );

    let form = |body: &str, error: &str| {
        let (status, reply) = world.call("POST", "/token", &[], body.as_bytes()).replied();
        assert_eq!((status, &reply["error"]), (400, &json!(error)), "{body}");
    };
    form("", "invalid_request");
    form("grant_type=password", "unsupported_grant_type");
    form("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer", "invalid_request");
    assert_eq!(world.call("GET", "/token", &[], b"").replied().0, 405);
}

/// The same token with another last character that decodes to other bits.
fn flip_last(token: &str) -> String {
    let (head, last) = token.split_at(token.len() - 4);
    format!("{head}{}", if last.starts_with('A') { "BBBB" } else { "AAAA" })
}

#[test]
fn access_tokens_live_and_die_with_their_account() {
    let mut world = World::new();
    let pair = KeyPair::from_seed("one");
    let key_file = world.add_account(EMAIL, OURS, Role::Admin, "kid1", &pair);
    let assertion =
        sign_assertion(&key_file, GOOGLE, "https://www.googleapis.com/auth/cloud-platform", world.now).unwrap();
    let assertion = verify_assertion(&assertion, &world.snapshot, world.now).unwrap();
    let token = mint(&assertion, Lifetime::STANDARD, &world.snapshot, world.now).text;

    let ask = |world: &World, token: &str| authenticate_bearer(token, &world.snapshot, world.now);
    let check = |world: &World, name: &str, part: &str| {
        let error = ask(world, &token).unwrap_err();
        assert!(error.message.contains(part), "{name}: {}", error.message);
        assert_eq!(error.cause, crate::Cause::Unauthenticated, "{name}");
    };
    let caller = ask(&world, &token).unwrap();
    assert_eq!((caller.instance(), caller.sender(), caller.role()), (Some(instance(OURS)), EMAIL, Role::Admin));
    assert_eq!(caller.scopes(), Scopes::ALL);

    // A restart keeps the secret, and so the token; another server's secret does not make one.
    assert!(ask(&world, &token).is_ok());
    world.snapshot.token_secret = crate::snapshot::Secret([8; 32]);
    check(&world, "other secret", "garbled");
    world.snapshot.token_secret = crate::snapshot::Secret([9; 32]);

    let start = world.now;
    world.now = start.saturating_add_nanos(3_598_000_000_000);
    assert!(ask(&world, &token).is_ok());
    world.now = start.saturating_add_nanos(3_599_000_000_000);
    check(&world, "expired", "expired at");
    world.now = start;

    let account = world.snapshot.accounts[EMAIL].clone();
    let change = |world: &mut World, change: &dyn Fn(&mut crate::snapshot::Account)| {
        let mut changed = account.clone();
        change(&mut changed);
        world.snapshot.accounts.insert(EMAIL.to_owned(), changed);
    };
    change(&mut world, &|account| account.disabled = true);
    check(&world, "disabled", "disabled, rotated");
    change(&mut world, &|account| drop(account.keys.remove("kid1")));
    check(&world, "rotated", "disabled, rotated");
    change(&mut world, &|account| account.instance = instance(THEIRS));
    check(&world, "made anew elsewhere", "disabled, rotated");
    change(&mut world, &|account| account.role = Role::Read);
    assert_eq!(ask(&world, &token).unwrap().scopes(), Scopes::of(&[Scope::Read]), "the role of now counts");
    world.snapshot.accounts.remove(EMAIL);
    check(&world, "deleted", "disabled, rotated");
    change(&mut world, &|_| ());
    world.snapshot.instances.remove(&instance(OURS));
    check(&world, "instance deleted", "disabled, rotated");

    // No byte of it may be another.
    let world = World {
        snapshot: {
            let mut world = World::new();
            world.add_account(EMAIL, OURS, Role::Admin, "kid1", &pair);
            world.snapshot
        },
        ..world
    };
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(ask(&world, &changed).is_err(), "byte {at}");
        assert!(ask(&world, &token[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn self_signed_bearers() {
    let mut world = World::new();
    let pair = KeyPair::from_seed("one");
    let key_file = world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &pair);
    let now = world.now.secs();
    let check = |name: &str, claims: Value, expected: u16| {
        let mut all = json!({"iss": EMAIL, "sub": EMAIL, "iat": now, "exp": now + 3600});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = jwt(&key_file, &json!({"alg": "RS256", "kid": "kid1"}), &all, &URL_SAFE_NO_PAD);
        let (status, body) = use_token(&world, &token);
        assert_eq!(status, expected, "{name}: {body}");
    };
    check("scope", json!({"scope": MALACHITE}), 200);
    check("aud of the service", json!({"aud": "https://malachiteingestion-pa.googleapis.com/"}), 200);
    check("aud of another Google service", json!({"aud": "https://us-chronicle.googleapis.com/"}), 200);
    check("aud of our own origin", json!({"aud": "http://127.0.0.1:8480/"}), 200);
    check("sub missing", json!({"sub": null, "scope": MALACHITE}), 200);
    check("sub is another", json!({"sub": "x@y", "scope": MALACHITE}), 401);
    check("aud of others", json!({"aud": "https://example.com/", "scope": MALACHITE}), 401);
    check("aud that only looks like Google", json!({"aud": "https://evilgoogleapis.com/"}), 401);
    check("aud with Google in its path", json!({"aud": "https://example.com/x.googleapis.com"}), 401);
    check("neither scope nor aud", json!({}), 401);
    check("a scope that its role has not", json!({"scope": "https://www.googleapis.com/auth/chronicle.readonly"}), 403);
    check("only the right to ask for others' tokens", json!({"scope": "https://www.googleapis.com/auth/iam"}), 403);
}

#[test]
fn other_credentials() {
    let mut world = World::new();
    let check = |world: &World, target: &str, headers: &[(&str, &str)], expected: (u16, &str)| {
        let (status, body) = world.call("GET", target, headers, b"").replied();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, expected.0, "{target} {headers:?}: {message}");
        assert!(message.contains(expected.1), "{target} {headers:?}: {message}");
    };
    check(&world, "/v2/logtypes?key=ours-ingest", &[], (200, ""));
    check(&world, "/v1/logtypes?alt=json&key=ours%2Dadmin", &[], (200, ""));
    check(&world, "/v2/logtypes", &[("x-goog-api-key", "ours-ingest")], (200, ""));
    check(&world, "/v2/logtypes", &[("authorization", &format!("Bearer {OPERATOR}"))], (200, ""));
    check(&world, "/v2/logtypes", &[("authorization", &format!("bearer  {OPERATOR} "))], (200, ""));
    check(&world, "/v2/logtypes", &[], (401, "no credential"));
    check(&world, "/v2/logtypes?key=", &[], (401, "API key is not valid"));
    check(&world, "/v2/logtypes?key=ours-inges", &[], (401, "API key is not valid"));
    check(
        &world,
        "/v2/logtypes?key=ours-read",
        &[],
        (403, "key:ours-read may not send data (scope ingest): its role is read"),
    );
    check(&world, "/v2/logtypes", &[("authorization", "Basic YTpi")], (401, "not of the form"));
    check(&world, "/v2/logtypes", &[("authorization", "Bearer")], (401, "not of the form"));
    check(&world, "/v2/logtypes", &[("authorization", "Bearer x")], (401, "neither an access token"));
    check(&world, "/v2/logtypes", &[("authorization", "Bearer pst1.x")], (401, "garbled"));
    check(&world, "/v2/logtypes?key=ours-ingest", &[("authorization", "Bearer x")], (401, "neither"));
    for key in world.snapshot.api_keys.values_mut() {
        key.disabled = true;
    }
    check(&world, "/v2/logtypes?key=ours-ingest", &[], (401, "API key is not valid"));
}

#[test]
fn nothing_secret_is_shown() {
    let mut world = World::new();
    let pair = KeyPair::from_seed("one");
    let key_file = world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &pair);
    let head = crate::Head::new(
        http::Method::GET,
        "/x",
        Some("key=sesame"),
        http::HeaderMap::from_iter([(AUTHORIZATION, "Bearer sesame".parse().unwrap())]),
        [127, 0, 0, 1].into(),
    )
    .unwrap();
    add_refresh_token(&mut world, "sesame", EMAIL);
    let adc = AuthorizedUserFile::new(EMAIL, "id", "sesame", "sesame", "http://127.0.0.1:8480/token");
    let assertion = sign_assertion(&key_file, GOOGLE, MALACHITE, world.now).unwrap();
    let grant = verify_assertion(&assertion, &world.snapshot, world.now).unwrap();
    let token = mint(&grant, Lifetime::STANDARD, &world.snapshot, world.now);
    let shown = format!("{:?} {key_file:?} {head:?} {adc:?} {token:?}", world.snapshot);
    assert!(!shown.contains("pst1."), "{shown}");
    let shown = format!("{shown} {:?}", world.snapshot.token_secret);
    assert!(!shown.contains("sesame") && !shown.contains("PRIVATE") && !shown.contains("9, 9, 9"), "{shown}");
    assert_eq!(serde_json::to_value(&key_file).unwrap()["type"], "service_account");
    let back: KeyFile = serde_json::from_value(serde_json::to_value(&key_file).unwrap()).unwrap();
    assert_eq!(back, key_file);
    let broken = KeyFile { private_key: "x".to_owned(), ..key_file };
    assert_eq!(sign_assertion(&broken, GOOGLE, MALACHITE, Time::default()), Err(KeyFileError::Pem));
}

/// A refresh token of an account, as control keeps it.
fn add_refresh_token(world: &mut World, token: &str, account: &str) {
    let kept = crate::snapshot::RefreshToken {
        account: account.to_owned(),
        client_id: "client".to_owned(),
        client_secret: SecretHash::of("secret"),
    };
    world.snapshot.refresh_tokens.insert(SecretHash::of(token), kept);
}

#[test]
fn refresh_tokens_live_and_die_with_their_account() {
    let mut world = World::new();
    let pair = KeyPair::from_seed("one");
    world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &pair);
    world.add_account("admin@x", OURS, Role::Admin, "kid1", &pair);
    add_refresh_token(&mut world, "refresh-ingest", EMAIL);
    add_refresh_token(&mut world, "refresh-admin", "admin@x");

    let form = |fields: &[(&str, &str)]| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([("grant_type", "refresh_token")]).extend_pairs(fields);
        form.finish()
    };
    let ask = |world: &World, token: &str, more: &[(&str, &str)]| {
        let mut fields = vec![("client_id", "client"), ("client_secret", "secret"), ("refresh_token", token)];
        fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        fields.extend(more.iter().filter(|(_, value)| *value != "-"));
        world.call("POST", "/token", &[], form(&fields).as_bytes()).replied()
    };
    let scopes = |world: &World, token: &str, more: &[(&str, &str)]| {
        let (status, body) = ask(world, token, more);
        assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")), "{token} {more:?}: {body}");
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["access_token", "expires_in", "token_type"], "no new refresh token, no scope");
        authenticate_bearer(body["access_token"].as_str().unwrap(), &world.snapshot, world.now).unwrap().scopes()
    };
    assert_eq!(scopes(&world, "refresh-ingest", &[]), Scopes::of(&[Scope::Ingest]));
    assert_eq!(scopes(&world, "refresh-admin", &[]), Scopes::ALL);
    assert_eq!(scopes(&world, "refresh-admin", &[("scope", "")]), Scopes::ALL);
    assert_eq!(scopes(&world, "refresh-admin", &[("scope", MALACHITE)]), Scopes::of(&[Scope::Ingest]));
    let cloud = "openid https://www.googleapis.com/auth/cloud-platform";
    assert_eq!(scopes(&world, "refresh-ingest", &[("scope", cloud)]), Scopes::of(&[Scope::Ingest]));

    let refused = |world: &World, name: &str, token: &str, more: &[(&str, &str)], error: &str| {
        let (status, body) = ask(world, token, more);
        assert_eq!((status, &body["error"]), (400, &json!(error)), "{name}: {body}");
        body["error_description"].as_str().unwrap().to_owned()
    };
    // Which of the three is wrong is not said.
    let why = refused(&world, "unknown", "refresh-other", &[], "invalid_grant");
    assert_eq!(refused(&world, "client", "refresh-admin", &[("client_id", "other")], "invalid_grant"), why);
    assert_eq!(refused(&world, "secret", "refresh-admin", &[("client_secret", "other")], "invalid_grant"), why);
    assert_eq!(refused(&world, "empty", "", &[], "invalid_grant"), why);
    refused(&world, "no client", "refresh-admin", &[("client_id", "-")], "invalid_request");
    refused(&world, "no token", "refresh-admin", &[("refresh_token", "-")], "invalid_request");
    refused(&world, "scope", "refresh-admin", &[("scope", "openid")], "invalid_scope");

    // The access token dies with the refresh token, with its account, and is no other account's.
    let (_, body) = ask(&world, "refresh-admin", &[]);
    let token = body["access_token"].as_str().unwrap().to_owned();
    let check = |name: &str, change: &dyn Fn(&mut Snapshot)| {
        let mut world =
            World { snapshot: world.snapshot.clone(), router: crate::Router::new(crate::all()).unwrap(), ..world };
        assert!(authenticate_bearer(&token, &world.snapshot, world.now).is_ok());
        change(&mut world.snapshot);
        let error = authenticate_bearer(&token, &world.snapshot, world.now).unwrap_err();
        assert!(error.message.contains("disabled, rotated or revoked"), "{name}: {}", error.message);
        refused(&world, name, "refresh-admin", &[], "invalid_grant");
    };
    check("revoked", &|snapshot| drop(snapshot.refresh_tokens.remove(&SecretHash::of("refresh-admin"))));
    check("disabled", &|snapshot| snapshot.accounts.get_mut("admin@x").unwrap().disabled = true);
    check("deleted with its account, which another has now", &|snapshot| {
        snapshot.accounts.remove("admin@x");
        snapshot.refresh_tokens.get_mut(&SecretHash::of("refresh-admin")).unwrap().account = "other@x".to_owned();
    });
    let mut moved = world.snapshot.clone();
    moved.refresh_tokens.get_mut(&SecretHash::of("refresh-admin")).unwrap().account = EMAIL.to_owned();
    assert!(
        authenticate_bearer(&token, &moved, world.now).is_err(),
        "another account's refresh token keeps nothing alive"
    );
    check("deleted", &|snapshot| drop(snapshot.accounts.remove("admin@x")));
    check("instance deleted", &|snapshot| drop(snapshot.instances.remove(&instance(OURS))));
}

#[test]
fn only_who_asked_for_the_right_to_impersonate_has_it() {
    let mut world = World::new();
    let key_file = world.add_account("admin@x", OURS, Role::Admin, "kid1", &KeyPair::from_seed("one"));
    world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &KeyPair::from_seed("one"));
    let now = world.now.secs();
    let check = |claims: Value, expected: bool| {
        let mut all = json!({"iss": "admin@x", "sub": "admin@x", "iat": now, "exp": now + 3600});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = jwt(&key_file, &json!({"alg": "RS256", "kid": "kid1"}), &all, &URL_SAFE_NO_PAD);
        let caller = authenticate_bearer(&token, &world.snapshot, world.now).unwrap();
        let grant = grant_by_impersonation(&caller, EMAIL, Scopes::ALL, &world.snapshot);
        assert_eq!(grant.is_ok(), expected, "{claims}: {grant:?}");
        if let Err(refusal) = grant {
            assert_eq!(refusal.cause, crate::Cause::PermissionDenied, "{claims}");
        }
    };
    check(json!({"scope": "https://www.googleapis.com/auth/iam"}), true);
    check(json!({"scope": "https://www.googleapis.com/auth/cloud-platform"}), true);
    check(json!({"scope": "https://www.googleapis.com/auth/chronicle"}), false);
    check(json!({"scope": MALACHITE}), false);
    check(json!({"aud": "https://malachiteingestion-pa.googleapis.com/"}), false);
}

#[test]
fn tokens_from_before_there_was_the_scope_iam_are_read() {
    let mut world = World::new();
    world.add_account(EMAIL, OURS, Role::Admin, "kid1", &KeyPair::from_seed("one"));
    let token = |scopes: u8| {
        let mut bytes = instance(OURS).uuid().as_bytes().to_vec();
        bytes.push(scopes);
        bytes.extend((world.now.secs() + 60).to_be_bytes());
        bytes.extend(b"\x04kid1");
        bytes.extend(EMAIL.as_bytes());
        let signed = format!("pst1.{}", URL_SAFE_NO_PAD.encode(bytes));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[9; 32]);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
    };
    let ask =
        |scopes: u8| authenticate_bearer(&token(scopes), &world.snapshot, world.now).map(|caller| caller.scopes());
    assert_eq!(ask(7), Ok(Scopes::of(&[Scope::Ingest, Scope::Read, Scope::Admin])));
    assert_eq!(ask(15), Ok(Scopes::ALL));
    assert!(ask(16).is_err(), "a scope that is not known");
}

#[test]
fn google_scopes() {
    let check = |scope: &str, expected: Option<&[Scope]>| {
        let scope = scope.split(' ').map(|name| format!("https://www.googleapis.com/auth/{name}")).collect::<Vec<_>>();
        assert_eq!(Scopes::from_google(&scope.join(" ")), expected.map(Scopes::of), "{scope:?}");
    };
    check("cloud-platform", Some(&[Scope::Ingest, Scope::Read, Scope::Admin, Scope::Iam]));
    check("chronicle", Some(&[Scope::Ingest, Scope::Read, Scope::Admin]));
    check("chronicle.readonly", Some(&[Scope::Read]));
    check("chronicle-backstory", Some(&[Scope::Read, Scope::Admin]));
    check("malachite-ingestion", Some(&[Scope::Ingest]));
    check("malachite-ingestion chronicle.readonly", Some(&[Scope::Ingest, Scope::Read]));
    check("iam", Some(&[Scope::Iam]));
    check("iam chronicle.readonly", Some(&[Scope::Iam, Scope::Read]));
    check("drive", None);
    assert_eq!(Scopes::from_google(""), None);
    assert_eq!(Scopes::from_google("cloud-platform"), None);
}
