//! Which field of a log is what: the time, the machines, the user. By what fields are called in the logs of this world,
//! and by whether they hold what such a field holds.

use std::net::IpAddr;

use super::shape::Field;
use crate::plugins::date_format::Format;

/// What a field can be for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    PrincipalIp,
    PrincipalHost,
    PrincipalPort,
    TargetIp,
    TargetHost,
    TargetPort,
    User,
    Description,
    EventType,
    LogId,
    Action,
    Severity,
}

/// Names of fields, best first, in lower case and letters and digits only: of the last step, or of the last two together.
const NAMES: &[(Role, &[&str])] = &[
    (
        Role::Time,
        &[
            "eventtime",
            "timestamp",
            "datetime",
            "eventtimestamp",
            "time",
            "published",
            "createdat",
            "created",
            "rt",
            "devtime",
            "eventdate",
            "creationtime",
            "createdtime",
            "timegenerated",
            "timecreatedsystemtime",
            "generatedtime",
            "start",
            "starttime",
            "ts",
            "date",
            "logtime",
            "occurredat",
            "receivedat",
            "end",
        ],
    ),
    (
        Role::PrincipalIp,
        &[
            "srcip",
            "sourceip",
            "src",
            "sourceipaddress",
            "srcaddr",
            "sourceaddress",
            "clientip",
            "clientipaddress",
            "clientaddress",
            "remoteip",
            "remoteaddr",
            "remoteaddress",
            "callerip",
            "calleripaddress",
            "ipaddress",
            "userip",
            "hostip",
            "deviceip",
            "localip",
            "ipaddr",
            "ip",
            "saddr",
            "idorigh",
            "client",
            "source",
        ],
    ),
    (
        Role::TargetIp,
        &[
            "dstip",
            "destip",
            "destinationip",
            "targetip",
            "dst",
            "dest",
            "destinationipaddress",
            "destinationaddress",
            "dstaddr",
            "destaddr",
            "serverip",
            "serveraddress",
            "daddr",
            "idresph",
            "destination",
            "server",
        ],
    ),
    (
        Role::PrincipalHost,
        &[
            "shost",
            "srchost",
            "srchostname",
            "sourcehost",
            "sourcehostname",
            "srcname",
            "hostname",
            "computername",
            "computer",
            "host",
            "devicename",
            "machinename",
            "workstationname",
            "clienthostname",
            "devname",
            "agenthostname",
            "agentname",
            "dvchost",
            "identhostname",
            "node",
            "machine",
            "device",
        ],
    ),
    (
        Role::TargetHost,
        &[
            "dhost",
            "dsthost",
            "dsthostname",
            "desthost",
            "desthostname",
            "destinationhost",
            "destinationhostname",
            "targethost",
            "targethostname",
            "servername",
            "serverhostname",
            "dstname",
            "domain",
        ],
    ),
    (Role::PrincipalPort, &["spt", "srcport", "sourceport", "clientport", "sport", "remoteport", "idorigp"]),
    (
        Role::TargetPort,
        &["dpt", "dstport", "destport", "destinationport", "serverport", "dport", "targetport", "idrespp"],
    ),
    (
        Role::User,
        &[
            "username",
            "user",
            "suser",
            "userid",
            "usrname",
            "srcuser",
            "useremail",
            "accountname",
            "subjectusername",
            "targetusername",
            "loginname",
            "login",
            "actoralternateid",
            "actoremail",
            "actorname",
            "actor",
            "account",
            "email",
            "useridentityusername",
            "principalid",
            "uid",
            "duser",
            "dstuser",
        ],
    ),
    (
        Role::Description,
        &["message", "msg", "description", "displaymessage", "summary", "details", "detail", "reason", "text", "desc"],
    ),
    (
        Role::EventType,
        &[
            "eventtype",
            "eventname",
            "eventid",
            "eventcode",
            "logid",
            "type",
            "operation",
            "activity",
            "category",
            "cat",
            "event",
            "name",
            "subtype",
            "kind",
        ],
    ),
    (Role::LogId, &["uuid", "eventuuid", "id", "guid", "recordid", "eventrecordid", "messageid", "requestid", "logid"]),
    (Role::Action, &["action", "act", "eventaction", "outcome", "result", "status", "outcomeresult", "disposition"]),
    (Role::Severity, &["severity", "sev", "level", "priority", "risk", "risklevel", "threatlevel"]),
];

