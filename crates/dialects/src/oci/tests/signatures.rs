//! Who may do what, and what a signature must cover.

use super::*;

#[test]
fn signatures_say_who_sends() {
    let world = world();
    let target = &format!("/20200531/logGroups?compartmentId={COMPARTMENT}&displayName=a+b");
    let get = |change: &dyn Fn(&mut HeaderMap)| {
        let mut headers = signed(&world, USER, "GET", target, &[], b"");
        change(&mut headers);
        put(&world, "GET", target, &headers, b"")
    };
    let check = |what: &str, change: &dyn Fn(&mut HeaderMap), expected: &str| {
        let answer = get(change);
        let (status, code, message) = answer.refused();
        assert_eq!((status, code), (401, "NotAuthenticated"), "{what}");
        assert!(message.contains(expected), "{what}: {message}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Signature"), "{what}");
    };
    let set = |headers: &mut HeaderMap, name: &'static str, value: &str| {
        headers.insert(name, value.parse().unwrap());
    };
    let rewritten = |headers: &mut HeaderMap, from: &str, to: &str| {
        let value = headers["authorization"].to_str().unwrap().replace(from, to);
        headers.insert("authorization", value.parse().unwrap());
    };
    match get(&|_| {}).act() {
        (Kind::LogGroup, Act::List(call)) => assert_eq!(call.display_name.as_deref(), Some("a b")),
        other => panic!("{other:?}"),
    }
    // Spaces, order and case do not matter; nor do values that nobody knows.
    let loose = |headers: &mut HeaderMap| {
        let value = headers["authorization"].to_str().unwrap().to_owned();
        let mut parts: Vec<&str> = value.strip_prefix("Signature ").unwrap().split(',').collect();
        parts.reverse();
        let value = format!("signature   {} , other = 7", parts.join(" ,  ").replace("keyId=", "KEYID = "));
        headers.insert("authorization", value.parse().unwrap());
    };
    assert!(get(&loose).asked.is_some());
    check("nothing", &|headers| drop(headers.remove("authorization")), "has no credential");
    check("another scheme", &|headers| set(headers, "authorization", "Basic YTpi"), "neither of the scheme");
    check("no list", &|headers| set(headers, "authorization", "Signature x"), "is not a list of");
    check("open quote", &|headers| set(headers, "authorization", "Signature keyId=\"x"), "quote that is not closed");
    check("no comma", &|headers| rewritten(headers, "\",", "\" "), "no comma");
    check("twice", &|headers| rewritten(headers, "version=\"1\"", "keyId=\"1\""), "twice");
    check("no key", &|headers| rewritten(headers, "keyId=", "x="), "has no keyId");
    check("no signature", &|headers| rewritten(headers, "signature=", "x="), "has no signature");
    check("algorithm", &|headers| rewritten(headers, "rsa-sha256", "hmac-sha256"), "only rsa-sha256");
    check("version", &|headers| rewritten(headers, "version=\"1\"", "version=\"2\""), "version is not 1");
    check("token", &|headers| rewritten(headers, TENANCY, "ST$eyJ"), "resource principals");
    check("uncovered", &|headers| rewritten(headers, "date (request-target) host", "date host"), "(request-target)");
    check("no date", &|headers| rewritten(headers, "date (request", "(request"), "does not cover date");
    check("absent", &|headers| rewritten(headers, " host\"", " host x-more\""), "header x-more, which");
    check("compressed", &|headers| set(headers, "content-encoding", "gzip"), "cannot be compressed");
    check("host", &|headers| set(headers, "host", "elsewhere"), "did not make this signature");
    check("date", &|headers| set(headers, "date", "Sat, 21 Nov 2026 19:45:01 GMT"), "did not make this signature");
    check("base64", &|headers| rewritten(headers, "signature=\"", "signature=\"!"), "did not make this signature");
    // A stranger learns nothing about which keys there are.
    let messages: Vec<String> = ["aaaaaaaauser", "nobody"]
        .iter()
        .map(|user| {
            let change = |headers: &mut HeaderMap| {
                rewritten(headers, "aaaaaaaauser", user);
                set(headers, "host", "elsewhere");
            };
            get(&change).refused().2.replace(user, "")
        })
        .collect();
    assert_eq!(messages[0], messages[1]);
    // The query is part of what is signed.
    let headers = signed(&world, USER, "GET", target, &[], b"");
    let other = put(&world, "GET", &target.replace('+', "%20"), &headers, b"");
    assert_eq!(other.refused().1, "NotAuthenticated");
    let disabled = send_as(&world, "gone", "GET", target, b"");
    assert!(disabled.refused().2.contains("\"gone\" is disabled"), "{disabled:?}");
}

