//! `findUdmFieldValues`: values seen in events that hold a text, for those who write a query.
//!
//! The component looks at the newest events only, so the answer is a help and no proof that a value was never seen.

use event::limits;
use http::StatusCode;
use serde_json::{Value, json};

use super::Names;
use crate::ask::{Ask, FieldValue, FieldValuesCall, Outcome, Question, Render};
use crate::{Caller, Head, Refusal, Reply};

/// As Google's proto describes `limit`.
const VALUES_DEFAULT: usize = 250;

/// The question that this request asks.
pub(super) fn find(names: &Names, caller: &Caller, head: &Head) -> Result<Ask, Refusal> {
    let text = head.query_value("query").unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::invalid_field("query", "missing: the part of a value to look for"));
    }
    if text.len() > limits::FIELD_VALUE_BYTES_MAX {
        let description = format!("longer than {} bytes, as no value is", limits::FIELD_VALUE_BYTES_MAX);
        return Err(Refusal::invalid_field("query", description));
    }
    // The newer versions call it limit.
    let size = head.query_any(&["limit", "pageSize", "page_size"]);
    let values_max = match size.as_deref().map(|text| text.trim().parse::<i64>()) {
        None | Some(Ok(0)) => VALUES_DEFAULT,
        Some(Ok(size)) if size > 0 => usize::try_from(size).unwrap_or(usize::MAX).min(limits::FIELD_VALUES_MAX),
        Some(_) => return Err(Refusal::invalid_field("pageSize", "must be a whole number, zero or more")),
    };
    let call = FieldValuesCall {
        instance: names.instance,
        text,
        values_max,
        records_max: limits::FIELD_VALUES_RECORDS_MAX,
        bytes_max: limits::GOOGLE_SEARCH_BYTES_MAX,
    };
    let render = Render::new(|outcome| match outcome {
        Outcome::FieldValues { values, has_more } => {
            let values: Vec<Value> = values.iter().map(shown).collect();
            // `nextPageToken` said no more than this either, and there is nothing to send it to.
            let body = json!({ "valueMatches": values, "hasMoreMatches": has_more });
            Ok(Reply::json(StatusCode::OK, body.to_string()))
        }
        _ => Err(Refusal::internal()),
    });
    Ok(Ask { caller: caller.clone(), question: Question::FieldValues(call), render })
}

fn shown(found: &FieldValue) -> Value {
    json!({
        "fieldPath": found.path,
        "value": found.value,
        "ingestionTime": found.received_at,
        "matchStart": found.matched.start,
        "matchEnd": found.matched.end,
    })
}
