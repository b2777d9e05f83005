//! A receiver that behaves like Google's, as far as a client can tell: it takes imports, recognises repeats by their
//! bytes, hands out tokens, and misbehaves as planned. And a clock whose waits do not wait.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock_client::{Chronicle, Clock, Credentials, SecOpsClient, SecOpsClientBuilder, Time, Waiting};
use rsa::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};
use testkit::third_party::{Answer, Received, ThirdParty};

pub const CUSTOMER: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
pub const PARENT: &str = "projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
pub const NOW: &str = "2026-11-21T22:00:00Z";

/// A receiver on loopback.
pub struct Google {
    pub server: ThirdParty,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    plan: VecDeque<Step>,
    tokens: u32,
    /// Path and plain body of what was taken, by which a repeat is known.
    seen: HashSet<(String, Vec<u8>)>,
    records: Vec<String>,
    replies: Vec<(String, Answer)>,
    refused: Vec<String>,
}

/// What happens to one import.
#[derive(Clone)]
pub struct Step {
    answer: Answer,
    takes: bool,
}

/// Taken, and answered so: a reply other than 200 means that the sender does not get to know.
pub fn taken(answer: Answer) -> Step {
    Step { answer, takes: true }
}

/// Not taken.
pub fn not_taken(answer: Answer) -> Step {
    Step { answer, takes: false }
}

pub fn status(status: u16) -> Step {
    not_taken(Answer::status(status).body(aip193(status, "planned", "PLANNED")))
}

pub fn aip193(code: u16, message: &str, status: &str) -> String {
    json!({"error": {"code": code, "message": message, "status": status}}).to_string()
}

impl Google {
    pub async fn start() -> Google {
        let server = ThirdParty::start().await;
        let state = Arc::new(Mutex::new(State::default()));
        let in_rule = state.clone();
        server.rule(move |request| in_rule.lock().unwrap().answer(request));
        Google { server, state }
    }

    /// What happens to the next requests that are not for a token, in order; later ones succeed.
    pub fn plan(&self, steps: impl IntoIterator<Item = Step>) {
        self.state().plan.extend(steps);
    }

    /// How every request whose method and path begin like this is answered.
    pub fn reply(&self, request: &str, body: &Value) {
        self.reply_with(request, Answer::ok().body(body.to_string()));
    }

    pub fn reply_with(&self, request: &str, answer: Answer) {
        self.state().replies.push((request.to_owned(), answer));
    }

    /// Refuses imports that hold this text, as Google refuses a bad record: with all that is in the request.
    pub fn refuse_holding(&self, text: &str) {
        self.state().refused.push(text.to_owned());
    }

    pub fn refuse_nothing(&self) {
        self.state().refused.clear();
    }

    /// Every record that was taken, once for each time: `OKTA text`, `UDM {…}`, `entity {…}`.
    pub fn records(&self) -> Vec<String> {
        self.state().records.clone()
    }

    /// The requests so far: method, path without the version and the instance, and body.
    pub fn requests(&self) -> Vec<(String, Value)> {
        let request = |request: Received| {
            let path = request.path.replace(&format!("/v1alpha/{PARENT}"), "");
            let plain = request.plain();
            let body = if plain.is_empty() { Value::Null } else { serde_json::from_slice(&plain).unwrap() };
            (format!("{} {path}", request.method), body)
        };
        let is_call = |request: &Received| !request.path.starts_with("/token");
        self.server.received().into_iter().filter(is_call).map(request).collect()
    }

    pub fn tokens_given(&self) -> u32 {
        self.state().tokens
    }

    /// A client with a fixed token; [`Google::client_with`] has the other settings.
    pub fn chronicle(&self, clock: &Arc<TestClock>) -> Chronicle {
        instance(self.client_with(clock))
    }

