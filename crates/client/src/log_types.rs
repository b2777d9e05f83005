//! Log types: which there are, and which one a log seems to be of.

use dialects::chronicle_api::encode;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::Chronicle;
use crate::error::Error;
use crate::retry::Repeat;

/// A kind of log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogType {
    /// Its name, as senders write it: `OKTA`.
    pub name: String,
    /// What writes it, in words; the API's `displayName`.
    pub description: String,
}

/// One guess at a log's type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The log type's name.
    #[serde(rename = "logType", alias = "log_type", default)]
    pub log_type: String,
    /// How sure the receiver is: 0 to 1.
    #[serde(default)]
    pub score: f64,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(rename = "displayName", alias = "display_name", default)]
    display_name: Option<String>,
}

impl Chronicle {
    /// All log types that the instance knows: some two thousand, and its own.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_log_types(&self) -> Result<Vec<LogType>, Error> {
        let listed: Vec<Listed> = self.list("logTypes", "logTypes").await?;
        let log_type = |listed: Listed| LogType {
            name: listed.name.rsplit('/').next().unwrap_or_default().to_owned(),
            description: listed.display_name.unwrap_or_default(),
        };
        Ok(listed.into_iter().map(log_type).collect())
    }

    /// What types these logs seem to be of, the likeliest first. The receiver looks at all of them together, so they
    /// should be of one source. A low score means that nothing fits.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn classify_logs<T: AsRef<[u8]>>(
        &self,
        logs: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Prediction>, Error> {
        #[derive(Deserialize)]
        struct Predictions {
            #[serde(default)]
            predictions: Vec<Prediction>,
        }
        let logs: Vec<T> = logs.into_iter().collect();
        let body = encode::classify(logs.iter().map(AsRef::as_ref));
        drop(logs);
        let reply: Predictions = self.send(Method::POST, "logs:classify", &[], body, Repeat::Harmless).await?;
        let mut predictions = reply.predictions;
        predictions.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(predictions)
    }
}
