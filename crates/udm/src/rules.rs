//! What the schema does not say but Google's guide does: which fields an event type needs, how long some texts may be,
//! and which fields a grouped name stands for (contracts/chronicle.md §4.2, contracts/cbn.md §4.2). All of it is
//! tables; a check only collects which of the named fields it met.

use crate::path::Step;
use crate::schema::{Track, Tracks};
use crate::{FieldPath, Root, Schema};

/// The grouped names and their fields.
pub(crate) const GROUPED: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "about.administrative_domain",
            "principal.administrative_domain",
            "target.administrative_domain",
            "about.asset.network_domain",
            "principal.asset.network_domain",
            "target.asset.network_domain",
            "target.asset.hostname",
            "target.hostname",
            "network.dns.questions.name",
            "network.dns_domain",
        ],
    ),
    (
        "email",
        &[
            "intermediary.user.email_addresses",
            "principal.user.email_addresses",
            "target.user.email_addresses",
            "security_result.about.user.email_addresses",
            "network.email.from",
            "network.email.to",
        ],
    ),
    (
        "file_path",
        &[
            "principal.file.full_path",
            "principal.process.file.full_path",
            "principal.process.parent_process.file.full_path",
            "target.file.full_path",
            "target.process.file.full_path",
            "target.process.parent_process.file.full_path",
        ],
    ),
    (
        "hash",
        &[
            "about.file.md5",
            "about.file.sha1",
            "about.file.sha256",
            "principal.process.file.md5",
            "principal.process.file.sha1",
            "principal.process.file.sha256",
            "target.file.md5",
            "target.file.sha1",
            "target.file.sha256",
            "target.process.file.md5",
            "target.process.file.sha1",
            "target.process.file.sha256",
            "security_result.about.file.sha256",
        ],
    ),
    (
        "hostname",
        &[
            "intermediary.hostname",
            "observer.hostname",
            "principal.hostname",
            "principal.asset.hostname",
            "src.hostname",
            "src.asset.hostname",
            "target.hostname",
            "target.asset.hostname",
        ],
    ),
    (
        "ip",
        &[
            "intermediary.ip",
            "observer.ip",
            "principal.ip",
            "principal.asset.ip",
            "principal.artifact.ip",
            "src.ip",
            "src.asset.ip",
            "src.artifact.ip",
            "target.ip",
            "target.asset.ip",
            "target.artifact.ip",
        ],
    ),
    ("namespace", &["principal.namespace", "src.namespace", "target.namespace"]),
    (
        "process_id",
        &[
            "principal.process.pid",
            "principal.process.product_specific_process_id",
            "principal.process.parent_process.pid",
            "principal.process.parent_process.product_specific_process_id",
            "target.process.pid",
            "target.process.product_specific_process_id",
            "target.process.parent_process.pid",
            "target.process.parent_process.product_specific_process_id",
        ],
    ),
    (
        "user",
        &[
            "about.user.userid",
            "observer.user.userid",
            "principal.user.userid",
            "src.user.userid",
            "target.user.userid",
            "principal.user.user_display_name",
            "target.user.user_display_name",
            "principal.user.windows_sid",
            "target.user.windows_sid",
        ],
    ),
];

/// What a check collects about one record.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// Which marks were met.
    pub(crate) marks: u64,
    /// How many values of `principal.ip`, `principal.mac`, `target.ip`, `target.mac`.
    pub(crate) addresses: [u8; 4],
}

/// Marks that a check acts on at once.
pub(crate) const EVENT_TIME: u64 = 1 << 0;
pub(crate) const CREATED: u64 = 1 << 1;
pub(crate) const STARTED: u64 = 1 << 2;
pub(crate) const TYPE: u64 = 1 << 3;
/// The four counted addresses: `1 << (ADDRESS_SHIFT + index)`.
pub(crate) const ADDRESS_SHIFT: u32 = 4;
pub(crate) const ADDRESSES: u64 = 0b1111 << ADDRESS_SHIFT;

