//! Credentials: key files, a user's refresh token, the metadata server, API keys; tokens that are kept, renewed, refused.

use std::ffi::OsString;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use penstock_client::{Chronicle, Credentials, CredentialsError, Error, SecOpsClient};
use serde_json::{Value, json};
use testkit::third_party::{Answer, Received, ThirdParty};

use crate::world::{CUSTOMER, Google, TestClock, instance, key_file, status};

/// The bearer tokens of the imports so far.
fn bearers(google: &Google) -> Vec<String> {
    let is_import = |request: &Received| request.path.contains(":import");
    let received = google.server.received();
    received
        .iter()
        .filter(|request| is_import(request))
        .map(|request| request.header("authorization").to_owned())
        .collect()
}

fn form(request: &Received) -> Vec<(String, String)> {
    form_urlencoded::parse(&request.body).into_owned().collect()
}

async fn with_key_file(google: &Google, clock: &std::sync::Arc<TestClock>) -> Chronicle {
    let credentials = Credentials::json(&key_file(google)).unwrap();
    assert_eq!(credentials.customer_id().as_deref(), Some(CUSTOMER));
    assert_eq!(credentials.project_id(), Some("proj"));
    instance(google.client_with(clock).credentials(credentials))
}

#[tokio::test]
async fn a_key_file_asks_where_it_says_and_keeps_the_token_until_shortly_before_its_end() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let chronicle = with_key_file(&google, &clock).await;
    // Together at first: one token for all of them.
    let (a, b, c) = tokio::join!(
        chronicle.ingest_udm(json!({"a": 1})),
        chronicle.ingest_udm(json!({"a": 2})),
        chronicle.ingest_udm(json!({"a": 3}))
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    clock.advance(Duration::from_secs(3_599 - 226));
    chronicle.ingest_log("OKTA", "4").await.unwrap();
    assert_eq!(bearers(&google), ["Bearer tok-1"; 4]);
    clock.advance(Duration::from_secs(1));
    chronicle.ingest_log("OKTA", "5").await.unwrap();
    assert_eq!(bearers(&google)[4], "Bearer tok-2");
    assert_eq!(google.tokens_given(), 2);

    let asked = form(&google.server.received()[0]);
    assert_eq!(asked[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
    let segments: Vec<Value> = asked[1].1.split('.').take(2).map(decode).collect();
    assert_eq!(segments[0], json!({"alg": "RS256", "typ": "JWT", "kid": "kid1"}));
    let now = 1_795_298_400;
    let claims = json!({
        "iss": "ingest@proj.iam.gserviceaccount.com",
        "aud": google.server.url("/token"),
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "iat": now,
        "exp": now + 3_600,
    });
    assert_eq!(segments[1], claims);
}

fn decode(segment: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_replaced_once() {
    let (google, clock) = (Google::start().await, TestClock::new());
    google.plan([status(401)]);
    let chronicle = with_key_file(&google, &clock).await;
    chronicle.ingest_log("OKTA", "x").await.unwrap();
    assert_eq!(bearers(&google), ["Bearer tok-1", "Bearer tok-2"]);
    assert_eq!(google.records(), ["OKTA x"]);

    google.plan([status(401), status(401)]);
    let error = chronicle.ingest_log("OKTA", "y").await.unwrap_err();
    let Error::Credentials(CredentialsError::Rejected { account, refusal }) = &error else { panic!("{error:?}") };
    assert_eq!((account.as_str(), refusal.status), ("ingest@proj.iam.gserviceaccount.com", 401));
    assert_eq!(google.tokens_given(), 3, "and no more");
    assert_eq!(clock.waits(), [0.0; 0], "401 is not waited for");
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_waited_for_and_one_that_says_no_is_not() {
    let (google, clock) = (Google::start().await, TestClock::new());
    google.server.script([
        Answer::status(503),
        Answer::status(429),
        Answer::dropped(),
        Answer::status(400).body(r#"{"error":"temporarily_unavailable"}"#),
    ]);
    let chronicle = with_key_file(&google, &clock).await;
    chronicle.ingest_log("OKTA", "x").await.unwrap();
    assert_eq!(clock.waits(), [1.0, 30.0, 4.0, 8.0]);

    let (google, clock) = (Google::start().await, TestClock::new());
    let refusal = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    google.server.script([Answer::status(400).body(refusal)]);
    let error = with_key_file(&google, &clock).await.ingest_log("OKTA", "x").await.unwrap_err();
    let expected = format!(
        "{} gives ingest@proj.iam.gserviceaccount.com no token: invalid_grant (Invalid JWT Signature.)",
        google.server.url("/token")
    );
    assert_eq!((error.to_string(), clock.waits().len()), (expected, 0));
    assert_eq!(google.requests().len(), 0);
}

#[tokio::test]
async fn a_good_token_is_used_on_while_no_new_one_can_be_had() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let chronicle = with_key_file(&google, &clock).await;
    chronicle.ingest_log("OKTA", "1").await.unwrap();
    clock.advance(Duration::from_secs(3_400));
    google.server.script(vec![Answer::status(503); 8]);
    chronicle.ingest_log("OKTA", "2").await.unwrap();
    assert_eq!(bearers(&google), ["Bearer tok-1"; 2]);
    clock.advance(Duration::from_secs(300));
    google.server.script(vec![Answer::status(503); 8]);
    let error = chronicle.ingest_log("OKTA", "3").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: Some(503), attempts: 8, .. }), "{error:?}");
}

#[tokio::test]
async fn a_users_refresh_token_from_gclouds_file() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("application_default_credentials.json");
    let user = json!({
        "type": "authorized_user",
        "client_id": "id",
        "client_secret": "hush",
        "refresh_token": "1//refresh",
        "token_uri": google.server.url("/token"),
        "quota_project_id": "billed",
    });
    std::fs::write(&file, user.to_string()).unwrap();
    let env = |name: &str| (name == "CLOUDSDK_CONFIG").then(|| dir.path().as_os_str().to_owned());
    let credentials = Credentials::application_default_in(&env).unwrap();
    let client = google.client_with(&clock).credentials(credentials).build().unwrap();
    assert!(!format!("{client:?}").contains("hush"));
    let chronicle = client.chronicle(CUSTOMER, "proj", "us").unwrap();
    chronicle.ingest_log("OKTA", "x").await.unwrap();

    let received = google.server.received();
    let expected = [
        ("grant_type", "refresh_token"),
        ("client_id", "id"),
        ("client_secret", "hush"),
        ("refresh_token", "1//refresh"),
    ];
    assert_eq!(form(&received[0]), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(received[1].header("authorization"), "Bearer tok-1");
    assert_eq!(received[1].header("x-goog-user-project"), "billed");

    google.server.script([Answer::status(400).body(r#"{"error":"invalid_grant","error_description":"revoked"}"#)]);
    clock.advance(Duration::from_secs(4_000));
    let error = chronicle.ingest_log("OKTA", "y").await.unwrap_err();
    assert!(error.to_string().contains("the logged-in user no token: invalid_grant (revoked)"), "{error}");
    assert!(!format!("{error:?}").contains("hush"));
}

#[tokio::test]
async fn the_metadata_server_of_the_environment() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let metadata = ThirdParty::start().await;
    let token = || Answer::ok().header("metadata-flavor", "Google");
    metadata.script([
        Answer::status(503),
        token().body(r#"{"access_token":"md-tok","expires_in":3599,"token_type":"Bearer"}"#),
    ]);
    let host = metadata.address().to_string();
    let env = |name: &str| (name == "GCE_METADATA_HOST").then(|| OsString::from(&host));
    let credentials = || Credentials::application_default_in(&env).unwrap();
    let chronicle = instance(google.client_with(&clock).credentials(credentials()));
    chronicle.ingest_log("OKTA", "x").await.unwrap();
    assert_eq!(bearers(&google), ["Bearer md-tok"]);
    assert_eq!(clock.waits(), [1.0]);
    let asked = &metadata.received()[1];
    let path = "/computeMetadata/v1/instance/service-accounts/default/token\
                ?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform";
    assert_eq!((asked.path.as_str(), asked.header("metadata-flavor")), (path, "Google"));

    // Something else at that address could hand out a token that is not ours.
    let cases = [
        (Answer::ok().body(r#"{"access_token":"evil"}"#), "lacks the header Metadata-Flavor"),
        (token().body("{}"), "no access_token"),
        (Answer::status(404).body("no such account"), "404: no such account"),
    ];
    for (answer, part) in cases {
        metadata.script([answer]);
        let chronicle = instance(google.client_with(&clock).credentials(credentials()));
        let error = chronicle.ingest_log("OKTA", "x").await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(bearers(&google).len(), 1);
}

#[tokio::test]
async fn an_api_key_goes_into_a_header() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let chronicle = instance(google.client_with(&clock).credentials(Credentials::api_key("AIza")));
    chronicle.ingest_log("OKTA", "x").await.unwrap();
    let request = &google.server.received()[0];
    assert_eq!((request.header("x-goog-api-key"), request.header("authorization")), ("AIza", ""));
    assert!(!request.path.contains("AIza"));
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let key = key_file(&google);
    let secret = &key[key.find("BEGIN PRIVATE KEY").unwrap() + 30..][..40];
    let client = google.client_with(&clock).credentials(Credentials::json(&key).unwrap());
    let chronicle = instance(client.clone());
    chronicle.ingest_log("OKTA", "x").await.unwrap();
    google.plan([status(401), status(401)]);
    let error = chronicle.ingest_log("OKTA", "x").await.unwrap_err();
    let shown = format!("{client:?} {:?} {chronicle:?} {error} {error:?}", client.clone().build().unwrap());
    assert!(!shown.contains(secret) && !shown.contains("tok-"), "{shown}");

    let broken = Credentials::bearer("to\nken");
    let error = instance(google.client_with(&clock).credentials(broken)).ingest_log("OKTA", "x").await.unwrap_err();
    assert!(error.to_string().contains("characters that no header can hold"), "{error}");
    assert!(!format!("{error:?}").contains("nken"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_instance_or_region_is_seen_before_anything_is_sent() {
    let (google, clock) = (Google::start().await, TestClock::new());
    let client: SecOpsClient = google.client_with(&clock).build().unwrap();
    for (customer, project, region) in [
        ("your-chronicle-instance-id", "p", "us"),
        (CUSTOMER, "", "us"),
        (CUSTOMER, "a/b", "us"),
        (CUSTOMER, "p", "us/x"),
    ] {
        let error = client.chronicle(customer, project, region).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    }
    let google_s = SecOpsClient::builder().credentials(Credentials::bearer("t")).build().unwrap();
    for region in penstock_client::REGIONS {
        let chronicle = google_s.chronicle(CUSTOMER, "p", region).unwrap();
        let root = format!("https://{region}-chronicle.googleapis.com/v1alpha/");
        assert!(format!("{chronicle:?}").contains(&root), "{chronicle:?}");
        assert_eq!(chronicle.name(), format!("projects/p/locations/{region}/instances/{CUSTOMER}"));
    }
    let odd = client.chronicle(CUSTOMER, "example.com:proj", "us").unwrap();
    odd.ingest_log("OKTA", "x").await.unwrap();
    let path = google.server.received()[0].path.clone();
    assert!(path.starts_with("/v1alpha/projects/example.com%3Aproj/locations/us/instances/"), "{path}");
}
