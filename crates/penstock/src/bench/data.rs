//! The bodies that `penstock bench` sends: seeded, realistic, never the same twice. Templates are made once, before the
//! clock starts; a send only overwrites the unique id and the time of every record in place, so that making the load
//! costs next to nothing beside taking it in.
//!
//! Content comes from the seed alone; ids also carry a random number of the run, or a second run with the same seed
//! would be one long repeat. No I/O here, and no clock: times come in as arguments.

use std::fmt::Write as _;
use std::ops::Range;

use event::{Kind, Time};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the bodies hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Raw lines, UDM events or entities.
    pub kind: Kind,
    /// What the body around them is like.
    pub form: Form,
    /// The log type that raw lines and entities are sent under. `BIND_DNS` gives resolver lines, everything else
    /// sign-in records in the manner of Okta.
    pub log_type: String,
    /// The instance to name in every body, or none to leave it to the credential.
    pub customer_id: Option<String>,
    /// Where to stop filling a body.
    pub size: Size,
}

/// The body of which protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// `batchCreate` of the Chronicle Ingestion API.
    Chronicle,
    /// `/batch` of Sekoia's intake, with this key. Raw lines only.
    SekoiaBatch(String),
    /// `/plain/batch` of Sekoia's intake. Raw lines only.
    SekoiaPlainBatch,
}

impl Form {
    /// What stands before the first record, between two, and behind the last.
    fn around(&self, shape: &Shape) -> (String, &'static str, &'static str) {
        match self {
            Form::Chronicle => {
                let mut head = String::from("{");
                if let Some(customer_id) = &shape.customer_id {
                    let _ = write!(head, "\"customer_id\":\"{customer_id}\",");
                }
                if shape.kind != Kind::Udm {
                    let _ = write!(head, "\"log_type\":\"{}\",", shape.log_type);
                }
                head.push_str(match shape.kind {
                    Kind::Raw => "\"entries\":[",
                    Kind::Udm => "\"events\":[",
                    Kind::Entity => "\"entities\":[",
                });
                (head, ",", "]}")
            }
            Form::SekoiaBatch(key) => (format!("{{\"intake_key\":\"{key}\",\"jsons\":["), ",", "]}"),
            Form::SekoiaPlainBatch => (String::new(), "\n", ""),
        }
    }

    /// What it is called in a report.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Form::Chronicle => "chronicle /v2 batchCreate",
            Form::SekoiaBatch(_) => "sekoia /batch",
            Form::SekoiaPlainBatch => "sekoia /plain/batch",
        }
    }

    /// Writes a raw line.
    fn line(&self, out: &mut String, text: &str) {
        let quoted = || serde_json::to_string(text).expect("a text is always JSON");
        let _ = match self {
            Form::Chronicle => write!(out, "{{\"log_text\":{},\"ts_rfc3339\":\"{TIME_BLANK}\"}}", quoted()),
            Form::SekoiaBatch(_) => write!(out, "{}", quoted()),
            Form::SekoiaPlainBatch => write!(out, "{text}"),
        };
    }
}

/// When a body is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At the last record that keeps the whole body within this many bytes (always at least one record).
    Bytes(usize),
    /// After exactly this many records.
    Records(usize),
}

/// A body whose ids and times can be overwritten in place.
#[derive(Debug, Clone)]
pub struct Template {
    body: Vec<u8>,
    records: Vec<Slots>,
    /// Bytes of the raw lines, as they are without the protocol around them.
    text_bytes: usize,
}

/// Where one record's unique id and time stand in the body. Both are exactly as long as what overwrites them.
#[derive(Debug, Clone)]
struct Slots {
    id_at: usize,
    times_at: Vec<usize>,
}

/// Names records: no two of one run are alike, and runs differ by their random number.
#[derive(Debug, Clone)]
pub struct Marker {
    run: u64,
    next: u64,
}

/// Bytes of a unique id as it stands in a record: 32 lower-case hexadecimal digits.
pub const ID_BYTES: usize = 32;

/// Bytes of a time: `2026-11-21T22:02:06.123456Z`.
const TIME_BYTES: usize = 27;