const P_MACHINE: u64 = 1 << 8;
const T_MACHINE: u64 = 1 << 9;
const P_USER: u64 = 1 << 10;
const T_USER: u64 = 1 << 11;
const P_PROCESS: u64 = 1 << 12;
const T_PROCESS: u64 = 1 << 13;
const T_PROCESS_FILE: u64 = 1 << 14;
const SRC_FILE: u64 = 1 << 15;
const T_FILE: u64 = 1 << 16;
const T_REGISTRY: u64 = 1 << 17;
const T_RESOURCE: u64 = 1 << 18;
const T_URL: u64 = 1 << 19;
const T_APPLICATION: u64 = 1 << 20;
const AUTH: u64 = 1 << 21;
const NETWORK: u64 = 1 << 22;
const IP_PROTOCOL: u64 = 1 << 23;
const APPLICATION_PROTOCOL: u64 = 1 << 24;
const EMAIL: u64 = 1 << 25;
const P_EMAIL: u64 = 1 << 26;
const T_EMAIL: u64 = 1 << 27;
const P_PORT: u64 = 1 << 28;
const T_PORT: u64 = 1 << 29;

const EVENT_MARKS: &[(u64, &[&str])] = &[
    (EVENT_TIME, &["metadata.event_timestamp"]),
    (TYPE, &["metadata.event_type"]),
    (1 << ADDRESS_SHIFT, &["principal.ip"]),
    (2 << ADDRESS_SHIFT, &["principal.mac"]),
    (4 << ADDRESS_SHIFT, &["target.ip"]),
    (8 << ADDRESS_SHIFT, &["target.mac"]),
    (
        P_MACHINE,
        &[
            "principal.ip",
            "principal.mac",
            "principal.hostname",
            "principal.asset_id",
            "principal.asset.ip",
            "principal.asset.mac",
            "principal.asset.hostname",
            "principal.asset.asset_id",
        ],
    ),
    (
        T_MACHINE,
        &[
            "target.ip",
            "target.mac",
            "target.hostname",
            "target.asset_id",
            "target.asset.ip",
            "target.asset.mac",
            "target.asset.hostname",
            "target.asset.asset_id",
        ],
    ),
    (P_USER, &["principal.user"]),
    (T_USER, &["target.user"]),
    (P_PROCESS, &["principal.process"]),
    (T_PROCESS, &["target.process"]),
    (T_PROCESS_FILE, &["target.process.file"]),
    (SRC_FILE, &["src.file"]),
    (T_FILE, &["target.file"]),
    (T_REGISTRY, &["target.registry.registry_key"]),
    (T_RESOURCE, &["target.resource"]),
    (T_URL, &["target.url"]),
    (T_APPLICATION, &["target.application"]),
    (AUTH, &["extensions.auth"]),
    (NETWORK, &["network"]),
    (IP_PROTOCOL, &["network.ip_protocol"]),
    (APPLICATION_PROTOCOL, &["network.application_protocol"]),
    (EMAIL, &["network.email"]),
    (P_EMAIL, &["principal.email"]),
    (T_EMAIL, &["target.email"]),
    (P_PORT, &["principal.port"]),
    (T_PORT, &["target.port"]),
];

const E_HOSTNAME: u64 = 1 << 8;
const E_FILE: u64 = 1 << 9;
const E_IP: u64 = 1 << 10;
const E_RESOURCE: u64 = 1 << 11;
const E_URL: u64 = 1 << 12;
const E_USER: u64 = 1 << 13;
const E_EMAIL: u64 = 1 << 14;
const E_RANGE: u64 = 1 << 15;

const ENTITY_MARKS: &[(u64, &[&str])] = &[
    (EVENT_TIME, &["metadata.collected_timestamp"]),
    (CREATED, &["metadata.creation_timestamp"]),
    (STARTED, &["metadata.interval.start_time"]),
    (TYPE, &["metadata.entity_type"]),
    (E_HOSTNAME, &["entity.hostname", "entity.domain"]),
    (E_FILE, &["entity.file"]),
    (E_IP, &["entity.ip"]),
    (E_RESOURCE, &["entity.resource"]),
    (E_URL, &["entity.url"]),
    (E_USER, &["entity.user"]),
    (E_EMAIL, &["entity.user.email_addresses"]),
    (E_RANGE, &["entity.network.ip_subnet_range"]),
];

