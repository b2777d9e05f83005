//! `xml`: reads a field as an XML document and sets fields to what XPaths find in it. The machine's loops over
//! `xml(field, /path)` use the same documents and paths.
//!
//! A document is read once in a run, however many statements and turns of loops look into it ([`Documents`]): that is how
//! programs are written that go through a report row by row. Rows, too, are looked up and not counted anew.
//!
//! A path that finds several nodes sets the text of the first, one that finds none sets nothing and is no error. There are
//! no DTDs, so no entities of a document's own.

use std::cell::RefCell;
use std::rc::Rc;

use roxmltree::Document;

use crate::compile::{Build, Options, word_of};
use crate::path::Target;
use crate::plugins::xpath::{Rows, Search, Unmade, Xpath};
use crate::plugins::{place_of, text_of};
use crate::run::{Failure, Run};
use crate::value::Value;

/// How many attributes an element may have: looking for doubled ones takes the square of it.
const ATTRIBUTES_MAX: usize = 256;

/// How many namespaces may be declared around an element: each is copied to every element that declares another.
const NAMESPACES_MAX: usize = 32;

/// How many documents a run keeps.
const DOCUMENTS_MAX: usize = 4;

/// A call of `xml`.
#[derive(Debug)]
pub(crate) struct Xml {
    source: Target,
    fields: Box<[(Xpath, Target)]>,
}

impl Xml {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Xml> {
        let source = options.required("source", build)?;
        let mut fields = Vec::new();
        for (path, field) in options.pairs("xpath") {
            let Some(field) = word_of(field) else { continue };
            fields.push((Xpath::compile(path, build), build.target(field)));
        }
        Some(Xml { source: build.target(source), fields: fields.into() })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let document = read(run, text_of(run, &source)?)?;
        let tree = match &document.tree {
            Ok(tree) => tree,
            Err(unreadable) => {
                return Err(run.error(&source.text, || format!("failed to parse XML: {unreadable}")));
            }
        };
        for (xpath, target) in &self.fields {
            let steps = match xpath.steps(run) {
                Ok(steps) => steps,
                Err(Unmade::Failure(failure)) => return Err(failure),
                Err(Unmade::Missing(field)) => {
                    return Err(run.error(&field.text, || format!("source field {:?}: field not set", field.text)));
                }
                Err(Unmade::Malformed) => {
                    return Err(run.error(&source.text, || "failed to compile XPath: it is malformed".to_owned()));
                }
            };
            let search = Search::new(run, tree, &document.rows, true);
            let Some(found) = search.find(&steps)?.into_iter().next() else { continue };
            let text = search.text(&found)?;
            let target = place_of(run, target)?;
            run.set(&target, Value::Text(text))?;
        }
        Ok(())
    }
}

/// The texts of the nodes that an XPath finds; `None` where the document cannot be read, or the path not be made.
pub(crate) fn nodes<'r>(run: &Run<'r>, text: &'r str, xpath: &Xpath) -> Result<Option<Vec<&'r str>>, Failure> {
    let document = read(run, text)?;
    let Ok(tree) = &document.tree else { return Ok(None) };
    let steps = match xpath.steps(run) {
        Ok(steps) => steps,
        Err(Unmade::Failure(failure)) => return Err(failure),
        Err(Unmade::Missing(_) | Unmade::Malformed) => return Ok(None),
    };
    let search = Search::new(run, tree, &document.rows, false);
    let found = search.find(&steps)?;
    run.heap.charge(found.len() * size_of::<&str>())?;
    found.iter().map(|item| search.text(item)).collect::<Result<_, _>>().map(Some)
}

/// The documents that a run has read, by the texts that they were: a text in the arena never changes, so the same place
/// is the same document.
#[derive(Debug, Default)]
pub(crate) struct Documents<'r> {
    read: RefCell<Vec<Rc<Read<'r>>>>,
}

/// A document, or why it is none.
#[derive(Debug)]
struct Read<'r> {
    text: &'r str,
    tree: Result<Document<'r>, Unreadable>,
    rows: RefCell<Vec<Rows>>,
}

/// Why a text is no document.
#[derive(Debug)]
enum Unreadable {
    Syntax(roxmltree::Error),
    /// It would take too long.
    Large(&'static str),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Syntax(error) => error.fmt(f),
            Unreadable::Large(what) => f.write_str(what),
        }
    }
}

