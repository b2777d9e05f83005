//! Reading replies: Google's error form (AIP-193) with its field violations, and successes that must be JSON.

use serde_json::Value;

use crate::error::{Error, Refusal, Violation};

/// How many characters of a text that is not of the API go into an error.
const EXCERPT_CHARS_MAX: usize = 200;

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A success's JSON. A body that is none is no success, whatever the status says: proxies and captive portals answer
    /// 200 too.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(&error.to_string()))
    }

    pub(crate) fn unexpected(&self, why: &str) -> Error {
        let excerpt = excerpt(&String::from_utf8_lossy(&self.body));
        Error::UnexpectedReply { status: self.status, why: format!("{why}: {excerpt:?}") }
    }

    /// What a reply that is no success says.
    pub(crate) fn refusal(&self) -> Refusal {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let json = serde_json::from_str::<Value>(&text).unwrap_or_default();
        // Streaming calls wrap their error into an array.
        let error = &json.get(0).unwrap_or(&json)["error"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = match error["message"].as_str() {
            Some(message) => message.to_owned(),
            None if text.trim().is_empty() => "no text".to_owned(),
            None => excerpt(&text),
        };
        let violations = error["details"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|detail| detail["fieldViolations"].as_array())
            .flatten()
            .map(|violation| {
                let field = word(&violation["field"]);
                Violation { item: item_of(&field), field, description: word(&violation["description"]) }
            });
        Refusal {
            status: self.status,
            code: word(&error["status"]),
            message,
            violations: violations.collect(),
            body: text,
        }
    }
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(EXCERPT_CHARS_MAX).collect()
}

/// The index of the item that a field's path names: the first index behind one of the lists that requests have.
pub(crate) fn item_of(field: &str) -> Option<usize> {
    ["logs[", "events[", "entities[", "logData[", "log_data["].into_iter().find_map(|list| {
        let (_, rest) = field.split_once(list)?;
        let (index, _) = rest.split_once(']')?;
        index.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: http::HeaderMap::new(), body: body.to_owned().into() }
    }

    #[test]
    fn a_refusal_tells_what_was_said_and_where() {
        let body = r#"{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"X"},
            {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[
                {"field":"inline_source.logs[12].data","description":"not base64"},
                {"field":"inlineSource.events[3].udm.metadata.labels[7]","description":"odd"},
                {"field":"parent","description":"unknown"}]}]}}"#;
        let violation = |field: &str, description: &str, item| Violation {
            field: field.to_owned(),
            description: description.to_owned(),
            item,
        };
        let expected = Refusal {
            status: 400,
            code: "INVALID_ARGUMENT".to_owned(),
            message: "Bad.".to_owned(),
            violations: vec![
                violation("inline_source.logs[12].data", "not base64", Some(12)),
                violation("inlineSource.events[3].udm.metadata.labels[7]", "odd", Some(3)),
                violation("parent", "unknown", None),
            ],
            body: body.to_owned(),
        };
        assert_eq!(reply(400, body).refusal(), expected);
        assert_eq!(
            expected.to_string(),
            "the receiver answers 400 INVALID_ARGUMENT: Bad.; item 12, inline_source.logs[12].data: not base64; \
             item 3, inlineSource.events[3].udm.metadata.labels[7]: odd; parent: unknown"
        );
    }

    #[test]
    fn a_fault_that_the_message_tells_is_not_told_twice() {
        let violation = |field: &str, item| Violation {
            field: field.to_owned(),
            description: "unknown log type \"X\"".to_owned(),
            item,
        };
        let of = |message: &str, violation| Refusal {
            status: 400,
            code: String::new(),
            message: message.to_owned(),
            violations: vec![violation],
            body: String::new(),
        };
        let said = "log_type: unknown log type \"X\"";
        let at = "logs[3].a: unknown log type \"X\"";
        let cases = [
            (of(said, violation("log_type", None)), format!("the receiver answers 400: {said}")),
            (of("Bad.", violation("log_type", None)), format!("the receiver answers 400: Bad.; {said}")),
            (of(at, violation("logs[3].a", Some(3))), format!("the receiver answers 400: {at}")),
            // The caller knows it as another one.
            (of(at, violation("logs[3].a", Some(7))), format!("the receiver answers 400: {at}; item 7, {at}")),
        ];
        for (refusal, expected) in cases {
            assert_eq!(refusal.to_string(), expected);
        }
    }

    #[test]
    fn whatever_stands_in_an_error_reply_is_read() {
        let cases = [
            (r#"[{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}]"#, "PERMISSION_DENIED", "no"),
            (r#"{"error":{"message":null}}"#, "", r#"{"error":{"message":null}}"#),
            (r#"{"error":"invalid_grant"}"#, "", r#"{"error":"invalid_grant"}"#),
            ("<html>Bad Gateway</html>", "", "<html>Bad Gateway</html>"),
            ("[]", "", "[]"),
            ("", "", "no text"),
        ];
        for (body, code, message) in cases {
            let refusal = reply(403, body).refusal();
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message), "{body}");
        }
        assert_eq!(reply(502, &"ä".repeat(1_000)).refusal().message, "ä".repeat(EXCERPT_CHARS_MAX));
    }

    #[test]
    fn a_page_with_status_200_is_no_success() {
        let error = reply(200, "<html>Sign in to the Wi-Fi").json::<Value>().unwrap_err();
        assert!(matches!(error, Error::UnexpectedReply { status: 200, .. }), "{error}");
        assert!(error.to_string().contains("Sign in"), "{error}");
    }
}