const BYTES_MAX: &[(&str, u16)] = &[
    ("metadata.description", 1024),
    ("metadata.product_event_type", 64),
    ("metadata.product_log_id", 256),
    ("metadata.product_name", 256),
    ("metadata.vendor_name", 256),
    ("metadata.product_version", 32),
];

/// One need of an event type: any of these marks, or the field is named as missing.
type Need = (u64, &'static str);

const P_MACHINE_NEED: Need = (P_MACHINE, "principal needs an ip, mac, hostname or asset_id");
const T_MACHINE_NEED: Need = (T_MACHINE, "target needs an ip, mac, hostname or asset_id");
const P_USER_NEED: Need = (P_USER, "principal.user is missing");
const T_USER_NEED: Need = (T_USER, "target.user is missing");
const T_RESOURCE_NEED: Need = (T_RESOURCE, "target.resource is missing");
const P_PROCESS_NEED: Need = (P_PROCESS, "principal.process is missing");

/// Needs by event type; a name that ends in `_` is a prefix. The first row that fits is the one that counts.
const EVENT_NEEDS: &[(&str, &[Need])] = &[
    ("USER_LOGIN", &[T_USER_NEED, (AUTH, "extensions.auth is missing")]),
    ("USER_LOGOUT", &[T_USER_NEED, (AUTH, "extensions.auth is missing")]),
    ("USER_CREATION", &[P_MACHINE_NEED, T_USER_NEED]),
    ("USER_DELETION", &[P_MACHINE_NEED, T_USER_NEED]),
    ("USER_CHANGE_", &[T_USER_NEED]),
    ("USER_COMMUNICATION", &[P_USER_NEED]),
    ("USER_RESOURCE_", &[P_USER_NEED, T_RESOURCE_NEED]),
    ("NETWORK_CONNECTION", &[P_MACHINE_NEED, (NETWORK, "network is missing")]),
    (
        "NETWORK_HTTP",
        &[
            T_MACHINE_NEED,
            (T_URL, "target.url is missing"),
            (IP_PROTOCOL, "network.ip_protocol is missing"),
            (APPLICATION_PROTOCOL, "network.application_protocol is missing"),
        ],
    ),
    ("PROCESS_MODULE_LOAD", &[P_MACHINE_NEED, P_PROCESS_NEED, (T_PROCESS_FILE, "target.process.file is missing")]),
    ("PROCESS_PRIVILEGE_ESCALATION", &[P_MACHINE_NEED, P_PROCESS_NEED, P_USER_NEED]),
    ("PROCESS_", &[P_MACHINE_NEED, (T_PROCESS, "target.process is missing")]),
    ("FILE_COPY", &[P_MACHINE_NEED, (T_FILE, "target.file is missing"), (SRC_FILE, "src.file is missing")]),
    ("FILE_", &[P_MACHINE_NEED, (T_FILE, "target.file is missing")]),
    ("REGISTRY_", &[P_MACHINE_NEED, (T_REGISTRY, "target.registry.registry_key is missing")]),
    ("MUTEX_CREATION", &[P_MACHINE_NEED, P_PROCESS_NEED, T_RESOURCE_NEED]),
    ("SCHEDULED_TASK_", &[P_MACHINE_NEED, P_USER_NEED, T_RESOURCE_NEED]),
    ("SETTING_", &[P_MACHINE_NEED, T_RESOURCE_NEED]),
    ("SERVICE_", &[P_MACHINE_NEED, T_USER_NEED, (T_PROCESS | T_APPLICATION, "target needs a process or application")]),
    ("STATUS_", &[P_MACHINE_NEED]),
    ("SYSTEM_AUDIT_LOG_", &[P_MACHINE_NEED, P_USER_NEED]),
    ("SCAN_", &[(T_MACHINE | T_FILE | T_PROCESS, "target needs the machine, file or process that was scanned")]),
    ("EMAIL_TRANSACTION", &[P_MACHINE_NEED, (EMAIL, "network.email is missing")]),
];

const ENTITY_NEEDS: &[(&str, &[Need])] = &[
    ("CIDR_BLOCK", &[(E_RANGE, "entity.network.ip_subnet_range is missing")]),
    ("DOMAIN_NAME", &[(E_HOSTNAME, "entity.hostname is missing")]),
    ("FILE", &[(E_FILE, "entity.file is missing")]),
    ("IP_ADDRESS", &[(E_IP, "entity.ip is missing")]),
    ("MUTEX", &[(E_RESOURCE, "entity.resource is missing")]),
    ("RESOURCE", &[(E_RESOURCE, "entity.resource is missing")]),
    ("URL", &[(E_URL, "entity.url is missing")]),
    ("USER", &[(E_USER, "entity.user is missing"), (E_EMAIL, "entity.user.email_addresses is missing")]),
];

/// The tree of what checks and the store look out for.
pub(crate) fn tracks(schema: &Schema, root: Root) -> Tracks {
    let mut tracks = Tracks::default();
    let marks = match root {
        Root::Event => EVENT_MARKS,
        Root::Entity => ENTITY_MARKS,
    };
    for (mark, paths) in marks {
        for path in *paths {
            node(&mut tracks, &schema.known(root, path)).marks |= mark;
        }
    }
    for (path, bytes_max) in BYTES_MAX {
        if let Ok(path) = schema.resolve(root, path) {
            node(&mut tracks, &path).bytes_max = *bytes_max;
        }
    }
    if root == Root::Event {
        for (index, grouped) in schema.grouped().iter().enumerate() {
            for path in &grouped.paths {
                node(&mut tracks, path).groups |= 1 << index;
            }
        }
    }
    let type_path = match root {
        Root::Event => "metadata.event_type",
        Root::Entity => "metadata.entity_type",
    };
    if let crate::LeafKind::Enum(id) = schema.known(root, type_path).kind() {
        tracks.type_enum = id;
    }
    tracks
}

fn node<'a>(tracks: &'a mut Tracks, path: &FieldPath) -> &'a mut Track {
    tracks.node(path.steps.iter().map(|step| match step {
        Step::Field(index) => *index,
        other => unreachable!("the tables name plain fields only, not {other:?}"),
    }))
}

