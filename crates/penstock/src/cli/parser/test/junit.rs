//! Results in JUnit's XML, as CI systems read it.
//!
//! Written by hand: it is five elements, and a library for it would bring a calendar and an XML parser along.

use std::fmt::Write as _;

/// One test.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The parser.
    pub suite: String,
    /// What was tested.
    pub name: String,
    pub seconds: f64,
    pub outcome: Outcome,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Passed,
    Skipped(String),
    /// Something differs.
    Failed {
        message: String,
        text: String,
    },
    /// It could not be tested.
    Broken {
        message: String,
        text: String,
    },
}

/// The document. Cases of one suite stand together.
pub fn document(cases: &[Case]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    element(&mut out, "testsuites", "penstock parser test", cases);
    for suite in cases.chunk_by(|one, other| one.suite == other.suite) {
        out.push_str("  ");
        element(&mut out, "testsuite", &suite[0].suite, suite);
        for case in suite {
            let _ = write!(
                out,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escaped(&case.suite),
                escaped(&case.name),
                case.seconds
            );
            let (tag, message, text) = match &case.outcome {
                Outcome::Passed => {
                    out.push_str("/>\n");
                    continue;
                }
                Outcome::Skipped(message) => ("skipped", message, ""),
                Outcome::Failed { message, text } => ("failure", message, text.as_str()),
                Outcome::Broken { message, text } => ("error", message, text.as_str()),
            };
            let _ = write!(
                out,
                ">\n      <{tag} message=\"{}\">{}</{tag}>\n    </testcase>\n",
                escaped(message),
                escaped(text)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn element(out: &mut String, tag: &str, name: &str, cases: &[Case]) {
    let number = |is_it: fn(&Outcome) -> bool| cases.iter().filter(|case| is_it(&case.outcome)).count();
    let _ = writeln!(
        out,
        "<{tag} name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
        escaped(name),
        cases.len(),
        number(|outcome| matches!(outcome, Outcome::Failed { .. })),
        number(|outcome| matches!(outcome, Outcome::Broken { .. })),
        number(|outcome| matches!(outcome, Outcome::Skipped(_))),
        cases.iter().map(|case| case.seconds).sum::<f64>(),
    );
}

/// A text as XML has it, in an attribute or between tags. What XML 1.0 has no way to write becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(char),
            '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document() {
        let case = |suite: &str, name: &str, outcome| Case {
            suite: suite.to_owned(),
            name: name.to_owned(),
            seconds: 0.25,
            outcome,
        };
        let failed = Outcome::Failed { message: "1 of 2".to_owned(), text: "a < b & \"c\"\u{1b}\n".to_owned() };
        let broken = Outcome::Broken { message: "no".to_owned(), text: String::new() };
        let document = document(&[
            case("A", "x", Outcome::Passed),
            case("A", "y", failed),
            case("B", "x", Outcome::Skipped("why".to_owned())),
            case("B", "z", broken),
        ]);
        assert_eq!(
            document,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"penstock parser test\" tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"1.000\">
  <testsuite name=\"A\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0.500\">
    <testcase classname=\"A\" name=\"x\" time=\"0.250\"/>
    <testcase classname=\"A\" name=\"y\" time=\"0.250\">
      <failure message=\"1 of 2\">a &lt; b &amp; &quot;c&quot;\u{FFFD}
</failure>
    </testcase>
  </testsuite>
  <testsuite name=\"B\" tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"1\" time=\"0.500\">
    <testcase classname=\"B\" name=\"x\" time=\"0.250\">
      <skipped message=\"why\"></skipped>
    </testcase>
    <testcase classname=\"B\" name=\"z\" time=\"0.250\">
      <error message=\"no\"></error>
    </testcase>
  </testsuite>
</testsuites>
"
        );
    }
}
