//! Which log types exist, which names are nearest to a wrong one, and the `logtypes` reply in both shapes, made once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use event::limits;

use crate::oci::envelope::LOGGING_LOG_TYPE;

/// A kind of log, by the name that senders use for it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogType {
    /// Its name, `[A-Z0-9_]{2,64}`.
    pub log_type: String,
    /// What writes it, in words.
    pub description: String,
}

/// A text that cannot name a log type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log type has 2 to 64 of A-Z, 0-9 and _, unlike {0:?}")]
pub struct NotALogType(String);

impl LogType {
    /// A log type, its name checked.
    pub fn new(log_type: impl Into<String>, description: impl Into<String>) -> Result<LogType, NotALogType> {
        let log_type = log_type.into();
        let is_name = (2..=limits::LOG_TYPE_BYTES_MAX).contains(&log_type.len())
            && log_type.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if is_name {
            Ok(LogType { log_type, description: description.into() })
        } else {
            Err(NotALogType(log_type.chars().take(80).collect()))
        }
    }
}

/// The log types of an instance: the built-in ones and its own. Immutable; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogTypes {
    builtin: Arc<HashMap<String, String>>,
    custom: Arc<HashMap<String, String>>,
    reply: Bytes,
}

impl LogTypes {
    /// Those that everybody has: Google's 2,122, `CATCH_ALL`, which bindplane sends by default, and `OCI_LOGGING`, our own
    /// name for what stands in logs of OCI and is neither audit record nor flow log. Reads a table of 150 KB: make it once.
    pub fn builtin() -> LogTypes {
        let table: Vec<LogType> = serde_json::from_str(include_str!("../data/log_types.json"))
            .expect("the table was checked in with the tests that read it");
        let ours = [("CATCH_ALL", "Logs of any kind"), (LOGGING_LOG_TYPE, "Oracle Cloud Infrastructure Logging")];
        let ours = ours.map(|(log_type, description)| LogType {
            log_type: log_type.to_owned(),
            description: description.to_owned(),
        });
        LogTypes::of(table.into_iter().chain(ours))
    }

    /// Exactly these, as tests want it.
    pub fn of(types: impl IntoIterator<Item = LogType>) -> LogTypes {
        let builtin: HashMap<_, _> = types.into_iter().map(|entry| (entry.log_type, entry.description)).collect();
        let reply = render(&builtin, &HashMap::new());
        LogTypes { builtin: Arc::new(builtin), custom: Arc::default(), reply }
    }

    /// The same with an instance's own ones. Without any, shares everything, the reply included.
    pub fn with_custom(&self, custom: impl IntoIterator<Item = LogType>) -> LogTypes {
        let custom: HashMap<_, _> = custom.into_iter().map(|entry| (entry.log_type, entry.description)).collect();
        if custom.is_empty() {
            return self.clone();
        }
        let reply = render(&self.builtin, &custom);
        LogTypes { builtin: self.builtin.clone(), custom: Arc::new(custom), reply }
    }

    /// Whether senders of the instance may name it. Case matters, as it does to Google.
    pub fn contains(&self, log_type: &str) -> bool {
        self.builtin.contains_key(log_type) || self.custom.contains_key(log_type)
    }

    /// What writes a log type, in words, and whether it is the instance's own; `None` when there is none of this name.
    pub fn get(&self, log_type: &str) -> Option<(&str, bool)> {
        let builtin = self.builtin.get(log_type).map(|description| (description.as_str(), false));
        builtin.or_else(|| self.custom.get(log_type).map(|description| (description.as_str(), true)))
    }

    /// All of them by name: name, description, and whether it is the instance's own.
    pub fn all(&self) -> Vec<(&str, &str, bool)> {
        let builtin = self.builtin.iter().map(|(name, description)| (name.as_str(), description.as_str(), false));
        let custom = self.custom.iter().map(|(name, description)| (name.as_str(), description.as_str(), true));
        let mut all: Vec<_> = builtin.chain(custom).collect();
        all.sort_unstable();
        all
    }

    /// Up to three names that a wrong one may have been meant for, nearest first.
    pub fn nearest(&self, wrong: &str) -> Vec<&str> {
        // Longer than any name: nothing is near, and the comparison is quadratic.
        if wrong.len() > 2 * limits::LOG_TYPE_BYTES_MAX {
            return Vec::new();
        }
        let wrong = wrong.to_ascii_uppercase().replace(['-', ' ', '.'], "_");
        let mut scored: Vec<(f64, &str)> = self
            .builtin
            .keys()
            .chain(self.custom.keys())
            .map(|name| (strsim::jaro_winkler(&wrong, name), name.as_str()))
            .filter(|(score, _)| *score >= 0.8)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        scored.truncate(3);
        scored.into_iter().map(|(_, name)| name).collect()
    }