#[test]
fn dates_must_be_near() {
    let mut world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let headers = signed(&world, USER, "GET", &target, &[], b"");
    let signed_at = world.now;
    let mut check = |secs: i64, expected: Option<&str>| {
        world.now = signed_at.saturating_add_nanos(secs * 1_000_000_000);
        let answer = put(&world, "GET", &target, &headers, b"");
        match expected {
            None => assert!(answer.asked.is_some(), "{secs}"),
            Some(expected) => {
                let (status, code, message) = answer.refused();
                assert_eq!((status, code), (401, "NotAuthenticated"));
                assert!(message.contains(expected) && message.contains("300 s are allowed"), "{secs}: {message}");
            }
        }
    };
    check(0, None);
    check(300, None);
    check(-300, None);
    check(301, Some("301 s behind"));
    check(-301, Some("301 s ahead of"));
}

#[test]
fn x_date_stands_for_date() {
    let world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let names: Vec<String> = ["(request-target)", "x-date", "host"].iter().map(|name| (*name).to_owned()).collect();
    let mut headers = HeaderMap::new();
    headers.insert("x-date", crate::oci::sign::http_date(world.now).parse().unwrap());
    headers.insert("date", "Thu, 01 Jan 1970 00:00:00 GMT".parse().unwrap());
    headers.insert("host", HOST.parse().unwrap());
    let value = signer_of(USER).authorization(&names, &Method::GET, &target, &headers).unwrap();
    headers.insert("authorization", value);
    assert!(put(&world, "GET", &target, &headers, b"").asked.is_some());
}

#[test]
fn the_body_must_be_the_one_that_was_signed() {
    let world = world();
    let body = br#"{"compartmentId":"ocid1.compartment.oc1..c","displayName":"a"}"#;
    let target = "/20200531/logGroups";
    let headers = signed(&world, USER, "POST", target, &[], body);
    assert!(put(&world, "POST", target, &headers, body).asked.is_some());
    let altered = put(&world, "POST", target, &headers, &body[..body.len() - 1]);
    assert_eq!((altered.refused().0, altered.refused().1), (401, "NotAuthenticated"));
    assert!(altered.refused().2.contains("not the one that was signed"));
    // A signature that leaves the body out says nothing about it.
    for name in ["content-length", "content-type", "x-content-sha256"] {
        let mut headers = headers.clone();
        let value = headers["authorization"].to_str().unwrap().replace(&format!(" {name}"), "");
        headers.insert("authorization", value.parse().unwrap());
        let answer = put(&world, "POST", target, &headers, body);
        assert!(answer.refused().2.contains(&format!("does not cover {name}")), "{name}: {}", answer.body);
    }
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let headers = signed(&world, USER, "GET", &target, &[], b"");
    assert!(put(&world, "GET", &target, &headers, b"x").refused().2.contains("has no body"));
}

#[test]
fn wrong_guesses_can_be_told_from_few() {
    let world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let guess = |user: &str| {
        let mut headers = signed(&world, user, "GET", &target, &[], b"");
        headers.insert("host", "elsewhere".parse().unwrap());
        let head = crate::Head::new(Method::GET, &target, None, headers, [127, 0, 0, 1].into()).unwrap();
        crate::auth::authenticate_oci(&head, &world.snapshot, world.now).unwrap_err().guessed
    };
    assert!(guess("a").is_some() && guess("a") == guess("a") && guess("a") != guess("b"));
}

