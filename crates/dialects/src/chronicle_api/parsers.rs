//! Kept parsers and parser extensions over this API: which question each call asks, and how what is kept is shown.
//!
//! Parsers that came with the server are Google's prebuilt ones here, the others custom ones. What Google does in the
//! background, such as trying a parser on stored logs, is done when the answer leaves, so that states such as `VALIDATING`
//! are never seen. Absent: low-code parsers, field extractors and dynamic parsing, which are not programs.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use event::limits;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::filter::{Test, conditions};
use super::parser::decode;
use super::{Names, read_json};
use crate::ask::{
    Ask, KeptParser, NewParser, Outcome, ParserAct, ParserVerb, ParsersCall, ParsingError, Question, Render, Slot,
    Validation,
};
use crate::faults::Faults;
use crate::resource::{PageToken, page_size};
use crate::snapshot::Instance;
use crate::{Caller, Cause, Head, Refusal, Reply};

/// Default and largest size of a page.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// What stands for every log type in the path of a list.
const ANY_LOG_TYPE: &str = "-";

/// `google.rpc.Code` of a log that cannot be parsed: INVALID_ARGUMENT.
const INVALID_ARGUMENT: u8 = 3;

/// A call on parsers or extensions of a log type.
pub(super) struct Parsers<'a> {
    pub(super) names: &'a Names,
    pub(super) caller: &'a Caller,
    pub(super) slot: Slot,
    pub(super) log_type: &'a str,
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default, alias = "cbn_snippet", alias = "cbnSnippet")]
    cbn: Option<Cow<'b, str>>,
    #[serde(borrow, default)]
    log: Option<Cow<'b, str>>,
    #[serde(default, alias = "validatedOnEmptyLogs")]
    validated_on_empty_logs: Option<bool>,
    #[serde(default, alias = "validationSkipped")]
    validation_skipped: Option<bool>,
    #[serde(borrow, default, alias = "lowCode")]
    low_code: Option<&'b RawValue>,
    #[serde(borrow, default, alias = "fieldExtractors")]
    field_extractors: Option<&'b RawValue>,
    #[serde(borrow, default, alias = "dynamicParsing")]
    dynamic_parsing: Option<&'b RawValue>,
}

