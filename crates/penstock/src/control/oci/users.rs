//! Users of OCI's API: a key pair each, of which the public half is kept, and the role that its signatures stand for.

use std::collections::HashMap;

use anyhow::Context;
use dialects::Role;
use dialects::oci::ocid::{self, OcidKind};
use dialects::snapshot::{Instance, OciKey};
use event::{InstanceId, Time};
use resources::Document;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{Control, ControlError, INSTANCE, KEY_BITS, known_instance, shown_name};

const USER: &str = "oci_user";

#[derive(Serialize, Deserialize)]
struct UserDocument {
    name: String,
    role: Role,
    /// MD5 of the public key's DER, as OCI names keys.
    fingerprint: String,
    /// The public key, PKCS#1 DER in hex.
    key: String,
    #[serde(default)]
    disabled: bool,
}

impl Control {
    /// Makes a user of OCI's API with a key of its own; the only time that its private half is seen.
    pub fn create_oci_user(
        &self,
        instance: InstanceId,
        role: Role,
        name: &str,
        now: Time,
    ) -> Result<Value, ControlError> {
        shown_name("name", name)?;
        let parent = instance.to_string();
        self.resources.get(INSTANCE, "", &parent)?;
        let private =
            rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS).context("cannot make an RSA key")?;
        let public = private.to_public_key();
        let spki = public.to_public_key_der().context("cannot encode a public key")?;
        let fingerprint = fingerprint(spki.as_bytes());
        let key = hex::encode(public.to_pkcs1_der().context("cannot encode a public key")?.as_bytes());
        let pem = private.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).context("cannot encode a private key")?;
        let id = ocid::ocid(OcidKind::User, "", uuid::Uuid::new_v4());
        let document = UserDocument { name: name.to_owned(), role, fingerprint, key, disabled: false };
        let document = serde_json::to_value(document).map_err(anyhow::Error::from)?;
        self.change(|| {
            let made = self.resources.create(USER, &parent, &id, &document, &now.to_string())?;
            let mut shown = self.show_user(&made);
            shown["private_key_pem"] = Value::String(pem.to_string());
            Ok(shown)
        })
    }

    /// Users of OCI's API, without their keys.
    pub fn list_oci_users(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        Ok(self.resources.list(USER, parent.as_deref())?.iter().map(|user| self.show_user(user)).collect())
    }

    /// The instance that a user belongs to.
    pub fn oci_user_instance(&self, id: &str) -> Result<InstanceId, ControlError> {
        Ok(self.find(USER, id)?.parent.parse().map_err(anyhow::Error::from)?)
    }

    /// Ends a user and its key.
    pub fn delete_oci_user(&self, id: &str) -> Result<(), ControlError> {
        self.change(|| {
            let found = self.find(USER, id)?;
            Ok(self.resources.delete(USER, &found.parent, id)?)
        })
    }

    /// Lets a user's key sign nothing more, or again.
    pub fn set_oci_user_disabled(&self, id: &str, disabled: bool, now: Time) -> Result<Value, ControlError> {
        self.change(|| {
            let found = self.find(USER, id)?;
            let mut json = found.json;
            json["disabled"] = Value::Bool(disabled);
            let made = self.resources.update(USER, &found.parent, id, &json, Some(found.etag), &now.to_string())?;
            Ok(self.show_user(&made))
        })
    }

    fn show_user(&self, document: &Document) -> Value {
        let tenancy = document.parent.parse().map(ocid::tenancy).unwrap_or_default();
        json!({
            "user": document.id,
            "name": document.json["name"],
            "role": document.json["role"],
            "instance": document.parent,
            "tenancy": tenancy,
            "region": self.settings.oci_region,
            "fingerprint": document.json["fingerprint"],
            "disabled": document.json["disabled"],
            "created_at": document.created_at,
        })
    }

    /// The keys of all users, by what signatures name them by.
    pub(in crate::control) fn oci_keys(
        &self,
        instances: &HashMap<InstanceId, Instance>,
    ) -> anyhow::Result<HashMap<String, OciKey>> {
        let mut keys = HashMap::new();
        for document in self.resources.list(USER, None)? {
            let Some(instance) = known_instance(&document, instances) else { continue };
            let stored: UserDocument = serde_json::from_value(document.json)?;
            let UserDocument { name, role, fingerprint, key, disabled } = stored;
            let key_id = format!("{}/{}/{fingerprint}", ocid::tenancy(instance), document.id);
            let key = hex::decode(key).context("a stored key of an OCI user is hexadecimal")?;
            keys.insert(key_id, OciKey { instance, user: document.id, name, role, disabled, key });
        }
        Ok(keys)
    }
}

/// How OCI names a key: the MD5 of its DER, in pairs of hexadecimal digits. It names, and protects nothing.
fn fingerprint(spki: &[u8]) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(spki);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_as_oci_writes_them() {
        assert_eq!(fingerprint(b""), "d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e");
    }
}
