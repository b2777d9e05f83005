//! `base64`: decodes a text.
//!
//! Options (contracts/cbn.md §1.5): `source`, `target` (the source itself where none is given), and `encoding`, one of the
//! four of Go's `encoding/base64`: `Standard` (the default), `RawStandard`, `URL`, `RawURL`; the raw ones have no padding.
//! As in Go, line ends within the text do not count. What comes out is a text, or bytes where it is none.

use ::base64::Engine;
use ::base64::alphabet::{STANDARD, URL_SAFE};
use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::compile::{Build, Options};
use crate::path::Target;
use crate::plugins::{place_of, text_of};
use crate::run::{Failure, Run};
use crate::value::Value;

/// The names of the encodings.
const ENCODINGS: [&str; 4] = ["Standard", "RawStandard", "URL", "RawURL"];

/// A call of `base64`.
#[derive(Debug)]
pub(crate) struct Base64 {
    source: Target,
    target: Target,
    engine: GeneralPurpose,
}

impl Base64 {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Base64> {
        let source = options.required("source", build)?;
        let encoding = options.word("encoding");
        let name = encoding.map_or("Standard", |word| &word.text);
        let Some(known) = ENCODINGS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            let span = encoding.map_or(options.span(), |word| word.span);
            build.error("base64-encoding", span, format!("base64 knows the encodings {}", ENCODINGS.join(", ")));
            return None;
        };
        let alphabet = if known.ends_with("URL") { URL_SAFE } else { STANDARD };
        let padding =
            if known.starts_with("Raw") { DecodePaddingMode::RequireNone } else { DecodePaddingMode::RequireCanonical };
        // Go does not look at the bits that are left over in the last character.
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
        Some(Base64 {
            source: build.target(source),
            target: build.target(options.word("target").unwrap_or(source)),
            engine: GeneralPurpose::new(&alphabet, config),
        })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let text = text_of(run, &source)?;
        run.step_bytes(text.len())?;
        // Two copies at the most, both shorter than the text.
        run.heap.charge(2 * text.len())?;
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let decoded = if text.as_bytes().iter().any(ends) {
            let joined: Vec<u8> = text.bytes().filter(|byte| !ends(byte)).collect();
            self.engine.decode(joined)
        } else {
            self.engine.decode(text)
        };
        let decoded = match decoded {
            Ok(decoded) => run.heap.bump().alloc_slice_copy(&decoded),
            Err(error) => return Err(run.error(&source.text, || format!("failed to decode base64: {error}"))),
        };
        let value = match std::str::from_utf8(decoded) {
            Ok(text) => Value::Text(text),
            Err(_) => Value::Bytes(decoded),
        };
        let target = place_of(run, &self.target)?;
        run.set(&target, value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::plugins::tests::run;

    #[test]
    fn encodings() {
        let failed = |what: &str| Err(format!("failed to decode base64: {what}"));
        let table = [
            ("the default", "", "YT8+", Ok(json!({"in": "a?>"}))),
            ("padding has to be there", "", "YQ", failed("Invalid padding")),
            ("the other alphabet", r#"encoding => "URL""#, "w4_DvsO-", Ok(json!({"in": "Ïþþ"}))),
            ("it is another", r#"encoding => "Standard""#, "w4_D", failed("Invalid symbol 95, offset 2.")),
            ("without padding", r#"encoding => "RawStandard""#, "YQ", Ok(json!({"in": "a"}))),
            ("padding must not be there", r#"encoding => "RawURL""#, "YQ==", failed("Invalid padding")),
            ("what is no text is bytes", r#"encoding => "RawURL""#, "_w", Ok(json!({"in": "\u{fffd}"}))),
            ("ends of lines do not count", "", "YW\r\nFh\n", Ok(json!({"in": "aaa"}))),
            ("bits that are left over do not count", "", "YR==", Ok(json!({"in": "a"}))),
            ("nothing", "", "", Ok(json!({"in": ""}))),
            ("a target", r#"target => "x.y""#, "YQ==", Ok(json!({"x": {"y": "a"}}))),
            (
                "no encoding",
                r#"encoding => "Base32""#,
                "",
                Err("base64 knows the encodings Standard, RawStandard, URL, RawURL".to_owned()),
            ),
            (
                "a source that is not set",
                r#"source => "out""#,
                "",
                Err("source field \"out\": field not set".to_owned()),
            ),
        ];
        for (rule, options, text, expected) in table {
            let mut got = run(&format!(r#"base64 {{ source => "in" {options} }}"#), text);
            if let (Ok(state), true) = (&mut got, options.contains("target")) {
                state.as_object_mut().expect("a state is a map").remove("in");
            }
            assert_eq!(got, expected, "{rule}");
        }
    }
}