impl Parsers<'_> {
    /// A new one.
    pub(super) fn create(self, body: &[u8], instance: &Instance) -> Result<Ask, Refusal> {
        if !instance.log_types.contains(self.log_type) {
            let description = super::import::unknown_log_type(instance, self.log_type);
            return Err(Refusal::invalid_field("parent", description));
        }
        let body: Body<'_> = read_json(body)?;
        for (field, is_given) in [
            ("low_code", body.low_code.is_some()),
            ("field_extractors", body.field_extractors.is_some()),
            ("dynamic_parsing", body.dynamic_parsing.is_some()),
        ] {
            if is_given {
                let message = format!(
                    "{field} describes a {} without a program, which this server does not serve: send a program in {}.",
                    self.slot.noun(),
                    self.program_field()
                );
                return Err(Refusal::new(Cause::Unsupported, message));
            }
        }
        let mut faults = Faults::default();
        let field = self.program_field();
        let source = match body.cbn.filter(|text| !text.is_empty()) {
            Some(text) => text_of(&text, field, limits::PARSER_SOURCE_BYTES_MAX, &mut faults),
            None => {
                faults.add(field, "missing: the program in base64");
                String::new()
            }
        };
        let sample = body.log.filter(|text| !text.is_empty());
        let sample = sample.map(|text| bytes_of(&text, "log", limits::PARSER_SAMPLE_BYTES_MAX, &mut faults));
        faults.refusal("body").map_or(Ok(()), Err)?;
        let new = NewParser {
            source,
            sample: sample.map(Bytes::from),
            // An extension has no such field: it adds to a parser, and is no worse for having had nothing to add to.
            validated_on_empty_logs: self.slot == Slot::Extension || body.validated_on_empty_logs.unwrap_or(false),
            validation_skipped: body.validation_skipped.unwrap_or(false),
        };
        let act = ParserAct::Create { log_type: self.log_type.to_owned(), new };
        Ok(self.ask_one(act))
    }

    /// One of them.
    pub(super) fn get(self, id: &str) -> Ask {
        let act = self.on(id, ParserVerb::Get);
        self.ask_one(act)
    }

    /// Another one with the same program.
    pub(super) fn copy(self, id: &str) -> Ask {
        let act = self.on(id, ParserVerb::Copy);
        self.ask_one(act)
    }

    /// A verb that is answered with nothing.
    pub(super) fn act(self, id: &str, verb: ParserVerb) -> Ask {
        let act = self.on(id, verb);
        self.ask(act, |outcome| match outcome {
            Outcome::Done => Ok(Reply::json(StatusCode::OK, "{}")),
            _ => Err(Refusal::internal()),
        })
    }

    /// Removes one; one that is in use only by force.
    pub(super) fn delete(self, id: &str, head: &Head) -> Result<Ask, Refusal> {
        // Google's library writes Python's True.
        let force = match head.query_value("force").unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "false" => false,
            "true" => true,
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(Refusal::invalid_field("force", format!("{shown:?} is neither true nor false")));
            }
        };
        // Extensions have no such switch: what is in use is deleted, too.
        let force = force || self.slot == Slot::Extension;
        Ok(self.act(id, ParserVerb::Delete { force }))
    }

    /// A page of them.
    pub(super) fn list(self, head: &Head) -> Result<Ask, Refusal> {
        let filter_text = head.query_value("filter").unwrap_or_default();
        let filter = Filter::parse(&filter_text)?;
        let view = View::of(head)?;
        let size = page_size(head, PAGE_DEFAULT, PAGE_MAX)?;
        let key = collection(self.slot);
        let list = format!("{}/{key}?{filter_text}", self.names.log_type(self.log_type));
        let token = PageToken::of(head, &list)?;
        let log_type = Some(self.log_type).filter(|log_type| *log_type != ANY_LOG_TYPE).map(str::to_owned);
        let names = self.names.clone();
        Ok(self.ask(ParserAct::List { log_type }, move |outcome| {
            let Outcome::Parsers(mut all) = outcome else { return Err(Refusal::internal()) };
            all.retain(|parser| filter.holds(parser));
            let (page, next) = PageToken::page(token.as_ref(), size, &all, |parser| &parser.id);
            let mut body = Map::new();
            if !page.is_empty() {
                let shown = page.iter().map(|parser| show(&names, key, parser, view)).collect();
                body.insert(key.to_owned(), Value::Array(shown));
            }
            if let Some(next) = next {
                body.insert("nextPageToken".to_owned(), Value::String(next.encode(&list)));
            }
            Ok(Reply::json(StatusCode::OK, Value::Object(body).to_string()))
        }))
    }

    /// Parsers that an action could take. Ours have no previews and are upgraded with the server, so there is something to
    /// copy and nothing else.
    pub(super) fn candidates(self, head: &Head) -> Result<Ask, Refusal> {
        let action = head.query_any(&["parserAction", "parser_action"]).unwrap_or_default();
        let wanted = match action.as_str() {
            "CLONE_PREBUILT" => true,
            ""
            | "PARSER_ACTION_UNSPECIFIED"
            | "PARSER_ACTION_UPGRADE"
            | "PARSER_ACTION_ROLLBACK"
            | "PARSER_ACTION_OPT_IN_TO_PREVIEW"
            | "PARSER_ACTION_OPT_OUT_OF_PREVIEW" => false,
            other => {
                let shown: String = other.chars().take(60).collect();
                return Err(Refusal::invalid_field(
                    "parserAction",
                    format!("{shown:?} is none, such as CLONE_PREBUILT"),
                ));
            }
        };
        let names = self.names.clone();
        let log_type = self.log_type.to_owned();
        Ok(self.ask(ParserAct::List { log_type: Some(log_type) }, move |outcome| {
            let Outcome::Parsers(all) = outcome else { return Err(Refusal::internal()) };
            let candidates: Vec<Value> = all
                .iter()
                .filter(|parser| wanted && parser.is_prebuilt())
                .map(|parser| show(&names, "parsers", parser, View::Full))
                .collect();
            let body = if candidates.is_empty() { json!({}) } else { json!({ "candidates": candidates }) };
            Ok(Reply::json(StatusCode::OK, body.to_string()))
        }))
    }

    /// How a parser did when it was tried.
    pub(super) fn report(self, id: &str, report: &str) -> Ask {
        let name = self.report_name(id, report);
        self.ask_report(id, report, move |validation| Ok(show_report(&name, &validation)))
    }

    /// What failed then, in pages.
    pub(super) fn parsing_errors(self, id: &str, report: &str, head: &Head) -> Result<Ask, Refusal> {
        let list = format!("{}/parsingErrors", self.report_name(id, report));
        let size = page_size(head, PAGE_DEFAULT, PAGE_MAX)?;
        let token = PageToken::of(head, &list)?;
        Ok(self.ask_report(id, report, move |validation| {
            let numbered: Vec<(String, &ParsingError)> =
                validation.errors.iter().enumerate().map(|(index, error)| (index.to_string(), error)).collect();
            let (page, next) = PageToken::page(token.as_ref(), size, &numbered, |(number, _)| number);
            let mut body = Map::new();
            if !page.is_empty() {
                let shown = page.iter().map(|(number, error)| show_error(&format!("{list}/{number}"), error));
                body.insert("parsingErrors".to_owned(), shown.collect());
            }
            if let Some(next) = next {
                body.insert("nextPageToken".to_owned(), Value::String(next.encode(&list)));
            }
            Ok(Value::Object(body))
        }))
    }

    fn ask_report(
        self,
        id: &str,
        report: &str,
        show: impl FnOnce(Validation) -> Result<Value, Refusal> + Send + 'static,
    ) -> Ask {
        let act = self.on(id, ParserVerb::Report(report.to_owned()));
        self.ask(act, move |outcome| {
            let Outcome::Parser(parser) = outcome else { return Err(Refusal::internal()) };
            let validation = parser.validation.ok_or_else(Refusal::internal)?;
            Ok(Reply::json(StatusCode::OK, show(validation)?.to_string()))
        })
    }

    fn report_name(&self, id: &str, report: &str) -> String {
        let collection = collection(self.slot);
        format!("{}/{collection}/{id}/validationReports/{report}", self.names.log_type(self.log_type))
    }

    fn on(&self, id: &str, verb: ParserVerb) -> ParserAct {
        ParserAct::On { log_type: self.log_type.to_owned(), id: id.to_owned(), verb }
    }

    fn program_field(&self) -> &'static str {
        match self.slot {
            Slot::Parser => "cbn",
            Slot::Extension => "cbn_snippet",
        }
    }

    fn ask_one(self, act: ParserAct) -> Ask {
        let (names, collection) = (self.names.clone(), collection(self.slot));
        self.ask(act, move |outcome| match outcome {
            Outcome::Parser(parser) => {
                let shown = show(&names, collection, &parser, View::Full);
                Ok(Reply::json(StatusCode::OK, shown.to_string()))
            }
            _ => Err(Refusal::internal()),
        })
    }

    fn ask(self, act: ParserAct, render: impl FnOnce(Outcome) -> Result<Reply, Refusal> + Send + 'static) -> Ask {
        let call = ParsersCall { instance: self.names.instance, slot: self.slot, act };
        Ask { caller: self.caller.clone(), question: Question::Parsers(call), render: Render::new(render) }
    }
}

