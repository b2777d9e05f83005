//! Intakes of Sekoia's kind: named ways in whose key alone says whose they are and of which log type what comes by them
//! is.
//!
//! A document lies below its instance and is `{name, format, log_type, namespace, hash, disabled}`. The key is shown when
//! it is made and then nowhere; that of the first intake lies in a file beside the operator's token, as the first
//! account's does. What a key lets in is the dialect's business.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use dialects::snapshot::{Instance, IntakeKey, SecretHash};
use dialects::{LogType, LogTypes};
use event::{InstanceId, Time, limits};
use resources::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Control, ControlError, INSTANCE, known_instance, random_bytes, secret_hash, shown_name};

pub(super) const INTAKE: &str = "intake";

/// As long as Sekoia's are, so that it fits wherever one of those did.
const KEY_CHARS: usize = 32;

/// What the first intake of a data directory takes.
const DEFAULT_FORMAT: &str = "UNBOUND_DNS";

#[derive(Serialize, Deserialize)]
struct IntakeDocument {
    name: String,
    /// As it was asked for.
    format: String,
    log_type: String,
    namespace: String,
    /// BLAKE3 of the key, hex. The key itself is nowhere.
    hash: String,
    #[serde(default)]
    disabled: bool,
}

/// An intake that somebody wants.
#[derive(Debug, Clone)]
pub struct NewIntake {
    /// Its name for people; several may have the same.
    pub name: String,
    /// Names the log type of what comes by it: a known one in any case, else it makes one.
    pub format: String,
    /// The namespace of what comes by it, or empty.
    pub namespace: String,
}

impl Control {
    /// Makes an intake. The answer has its key, for the only time. Where the format names no log type that the instance
    /// has, the type is declared, and the answer says so and which built-in names are near: it may be a slip.
    pub fn create_intake(&self, instance: InstanceId, wanted: &NewIntake, now: Time) -> Result<Value, ControlError> {
        let NewIntake { name, format, namespace } = wanted;
        for (what, text) in [("name", name), ("format", format), ("namespace", namespace)] {
            shown_name(what, text)?;
        }
        if name.trim().is_empty() {
            return Err(ControlError::Invalid("an intake needs a name, by which people know it".to_owned()));
        }
        let (parent, stamp, key) = (instance.to_string(), now.to_string(), new_key());
        self.change(|| {
            self.resources.get(INSTANCE, "", &parent)?;
            if self.resources.list(INTAKE, Some(&parent))?.len() >= limits::INTAKES_MAX {
                let most = limits::INTAKES_MAX;
                let message = format!("the instance has {most} intakes already, as many as can be");
                return Err(ControlError::Invalid(message));
            }
            let snapshot = self.snapshot.load();
            let known = snapshot.instances.get(&instance).map_or(&self.builtin, |instance| &instance.log_types);
            let log_type = log_type_of(format, known)?;
            let is_declared = self.declare(instance, Some(&log_type), &stamp)?;
            let made = self.keep_intake(&parent, wanted, &log_type, &key, &stamp)?;
            let mut shown = show(&made);
            if is_declared {
                shown["declared"] = Value::Bool(true);
                shown["nearest"] = json!(self.builtin.nearest(&log_type));
            }
            Ok(with_key(shown, key))
        })
    }

    fn keep_intake(
        &self,
        instance: &str,
        wanted: &NewIntake,
        log_type: &str,
        key: &str,
        stamp: &str,
    ) -> Result<Document, ControlError> {
        let NewIntake { name, format, namespace } = wanted.clone();
        let document = IntakeDocument {
            name,
            format,
            log_type: log_type.to_owned(),
            namespace,
            hash: hash_of(key),
            disabled: false,
        };
        let document = serde_json::to_value(document).map_err(anyhow::Error::from)?;
        let id = format!("intake-{}", hex::encode(random_bytes::<6>()));
        Ok(self.resources.create(INTAKE, instance, &id, &document, stamp)?)
    }