const ID_BLANK: &str = "00000000000000000000000000000000";
const TIME_BLANK: &str = "2026-01-01T00:00:00.000000Z";

impl Template {
    /// Makes `count` templates of one shape. The same seed and stream give the same templates; another stream of the
    /// same seed (each connection has its own) gives others.
    pub fn pool(shape: &Shape, seed: u64, stream: u64, count: usize) -> Vec<Template> {
        let mut random = StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (0..count).map(|_| Template::make(shape, &mut random)).collect()
    }

    fn make(shape: &Shape, random: &mut StdRng) -> Template {
        let (mut body, between, tail) = shape.form.around(shape);
        let mut ends: Vec<usize> = Vec::new();
        let mut texts: Vec<usize> = Vec::new();
        loop {
            let full = match shape.size {
                Size::Bytes(max) => body.len() + tail.len() > max,
                Size::Records(max) => ends.len() > max,
            };
            if full && ends.len() > 1 {
                // The record that went over the line goes again, with the comma before it.
                ends.pop();
                texts.pop();
                body.truncate(ends[ends.len() - 1]);
                break;
            }
            if full {
                break;
            }
            if !ends.is_empty() {
                body.push_str(between);
            }
            match shape.kind {
                Kind::Raw => {
                    let text = if shape.log_type == "BIND_DNS" { bind_line(random) } else { okta_line(random) };
                    shape.form.line(&mut body, &text);
                    texts.push(text.len());
                }
                Kind::Udm => udm_event(&mut body, random),
                Kind::Entity => entity(&mut body, random),
            }
            ends.push(body.len());
        }
        body.push_str(tail);

        let mut start = 0;
        let records = ends
            .iter()
            .map(|&end| {
                let slots = Slots::find(&body, start..end);
                start = end;
                slots
            })
            .collect();
        Template { body: body.into_bytes(), records, text_bytes: texts.iter().sum() }
    }

    /// Overwrites every id and time; record `i` is said to have happened `i` microseconds after `now`. Gives the number
    /// of the first record, from which [`Marker::text`] tells any record's id.
    pub fn stamp(&mut self, marker: &mut Marker, now: Time) -> u64 {
        let first = marker.next;
        // One formatted time for the batch; only the microseconds differ from record to record.
        let mut time = [0u8; TIME_BYTES];
        write_time(&mut time, now);
        let micros_base = now.micros().rem_euclid(1_000_000) as u64;
        for (index, slots) in self.records.iter().enumerate() {
            let id = marker.next_id();
            self.body[slots.id_at..slots.id_at + ID_BYTES].copy_from_slice(&id);
            let mut micros = (micros_base + index as u64).min(999_999);
            for place in (20..26).rev() {
                time[place] = b'0' + (micros % 10) as u8;
                micros /= 10;
            }
            for &at in &slots.times_at {
                self.body[at..at + TIME_BYTES].copy_from_slice(&time);
            }
        }
        first
    }

    /// The body as it now stands.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Bytes of its raw lines, as they are without the protocol around them; 0 for other kinds.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// How many records it holds.
    pub fn records(&self) -> usize {
        self.records.len()
    }
}

impl Slots {
    fn find(body: &str, within: Range<usize>) -> Slots {
        let text = &body[within.clone()];
        let id_at = within.start + text.find(ID_BLANK).expect("every record is written with a blank id");
        let times_at = text.match_indices(TIME_BLANK).map(|(at, _)| within.start + at).collect();
        Slots { id_at, times_at }
    }
}

impl Marker {
    /// Numbers from zero under the run's random number.
    pub fn new(run: u64) -> Marker {
        Marker { run, next: 0 }
    }

    /// The id that record `number` of this marker carries.
    pub fn text(&self, number: u64) -> String {
        String::from_utf8(Marker::id(self.run, number).to_vec()).expect("hexadecimal digits are text")
    }

    fn next_id(&mut self) -> [u8; ID_BYTES] {
        let id = Marker::id(self.run, self.next);
        self.next += 1;
        id
    }

