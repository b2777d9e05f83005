//! `grok`: takes fields out of a text with regular expressions in which patterns may be called by name
//! (`%{IP:client}`).
//!
//! When a program is compiled, every `%{…}` is replaced by what it stands for, and every group with a name becomes a
//! field; at run time the expressions of a field are tried in order and the first that matches sets its fields. Values
//! are stretches of the text that was matched; nothing is copied.
//!
//! Rules (contracts/cbn.md §1.5 and Google's documentation): matching is not anchored; a field that exists already is
//! an error unless `overwrite` names it, even one that is empty; a pattern in which nothing has a name, neither a group
//! nor a pattern called by name, counts as none; a group that took no part in the match sets nothing; `match_all` takes
//! every match that does not overlap the one before. An expression that is none of RE2's is only warned of and never
//! matches, since shipped parsers hold some.

use std::collections::{HashMap, HashSet};

use crate::compile::{Build, Options, words_of};
use crate::diagnostic::Diagnostic;
use crate::path::{Path, Target};
use crate::plugins::{grok_patterns, place_of, text_of};
use crate::re2::{self, Places};
use crate::run::{Failure, Run};
use crate::syntax::ast::{Span, Word};
use crate::value::{Map, Value};

/// How long an expression may become when its `%{…}` are replaced.
const EXPANDED_BYTES_MAX: usize = 128 << 10;

/// How deep patterns may call patterns; ours go five deep.
const EXPANSION_DEPTH_MAX: usize = 16;

/// A call of grok.
#[derive(Debug)]
pub(crate) struct Grok {
    sources: Vec<Source>,
    match_all: bool,
}

/// A field with the expressions for it.
#[derive(Debug)]
struct Source {
    field: Target,
    patterns: Vec<Pattern>,
}

/// One expression.
#[derive(Debug)]
struct Pattern {
    captures: re2::Captures,
    fields: Vec<Field>,
    /// Which field each group sets: the first is group 1.
    groups: Vec<u32>,
}

/// A field that an expression sets.
#[derive(Debug)]
struct Field {
    path: Path,
    overwrite: bool,
}

impl Grok {
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Grok> {
        let pairs = options.pairs("match");
        if pairs.is_empty() {
            build.diagnostics.push(
                Diagnostic::error("missing-option", options.span(), "grok needs match")
                    .help("Add match => { \"message\" => \"…\" } between its braces."),
            );
            return None;
        }
        let overwrite = options.words("overwrite").into_iter().map(|word| build.path(word).text).collect();
        let mut failed = false;
        let mut sources = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mut patterns = Vec::new();
            for word in words_of(value) {
                // Programs leave patterns empty; such a one is passed over (contracts/cbn.md §1.5).
                if word.text.is_empty() {
                    continue;
                }
                if build.is_regex_hopeless() {
                    return None;
                }
                match expand(&word.text) {
                    Ok(expanded) => patterns.extend(Pattern::compile(&expanded, word, &overwrite, build)),
                    Err(error) => {
                        failed = true;
                        let found = error.diagnostic(word.span, build);
                        build.diagnostics.push(found);
                    }
                }
            }
            sources.push(Source { field: build.target(key), patterns });
        }
        (!failed).then(|| Grok { sources, match_all: options.flag("match_all") })
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        // Why the last field could not be read; that is told only where no other field matched.
        let mut unread = None;
        let mut places = Places::default();
        for source in &self.sources {
            let text = match place_of(run, &source.field).and_then(|place| text_of(run, &place)) {
                Ok(text) => text,
                Err(Failure::Error(fault)) => {
                    unread = Some(Failure::Error(fault));
                    continue;
                }
                Err(other) => return Err(other),
            };
            // Of several patterns most do not match.
            let hopeful = source.patterns.len() == 1;
            for pattern in &source.patterns {
                run.step(1)?;
                pattern.captures.weight.charge(run, text.len())?;
                let matched = if self.match_all {
                    pattern.take_all(run, text, &mut places)?
                } else {
                    pattern.take_first(run, text, hopeful, &mut places)?
                };
                if matched {
                    return Ok(());
                }
            }
        }
        Err(unread.unwrap_or_else(|| {
            let field = match self.sources.first().map(|source| &source.field) {
                Some(Target::Fixed(path)) => &path.text,
                _ => "",
            };
            run.error(field, || "failed to parse data with all match patterns".to_owned())
        }))
    }
}

