//! A receiver that answers 429, 500, 503, breaks connections, stalls: nothing is lost, nothing is there twice, and the
//! waits are those of seed 001.

use std::time::Duration;

use penstock_client::{CredentialsError, Error, RetryPolicy, Who};
use testkit::third_party::Answer;

use crate::world::{Google, Step, TestClock, aip193, instance, not_taken, status, taken};

/// Sends three batches of two logs while the receiver goes through `steps`; checks that each log is there once, and how
/// long the client waited between attempts.
async fn check(name: &str, steps: Vec<Step>, waits: &[f64]) {
    let google = Google::start().await;
    let attempts = steps.len() + 3;
    google.plan(steps);
    let clock = TestClock::new();
    // Long enough for a busy machine to answer; only what is held takes as long.
    let chronicle = instance(google.client_with(&clock).timeout(Duration::from_secs(3)));
    for batch in 0..3 {
        let logs = [("OKTA", format!("{batch}a")), ("OKTA", format!("{batch}b"))];
        let result = chronicle.ingest_logs_batch(logs).await;
        assert_eq!(result.unwrap_or_else(|error| panic!("{name}: {error}")).count(), 2, "{name}");
    }
    assert_eq!(google.records(), ["OKTA 0a", "OKTA 0b", "OKTA 1a", "OKTA 1b", "OKTA 2a", "OKTA 2b"], "{name}");
    assert_eq!(clock.waits(), waits, "{name}");
    // Each attempt is byte for byte the one before it.
    let received = google.server.received();
    assert_eq!(received.len(), attempts, "{name}");
    let mut bodies: Vec<_> = received.iter().map(|request| request.body.clone()).collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 3, "{name}");
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_doubled() {
    let again = |times: usize, step: &Step| vec![step.clone(); times];
    check("500", again(3, &status(500)), &[1.0, 2.0, 4.0]).await;
    check("503", again(1, &status(503)), &[1.0]).await;
    check("429", again(2, &status(429)), &[30.0, 30.0]).await;
    let asked = |code: u16, secs: &str| not_taken(Answer::status(code).retry_after(secs));
    check("429 that asks for more", vec![asked(429, "120")], &[120.0]).await;
    check("429 that asks for less", vec![asked(429, "3")], &[30.0]).await;
    check("429 until a date", vec![asked(429, "Sat, 21 Nov 2026 22:01:30 GMT")], &[90.0]).await;
    check("503 that asks for more", vec![asked(503, "7")], &[7.0]).await;
    check("a reset", again(2, &not_taken(Answer::dropped())), &[1.0, 2.0]).await;
    check("a reset after it was taken", again(2, &taken(Answer::dropped())), &[1.0, 2.0]).await;
    check("500 after it was taken", again(1, &taken(Answer::status(500))), &[1.0]).await;
}

#[tokio::test]
async fn a_receiver_that_stalls_is_given_up_and_asked_again() {
    let held = || Answer::ok().held();
    let mixed = vec![status(429), status(500), taken(Answer::dropped()), not_taken(held()), status(504)];
    tokio::join!(
        check("a stall", vec![not_taken(held())], &[1.0]),
        check("a stall after it was taken", vec![taken(held())], &[1.0]),
        check("all of them", mixed, &[30.0, 2.0, 4.0, 8.0, 16.0]),
    );
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_waited_for_and_then_named() {
    let gone = Google::start().await;
    let clock = TestClock::new();
    let chronicle = gone.chronicle(&clock);
    drop(gone);
    let error = chronicle.ingest_log("OKTA", "x").await.unwrap_err();
    let Error::Unavailable { status: None, attempts: 8, why, .. } = &error else { panic!("{error:?}") };
    assert!(why.contains("refused"), "{why}");
    assert!(!error.to_string().contains("127.0.0.1"), "the URL is not told: {error}");
    assert_eq!(error.who(), Who::Time);
    assert_eq!(clock.waits(), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]);
}

#[tokio::test]
async fn everything_else_goes_to_the_caller_at_once() {
    let cases = [
        (400, "Refused", Who::Caller),
        (401, "Rejected", Who::Operator),
        (403, "PermissionDenied", Who::Operator),
        (404, "NotFound", Who::Caller),
        (408, "Unavailable", Who::Time),
        (409, "Refused", Who::Caller),
        (413, "Refused", Who::Caller),
        (501, "Refused", Who::Caller),
        (302, "UnexpectedReply", Who::Receiver),
    ];
    for (code, variant, who) in cases {
        let google = Google::start().await;
        let clock = TestClock::new();
        google.plan([status(code)]);
        let error = google.chronicle(&clock).ingest_log("OKTA", "x").await.unwrap_err();
        assert!(format!("{error:?}").contains(variant), "{code}: {error:?}");
        assert_eq!(error.who(), who, "{code}");
        assert_eq!((google.requests().len(), clock.waits().len()), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn patience_ends_where_the_policy_says() {
    let google = Google::start().await;
    google.reply_with("POST", Answer::status(429).retry_after("400").body(aip193(429, "quota", "RESOURCE_EXHAUSTED")));
    let clock = TestClock::new();
    let error = google.chronicle(&clock).ingest_log("OKTA", "x").await.unwrap_err();
    // 400 s fit ten minutes once.
    assert_eq!(clock.waits(), [400.0]);
    let Error::RateLimited { retry_after, attempts: 2, refusal } = error else { panic!("{error:?}") };
    assert_eq!((retry_after, refusal.message.as_str()), (Duration::from_secs(400), "quota"));

    let google = Google::start().await;
    google.reply_with("POST", Answer::status(503));
    let clock = TestClock::new();
    let chronicle = instance(google.client_with(&clock).retry(RetryPolicy::never()));
    let error = chronicle.ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: Some(503), attempts: 1, .. }), "{error:?}");

    let google = Google::start().await;
    google.reply_with("POST", Answer::ok().held());
    let never = google.client_with(&clock).retry(RetryPolicy::never()).timeout(Duration::from_millis(100));
    let error = instance(never).ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_with_status_200_is_no_success() {
    for body in ["<html>Sign in</html>", "", "[]", "null"] {
        let google = Google::start().await;
        google.plan([not_taken(Answer::ok().body(body))]);
        let error = google.chronicle(&TestClock::new()).ingest_log("OKTA", "x").await.unwrap_err();
        assert!(matches!(error, Error::UnexpectedReply { status: 200, .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (google, elsewhere) = (Google::start().await, Google::start().await);
    google.plan([not_taken(Answer::status(307).header("location", &elsewhere.server.url("/")))]);
    let error = google.chronicle(&TestClock::new()).ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedReply { status: 307, .. }), "{error:?}");
    assert_eq!(elsewhere.server.received().len(), 0, "the token stays here");
}

#[tokio::test]
async fn a_fixed_token_that_is_not_accepted_is_not_tried_twice() {
    let google = Google::start().await;
    google.plan([status(401)]);
    let error = google.chronicle(&TestClock::new()).ingest_log("OKTA", "x").await.unwrap_err();
    let Error::Credentials(CredentialsError::Rejected { account, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(account, "the given token");
    assert_eq!(google.requests().len(), 1);
}
