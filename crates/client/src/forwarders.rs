//! Forwarders and their collectors: the API's name for what logs come through.
//!
//! A forwarder itself has no log type; its collectors have. Where seed 000 makes a forwarder "for a log type", here a
//! forwarder is made together with a collector of that type. Penstock then knows the type, if it did not yet.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use dialects::chronicle_api::encode;
use http::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::Chronicle;
use crate::error::Error;
use crate::record::check_log_type;
use crate::retry::Repeat;

/// What [`Chronicle::get_or_create_forwarder`] calls a forwarder: this and the log type.
pub const FORWARDER_NAME_PREFIX: &str = "penstock-client ";

/// A forwarder as the receiver shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarder {
    /// Its resource name.
    pub name: String,
    /// Its name for people.
    #[serde(default, alias = "display_name", deserialize_with = "null_is_default")]
    pub display_name: String,
    /// `ACTIVE` or `SUSPENDED`; empty where the receiver does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub state: String,
    /// Its settings as they came: metadata, filters, compression, its own server.
    #[serde(default)]
    pub config: Value,
    /// When it was made.
    #[serde(default, alias = "create_time", skip_serializing_if = "Option::is_none")]
    pub create_time: Option<String>,
    /// When it was changed last.
    #[serde(default, alias = "update_time", skip_serializing_if = "Option::is_none")]
    pub update_time: Option<String>,
}

impl Forwarder {
    /// The last part of its resource name.
    pub fn id(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// A collector of a forwarder as the receiver shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collector {
    /// Its resource name.
    pub name: String,
    /// Its name for people.
    #[serde(default, alias = "display_name", deserialize_with = "null_is_default")]
    pub display_name: String,
    /// `ACTIVE` or `SUSPENDED`; empty where the receiver does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub state: String,
    /// Its settings as they came.
    #[serde(default)]
    pub config: Value,
}

impl Collector {
    /// The log type that it takes; empty when it names none.
    pub fn log_type(&self) -> &str {
        let config = &self.config;
        // Some receivers name the log type by its resource.
        let name = config["logType"].as_str().or_else(|| config["log_type"].as_str()).unwrap_or_default();
        name.rsplit('/').next().unwrap_or_default()
    }
}

/// Settings of a forwarder. What is `None` is left to the receiver, or as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForwarderConfig {
    /// Whether a forwarder program compresses what it uploads.
    pub upload_compression: Option<bool>,
    /// What is attached to all that comes through it. Replaced as a whole.
    pub metadata: Option<ForwarderMetadata>,
    /// What is let through and what is not. Replaced as a whole.
    pub regex_filters: Option<Vec<RegexFilter>>,
    /// Settings of a forwarder program's own server, as the API has them. Replaced as a whole.
    pub server_settings: Option<Value>,
}

/// What is attached to all that comes through a forwarder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwarderMetadata {
    /// The environment namespace; empty for none.
    pub asset_namespace: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// One filter of a forwarder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegexFilter {
    /// What it is for.
    pub description: String,
    /// The expression.
    pub regexp: String,
    /// What happens to logs that match.
    pub behavior: FilterBehavior,
}

/// What a filter does with logs that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FilterBehavior {
    /// Only they come through.
    Allow,
    /// They do not come through.
    Block,
}

impl ForwarderConfig {
    /// Its JSON, null when nothing is set, and the paths of what is set for an update's mask.
    fn encode(&self) -> (Value, Vec<&'static str>) {
        let mut config = serde_json::Map::new();
        let mut mask = Vec::new();
        let mut set = |key: &str, path, value: Option<Value>| {
            if let Some(value) = value {
                config.insert(key.to_owned(), value);
                mask.push(path);
            }
        };
        set("uploadCompression", "config.upload_compression", self.upload_compression.map(Value::from));
        set("metadata", "config.metadata", self.metadata.as_ref().map(ForwarderMetadata::encode));
        set("regexFilters", "config.regex_filters", self.regex_filters.as_ref().map(|filters| json!(filters)));
        set("serverSettings", "config.server_settings", self.server_settings.clone());
        let config = if config.is_empty() { Value::Null } else { Value::Object(config) };
        (config, mask)
    }
}

impl ForwarderMetadata {
    fn encode(&self) -> Value {
        let mut metadata = serde_json::Map::new();
        if !self.asset_namespace.is_empty() {
            metadata.insert("assetNamespace".to_owned(), json!(self.asset_namespace));
        }
        if !self.labels.is_empty() {
            metadata.insert("labels".to_owned(), json!(self.labels));
        }
        Value::Object(metadata)
    }
}