fn collection(slot: Slot) -> &'static str {
    match slot {
        Slot::Parser => "parsers",
        Slot::Extension => "parserExtensions",
    }
}

/// The bytes of a field in base64.
fn bytes_of(text: &str, field: &str, bytes_max: usize, faults: &mut Faults) -> Vec<u8> {
    match decode(text) {
        Some(bytes) if bytes.len() <= bytes_max => return bytes,
        Some(bytes) => faults.add(field, format!("{} bytes; it has at most {bytes_max}", bytes.len())),
        None => faults.add(field, "must be base64"),
    }
    Vec::new()
}

fn text_of(text: &str, field: &str, bytes_max: usize, faults: &mut Faults) -> String {
    String::from_utf8(bytes_of(text, field, bytes_max, faults)).unwrap_or_else(|_| {
        faults.add(field, "must be UTF-8 text in base64");
        String::new()
    })
}

/// How much of a parser a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Basic,
    Full,
}

impl View {
    fn of(head: &Head) -> Result<View, Refusal> {
        match head.query_value("view").unwrap_or_default().as_str() {
            "" | "PARSER_VIEW_UNSPECIFIED" | "FULL_VIEW" => Ok(View::Full),
            "BASIC_VIEW" => Ok(View::Basic),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(Refusal::invalid_field("view", format!("{shown:?} is neither BASIC_VIEW nor FULL_VIEW")))
            }
        }
    }
}

