//! OCIDs, the names of everything in OCI: `ocid1.<kind>.oc1.<region>.<unique>`, where the unique part is 32 hexadecimal
//! digits here. An instance is a tenancy, whose OCID is made of the instance's id, so nobody has to keep it.

use event::InstanceId;
use uuid::Uuid;

/// What an OCID names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OcidKind {
    /// An instance, which is its root compartment, too.
    Tenancy,
    /// A compartment below it.
    Compartment,
    /// Who signs requests.
    User,
    /// A group of logs.
    LogGroup,
    /// A log.
    Log,
    /// A group of functions.
    Application,
    /// A function.
    Function,
    /// A connector.
    ServiceConnector,
    /// What became of a call on connectors.
    ServiceConnectorWorkRequest,
    /// What became of a call on logs and their groups.
    LogWorkRequest,
}

impl OcidKind {
    const ALL: [OcidKind; 10] = [
        OcidKind::Tenancy,
        OcidKind::Compartment,
        OcidKind::User,
        OcidKind::LogGroup,
        OcidKind::Log,
        OcidKind::Application,
        OcidKind::Function,
        OcidKind::ServiceConnector,
        OcidKind::ServiceConnectorWorkRequest,
        OcidKind::LogWorkRequest,
    ];

    /// The word for it in an OCID.
    pub const fn name(self) -> &'static str {
        match self {
            OcidKind::Tenancy => "tenancy",
            OcidKind::Compartment => "compartment",
            OcidKind::User => "user",
            OcidKind::LogGroup => "loggroup",
            OcidKind::Log => "log",
            OcidKind::Application => "fnapp",
            OcidKind::Function => "fnfunc",
            OcidKind::ServiceConnector => "serviceconnector",
            OcidKind::ServiceConnectorWorkRequest => "serviceconnectorworkrequest",
            OcidKind::LogWorkRequest => "logworkrequest",
        }
    }

    /// Whether it is the same in all regions, so that its OCID names none.
    pub const fn is_global(self) -> bool {
        matches!(self, OcidKind::Tenancy | OcidKind::Compartment | OcidKind::User)
    }
}

/// The OCID of a thing: of this kind, in this region, with this id.
pub fn ocid(kind: OcidKind, region: &str, id: Uuid) -> String {
    let region = if kind.is_global() { "" } else { region };
    format!("ocid1.{}.oc1.{region}.{}", kind.name(), id.simple())
}

/// The OCID of an instance as a tenancy.
pub fn tenancy(instance: InstanceId) -> String {
    ocid(OcidKind::Tenancy, "", instance.uuid())
}

/// What an OCID of ours names, and with which id; `None` for any other text.
pub fn read(text: &str) -> Option<(OcidKind, Uuid)> {
    let mut parts = text.split('.');
    let mut next = || parts.next();
    let ("ocid1", kind, "oc1", region, id) = (next()?, next()?, next()?, next()?, next()?) else { return None };
    let kind = OcidKind::ALL.into_iter().find(|one| one.name() == kind)?;
    let is_hex = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if next().is_some() || !is_hex || kind.is_global() != region.is_empty() {
        return None;
    }
    Some((kind, Uuid::parse_str(id).ok()?))
}

/// Which instance an OCID of a tenancy means.
pub fn instance(text: &str) -> Option<InstanceId> {
    match read(text)? {
        (OcidKind::Tenancy, id) => Some(InstanceId::from_uuid(id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ocids() {
        let id: Uuid = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().unwrap();
        let instance_id: InstanceId = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().unwrap();
        assert_eq!(tenancy(instance_id), "ocid1.tenancy.oc1..c8c65bfa5f2c42d4918964bb7b939f2c");
        assert_eq!(instance(&tenancy(instance_id)), Some(instance_id));
        for kind in OcidKind::ALL {
            let text = ocid(kind, "ap-seoul-1", id);
            assert_eq!(read(&text), Some((kind, id)), "{text}");
            assert_eq!(text.contains("seoul"), !kind.is_global());
        }
        for wrong in [
            "",
            "ocid1.log.oc1.ap-seoul-1",
            "ocid1.log.oc1..c8c65bfa5f2c42d4918964bb7b939f2c",
            "ocid1.tenancy.oc1.x.c8c65bfa5f2c42d4918964bb7b939f2c",
            "ocid1.log.oc1.x.C8C65BFA5F2C42D4918964BB7B939F2C",
            "ocid1.log.oc1.x.c8c65bfa5f2c42d4918964bb7b939f2c.more",
            "ocid1.tenancy.oc1..aaaaaaaatenancy",
            "_Audit",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
