//! What forwarders, collectors and feeds mean while data comes in: the namespace and labels that they give to records,
//! and the filters that keep records out. Made of the kept documents when the snapshot is made.

use event::{Label, limits};
use serde_json::Value;

use super::form::compile;
use super::kinds::WEBHOOK;
use super::{Kept, look};
use crate::snapshot::SecretHash;

/// A forwarder with its collectors.
#[derive(Debug, Clone)]
pub struct Forwarder {
    /// What applies to log types that none of its collectors takes.
    own: Way,
    /// By log type; the first collector of a type goes before others.
    collectors: Vec<(String, Way)>,
}

/// What a way in does to the records that come by it.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Its name below the instance, such as `forwarders/7/collectors/8`.
    pub feed: String,
    /// The namespace of records that name none.
    pub namespace: String,
    /// Labels of records that have none of the same key.
    pub labels: Vec<Label>,
    filters: Vec<Filter>,
    has_allow: bool,
}

/// One filter.
#[derive(Debug, Clone)]
pub struct Filter {
    description: String,
    regex: regex::bytes::Regex,
    behavior: Behavior,
}

/// What becomes of a record that a filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// It is taken, and those that no such filter matches are not.
    Allow,
    /// It is kept out, whatever other filters say.
    Block,
}

impl Forwarder {
    /// From its document and those of its collectors.
    pub fn new(forwarder: &Kept, collectors: &[Kept]) -> Forwarder {
        let own = Way::of(&format!("forwarders/{}", forwarder.id), &forwarder.body, &["config", "metadata"], None);
        let collector = |collector: &Kept| {
            let log_type = look(&collector.body, &["config", "logType"])?.as_str()?.to_owned();
            let feed = format!("{}/collectors/{}", own.feed, collector.id);
            Some((log_type, Way::of(&feed, &collector.body, &["config", "metadata"], Some(&own))))
        };
        let collectors = collectors.iter().filter_map(collector).collect();
        Forwarder { own, collectors }
    }

    /// Whether it or a collector of it has filters.
    pub fn has_filters(&self) -> bool {
        !self.own.filters.is_empty() || self.collectors.iter().any(|(_, way)| !way.filters.is_empty())
    }

    /// The way that records of this log type come by.
    pub fn way(&self, log_type: &str) -> &Way {
        self.collectors.iter().find(|(own, _)| own == log_type).map_or(&self.own, |(_, way)| way)
    }
}

impl Way {
    /// A collector's namespace goes before its forwarder's, its labels before those of the same key, its filters before
    /// those of the same description (Google's description of `ForwarderMetadata` and `RegexFilter`).
    fn of(feed: &str, body: &Value, metadata: &[&str], above: Option<&Way>) -> Way {
        let mut way = above.cloned().unwrap_or_default();
        way.feed = feed.to_owned();
        let metadata = look(body, metadata);
        if let Some(namespace) = metadata.and_then(|metadata| metadata.get("assetNamespace")).and_then(Value::as_str) {
            way.namespace = namespace.to_owned();
        }
        let labels = metadata.and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            way.labels.retain(|label| label.key != *key);
            let value = value.as_str().unwrap_or_default().to_owned();
            way.labels.push(Label { key: key.clone(), value, rbac_enabled: false });
        }
        way.labels.truncate(limits::LABELS_MAX);
        let filters = look(body, &["config", "regexFilters"]).and_then(Value::as_array);
        let own: Vec<Filter> = filters.into_iter().flatten().filter_map(Filter::of).collect();
        way.filters.retain(|filter| {
            filter.description.is_empty() || own.iter().all(|own| own.description != filter.description)
        });
        way.filters.extend(own);
        way.has_allow = way.filters.iter().any(|filter| filter.behavior == Behavior::Allow);
        way
    }

    /// Whether a record is taken: no filter blocks it and, where there are filters that allow, one of them does. Google
    /// says nothing of their order, so it is made not to matter.
    pub fn takes(&self, data: &[u8]) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let matches =
            |behavior| self.filters.iter().any(|filter| filter.behavior == behavior && filter.regex.is_match(data));
        !matches(Behavior::Block) && (!self.has_allow || matches(Behavior::Allow))
    }
}

impl Filter {
    fn of(filter: &Value) -> Option<Filter> {
        let text = |name: &str| filter.get(name).and_then(Value::as_str);
        Some(Filter {
            description: text("description").unwrap_or_default().to_owned(),
            regex: compile(text("regexp")?).ok()?,
            behavior: if text("behavior")? == "BLOCK" { Behavior::Block } else { Behavior::Allow },
        })
    }
}

/// A feed that senders push to.
#[derive(Debug, Clone)]
pub struct PushFeed {
    /// What it does to records.
    pub way: Way,
    /// The log type of what comes by it.
    pub log_type: String,
    /// What stands between the logs of one request; `None` when a request is one log.
    pub delimiter: Option<String>,
    /// Whether it takes anything.
    pub enabled: bool,
    /// The hash of its secret; `None` until one is made.
    pub secret: Option<SecretHash>,
}

impl PushFeed {
    /// From its document; `None` when it is no feed that is pushed to.
    pub fn new(feed: &Kept, secret: Option<SecretHash>) -> Option<PushFeed> {
        let details = |name: &str| look(&feed.body, &["details", name]).and_then(Value::as_str);
        if details("feedSourceType")? != WEBHOOK {
            return None;
        }
        let delimiter = look(&feed.body, &["details", "httpsPushWebhookSettings", "splitDelimiter"]);
        // People write a line feed as they see it in forms, as backslash and n.
        let delimiter = delimiter
            .and_then(Value::as_str)
            .map(|text| text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t"));
        Some(PushFeed {
            way: Way::of(&format!("feeds/{}", feed.id), &feed.body, &["details"], None),
            log_type: details("logType")?.to_owned(),
            delimiter: delimiter.filter(|text| !text.is_empty()),
            enabled: feed.enabled,
            secret,
        })
    }
}
