//! `validateQuery`: whether a query can be read, and where it cannot.
//!
//! The answer is 200 either way, with a type of error and a place, as Google's `ValidateQueryResponse` has it.

use http::StatusCode;
use query::{Diagnostic, Mistake, Options};
use serde_json::{Value, json};
use std::sync::Arc;
use udm::Schema;

use crate::{Head, Reply};

/// What is to be said of the query in this request.
pub(super) fn validate(head: &Head, schema: &Arc<Schema>) -> Reply {
    let text = unescape(&head.query_any(&["rawQuery", "raw_query"]).unwrap_or_default());
    let dialect = head.query_value("dialect").unwrap_or_default();
    Reply::json(StatusCode::OK, answer(&text, &dialect, schema).to_string())
}

fn answer(text: &str, dialect: &str, schema: &Arc<Schema>) -> Value {
    if !["", "DIALECT_UNSPECIFIED", "DIALECT_UDM_SEARCH", "0", "2"].contains(&dialect) {
        let shown: String = dialect.chars().take(60).collect();
        return json!({ "errorType": "INVALID_QUERY_TYPE", "errorText": format!("queries of {shown} are not supported") });
    }
    let read = if query::has_raw_conditions(text) {
        query::parse_raw(text, false).map(|_| "QUERY_TYPE_RAW_LOG_QUERY")
    } else {
        query::parse_udm(text, schema, Options::default()).map(|predicate| {
            if predicate.kinds().contains(&event::Kind::Udm) {
                "QUERY_TYPE_UDM_QUERY"
            } else {
                "QUERY_TYPE_ENTITY_GRAPH_QUERY"
            }
        })
    };
    match read {
        Ok(query_type) => json!({ "queryType": query_type }),
        Err(diagnostic) => wrong(text, &diagnostic),
    }
}

fn wrong(text: &str, diagnostic: &Diagnostic) -> Value {
    let error_type = match diagnostic.mistake {
        Mistake::Field => "INVALID_FIELD_PATH_TYPE",
        Mistake::OpenBracket => "UNCLOSED_BRACKET_TYPE",
        Mistake::OpenQuote => "UNCLOSED_QUOTES_TYPE",
        Mistake::TooLarge => "QUERY_TOO_LARGE_TYPE",
        // Google's list has no type for what does not follow the grammar.
        Mistake::Other => "INVALID_QUERY_TYPE",
    };
    let help = diagnostic.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let [(start_line, start_column), (end_line, end_column)] = diagnostic.position(text);
    json!({
        "errorType": error_type,
        "errorText": format!("{}{help}", diagnostic.message),
        "errorPosition": {
            "startLine": start_line, "startColumn": start_column, "endLine": end_line, "endColumn": end_column,
        },
    })
}

/// Google's library sends `!` as the six characters of a JSON escape. No query means anything else by one, so all of
/// this form are read; what follows a backslash that is itself escaped is left alone.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (character, len) = match escape(rest) {
            Some((high @ 0xD800..=0xDBFF, _)) => match rest.get(6..).and_then(escape) {
                Some((low @ 0xDC00..=0xDFFF, _)) => {
                    (char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 12)
                }
                _ => (None, 6),
            },
            Some((unit, len)) => (char::from_u32(unit), len),
            None => (None, 1 + rest[1..].chars().next().map_or(0, char::len_utf8)),
        };
        match character {
            Some(character) => out.push(character),
            None => out.push_str(&rest[..len]),
        }
        rest = &rest[len..];
    }
    out + rest
}

/// The unit of UTF-16 that an escape at the start of the text stands for, and its length.
fn escape(text: &str) -> Option<(u32, usize)> {
    let digits =
        text.strip_prefix("\\u")?.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (sent, read) in [
            (r#"ip \u0021= """#, r#"ip != """#),
            (r"\u0041\u00e9\u6771", "Aé東"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d x \u0021", r"\ud83d x !"),
            (r"\ude00", r"\ude00"),
            (r"\\u0021", r"\\u0021"),
            (r"\u002", r"\u002"),
            (r"\u+021", r"\u+021"),
            (r"a\", r"a\"),
            (r"\é\u0021", r"\é!"),
            ("", ""),
        ] {
            assert_eq!(unescape(sent), read, "{sent}");
        }
    }

    #[test]
    fn answers() {
        let schema = Schema::load();
        let place =
            |from: usize, to: usize| json!({ "startLine": 1, "startColumn": from, "endLine": 1, "endColumn": to });
        for (query, dialect, expected) in [
            (r#"ip != """#, "DIALECT_UDM_SEARCH", json!({ "queryType": "QUERY_TYPE_UDM_QUERY" })),
            (r#"metadata.event_type = "USER_LOGIN""#, "", json!({ "queryType": "QUERY_TYPE_UDM_QUERY" })),
            (r#"entity.user.userid = "a""#, "", json!({ "queryType": "QUERY_TYPE_ENTITY_GRAPH_QUERY" })),
            (r#"raw = "x""#, "", json!({ "queryType": "QUERY_TYPE_RAW_LOG_QUERY" })),
            (
                r#"principal.hostnme = "x""#,
                "",
                json!({ "errorType": "INVALID_FIELD_PATH_TYPE", "errorPosition": place(11, 18) }),
            ),
            (r#"(ip = "x""#, "", json!({ "errorType": "UNCLOSED_BRACKET_TYPE", "errorPosition": place(1, 2) })),
            (r#"ip = "x"#, "", json!({ "errorType": "UNCLOSED_QUOTES_TYPE", "errorPosition": place(6, 7) })),
            ("ip =", "", json!({ "errorType": "INVALID_QUERY_TYPE", "errorPosition": place(4, 5) })),
            ("", "", json!({ "errorType": "INVALID_QUERY_TYPE", "errorPosition": place(1, 1) })),
            (&"x".repeat(70_000), "", json!({ "errorType": "QUERY_TOO_LARGE_TYPE", "errorPosition": place(1, 1) })),
            ("SELECT 1", "DIALECT_SQL", json!({ "errorType": "INVALID_QUERY_TYPE" })),
        ] {
            let mut got = answer(query, dialect, &schema);
            let error_text = got.as_object_mut().unwrap().remove("errorText");
            assert_eq!((&got, error_text.is_some()), (&expected, expected.get("errorType").is_some()), "{query:.60}");
        }
    }
}