/// Reads a text, unless that was done already.
fn read<'r>(run: &Run<'r>, text: &'r str) -> Result<Rc<Read<'r>>, Failure> {
    let mut documents = run.documents.read.borrow_mut();
    if let Some(known) = documents.iter().find(|known| std::ptr::eq(known.text, text)) {
        return Ok(known.clone());
    }
    run.step_bytes(2 * text.len())?;
    // Nodes are at most twice as many as there are `<`, and attributes as many as there are `=`; that many are made room
    // for before anything is read.
    let count = |wanted: u8| text.bytes().filter(|byte| *byte == wanted).count();
    let attributes_max = count(b'=');
    run.heap.charge(size_of::<Read<'_>>() + 192 * count(b'<') + 80 * attributes_max)?;
    let is_small = attributes_max <= NAMESPACES_MAX
        || (attributes_max <= ATTRIBUTES_MAX && text.matches("xmlns").count() <= NAMESPACES_MAX);
    let tree = match if is_small { Ok(()) } else { measure(text) } {
        // A text that begins with blanks is read all the same, declaration or not.
        Ok(()) => Document::parse(text.trim_start()).map_err(Unreadable::Syntax),
        Err(large) => Err(Unreadable::Large(large)),
    };
    if documents.len() == DOCUMENTS_MAX {
        documents.remove(0);
    }
    let document = Rc::new(Read { text, tree, rows: RefCell::default() });
    documents.push(document.clone());
    Ok(document)
}

/// Whether reading a text takes time in proportion to its length. Whether it is well-formed is not looked at here.
fn measure(text: &str) -> Result<(), &'static str> {
    // How many namespaces are declared around each open element.
    let mut scopes: Vec<usize> = Vec::new();
    let mut at = 0;
    let past = |at: usize, end: &str| text[at..].find(end).map(|found| at + found + end.len());
    while let Some(found) = text[at..].find('<') {
        at += found + 1;
        let rest = &text[at..];
        let behind = if rest.starts_with("!--") {
            past(at, "-->")
        } else if rest.starts_with("![CDATA[") {
            past(at, "]]>")
        } else if rest.starts_with('?') {
            past(at, "?>")
        } else if rest.starts_with('/') {
            scopes.pop();
            Some(at)
        } else {
            past_start_tag(text, at, &mut scopes)?
        };
        let Some(behind) = behind else { break };
        at = behind;
    }
    Ok(())
}

