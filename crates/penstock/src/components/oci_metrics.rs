//! What connectors and functions counted, as OCI's Monitoring shows it: streams of two namespaces, each with its
//! dimensions and a point for each minute.
//!
//! `oci_service_connector_hub` is `deliver`'s, `oci_faas` is `functions`'. Names and dimensions are OCI's (contracts/oci.md
//! §2.6). Absent: alarms, and namespaces of services that are not here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use deliver::{Metric, MetricsQuery};
use dialects::Refusal;
use dialects::oci::{Kind, ListCall, MetricsAsk, MetricsCall, Outcome};
use event::{InstanceId, Time};
use functions::FunctionCounts;
use query::oci::Totals;
use serde_json::{Value, json};

use super::Answers;
use super::oci::page_of;
use crate::api::blocking;
use crate::control::oci::{connector_of, stamp};

const CONNECTORS: &str = "oci_service_connector_hub";
const FUNCTIONS: &str = "oci_faas";

/// A metric of one resource, with its points by the start of their minute in milliseconds.
struct Stream {
    namespace: &'static str,
    name: &'static str,
    compartment: String,
    dimensions: BTreeMap<String, String>,
    minutes: Vec<(i64, Totals)>,
}

impl Answers {
    pub(super) async fn oci_metrics(&self, instance: InstanceId, call: MetricsCall) -> Result<Outcome, Refusal> {
        let MetricsCall { compartment, subtree, namespace, ask } = call;
        match ask {
            MetricsAsk::Summarize { query: mut mql, from, to, resolution_secs } => {
                if let Some(secs) = resolution_secs {
                    mql.interval_minutes = u32::try_from(secs.div_ceil(60)).unwrap_or(u32::MAX).max(1);
                }
                let mut streams = self.streams(instance, compartment.clone(), subtree, from, to).await?;
                let is_asked = |stream: &Stream| {
                    stream.name == mql.name && namespace.as_ref().is_none_or(|wanted| wanted == stream.namespace)
                };
                streams.retain(is_asked);
                let shown = namespace.unwrap_or_else(|| streams.first().map_or("", |one| one.namespace).to_owned());
                let streams = streams.into_iter().map(|stream| (stream.dimensions, stream.minutes));
                let items = mql.summarize(streams).into_iter().map(|(dimensions, points)| {
                    let points: Vec<Value> = points
                        .into_iter()
                        .map(|(millis, value)| json!({ "timestamp": stamp(at_millis(millis)), "value": value }))
                        .collect();
                    json!({
                        "namespace": shown,
                        "name": mql.name,
                        "compartmentId": compartment,
                        "dimensions": dimensions,
                        "metadata": {},
                        "aggregatedDatapoints": points,
                    })
                });
                Ok(Outcome::Metrics { items: items.collect(), next_page: None })
            }
            MetricsAsk::List { name, dimensions, group_by, limit, page } => {
                let now = (self.clock)();
                let day = i64::try_from(deliver::METRICS_KEEP.as_nanos()).unwrap_or(i64::MAX);
                let from = now.saturating_add_nanos(-day);
                let streams = self.streams(instance, compartment, subtree, from, now).await?;
                let mut listed = Vec::new();
                let mut seen = BTreeSet::new();
                for stream in streams {
                    let has = |(key, value): &(String, String)| stream.dimensions.get(key) == Some(value);
                    let named = name.as_ref().is_none_or(|wanted| wanted == stream.name);
                    let within = namespace.as_ref().is_none_or(|wanted| wanted == stream.namespace);
                    if !(named && within && dimensions.iter().all(has)) {
                        continue;
                    }
                    let grouped = |key: &str| group_by.is_empty() || group_by.iter().any(|by| by == key);
                    let kept: BTreeMap<&String, &String> =
                        stream.dimensions.iter().filter(|(key, _)| grouped(key)).collect();
                    let mut item = json!({ "compartmentId": stream.compartment, "dimensions": kept });
                    if grouped("namespace") {
                        item["namespace"] = Value::from(stream.namespace);
                    }
                    if grouped("name") {
                        item["name"] = Value::from(stream.name);
                    }
                    if seen.insert(item.to_string()) {
                        listed.push(item);
                    }
                }
                let (items, next_page) = page_of(listed, page.as_deref(), limit)?;
                Ok(Outcome::Metrics { items, next_page })
            }
        }
    }

