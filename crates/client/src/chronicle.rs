//! [`Chronicle`]: one instance, and how calls to it are put together. The calls themselves are in files of their own.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use dialects::chronicle_api::encode::segment;
use http::Method;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::client::Shared;
use crate::error::Error;
use crate::retry::Repeat;

/// How many things one page of a list has; the API's most.
const PAGE_SIZE: &str = "1000";

/// One instance of Google SecOps or Penstock. Comes from [`SecOpsClient::chronicle`](crate::SecOpsClient::chronicle);
/// cheap to clone.
#[derive(Clone)]
pub struct Chronicle {
    pub(crate) shared: Arc<Shared>,
    /// `https://host/v1alpha/`
    root: String,
    parent: Arc<str>,
    /// Held while a forwarder is looked for and made, so that two tasks do not make two.
    pub(crate) making_forwarder: Arc<Mutex<()>>,
}

impl Chronicle {
    pub(crate) fn new(shared: Arc<Shared>, base: &str, parent: String) -> Chronicle {
        let root = format!("{base}/{}/", shared.version());
        Chronicle { shared, root, parent: parent.into(), making_forwarder: Arc::default() }
    }

    /// Its resource name: `projects/…/locations/…/instances/…`.
    pub fn name(&self) -> &str {
        &self.parent
    }

    /// Any call of the API that has no method here: `path` is below the instance (`feeds`, `feeds/ID:enable`,
    /// `:udmSearch`), the reply its JSON. Credentials, retries and errors are as for all calls; `POST` is taken to make
    /// something and is therefore tried again only where surely nothing was made.
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// use penstock_client::Method;
    ///
    /// let feeds = chronicle.request(Method::GET, "feeds", &[("pageSize", "100")], None).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Any but those of batches.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let url = self.url(path, query);
        let repeat = if method == Method::POST { Repeat::MakesAnother } else { Repeat::Harmless };
        let outgoing = match body {
            Some(body) => Shared::with_json(method, url, self.shared.pack(body.to_string().into_bytes()), repeat),
            None => crate::wire::Outgoing::new(method, url, repeat),
        };
        self.shared.call(outgoing).await?.json()
    }

    /// The URL of something below the instance. What belongs to the instance itself begins with a colon.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        // Resource names are made of segments that need no escaping, except for what a project may be called.
        let parent: Vec<String> = self.parent.split('/').map(segment).collect();
        let slash = if path.starts_with(':') { "" } else { "/" };
        let mut url = format!("{}{}{slash}{path}", self.root, parent.join("/"));
        if !query.is_empty() {
            url.push('?');
            url.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish());
        }
        url
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.shared.call(Shared::get(self.url(path, query))).await?.json()
    }

    pub(crate) async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let outgoing = Shared::with_json(method, self.url(path, query), self.shared.pack(body), repeat);
        self.shared.call(outgoing).await?.json()
    }

    /// All pages of a list. `key` is the list's name in the reply; an absent list is an empty one.
    pub(crate) async fn list<T: serde::de::DeserializeOwned>(&self, path: &str, key: &str) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut token = String::new();
        let mut seen = HashSet::new();
        loop {
            let mut query = vec![("pageSize", PAGE_SIZE)];
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let reply = self.shared.call(Shared::get(self.url(path, &query))).await?;
            let mut page: Value = reply.json()?;
            if !page.is_object() {
                return Err(reply.unexpected("a page of a list is an object"));
            }
            match page[key].take() {
                Value::Null => {}
                list => {
                    let list: Vec<T> =
                        serde_json::from_value(list).map_err(|error| reply.unexpected(&error.to_string()))?;
                    all.extend(list);
                }
            }
            let next = page["nextPageToken"].as_str().unwrap_or_default();
            if next.is_empty() {
                return Ok(all);
            }
            if !seen.insert(next.to_owned()) {
                return Err(reply.unexpected("the list's pages go round in a circle"));
            }
            token = next.to_owned();
        }
    }
}

impl fmt::Debug for Chronicle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chronicle").field("root", &self.root).field("name", &self.parent).finish_non_exhaustive()
    }
}