/// Formats of dates, tried in this order.
const FORMATS: &[&str] = &[
    "ISO8601",
    "RFC3339",
    "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd HH:mm:ss.SSS",
    "yyyy-MM-dd HH:mm:ss,SSS",
    "yyyy-MM-dd HH:mm:ss Z",
    "yyyy/MM/dd HH:mm:ss",
    "MMM d HH:mm:ss",
    "MMM d yyyy HH:mm:ss",
    "MMM d, yyyy HH:mm:ss",
    "dd/MMM/yyyy:HH:mm:ss Z",
    "EEE MMM d HH:mm:ss yyyy",
    "EEE, d MMM yyyy HH:mm:ss Z",
    "MM/dd/yyyy HH:mm:ss",
    "MM/dd/yyyy hh:mm:ss a",
    "dd/MM/yyyy HH:mm:ss",
    "dd.MM.yyyy HH:mm:ss",
    "dd-MM-yyyy HH:mm:ss",
    "dd MMM yyyy HH:mm:ss",
    "yyyy-MM-dd",
    "yyyy/MM/dd",
];

/// The field that plays a role best, if one does.
pub(super) fn find(role: Role, fields: &[Field]) -> Option<&Field> {
    let (_, names) = NAMES.iter().find(|(of, _)| *of == role)?;
    let plays = fields.iter().filter(|field| fits(role, field));
    let ranked = plays.filter_map(|field| {
        let rank = names.iter().position(|name| is_called(field, name))?;
        Some((rank, field.name.len(), field))
    });
    if let Some((.., field)) = ranked.min_by_key(|(rank, depth, _)| (*rank, *depth)) {
        return Some(field);
    }
    // Columns have no names; of what they hold, times and addresses speak for themselves.
    let nameless: Vec<&Field> = fields.iter().filter(|field| is_column(field)).collect();
    let mut fitting = nameless.into_iter().filter(|field| fits(role, field));
    match role {
        Role::Time => fitting.next().or_else(|| {
            let is_time = |field: &&Field| {
                let name = field.name.last().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
                (name.contains("time") || name.contains("date")) && fits(role, field)
            };
            fields.iter().find(is_time)
        }),
        Role::PrincipalIp => fitting.next(),
        Role::TargetIp => fitting.nth(1),
        _ => None,
    }
}

fn is_column(field: &Field) -> bool {
    matches!(&field.name[..], [name] if name.strip_prefix("column").is_some_and(|rest| rest.parse::<u32>().is_ok()))
}

fn is_called(field: &Field, name: &str) -> bool {
    let plain = |steps: &[String]| -> String {
        steps.concat().chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let steps = field.name.len();
    (1..=2.min(steps)).any(|last| plain(&field.name[steps - last..]) == name)
}

/// Whether a field holds what a role asks for.
fn fits(role: Role, field: &Field) -> bool {
    let mut values = field.values.iter().filter(|value| !matches!(value.as_str(), "" | "-")).peekable();
    if values.peek().is_none() {
        return false;
    }
    let is_ip = |value: &String| value.parse::<IpAddr>().is_ok();
    match role {
        Role::Time => format(&field.values).is_some(),
        Role::PrincipalIp | Role::TargetIp => field.is_text && values.all(is_ip),
        Role::PrincipalHost | Role::TargetHost => {
            let is_host = |value: &String| {
                !is_ip(value)
                    && value.len() <= 255
                    && value.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
            };
            field.is_text && values.all(is_host)
        }
        Role::PrincipalPort | Role::TargetPort => values.all(|value| value.parse::<u16>().is_ok()),
        Role::User => field.is_text && values.all(|value| value.len() <= 128 && !is_ip(value)),
        Role::LogId | Role::EventType | Role::Action | Role::Severity => values.all(|value| value.len() <= 128),
        Role::Description => field.is_text,
    }
}

/// The format of date that all values have.
pub(super) fn format(values: &[String]) -> Option<&'static str> {
    let values: Vec<&str> = values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
    if values.is_empty() {
        return None;
    }
    // Numbers: by their size, seconds until the year 2286.
    if values.iter().all(|value| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')) {
        let whole = |value: &&str| value.split('.').next().map_or(0, str::len);
        return match (values.iter().map(whole).min()?, values.iter().map(whole).max()?) {
            (9.., ..=10) => Some("UNIX"),
            (12.., ..=13) => Some("UNIX_MS"),
            _ => None,
        };
    }
    FORMATS.iter().copied().find(|format| {
        Format::new(format).is_some_and(|format| values.iter().all(|value| format.read(value).is_some()))
    })
}