    /// Every stream of a compartment, and of those below it where that is asked.
    async fn streams(
        &self,
        instance: InstanceId,
        compartment: String,
        subtree: bool,
        from: Time,
        to: Time,
    ) -> Result<Vec<Stream>, Refusal> {
        let (control, deliver) = (Arc::clone(&self.control), Arc::clone(&self.pipeline.deliver));
        let counts = self.functions.running().map(|running| running.counts()).unwrap_or_default();
        blocking(move || {
            let call = ListCall { compartment: Some(compartment), subtree, ..ListCall::default() };
            let connectors = control.list_oci(instance, Kind::ServiceConnector, &call)?;
            let named: HashMap<String, _> =
                connectors.into_iter().map(|found| (connector_of(&found.id), found)).collect();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut streams = Vec::new();
            let asked =
                MetricsQuery { metrics: Vec::new(), connector: None, from, to, interval: Duration::from_secs(60) };
            let series = deliver.metrics(instance, &asked).map_err(|error| {
                tracing::error!(%error, "the metrics of connectors cannot be read");
                Refusal::internal()
            })?;
            for series in series {
                let Some(found) = named.get(&series.connector.name) else { continue };
                let mut dimensions = series.dimensions;
                dimensions.insert("connectorId".to_owned(), found.id.clone());
                dimensions.insert("connectorName".to_owned(), text(&found.body["displayName"]));
                let minutes = series.points.iter().map(|point| {
                    let totals = Totals { count: point.count, sum: point.sum, min: point.min, max: point.max };
                    (millis_of(point.at), totals)
                });
                streams.push(Stream {
                    namespace: CONNECTORS,
                    name: Metric::name(series.metric),
                    compartment: text(&found.body["compartmentId"]),
                    dimensions,
                    minutes: minutes.collect(),
                });
            }
            for found in control.list_oci(instance, Kind::Function, &call)? {
                let own = counts.iter().filter(|counts| counts.function == found.id);
                let own: Vec<&FunctionCounts> =
                    own.filter(|counts| counts.minute >= from && counts.minute < to).collect();
                let mut dimensions = BTreeMap::new();
                dimensions.insert("resourceId".to_owned(), found.id.clone());
                dimensions.insert("resourceDisplayName".to_owned(), text(&found.body["displayName"]));
                dimensions.insert("applicationId".to_owned(), text(&found.body["applicationId"]));
                functions_streams(&own, &dimensions, &text(&found.body["compartmentId"]), &mut streams);
            }
            Ok(streams)
        })
        .await?
    }
}

/// The streams of one function: how often it was called, how long it took, what it came to.
fn functions_streams(
    counts: &[&FunctionCounts],
    dimensions: &BTreeMap<String, String>,
    compartment: &str,
    streams: &mut Vec<Stream>,
) {
    let mut push = |name: &'static str, more: Option<&str>, totals: &dyn Fn(&FunctionCounts) -> Option<Totals>| {
        let minutes: Vec<(i64, Totals)> =
            counts.iter().filter_map(|counts| Some((millis_of(counts.minute), totals(counts)?))).collect();
        let mut dimensions = dimensions.clone();
        if let Some(kind) = more {
            dimensions.insert("responseType".to_owned(), kind.to_owned());
        }
        if !minutes.is_empty() {
            let compartment = compartment.to_owned();
            streams.push(Stream { namespace: FUNCTIONS, name, compartment, dimensions, minutes });
        }
    };
    // A call is an observation of one.
    let counted = |count: u64| (count > 0).then_some(Totals { count, sum: count as f64, min: 1.0, max: 1.0 });
    push("FunctionInvocationCount", None, &|counts| counted(counts.calls));
    push("FunctionExecutionDuration", None, &|counts| {
        let mean = counts.took_ms_sum / counts.calls.max(1) as f64;
        let totals = Totals { count: counts.calls, sum: counts.took_ms_sum, min: mean, max: counts.took_ms_max };
        (counts.calls > 0).then_some(totals)
    });
    push("FunctionResponseCount", Some("Success"), &|counts| counted(counts.ok));
    push("FunctionResponseCount", Some("Suspicious"), &|counts| counted(counts.suspicious));
    push("FunctionResponseCount", Some("Error"), &|counts| counted(counts.failed));
}

fn millis_of(time: Time) -> i64 {
    time.nanos().div_euclid(1_000_000)
}

fn at_millis(millis: i64) -> Time {
    Time::from_nanos(millis.saturating_mul(1_000_000))
}
