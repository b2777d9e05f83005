//! The fields of JSON that may be cut off, wrong, or hostile: a scan that takes what it understands and goes on.
//!
//! Absent: checking, and unescaping of texts; what a rule asks for has no escapes.

/// Deepest nesting that is looked into, most fields that are kept, longest path of one.
const DEPTH_MAX: usize = 32;
const FIELDS_MAX: usize = 1024;
const PATH_BYTES_MAX: usize = 256;

/// A scalar, or the key of an object or list.
#[derive(Debug, PartialEq)]
pub(super) struct Field<'a> {
    /// The keys down to it, joined by points; lists add nothing.
    pub(super) path: String,
    /// The text of a scalar as it stands, without quotes; empty for objects and lists.
    pub(super) value: &'a str,
}

impl Field<'_> {
    /// Whether its path is this one or ends in it: rules need not know what a record is wrapped in.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.path.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}

/// The fields of the JSON at the start of `text`.
pub(super) fn fields(text: &str) -> Vec<Field<'_>> {
    let bytes = text.as_bytes();
    let mut fields = Vec::new();
    let mut path = String::new();
    // Per open object or list: whether it is an object, and how much of the path belongs to it.
    let mut open: Vec<(bool, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() && fields.len() < FIELDS_MAX && path.len() <= PATH_BYTES_MAX {
        let start = at;
        at += 1;
        match bytes[start] {
            b'{' | b'[' => {
                if open.len() == DEPTH_MAX {
                    break;
                }
                open.push((bytes[start] == b'{', path.len()));
            }
            b'}' | b']' => {
                open.pop();
                // The end of all of it, or what is no beginning.
                if open.is_empty() {
                    break;
                }
            }
            b',' => path.truncate(open.last().map_or(0, |(_, len)| *len)),
            b'"' => {
                let end = end_of_text(bytes, at);
                let inner = &text[start + 1..end];
                at = (end + 1).min(bytes.len());
                while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                    at += 1;
                }
                match open.last() {
                    Some((true, len)) if bytes.get(at) == Some(&b':') => {
                        path.truncate(*len);
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(inner);
                        at += 1;
                        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                            at += 1;
                        }
                        if matches!(bytes.get(at), Some(b'{' | b'[')) {
                            fields.push(Field { path: path.clone(), value: "" });
                        }
                    }
                    Some(_) => fields.push(Field { path: path.clone(), value: inner }),
                    None => break,
                }
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'-' => {
                while bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
                    at += 1;
                }
                fields.push(Field { path: path.clone(), value: &text[start..at] });
            }
            _ => {}
        }
    }
    fields
}

/// Where the quote stands that ends a text, or the end of all.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += 1 + usize::from(bytes[at] == b'\\');
    }
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &[(&str, &str)]) {
        let got = fields(json);
        let got: Vec<(&str, &str)> = got.iter().map(|field| (field.path.as_str(), field.value)).collect();
        assert_eq!(got, expected, "{json}");
    }

    #[test]
    fn fields_of_whole_and_broken_json() {
        check(
            r#"{"a": 1, "b" : {"c":"x\"y", "d": [true, {"e": -1.5e3}], "id.f": null}, "g": "z"} tail "h": 1"#,
            &[
                ("a", "1"),
                ("b", ""),
                ("b.c", "x\\\"y"),
                ("b.d", ""),
                ("b.d", "true"),
                ("b.d.e", "-1.5e3"),
                ("b.id.f", "null"),
                ("g", "z"),
            ],
        );
        check(r#"[{"a":"b"},{"a":"c"}]"#, &[("a", "b"), ("a", "c")]);
        check(r#"{"a":"cut o"#, &[("a", "cut o")]);
        check(r#"{"a":"cut \"#, &[("a", "cut \\")]);
        check(r#"{"ключ":"значение"}"#, &[("ключ", "значение")]);
        for json in ["", "\"x\"", "]}", "{}", "[", "}{\"a\":1"] {
            check(json, &[]);
        }
        assert_eq!(fields(&"[".repeat(100_000)).len(), 0);
        assert_eq!(fields(&format!("{{{}", "\"a\":{".repeat(100_000))).len(), DEPTH_MAX);
        assert_eq!(fields(&format!("[{}", "1,".repeat(100_000))).len(), FIELDS_MAX);
    }

    #[test]
    fn a_path_is_found_by_its_end() {
        let field = Field { path: "Records.userIdentity.type".to_owned(), value: "" };
        for (path, expected) in [("type", true), ("userIdentity.type", true), ("Identity.type", false), ("x", false)] {
            assert_eq!(field.is_at(path), expected, "{path}");
        }
    }
}