    /// What to tell a sender of a name that is none of these: the nearest ones or, when nothing is near, `otherwise`,
    /// which says where the known ones are to be found.
    pub fn unknown(&self, wrong: &str, otherwise: &str) -> String {
        let shown: String = wrong.chars().take(80).collect();
        let nearest = self.nearest(wrong);
        if nearest.is_empty() {
            format!("unknown log type {shown:?}; {otherwise}")
        } else {
            format!("unknown log type {shown:?}; nearest: {}", nearest.join(", "))
        }
    }

    /// The built-in ones with their descriptions, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let sorted: BTreeMap<_, _> = self.builtin.iter().collect();
        sorted.into_iter().map(|(name, description)| (name.as_str(), description.as_str()))
    }

    /// The body of the `logtypes` reply.
    pub fn reply(&self) -> Bytes {
        self.reply.clone()
    }
}

/// Both shapes in one object: `logTypes[]` with camelCase keys, which real clients read, and `logtypes[]` with
/// snake_case ones, which the documentation prints. Every value at the top is an array: fluent-bit refuses anything
/// else.
fn render(builtin: &HashMap<String, String>, custom: &HashMap<String, String>) -> Bytes {
    let sorted: BTreeMap<&String, &String> = builtin.iter().chain(custom).collect();
    let mut out = String::with_capacity(sorted.len() * 160);
    for (index, (list, key)) in [("logTypes", "logType"), ("logtypes", "log_type")].into_iter().enumerate() {
        out.push_str(if index == 0 { "{" } else { "]," });
        out.push_str(&format!("\"{list}\":["));
        for (index, (name, description)) in sorted.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let description = serde_json::to_string(description).expect("a string is always JSON");
            out.push_str(&format!(r#"{comma}{{"{key}":"{name}","description":{description}}}"#));
        }
    }
    out.push_str("]}");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_table_is_whole_and_well_formed() {
        let types = LogTypes::builtin();
        assert_eq!(types.builtin.len(), 2_124);
        for (name, description) in &*types.builtin {
            LogType::new(name.clone(), description.clone()).unwrap();
        }
        for name in ["CATCH_ALL", "OCI_LOGGING", "UDM", "OKTA", "BIND_DNS", "AZURE_AD_CONTEXT", "WINEVTLOG"] {
            assert!(types.contains(name), "{name}");
        }
        assert!(!types.contains("okta"));
    }

    #[test]
    fn nearest_names() {
        let types = LogTypes::builtin().with_custom([LogType::new("MY_GATE", "ours").unwrap()]);
        let check = |wrong: &str, expected: &str| {
            assert!(types.nearest(wrong).contains(&expected), "{wrong}: {:?}", types.nearest(wrong));
        };
        check("okta", "OKTA");
        check("WINDOWS_EVENT_LOG", "WINDOWS_DNS");
        check("bind-dns", "BIND_DNS");
        check("MYGATE", "MY_GATE");
        assert_eq!(types.nearest("QXJZ"), Vec::<&str>::new());
        assert_eq!(types.nearest(&"A".repeat(100_000)), Vec::<&str>::new());
    }

    #[test]
    fn the_reply_has_both_shapes() {
        let types = LogTypes::of([LogType::new("BIND_DNS", "BIND \"DNS\"").unwrap()]);
        let ours = types.with_custom([LogType::new("MY_GATE", "").unwrap()]);
        let parsed: serde_json::Value = serde_json::from_slice(&ours.reply()).unwrap();
        assert_eq!(
            parsed,
            serde_json::json!({
                "logTypes": [
                    {"logType": "BIND_DNS", "description": "BIND \"DNS\""}, {"logType": "MY_GATE", "description": ""}],
                "logtypes": [
                    {"log_type": "BIND_DNS", "description": "BIND \"DNS\""}, {"log_type": "MY_GATE", "description": ""}],
            })
        );
        assert!(!String::from_utf8_lossy(&types.reply()).contains("MY_GATE"));
    }

    #[test]
    fn names() {
        for wrong in ["", "A", "okta", "A B", "Ä_LOG", &"A".repeat(65)] {
            assert!(LogType::new(wrong, "").is_err(), "{wrong:?}");
        }
        assert!(LogType::new("A1", "").is_ok() && LogType::new("_".repeat(64), "").is_ok());
    }
}