#[test]
fn bearer_tokens_open_the_same_doors() {
    let mut world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let check = |world: &World, headers: &[(&str, &str)], expected: Result<(), (u16, &str)>| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let answer = put(world, "GET", &target, &map, b"");
        let got = if answer.asked.is_some() { Ok(()) } else { Err((answer.refused().0, answer.refused().1)) };
        assert_eq!(got, expected, "{headers:?}");
    };
    let bearer = format!("Bearer {OPERATOR}");
    let operator = ("authorization", bearer.as_str());
    check(&world, &[operator, ("X-Penstock-Instance", OURS)], Ok(()));
    check(&world, &[operator, ("x-penstock-instance", "x")], Err((400, "InvalidParameter")));
    check(&world, &[operator], Err((400, "InvalidParameter")));
    check(&world, &[("authorization", "Bearer wrong")], Err((401, "NotAuthenticated")));
    // The compartment is another tenant's then.
    check(&world, &[operator, ("x-penstock-instance", THEIRS)], Err((404, "NotAuthorizedOrNotFound")));
    let nobody = "99999999-2222-4333-8444-555555555555";
    check(&world, &[operator, ("x-penstock-instance", nobody)], Err((404, "NotAuthorizedOrNotFound")));
    world.snapshot.instances.remove(&instance(THEIRS));
    check(&world, &[operator], Ok(()));
}

#[test]
fn roles_decide() {
    let world = world();
    let list = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let body = r#"{"specversion":"1.0","logEntryBatches":[{"source":"-","type":"t","entries":[{"data":"x"}]}]}"#;
    let group = format!(r#"{{"compartmentId":"{COMPARTMENT}","displayName":"a"}}"#);
    let check = |method: &str, target: &str, body: &str, may: [bool; 3]| {
        for (user, may) in ["sender", "reader", USER].into_iter().zip(may) {
            let answer = send_as(&world, user, method, target, body.as_bytes());
            let got = answer.asked.is_some() || !answer.taken.is_empty() || answer.status == 200;
            assert_eq!(got, may, "{user} {method} {target}");
            if !may {
                assert_eq!((answer.refused().0, answer.refused().1), (404, "NotAuthorizedOrNotFound"));
            }
        }
    };
    check("POST", PUSH, body, [true, false, true]);
    check("GET", &list, "", [false, true, true]);
    check("POST", "/20200531/logGroups", &group, [false, false, true]);
    check("POST", "/20260325/functions/f/actions/invoke", "x", [false, false, true]);
    check("DELETE", "/20200909/serviceConnectors/s", "", [false, false, true]);
}

#[test]
fn the_sdks_signatures_are_good_and_ours_are_the_same() {
    let mut world = world();
    world.now = "2026-11-21T19:42:45Z".parse().unwrap();
    let requests: Vec<Value> = serde_json::from_str(include_str!("../captures/signed_by_sdk.json")).unwrap();
    for request in &requests {
        let text = |key: &str| request[key].as_str().unwrap();
        let (method, target, body) = (text("method"), text("path"), text("body"));
        let mut headers = HeaderMap::new();
        for pair in request["headers"].as_array().unwrap() {
            let name = pair[0].as_str().unwrap().parse::<HeaderName>().unwrap();
            headers.append(name, pair[1].as_str().unwrap().parse().unwrap());
        }
        let answer = put(&world, method, target, &headers, body.as_bytes());
        assert_ne!(answer.body["code"], "NotAuthenticated", "{method} {target}: {}", answer.body);
        let theirs = headers.remove("authorization").unwrap();
        let method = method.parse().unwrap();
        let ours = signer_of(USER).sign(&method, target, HOST, headers, body.as_bytes(), world.now).unwrap();
        assert_eq!(ours["authorization"], theirs, "{method} {target}");
    }
    assert_eq!(requests.len(), 6);
}

#[test]
fn keys_are_read_in_both_forms() {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    use rsa::pkcs8::DecodePrivateKey as _;
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(PRIVATE_KEY).unwrap();
    let pkcs1 = key.to_pkcs1_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    let check = |pem: &str, expected: Option<&str>| {
        let got = Signer::new(TENANCY, USER, FINGERPRINT, pem);
        assert_eq!(got.map(drop).err().map(|error| error.to_string()).as_deref(), expected);
    };
    check(PRIVATE_KEY, None);
    check(&pkcs1, None);
    check(&format!("{PRIVATE_KEY}OCI_API_KEY\n"), None);
    let not_pem =
        "the key is not a PEM text that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----";
    check("x", Some(not_pem));
    check(
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        Some("the key is no RSA key of 2048 bits or more that is not protected by a passphrase"),
    );
}
