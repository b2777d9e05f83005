//! Programs that believe to speak with Google: through the googleapis listener, at the metadata listener, with refresh
//! tokens and as impersonated accounts. What reaches us so is held to the same rights as any other request.

use std::path::Path;

use dialects::auth::{KeyFile, sign_assertion};
use event::InstanceId;
use http::Method;
use penstock::config::{Config, Googleapis, Metadata};
use penstock::serve::{self, Parts, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{CLOUD, Credential, INGESTION, RAW, Reply, TestServer, raw_batch, send};

const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const IAM: &str = "https://www.googleapis.com/auth/iam";
const MALACHITE: &str = "https://malachiteingestion-pa.googleapis.com";

fn googleapis(config: &mut Config) {
    config.listen.googleapis = Some(Googleapis { address: ([127, 0, 0, 1], 0).into(), allow_remote: false });
}

fn metadata(config: &mut Config, account: &str) {
    config.listen.metadata = Some(Metadata { address: ([127, 0, 0, 1], 0).into(), account: account.to_owned() });
}

/// What a program with `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE` is.
async fn believer(server: &TestServer) -> reqwest::Client {
    let shown = server.get("/api/ca").await;
    let certificate = reqwest::Certificate::from_pem(shown["certificate"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(shown["proxy"], format!("http://{}", server.server.googleapis.unwrap()));
    reqwest::Client::builder()
        .proxy(reqwest::Proxy::https(shown["proxy"].as_str().unwrap()).unwrap())
        .tls_certs_only([certificate])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// A token as google-auth gets one with a key file, from Google's own address.
async fn token(google: &reqwest::Client, key_file: &KeyFile, scope: &str) -> String {
    let assertion = sign_assertion(key_file, GOOGLE_TOKEN_URL, scope, serve::now()).unwrap();
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let body = form(&[("grant_type", grant), ("assertion", &assertion)]);
    let reply = send(google.post(GOOGLE_TOKEN_URL).body(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

async fn refresh(google: &reqwest::Client, file: &Value) -> Reply {
    let field = |name: &str| file[name].as_str().unwrap();
    let fields = ["client_id", "client_secret", "refresh_token"].map(|name| (name, field(name)));
    let fields = [&[("grant_type", "refresh_token"), ("scope", CLOUD)][..], &fields[..]].concat();
    send(google.post(GOOGLE_TOKEN_URL).body(form(&fields))).await
}

/// Says something to the googleapis listener and reads all that it answers.
async fn say(server: &TestServer, text: &str) -> String {
    let mut stream = TcpStream::connect(server.server.googleapis.unwrap()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sends_to_google_and_it_is_stored_here() {
    let server = TestServer::with(googleapis).await;
    let google = believer(&server).await;
    let key_file = server.account(server.instance, "ingest").await;
    let bearer = token(&google, &key_file, INGESTION).await;

    let reply = send(google.get(format!("{MALACHITE}/v2/logtypes")).bearer_auth(&bearer)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("BIND_DNS"));
    let hosts = ["malachiteingestion-pa", "europe-malachiteingestion-pa", "mars-north1-malachiteingestion-pa"];
    for (n, host) in hosts.iter().enumerate() {
        let body = raw_batch([format!("sent to google {n}").as_str()]);
        let request = google.post(format!("https://{host}.googleapis.com{RAW}")).bearer_auth(&bearer).body(body);
        let reply = send(request).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
        assert!(!reply.batch().is_empty());
    }
    assert_eq!(server.texts("sent to google").await.len(), hosts.len());
    // Held to the same rights and limits.
    let reply = send(google.get(format!("{MALACHITE}/v2/logtypes"))).await;
    assert_eq!(reply.status, 401);
    reply.error();
    let large = raw_batch(["x".repeat(event::limits::CHRONICLE_INGESTION_BODY_BYTES_MAX).as_str()]);
    let reply = send(google.post(format!("{MALACHITE}{RAW}")).bearer_auth(&bearer).body(large)).await;
    assert_eq!(reply.status, 400);
    reply.error();

    // The authority stays, so that programs need not be told again.
    let before = server.get("/api/ca").await["certificate"].clone();
    let server = server.restart().await;
    assert_eq!(server.get("/api/ca").await["certificate"], before);
    let google = believer(&server).await;
    assert_eq!(send(google.get(format!("{MALACHITE}/v2/logtypes")).bearer_auth(&bearer)).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_api_is_not_to_be_had_as_google() {
    let server = TestServer::with(googleapis).await;
    let google = believer(&server).await;
    for path in ["/api/status", "/api/ca", "/api/instances", "/metrics", "/healthz", "/readyz", "/api"] {
        for host in ["oauth2", "us-chronicle", "backstory"] {
            let url = format!("https://{host}.googleapis.com{path}");
            let reply = send(google.get(&url).bearer_auth(&server.operator)).await;
            assert_eq!(reply.status, 404, "{url}");
            reply.error();
            // Nor by naming another host inside.
            let address = server.server.address.to_string();
            let reply = send(google.get(&url).bearer_auth(&server.operator).header("host", address)).await;
            assert_eq!(reply.status, 404, "{url}");
        }
    }
    // Google's hosts have a `/batch` of their own; none of Sekoia's paths is theirs.
    for path in ["/api/search", "/batch", "/plain", "/", "/api/v1/intake-http/batch"] {
        let url = format!("https://oauth2.googleapis.com{path}");
        let reply = send(google.post(&url).bearer_auth(&server.operator)).await;
        assert_eq!(reply.status, 404, "{url}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_are_refused_and_other_clients_not_believed() {
    let server = TestServer::with(googleapis).await;
    let google = believer(&server).await;
    for host in ["example.com", "storage.googleapis.com", "oauth2.googleapis.com:8443", "127.0.0.1"] {
        assert!(google.get(format!("https://{host}/")).send().await.is_err(), "{host}");
    }
    let cases = [
        ("CONNECT example.com:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 403 Penstock does not stand in for example.com\r\n"),
        ("CONNECT oauth2.googleapis.com:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 403 only port 443"),
        ("GET /healthz HTTP/1.1\r\nHost: penstock\r\n\r\n", "HTTP/1.1 405 only CONNECT is served here, not GET"),
        ("GET http://oauth2.googleapis.com/token HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
    ];
    for (said, expected) in cases {
        let answer = say(&server, said).await;
        assert!(answer.starts_with(expected), "{said:?}: {answer}");
    }
    // Plain HTTP inside the tunnel is no TLS.
    let said = "CONNECT oauth2.googleapis.com:443 HTTP/1.1\r\n\r\nGET /token HTTP/1.1\r\n\r\n";
    let mut stream = TcpStream::connect(server.server.googleapis.unwrap()).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Closed with an alert or reset, as the bytes happen to arrive.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 4"), "{answer:?}");
    // Who does not trust the authority is not fooled.
    let proxy = reqwest::Proxy::https(format!("http://{}", server.server.googleapis.unwrap())).unwrap();
    let stranger = reqwest::Client::builder().proxy(proxy).build().unwrap();
    assert!(stranger.get("https://oauth2.googleapis.com/token").send().await.is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_shown_to_every_credential_and_to_nobody_else() {
    let server = TestServer::with(googleapis).await;
    let mut credentials = vec![Credential::Bearer(server.operator.clone())];
    for role in ["ingest", "read", "admin"] {
        let key_file = server.account(server.instance, role).await;
        credentials.push(Credential::Bearer(server.token(&key_file, INGESTION).await));
        let made = server.api(Method::POST, "/api/keys", Some(json!({ "role": role }))).await;
        credentials.push(Credential::KeyHeader(made["api_key"].as_str().unwrap().to_owned()));
    }
    for credential in &credentials {
        let reply = send(server.request_as(credential, Method::GET, "/api/ca")).await;
        assert_eq!(reply.status, 200, "{credential:?}");
        assert!(reply.text().contains("BEGIN CERTIFICATE") && !reply.text().contains("PRIVATE"), "{}", reply.text());
    }
    for credential in [Credential::None, Credential::Bearer("x".to_owned())] {
        assert_eq!(send(server.request_as(&credential, Method::GET, "/api/ca")).await.status, 401);
    }
    assert_eq!(send(server.request(Method::POST, "/api/ca")).await.status, 405);
    server.stop().await;

    let server = TestServer::start().await;
    let reply = send(server.request(Method::GET, "/api/ca")).await;
    assert_eq!(reply.status, 404);
    assert!(reply.error().contains("[listen.googleapis]"));
    assert!(server.server.googleapis.is_none() && server.server.metadata.is_none(), "nothing listens unasked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_nobody_comes_to_holds_no_place() {
    let server = TestServer::with(|config| {
        googleapis(config);
        config.limits.connections_max = 1;
    })
    .await;
    // One after the other, each connection closed at its end.
    for _ in 0..3 {
        let request = server.request(Method::GET, "/api/ca").header("connection", "close");
        assert_eq!(send(request).await.status, 200);
        assert!(say(&server, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_tunnels_that_are_not_open() {
    let server = TestServer::with(googleapis).await;
    let address = server.server.googleapis.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"CONNECT oauth2.google").await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"CONNECT oauth2.googleapis.com:443 HTTP/1.1\r\n\r\n").await.unwrap();
    let mut yes = [0; 39];
    silent.read_exact(&mut yes).await.unwrap();
    assert_eq!(&yes, b"HTTP/1.1 200 Connection established\r\n\r\n");
    server.stop().await;
    for mut stream in [half, silent] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_authority_is_named_at_the_start_and_not_replaced() {
    let dir = TestServer::with(googleapis).await.stop().await;
    let data = dir.path().join("data");
    let path = data.join("keys/googleapis-ca.key.pem");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = start_with(&data, googleapis).await;
    assert!(error.contains("googleapis-ca.key.pem cannot be used"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), whole[..whole.len() / 2]);
    std::fs::remove_file(&path).unwrap();
    let error = start_with(&data, googleapis).await;
    assert!(error.contains("its key is not"), "{error}");
    assert!(!path.exists());
}

/// Why a server does not start.
async fn start_with(data: &Path, adjust: impl FnOnce(&mut Config)) -> String {
    let mut config = Config { data: data.to_owned(), ..Config::default() };
    config.listen.address.set_port(0);
    adjust(&mut config);
    match Server::start(&config, Parts::default()).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_listener_gives_the_tokens_of_one_account() {
    let server = TestServer::start().await;
    let key_file = server.account(server.instance, "ingest").await;
    let dir = server.stop().await;
    let data = dir.path().join("data");

    // The account must be there when the server starts.
    let error = start_with(&data, |config| metadata(config, "nobody@nowhere")).await;
    assert!(error.contains("listen.metadata.account is \"nobody@nowhere\""), "{error}");

    let mut config = Config { data: data.clone(), ..Config::default() };
    config.listen.address.set_port(0);
    metadata(&mut config, &key_file.client_email);
    let server = TestServer::start_in(dir, config).await;
    let at = server.server.metadata.unwrap();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = server.http.get(format!("http://{at}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await
    };
    let flavored = [("metadata-flavor", "Google")];
    let about = ask("/computeMetadata/v1/instance/service-accounts/default/?recursive=true", &flavored).await;
    assert_eq!((about.status.as_u16(), about.json()["email"].as_str()), (200, Some(key_file.client_email.as_str())));
    assert_eq!(ask("/computeMetadata/v1/project/project-id", &flavored).await.text(), "penstock");
    let path = format!("/computeMetadata/v1/instance/service-accounts/default/token?scopes={CLOUD}");
    let token = ask(&path, &flavored).await;
    assert_eq!((token.header("metadata-flavor"), token.header("content-type")), ("Google", "application/json"));
    let bearer = Credential::Bearer(token.json()["access_token"].as_str().unwrap().to_owned());
    let sent = send(server.request_as(&bearer, Method::POST, RAW).body(raw_batch(["by metadata"]))).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    assert_eq!(send(server.request_as(&bearer, Method::GET, "/api/status")).await.status, 403, "no more than its role");

    // Nothing else is served there, and nothing without the header or by way of somebody else.
    for path in ["/v2/logtypes", "/token", "/api/status", "/healthz", "/metrics", "/api/ca"] {
        let reply =
            ask(path, &[("metadata-flavor", "Google"), ("authorization", &format!("Bearer {}", server.operator))])
                .await;
        assert_eq!((reply.status.as_u16(), reply.header("metadata-flavor")), (404, "Google"), "{path}");
    }
    assert_eq!(ask(&path, &[]).await.status, 403);
    assert_eq!(ask(&path, &[("metadata-flavor", "Google"), ("x-forwarded-for", "192.0.2.1")]).await.status, 403);
    // And nothing of it at the other listener.
    let reply =
        send(server.http.get(server.url("/computeMetadata/v1/project/project-id")).header("metadata-flavor", "Google"))
            .await;
    assert_eq!(reply.status, 404);

    let disable = format!("/api/accounts/{}:disable", key_file.client_email);
    server.api(Method::POST, &disable, None).await;
    assert_eq!(ask(&path, &flavored).await.status, 403);
    assert_eq!(send(server.request_as(&bearer, Method::POST, RAW).body(raw_batch(["late"]))).await.status, 401);
    let dir = server.stop().await;
    let error = start_with(&dir.path().join("data"), |config| metadata(config, &key_file.client_email)).await;
    assert!(error.contains("disabled"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_acts_as_another_account_of_its_instance() {
    let server = TestServer::with(googleapis).await;
    let google = believer(&server).await;
    let other = server.api(Method::POST, "/api/instances", Some(json!({ "name": "other" }))).await;
    let other: InstanceId = other["id"].as_str().unwrap().parse().unwrap();
    let foreign = server.account(other, "ingest").await.client_email;
    let target = server.account(server.instance, "ingest").await.client_email;

    let url = |email: &str, call: &str| {
        format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}{call}")
    };
    let generate = async |bearer: &str, email: &str| {
        let body = json!({ "delegates": null, "scope": [CLOUD], "lifetime": "600s" });
        send(google.post(url(email, ":generateAccessToken")).bearer_auth(bearer).json(&body)).await
    };
    for role in ["ingest", "read", "admin"] {
        let source = server.account(server.instance, role).await;
        for (scope, has_right) in [(IAM, true), (CLOUD, true), (INGESTION, false)] {
            let bearer = token(&google, &source, scope).await;
            let reply = generate(&bearer, &target).await;
            if role == "admin" && has_right {
                assert_eq!(reply.status, 200, "{role} {scope}: {}", reply.text());
                let token = Credential::Bearer(reply.json()["accessToken"].as_str().unwrap().to_owned());
                let text = format!("impersonated {scope}");
                let sent = send(server.request_as(&token, Method::POST, RAW).body(raw_batch([text.as_str()]))).await;
                assert_eq!(sent.status, 200, "{}", sent.text());
                assert_eq!(send(server.request_as(&token, Method::GET, "/api/status")).await.status, 403);
                assert_eq!(generate(&bearer, &foreign).await.status, 404);
            } else {
                assert_eq!(reply.status, 403, "{role} {scope}: {}", reply.text());
                reply.error();
                assert_eq!(generate(&bearer, &foreign).await.status, 403);
            }
        }
    }
    assert_eq!(server.texts("impersonated").await.len(), 2);
    let reply = send(google.get(url(&target, "/allowedLocations")).bearer_auth("whatever")).await;
    assert_eq!((reply.status.as_u16(), reply.json()["encodedLocations"].as_str()), (200, Some("0x0")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_give_tokens_until_they_are_ended() {
    let server = TestServer::with(googleapis).await;
    let google = believer(&server).await;
    let email = server.account(server.instance, "ingest").await.client_email;
    let make = async |server: &TestServer| {
        let made = server.api(Method::POST, &format!("/api/accounts/{email}:adc"), None).await;
        assert_eq!(made["email"], email.as_str());
        made["adc_file"].clone()
    };
    let listed = async |server: &TestServer| {
        let accounts = server.get("/api/accounts").await;
        assert!(!accounts.to_string().contains("psr_") && !accounts.to_string().contains("psc_"), "{accounts}");
        accounts.as_array().unwrap().iter().find(|account| account["email"] == email.as_str()).unwrap()["refresh_tokens"].clone()
    };
    let file = make(&server).await;
    assert_eq!((&file["type"], &file["account"]), (&json!("authorized_user"), &json!(email)));
    assert_eq!(file["token_uri"], server.url("/token"));
    let reply = refresh(&google, &file).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let bearer = Credential::Bearer(reply.json()["access_token"].as_str().unwrap().to_owned());
    let use_it =
        async |server: &TestServer| send(server.request_as(&bearer, Method::GET, "/v2/logtypes")).await.status.as_u16();
    assert_eq!(use_it(&server).await, 200);

    // Both survive a restart, as key files and their tokens do.
    let server = server.restart().await;
    let google = believer(&server).await;
    assert_eq!((refresh(&google, &file).await.status.as_u16(), use_it(&server).await), (200, 200));

    // A wrong secret is no secret.
    let mut wrong = file.clone();
    wrong["client_secret"] = json!("psc_wrong");
    let reply = refresh(&google, &wrong).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_grant")));

    let second = make(&server).await;
    assert_eq!(listed(&server).await, 2);
    let ended = server.api(Method::POST, &format!("/api/accounts/{email}:revoke-adc"), None).await;
    assert_eq!(ended["revoked"], 2);
    assert_eq!(listed(&server).await, 0);
    for file in [&file, &second] {
        assert_eq!(refresh(&google, file).await.json()["error"], "invalid_grant");
    }
    assert_eq!(use_it(&server).await, 401, "the tokens that they gave end too");

    let third = make(&server).await;
    assert_eq!(refresh(&google, &third).await.status, 200);
    server.api(Method::POST, &format!("/api/accounts/{email}:rotate"), None).await;
    assert_eq!(refresh(&google, &third).await.json()["error"], "invalid_grant");
    let fourth = make(&server).await;
    server.api(Method::POST, &format!("/api/accounts/{email}:disable"), None).await;
    assert_eq!(refresh(&google, &fourth).await.json()["error"], "invalid_grant");
    let reply = send(server.request(Method::POST, &format!("/api/accounts/{email}:adc"))).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.error().contains("disabled"));

    let fresh = server.account(server.instance, "read").await.client_email;
    for n in 0..=event::limits::REFRESH_TOKENS_MAX {
        let reply = send(server.request(Method::POST, &format!("/api/accounts/{fresh}:adc"))).await;
        let expected = if n < event::limits::REFRESH_TOKENS_MAX { 200 } else { 400 };
        assert_eq!(reply.status, expected, "{n}: {}", reply.text());
    }
    assert_eq!(send(server.request(Method::POST, "/api/accounts/nobody@nowhere:adc")).await.status, 404);
    assert_eq!(send(server.request(Method::POST, "/api/accounts/nobody@nowhere:revoke-adc")).await.status, 404);
    server.stop().await;
}
