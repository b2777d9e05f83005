//! What Google's engine asks of an event of a type before it takes it: the last step of a log that was parsed.
//!
//! The required fields are those of Google's usage guide (contracts/chronicle.md §4.2) without what its own engine is
//! seen to do without (a user that logs in on no named target user, a resource of `USER_RESOURCE_ACCESS`, the protocols of
//! `NETWORK_HTTP`, the network of `NETWORK_CONNECTION`). What the guide recommends beyond is told by [`udm::Schema::check`]
//! to whoever stores the record.

use std::net::IpAddr;

use udm::Root;

use super::Issue;
use super::proto::clip;
use super::tree::{Node, Object};

/// Calls `complain` for each rule that a record breaks, until it says to stop. Comes after mirroring, so what an asset
/// says of a machine stands in its noun too.
pub(super) fn validate(root: Root, record: &Object<'_>, complain: &mut dyn FnMut(Issue) -> bool) {
    let (type_key, rules) = match root {
        Root::Event => ("eventType", EVENTS),
        Root::Entity => ("entityType", ENTITIES),
    };
    let mut going = true;
    let mut say = |field: String, message: String| {
        going && {
            going = complain(Issue { field, message });
            going
        }
    };
    let Some(Node::Text(type_name)) = record.at(&["metadata", type_key]) else {
        say(format!("metadata.{}", snake(type_key)), format!("metadata.{} field is not set", snake(type_key)));
        return;
    };
    let row = rules.iter().find(|(names, _)| {
        names.iter().any(|name| if name.ends_with('_') { type_name.starts_with(name) } else { type_name == name })
    });
    for need in row.map_or(&[] as &[Need], |(_, needs)| needs) {
        if let Some((field, message)) = need.missing(record)
            && !say(field, message)
        {
            return;
        }
    }
    for key in ["principal", "target", "src", "observer", "intermediary", "about", "entity"] {
        match record.get(key) {
            Some(Node::Object(noun)) => addresses(key, noun, &mut say),
            Some(Node::List(nouns)) => {
                for noun in nouns.iter() {
                    if let Node::Object(noun) = noun {
                        addresses(key, noun, &mut say);
                    }
                }
            }
            _ => {}
        }
    }
}

fn addresses(name: &str, noun: &Object<'_>, say: &mut dyn FnMut(String, String) -> bool) {
    for (key, list_name) in [("ip", "ip"), ("natIp", "nat_ip")] {
        let Some(Node::List(list)) = noun.get(key) else { continue };
        for (index, node) in list.iter().enumerate() {
            if let Node::Text(text) = node
                && text.parse::<IpAddr>().is_err()
                && !say(
                    format!("{name}.{list_name}[{index}]"),
                    format!("field backstory.Noun.{list_name}[{index}] {:?} does not match type IP", clip(text)),
                )
            {
                return;
            }
        }
    }
}