impl Pattern {
    /// `None` for an expression that can never set anything.
    fn compile(expanded: &str, word: &Word, overwrite: &HashSet<Box<str>>, build: &mut Build) -> Option<Pattern> {
        let captures = match re2::compile_captures_in(expanded, &mut build.regex_room) {
            Ok(captures) => captures,
            // Too large for us and not for RE2, so nothing that a shipped parser would work without.
            Err(error) if error.offset.is_none() => {
                build.error("grok-too-large", word.span, error.message);
                return None;
            }
            Err(error) => {
                // Places in the expanded text mean nothing to whoever wrote the pattern.
                let shown = if expanded == word.text { error.to_string() } else { error.message };
                build.warning(
                    Diagnostic::warning("grok-regex", word.span, format!("this pattern can never match: {shown}"))
                        .help("RE2 refuses it, so the other patterns of the list have to match."),
                );
                return None;
            }
        };
        // Google's documentation: a pattern needs a named group, and one called by name counts as such.
        if captures.names.is_empty() && expanded == word.text {
            build.warning(
                Diagnostic::warning(
                    "grok-no-capture",
                    word.span,
                    "this pattern names no field, so it never counts as a match",
                )
                .help("Name a field in it: %{DATA:field} or (?P<field>…)."),
            );
            return None;
        }
        let mut fields: Vec<Field> = Vec::new();
        // A pattern may name fields by the thousand.
        let mut places: HashMap<Box<str>, u32> = HashMap::new();
        let mut groups = Vec::with_capacity(captures.names.len());
        for name in &captures.names {
            let path = Path::new(name, &mut build.names);
            let at = *places.entry(path.text.clone()).or_insert_with(|| {
                let overwrite = overwrite.contains(&path.text);
                fields.push(Field { path, overwrite });
                fields.len() as u32 - 1
            });
            groups.push(at);
        }
        Some(Pattern { captures, fields, groups })
    }

    /// Sets the fields of the first match; whether there is one.
    fn take_first<'r>(
        &self,
        run: &Run<'r>,
        text: &'r str,
        hopeful: bool,
        places: &mut Places,
    ) -> Result<bool, Failure> {
        let Some(whole) = self.captures.find(text, 0, hopeful, places) else { return Ok(false) };
        self.captures.weight.charge_groups(run, whole.len())?;
        self.check_overwrite(run, |group| places.get(group).is_some())?;
        for (at, field) in self.groups.iter().enumerate() {
            if let Some((start, end)) = places.get(at + 1) {
                run.set(&self.fields[*field as usize].path, Value::Text(&text[start..end]))?;
            }
        }
        Ok(true)
    }

    /// Sets the fields of all matches, one behind the other; whether there is any. Each field becomes a map from the
    /// number of the match, from 0, to what it found.
    fn take_all<'r>(&self, run: &Run<'r>, text: &'r str, places: &mut Places) -> Result<bool, Failure> {
        let mut maps: Vec<Option<&'r Map<'r>>> = vec![None; self.fields.len()];
        let mut matches = 0_u32;
        let mut from = 0;
        while from <= text.len() {
            let Some(whole) = self.captures.find(text, from, false, places) else { break };
            run.step(1)?;
            self.captures.weight.charge_groups(run, whole.len())?;
            self.captures.weight.charge_next(run, text.len() - whole.end)?;
            self.check_overwrite(run, |group| places.get(group).is_some())?;
            let index = run.heap.name(&matches.to_string())?;
            for (at, field) in self.groups.iter().enumerate() {
                if let Some((start, end)) = places.get(at + 1) {
                    let map = match maps[*field as usize] {
                        Some(map) => map,
                        None => *maps[*field as usize].insert(run.heap.map()?),
                    };
                    map.set(&run.heap, index, Value::Text(&text[start..end]))?;
                }
            }
            matches += 1;
            from = if whole.is_empty() {
                // After a match of nothing the search goes on behind the next character.
                whole.end + text[whole.end..].chars().next().map_or(1, char::len_utf8)
            } else {
                whole.end
            };
        }
        for (map, field) in maps.into_iter().zip(&self.fields) {
            if let Some(map) = map {
                run.set(&field.path, Value::Map(map))?;
            }
        }
        Ok(matches > 0)
    }

    /// An error for a field that would be set, exists, and may not be overwritten. Before any is set, so that a failed
    /// grok leaves the state as it was.
    fn check_overwrite(&self, run: &Run<'_>, matched: impl Fn(usize) -> bool) -> Result<(), Failure> {
        for (at, field) in self.groups.iter().enumerate() {
            let field = &self.fields[*field as usize];
            if !field.overwrite && matched(at + 1) && run.get(&field.path).is_some() {
                let name = &field.path.text;
                return Err(
                    run.error(name, || format!("field \"{name}\" already exists in data and is not overwritable"))
                );
            }
        }
        Ok(())
    }
}

