//! The built binary as people and scripts meet it: exit statuses, files and their modes, signals, forms of output.
//!
//! Every server has its own directory, port and state directory; none of this machine's are touched.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use event::limits;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A place of its own for servers and commands.
pub struct Home {
    dir: TempDir,
}

/// A server process; killed when dropped.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    greeting: String,
    url: String,
}

/// What a command did.
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self) -> String {
        self.path("data").to_str().unwrap().to_owned()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args(args).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.path("state")).env("HOME", self.dir.path());
        command
    }

    fn serve(&self) -> Serving {
        let data = self.data();
        self.start(self.command(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]))
    }

    /// Starts a server and waits until it is ready. What it logs is kept in the file `log`.
    fn start(&self, mut command: Command) -> Serving {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("Ready.") {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "the server ended: {greeting}");
        }
        let url = greeting.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
        Serving { child, out, greeting, url }
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        let output = self.command(args).output().unwrap();
        Done {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Serving {
    fn token_file(&self, home: &Home) -> PathBuf {
        let port = self.url.rsplit(':').next().unwrap();
        home.path(&format!("state/penstock/server-{port}.token"))
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap()
    }

    /// Asks it to stop and waits until it has.
    fn stop(mut self) -> ExitStatus {
        // SAFETY: the process is our child and has not been waited for, so its number is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) }, 0);
        // The end of its output is the end of the process.
        self.out.read_to_end(&mut Vec::new()).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// It ended with this status and said all of these on stderr, nothing on stdout.
    #[track_caller]
    pub fn fails(self, status: i32, says: &[&str]) {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        says.iter().for_each(|text| assert!(self.err.contains(text), "{:?} does not say {text:?}", self.err));
        assert_eq!(self.out, "");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_servers_life() {
    let home = Home::new();
    let data = home.data();
    let server = home.serve();
    let url = server.url.clone();

    // What it says first: where things are, and what to paste.
    let intake_curl = format!("curl -sS {url}/plain -H \"X-SEKOIAIO-INTAKE-KEY: $(cat {data}/keys/intake.key)\"");
    for text in [
        "keys/default.json",
        "keys/operator.token",
        "keys/intake.key   (log type UNBOUND_DNS, instance ",
        "/v2/unstructuredlogentries:batchCreate",
        &intake_curl,
        "search raw",
    ] {
        assert!(server.greeting.contains(text), "{text:?} is not in {}", server.greeting);
    }
    for (path, wanted) in [
        ("data", 0o700),
        ("data/keys/default.json", 0o600),
        ("data/keys/operator.token", 0o600),
        ("data/keys/intake.key", 0o600),
    ] {
        assert_eq!(mode(&home.path(path)), wanted, "{path}");
    }
    let token_file = server.token_file(&home);
    assert_eq!(mode(&token_file), 0o600);
    let operator = std::fs::read_to_string(home.path("data/keys/operator.token")).unwrap();
    assert_eq!(std::fs::read_to_string(&token_file).unwrap(), operator);
    let intake_key = std::fs::read_to_string(home.path("data/keys/intake.key")).unwrap();
    for secret in [operator.trim(), intake_key.trim()] {
        assert!(!server.greeting.contains(secret), "a secret on the screen: {}", server.greeting);
    }

    // One server for one directory.
    let pid = server.child.id().to_string();
    home.run(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]).fails(1, &[&data, &format!("process {pid}")]);
    home.run(&["log", "verify", "--data", &data]).fails(1, &[&format!("process {pid}")]);

    // The curl and the search as they are printed.
    let curl = server.greeting.split("curl -sS").nth(1).unwrap().split("\n\n").next().unwrap();
    let body = curl.split("-d '").nth(1).unwrap().trim_end().trim_end_matches('\'');
    let sent = post(&server, operator.trim(), body);
    assert!(sent.starts_with("HTTP/1.1 200"), "{sent}");
    let find = server.greeting.lines().find(|line| line.contains("search raw")).unwrap();
    assert!(find.contains("search raw 'altostrat.com'") && find.contains(&format!("--server {url}")), "{find}");

    // Without any flag but the address: the token is found where the server left it.
    let started = Instant::now();
    let found = loop {
        let found = home.run(&["search", "raw", "altostrat.com", "--server", &url, "-o", "json"]).json();
        if found["rows"] != json!([]) || started.elapsed() > Duration::from_secs(30) {
            break found;
        }
    };
    assert_eq!(found["rows"][0]["log_type"], "BIND_DNS", "{found}");
    let id = found["rows"][0]["id"].as_str().unwrap();
    let lines = home.run(&["search", "raw", "altostrat.com", "--server", &url, "-o", "ndjson"]).ok();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0], &lines[1]["done"], lines.len()), (&found["rows"][0], &json!(true), 2));
    let table = home.run(&["search", "raw", "ALTOSTRAT", "--server", &url]).ok();
    assert!(table.contains(id) && table.contains("1 row."), "{table}");
    assert!(home.run(&["receipt", id, "--server", &url]).ok().contains("stored"));
    assert_eq!(home.run(&["receipt", id, "--server", &url, "-o", "json"]).json()["records_total"], 1);
    let status = home.run(&["status", "--server", &url]).ok();
    assert!(status.contains("holds") && status.contains("writing"), "{status}");

    // A wrong query points at the mistake.
    let wrong = home.run(&["search", "udm", r#"principal.hostnam = "a""#, "--server", &url]);
    wrong.fails(1, &["principal.hostnam = \"a\"", "          ^^^^^^^", "hostname"]);

    let demo = home.run(&["demo", "--server", &url, "--data", &data]).ok();
    for text in ["200 {}", "not valid JSON", "found", "delivered", "penstock receipt"] {
        assert!(demo.contains(text), "{text:?} is not in {demo}");
    }
    assert_eq!(home.run(&["connector", "list", "--server", &url, "-o", "json"]).json(), json!([]));

    assert_eq!(server.stop().to_string(), "exit status: 0");
    assert!(!token_file.exists(), "a clean stop removes the token");
    let checked = home.run(&["log", "verify", "--data", &data, "-o", "json"]).json();
    assert_eq!((&checked["sound"], &checked["frames"], &checked["records"]), (&json!(true), &json!(4), &json!(8)));
    home.run(&["status", "--server", &url]).fails(3, &[&url, "penstock serve"]);
}

/// A request by hand, so that nothing but the standard library stands between us and the bytes.
fn post(server: &Serving, token: &str, body: &str) -> String {
    let mut stream = server.connect();
    write!(
        stream,
        "POST /v2/unstructuredlogentries:batchCreate HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn stops_while_a_request_is_in_flight() {
    let home = Home::new();
    let server = home.serve();
    let token = std::fs::read_to_string(home.path("data/keys/operator.token")).unwrap();
    let token_file = server.token_file(&home);
    assert!(token_file.exists());
    // A client that has said half of what it announced, and one that says nothing.
    let mut half = server.connect();
    let _idle = server.connect();
    write!(
        half,
        "POST /v2/unstructuredlogentries:batchCreate HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        token.trim()
    )
    .unwrap();
    // The server asks for the body: the request is in its hands.
    let mut asked = [0; 12];
    half.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    write!(half, "{{\"log_type\": \"OKTA\", \"entries\": [{{\"log_text\": \"half").unwrap();
    let asked_at = Instant::now();
    assert_eq!(server.stop().to_string(), "exit status: 0");
    // This one figure is a promise to whoever stops the server (a supervisor kills after it).
    assert!(asked_at.elapsed() < limits::STOP_MAX, "{:?}", asked_at.elapsed());
    assert!(!token_file.exists());
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "), "half a batch is no batch");
    let checked = home.run(&["log", "verify", "--data", &home.data(), "-o", "json"]).json();
    assert_eq!((&checked["sound"], &checked["frames"]), (&json!(true), &json!(0)));
}

#[test]
fn stops_as_soon_as_it_says_that_it_is_ready() {
    let home = Home::new();
    for _ in 0..5 {
        let server = home.serve();
        let token_file = server.token_file(&home);
        assert_eq!(server.stop().to_string(), "exit status: 0");
        assert!(!token_file.exists());
    }
}

#[test]
fn logs_hold_no_secrets() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--data", &home.data(), "--listen", "127.0.0.1:0"]);
    command.env("PENSTOCK_LOGGING__LEVEL", "trace").env("PENSTOCK_LOGGING__FORMAT", "json");
    let server = home.start(command);
    let url = server.url.clone();
    let at = |args: &[&str]| home.run(&[args, &["--server", &url]].concat());
    let operator = std::fs::read_to_string(home.path("data/keys/operator.token")).unwrap().trim().to_owned();
    let key = at(&["key", "create", "-o", "json"]).json()["api_key"].as_str().unwrap().to_owned();
    let intake = at(&["intake", "create", "--name", "gate", "--format", "OKTA", "-o", "json"]).json();
    let intake_key = intake["intake_key"].as_str().unwrap();
    at(&["intake", "list"]).ok();
    at(&[
        "connector",
        "create",
        "--name",
        "siem",
        "--url",
        "http://127.0.0.1:9/in?sig=s3cret-in-the-query",
        "--header",
        "X-Key: s3cret-in-a-header",
    ])
    .ok();
    at(&["account", "create", "--out", "sa.json"]).ok();
    let good = r#"{"log_type": "OKTA", "entries": [{"log_text": "text of a record"}]}"#;
    let bad = good.replace("OKTA", "NOPE_X");
    for (token, body, status) in [
        (operator.as_str(), good, "200"),
        (operator.as_str(), bad.as_str(), "400"),
        ("s3cret-that-nobody-knows", good, "401"),
    ] {
        let reply = post(&server, token, body);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
    }
    for key in [key.as_str(), "s3cret-key-that-nobody-knows"] {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /v2/logtypes?key={key} HTTP/1.1\r\nHost: p\r\nUser-Agent: s3cret-agent\r\n\
            Connection: close\r\n\r\n"
        )
        .unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(server.stop().to_string(), "exit status: 0");
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    assert!(log.contains("refused") && log.contains("NOPE_X"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let private = std::fs::read_to_string(home.path("sa.json")).unwrap();
    let private: Value = serde_json::from_str(&private).unwrap();
    let private = &private["private_key"].as_str().unwrap()[40..80];
    for secret in [operator.as_str(), &key, intake_key, "s3cret", private, "text of a record"] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret:?} is in the log");
    }
}

#[test]
fn makes_what_others_need() {
    let home = Home::new();
    let data = home.data();
    home.run(&["account", "create", "--data", &data, "--out", "sa.json"]).fails(1, &["data/keys/operator.token"]);
    assert!(!home.path("data").exists() && !home.path("sa.json").exists());
    let server = home.serve();
    let url = server.url.clone();
    let at = |args: &[&str]| home.run(&[args, &["--server", &url]].concat());
    let key_file = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(home.path(path)).unwrap()).unwrap() };

    at(&["account", "create", "--role", "ingest", "--name", "sender", "--out", "keys/sa.json"]).ok();
    assert_eq!(mode(&home.path("keys/sa.json")), 0o600);
    let made = key_file("keys/sa.json");
    assert_eq!((&made["type"], &made["token_uri"]), (&json!("service_account"), &json!(format!("{url}/token"))));
    let email = made["client_email"].as_str().unwrap();
    assert!(email.starts_with("sender@"), "{email}");
    // A key file is never written over, and nothing is made for one that cannot be written.
    at(&["account", "create", "--out", "keys/sa.json"]).fails(1, &["keys/sa.json exists"]);
    assert_eq!(key_file("keys/sa.json"), made);
    at(&["account", "rotate", email, "--out", "keys/sa.json"]).fails(1, &["keys/sa.json exists"]);
    let accounts = at(&["account", "list", "-o", "json"]).json();
    assert_eq!(accounts.as_array().unwrap().len(), 2, "{accounts}");
    at(&["account", "rotate", email, "--out", "new.json"]).ok();
    assert_ne!(key_file("new.json")["private_key"], made["private_key"]);
    at(&["account", "create", "--role", "owner", "--out", "none.json"]).fails(2, &["role", "ingest, read, admin"]);
    assert!(!home.path("none.json").exists());
    at(&["account", "disable", "nobody@nowhere"]).fails(1, &["nobody@nowhere"]);

    let key = at(&["key", "create", "--role", "ingest", "-o", "json"]).json();
    let secret = key["api_key"].as_str().unwrap();
    let keys = at(&["key", "list", "-o", "ndjson"]).ok();
    assert!(keys.contains(key["id"].as_str().unwrap()) && !keys.contains(secret), "{keys}");
    at(&["log-type", "add", "MY_APP", "--description", "Ours"]).ok();
    at(&["log-type", "add", "my app"]).fails(1, &["A-Z"]);
    assert!(at(&["log-type", "list", "--custom"]).ok().contains("MY_APP"));
    at(&["connector", "create", "--name", "siem", "--url", "http://127.0.0.1:9/", "--header", "X-Key: s3cret"]).ok();
    for form in ["table", "json", "ndjson"] {
        let shown = at(&["connector", "show", "siem", "-o", form]).ok();
        assert!(shown.contains("siem") && !shown.contains("s3cret"), "{shown}");
    }
    at(&["connector", "deactivate", "siem"]).ok();
    assert!(at(&["connector", "list"]).ok().contains("inactive"));
    at(&["connector", "delete", "siem"]).ok();
    at(&["connector", "show", "siem"]).fails(1, &["siem"]);
    at(&["status", "--token", "wrong"]).fails(1, &["--token"]);
    at(&["receipt", "019aa7e0-0000-7000-8000-000000000000"]).fails(1, &["019aa7e0-0000-7000-8000-000000000000"]);
    at(&["receipt", "nonsense"]).fails(1, &["nonsense"]);
    assert_eq!(server.stop().to_string(), "exit status: 0");

    // Without a server, in its directory.
    home.run(&["account", "create", "--data", &data, "--role", "read", "--out", "reader.json"]).ok();
    assert_eq!(mode(&home.path("reader.json")), 0o600);
    home.run(&["account", "create", "--data", &data, "--out", "reader.json"]).fails(1, &["reader.json exists"]);
    let reader = key_file("reader.json");
    let server = home.serve();
    let accounts = home.run(&["account", "list", "--server", &server.url, "-o", "json"]).json();
    let found = accounts.as_array().unwrap().iter().find(|account| account["email"] == reader["client_email"]).unwrap();
    assert_eq!(found["role"], "read");
    assert_eq!(server.stop().to_string(), "exit status: 0");
}

