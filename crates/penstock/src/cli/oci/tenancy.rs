//! One instance as OCI sees it: a tenancy with compartments, asked with our own token in place of a signature.
//!
//! Everything here goes through the calls that the `oci` command uses; what a page of a list leaves out is fetched, and a name is
//! taken wherever an OCID is. The operator's token belongs to no instance, so every request says which one is meant.

use dialects::oci::ocid;
use event::InstanceId;
use http::Method;
use serde_json::Value;

use crate::cli::manage::{items, segment};
use crate::cli::{CliError, Client};

/// Names the instance that a request of the operator's is about.
const INSTANCE_HEADER: &str = "x-penstock-instance";

/// What a list's next page is asked with.
const NEXT_PAGE_HEADER: &str = "opc-next-page";

/// Which instance a command is about, and where in it.
#[derive(Debug, Clone, clap::Args)]
pub struct InstanceArg {
    /// The instance that is the tenancy [default: the only one there is]
    #[arg(long, value_name = "ID")]
    pub instance: Option<String>,
}

/// An instance, and the way to it.
pub struct Tenancy<'a> {
    client: &'a Client,
    instance: InstanceId,
}

impl<'a> Tenancy<'a> {
    /// The instance that is named, or the only one there is.
    pub async fn open(client: &'a Client, instance: &InstanceArg) -> Result<Tenancy<'a>, CliError> {
        if let Some(id) = &instance.instance {
            let instance = id.parse().map_err(|error| CliError::Usage(format!("--instance is {id:?}: {error}")))?;
            return Ok(Tenancy { client, instance });
        }
        let all = client.call(Method::GET, "/api/instances", None).await?;
        match items(&all) {
            [] => Err(CliError::Refused("there is no instance; `penstock instance create` makes one".to_owned())),
            [only] => {
                let id = only["id"].as_str().unwrap_or_default();
                let instance = id.parse().map_err(|error| {
                    CliError::Refused(format!("the server names an instance {id:?}, which is none: {error}"))
                })?;
                Ok(Tenancy { client, instance })
            }
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|one| format!("{} {}", text(one, "id"), text(one, "name")).trim_end().to_owned())
                    .collect();
                Err(CliError::Usage(format!(
                    "there are {} instances; name one with --instance:\n  {}",
                    names.len(),
                    names.join("\n  ")
                )))
            }
        }
    }

    /// The way to the server.
    pub fn client(&self) -> &Client {
        self.client
    }

    /// The tenancy's OCID, which is also that of its root compartment.
    pub fn ocid(&self) -> String {
        ocid::tenancy(self.instance)
    }

    /// A request about this instance.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, path).header(INSTANCE_HEADER, self.instance.to_string())
    }

    /// Asks; the answer's JSON, `null` if it has no body.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        json(self.client.yes(request).await?, path).await
    }

    /// All things of a list, over all its pages. Lists are bare arrays in some of OCI's services and `items` in others.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, CliError> {
        let mut found = Vec::new();
        let mut page = String::new();
        loop {
            let response = self.client.yes(self.request(Method::GET, &format!("{path}{page}"))).await?;
            let next = response.headers().get(NEXT_PAGE_HEADER).and_then(|value| value.to_str().ok()).map(segment);
            let answer = json(response, path).await?;
            found.extend_from_slice(if answer.is_array() { items(&answer) } else { items(&answer["items"]) });
            let Some(next) = next.filter(|next| !next.is_empty()) else { return Ok(found) };
            page = format!("{}page={next}", if path.contains('?') { '&' } else { '?' });
        }
    }

    /// The compartments below the root.
    pub async fn compartments(&self) -> Result<Vec<Value>, CliError> {
        let root = segment(&self.ocid());
        self.list(&format!("/20160918/compartments?compartmentId={root}&compartmentIdInSubtree=true&accessLevel=ANY"))
            .await
    }

    /// The OCID of a compartment that is named by it or by its name; the root without either.
    pub async fn compartment(&self, named: Option<&str>) -> Result<String, CliError> {
        let Some(named) = named else { return Ok(self.ocid()) };
        if is_ocid(named) {
            return Ok(named.to_owned());
        }
        only(&self.compartments().await?, "name", "compartment", named).map(|found| text(found, "id").to_owned())
    }

    /// Everything that a list has of one compartment, or of all of them with the root first. `path` is the list's, to which
    /// the compartment is added.
    pub async fn list_everywhere(&self, path: &str, compartment: Option<&str>) -> Result<Vec<Value>, CliError> {
        let mut places = vec![self.compartment(compartment).await?];
        if compartment.is_none() {
            places.extend(self.compartments().await?.iter().map(|found| text(found, "id").to_owned()));
        }
        let mut found = Vec::new();
        for place in places {
            found.extend(self.list(&format!("{path}?compartmentId={}", segment(&place))).await?);
        }
        Ok(found)
    }

    /// All logs of all log groups of a compartment, or of all compartments.
    pub async fn logs(&self, compartment: Option<&str>) -> Result<Vec<Value>, CliError> {
        let mut found = Vec::new();
        for group in self.list_everywhere("/20200531/logGroups", compartment).await? {
            found.extend(self.list(&format!("/20200531/logGroups/{}/logs", segment(text(&group, "id")))).await?);
        }
        Ok(found)
    }
}