    fn id(run: u64, number: u64) -> [u8; ID_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Mixed, so that ids look and compress like the random ones of real records. Both halves are one-to-one, so no
        // two numbers of a run share an id.
        let halves = [mix(run), mix(number ^ run.rotate_left(17))];
        let mut id = [0u8; ID_BYTES];
        for (half, out) in halves.iter().zip(id.chunks_exact_mut(16)) {
            for (place, digit) in out.iter_mut().enumerate() {
                *digit = DIGITS[(half >> (60 - 4 * place)) as usize & 15];
            }
        }
        id
    }
}

/// A well-known one-to-one scrambling of 64 bits (the finaliser of splitmix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn write_time(out: &mut [u8; TIME_BYTES], now: Time) {
    let text = now.to_string();
    // Times print with as many digits of a second as they need; only the part before them is taken.
    out[..19].copy_from_slice(&text.as_bytes()[..19]);
    out[19] = b'.';
    out[20..26].fill(b'0');
    out[26] = b'Z';
}

const FIRST_NAMES: [&str; 24] = [
    "Ana", "Bela", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Igor", "Jana", "Kofi", "Lena", "Milan", "Nadia",
    "Omar", "Petra", "Quentin", "Rosa", "Samir", "Tea", "Uma", "Viktor", "Wanda", "Yusuf",
];
const LAST_NAMES: [&str; 24] = [
    "Adeyemi",
    "Bauer",
    "Costa",
    "Dimitrov",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Horvat",
    "Ivanov",
    "Jansen",
    "Kovacs",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Popescu",
    "Quist",
    "Rossi",
    "Schmidt",
    "Tanaka",
    "Ustinov",
    "Varga",
    "Weber",
    "Zhang",
];
const EVENT_TYPES: [(&str, &str); 12] = [
    ("user.session.start", "User login to Okta"),
    ("user.session.end", "User logout from Okta"),
    ("user.authentication.sso", "User single sign on to app"),
    ("user.authentication.auth_via_mfa", "Authentication of user via MFA"),
    ("user.account.lock", "Max sign in attempts exceeded"),
    ("user.account.update_password", "User update password for Okta"),
    ("user.mfa.factor.activate", "Activate factor for user"),
    ("policy.evaluate_sign_on", "Evaluation of sign-on policy"),
    ("application.user_membership.add", "Add user to application membership"),
    ("group.user_membership.add", "Add user to group membership"),
    ("system.api_token.create", "Create API token"),
    ("user.lifecycle.suspend", "Suspend Okta user"),
];
const AGENTS: [(&str, &str, &str); 6] = [
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0", "Windows 10", "CHROME"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) Version/17.6 Safari/605.1", "Mac OS X", "SAFARI"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Firefox/132.0", "Linux", "FIREFOX"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/15E148", "iOS", "SAFARI"),
    ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/130.0 Mobile", "Android", "CHROME"),
    ("okta-aws-cli/2.4.0 (go1.22; linux; amd64)", "Linux", "UNKNOWN"),
];
const CITIES: [(&str, &str); 8] = [
    ("Lyon", "France"),
    ("Osaka", "Japan"),
    ("Zagreb", "Croatia"),
    ("Austin", "United States"),
    ("Recife", "Brazil"),
    ("Malmö", "Sweden"),
    ("Nairobi", "Kenya"),
    ("Toronto", "Canada"),
];
const APPS: [&str; 8] =
    ["Jira", "Salesforce", "Amazon Web Services", "Workday", "GitHub Enterprise", "Slack", "ServiceNow", "Zoom"];
const DOMAINS: [&str; 10] = [
    "altostrat.com",
    "examplepetstore.com",
    "cymbalgroup.com",
    "example.org",
    "updates.example.net",
    "cdn.example.com",
    "mail.example.com",
    "tracker.example.info",
    "packages.example.dev",
    "login.example.cloud",
];

/// A person of the imagined company, of which there are 576.
struct Person {
    first: &'static str,
    last: &'static str,
}

impl Person {
    fn any(random: &mut StdRng) -> Person {
        Person { first: pick(random, &FIRST_NAMES), last: pick(random, &LAST_NAMES) }
    }

    fn user(&self) -> String {
        format!("{}.{}", self.first.to_lowercase(), self.last.to_lowercase())
    }
}