/// Goes over a start tag, from behind its `<`; nowhere where it has no end.
fn past_start_tag(text: &str, from: usize, scopes: &mut Vec<usize>) -> Result<Option<usize>, &'static str> {
    let mut at = from;
    let mut attributes = 0;
    let mut namespaces = scopes.last().copied().unwrap_or(0);
    loop {
        let ends = |byte: &u8| matches!(byte, b'"' | b'\'' | b'>' | b'<' | b':' | b'=');
        let Some(found) = text.as_bytes()[at..].iter().position(ends) else { return Ok(None) };
        let name = &text[at..at + found];
        at += found + 1;
        match text.as_bytes()[at - 1] {
            b'>' => {
                if !name.ends_with('/') {
                    scopes.push(namespaces);
                }
                return Ok(Some(at));
            }
            // The tag has no end; the next begins here.
            b'<' => return Ok(Some(at - 1)),
            b':' | b'=' => namespaces += usize::from(name.trim_end().ends_with("xmlns")),
            quote => {
                attributes += 1;
                let Some(closing) = text[at..].find(char::from(quote)) else { return Ok(None) };
                at += closing + 1;
            }
        }
        if attributes > ATTRIBUTES_MAX {
            return Err("an element has too many attributes");
        }
        if namespaces > NAMESPACES_MAX {
            return Err("too many namespaces are declared around an element");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::plugins::tests::run;

    const REPORT: &str = r#" <?xml version="1.0"?>
<report kind="k&amp;k" xmlns:s="urn:s">
  <row id="1"><name>a</name><v>x</v><v>y</v></row>
  <!-- between --><row id="2"><name>b</name><v><![CDATA[<z>]]></v></row>
  <s:row id="3">text <b>and</b> &lt;more&gt;</s:row>
  <empty/>
</report>"#;

    /// What an XPath finds first in a document.
    fn first(xpath: &str, document: &str) -> Result<Option<String>, String> {
        let xpath = xpath.replace('"', "\\\"");
        let state = run(&format!(r#"xml {{ source => "in" xpath => {{ "{xpath}" => "x" }} }}"#), document)?;
        Ok(state.get("x").map(|found| found.as_str().expect("a text").to_owned()))
    }

    #[test]
    fn paths() {
        let table = [
            ("steps down", "/report/row/name", Some("a")),
            ("without the first slash", "report/row/name", Some("a")),
            ("an attribute", "/report/@kind", Some("k&k")),
            ("any attribute", "/report/row[2]/@*", Some("2")),
            ("a number counts from 1", "/report/row[2]/name", Some("b")),
            ("none has the number 0", "/report/row[0]/name", None),
            ("nor one that is too high", "/report/row[99999999999]/name", None),
            ("the last", "/report/row[last()]/@id", Some("3")),
            ("position", "/report/row[ position() = 2 ]/@id", Some("2")),
            ("anywhere", "//v", Some("x")),
            ("anywhere below", "/report//v[2]", Some("y")),
            ("any name", "/report/*[4]", Some("")),
            ("an attribute with a value", "/report/row[@id='2']/v", Some("<z>")),
            ("without one", "/report/row[@id!=\"1\"]/name", Some("b")),
            ("a number as a value", "/report/row[@id=2]/name", Some("b")),
            ("an attribute at all", "//*[@kind]/row/@id", Some("1")),
            ("a child with a value", "/report/row[name='b']/@id", Some("2")),
            ("a child at all", "/report/*[b]/@id", Some("3")),
            ("what it says itself", "//v[.='y']", Some("y")),
            ("what its texts say", "//name[text() = 'b']/../@id", Some("2")),
            ("several in a row", "/report/row[v][2]/name", Some("b")),
            ("texts alone", "/report/row[3]/text()", Some("text ")),
            ("any node", "/report/row[3]/node()[2]", Some("and")),
            ("all texts of an element", "/report/row[3]", Some("text and <more>")),
            ("a prefix", "/report/s:row/@id", Some("3")),
            ("another", "/report/t:row/@id", None),
            ("any with a prefix", "/report/s:*/@id", Some("3")),
            ("the axes in full", "/child::report/child::row/attribute::id", Some("1")),
            ("here", "/report/./row/.", Some("axy")),
            ("up", "//b/..", Some("text and <more>")),
            ("each once, in order", "//v/../@id", Some("1")),
            ("an empty element says nothing", "/report/empty", Some("")),
            ("what is not there is not set and no error", "/report/none/x", None),
        ];
        for (rule, xpath, expected) in table {
            assert_eq!(first(xpath, REPORT), Ok(expected.map(str::to_owned)), "{rule}: {xpath}");
        }
    }

    #[test]
    fn what_is_no_path() {
        let table = [
            ("", "the XPath ends too early"),
            ("/a/", "the XPath ends too early"),
            ("/a[1", "the XPath ends too early"),
            ("/a[1]b", "the XPath is not understood from \"b\" on"),
            ("/a/@b/c", "the XPath is not understood from \"c\" on"),
            ("/a[b or c]", "the XPath is not understood from \"or c]\" on"),
            ("count(/a)", "the XPath is not understood from \"(/a)\" on"),
            ("/a['x]", "the XPath is not understood from \"'x]\" on"),
            ("/a[@b='x]", "the XPath is not understood from \"'x]\" on"),
            ("/9", "the XPath is not understood from \"9\" on"),
            ("/a:", "the XPath ends too early"),
        ];
        for (xpath, expected) in table {
            assert_eq!(first(xpath, "<a/>"), Err(expected.to_owned()), "{xpath}");
        }
    }

    #[test]
    fn what_is_no_document() {
        let table = [
            ("", "the document does not have a root node"),
            ("text", "unknown token at 1:1"),
            ("<a>", "the root node was opened but never closed"),
            ("<a></b>", "expected 'a' tag, not 'b' at 1:4"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "XML with DTD detected"),
            ("<a>&b;</a>", "unknown entity reference 'b' at 1:4"),
        ];
        for (document, expected) in table {
            assert_eq!(first("/a", document), Err(format!("failed to parse XML: {expected}")), "{document}");
        }
        let caught = r#"xml { source => "in" xpath => { "/a" => "x" } on_error => "e" }"#;
        assert_eq!(run(caught, "<a>"), Ok(json!({"e": true})));
        assert_eq!(run(caught, "<a/>"), Ok(json!({"e": false, "x": ""})));
    }

    #[test]
    fn loops() {
        let table = [
            (
                "§1.5 the index begins at 1 and names the row; the item is its text",
                r#"for i, row in xml(in, /report/row[v]) {
                    xml { source => "in" xpath => { "/report/row[%{i}]/name" => "n" } }
                    mutate { replace => { "line" => "%{n}=%{row}" } }
                    mutate { merge => { "lines" => "line" } }
                }"#,
                json!(["a=axy", "b=b<z>"]),
            ),
            (
                "the index may be a text by now",
                r#"for i, row in xml(in, /report/row) {
                    mutate { convert => { "i" => "string" } }
                    xml { source => "in" xpath => { "/report/row[%{i}]/@id" => "n" } }
                    mutate { replace => { "line" => "%{i}%{n}" } }
                    mutate { merge => { "lines" => "line" } }
                }"#,
                json!(["11", "22", "33"]),
            ),
            (
                "loops in loops",
                r#"for i, row in xml(in, /report/row) {
                    for k, v in xml(in, /report/row[%{i}]/v) {
                        xml { source => "in" xpath => { "/report/row[%{i}]/v[%{k}]" => "line" } }
                        mutate { merge => { "lines" => "line" } }
                    }
                }"#,
                json!(["x", "y", "<z>"]),
            ),
            (
                "fields in names and values",
                r#"mutate { replace => { "what" => "row" "which" => "2" } }
                xml { source => "in" xpath => { "/report/%{what}[@id='%{which}']/name" => "line" } }
                mutate { merge => { "lines" => "line" } }"#,
                json!(["b"]),
            ),
            (
                "a field that holds a condition",
                r#"mutate { replace => { "which" => "@id='2'" } }
                xml { source => "in" xpath => { "/report/row[%{which}]/name" => "line" } }
                mutate { merge => { "lines" => "line" } }"#,
                json!(["b"]),
            ),
            (
                "§1.5 what is no document has no rows, nor has a path whose field is missing",
                r#"mutate { replace => { "none" => "<a>" } }
                for i, row in xml(none, /a) { mutate { merge => { "lines" => "row" } } }
                for i, row in xml(in, /report/row[%{out}]) { mutate { merge => { "lines" => "row" } } }"#,
                json!(null),
            ),
        ];
        for (rule, program, expected) in table {
            let state = run(program, REPORT);
            assert_eq!(state.map(|state| state.get("lines").cloned().unwrap_or_default()), Ok(expected), "{rule}");
        }
        let missing = r#"xml { source => "in" xpath => { "/report/row[%{out}]" => "x" } }"#;
        assert_eq!(run(missing, REPORT), Err("source field \"out\": field not set".to_owned()));
        let malformed =
            r#"mutate { replace => { "i" => "1][" } } xml { source => "in" xpath => { "/report/row[%{i}]" => "x" } }"#;
        assert_eq!(run(malformed, REPORT), Err("failed to compile XPath: it is malformed".to_owned()));
    }

    #[test]
    fn large_reports_are_gone_through_row_by_row() {
        let rows: String = (0..5_000).map(|at| format!("<row><name>n{at}</name><v>{at}</v></row>")).collect();
        let document = format!("<report>{rows}</report>");
        let program = r#"for i, row in xml(in, /report/row) {
            xml { source => "in" xpath => { "/report/row[%{i}]/name" => "n" "/report/row[%{i}]/v" => "v" } }
        }"#;
        let state = run(program, &document).expect("no limit is reached");
        assert_eq!((&state["n"], &state["v"]), (&json!("n4999"), &json!("4999")));
    }

    #[test]
    fn hostile_documents_end_soon() {
        let deep = format!("{}x{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
        assert_eq!(first("//a[text()]", &deep), Ok(Some("x".to_owned())));
        let all = "for x in xml(in, //a) { }";
        assert_eq!(run(all, &deep), Err("too many steps".to_owned()));
        assert_eq!(
            first("//a//a//a//a[last()]", &"<a>".repeat(10)),
            Err("failed to parse XML: the root node was opened but never closed".to_owned())
        );
        let attributes: String = (0..100_000).map(|at| format!(" a{at}=''")).collect();
        assert_eq!(
            first("/a", &format!("<a{attributes}/>")),
            Err("failed to parse XML: an element has too many attributes".to_owned())
        );
        let namespaces: String = (0..100).map(|at| format!("<a xmlns:n{at} = 'u'>")).collect();
        assert_eq!(
            first("/a", &namespaces),
            Err("failed to parse XML: too many namespaces are declared around an element".to_owned())
        );
        let beside = "<b xmlns='u' xmlns:c='v'/>".repeat(1000);
        assert_eq!(first("//c", &format!("<a><!-- <a xmlns='' --><![CDATA[<a xmlns='']]>{beside}</a>")), Ok(None));
        assert_eq!(first("/a", &"<".repeat(1 << 18)), Err("too much memory".to_owned()));
        assert_eq!(first("/a", &format!("<a>{}</a>", "=".repeat(1 << 19))), Err("too much memory".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_panics(document in "(<a>|</a>|<b c='d'/>|x|&lt;|<!--|-->|\u{e9}|[<>/='\" ]){0,12}", path in "(/|//|a|b|\\*|@c|\\[|\\]|1|last\\(\\)|text\\(\\)|\\.|=|'d'|%\\{in\\}|:|\u{e9}){0,8}") {
            let _ = first(&path, &format!("<a>{document}</a>"));
            let _ = first(&path, &document);
        }
    }
}
