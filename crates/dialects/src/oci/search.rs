//! Looking: searches of logs, the audit records of a compartment, and metrics. What a query says is `query::oci`'s to read;
//! here are the calls around it.

use event::{Time, limits};
use query::oci::{LogQuery, Mql};
use serde_json::{Map, Value, json};

use super::form::{self, Field, Given, Holds, What, read};
use super::reply::{self, List};
use super::{Asked, AuditCall, LogSearch, MetricsAsk, MetricsCall, Outcome, Question, missing};
use crate::faults::Faults;
use crate::{Intake, Refusal};

const SEARCH: &[Field] = &[
    Field { key: "timeStart", given: Given::Must, holds: Holds::Text { min: 1, max: 64 } },
    Field { key: "timeEnd", given: Given::Must, holds: Holds::Text { min: 1, max: 64 } },
    Field { key: "searchQuery", given: Given::Must, holds: Holds::Other(query_text) },
    Field { key: "isReturnFieldInfo", given: Given::May, holds: Holds::Bool },
];

const SUMMARIZE: &[Field] = &[
    Field { key: "namespace", given: Given::Must, holds: Holds::Text { min: 1, max: 255 } },
    Field { key: "resourceGroup", given: Given::May, holds: Holds::Text { min: 0, max: 255 } },
    Field { key: "query", given: Given::Must, holds: Holds::Other(query_text) },
    Field { key: "startTime", given: Given::May, holds: Holds::Text { min: 1, max: 64 } },
    Field { key: "endTime", given: Given::May, holds: Holds::Text { min: 1, max: 64 } },
    Field { key: "resolution", given: Given::May, holds: Holds::Text { min: 1, max: 16 } },
];

const LIST_METRICS: &[Field] = &[
    Field { key: "name", given: Given::May, holds: Holds::Text { min: 0, max: 255 } },
    Field { key: "namespace", given: Given::May, holds: Holds::Text { min: 0, max: 255 } },
    Field { key: "resourceGroup", given: Given::May, holds: Holds::Text { min: 0, max: 255 } },
    Field { key: "dimensionFilters", given: Given::May, holds: Holds::TextMap },
    Field { key: "groupBy", given: Given::May, holds: Holds::Texts(20) },
    Field { key: "sortBy", given: Given::May, holds: Holds::OneOf(&["NAMESPACE", "NAME", "RESOURCEGROUP"]) },
    Field { key: "sortOrder", given: Given::May, holds: Holds::OneOf(&["ASC", "DESC"]) },
];

/// Over how long metrics are summed when nobody says: OCI's three hours.
const METRICS_SECS_DEFAULT: i64 = 3 * 3_600;