fn pick<T: Copy>(random: &mut StdRng, among: &[T]) -> T {
    among[random.random_range(0..among.len())]
}

fn address_inside(random: &mut StdRng) -> String {
    format!("10.{}.{}.{}", random.random_range(0..64), random.random_range(0..=255), random.random_range(1..255))
}

fn address_outside(random: &mut StdRng) -> String {
    let net = pick(random, &["203.0.113", "198.51.100", "192.0.2"]);
    format!("{net}.{}", random.random_range(1..255))
}

fn letters(random: &mut StdRng, count: usize) -> String {
    const AMONG: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..count).map(|_| char::from(AMONG[random.random_range(0..AMONG.len())])).collect()
}

fn hex_digits(random: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from_digit(random.random_range(0..16), 16).expect("below 16")).collect()
}

/// A sign-in record of about 700 bytes, itself JSON and so full of quotes, which most protocols escape.
fn okta_line(random: &mut StdRng) -> String {
    let person = Person::any(random);
    let (event_type, message) = pick(random, &EVENT_TYPES);
    let (agent, os, browser) = pick(random, &AGENTS);
    let (city, country) = pick(random, &CITIES);
    let outcome = if random.random_ratio(1, 9) {
        "{\"result\":\"FAILURE\",\"reason\":\"INVALID_CREDENTIALS\"}"
    } else {
        "{\"result\":\"SUCCESS\"}"
    };
    format!(
        "{{\"uuid\":\"{ID_BLANK}\",\"published\":\"{TIME_BLANK}\",\"eventType\":\"{event_type}\",\"version\":\"0\",\
         \"severity\":\"INFO\",\"displayMessage\":\"{message}\",\"actor\":{{\"id\":\"00u{actor}\",\"type\":\"User\",\
         \"alternateId\":\"{user}@example.com\",\"displayName\":\"{first} {last}\"}},\"client\":{{\"userAgent\":\
         {{\"rawUserAgent\":\"{agent}\",\"os\":\"{os}\",\"browser\":\"{browser}\"}},\"ipAddress\":\"{address}\",\
         \"geographicalContext\":{{\"city\":\"{city}\",\"country\":\"{country}\"}}}},\"outcome\":{outcome},\
         \"target\":[{{\"id\":\"0oa{app_id}\",\"type\":\"AppInstance\",\"displayName\":\"{app}\"}}],\
         \"transaction\":{{\"type\":\"WEB\",\"id\":\"{transaction}\"}}}}",
        actor = letters(random, 17),
        user = person.user(),
        first = person.first,
        last = person.last,
        address = address_outside(random),
        app_id = letters(random, 17),
        app = pick(random, &APPS),
        transaction = letters(random, 24),
    )
}

/// A line of a name server's query log, about 150 bytes.
fn bind_line(random: &mut StdRng) -> String {
    let name = format!("{}.{}", letters(random, 6).to_lowercase(), pick(random, &DOMAINS));
    format!(
        "{TIME_BLANK} client @0x{ID_BLANK} {client}#{port} ({name}): query: {name} IN {record} + ({server})",
        client = address_inside(random),
        port = random.random_range(1024..65536),
        record = pick(random, &["A", "AAAA", "MX", "TXT", "PTR"]),
        server = address_outside(random),
    )
}

/// A sign-in record for `bench cbn`: with an id and a time, and nothing around it.
pub fn okta_log(random: &mut StdRng) -> String {
    filled(&okta_line(random), random)
}

/// A name server's line for `bench cbn`.
pub fn bind_log(random: &mut StdRng) -> String {
    filled(&bind_line(random), random)
}

fn filled(line: &str, random: &mut StdRng) -> String {
    line.replace(ID_BLANK, &hex_digits(random, ID_BLANK.len())).replace(
        TIME_BLANK,
        &format!(
            "2026-01-{:02}T{:02}:00:00.{:06}Z",
            day(random),
            random.random_range(0..24),
            random.random_range(0..1_000_000)
        ),
    )
}

fn day(random: &mut StdRng) -> u32 {
    random.random_range(1..=28)
}