    /// Intakes, without their keys, in the order in which they were made.
    pub fn list_intakes(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        Ok(self.resources.list(INTAKE, parent.as_deref())?.iter().map(show).collect())
    }

    /// One intake, without its key.
    pub fn get_intake(&self, id: &str) -> Result<Value, ControlError> {
        Ok(show(&self.find(INTAKE, id)?))
    }

    /// The instance that an intake belongs to.
    pub fn intake_instance(&self, id: &str) -> Result<InstanceId, ControlError> {
        Ok(self.find(INTAKE, id)?.parent.parse().map_err(anyhow::Error::from)?)
    }

    /// Gives an intake a new key, which the answer has for the only time. The one that it had ends at once.
    pub fn rotate_intake(&self, id: &str, now: Time) -> Result<Value, ControlError> {
        let key = new_key();
        let changed = self.change_intake(id, "hash", Value::String(hash_of(&key)), now)?;
        Ok(with_key(changed, key))
    }

    /// Lets an intake take no more data, or again.
    pub fn set_intake_disabled(&self, id: &str, disabled: bool, now: Time) -> Result<Value, ControlError> {
        self.change_intake(id, "disabled", Value::Bool(disabled), now)
    }

    fn change_intake(&self, id: &str, field: &str, value: Value, now: Time) -> Result<Value, ControlError> {
        self.change(|| {
            let found = self.find(INTAKE, id)?;
            let mut json = found.json;
            json[field] = value;
            let changed =
                self.resources.update(INTAKE, &found.parent, id, &json, Some(found.etag), &now.to_string())?;
            Ok(show(&changed))
        })
    }

    /// Ends an intake and its key. What came by it stays.
    pub fn delete_intake(&self, id: &str) -> Result<(), ControlError> {
        self.change(|| {
            let found = self.find(INTAKE, id)?;
            Ok(self.resources.delete(INTAKE, &found.parent, id)?)
        })
    }

    /// The first intake of a data directory and the file with its key, for as long as that key is good: whoever rotates
    /// the key has the new one elsewhere.
    pub fn default_intake(&self) -> Option<(PathBuf, Arc<IntakeKey>)> {
        let path = self.default_intake_file();
        let key = std::fs::read_to_string(&path).ok()?;
        let snapshot = self.snapshot.load();
        let intake = snapshot.intakes.get(&SecretHash::of(key.trim())).filter(|intake| !intake.disabled)?;
        Some((path, Arc::clone(intake)))
    }

    fn default_intake_file(&self) -> PathBuf {
        self.dir.join("keys/intake.key")
    }

