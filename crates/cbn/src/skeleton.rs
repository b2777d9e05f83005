//! A parser to begin with, written from sample logs: it runs on them, makes an event of each, and says in comments what to
//! do next.
//!
//! `skeleton/shape.rs` finds out what kind of logs they are, `skeleton/roles.rs` which fields are the time, the machines
//! and the user. What is written here reads every field in a way that lets pass logs without it, since samples never show
//! everything; and nothing of the samples but names of fields gets into the program.

mod roles;
mod shape;

use self::roles::Role;
use self::shape::{Body, Field, Header, Shape};
use crate::syntax::{format, parse};

/// How many fields that play no role are named in a comment.
const OTHERS_MAX: usize = 40;

/// Writes a parser for logs of which these are samples.
pub fn skeleton(log_type: &str, samples: &[&str]) -> String {
    let shape = shape::detect(samples);
    let mut writer = Writer { out: String::new(), known: Vec::new(), shape: &shape, named: Vec::new() };
    writer.program(log_type, samples.len());
    let source = writer.out;
    match parse::parse(&source) {
        Ok(file) => format::format(&file, &source),
        // Names are checked before they are written, so this is for the worst only: the text is there to be mended.
        Err(_) => source,
    }
}

struct Writer<'a> {
    out: String,
    /// What the conditions ask for, which has to be set at the start.
    known: Vec<&'static str>,
    shape: &'a Shape<'a>,
    /// Fields that play a role.
    named: Vec<&'a Field>,
}

impl<'a> Writer<'a> {
    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn program(&mut self, log_type: &str, samples: usize) {
        let log_type: String =
            log_type.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ')).take(80).collect();
        let log_type = if log_type.trim().is_empty() { "LOG" } else { log_type.trim() };
        let count = if samples == 1 { "one sample".to_owned() } else { format!("{samples} samples") };
        self.line(&format!("# Parser for {log_type}, begun from {count}: {}.", self.kind()));
        self.line("#");
        self.line(
            "# To do: check which machine is the principal and which the target, choose event types by what happened",
        );
        self.line("# (USER_LOGIN, FILE_CREATION, …), and map what is listed at the end.");
        self.line("filter {");

        let outer = std::mem::take(&mut self.out);
        self.header();
        self.body();
        self.times();
        self.machines();
        self.user();
        self.metadata(log_type);
        self.result();
        self.event();
        let steps = std::mem::replace(&mut self.out, outer);

        let known = self.known.clone();
        if known.is_empty() {
            self.out.push_str(&steps);
            self.others();
            self.line("}");
            return;
        }
        self.line(
            "# A condition on a field that is not set ends the log with an error: what conditions ask for is set here.",
        );
        self.line("mutate { replace => {");
        for name in known {
            let value = if name.starts_with("has_") { "false" } else { "" };
            self.line(&format!("{} => {}", quoted(name), quoted(value)));
        }
        self.line("} }");
        self.out.push_str(&steps);
        self.others();
        self.line("}");
    }

    fn kind(&self) -> String {
        let body = match &self.shape.body {
            Body::Json => "JSON",
            Body::Cef => "CEF",
            Body::Leef { .. } => "LEEF",
            Body::Kv { .. } => "key-value pairs",
            Body::Csv { .. } => "CSV",
            Body::Xml => "XML",
            Body::Plain => "text",
        };
        match self.shape.header {
            Header::None => body.to_owned(),
            Header::Bsd => format!("{body} behind a header of syslog (RFC 3164)"),
            Header::Ietf => format!("{body} behind a header of syslog (RFC 5424)"),
            Header::Words => format!("{body} behind some words"),
        }
    }