    pub fn client_with(&self, clock: &Arc<TestClock>) -> SecOpsClientBuilder {
        SecOpsClient::builder()
            .credentials(Credentials::bearer("tok"))
            .base_url(self.server.url(""))
            .proxies(false)
            .clock(clock.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

pub fn instance(client: SecOpsClientBuilder) -> Chronicle {
    client.build().unwrap().chronicle(CUSTOMER, "proj", "us").unwrap()
}

impl State {
    fn answer(&mut self, request: &Received) -> Answer {
        if request.path.starts_with("/token") {
            self.tokens += 1;
            let token = format!("tok-{}", self.tokens);
            return Answer::ok().body(json!({"access_token": token, "expires_in": 3599}).to_string());
        }
        let name = format!("{} {}", request.method, request.path.replace(&format!("/v1alpha/{PARENT}"), ""));
        let Step { answer, takes } = match self.plan.pop_front() {
            Some(step) => step,
            None => match self.replies.iter().rev().find(|(begin, _)| name.starts_with(begin)) {
                Some((_, answer)) => return answer.clone(),
                None => taken(Answer::ok().header("x-penstock-batch", "0199-batch")),
            },
        };
        let plain = request.plain();
        let text = String::from_utf8_lossy(&plain).into_owned();
        let records = records_of(&name, &plain);
        if self.refused.iter().any(|bad| text.contains(bad) || records.iter().any(|record| record.contains(bad))) {
            return Answer::status(400).body(aip193(400, "a bad record", "INVALID_ARGUMENT"));
        }
        if takes && self.seen.insert((name, plain)) {
            self.records.extend(records);
        }
        answer
    }
}

/// The records of an import's body.
pub fn records_of(name: &str, body: &[u8]) -> Vec<String> {
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let source = &json["inlineSource"];
    let list = |key: &str| source[key].as_array().cloned().unwrap_or_default();
    let log_type = name.split("logTypes/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let log = |log: Value| {
        let data = STANDARD.decode(log["data"].as_str().unwrap()).unwrap();
        format!("{log_type} {}", String::from_utf8(data).unwrap())
    };
    let event = |event: Value| format!("UDM {}", event["udm"]);
    let entity = |entity: Value| format!("entity {entity}");
    let logs = list("logs").into_iter().map(log);
    logs.chain(list("events").into_iter().map(event)).chain(list("entities").into_iter().map(entity)).collect()
}

/// A clock that leaps: a wait moves it to the wait's end, and is written down.
#[derive(Debug)]
pub struct TestClock {
    now: Mutex<Time>,
    waits: Mutex<Vec<Duration>>,
    ids: Mutex<u8>,
}

impl TestClock {
    pub fn new() -> Arc<TestClock> {
        Arc::new(TestClock { now: Mutex::new(NOW.parse().unwrap()), waits: Mutex::default(), ids: Mutex::default() })
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.saturating_add_nanos(by.as_nanos() as i64);
    }

    /// All waits so far, in seconds.
    pub fn waits(&self) -> Vec<f64> {
        self.waits.lock().unwrap().iter().map(Duration::as_secs_f64).collect()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        *self.now.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        let start: Time = NOW.parse().unwrap();
        Duration::from_nanos(self.now().nanos_since(start) as u64)
    }

    fn sleep(&self, wait: Duration) -> Waiting {
        self.waits.lock().unwrap().push(wait);
        self.advance(wait);
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> f64 {
        0.0
    }

    fn random_id(&self) -> [u8; 16] {
        let mut ids = self.ids.lock().unwrap();
        *ids += 1;
        [*ids; 16]
    }
}

/// A key file whose tokens come from this receiver.
pub fn key_file(google: &Google) -> String {
    static PEM: OnceLock<String> = OnceLock::new();
    let pem = PEM.get_or_init(|| {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        key.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap().to_string()
    });
    json!({
        "type": "service_account",
        "project_id": "proj",
        "private_key_id": "kid1",
        "private_key": pem,
        "client_email": "ingest@proj.iam.gserviceaccount.com",
        "token_uri": google.server.url("/token"),
        "customer_id": CUSTOMER,
    })
    .to_string()
}