impl Chronicle {
    /// All forwarders.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_forwarders(&self) -> Result<Vec<Forwarder>, Error> {
        self.list("forwarders", "forwarders").await
    }

    /// Makes a forwarder and, with a log type, a collector of that type. `None` makes the forwarder alone. Settings can be
    /// given before it is awaited ([`CreateForwarder::config`]).
    ///
    /// Against Penstock a log type that is not listed (`CUSTOM_LOG_TYPE`, say) becomes a type of the instance by this.
    ///
    /// Making is not tried again where it is not known whether it was done, since that could make two.
    ///
    /// # Errors
    ///
    /// [`Error::WithoutCollector`] when only the forwarder was made; else those of every call.
    pub fn create_forwarder<'a>(
        &'a self,
        display_name: &'a str,
        log_type: impl Into<Option<&'a str>>,
    ) -> CreateForwarder<'a> {
        let config = ForwarderConfig::default();
        CreateForwarder { chronicle: self, display_name, log_type: log_type.into(), config }
    }

    /// One forwarder, by its id or resource name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; else those of every call.
    pub async fn get_forwarder(&self, forwarder: &str) -> Result<Forwarder, Error> {
        self.get(&forwarder_path(self.name(), forwarder)?, &[]).await
    }

    /// Changes what is given before it is awaited, and nothing else.
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// use penstock_client::ForwarderConfig;
    ///
    /// let config = ForwarderConfig { upload_compression: Some(true), ..ForwarderConfig::default() };
    /// let forwarder = chronicle.update_forwarder("ID").display_name("Branch office").config(config).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Invalid`] when nothing is given; else those of every call.
    pub fn update_forwarder<'a>(&'a self, forwarder: &'a str) -> UpdateForwarder<'a> {
        UpdateForwarder { chronicle: self, forwarder, display_name: None, config: ForwarderConfig::default() }
    }

    /// Deletes a forwarder, by its id or resource name, and its collectors with it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; else those of every call.
    pub async fn delete_forwarder(&self, forwarder: &str) -> Result<(), Error> {
        let path = forwarder_path(self.name(), forwarder)?;
        self.request(Method::DELETE, &path, &[], None).await?;
        Ok(())
    }

    /// A forwarder that takes this log type: one that has a collector of the type, else one that is made for it.
    ///
    /// What this makes is called [`FORWARDER_NAME_PREFIX`] and the log type, as in `penstock-client OKTA`; a forwarder of
    /// that name is looked at first, and gets the collector if it lacks it. Suspended forwarders and collectors are passed
    /// over. Tasks of this process that ask at the same time get the same one; other processes may make a second.
    ///
    /// # Errors
    ///
    /// As [`Chronicle::create_forwarder`].
    pub async fn get_or_create_forwarder(&self, log_type: &str) -> Result<Forwarder, Error> {
        check_log_type(log_type)?;
        let _one_at_a_time = self.making_forwarder.lock().await;
        let display_name = format!("{FORWARDER_NAME_PREFIX}{log_type}");
        let all = self.list_forwarders().await?;
        let (own, others): (Vec<Forwarder>, Vec<Forwarder>) = all
            .into_iter()
            .filter(|forwarder| forwarder.state != "SUSPENDED")
            .partition(|forwarder| forwarder.display_name == display_name);
        let own_first = own.first().cloned();
        for forwarder in own.into_iter().chain(others) {
            let collectors = match self.list_collectors(&forwarder.name).await {
                // Deleted since it was listed.
                Err(Error::NotFound(_)) => continue,
                collectors => collectors?,
            };
            let takes = |collector: &Collector| collector.log_type() == log_type && collector.state != "SUSPENDED";
            if collectors.iter().any(takes) {
                return Ok(forwarder);
            }
        }
        match own_first {
            // An earlier attempt got no further than this.
            Some(forwarder) => {
                self.create_collector(&forwarder.name, &display_name, log_type).await?;
                Ok(forwarder)
            }
            None => self.create_forwarder(&display_name, log_type).await,
        }
    }

    /// The collectors of a forwarder, which is given by its id or resource name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; else those of every call.
    pub async fn list_collectors(&self, forwarder: &str) -> Result<Vec<Collector>, Error> {
        let path = forwarder_path(self.name(), forwarder)?;
        self.list(&format!("{path}/collectors"), "collectors").await
    }

    /// Makes a collector of this log type for a forwarder, which is given by its id or resource name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; else those of every call.
    pub async fn create_collector(
        &self,
        forwarder: &str,
        display_name: &str,
        log_type: &str,
    ) -> Result<Collector, Error> {
        check_log_type(log_type)?;
        let path = format!("{}/collectors", forwarder_path(self.name(), forwarder)?);
        self.send(Method::POST, &path, &[], encode::collector(display_name, log_type), Repeat::MakesAnother).await
    }
}

