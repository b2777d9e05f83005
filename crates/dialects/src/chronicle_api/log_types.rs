//! `logTypes` list and get: what Google's clients look at before they send.

use event::limits;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Names;
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

/// Conditions that all must hold: a small part of the filters of Google's APIs (AIP-160).
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Test {
    Is,
    IsNot,
    Has,
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, Refusal> {
        let mut conditions = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if conditions.len() >= limits::LOG_TYPES_FILTER_CONDITIONS_MAX {
                let description = format!("more than {} conditions", limits::LOG_TYPES_FILTER_CONDITIONS_MAX);
                return Err(Refusal::invalid_field("filter", description));
            }
            let (condition, after) = Condition::parse(rest)?;
            conditions.push(condition);
            rest = after.trim_start();
            if rest.is_empty() {
                break;
            }
            rest =
                rest.strip_prefix("AND ").ok_or_else(|| wrong(rest, "expected AND between conditions"))?.trim_start();
        }
        Ok(Filter(conditions))
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

impl Condition {
    fn parse(text: &str) -> Result<(Condition, &str), Refusal> {
        let end = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        let field = match field {
            "name" => Field::Name,
            "display_name" | "displayName" => Field::DisplayName,
            "is_custom" | "isCustom" => Field::IsCustom,
            _ => return Err(wrong(text, "expected name, displayName or isCustom")),
        };
        let rest = rest.trim_start();
        let tests = [("!=", Test::IsNot), ("=", Test::Is), (":", Test::Has)];
        let found = tests.into_iter().find_map(|(sign, test)| Some((test, rest.strip_prefix(sign)?)));
        let (test, rest) = found.ok_or_else(|| wrong(rest, "expected =, != or :"))?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| wrong(rest, "expected a closing quote"))?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        if value.is_empty() {
            return Err(wrong(rest, "expected a value"));
        }
        Ok((Condition { field, test, value: value.to_owned() }, rest))
    }
}

fn wrong(at: &str, what: &str) -> Refusal {
    let shown: String = at.chars().take(60).collect();
    Refusal::invalid_field("filter", format!("{what} at {shown:?}, such as displayName:\"okta\" AND isCustom = false"))
}
