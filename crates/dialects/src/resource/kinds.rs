//! The kinds of resource and the fields that each has, from Google's public descriptions of `Forwarder`, `Collector`,
//! `Feed` and `ReferenceList` (contracts/chronicle.md §1.4, §5). Of feeds only the one kind that pushes: we fetch from nowhere.

use event::limits;
use serde_json::Value;

use super::form::{Field, Form, LABELS, field, output, renamed};
use super::look;
use crate::Violation;

/// A kind of resource, and what it stands below where that is not the instance itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A forwarder.
    Forwarder,
    /// A collector of a forwarder.
    Collector {
        /// The forwarder's id.
        forwarder: String,
    },
    /// A feed.
    Feed,
    /// A reference list. Its id is the name that its maker gave it.
    ReferenceList,
}

impl ResourceKind {
    /// What one is called in a sentence, and the kind of its document.
    pub const fn noun(&self) -> &'static str {
        match self {
            ResourceKind::Forwarder => "forwarder",
            ResourceKind::Collector { .. } => "collector",
            ResourceKind::Feed => "feed",
            ResourceKind::ReferenceList => "list",
        }
    }

    /// What many are called: the segment of their path and the key of a list.
    pub const fn plural(&self) -> &'static str {
        match self {
            ResourceKind::Forwarder => "forwarders",
            ResourceKind::Collector { .. } => "collectors",
            ResourceKind::Feed => "feeds",
            ResourceKind::ReferenceList => "lists",
        }
    }

    pub(super) fn fields(&self) -> &'static [Field] {
        match self {
            ResourceKind::Forwarder => FORWARDER,
            ResourceKind::Collector { .. } => COLLECTOR,
            ResourceKind::Feed => FEED,
            ResourceKind::ReferenceList => REFERENCE_LIST,
        }
    }

    /// Most of them that there are below one parent.
    pub const fn count_max(&self) -> usize {
        match self {
            ResourceKind::ReferenceList => limits::REFERENCE_LISTS_MAX,
            _ => limits::RESOURCES_MAX,
        }
    }

    /// The first thing that a whole resource lacks.
    pub(super) fn fault(&self, body: &Value) -> Option<Violation> {
        let missing = |path: &[&str]| {
            let text = look(body, path).and_then(Value::as_str).unwrap_or_default();
            text.trim().is_empty().then(|| violation(&path.join("."), "missing"))
        };
        let filters = |path: &[&str]| {
            let filters = look(body, path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if filters.len() > limits::FILTERS_MAX {
                let description = format!("{} filters, more than the {} allowed", filters.len(), limits::FILTERS_MAX);
                return Some(violation(&path.join("."), &description));
            }
            filters.iter().enumerate().find_map(|(index, filter)| {
                let lacks = ["regexp", "behavior"].into_iter().find(|name| filter.get(name).is_none())?;
                Some(violation(&format!("{}[{index}].{lacks}", path.join(".")), "missing"))
            })
        };
        match self {
            ResourceKind::Forwarder => missing(&["displayName"]).or_else(|| filters(&["config", "regexFilters"])),
            ResourceKind::Collector { .. } => {
                let settings = look(body, &["config"]).and_then(Value::as_object).into_iter().flat_map(|config| {
                    config.keys().filter(|name| SETTINGS.contains(&name.as_str())).cloned().collect::<Vec<_>>()
                });
                let settings: Vec<String> = settings.collect();
                let twice = || {
                    let [first, second, ..] = settings.as_slice() else { return None };
                    Some(violation(
                        &format!("config.{second}"),
                        &format!("config.{first} is set, too; send one of them"),
                    ))
                };
                missing(&["displayName"])
                    .or_else(|| missing(&["config", "logType"]))
                    .or_else(|| filters(&["config", "regexFilters"]))
                    .or_else(twice)
            }
            ResourceKind::ReferenceList => fault_of_lines(body),
            ResourceKind::Feed => missing(&["displayName"])
                .or_else(|| missing(&["details", "feedSourceType"]))
                .or_else(|| missing(&["details", "logType"])),
        }
    }
}

/// A line is what a value is compared with, so it is one line; those of a list of networks are networks. Expressions
/// are kept as they are: nothing here runs them.
fn fault_of_lines(body: &Value) -> Option<Violation> {
    let Some(lines) = body.get("lines").and_then(Value::as_array) else { return Some(violation("lines", "missing")) };
    let of_networks = body.get("contentType").is_some_and(|content_type| content_type == CIDR);
    lines.iter().enumerate().find_map(|(index, line)| {
        let line = line.as_str().unwrap_or_default();
        let description = if line.contains(['\n', '\r', '\0']) {
            "holds a line feed"
        } else if of_networks && !is_network(line) {
            "is no network such as 10.0.0.0/8"
        } else {
            return None;
        };
        Some(violation(&format!("lines[{index}]"), description))
    })
}

/// An address and how many of its bits count.
fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(address) if address.is_ipv4() => 32,
        Ok(_) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn violation(field: &str, description: &str) -> Violation {
    Violation { field: field.to_owned(), description: description.to_owned() }
}

/// The one kind of feed that is served: a sender pushes to it.
pub(crate) const WEBHOOK: &str = "HTTPS_PUSH_WEBHOOK";