fn show(names: &Names, collection: &str, parser: &KeptParser, view: View) -> Value {
    let name = format!("{}/{collection}/{}", names.log_type(&parser.log_type), parser.id);
    let mut shown = if collection == "parsers" {
        show_parser(names, &name, parser, view)
    } else {
        show_extension(&name, parser, view)
    };
    if let Some(validation) = &parser.validation {
        shown["validationReport"] = Value::String(format!("{name}/validationReports/{}", validation.id));
    }
    if parser.new.validation_skipped {
        shown["validationSkipped"] = Value::Bool(true);
    }
    shown
}

fn show_parser(names: &Names, name: &str, parser: &KeptParser, view: View) -> Value {
    let state = if parser.is_active { "ACTIVE" } else { "INACTIVE" };
    let mut shown = match &parser.creator {
        None => json!({ "name": name, "type": "PREBUILT", "state": state,
                        "creator": { "source": "GOOGLE", "author": "Penstock" } }),
        Some(creator) => json!({ "name": name, "type": "CUSTOM", "state": state,
                                 "creator": { "source": "CUSTOMER", "customer": names.instance.to_string(),
                                              "author": creator } }),
    };
    shown["createTime"] = Value::String(parser.created_at.clone());
    match (&parser.creator, &parser.set_aside) {
        (None, _) => shown["releaseStage"] = Value::from("RELEASE"),
        (_, Some(_)) => shown["releaseStage"] = Value::from("FAULTY"),
        (Some(_), None) => shown["validationStage"] = Value::from(stage(parser, "PASSED", "FAILED", "NEW")),
    }
    if parser.new.validated_on_empty_logs {
        shown["validatedOnEmptyLogs"] = Value::Bool(true);
    }
    if view == View::Full {
        shown["cbn"] = Value::String(STANDARD.encode(&parser.new.source));
        if let Some(extension) = &parser.extension {
            let name = format!("{}/parserExtensions/{extension}", names.log_type(&parser.log_type));
            shown["parserExtension"] = Value::String(name);
        }
    }
    shown
}

fn show_extension(name: &str, parser: &KeptParser, view: View) -> Value {
    let state = match (parser.is_active, &parser.changed_at) {
        (true, _) => "LIVE",
        (false, Some(_)) => "ARCHIVED",
        (false, None) => stage(parser, "VALIDATED", "REJECTED", "NEW"),
    };
    let changed_at = parser.changed_at.as_ref().unwrap_or(&parser.created_at);
    let mut shown = json!({ "name": name, "state": state, "createTime": parser.created_at,
                            "stateLastChangedTime": changed_at });
    if view == View::Full {
        shown["cbnSnippet"] = Value::String(STANDARD.encode(&parser.new.source));
        if let Some(log) = &parser.new.sample {
            shown["log"] = Value::String(STANDARD.encode(log));
        }
    }
    shown
}