/// Why a pattern could not be put together.
#[derive(Debug, PartialEq)]
enum ExpandError {
    Unknown(String),
    TooLarge,
}

impl ExpandError {
    fn diagnostic(self, span: Span, build: &mut Build) -> Diagnostic {
        match self {
            ExpandError::Unknown(name) => {
                let found =
                    Diagnostic::error("unknown-pattern", span, format!("there is no grok pattern named {name}"));
                match build.suggest(&name, grok_patterns::names()) {
                    Some(near) => found.help(format!("Did you mean %{{{near}}}?")),
                    None => found.help("Write the regular expression itself: (?P<field>…)."),
                }
            }
            ExpandError::TooLarge => Diagnostic::error(
                "grok-too-large",
                span,
                format!("with its %{{…}} replaced this pattern is longer than {EXPANDED_BYTES_MAX} bytes"),
            ),
        }
    }
}

/// Replaces every `%{…}` by what it stands for.
fn expand(pattern: &str) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(4 * pattern.len());
    expand_into(&mut expanded, pattern, 0)?;
    Ok(expanded)
}

fn expand_into(expanded: &mut String, pattern: &str, depth: usize) -> Result<(), ExpandError> {
    if depth > EXPANSION_DEPTH_MAX {
        return Err(ExpandError::TooLarge);
    }
    let mut rest = pattern;
    while let Some(start) = rest.find("%{") {
        expanded.push_str(&rest[..start]);
        let Some((reference, after)) = Reference::read(&rest[start..]) else {
            expanded.push_str("%{");
            rest = &rest[start + 2..];
            continue;
        };
        rest = after;
        let inner = match grok_patterns::named(reference.pattern) {
            Some(inner) => inner,
            None => match grok_patterns::piece(reference.pattern) {
                Some(piece) if depth > 0 => piece,
                _ => return Err(ExpandError::Unknown(reference.pattern.to_owned())),
            },
        };
        match reference.field {
            Some(field) => {
                expanded.push_str("(?P<");
                expanded.push_str(field);
                expanded.push('>');
            }
            None => expanded.push_str("(?:"),
        }
        expand_into(expanded, inner, depth + 1)?;
        expanded.push(')');
        if expanded.len() > EXPANDED_BYTES_MAX {
            return Err(ExpandError::TooLarge);
        }
    }
    expanded.push_str(rest);
    Ok(())
}

/// `%{IP:client}`, taken apart.
struct Reference<'p> {
    pattern: &'p str,
    field: Option<&'p str>,
}

impl<'p> Reference<'p> {
    /// Reads one at the start of a text; with what stands behind it. What has another form is no reference but a part
    /// of the expression.
    ///
    /// A type behind the field (`%{INT:port:int}`) is read and passed over: the documentation knows none, and all that
    /// grok sets is text.
    fn read(text: &'p str) -> Option<(Reference<'p>, &'p str)> {
        let (inside, after) = text.strip_prefix("%{")?.split_once('}')?;
        let mut parts = inside.split(':');
        let pattern = parts.next()?;
        if pattern.is_empty() || !pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let field = parts.next().map(str::trim).filter(|field| !field.is_empty());
        if field.is_some_and(|field| field.contains('>')) {
            return None;
        }
        Some((Reference { pattern, field }, after))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Context, Diagnostic, Machine, Observer, Program, Severity};