const FORWARDER: &[Field] = &[
    output("name"),
    output("state"),
    output("createTime"),
    output("updateTime"),
    field("displayName", Form::Text),
    field(
        "config",
        Form::Message(&[
            field("uploadCompression", Form::Flag),
            field("metadata", METADATA),
            field("regexFilters", FILTERS),
            field("serverSettings", Form::Message(SERVER)),
        ]),
    ),
];

const METADATA: Form = Form::Message(&[field("assetNamespace", Form::Text), field(LABELS, Form::Labels)]);

const FILTERS: Form = Form::Messages(&[
    field("description", Form::Text),
    field("regexp", Form::Regex),
    field("behavior", Form::Choice(&["ALLOW", "BLOCK"])),
]);

const SERVER: &[Field] = &[
    // The older API says what state the settings are in.
    field("state", Form::Choice(&["ACTIVE", "SUSPENDED"])),
    field("enabled", Form::Flag),
    field("gracefulTimeout", Form::Duration),
    field("drainTimeout", Form::Duration),
    field(
        "httpSettings",
        Form::Message(&[
            field("port", PORT),
            field("host", Form::Text),
            field("readTimeout", Form::Duration),
            field("readHeaderTimeout", Form::Duration),
            field("writeTimeout", Form::Duration),
            field("idleTimeout", Form::Duration),
            field(
                "routeSettings",
                Form::Message(&[
                    field("availableStatusCode", STATUS),
                    field("readyStatusCode", STATUS),
                    field("unreadyStatusCode", STATUS),
                ]),
            ),
        ]),
    ),
];

const PORT: Form = Form::Int(0, 65_535);
const STATUS: Form = Form::Int(0, 599);

/// Of these a collector has at most one.
const SETTINGS: [&str; 6] =
    ["fileSettings", "kafkaSettings", "pcapSettings", "splunkSettings", "syslogSettings", "webproxySettings"];

const COLLECTOR: &[Field] = &[
    output("name"),
    output("state"),
    output("type"),
    output("createTime"),
    output("updateTime"),
    field("displayName", Form::Text),
    field("overrideTimezone", Form::Flag),
    field("timeZone", Form::Text),
    field(
        "config",
        Form::Message(&[
            field("logType", Form::LogType),
            field("metadata", METADATA),
            field("regexFilters", FILTERS),
            field(
                "diskBuffer",
                Form::Message(&[
                    field("state", Form::Choice(&["ACTIVE", "SUSPENDED"])),
                    field("enabled", Form::Flag),
                    field("directoryPath", Form::Text),
                    field("maxFileBufferBytes", Form::Long),
                ]),
            ),
            field("maxSecondsPerBatch", Form::Int(0, 86_400)),
            field("maxBytesPerBatch", Form::Long),
            field("fileSettings", Form::Message(&[field("filePath", Form::Text)])),
            field(
                "kafkaSettings",
                Form::Message(&[
                    field("authentication", Form::Message(LOGIN)),
                    field("topic", Form::Text),
                    field("groupId", Form::Text),
                    field("timeout", Form::Duration),
                    field("brokers", Form::Texts),
                    field("tlsSettings", Form::Message(TLS)),
                ]),
            ),
            field("pcapSettings", Form::Message(CAPTURE)),
            field(
                "splunkSettings",
                Form::Message(&[
                    field("authentication", Form::Message(LOGIN)),
                    field("host", Form::Text),
                    field("port", PORT),
                    field("minimumWindowSize", Form::Duration),
                    field("maximumWindowSize", Form::Duration),
                    field("queryString", Form::Text),
                    field("queryMode", Form::Text),
                    field("certIgnored", Form::Flag),
                ]),
            ),
            field(
                "syslogSettings",
                Form::Message(&[
                    field("protocol", Form::Choice(&["TCP", "UDP"])),
                    field("address", Form::Text),
                    field("port", PORT),
                    field("bufferSize", Form::Long),
                    field("connectionTimeout", Form::Duration),
                    field("tlsSettings", Form::Message(TLS)),
                ]),
            ),
            field("webproxySettings", Form::Message(CAPTURE)),
        ]),
    ),
];

const LOGIN: &[Field] = &[field("username", Form::Text), field("password", Form::Text)];

const TLS: &[Field] = &[
    field("certificate", Form::Text),
    field("certificateKey", Form::Text),
    field("minimumTlsVersion", Form::Text),
    field("insecureSkipVerification", Form::Flag),
];

const CAPTURE: &[Field] = &[field("networkInterface", Form::Text), field("berkeleyPacketFilter", Form::Text)];

const FEED: &[Field] = &[
    output("name"),
    output("uid"),
    output("state"),
    output("failureMsg"),
    output("failureDetails"),
    output("readOnly"),
    output("lastFeedInitiationTime"),
    field("displayName", Form::Text),
    field(
        "details",
        Form::Message(&[
            field("feedSourceType", Form::Choice(&[WEBHOOK])),
            field("logType", Form::LogType),
            renamed("assetNamespace", "namespace", Form::Text),
            field(LABELS, Form::Labels),
            field("httpsPushWebhookSettings", Form::Message(&[field("splitDelimiter", Form::Text)])),
        ]),
    ),
];

/// The content of a list that is not told.
pub(crate) const TEXTS: &str = "CONTENT_TYPE_DEFAULT_STRING";
const CIDR: &str = "CIDR";

const REFERENCE_LIST: &[Field] = &[
    output("name"),
    output("createTime"),
    field("description", Form::Text),
    field("lines", Form::Texts),
    field("contentType", Form::Choice(&[TEXTS, "REGEX", CIDR])),
];