/// Calls `complain` with the field and a sentence for each rule that a record of this type breaks.
pub(crate) fn broken(root: Root, type_name: Option<&str>, met: &Met, complain: &mut dyn FnMut(&'static str, String)) {
    let has = |mark: u64| met.marks & mark != 0;
    let (time_field, type_field, needs) = match root {
        Root::Event => ("metadata.event_timestamp", "metadata.event_type", EVENT_NEEDS),
        Root::Entity => ("metadata.collected_timestamp", "metadata.entity_type", ENTITY_NEEDS),
    };
    if !has(EVENT_TIME | CREATED | STARTED) {
        complain(time_field, format!("{time_field} is missing"));
    }
    if !has(TYPE) {
        complain(type_field, format!("{type_field} is missing"));
    }
    let Some(name) = type_name else { return };
    let row = needs.iter().find(|(row, _)| if row.ends_with('_') { name.starts_with(row) } else { name == *row });
    for (mark, sentence) in row.map_or(&[] as &[Need], |(_, needs)| needs) {
        if !has(*mark) {
            let field = sentence.split(' ').next().unwrap_or_default();
            complain(field, format!("{sentence}, which {name} needs"));
        }
    }
    if root == Root::Entity {
        return;
    }
    if name == "EMAIL_TRANSACTION" {
        for (mark, field) in [(P_EMAIL, "principal.email"), (T_EMAIL, "target.email")] {
            if has(mark) {
                complain(
                    field,
                    format!("{field} must be empty in EMAIL_TRANSACTION: addresses belong in network.email"),
                );
            }
        }
    }
    if name.starts_with("NETWORK_") {
        for (port, first, fields) in
            [(P_PORT, 0, ["principal.ip", "principal.mac"]), (T_PORT, 2, ["target.ip", "target.mac"])]
        {
            for (offset, field) in fields.into_iter().enumerate() {
                if has(port) && met.addresses[first + offset] > 1 {
                    complain(field, format!("{field} holds several addresses where the port fits only one"));
                }
            }
        }
    }
}