    /// What conditions will ask for.
    fn know(&mut self, names: &[&'static str]) {
        for name in names {
            if !self.known.contains(name) {
                self.known.push(name);
            }
        }
    }

    fn header(&mut self) {
        let (comment, pattern, captured): (&str, &str, &[&'static str]) = match self.shape.header {
            Header::None => return,
            Header::Bsd => (
                "The header of syslog: time, host, and the program if there is one.",
                r"(?s)^(?:<%{INT}>)?(?:%{SYSLOGTIMESTAMP:time}|%{TIMESTAMP_ISO8601:time_iso}|(?P<time_year>%{MONTH} +%{MONTHDAY} %{YEAR} [0-9:]{8})[0-9.]*) %{NOTSPACE:host} (?:(?P<application>[^\s:\[\]=|{}<>]+)(?:\[%{INT:pid}\])?: )?%{GREEDYDATA:body}$",
                &["time", "time_iso", "time_year", "host", "application", "pid", "body"],
            ),
            Header::Ietf => (
                "The header of syslog: time, host, program, process, id of the message, structured data.",
                r#"(?s)^<%{INT}>1 %{NOTSPACE:time_iso} %{NOTSPACE:host} %{NOTSPACE:application} %{NOTSPACE:pid} %{NOTSPACE:message_id} (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) ?%{GREEDYDATA:body}$"#,
                &["time_iso", "host", "application", "pid", "message_id", "body"],
            ),
            Header::Words => {
                ("What stands before the object of JSON is left aside.", r"(?s)^[^{]*(?P<body>\{.*)$", &["body"])
            }
        };
        self.know(captured);
        self.line("");
        self.line(&format!("# {comment}"));
        self.line(&format!("grok {{ match => {{ \"message\" => [{}] }}", quoted(pattern)));
        let names: Vec<String> = captured.iter().map(|name| quoted(name)).collect();
        self.line(&format!("overwrite => [{}] on_error => \"no_header\" }}", names.join(", ")));
        self.line("if [no_header] { mutate { replace => { \"body\" => \"%{message}\" } } }");
    }

    /// The field with what stands behind the header.
    fn source(&self) -> &'static str {
        if self.shape.header == Header::None { "message" } else { "body" }
    }

    fn body(&mut self) {
        let source = quoted(self.source());
        self.line("");
        match &self.shape.body {
            Body::Json => {
                self.line(
                    "# The fields of the object lie below \"log\", so that none of them meets a name of this program.",
                );
                self.line(&format!("json {{ source => {source} target => \"log\" array_function => \"split_columns\""));
                self.line("on_error => \"no_json\" }");
                for path in &self.shape.nested {
                    let (text, below) =
                        (format!("log.{}", path.join(".")), format!("log.{}", shape::nested_name(path)));
                    self.line(&format!("# {text} holds JSON, too."));
                    self.line(&format!("json {{ source => {} target => {}", quoted(&text), quoted(&below)));
                    self.line("array_function => \"split_columns\" on_error => \"no_inner_json\" }");
                }
            }
            Body::Cef => {
                let captured = ["vendor", "product", "version", "event_class", "event_name", "severity", "extension"];
                self.know(&captured);
                self.line(
                    "# The header of CEF, then the extension, whose values may hold blanks: so what stands before",
                );
                self.line("# each key is made a sign that no value has.");
                // A bar in a part is written with a backslash.
                let part = |name: &str| format!(r"(?P<{name}>(?:[^|\\]|\\.)*)\|");
                let parts: String = captured[..6].iter().map(|name| part(name)).collect();
                let pattern = format!(r"(?s)CEF: ?%{{INT}}\|{parts}%{{GREEDYDATA:extension}}$");
                self.line(&format!("grok {{ match => {{ {source} => [{}] }}", quoted(&pattern)));
                let names: Vec<String> = captured.iter().map(|name| quoted(name)).collect();
                self.line(&format!("overwrite => [{}] on_error => \"no_cef\" }}", names.join(", ")));
                let key = quoted(r"(?:^|\s+)([A-Za-z][A-Za-z0-9_]*)=");
                self.line(&format!(
                    "mutate {{ gsub => [\"extension\", {key}, \"¦$1=\"] on_error => \"no_extension\" }}"
                ));
                self.line("kv { source => \"extension\" field_split => \"¦\" value_split => \"=\" target => \"log\"");
                self.line("on_error => \"no_pairs\" }");
            }
            Body::Leef { delimiter } => {
                let captured = ["vendor", "product", "version", "event_class", "attributes"];
                self.know(&captured);
                self.line("# The header of LEEF, then its attributes.");
                let first = r"(?s)LEEF:2[^|]*\|%{DATA:vendor}\|%{DATA:product}\|%{DATA:version}\|%{DATA:event_class}\|(?:x?[0-9A-Fa-f]{1,4}|.)?\|%{GREEDYDATA:attributes}$";
                let second = r"(?s)LEEF:[^|]*\|%{DATA:vendor}\|%{DATA:product}\|%{DATA:version}\|%{DATA:event_class}\|%{GREEDYDATA:attributes}$";
                self.line(&format!("grok {{ match => {{ {source} => [{}, {}] }}", quoted(first), quoted(second)));
                let names: Vec<String> = captured.iter().map(|name| quoted(name)).collect();
                self.line(&format!("overwrite => [{}] on_error => \"no_leef\" }}", names.join(", ")));
                let split = self.separator("field_split", *delimiter);
                self.line(&format!("kv {{ source => \"attributes\" {split} value_split => \"=\" target => \"log\""));
                self.line("on_error => \"no_pairs\" }");
            }
            Body::Kv { fields, values } => {
                self.line("# The pairs lie below \"log\", so that none of them meets a name of this program.");
                let split = self.separator("field_split", *fields);
                let values = quoted(&values.to_string());
                self.line(&format!("kv {{ source => {source} {split} value_split => {values} trim_value => \"\\\"\""));
                self.line("target => \"log\" on_error => \"no_pairs\" }");
            }
            Body::Csv { separator } => {
                self.line("# Sets column1, column2, ….");
                let split = match separator {
                    '\t' => "separator => \"\\\\t\" unescape_separator => true".to_owned(),
                    other => format!("separator => {}", quoted(&other.to_string())),
                };
                self.line(&format!("csv {{ source => {source} {split} on_error => \"no_columns\" }}"));
            }
            Body::Xml => self.xml(&source),
            Body::Plain => self.plain(&source),
        }
    }

    fn separator(&self, option: &str, separator: char) -> String {
        match separator {
            '\t' => format!("{option} => \"\\\\t\" unescape_{option} => true"),
            other => format!("{option} => {}", quoted(&other.to_string())),
        }
    }

    fn xml(&mut self, source: &str) {
        self.line("# Only what is asked for by a path is set; a path that finds nothing sets nothing.");
        self.line(&format!("xml {{ source => {source} xpath => {{"));
        let roles = [
            (Role::Time, "time"),
            (Role::PrincipalIp, "principal_ip"),
            (Role::PrincipalHost, "principal_host"),
            (Role::PrincipalPort, "principal_port"),
            (Role::TargetIp, "target_ip"),
            (Role::TargetHost, "target_host"),
            (Role::TargetPort, "target_port"),
            (Role::User, "user"),
            (Role::Description, "description"),
            (Role::EventType, "event_type"),
            (Role::LogId, "log_id"),
            (Role::Action, "action"),
            (Role::Severity, "severity"),
        ];
        for (role, name) in roles {
            if let Some(field) = roles::find(role, &self.shape.fields) {
                self.line(&format!("{} => \"log.{name}\"", quoted(&field.path[0])));
            }
        }
        self.line("} on_error => \"no_xml\" }");
    }

    /// Whether half of the samples or more have something.
    fn has(&self, pattern: &str) -> bool {
        let regex = regex::Regex::new(pattern).expect("the expression is a constant");
        let found = self.shape.bodies.iter().filter(|body| regex.is_match(body)).count();
        found > 0 && found * 2 >= self.shape.bodies.len()
    }

    fn plain(&mut self, source: &str) {
        let ip = r"\b\d{1,3}(?:\.\d{1,3}){3}\b";
        self.line("# Each expression looks for one thing; put them together as soon as you know the lines.");
        self.time_within(source);
        if self.has(ip) {
            self.capture(source, "first_ip", "%{IP:first_ip}");
        }
        if self.has(&format!("(?s){ip}.*{ip}")) {
            self.capture(source, "second_ip", "(?s)%{IP}.*?%{IP:second_ip}");
        }
        if self.has(r"(?i)\buser(?:name)?[ =:]") {
            let pattern = r#"(?i)\buser(?:name)?[ =:]+["']?(?P<user_name>[^\s"',;:=]+)"#;
            self.capture(source, "user_name", pattern);
        }
    }

    /// Looks for a time anywhere in the text.
    fn time_within(&mut self, source: &str) {
        if self.has(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d") {
            self.capture(source, "time_iso", "%{TIMESTAMP_ISO8601:time_iso}");
        } else if self.has(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d") {
            self.capture(source, "time_http", "%{HTTPDATE:time_http}");
        } else if self.has(r"[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d") {
            self.capture(source, "time", "%{SYSLOGTIMESTAMP:time}");
        }
    }

    fn capture(&mut self, source: &str, name: &'static str, pattern: &str) {
        self.know(&[name]);
        self.line(&format!("grok {{ match => {{ {source} => [{}] }}", quoted(pattern)));
        self.line(&format!("overwrite => [{}] on_error => {} }}", quoted(name), quoted(&format!("no_{name}"))));
    }

    /// The field that plays a role, as a program names it, and whether it is a text.
    fn field(&mut self, role: Role, name: &str) -> Option<(String, bool)> {
        let field = roles::find(role, &self.shape.fields)?;
        self.named.push(field);
        Some(match self.shape.body {
            Body::Xml => (format!("log.{name}"), true),
            Body::Csv { .. } => (field.path.join("."), true),
            _ => (format!("log.{}", field.path.join(".")), field.is_text),
        })
    }

    fn times(&mut self) {
        self.line("");
        self.line("# The time of the event. A date that cannot be read leaves the time of receipt.");
        let no_time = roles::find(Role::Time, &self.shape.fields).is_none();
        if no_time && self.shape.body != Body::Plain && self.shape.header == Header::None {
            let source = quoted(self.source());
            self.time_within(&source);
        }
        for (name, formats) in [
            ("time", "\"MMM d HH:mm:ss\""),
            ("time_iso", "\"ISO8601\", \"RFC3339\", \"yyyy-MM-dd HH:mm:ss\", \"yyyy-MM-dd HH:mm:ss.SSS\""),
            ("time_year", "\"MMM d yyyy HH:mm:ss\""),
            ("time_http", "\"dd/MMM/yyyy:HH:mm:ss Z\""),
        ] {
            if self.known.contains(&name) {
                self.line(&format!("if [{name}] != \"\" {{"));
                self.line(&format!("date {{ match => [\"{name}\", {formats}] on_error => \"no_{name}_read\" }} }}"));
            }
        }
        let Some(field) = roles::find(Role::Time, &self.shape.fields) else { return };
        // A date alone goes with the time that stands beside it, as firewalls write it.
        let beside = |name: &str| {
            self.shape.fields.iter().find(|field| {
                matches!(&field.name[..], [only] if only.eq_ignore_ascii_case(name))
                    && field.values.iter().all(|value| value.len() >= 8 && value.as_bytes()[2] == b':')
            })
        };
        let is_date = |mark: u8| {
            field
                .values
                .iter()
                .all(|value| value.len() == 10 && value.as_bytes()[4] == mark && value.as_bytes()[7] == mark)
        };
        let pair = match (is_date(b'-'), is_date(b'/')) {
            (true, _) => beside("time").map(|time| (time, "yyyy-MM-dd HH:mm:ss")),
            (_, true) => beside("time").map(|time| (time, "yyyy/MM/dd HH:mm:ss")),
            _ => None,
        };
        match pair {
            Some((time, format)) if matches!(self.shape.body, Body::Kv { .. } | Body::Json) => {
                let (date, clock) = (field.path.join("."), time.path.join("."));
                self.named.extend([field, time]);
                self.know(&["date_and_time"]);
                let value = quoted(&format!("%{{log.{date}}} %{{log.{clock}}}"));
                self.line(&format!(
                    "mutate {{ replace => {{ \"date_and_time\" => {value} }} on_error => \"no_date\" }}"
                ));
                self.line(&format!(
                    "date {{ match => [\"date_and_time\", \"{format}\"] on_error => \"no_time_read\" }}"
                ));
            }
            _ => {
                let format = roles::format(&field.values).unwrap_or("ISO8601");
                if let Some((path, _)) = self.field(Role::Time, "time") {
                    let more = if format == "ISO8601" { ", \"RFC3339\"" } else { "" };
                    let path = quoted(&path);
                    self.line(&format!("date {{ match => [{path}, \"{format}\"{more}] on_error => \"no_log_time\" }}"));
                }
            }
        }
    }

    fn machines(&mut self) {
        for (noun, roles, flag) in [
            ("principal", [Role::PrincipalIp, Role::PrincipalHost, Role::PrincipalPort], "has_principal"),
            ("target", [Role::TargetIp, Role::TargetHost, Role::TargetPort], "has_target"),
        ] {
            let names: [&'static str; 3] = match noun {
                "principal" => ["principal_ip", "principal_host", "principal_port"],
                _ => ["target_ip", "target_host", "target_port"],
            };
            let ip = self.field(roles[0], names[0]).map(|(path, _)| path).or_else(|| {
                let plain = if noun == "principal" { "first_ip" } else { "second_ip" };
                self.known.contains(&plain).then(|| plain.to_owned())
            });
            let host = self
                .field(roles[1], names[1])
                .map(|(path, _)| path)
                .or_else(|| (noun == "principal" && self.known.contains(&"host")).then(|| "host".to_owned()));
            let port = self.field(roles[2], names[2]);
            if ip.is_some() || host.is_some() || port.is_some() {
                self.line("");
                self.line(&format!("# The {noun}."));
            }
            if let Some(path) = ip {
                self.address(noun, names[0], &path, flag);
            }
            if let Some(path) = host {
                self.host(noun, names[0], names[1], &path, flag);
            }
            if let Some((path, _)) = port {
                let (path, flag) = (quoted(&path), format!("no_{}", names[2]));
                self.line(&format!("mutate {{ convert => {{ {path} => \"integer\" }} on_error => \"{flag}\" }}"));
                self.line(&format!("if ![{flag}] {{ mutate {{ rename => {{"));
                self.line(&format!("{path} => \"event.idm.read_only_udm.{noun}.port\" }} }} }}"));
            }
        }
    }

    fn address(&mut self, noun: &str, name: &'static str, path: &str, flag: &'static str) {
        self.know(&[name, flag]);
        let path = quoted(path);
        self.line(&format!("grok {{ match => {{ {path} => [\"^%{{IP:{name}}}$\"] }} overwrite => [\"{name}\"]"));
        self.line(&format!("on_error => \"no_{name}\" }}"));
        self.line(&format!("if ![no_{name}] {{ mutate {{"));
        self.line(&format!("merge => {{ \"event.idm.read_only_udm.{noun}.ip\" => \"{name}\" }}"));
        self.line(&format!("replace => {{ \"{flag}\" => \"true\" }} }} }}"));
    }

    /// A host, which some logs name by its address.
    fn host(&mut self, noun: &str, ip: &'static str, name: &'static str, path: &str, flag: &'static str) {
        self.know(&[ip, name, flag]);
        let value = quoted(&format!("%{{{path}}}"));
        self.line(&format!("mutate {{ replace => {{ \"{name}\" => {value} }} on_error => \"no_{name}\" }}"));
        self.line(&format!("if ![no_{name}] and [{name}] not in [\"\", \"-\"] {{"));
        self.line(&format!("grok {{ match => {{ \"{name}\" => [\"^%{{IP:{ip}}}$\"] }} overwrite => [\"{ip}\"]"));
        self.line(&format!("on_error => \"{name}_is_a_name\" }}"));
        self.line(&format!("if [{name}_is_a_name] {{ mutate {{"));
        self.line(&format!("replace => {{ \"event.idm.read_only_udm.{noun}.hostname\" => \"%{{{name}}}\" }} }} }}"));
        self.line(&format!("else {{ mutate {{ merge => {{ \"event.idm.read_only_udm.{noun}.ip\" => \"{ip}\" }} }} }}"));
        self.line(&format!("mutate {{ replace => {{ \"{flag}\" => \"true\" }} }} }}"));
    }

    fn user(&mut self) {
        let field = roles::find(Role::User, &self.shape.fields);
        let is_mail = field.is_some_and(|field| field.values.iter().all(|value| value.contains('@')));
        let path = match self.field(Role::User, "user") {
            Some((path, _)) => path,
            None if self.known.contains(&"user_name") => "user_name".to_owned(),
            None => return,
        };
        self.line("");
        self.line("# The user.");
        let to = if is_mail { "email_addresses" } else { "userid" };
        self.know(&["user"]);
        let value = quoted(&format!("%{{{path}}}"));
        self.line(&format!("mutate {{ replace => {{ \"user\" => {value} }} on_error => \"no_user\" }}"));
        self.line("if ![no_user] and [user] not in [\"\", \"-\"] { mutate {");
        if is_mail {
            self.line(&format!("merge => {{ \"event.idm.read_only_udm.principal.user.{to}\" => \"user\" }} }} }}"));
        } else {
            self.line(&format!(
                "replace => {{ \"event.idm.read_only_udm.principal.user.{to}\" => \"%{{user}}\" }} }} }}"
            ));
        }
    }

    /// Puts the text of a field somewhere, if there is one.
    fn put(&mut self, path: &str, is_text: bool, to: &str, flag: &str) {
        if !is_text {
            let path = quoted(path);
            self.line(&format!("mutate {{ convert => {{ {path} => \"string\" }} on_error => \"{flag}_is_a_text\" }}"));
        }
        let value = quoted(&format!("%{{{path}}}"));
        self.line(&format!("mutate {{ replace => {{ \"{to}\" => {value} }} on_error => \"no_{flag}\" }}"));
    }

    fn metadata(&mut self, log_type: &str) {
        let metadata = "event.idm.read_only_udm.metadata";
        self.line("");
        self.line("# What the log is and says.");
        let vendor = log_type.split(['_', ' ', '-']).next().unwrap_or(log_type);
        self.line(&format!("mutate {{ replace => {{ \"{metadata}.vendor_name\" => {}", quoted(vendor)));
        self.line(&format!("\"{metadata}.product_name\" => {} }} }}", quoted(log_type)));
        if matches!(self.shape.body, Body::Cef | Body::Leef { .. }) {
            self.line("if [vendor] != \"\" and [product] != \"\" { mutate { replace => {");
            self.line(&format!("\"{metadata}.vendor_name\" => \"%{{vendor}}\""));
            self.line(&format!("\"{metadata}.product_name\" => \"%{{product}}\""));
            self.line(&format!("\"{metadata}.product_version\" => \"%{{version}}\""));
            self.line(&format!("\"{metadata}.product_event_type\" => \"%{{event_class}}\" }} }} }}"));
        }
        let header_type = matches!(self.shape.body, Body::Cef | Body::Leef { .. });
        if !header_type && let Some((path, is_text)) = self.field(Role::EventType, "event_type") {
            self.put(&path, is_text, &format!("{metadata}.product_event_type"), "event_type");
        }
        if let Some((path, is_text)) = self.field(Role::LogId, "log_id") {
            self.put(&path, is_text, &format!("{metadata}.product_log_id"), "log_id");
        }
        match self.field(Role::Description, "description") {
            Some((path, is_text)) => self.put(&path, is_text, &format!("{metadata}.description"), "description"),
            None if self.shape.body == Body::Cef => {
                self.put("event_name", true, &format!("{metadata}.description"), "description");
            }
            None if self.shape.body == Body::Plain => {
                self.put(self.source(), true, &format!("{metadata}.description"), "description");
            }
            None => {}
        }
        if self.known.contains(&"application") {
            self.line("if [application] not in [\"\", \"-\"] { mutate { replace => {");
            self.line("\"event.idm.read_only_udm.principal.application\" => \"%{application}\" } } }");
        }
    }

    fn result(&mut self) {
        let action = self.field(Role::Action, "action");
        let severity = match self.shape.body {
            Body::Cef => Some(("severity".to_owned(), true)),
            _ => self.field(Role::Severity, "severity"),
        };
        if action.is_none() && severity.is_none() {
            return;
        }
        self.line("");
        self.line("# What came of it, in the product's own words. Set action and severity, too, where they are known.");
        self.know(&["security_result"]);
        if let Some((path, is_text)) = action {
            self.put(&path, is_text, "security_result.action_details", "action");
        }
        if let Some((path, is_text)) = severity {
            self.put(&path, is_text, "security_result.severity_details", "severity");
        }
        self.line("if [security_result] != \"\" { mutate {");
        self.line("merge => { \"event.idm.read_only_udm.security_result\" => \"security_result\" } } }");
    }

    fn event(&mut self) {
        self.line("");
        self.line(
            "# The type of the event decides which fields it has to have: a connection needs both machines, a status",
        );
        self.line("# one of them.");
        let set = |kind: &str| {
            format!("mutate {{ replace => {{ \"event.idm.read_only_udm.metadata.event_type\" => \"{kind}\" }} }}")
        };
        let flags = ["has_principal", "has_target"].map(|flag| self.known.contains(&flag));
        match flags {
            [true, true] => {
                self.line("if [has_principal] == \"true\" and [has_target] == \"true\" {");
                self.line(&set("NETWORK_CONNECTION"));
                self.line("} else if [has_principal] == \"true\" {");
                self.line(&set("STATUS_UPDATE"));
            }
            [true, false] => {
                self.line("if [has_principal] == \"true\" {");
                self.line(&set("STATUS_UPDATE"));
            }
            // A status is that of the principal.
            [false, _] => {}
        }
        if flags[0] {
            self.line("} else {");
            self.line(&set("GENERIC_EVENT"));
            self.line("}");
        } else {
            self.line(&set("GENERIC_EVENT"));
        }
        self.line("");
        self.line("mutate { merge => { \"@output\" => \"event\" } }");
    }

    fn others(&mut self) {
        let named = std::mem::take(&mut self.named);
        let others: Vec<String> = self
            .shape
            .fields
            .iter()
            .filter(|field| !named.contains(field))
            .take(OTHERS_MAX)
            .map(|field| field.path.join("."))
            .collect();
        if others.is_empty() {
            return;
        }
        self.line("");
        self.line("# Not mapped yet:");
        for row in others.chunks(5) {
            self.line(&format!("# {}", row.join(", ")));
        }
    }
}

/// A text as a program writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}