fn stage(parser: &KeptParser, passed: &'static str, failed: &'static str, new: &'static str) -> &'static str {
    match &parser.validation {
        _ if parser.new.validation_skipped => "VALIDATION_SKIPPED",
        Some(validation) if validation.passed => passed,
        Some(_) => failed,
        None => new,
    }
}

fn show_report(name: &str, validation: &Validation) -> Value {
    let percentage = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(0).to_string();
    let duration = |micros: u64| format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000);
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(key, count)| (key.clone(), Value::String(count.to_string()))).collect::<Map<_, _>>()
    };
    let events: u64 = validation.events.values().sum();
    let generic = validation.events.get("GENERIC_EVENT").copied().unwrap_or(0);
    let mut shown = json!({
        "name": name,
        "verdict": if validation.passed { "PASS" } else { "FAIL" },
        "stats": {
            "logEntryCount": validation.logs.to_string(),
            "successfullyNormalizedLogCount": validation.normalized.to_string(),
            "failedLogCount": validation.failed.to_string(),
            "invalidLogCount": validation.dropped.values().sum::<u64>().to_string(),
            "eventCount": events.to_string(),
            "genericEventCount": generic.to_string(),
            "eventCategoryCounts": counts(&validation.events),
            "dropTagCounts": counts(&validation.dropped),
            "maxParseDuration": duration(validation.slowest_micros),
            "avgParseDuration": duration(validation.all_micros.checked_div(validation.logs).unwrap_or(0)),
            "normalizationPercentage": percentage(validation.normalized, validation.logs),
            "genericEventPercentage": percentage(generic, events),
        },
    });
    if !validation.passed {
        let first = validation.errors.iter().take(10).enumerate();
        let first: Vec<Value> =
            first.map(|(index, error)| show_error(&format!("{name}/parsingErrors/{index}"), error)).collect();
        shown["error"] = json!({ "message": validation.verdict, "parsingErrors": first });
    }
    shown
}

fn show_error(name: &str, error: &ParsingError) -> Value {
    json!({ "name": name, "logData": error.log, "error": { "code": INVALID_ARGUMENT, "message": error.text } })
}

/// Conditions that all must hold: what clients ask of a list of parsers.
struct Filter(Vec<(Field, bool)>);

#[derive(Clone, Copy)]
enum Field {
    IsActive,
    IsPrebuilt,
}

/// A filter that may be written here.
const FILTER: &str = "STATE=ACTIVE AND TYPE=CUSTOM";

impl Filter {
    fn parse(text: &str) -> Result<Filter, Refusal> {
        let parsed = conditions(text, FILTER)?.into_iter().map(|condition| {
            let (field, value) = (condition.field.to_ascii_uppercase(), condition.value.to_ascii_uppercase());
            let (field, holds) = match (field.as_str(), value.as_str()) {
                _ if condition.test == Test::Has => return Err(condition.wrong("expected = or !=", FILTER)),
                ("STATE", "ACTIVE") => (Field::IsActive, true),
                ("STATE", "INACTIVE") => (Field::IsActive, false),
                ("TYPE", "PREBUILT") => (Field::IsPrebuilt, true),
                ("TYPE", "CUSTOM") => (Field::IsPrebuilt, false),
                _ => return Err(condition.wrong("expected a STATE or TYPE", FILTER)),
            };
            Ok((field, holds == (condition.test == Test::Is)))
        });
        parsed.collect::<Result<_, _>>().map(Filter)
    }

    fn holds(&self, parser: &KeptParser) -> bool {
        self.0.iter().all(|(field, expected)| {
            let found = match field {
                Field::IsActive => parser.is_active,
                Field::IsPrebuilt => parser.is_prebuilt(),
            };
            found == *expected
        })
    }
}

#[cfg(test)]
mod tests;