/// A firewall's traffic line in keys and values, about 450 bytes.
pub fn firewall_log(random: &mut StdRng) -> String {
    let person = Person::any(random);
    format!(
        "<189>date=2026-01-{day:02} time={hour:02}:{minute:02}:07 devname=\"fw-{site:02}\" devid=\"FW{serial}\" \
         logid=\"0000000013\" type=\"traffic\" subtype=\"forward\" level=\"notice\" vd=\"root\" srcip={source} \
         srcport={source_port} srcintf=\"port1\" dstip={target} dstport={target_port} dstintf=\"wan1\" policyid=12 \
         policyname=\"Outbound web traffic\" proto={proto} action=\"{action}\" service=\"{service}\" user=\"{user}\" \
         duration={duration} sentbyte={sent} rcvdbyte={received} sentpkt=12 rcvdpkt=15 appcat=\"unscanned\"",
        day = day(random),
        hour = random.random_range(0..24),
        minute = random.random_range(0..60),
        site = random.random_range(1..40),
        serial = hex_digits(random, 12),
        source = address_inside(random),
        source_port = random.random_range(1024..65536),
        target = address_outside(random),
        target_port = pick(random, &[80, 443, 53, 22]),
        proto = pick(random, &[6, 17, 1]),
        action = pick(random, &["accept", "close", "deny", "server-rst"]),
        service = pick(random, &["HTTPS", "HTTP", "DNS", "SSH"]),
        user = person.user(),
        duration = random.random_range(1..3600),
        sent = random.random_range(40..1_000_000),
        received = random.random_range(40..10_000_000),
    )
}

/// A Windows security event as JSON with its message, 3 to 4 KB.
pub fn windows_log(random: &mut StdRng) -> String {
    let person = Person::any(random);
    let user = person.user();
    let host = format!("ws-{:04}.corp.example.com", random.random_range(0..5_000));
    let sid = format!("S-1-5-21-{}-{}", random.random_range(100_000_000..999_999_999), random.random_range(1000..9999));
    let address = address_inside(random);
    let id = pick(random, &[4624, 4625, 4634, 4648, 4672]);
    let kind = pick(random, &[2, 3, 5, 10]);
    let paragraph = format!(
        "Subject:\\r\\n\\tSecurity ID:\\t\\t{sid}\\r\\n\\tAccount Name:\\t\\t{user}\\r\\n\\tAccount Domain:\\t\\tCORP\\r\\n\\t\
         Logon ID:\\t\\t0x{}\\r\\n\\r\\nNetwork Information:\\r\\n\\tSource Network Address:\\t{address}\\r\\n",
        hex_digits(random, 8)
    );
    format!(
        "{{\"EventTime\":\"2026-01-{day:02} {hour:02}:00:01\",\"Hostname\":\"{host}\",\"Keywords\":-9214364837600034816,\
         \"EventType\":\"AUDIT_SUCCESS\",\"SeverityValue\":2,\"Severity\":\"INFO\",\"EventID\":{id},\"SourceName\":\
         \"Microsoft-Windows-Security-Auditing\",\"ProviderGuid\":\"{{54849625-5478-4994-A5BA-3E3B0328C30D}}\",\
         \"Version\":2,\"Task\":12544,\"OpcodeValue\":0,\"RecordNumber\":{record},\"ProcessID\":{process},\
         \"ThreadID\":5320,\"Channel\":\"Security\",\"Message\":\"An account was successfully logged on. {message}\",\
         \"Category\":\"Logon\",\"Opcode\":\"Info\",\"SubjectUserSid\":\"{sid}\",\"SubjectUserName\":\"{user}\",\
         \"SubjectDomainName\":\"CORP\",\"SubjectLogonId\":\"0x3e7\",\"TargetUserSid\":\"{sid}\",\
         \"TargetUserName\":\"{user}\",\"TargetDomainName\":\"CORP\",\"LogonType\":\"{kind}\",\"LogonProcessName\":\
         \"NtLmSsp\",\"AuthenticationPackageName\":\"NTLM\",\"WorkstationName\":\"WS\",\"ProcessName\":\
         \"C:\\\\Windows\\\\System32\\\\lsass.exe\",\"IpAddress\":\"{address}\",\"IpPort\":\"{port}\",\
         \"EventReceivedTime\":\"2026-01-{day:02} {hour:02}:00:02\",\"SourceModuleName\":\"eventlog\",\
         \"SourceModuleType\":\"im_msvistalog\"}}",
        day = day(random),
        hour = random.random_range(0..24),
        record = random.random_range(1_000_000..900_000_000),
        process = random.random_range(400..9000),
        message = paragraph.repeat(10),
        port = random.random_range(1024..65536),
    )
}