/// Whether this is an OCID rather than a name.
pub fn is_ocid(text: &str) -> bool {
    text.starts_with("ocid1.")
}

/// A text of a thing; empty if it has none.
pub fn text<'a>(thing: &'a Value, name: &str) -> &'a str {
    thing[name].as_str().unwrap_or_default()
}

/// The one thing of a list that has this name (or OCID); names need not be unique in OCI.
pub fn only<'a>(things: &'a [Value], field: &str, kind: &str, named: &str) -> Result<&'a Value, CliError> {
    let found: Vec<&Value> =
        things.iter().filter(|thing| text(thing, if is_ocid(named) { "id" } else { field }) == named).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => {
            let names: Vec<&str> = things.iter().map(|thing| text(thing, field)).take(NAMES_TOLD_MAX).collect();
            let have =
                if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
            Err(CliError::Refused(format!("there is no {kind} {named:?}; {have}")))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|thing| text(thing, "id")).collect();
            let ids = ids.join("\n  ");
            Err(CliError::Refused(format!("there are several {kind}s {named:?}; name one by its OCID:\n  {ids}")))
        }
    }
}

/// Most names that are told where one was not found.
const NAMES_TOLD_MAX: usize = 20;

async fn json(response: reqwest::Response, path: &str) -> Result<Value, CliError> {
    let body = response.text().await.map_err(|error| CliError::Refused(format!("{path} broke off: {error}")))?;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&body)
        .map_err(|error| CliError::Refused(format!("{path} answered something that is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(named: &str, expected: Result<&str, &str>) {
        let things = json!([
            {"id": "ocid1.log.oc1.r.1", "displayName": "flows"},
            {"id": "ocid1.log.oc1.r.2", "displayName": "twice"},
            {"id": "ocid1.log.oc1.r.3", "displayName": "twice"},
        ]);
        match (only(items(&things), "displayName", "log", named), expected) {
            (Ok(found), Ok(id)) => assert_eq!(text(found, "id"), id),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error} does not say {says}"),
            (found, _) => panic!("{named}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn things_are_found_by_name_and_by_ocid() {
        check("flows", Ok("ocid1.log.oc1.r.1"));
        check("ocid1.log.oc1.r.3", Ok("ocid1.log.oc1.r.3"));
        check("nothing", Err("there are flows, twice, twice"));
        check("twice", Err("ocid1.log.oc1.r.2\n  ocid1.log.oc1.r.3"));
        check("ocid1.log.oc1.r.9", Err("there is no log"));
    }
}