impl Asked<'_> {
    pub(super) fn search(&self) -> Result<Intake, Refusal> {
        let list = List::of(self.head, &self.request.body);
        let body = self.body(SEARCH, "search")?;
        let (from, to) = (time_of(&body, "timeStart")?, time_of(&body, "timeEnd")?);
        let (Some(from), Some(to)) = (from, to) else { return Err(Refusal::internal()) };
        if from >= to {
            return Err(Refusal::invalid_field("timeEnd", "must be later than timeStart"));
        }
        let with_fields = body.get("isReturnFieldInfo").and_then(Value::as_bool).unwrap_or(false);
        let text = text_of(&body, "searchQuery").unwrap_or_default();
        let query = LogQuery::parse(&text)
            .map_err(|wrong| Refusal::invalid_field("searchQuery", format!("\n{}", wrong.render(&text))))?;
        let ask = Question::Search(LogSearch {
            text,
            query: Box::new(query),
            from,
            to,
            limit: self.limit(limits::OCI_SEARCH_ROWS_DEFAULT, limits::OCI_SEARCH_ROWS_MAX)?,
            page: list.page(self.head)?,
            bytes_max: limits::GOOGLE_SEARCH_BYTES_MAX,
        });
        self.ask(ask, move |outcome| {
            let Outcome::Rows { rows, fields, next_page } = outcome else { return Err(Refusal::internal()) };
            let fields = if with_fields { fields } else { Vec::new() };
            let fields = fields.into_iter().map(|(name, kind)| json!({ "fieldName": name, "fieldType": kind }));
            let fields: Vec<Value> = fields.collect();
            let summary = json!({ "resultCount": rows.len(), "fieldCount": fields.len() });
            let results: Vec<Value> = rows.into_iter().map(|row| json!({ "data": row })).collect();
            let body = json!({ "results": results, "fields": fields, "summary": summary });
            Ok(list.with_next(reply::json(&body), next_page.as_deref()))
        })
    }

    pub(super) fn audit_events(&self) -> Result<Intake, Refusal> {
        let list = List::of(self.head, &[]);
        let compartment = self.compartment()?;
        let time = |name: &str| {
            let text = self.head.query_value(name).filter(|text| !text.is_empty()).ok_or_else(|| missing(name))?;
            // A plus that stands for itself has become a space.
            read_time(name, &text.replace(' ', "+"))
        };
        let (from, to) = (time("startTime")?, time("endTime")?);
        if from > to {
            return Err(Refusal::invalid_field("endTime", "must not be earlier than startTime"));
        }
        let ask = Question::AuditEvents(AuditCall {
            compartment,
            from,
            to,
            page: list.page(self.head)?,
            limit: self.limit(limits::OCI_SEARCH_ROWS_DEFAULT, limits::OCI_SEARCH_ROWS_MAX)?,
            bytes_max: limits::GOOGLE_SEARCH_BYTES_MAX,
        });
        self.ask(ask, move |outcome| {
            let Outcome::Events { items, next_page } = outcome else { return Err(Refusal::internal()) };
            Ok(list.with_next(reply::json(&Value::Array(items)), next_page.as_deref()))
        })
    }

    pub(super) fn summarize_metrics(&self) -> Result<Intake, Refusal> {
        let (compartment, subtree) = (self.compartment()?, self.flag("compartmentIdInSubtree")?);
        let body = self.body(SUMMARIZE, "summary of metrics")?;
        let text = text_of(&body, "query").unwrap_or_default();
        let query =
            Mql::parse(&text).map_err(|wrong| Refusal::invalid_field("query", format!("\n{}", wrong.render(&text))))?;
        let to = time_of(&body, "endTime")?.unwrap_or(self.now);
        let from = time_of(&body, "startTime")?;
        let from = from.unwrap_or_else(|| to.saturating_add_nanos(-METRICS_SECS_DEFAULT * 1_000_000_000));
        if from >= to {
            return Err(Refusal::invalid_field("endTime", "must be later than startTime"));
        }
        let resolution_secs = text_of(&body, "resolution").map(|text| interval_secs(&text)).transpose()?;
        let ask = MetricsAsk::Summarize { query, from, to, resolution_secs };
        self.ask_metrics(compartment, subtree, &body, ask, None)
    }

    pub(super) fn list_metrics(&self) -> Result<Intake, Refusal> {
        let (compartment, subtree) = (self.compartment()?, self.flag("compartmentIdInSubtree")?);
        let list = List::of(self.head, &self.request.body);
        let body = self.body(LIST_METRICS, "list of metrics")?;
        let pairs = body.get("dimensionFilters").and_then(Value::as_object).into_iter().flatten();
        let dimensions =
            pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        let group_by = body.get("groupBy").and_then(Value::as_array).into_iter().flatten();
        let ask = MetricsAsk::List {
            name: text_of(&body, "name"),
            dimensions,
            group_by: group_by.filter_map(Value::as_str).map(str::to_owned).collect(),
            limit: self.limit(limits::OCI_LIST_DEFAULT, limits::OCI_LIST_MAX)?,
            page: list.page(self.head)?,
        };
        self.ask_metrics(compartment, subtree, &body, ask, Some(list))
    }

    fn ask_metrics(
        &self,
        compartment: String,
        subtree: bool,
        body: &Map<String, Value>,
        ask: MetricsAsk,
        list: Option<List>,
    ) -> Result<Intake, Refusal> {
        let namespace = text_of(body, "namespace");
        let ask = Question::Metrics(MetricsCall { compartment, subtree, namespace, ask });
        self.ask(ask, move |outcome| {
            let Outcome::Metrics { items, next_page } = outcome else { return Err(Refusal::internal()) };
            let reply = reply::json(&Value::Array(items));
            Ok(match list {
                Some(list) => list.with_next(reply, next_page.as_deref()),
                None => reply,
            })
        })
    }

    fn body(&self, fields: &'static [Field], noun: &str) -> Result<Map<String, Value>, Refusal> {
        let mut faults = Faults::default();
        let body = read(fields, form::object(self.request)?, "", noun, What::Create, &mut faults);
        match form::refusal(faults) {
            Some(refusal) => Err(refusal),
            None => Ok(body),
        }
    }
}

fn query_text(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    match value.as_str() {
        Some(text) if text.len() > limits::QUERY_BYTES_MAX => {
            faults.add(path, format!("has {} bytes, more than the {} allowed", text.len(), limits::QUERY_BYTES_MAX));
            None
        }
        Some(_) => Some(value),
        None => {
            faults.add(path, format!("must be a string, not {}", form::named(&value)));
            None
        }
    }
}

fn text_of(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time_of(body: &Map<String, Value>, key: &str) -> Result<Option<Time>, Refusal> {
    body.get(key).and_then(Value::as_str).map(|text| read_time(key, text)).transpose()
}

fn read_time(field: &str, text: &str) -> Result<Time, Refusal> {
    Time::parse_rfc3339(text.trim()).map_err(|why| Refusal::invalid_field(field, format!("is no time: {why}")))
}

/// How long an interval is, such as `1m` or `2h`.
fn interval_secs(text: &str) -> Result<u64, Refusal> {
    let wrong = || Refusal::invalid_field("resolution", "must be like 1m, 5m, 1h or 1d");
    let (count, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let secs = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    if !(1..=1_440).contains(&count) {
        return Err(wrong());
    }
    Ok(count * secs)
}