/// One UDM event of 600 to 900 bytes: a login, a web request or a process start.
fn udm_event(out: &mut String, random: &mut StdRng) {
    let person = Person::any(random);
    let user = person.user();
    let (agent, _, _) = pick(random, &AGENTS);
    let host = format!("ws-{:04}.corp.example.com", random.random_range(0..5_000));
    let inside = address_inside(random);
    let outside = address_outside(random);
    let event = match random.random_range(0..3) {
        0 => format!(
            "{{\"metadata\":{{\"event_timestamp\":\"{TIME_BLANK}\",\"event_type\":\"USER_LOGIN\",\"vendor_name\":\
             \"Okta\",\"product_name\":\"Okta\",\"product_log_id\":\"{ID_BLANK}\",\"product_event_type\":\
             \"user.session.start\"}},\"principal\":{{\"hostname\":\"{host}\",\"ip\":[\"{inside}\",\"{outside}\"],\
             \"location\":{{\"country_or_region\":\"{country}\"}}}},\"target\":{{\"application\":\"{app}\",\"user\":\
             {{\"userid\":\"{user}\",\"user_display_name\":\"{first} {last}\",\"email_addresses\":\
             [\"{user}@example.com\"]}}}},\"network\":{{\"http\":{{\"user_agent\":\"{agent}\"}}}},\
             \"security_result\":[{{\"action\":[\"ALLOW\"],\"summary\":\"signed in\"}}],\"extensions\":{{\"auth\":\
             {{\"type\":\"SSO\",\"mechanism\":[\"USERNAME_PASSWORD\"]}}}}}}",
            app = pick(random, &APPS),
            country = pick(random, &CITIES).1,
            first = person.first,
            last = person.last,
        ),
        1 => format!(
            "{{\"metadata\":{{\"event_timestamp\":\"{TIME_BLANK}\",\"event_type\":\"NETWORK_HTTP\",\"vendor_name\":\
             \"Acme\",\"product_name\":\"Acme Proxy\",\"product_log_id\":\"{ID_BLANK}\"}},\"principal\":\
             {{\"hostname\":\"{host}\",\"ip\":[\"{inside}\"],\"port\":{port},\"user\":{{\"userid\":\"{user}\"}}}},\
             \"target\":{{\"hostname\":\"{domain}\",\"ip\":[\"{outside}\"],\"port\":443,\"url\":\
             \"https://{domain}/{path}/{file}.html?session={session}\"}},\"network\":{{\"application_protocol\":\
             \"HTTPS\",\"ip_protocol\":\"TCP\",\"sent_bytes\":\"{sent}\",\"received_bytes\":\"{received}\",\"http\":\
             {{\"method\":\"GET\",\"response_code\":200,\"user_agent\":\"{agent}\",\"referral_url\":\
             \"https://{referrer}/\"}}}}}}",
            port = random.random_range(1024..65536),
            domain = pick(random, &DOMAINS),
            path = letters(random, 8),
            file = letters(random, 12),
            session = letters(random, 24),
            sent = random.random_range(200..9_000),
            received = random.random_range(200..900_000),
            referrer = pick(random, &DOMAINS),
        ),
        _ => format!(
            "{{\"metadata\":{{\"event_timestamp\":\"{TIME_BLANK}\",\"event_type\":\"PROCESS_LAUNCH\",\"vendor_name\":\
             \"Acme\",\"product_name\":\"Acme EDR\",\"product_log_id\":\"{ID_BLANK}\"}},\"principal\":{{\"hostname\":\
             \"{host}\",\"ip\":[\"{inside}\"],\"user\":{{\"userid\":\"{user}\",\"windows_sid\":\
             \"S-1-5-21-{sid}\"}},\"process\":{{\"pid\":\"{parent}\",\"file\":{{\"full_path\":\
             \"C:\\\\Windows\\\\explorer.exe\"}}}}}},\"target\":{{\"process\":{{\"pid\":\"{pid}\",\"command_line\":\
             \"C:\\\\Tools\\\\{tool}.exe --run {argument}\",\"file\":{{\"full_path\":\"C:\\\\Tools\\\\{tool}.exe\",\
             \"sha256\":\"{sha256}\",\"md5\":\"{md5}\",\"size\":\"{size}\"}}}}}}}}",
            sid = random.random_range(1_000_000_000u64..9_999_999_999),
            parent = random.random_range(400..32_000),
            pid = random.random_range(400..32_000),
            tool = letters(random, 8),
            argument = letters(random, 16),
            sha256 = hex_digits(random, 64),
            md5 = hex_digits(random, 32),
            size = random.random_range(20_000..9_000_000),
        ),
    };
    out.push_str(&event);
}