    /// The state at the end, or the text of the error.
    fn run(statements: &str, log: &str) -> Result<Json, String> {
        #[derive(Default)]
        struct Dump(Json);
        impl Observer for Dump {
            fn dump(&mut self, _label: &str, run: &Run<'_>) {
                self.0 = crate::dump(run);
            }
        }
        thread_local! {
            static SCHEMA: Arc<udm::Schema> = udm::Schema::load();
        }
        let source = format!("filter {{ {statements} statedump {{}} drop {{}} }}");
        let program = Program::new("test.conf", source).unwrap_or_else(|found| panic!("{statements}: {found:#?}"));
        let context = Context::new("2026-11-26T12:00:00Z".parse().expect("a time"));
        let mut dump = Dump::default();
        let outcome = Machine::new(SCHEMA.with(Arc::clone)).watch(&program, log.as_bytes(), &context, &mut dump);
        match outcome.end {
            Err(error) if error.end == crate::End::Failed => Err(error.text),
            _ => Ok(dump.0),
        }
    }

    fn quoted(pattern: &str) -> String {
        format!("\"{}\"", pattern.replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// The fields that one pattern sets; `None` where it does not match.
    fn fields(pattern: &str, text: &str) -> Option<Json> {
        let statement = format!("grok {{ match => {{ \"message\" => {} }} on_error => \"failed\" }}", quoted(pattern));
        let Json::Object(mut state) = run(&statement, text).expect("on_error catches what fails") else {
            panic!("the state is a map")
        };
        let failed = state.remove("failed") == Some(json!(true));
        state.retain(|name, _| name != "message" && !name.starts_with('@'));
        assert!(!failed || state.is_empty(), "a failed grok leaves the state as it was");
        (!failed).then_some(Json::Object(state))
    }

    #[test]
    fn names_are_sorted_and_their_expressions_are_of_re2() {
        let names: Vec<_> = grok_patterns::names().collect();
        assert!(names.is_sorted());
        for name in names {
            let expanded = expand(&format!("%{{{name}:field}}")).expect(name);
            re2::compile_captures(&expanded).unwrap_or_else(|error| panic!("{name}: {error}: {expanded}"));
        }
    }

    #[test]
    fn a_pattern_sets_what_it_names() {
        let cases = [
            ("matching is not anchored", "%{INT:n}", "port 443 open", json!({"n": "443"})),
            ("a pattern without a field sets nothing", "%{WORD} %{WORD:second}", "one two", json!({"second": "two"})),
            ("a pattern called by name counts as named", "^%{GREEDYDATA}$", "anything", json!({})),
            ("groups with a name, in both notations", "(?P<a>x+)(?<b>y+)", "xxy", json!({"a": "xx", "b": "y"})),
            ("groups without a name set nothing", "(x)(?P<a>y)", "xy", json!({"a": "y"})),
            ("dots make maps", "%{WORD:who.name}", "ann", json!({"who": {"name": "ann"}})),
            ("brackets make maps", "%{WORD:[who][name]}", "ann", json!({"who": {"name": "ann"}})),
            ("in groups as well", "(?P<who.name>n+)", "ann", json!({"who": {"name": "nn"}})),
            ("names that RE2 would refuse", "(?P<1st>a)(?P<x-y>n)", "an", json!({"1st": "a", "x-y": "n"})),
            ("a group in a group", "(?P<all>%{INT:n}ms)", "12ms", json!({"all": "12ms", "n": "12"})),
            ("a group that took no part sets nothing", "(?:%{INT:n}|%{WORD:w})", "abc", json!({"w": "abc"})),
            ("an empty match sets an empty text", "a%{DATA:d}b", "ab", json!({"d": ""})),
            ("one field in both branches", "(%{INT:v} ms|took %{INT:v})", "it took 12", json!({"v": "12"})),
            ("one field twice: the last", "%{WORD:w} %{WORD:w}", "one two", json!({"w": "two"})),
            ("a type is passed over", "%{INT:n:int}", "12", json!({"n": "12"})),
            ("an empty field is none", "%{WORD:} %{WORD:w}", "one two", json!({"w": "two"})),
            ("names within standard patterns", "%{SYSLOGPROG}:", "sshd[12]:", json!({"program": "sshd", "pid": "12"})),
            ("what is no reference is text", "%{(?P<a>b)", "%{b", json!({"a": "b"})),
            ("a dot stops at the end of a line", "%{GREEDYDATA:a}", "one\ntwo", json!({"a": "one"})),
            ("unless told otherwise", "(?s)%{GREEDYDATA:a}", "one\ntwo", json!({"a": "one\ntwo"})),
        ];
        for (rule, pattern, text, expected) in cases {
            assert_eq!(fields(pattern, text), Some(expected), "{rule}: {pattern} on {text:?}");
        }
    }

    #[test]
    fn standard_patterns_match_what_they_name() {
        // A pattern, texts that it finds whole, and texts in which it finds nothing.
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("INT", &["0", "-12", "+3"], &["abc"]),
            ("NUMBER", &["1", "1.5", "-0.25", ".5"], &["."]),
            ("BASE16NUM", &["0xFF", "dead", "+1f"], &["xyz"]),
            ("POSINT", &["1", "90"], &["0", "a1"]),
            ("NONNEGINT", &["0", "007"], &["a1"]),
            ("WORD", &["abc_1"], &["--"]),
            ("NOTSPACE", &["a-b,c"], &["  "]),
            ("QUOTEDSTRING", &[r#""a \" b""#, "'x'", "``", r#""""#], &["\"open"]),
            ("UUID", &["01234567-89ab-CDEF-0123-456789abcdef"], &["01234567-89ab"]),
            ("IP", &["10.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "2001:db8::8:800:200c:417a"], &["10.0.0"]),
            ("IPV4", &["192.168.1.20"], &["1.2.3", "::1"]),
            (
                "IPV6",
                &["::", "1::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:10.0.0.1", "1:2:3:4:5:6:10.0.0.1", "1:2:3::8"],
                &["10.0.0.1", "12:30:45"],
            ),
            ("MAC", &["00:1b:44:11:3A:b7", "00-1B-44-11-3A-B7", "001b.4411.3ab7"], &["00:1b:44"]),
            ("HOSTNAME", &["host-1", "www.example.com", "x."], &["_", "---"]),
            ("IPORHOST", &["10.0.0.1", "db.example.com"], &["[]"]),
            ("HOSTPORT", &["example.com:443", "10.0.0.1:80"], &["example.com"]),
            ("EMAILADDRESS", &["ann.b+c@example.com", "a_b-c@x.y"], &["@example.com", "ann@"]),
            ("USER", &["ann.b_c-d"], &["@"]),
            ("PATH", &["/var/log/a", r"C:\Windows\cmd.exe"], &["none"]),
            ("URI", &["https://ann@example.com:8443/a/b?c=d&e", "ftp://x", "urn+x://y/z"], &["example.com/a"]),
            ("URIPATHPARAM", &["/a/b?c=d"], &["a"]),
            ("MONTH", &["Jan", "September"], &["Janx", "jan"]),
            ("MONTHNUM", &["1", "09"], &["x"]),
            ("MONTHDAY", &["01", "9", "31"], &["x"]),
            ("DAY", &["Mon", "Sunday"], &["Mo"]),
            ("YEAR", &["26", "2026"], &["2"]),
            ("TIME", &["23:59:60", "1:02:03.123", "01:02:03,5"], &["24:61:00", "12:30"]),
            ("DATE", &["12/31/2026", "12-31-26", "31.12.2026"], &["1231"]),
            (
                "TIMESTAMP_ISO8601",
                &["2026-11-26T12:00:00Z", "2026-11-26 12:00:00.123+01:00", "2026-11-26T1200", "2026-11-26T12:00-0500"],
                &["26/11/2026"],
            ),
            ("SYSLOGTIMESTAMP", &["Nov 26 12:00:00", "Nov  6 01:02:03"], &["Nov 26"]),
            ("HTTPDATE", &["26/Nov/2026:12:00:00 +0100"], &["26/11/2026:12:00:00 +0100"]),
            ("DATESTAMP_EVENTLOG", &["20261126120000.5"], &["2026"]),
            ("DATESTAMP_OTHER", &["Thu Nov 26 12:00:00 UTC 2026"], &["Thu"]),
            ("LOGLEVEL", &["INFO", "warning", "Error", "EMERGENCY"], &["loud"]),
            ("SYSLOGFACILITY", &["<3.7>"], &["<3>"]),
        ];
        for (pattern, whole, none) in cases {
            for text in *whole {
                let found = fields(&format!("%{{{pattern}:field}}"), text);
                assert_eq!(found.as_ref().map(|found| &found["field"]), Some(&json!(text)), "{pattern} on {text:?}");
            }
            for text in *none {
                assert_eq!(fields(&format!("%{{{pattern}:field}}"), text), None, "{pattern} on {text:?}");
            }
        }
    }

    #[test]
    fn standard_patterns_find_the_same_either_way() {
        let texts = [
            "<30>Nov 26 12:00:00 ns1.example.com named[1234]: client @0x7f 10.1.2.3#53124 (www.example.com): query: IN A",
            r#"10.0.0.1 - ann [26/Nov/2026:12:00:00 +0100] "GET /a?b=c HTTP/1.1" 200 512 "https://x.y/" "agent/1.0""#,
            "2026-11-26T12:00:00.123Z fe80::1%eth0 ::ffff:10.0.0.1 1:2:3:4:5:6:7:8 a:b::c 00:1b:44:11:3a:b7 001b.4411.3ab7",
            r"https://ann:p@example.com:8443/a/b?c=d#e C:\Windows\x.exe /dev/pts/1 -12.5e3 0xFF 'q' `` ann@example.com",
            "26.11.2026-12:00 11/26/26 12:00:60 Thu Nov 26 12:00:00 UTC 2026 éÉ\u{a0} WARN::error::: .:. 1::",
        ];
        for name in grok_patterns::names() {
            for pattern in [format!("%{{{name}:f}}"), format!("%{{DATA:d}} %{{{name}:f}}(?: %{{NOTSPACE:n}})?")] {
                let captures = re2::compile_captures(&expand(&pattern).expect("it is known")).expect("it is one");
                for text in texts {
                    captures.check(text);
                }
            }
        }
    }

    #[test]
    fn the_formats_of_web_servers() {
        let line = concat!(
            r#"10.0.0.1 - ann [26/Nov/2026:12:00:00 +0100] "GET /a?b=c HTTP/1.1" 200 512 "#,
            r#""https://example.com/" "agent/1.0""#,
        );
        assert_eq!(
            fields("%{COMBINEDAPACHELOG}", line),
            Some(json!({
                "clientip": "10.0.0.1", "ident": "-", "auth": "ann", "timestamp": "26/Nov/2026:12:00:00 +0100",
                "verb": "GET", "request": "/a?b=c", "httpversion": "1.1", "response": "200", "bytes": "512",
                "referrer": "\"https://example.com/\"", "agent": "\"agent/1.0\"",
            }))
        );
    }

    #[test]
    fn the_first_pattern_that_matches_wins() {
        let list = |patterns: &str| format!(r#"grok {{ match => {{ "message" => [{patterns}] }} }}"#);
        let cases = [
            ("in the order of the list", r#""(?P<a>b)", "(?P<c>.)""#, json!({"a": "b"})),
            ("those before it do not match", r#""(?P<a>x)", "(?P<c>.)""#, json!({"c": "b"})),
            ("an empty one is passed over", r#""", "(?P<c>.)""#, json!({"c": "b"})),
            ("without commas", r#""(?P<a>x)" "(?P<c>.)""#, json!({"c": "b"})),
            ("one that RE2 refuses never matches", r#""(?P<a>b", "(?P<c>.)""#, json!({"c": "b"})),
            ("one that names nothing never matches", r#""b", "(?P<c>.)""#, json!({"c": "b"})),
        ];
        for (rule, patterns, expected) in cases {
            let Ok(Json::Object(mut state)) = run(&list(patterns), "b") else { panic!("{rule}") };
            state.retain(|name, _| name.len() == 1);
            assert_eq!(Json::Object(state), expected, "{rule}");
        }
    }

    #[test]
    fn a_field_that_exists_is_only_overwritten_if_allowed() {
        let cases = [
            (
                "it is an error",
                r#"mutate { replace => { "a" => "old" } }"#,
                "",
                Err("\"a\" already exists in data and is not overwritable"),
            ),
            ("even if it is empty", r#"mutate { replace => { "a" => "" } }"#, "", Err("\"a\" already exists in data")),
            (
                "overwrite allows it",
                r#"mutate { replace => { "a" => "old" } }"#,
                r#"overwrite => ["a"]"#,
                Ok(json!("new")),
            ),
            ("one word will do", r#"mutate { replace => { "a" => "old" } }"#, r#"overwrite => "a""#, Ok(json!("new"))),
            (
                "in brackets as well",
                r#"mutate { replace => { "a" => "old" } }"#,
                r#"overwrite => ["[a]"]"#,
                Ok(json!("new")),
            ),
            ("other fields do not matter", r#"mutate { replace => { "b" => "old" } }"#, "", Ok(json!("new"))),
        ];
        for (rule, before, overwrite, expected) in cases {
            let statements = format!(r#"{before} grok {{ match => {{ "message" => "(?P<a>.*)" }} {overwrite} }}"#);
            match (run(&statements, "new"), expected) {
                (Ok(state), Ok(expected)) => assert_eq!(state["a"], expected, "{rule}"),
                (Err(text), Err(expected)) => assert!(text.contains(expected), "{rule}: {text}"),
                (end, _) => panic!("{rule}: {end:?}"),
            }
        }
    }

    #[test]
    fn a_group_that_takes_no_part_needs_no_overwrite() {
        let statements = r#"
            mutate { replace => { "a" => "" } }
            grok { match => { "message" => "(?P<a>x)?(?P<b>y)" } }"#;
        let state = run(statements, "y").expect("a is not touched");
        assert_eq!((&state["a"], &state["b"]), (&json!(""), &json!("y")));
    }

    #[test]
    fn a_field_may_be_cut_down_in_place() {
        let statements = r#"grok { match => { "message" => "(?P<message>[^.]+)" } overwrite => ["message"] }"#;
        assert_eq!(run(statements, "host.example.com").expect("it matches")["message"], json!("host"));
    }

    #[test]
    fn errors_are_told_in_googles_words() {
        let cases = [
            (
                "no pattern matches",
                r#""message" => "(?P<a>x)""#,
                "filter grok (0) failed: failed to parse data with all match patterns",
            ),
            (
                "the field is missing",
                r#""other" => "(?P<a>x)""#,
                "filter grok (0) failed: source field \"other\": field not set",
            ),
            ("nothing has a name", r#""message" => "^.*$""#, "failed to parse data with all match patterns"),
        ];
        for (rule, pairs, expected) in cases {
            let text = run(&format!("grok {{ match => {{ {pairs} }} }}"), "b").expect_err(rule);
            assert!(text.contains(expected), "{rule}: {text}");
        }
    }

    #[test]
    fn several_fields_are_tried_in_order() {
        let statements = r#"
            mutate { replace => { "x" => "12" } }
            grok { match => { "none" => "%{INT:n}" "message" => "%{INT:n}" "x" => "%{INT:n}" } }"#;
        assert_eq!(run(statements, "no number").expect("x has one")["n"], json!("12"));
        assert_eq!(run(statements, "7").expect("the log has one")["n"], json!("7"));
    }

    #[test]
    fn match_all_takes_every_match() {
        let cases = [
            (
                "by the number of the match",
                "%{IP:ip}",
                "10.0.0.1 10.0.0.2, 10.0.0.3",
                json!({"ip": {"0": "10.0.0.1", "1": "10.0.0.2", "2": "10.0.0.3"}}),
            ),
            ("one is a map, too", "%{IP:ip}", "10.0.0.1", json!({"ip": {"0": "10.0.0.1"}})),
            (
                "several fields",
                "%{WORD:k}=%{INT:v}",
                "a=1 b=2",
                json!({"k": {"0": "a", "1": "b"}, "v": {"0": "1", "1": "2"}}),
            ),
            (
                "a group that takes no part leaves a gap",
                "%{WORD:k}(?:=%{INT:v})?",
                "a b=2",
                json!({"k": {"0": "a", "1": "b"}, "v": {"1": "2"}}),
            ),
            ("empty matches end", "(?P<e>x*)", "éa", json!({"e": {"0": "", "1": "", "2": ""}})),
        ];
        for (rule, pattern, text, expected) in cases {
            let statement = format!("grok {{ match => {{ \"message\" => {} }} match_all => true }}", quoted(pattern));
            let Ok(Json::Object(mut state)) = run(&statement, text) else { panic!("{rule}") };
            state.retain(|name, _| name != "message" && !name.starts_with('@'));
            assert_eq!(Json::Object(state), expected, "{rule}");
        }
    }

    fn diagnostics(options: &str) -> Vec<Diagnostic> {
        let source = format!("filter {{ grok {{ {options} }} }}");
        let file = crate::syntax::parse::parse(&source).expect("it can be read");
        crate::compile::compile(&file).1
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told() {
        let cases = [
            ("no match", "", "missing-option", Severity::Error, "Add match"),
            (
                "an unknown name",
                r#"match => { "message" => "%{SYSLOGTIMESTMP:t}" }"#,
                "unknown-pattern",
                Severity::Error,
                "Did you mean %{SYSLOGTIMESTAMP}?",
            ),
            (
                "a field is no pattern",
                r#"match => { "message" => "%{message} (?P<a>b)" }"#,
                "unknown-pattern",
                Severity::Error,
                "(?P<field>…)",
            ),
            (
                "a piece of a pattern has no name",
                r#"match => { "message" => "%{OCTET:o}" }"#,
                "unknown-pattern",
                Severity::Error,
                "",
            ),
            ("not of RE2", r#"match => { "message" => "(?P<a>b(?=c))" }"#, "grok-regex", Severity::Warning, "RE2"),
            (
                "too large",
                r#"match => { "message" => "(?P<a>(?:\\pL{100}){10}(?:\\pL{100}){10}(?:\\pL{100}){10})" }"#,
                "grok-too-large",
                Severity::Error,
                "",
            ),
            (
                "without a name",
                r#"match => { "message" => "abc" }"#,
                "grok-no-capture",
                Severity::Warning,
                "Name a field",
            ),
        ];
        for (rule, options, code, severity, help) in cases {
            let found = diagnostics(options);
            assert_eq!(found.len(), 1, "{rule}: {found:?}");
            assert_eq!((found[0].code, found[0].severity), (code, severity), "{rule}");
            assert!(found[0].help.as_deref().unwrap_or_default().contains(help), "{rule}: {found:?}");
        }
        assert!(diagnostics(r#"match => { "message" => "(?P<a>b(?=c))" }"#)[0].message.contains("look-ahead"));
    }

    #[test]
    fn expansion_is_bounded() {
        let many = "%{IPV6:a}".repeat(1000);
        assert_eq!(expand(&many), Err(ExpandError::TooLarge));
    }

    proptest! {
        /// Whatever a pattern is, it is expanded or refused.
        #[test]
        fn nothing_panics(pattern in r"(%\{|\}|:|[A-Z]{1,4}|IP|\(\?P<|[>()a.*\[\]é]){0,12}") {
            if let Ok(expanded) = expand(&pattern) {
                let _ = re2::compile_captures(&expanded);
            }
        }

        /// What a pattern finds is part of the text, and DATA between two marks is what stands between them.
        #[test]
        fn data_is_what_stands_between(before in "[a-z ]{0,8}", inside in "[a-zé0-9.]{0,12}", after in "[a-z ]{0,8}") {
            let found = fields("<%{DATA:inside}>", &format!("{before}<{inside}>{after}"));
            prop_assert_eq!(found, Some(json!({"inside": inside})));
        }
    }
}
