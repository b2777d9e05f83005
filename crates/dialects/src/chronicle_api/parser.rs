//! `runParser`: a parser that is sent along, run on logs that are sent along. Nothing of either is kept.
//!
//! The body is that of Google's proto (contracts/cbn.md §4.4), in either spelling; programs and logs are base64. The answer
//! has a result for each log, in order. A program that cannot be read is the sender's mistake: 400 with every place.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use event::limits;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Names, read_json};
use crate::ask::{Ask, Outcome, ParsedLog, Question, Render, RunParserCall};
use crate::faults::Faults;
use crate::{Caller, Refusal, Reply};

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    parser: Option<Parser<'b>>,
    #[serde(borrow, default, alias = "parserExtension")]
    parser_extension: Option<Extension<'b>>,
    #[serde(borrow, default)]
    log: Option<Vec<Text<'b>>>,
    #[serde(default, alias = "statedumpAllowed")]
    statedump_allowed: Option<bool>,
}

#[derive(Deserialize)]
struct Parser<'b> {
    #[serde(borrow, default)]
    cbn: Option<Text<'b>>,
}

#[derive(Deserialize)]
struct Extension<'b> {
    #[serde(borrow, default, alias = "cbnSnippet")]
    cbn_snippet: Option<Text<'b>>,
}

/// A text that is only copied where it has escapes.
#[derive(Deserialize)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

/// The question that this request asks.
pub(super) fn run(names: &Names, caller: &Caller, log_type: &str, body: &[u8]) -> Result<Ask, Refusal> {
    let body: Body<'_> = read_json(body)?;
    let mut faults = Faults::default();
    let parser = match body.parser.and_then(|parser| parser.cbn) {
        Some(text) => program(&text, "parser.cbn", &mut faults),
        None => {
            faults.add("parser.cbn".to_owned(), "missing: the parser's program in base64");
            String::new()
        }
    };
    let extension = body
        .parser_extension
        .and_then(|extension| extension.cbn_snippet)
        .map(|text| program(&text, "parser_extension.cbn_snippet", &mut faults))
        .filter(|text| !text.trim().is_empty());
    let sent = body.log.unwrap_or_default();
    if !(1..=limits::RUN_PARSER_LOGS_MAX).contains(&sent.len()) {
        let description = format!("{} logs; from 1 to {} can be sent", sent.len(), limits::RUN_PARSER_LOGS_MAX);
        faults.add("log".to_owned(), description);
    }
    let mut logs = Vec::with_capacity(sent.len().min(limits::RUN_PARSER_LOGS_MAX));
    for (index, text) in sent.iter().enumerate().take(limits::RUN_PARSER_LOGS_MAX) {
        match decode(&text.0) {
            Some(log) if log.len() <= limits::RUN_PARSER_LOG_BYTES_MAX => logs.push(Bytes::from(log)),
            Some(log) => {
                let description =
                    format!("{} bytes; a log has at most {}", log.len(), limits::RUN_PARSER_LOG_BYTES_MAX);
                faults.add(format!("log[{index}]"), description);
            }
            None => faults.add(format!("log[{index}]"), "must be a log in base64"),
        }
    }
    faults.refusal("body").map_or(Ok(()), Err)?;
    let call = RunParserCall {
        instance: names.instance,
        log_type: log_type.to_owned(),
        parser,
        extension,
        logs: logs.clone(),
        statedumps: body.statedump_allowed.unwrap_or(false),
    };
    let render = Render::new(move |outcome| match outcome {
        Outcome::Parsed(parsed) if parsed.len() == logs.len() => answer(&logs, parsed),
        _ => Err(Refusal::internal()),
    });
    Ok(Ask { caller: caller.clone(), question: Question::RunParser(call), render })
}

fn program(text: &Text<'_>, field: &str, faults: &mut Faults) -> String {
    match decode(&text.0).map(String::from_utf8) {
        Some(Ok(text)) => return text,
        Some(Err(_)) => faults.add(field.to_owned(), "must be UTF-8 text in base64"),
        None => faults.add(field.to_owned(), "must be a program in base64"),
    }
    String::new()
}

/// Base64 in either alphabet, with or without padding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.contains(['-', '_']) {
        return STANDARD_NO_PAD.decode(text.replace('-', "+").replace('_', "/")).ok();
    }
    STANDARD_NO_PAD.decode(text).ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    run_parser_results: Vec<RunResult>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunResult {
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parsed_events: Option<ParsedEvents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statedump_results: Vec<Statedump>,
}

#[derive(Serialize)]
struct ParsedEvents {
    events: Vec<Shown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Shown {
    Event(Box<RawValue>),
    Entity(Box<RawValue>),
}

/// `google.rpc.Status`; 3 is INVALID_ARGUMENT.
#[derive(Serialize)]
struct Status {
    code: u8,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statedump {
    statedump_result: String,
}

fn answer(logs: &[Bytes], parsed: Vec<ParsedLog>) -> Result<Reply, Refusal> {
    let result = |(log, parsed): (&Bytes, ParsedLog)| {
        let events = parsed.events.into_iter().map(|event| {
            let json = RawValue::from_string(event.json).map_err(|_| Refusal::internal())?;
            Ok(if event.is_entity { Shown::Entity(json) } else { Shown::Event(json) })
        });
        let events: Vec<Shown> = events.collect::<Result<_, Refusal>>()?;
        Ok(RunResult {
            log: base64::engine::general_purpose::STANDARD.encode(log),
            parsed_events: parsed.error.is_none().then_some(ParsedEvents { events }),
            error: parsed.error.map(|message| Status { code: 3, message }),
            statedump_results: parsed
                .statedumps
                .into_iter()
                .map(|statedump_result| Statedump { statedump_result })
                .collect(),
        })
    };
    let results: Vec<RunResult> = logs.iter().zip(parsed).map(result).collect::<Result<_, Refusal>>()?;
    let body = serde_json::to_string(&Answer { run_parser_results: results }).map_err(|_| Refusal::internal())?;
    Ok(Reply::json(StatusCode::OK, body))
}