#[test]
fn in_place_of_google() {
    let home = Home::new();
    let data = home.data();
    home.run(&["ca", "--data", &data, "--server", "http://127.0.0.1:1"]).fails(1, &["keys/operator.token"]);
    let mut command = home.command(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]);
    command.env("PENSTOCK_LISTEN__GOOGLEAPIS__ADDRESS", "127.0.0.1:0").env("PENSTOCK_LOGGING__LEVEL", "trace");
    let server = home.start(command);
    let url = server.url.clone();
    let at = |args: &[&str]| home.run(&[args, &["--server", &url]].concat());

    // Two lines to paste, and what they name is there.
    let exported = |name: &str| {
        let line = server.greeting.lines().find_map(|line| line.trim().strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {}", server.greeting)).to_owned()
    };
    let proxy = exported("HTTPS_PROXY");
    TcpStream::connect(proxy.strip_prefix("http://").unwrap()).unwrap();
    let certificate = std::fs::read_to_string(exported("REQUESTS_CA_BUNDLE")).unwrap();
    assert!(Path::new(&exported("REQUESTS_CA_BUNDLE")).is_absolute());
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----") && !certificate.contains("PRIVATE"),
        "{certificate}"
    );
    assert_eq!(mode(&home.path("data/keys/googleapis-ca.key.pem")), 0o600);
    assert_eq!(at(&["ca"]).ok(), certificate);
    at(&["ca", "--out", "ca.pem"]).ok();
    assert_eq!(std::fs::read_to_string(home.path("ca.pem")).unwrap(), certificate);
    let shown = at(&["ca", "-o", "json"]).json();
    assert_eq!((&shown["certificate"], &shown["proxy"]), (&json!(certificate), &json!(proxy)));
    let help = home.run(&["ca", "--help"]).ok();
    assert!(help.contains("HTTPS_PROXY") && help.contains("REQUESTS_CA_BUNDLE"), "{help}");

    // A refresh token's file, private and never written over; its secrets are shown nowhere else.
    at(&["account", "create", "--role", "ingest", "--out", "sa.json"]).ok();
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(home.path(name)).unwrap()).unwrap() };
    let email = read("sa.json")["client_email"].as_str().unwrap().to_owned();
    let said = at(&["account", "adc", &email, "--out", "adc.json"]).ok();
    assert_eq!(mode(&home.path("adc.json")), 0o600);
    let adc = read("adc.json");
    assert_eq!((&adc["type"], &adc["token_uri"]), (&json!("authorized_user"), &json!(format!("{url}/token"))));
    at(&["account", "adc", &email, "--out", "adc.json"]).fails(1, &["adc.json exists"]);
    at(&["account", "adc", "nobody@nowhere", "--out", "none.json"]).fails(1, &["nobody@nowhere"]);
    assert!(!home.path("none.json").exists());
    let field = |name: &str| adc[name].as_str().unwrap().to_owned();
    let body = format!(
        "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
        field("client_id"),
        field("client_secret"),
        field("refresh_token")
    );
    let grant = || {
        let mut stream = server.connect();
        let length = body.len();
        write!(
            stream,
            "POST /token HTTP/1.1\r\nHost: p\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    let granted = grant();
    assert!(granted.starts_with("HTTP/1.1 200") && granted.contains("pst1."), "{granted}");
    let listed = at(&["account", "list", "-o", "json"]).ok();
    assert!(at(&["account", "revoke-adc", &email]).ok().contains('1'));
    assert!(grant().contains("invalid_grant"));
    assert_eq!(at(&["account", "revoke-adc", &email, "-o", "json"]).json()["revoked"], 0);
    assert_eq!(server.stop().to_string(), "exit status: 0");
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    let key = std::fs::read_to_string(home.path("data/keys/googleapis-ca.key.pem")).unwrap();
    for secret in [field("refresh_token"), field("client_secret"), key.lines().nth(1).unwrap().to_owned()] {
        for (place, text) in [("log", &log), ("answer", &said), ("list", &listed)] {
            assert!(!text.contains(&secret), "{secret:?} is in the {place}");
        }
    }

    // Without the server, from its directory.
    assert_eq!(home.run(&["ca", "--data", &data, "--server", &url]).ok(), certificate);
    home.run(&["ca", "--server", &url]).fails(3, &[&url]);
    let other = Home::new();
    let server = other.serve();
    other.run(&["ca", "--server", &server.url]).fails(1, &["[listen.googleapis]"]);
    assert_eq!(server.stop().to_string(), "exit status: 0");
    other.run(&["ca", "--data", &other.data(), "--server", &url]).fails(1, &["has no certificate authority"]);
    std::fs::write(home.path("data/keys/googleapis-ca.key.pem"), "rubbish").unwrap();
    home.run(&["ca", "--data", &data, "--server", &url]).fails(1, &["googleapis-ca.key.pem cannot be used"]);
    let config = format!("data = {data:?}\n[listen.googleapis]\n");
    std::fs::write(home.path("google.toml"), config).unwrap();
    home.run(&["check", "google.toml"]).fails(1, &["googleapis-ca.key.pem cannot be used"]);
}

#[test]
fn without_a_server() {
    let home = Home::new();
    let nobody = "http://127.0.0.1:1";
    home.run(&["status", "--server", nobody]).fails(3, &[nobody]);
    home.run(&["search", "raw", "x", "--server", nobody]).fails(3, &[nobody]);
    home.run(&["nonsense"]).fails(2, &["nonsense"]);
    home.run(&["search", "raw"]).fails(2, &["Usage"]);
    home.run(&["status", "--output", "xml"]).fails(2, &["xml", "ndjson"]);
    home.run(&["status", "--server", "nonsense"]).fails(2, &["http://"]);
    home.run(&["log", "verify"]).fails(1, &["penstock-data"]);
    assert!(home.run(&["--help"]).ok().contains("Exit status"));
    assert!(home.run(&["--version"]).ok().starts_with("penstock "));
    let completion = home.run(&["completion", "bash"]).ok();
    assert!(completion.contains("complete -F _penstock") && completion.contains("connector"), "{completion}");

    std::fs::write(home.path("good.toml"), "[log]\nkeep = \"3d\"\n[store]\nflush_after = \"5s\"\n").unwrap();
    assert!(home.run(&["check", "good.toml"]).ok().contains("good"));
    for (text, says) in [
        ("[intake]\non_invald = \"refuse\"\n", &["on_invald", "on_invalid", "2"][..]),
        ("[intake]\non_invalid = \"refuze\"\n", &["refuze", "refuse"]),
        ("[stor]\nenabled = false\n", &["stor", "store"]),
        ("[log]\nkeep = \"soon\"\n", &["keep", "soon"]),
        ("[listen]\naddress = \"0.0.0.0:8480\"\n", &["listen.tls", "allow_plain"]),
        ("[limits]\nmemory_bytes = 1\n", &["memory_bytes"]),
        ("[logging]\nlevel = \"a=b=c\"\n", &["logging.level"]),
        ("[listen.googleapis]\naddress = \"0.0.0.0:8481\"\n", &["listen.googleapis.address", "allow_remote"]),
        ("[listen.metadata]\naddress = \"127.0.0.1:8482\"\n", &["account"]),
        ("log = [\n", &["bad.toml"]),
    ] {
        std::fs::write(home.path("bad.toml"), text).unwrap();
        home.run(&["check", "bad.toml"]).fails(1, says);
    }
    home.run(&["check", "none.toml"]).fails(1, &["none.toml"]);
    home.run(&["serve", "--config", "bad.toml"]).fails(1, &["bad.toml"]);
    assert!(!home.path("penstock-data").exists(), "nothing is made for a wrong configuration");
}