/// The path below the instance of a forwarder that is given by its id or its resource name.
fn forwarder_path(parent: &str, given: &str) -> Result<String, Error> {
    let id = given.strip_prefix(parent).map_or(given, |rest| rest.trim_start_matches('/'));
    let id = id.strip_prefix("forwarders/").unwrap_or(id);
    if id.is_empty() || id.contains('/') || id.bytes().all(|byte| byte == b'.') {
        let why = format!("{given:?} is neither a forwarder's id nor its name in {parent}");
        return Err(Error::invalid("forwarder", why));
    }
    Ok(format!("forwarders/{}", encode::segment(id)))
}

/// A forwarder to be; see [`Chronicle::create_forwarder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is made until it is awaited"]
pub struct CreateForwarder<'a> {
    chronicle: &'a Chronicle,
    display_name: &'a str,
    log_type: Option<&'a str>,
    config: ForwarderConfig,
}

impl CreateForwarder<'_> {
    /// With these settings.
    pub fn config(mut self, config: ForwarderConfig) -> Self {
        self.config = config;
        self
    }
}

impl<'a> IntoFuture for CreateForwarder<'a> {
    type Output = Result<Forwarder, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.log_type.map(check_log_type).transpose()?;
            let (config, _) = self.config.encode();
            // Google's SDK always sends a config, so an absent one is nothing that a receiver need know.
            let config = if config.is_null() { json!({}) } else { config };
            let body = encode::forwarder(Some(self.display_name), &config);
            let forwarder: Forwarder =
                self.chronicle.send(Method::POST, "forwarders", &[], body, Repeat::MakesAnother).await?;
            if let Some(log_type) = self.log_type {
                let made = self.chronicle.create_collector(&forwarder.name, self.display_name, log_type).await;
                made.map_err(|cause| Error::WithoutCollector {
                    forwarder: forwarder.name.clone(),
                    cause: Box::new(cause),
                })?;
            }
            Ok(forwarder)
        })
    }
}

/// A change of a forwarder; see [`Chronicle::update_forwarder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is changed until it is awaited"]
pub struct UpdateForwarder<'a> {
    chronicle: &'a Chronicle,
    forwarder: &'a str,
    display_name: Option<&'a str>,
    config: ForwarderConfig,
}

impl<'a> UpdateForwarder<'a> {
    /// Its new name for people.
    pub fn display_name(mut self, display_name: &'a str) -> Self {
        self.display_name = Some(display_name);
        self
    }

    /// Its new settings: those that are `Some`.
    pub fn config(mut self, config: ForwarderConfig) -> Self {
        self.config = config;
        self
    }
}

impl<'a> IntoFuture for UpdateForwarder<'a> {
    type Output = Result<Forwarder, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (config, mut mask) = self.config.encode();
            if self.display_name.is_some() {
                mask.insert(0, "display_name");
            }
            if mask.is_empty() {
                return Err(Error::invalid("update", "nothing is to be changed"));
            }
            let path = forwarder_path(self.chronicle.name(), self.forwarder)?;
            let body = encode::forwarder(self.display_name, &config);
            let query = [("updateMask", mask.join(","))];
            let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
            self.chronicle.send(Method::PATCH, &path, &query, body, Repeat::Harmless).await
        })
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarder_is_named_by_id_or_in_full_but_only_one_of_this_instance() {
        let parent = "projects/p/locations/l/instances/i";
        let good = ["f", "forwarders/f", "projects/p/locations/l/instances/i/forwarders/f"];
        for given in good {
            assert_eq!(forwarder_path(parent, given).unwrap(), "forwarders/f");
        }
        let bad = ["", "..", "f/collectors/c", "projects/p/locations/l/instances/j/forwarders/f", "a/b", parent];
        for given in bad {
            assert!(forwarder_path(parent, given).is_err(), "{given}");
        }
        assert_eq!(forwarder_path(parent, "f?x#y").unwrap(), "forwarders/f%3Fx%23y");
    }

    #[test]
    fn nulls_and_either_spelling_are_read() {
        let text = r#"{"name":"x/forwarders/f","display_name":"F","state":null,"config":null,"unknown":1}"#;
        let forwarder: Forwarder = serde_json::from_str(text).unwrap();
        assert_eq!((forwarder.id(), forwarder.display_name.as_str(), forwarder.state.as_str()), ("f", "F", ""));
        for config in [r#"{"logType":"OKTA"}"#, r#"{"log_type":"projects/p/logTypes/OKTA"}"#] {
            let collector: Collector = serde_json::from_str(&format!(r#"{{"name":"c","config":{config}}}"#)).unwrap();
            assert_eq!(collector.log_type(), "OKTA");
        }
        assert_eq!(serde_json::from_str::<Collector>(r#"{"name":"c"}"#).unwrap().log_type(), "");
    }
}
