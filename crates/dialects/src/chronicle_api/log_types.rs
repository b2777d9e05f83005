//! `logTypes` list and get: what Google's clients look at before they send.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Names;
use super::filter::{Test, conditions};
use crate::resource::{PageToken, page_size};
use crate::snapshot::Instance;
use crate::{Cause, Head, Refusal, Reply};

/// Default and largest size of a page.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// A page of the instance's log types, by name.
pub(super) fn list(head: &Head, names: &Names, instance: &Instance) -> Result<Reply, Refusal> {
    let filter_text = head.query_value("filter").unwrap_or_default();
    let filter = Filter::parse(&filter_text)?;
    let size = page_size(head, PAGE_DEFAULT, PAGE_MAX)?;
    let list = format!("{}/logTypes?{filter_text}", names.instance_name());
    let token = PageToken::of(head, &list)?;
    let chosen: Vec<(&str, &str, bool)> = instance
        .log_types
        .all()
        .into_iter()
        .filter(|(name, description, is_custom)| filter.holds(&names.log_type(name), description, *is_custom))
        .collect();
    let (page, next) = PageToken::page(token.as_ref(), size, &chosen, |(name, ..)| name);
    let mut body = Map::new();
    if !page.is_empty() {
        let shown = page.iter().map(|(name, description, is_custom)| show(names, name, description, *is_custom));
        body.insert("logTypes".to_owned(), Value::Array(shown.collect()));
    }
    if let Some(next) = next {
        body.insert("nextPageToken".to_owned(), Value::String(next.encode(&list)));
    }
    Ok(Reply::json(StatusCode::OK, Value::Object(body).to_string()))
}

/// One log type.
pub(super) fn get(names: &Names, instance: &Instance, name: &str) -> Result<Reply, Refusal> {
    match instance.log_types.get(name) {
        Some((description, is_custom)) => {
            Ok(Reply::json(StatusCode::OK, show(names, name, description, is_custom).to_string()))
        }
        None => Err(Refusal::new(Cause::NotFound, format!("{}.", super::import::unknown_log_type(instance, name)))),
    }
}

fn show(names: &Names, name: &str, description: &str, is_custom: bool) -> Value {
    let display_name = if description.is_empty() { name } else { description };
    let mut shown = json!({ "name": names.log_type(name), "displayName": display_name });
    if is_custom {
        shown["customLogTypeLabel"] = Value::from(name);
        shown["isCustom"] = Value::Bool(true);
    }
    shown
}

/// Conditions that all must hold.
struct Filter(Vec<Condition>);

struct Condition {
    field: Field,
    test: Test,
    value: String,
}

#[derive(Clone, Copy)]
enum Field {
    Name,
    DisplayName,
    IsCustom,
}

/// A filter that may be written here.
const FILTER: &str = "displayName:\"okta\" AND isCustom = false";

impl Filter {
    fn parse(text: &str) -> Result<Filter, Refusal> {
        let parsed = conditions(text, FILTER)?.into_iter().map(|condition| {
            let field = match condition.field {
                "name" => Field::Name,
                "display_name" | "displayName" => Field::DisplayName,
                "is_custom" | "isCustom" => Field::IsCustom,
                _ => return Err(condition.wrong("expected name, displayName or isCustom", FILTER)),
            };
            Ok(Condition { field, test: condition.test, value: condition.value.to_owned() })
        });
        parsed.collect::<Result<_, _>>().map(Filter)
    }

    fn holds(&self, name: &str, display_name: &str, is_custom: bool) -> bool {
        self.0.iter().all(|condition| {
            let value = match condition.field {
                Field::Name => name,
                Field::DisplayName => display_name,
                Field::IsCustom if is_custom => "true",
                Field::IsCustom => "false",
            };
            match condition.test {
                Test::Is => value == condition.value || value.rsplit('/').next() == Some(&condition.value),
                Test::IsNot => value != condition.value && value.rsplit('/').next() != Some(&condition.value),
                Test::Has => value.to_lowercase().contains(&condition.value.to_lowercase()),
            }
        })
    }
}