    /// Makes the first intake of an instance that is being made. The file comes first: an intake whose key nobody has
    /// would look as if it were of use.
    pub(super) fn make_default_intake(&self, instance: InstanceId, stamp: &str) -> anyhow::Result<()> {
        let (path, key) = (self.default_intake_file(), new_key());
        crate::state::write_private(&path, format!("{key}\n").as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        let wanted =
            NewIntake { name: "default".to_owned(), format: DEFAULT_FORMAT.to_owned(), namespace: String::new() };
        self.keep_intake(&instance.to_string(), &wanted, DEFAULT_FORMAT, &key, stamp)?;
        Ok(())
    }

    /// What dialects need of all intakes while data comes in.
    pub(super) fn intakes(
        &self,
        instances: &HashMap<InstanceId, Instance>,
    ) -> anyhow::Result<HashMap<SecretHash, Arc<IntakeKey>>> {
        let mut intakes = HashMap::new();
        for document in self.resources.list(INTAKE, None)? {
            let Some(instance) = known_instance(&document, instances) else { continue };
            let stored: IntakeDocument = serde_json::from_value(document.json)?;
            let IntakeDocument { log_type, namespace, hash, disabled, .. } = stored;
            let intake = IntakeKey { id: document.id, instance, log_type, namespace, disabled };
            intakes.insert(secret_hash(&hash)?, Arc::new(intake));
        }
        Ok(intakes)
    }
}

/// The log type that a format means: a known one whatever the case of its letters, else what is left of it when
/// everything that no log type's name has is `_`. Sekoia's own names of formats, such as "Fortinet FortiGate", become log
/// types so.
fn log_type_of(format: &str, known: &LogTypes) -> Result<String, ControlError> {
    let upper = format.trim().to_ascii_uppercase();
    if known.contains(&upper) {
        return Ok(upper);
    }
    let words = upper.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_");
    let named = LogType::new(name, "").map_err(|error| {
        ControlError::Invalid(format!("the format {format:?} names no log type and cannot become one: {error}"))
    });
    Ok(named?.log_type)
}

fn new_key() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // The largest multiple of 62 that a byte holds. Bytes from it on would make the first letters likelier than the
    // others.
    const EVEN: u8 = u8::MAX - u8::MAX % 62;
    let mut key = String::with_capacity(KEY_CHARS);
    while key.len() < KEY_CHARS {
        let even = random_bytes::<64>().into_iter().filter(|byte| *byte < EVEN);
        let letters = even.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        key.extend(letters.take(KEY_CHARS - key.len()));
    }
    key
}

fn hash_of(key: &str) -> String {
    hex::encode(SecretHash::of(key).as_bytes())
}

fn show(document: &Document) -> Value {
    let Document { id, parent, json, created_at, .. } = document;
    json!({
        "id": id,
        "name": json["name"],
        "format": json["format"],
        "log_type": json["log_type"],
        "namespace": json["namespace"],
        "instance": parent,
        "disabled": json["disabled"],
        "created_at": created_at,
    })
}

fn with_key(mut shown: Value, key: String) -> Value {
    shown["intake_key"] = Value::String(key);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_name_log_types() {
        let own = ["MY__GATE", "ACME"].map(|name| LogType::new(name, "").unwrap());
        let known = LogTypes::builtin().with_custom(own);
        for (format, log_type) in [
            ("UNBOUND_DNS", "UNBOUND_DNS"),
            ("unbound_dns", "UNBOUND_DNS"),
            (" Okta ", "OKTA"),
            ("bind-dns", "BIND_DNS"),
            // As it stands, before anything is made of it.
            ("my__gate", "MY__GATE"),
            ("acme", "ACME"),
            ("Fortinet FortiGate", "FORTINET_FORTIGATE"),
            ("..a -- b!!", "A_B"),
            ("küche", "K_CHE"),
            ("5d9e261a-944c-4a76-8c61-6794fd44d9a8", "5D9E261A_944C_4A76_8C61_6794FD44D9A8"),
        ] {
            assert_eq!(log_type_of(format, &known).unwrap(), log_type, "{format:?}");
        }
        for format in ["", "  ", "x", "é!", "___", &"x".repeat(65)] {
            let error = log_type_of(format, &known).unwrap_err().to_string();
            assert!(error.contains("2 to 64 of A-Z, 0-9 and _"), "{format:?}: {error}");
        }
    }

    #[test]
    fn keys_are_letters_and_digits_without_bias() {
        let keys: Vec<String> = (0..4_000).map(|_| new_key()).collect();
        let mut counts = HashMap::new();
        for key in &keys {
            assert!(key.len() == KEY_CHARS && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
            key.bytes().for_each(|byte| *counts.entry(byte).or_insert(0_u32) += 1);
        }
        assert_eq!(counts.len(), 62);
        // 128,000 characters are 2,065 of each with a deviation of 45. Bytes modulo 62 would have given 2,500 to the
        // first eight, and 2,000 to the others.
        for (byte, count) in counts {
            assert!((1_700..2_430).contains(&count), "{:?}: {count}", char::from(byte));
        }
    }
}