/// Something that must be there.
enum Need {
    /// A field, by its keys in JSON.
    Field(&'static [&'static str]),
    /// One of several fields; the first one is named where none is there.
    Any(&'static [&'static [&'static str]]),
    /// A noun that tells its machine: by address, host name or asset id. With what Google's engine calls it.
    Machine(&'static str, &'static str),
}

impl Need {
    /// The field that is missing and what to say of it.
    fn missing(&self, record: &Object<'_>) -> Option<(String, String)> {
        let path = match self {
            Need::Field(path) if record.at(path).is_none() => path,
            Need::Any(paths) if paths.iter().all(|path| record.at(path).is_none()) => paths.first()?,
            Need::Machine(noun, device) => {
                let Some(object) = record.object(noun) else {
                    return Some(((*noun).to_owned(), format!("{noun} field is not set")));
                };
                let named = ["ip", "hostname", "mac", "assetId"].iter().any(|key| object.get(key).is_some())
                    || object.at(&["asset", "productObjectId"]).is_some();
                return (!named).then(|| ((*noun).to_owned(), format!("invalid {device} device: device is empty")));
            }
            _ => return None,
        };
        // The outermost field that is not set says most.
        let set = (1..path.len()).take_while(|length| record.at(&path[..*length]).is_some()).count();
        let name = path[..=set].iter().map(|key| snake(key)).collect::<Vec<_>>().join(".");
        let message = format!("{name} field is not set");
        Some((name, message))
    }
}

/// A key of JSON as the schema writes it.
fn snake(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

const PRINCIPAL_MACHINE: Need = Need::Machine("principal", "client");
const TARGET_MACHINE: Need = Need::Machine("target", "target");
const PRINCIPAL_USER: Need = Need::Field(&["principal", "user"]);
const PRINCIPAL_PROCESS: Need = Need::Field(&["principal", "process"]);
const TARGET: Need = Need::Field(&["target"]);
const TARGET_USER: Need = Need::Field(&["target", "user"]);
const TARGET_RESOURCE: Need = Need::Field(&["target", "resource"]);
const AUTH: Need = Need::Field(&["extensions", "auth"]);

type Rules = &'static [(&'static [&'static str], &'static [Need])];

/// Event types, or beginnings of such (`PROCESS_`), with what they need. The first row that fits counts.
const EVENTS: Rules = &[
    (&["USER_LOGIN", "USER_LOGOUT"], &[TARGET, AUTH]),
    (&["USER_CREATION", "USER_DELETION", "USER_CHANGE_PASSWORD", "USER_CHANGE_PERMISSIONS"], &[TARGET_USER]),
    (&["USER_COMMUNICATION"], &[PRINCIPAL_USER]),
    (&["USER_RESOURCE_"], &[PRINCIPAL_USER, TARGET]),
    (&["NETWORK_CONNECTION"], &[PRINCIPAL_MACHINE, TARGET_MACHINE]),
    (&["NETWORK_HTTP"], &[TARGET_MACHINE, Need::Field(&["network"])]),
    (&["PROCESS_MODULE_LOAD"], &[PRINCIPAL_MACHINE, PRINCIPAL_PROCESS, Need::Field(&["target", "process", "file"])]),
    (&["PROCESS_PRIVILEGE_ESCALATION"], &[PRINCIPAL_MACHINE, PRINCIPAL_PROCESS, PRINCIPAL_USER]),
    (&["PROCESS_"], &[PRINCIPAL_MACHINE, Need::Field(&["target", "process"])]),
    (&["FILE_COPY"], &[PRINCIPAL_MACHINE, Need::Field(&["src", "file"]), Need::Field(&["target", "file"])]),
    (&["FILE_"], &[PRINCIPAL_MACHINE, Need::Field(&["target", "file"])]),
    (&["REGISTRY_"], &[PRINCIPAL_MACHINE, Need::Field(&["target", "registry", "registryKey"])]),
    (&["MUTEX_CREATION"], &[PRINCIPAL_MACHINE, PRINCIPAL_PROCESS, TARGET_RESOURCE]),
    (&["SCHEDULED_TASK_"], &[PRINCIPAL_MACHINE, PRINCIPAL_USER, TARGET_RESOURCE]),
    (&["SETTING_"], &[PRINCIPAL_MACHINE, TARGET_RESOURCE]),
    (&["SERVICE_"], &[PRINCIPAL_MACHINE, Need::Any(&[&["target", "application"], &["target", "process"]])]),
    (&["STATUS_"], &[PRINCIPAL_MACHINE]),
    (&["SYSTEM_AUDIT_LOG_"], &[PRINCIPAL_MACHINE, PRINCIPAL_USER]),
    // The guide's own example of a vulnerability names the machine as principal.
    (&["SCAN_VULN_"], &[Need::Field(&["extensions", "vulns"])]),
    (&["SCAN_"], &[TARGET]),
    (&["EMAIL_TRANSACTION"], &[PRINCIPAL_MACHINE, Need::Field(&["network", "email"])]),
];

/// Entity types with what they need.
const ENTITIES: Rules = &[
    (&["CIDR_BLOCK"], &[Need::Field(&["entity", "network", "ipSubnetRange"])]),
    (&["DOMAIN_NAME"], &[Need::Any(&[&["entity", "hostname"], &["entity", "domain", "name"]])]),
    (&["FILE"], &[Need::Field(&["entity", "file"])]),
    (&["IP_ADDRESS"], &[Need::Field(&["entity", "ip"])]),
    (&["MUTEX", "RESOURCE"], &[Need::Field(&["entity", "resource"])]),
    (&["URL"], &[Need::Field(&["entity", "url"])]),
    // The guide asks for an address of mail as well, which the samples of Google's own clients do not have.
    (&["USER"], &[Need::Field(&["entity", "user"])]),
];