/// One entity of about 500 bytes: a user or a machine.
fn entity(out: &mut String, random: &mut StdRng) {
    let person = Person::any(random);
    let user = person.user();
    let entity = if random.random_ratio(2, 3) {
        format!(
            "{{\"metadata\":{{\"collected_timestamp\":\"{TIME_BLANK}\",\"entity_type\":\"USER\",\"vendor_name\":\
             \"Okta\",\"product_name\":\"Okta\",\"product_entity_id\":\"{ID_BLANK}\"}},\"entity\":{{\"user\":\
             {{\"userid\":\"{user}\",\"user_display_name\":\"{first} {last}\",\"email_addresses\":\
             [\"{user}@example.com\"],\"department\":[\"{department}\"],\"employee_id\":\"{number}\",\
             \"product_object_id\":\"00u{object}\"}}}}}}",
            first = person.first,
            last = person.last,
            department = pick(random, &["Finance", "Engineering", "Sales", "Support", "Legal"]),
            number = random.random_range(10_000..99_999),
            object = letters(random, 17),
        )
    } else {
        format!(
            "{{\"metadata\":{{\"collected_timestamp\":\"{TIME_BLANK}\",\"entity_type\":\"ASSET\",\"vendor_name\":\
             \"Acme\",\"product_name\":\"Acme Inventory\",\"product_entity_id\":\"{ID_BLANK}\"}},\"entity\":\
             {{\"asset\":{{\"hostname\":\"ws-{host:04}.corp.example.com\",\"ip\":[\"{ip}\"],\"asset_id\":\
             \"Acme:{asset}\",\"platform_software\":{{\"platform\":\"WINDOWS\",\"platform_version\":\
             \"10.0.22631\"}}}}}}}}",
            host = random.random_range(0..5_000),
            ip = address_inside(random),
            asset = letters(random, 20),
        )
    };
    out.push_str(&entity);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn shape(kind: Kind, log_type: &str, size: Size) -> Shape {
        Shape {
            kind,
            form: Form::Chronicle,
            log_type: log_type.to_owned(),
            customer_id: Some("c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".to_owned()),
            size,
        }
    }

    /// Stamps every template of a pool twice; gives the records of all four bodies' worth, checked for form.
    fn check(shape: &Shape, list: &str, id_of: impl Fn(&Value) -> String) {
        let now: Time = "2026-11-21T22:02:06.999990Z".parse().unwrap();
        let mut marker = Marker::new(7);
        let mut seen = HashSet::new();
        for template in &mut Template::pool(shape, 1, 2, 2) {
            for _ in 0..2 {
                let first = template.stamp(&mut marker, now);
                let body: Value = serde_json::from_slice(template.body()).unwrap();
                let records = body[list].as_array().unwrap();
                assert_eq!(records.len(), template.records());
                match shape.size {
                    Size::Bytes(max) => {
                        assert!(template.body().len() <= max);
                        assert!(template.body().len() > max - 1500, "the body should be nearly full");
                    }
                    Size::Records(count) => assert_eq!(records.len(), count),
                }
                for (index, record) in records.iter().enumerate() {
                    let id = id_of(record);
                    assert_eq!(id, marker.text(first + index as u64));
                    assert!(seen.insert(id), "no id comes twice");
                    assert!(!record.to_string().contains(TIME_BLANK), "every time is overwritten");
                    assert!(record.to_string().contains("2026-11-21T22:02:06.9999"));
                }
            }
        }
    }

    fn text_of(entry: &Value) -> Value {
        serde_json::from_str(entry["log_text"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn bodies_hold_what_they_say() {
        let raw_id = |entry: &Value| text_of(entry)["uuid"].as_str().unwrap().to_owned();
        let bind_id = |entry: &Value| {
            let text = entry["log_text"].as_str().unwrap();
            text.split("@0x").nth(1).unwrap()[..ID_BYTES].to_owned()
        };
        let udm_id = |event: &Value| event["metadata"]["product_log_id"].as_str().unwrap().to_owned();
        let entity_id = |entity: &Value| entity["metadata"]["product_entity_id"].as_str().unwrap().to_owned();
        for size in [Size::Bytes(50_000), Size::Records(1), Size::Records(10)] {
            check(&shape(Kind::Raw, "OKTA", size), "entries", raw_id);
            check(&shape(Kind::Raw, "BIND_DNS", size), "entries", bind_id);
            check(&shape(Kind::Udm, "UDM", size), "events", udm_id);
            check(&shape(Kind::Entity, "OKTA", size), "entities", entity_id);
        }
    }

    #[test]
    fn the_same_lines_go_by_every_protocol() {
        let lines = |form: Form, read: &dyn Fn(&[u8]) -> Vec<String>| {
            let shape = Shape { form, ..shape(Kind::Raw, "OKTA", Size::Records(20)) };
            let mut pool = Template::pool(&shape, 1, 0, 1);
            pool[0].stamp(&mut Marker::new(7), "2026-11-21T22:02:06Z".parse().unwrap());
            let lines = read(pool[0].body());
            assert_eq!(lines.iter().map(String::len).sum::<usize>(), pool[0].text_bytes());
            lines
        };
        let of_list = |list: &'static str, field: &'static str| {
            move |body: &[u8]| -> Vec<String> {
                let body: Value = serde_json::from_slice(body).unwrap();
                let items = body[list].as_array().unwrap().iter();
                let text = |item: &Value| if field.is_empty() { item.clone() } else { item[field].clone() };
                items.map(|item| text(item).as_str().unwrap().to_owned()).collect()
            }
        };
        let chronicle = lines(Form::Chronicle, &of_list("entries", "log_text"));
        assert_eq!(chronicle.len(), 20);
        assert_eq!(lines(Form::SekoiaBatch("KEY".to_owned()), &of_list("jsons", "")), chronicle);
        let split = |body: &[u8]| std::str::from_utf8(body).unwrap().split('\n').map(str::to_owned).collect();
        assert_eq!(lines(Form::SekoiaPlainBatch, &split), chronicle);
    }

    #[test]
    fn sign_in_records_are_about_700_bytes() {
        let pool = Template::pool(&shape(Kind::Raw, "OKTA", Size::Records(200)), 1, 0, 1);
        let body: Value = serde_json::from_slice(pool[0].body()).unwrap();
        let texts: Vec<usize> =
            body["entries"].as_array().unwrap().iter().map(|entry| entry["log_text"].as_str().unwrap().len()).collect();
        let mean = texts.iter().sum::<usize>() / texts.len();
        assert!((650..=750).contains(&mean), "mean {mean}");
    }

    #[test]
    fn the_seed_decides_the_content_and_the_run_the_ids() {
        let shape = shape(Kind::Udm, "UDM", Size::Records(5));
        let body = |seed, stream| Template::pool(&shape, seed, stream, 1).remove(0).body().to_vec();
        assert_eq!(body(1, 0), body(1, 0));
        assert_ne!(body(1, 0), body(2, 0));
        assert_ne!(body(1, 0), body(1, 1));
        assert_ne!(Marker::new(1).text(0), Marker::new(2).text(0));
    }
}
