//! Entry points for the list of fuzz targets: any bytes as program, as log, as both, or as regular expression must neither
//! panic nor break a promise, nor take more than the limits allow. Made without randomness, so that a finding can be
//! replayed from its bytes alone.
//!
//! Promises are: what is printed is read back as the same program, and printed the same way again; a program gives the same
//! end each time, printed or not, watched or not; events are JSON in the structure of UDM; findings lie in the source.
//! Absent: how long something may take, which whoever runs these has to look at.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use udm::{Mode, Schema};

use crate::coverage::Coverage;
use crate::diagnostic::Diagnostic;
use crate::lint::lint;
use crate::output::{Event, OutputOptions};
use crate::plugins::grok_patterns;
use crate::re2;
use crate::run::convert::Kind;
use crate::run::machine::{Observer, Step};
use crate::run::{Context, Limits, Run};
use crate::skeleton::skeleton;
use crate::syntax::ast::{Over, Span, Statement, StatementKind};
use crate::syntax::{format, parse};
use crate::trace::{Trace, TraceLimits};
use crate::{End, Error, Machine, Program, Used};

/// Programs of our own, which together use every plugin and function; also what to begin from.
pub const PROGRAMS: [&str; 7] = [
    include_str!("fuzz/json.conf"),
    include_str!("fuzz/pairs.conf"),
    include_str!("fuzz/table.conf"),
    include_str!("fuzz/xml.conf"),
    include_str!("fuzz/merge.conf"),
    include_str!("fuzz/event.conf"),
    include_str!("fuzz/dates.conf"),
];

/// Logs of our own, on which programs are run; also what to begin from.
pub const LOGS: [&str; 9] = [
    r#"{"a": "x", "n": 1, "list": [{"name": "one", "id": 7, "a.b": [1, "2", [null]]}, "two", ["x", {"y": null}]],
        "pattern": "x+", "ip": "10.0.0.1", "e": {"b": true}}"#,
    r#"{"metadata": {"event_type": "USER_LOGIN", "event_timestamp": "2026-01-02T03:04:05.678901Z", "description": "d"},
        "principal": {"ip": ["10.0.0.1", "x"], "mac": "02:00:00:00:00:01", "hostname": "h", "port": "80",
        "asset": {"ip": ["::1"]}, "user": {"userid": "u", "email_addresses": "u@example.com"}},
        "target": {"url": "http://example.com/", "file": {"size": 1e3, "sha256": "00"}},
        "security_result": [{"action": ["ALLOW"], "severity": "HIGH", "risk_score": 1.5}],
        "network": {"http": {"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:1.0) Gecko/20100101 Firefox/1.0"},
        "session_duration": "1.5s", "sent_bytes": 5}, "extensions": {"auth": {"type": "SSO"}},
        "additional": {"fields": [{"key": "k", "value": {"string_value": "v"}}]}}"#,
    r#"{"metadata": {"entity_type": "USER", "collected_timestamp": 1700000000, "interval": {"start_time":
        "2026-01-02T03:04:05Z"}}, "entity": {"user": {"userid": "u"}, "port": 4.5, "asset": null},
        "relations": [{"entity": {}, "relationship": "OWNS", "direction": 1}]}"#,
    "<134>Nov 20 13:42:27 host-1 app[2744]: src=10.0.0.1 dst=\"10.0.0.2\" a=\"x y\" user=ann@example.com proto=tcp:443",
    "one;two,\"three, \"\"3\"\"\",x=1|y:'2'\t2.5,,äöü→ß, 00:11:22:33:44:55 \n7,8",
    "<?xml version=\"1.0\"?>\n<a xmlns:n=\"u\"><b id=\"1\">t<c>x</c><c>y</c></b><b id='2'><c/></b><n:b>&lt;&#x41;</n:b></a>",
    "2026-01-02T03:04:05.678+01:00| Europe/Berlin",
    "",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa SGVsbG8= 1700000000123",
];

/// What a run may use here: little, so that limits are met, and many inputs are run.
pub const LIMITS: Limits =
    Limits { steps: 20_000, memory_bytes: 2 << 20, log_bytes: 48 << 10, output_records: 20, output_bytes: 64 << 10 };

/// What stands between the two parts of an input that has two; where it does not, the input is cut in the middle.
pub const DIVIDER: &str = "\n%%%\n";

/// What an input showed, for whoever looks for inputs that show something else.
#[derive(Debug, Default)]
pub struct Seen {
    /// Whether the program, log or regular expression was taken as good.
    pub valid: bool,
    /// What happened; of the second text the numbers and what stands in quotes are of no interest.
    pub notes: BTreeSet<(String, String)>,
    /// The most that a run used.
    pub used: Used,
}

/// Fixed programs, and what all runs share. Making it reads the UDM schema and compiles the programs; make it once.
pub struct Fuzz {
    schema: Arc<Schema>,
    programs: Vec<Program>,
    context: Context,
}

impl Fuzz {
    /// The same each time.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Fuzz {
        let sources = PROGRAMS.iter().map(|program| (*program).to_owned()).chain([every_pattern(), every_conversion()]);
        let programs = sources
            .map(|source| {
                Program::new("fuzz.conf", source).unwrap_or_else(|found| panic!("a fixed program: {found:#?}"))
            })
            .collect();
        let mut context = Context::new("2026-11-26T12:00:00Z".parse().expect("a time"));
        context.collected_at = Some("2026-11-26T11:59:00Z".parse().expect("a time"));
        context.log_type = Some("OKTA".to_owned());
        context.timezone = Some("Europe/Berlin".to_owned());
        Fuzz { schema: Schema::load(), programs, context }
    }

    /// Any bytes as a program: it is read, printed, compiled, looked at by the linter, run on some logs.
    pub fn program(&self, bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        if let Some((program, printed)) = self.read(bytes, &mut seen) {
            for log in LOGS.iter().map(|log| log.as_bytes()).chain([b"a=\xff\xfe b={\"\xc3\"}".as_slice()]) {
                self.run_both(&program, &printed, log, &mut seen);
            }
        }
        seen
    }

    /// Any bytes as a log of programs that use all there is, and as samples from which a program is begun.
    pub fn log(&self, bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        // What is slow and not about the program is done with one of them in turn.
        let turn = bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_add(usize::from(*byte)));
        for (number, program) in self.programs.iter().enumerate() {
            let mut one = Seen::default();
            let end = self.run(program, bytes, &mut one, true);
            if turn % self.programs.len() == number {
                self.run_watched(program, bytes, &end, &mut one);
            }
            seen.valid |= one.valid;
            seen.used = most(seen.used, one.used);
            seen.notes.extend(one.notes.into_iter().map(|(what, text)| (format!("{number} {what}"), text)));
        }
        if turn % 4 > 0 {
            return seen;
        }
        let text = String::from_utf8_lossy(bytes);
        let skeleton = skeleton("OKTA", &text.lines().collect::<Vec<_>>());
        let program = Program::new("skeleton.conf", &*skeleton);
        let program = program.unwrap_or_else(|found| panic!("a skeleton is no program: {found:#?}\n{skeleton}"));
        assert_eq!(format::format(program.file(), &skeleton), skeleton, "a skeleton has another layout");
        seen
    }

    /// A program and a log for it.
    pub fn both(&self, bytes: &[u8]) -> Seen {
        let (program, log) = halves(bytes);
        let mut seen = Seen::default();
        if let Some((program, printed)) = self.read(program, &mut seen) {
            seen.valid = false;
            self.run_both(&program, &printed, log, &mut seen);
        }
        seen
    }

    /// A regular expression, and a text for it to match: it is refused, or it matches.
    pub fn regex(&self, bytes: &[u8]) -> Seen {
        let (pattern, text) = halves(bytes);
        let (pattern, text) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
        let mut seen = Seen::default();
        let bits: String = (0..2_000_u32).map(|at| if (at * at / 7 + at) % 3 == 0 { '1' } else { '0' }).collect();
        match (re2::compile_in(&pattern, &mut re2::Room::default()), re2::compile_captures(&pattern)) {
            (Ok(re2::Regex { regex: plain, weight }), Ok(captures)) => {
                seen.valid = true;
                // What a run would not allow is not done here either.
                let mut steps_left = LIMITS.steps / 4;
                let mut may = |bytes: usize| match steps_left.checked_sub(1 + weight.steps(bytes)) {
                    Some(left) => {
                        steps_left = left;
                        true
                    }
                    None => false,
                };
                let short = &text[..text.floor_char_boundary(60)];
                if may(2 * short.len() * short.len()) {
                    captures.check(short);
                }
                for text in [&text, "", &bits, &"a".repeat(2_000), "ä\n\u{212a}ſ \\x{10ffff}"] {
                    if !may(4 * text.len()) {
                        continue;
                    }
                    let found = plain.find(text).map(|found| found.range());
                    let mut places = re2::Places::default();
                    assert_eq!(captures.find(text, 0, true, &mut places), found, "groups change the match");
                    let is_set = |group: &usize| found.is_some() && places.get(*group).is_some();
                    let groups = (1..=captures.names.len()).filter(is_set).count().min(9);
                    let matches =
                        plain.find_iter(text).take_while(|found| may(text.len() - found.end())).take(9).count();
                    let at = found.map(|found| (found.start.min(9), found.len().checked_ilog2()));
                    let cost = weight.steps(LIMITS.log_bytes).checked_ilog2();
                    seen.note(&format!("{groups} groups, {matches} matches, {at:?}, {cost:?}"), "");
                }
            }
            (Err(one), Err(_)) => {
                assert!(one.offset.is_none_or(|offset| pattern.is_char_boundary(offset)), "{one:?}");
                // What is quoted of an expression may hold anything.
                seen.note(&one.message.split(' ').take(4).collect::<Vec<_>>().join(" "), "");
            }
            // Names may stand twice, and be anything, where they name fields.
            (Err(one), Ok(_)) => seen.note("name", one.message),
            (Ok(_), Err(other)) => panic!("only one of the two refuses: {other}"),
        }
        seen
    }

    /// Reads a program and prints it; both, where it can be run.
    fn read(&self, bytes: &[u8], seen: &mut Seen) -> Option<(Program, Program)> {
        let source = String::from_utf8_lossy(bytes);
        let file = match parse::parse(&source) {
            Ok(file) => file,
            Err(found) => {
                assert!(!found.is_empty() && found.len() <= parse::ERRORS_MAX);
                check_findings(&found, &source, seen);
                return None;
            }
        };
        let printed = format::format(&file, &source);
        let again = parse::parse(&printed).unwrap_or_else(|found| panic!("what is printed is no program: {found:#?}"));
        assert!(format::same(&file, &again), "what is printed is another program");
        assert_eq!(format::format(&again, &printed), printed, "what is printed is printed in another way");

        note_shapes(&file.body, "filter", seen);
        check_findings(&lint(&file, &source, &self.schema), &source, seen);
        match (Program::new("fuzz.conf", &*source), Program::new("fuzz.conf", printed)) {
            (Ok(program), Ok(printed)) => {
                assert_eq!(
                    (program.statements(), program.branches()),
                    (printed.statements(), printed.branches()),
                    "what is printed is compiled otherwise"
                );
                seen.valid = true;
                Some((program, printed))
            }
            (Err(found), Err(of_printed)) => {
                assert!(!found.is_empty());
                check_findings(&found, &source, seen);
                let codes = |found: &[Diagnostic]| found.iter().map(|found| found.code).collect::<Vec<_>>();
                assert_eq!(codes(&found), codes(&of_printed), "what is printed has other faults");
                None
            }
            (one, other) => panic!("only one of the two can run: {:?}, {:?}", one.err(), other.err()),
        }
    }

    /// Runs a program and what was printed of it; they end the same.
    fn run_both(&self, program: &Program, printed: &Program, log: &[u8], seen: &mut Seen) {
        let end = self.run(program, log, seen, false);
        let of_printed = self.machine().run(printed, log, &self.context).end;
        assert_eq!(outlined(of_printed), outlined(end.clone()), "printed it ends otherwise");
        self.run_watched(program, log, &end, seen);
    }

    /// Runs a program twice, the second time watched; it ends the same.
    fn run(&self, program: &Program, log: &[u8], seen: &mut Seen, by_number: bool) -> Result<Vec<Event>, Error> {
        let mut machine = self.machine();
        let end = machine.run(program, log, &self.context).end;
        self.check_end(&end, machine.used(), seen);
        let mut watcher = Watcher { seen, by_number, told: HashSet::new() };
        assert_eq!(machine.watch(program, log, &self.context, &mut watcher).end, end, "watched it ends otherwise");
        end
    }

    /// Counts and traces a run, and makes one that is strict.
    fn run_watched(&self, program: &Program, log: &[u8], end: &Result<Vec<Event>, Error>, seen: &mut Seen) {
        let mut machine = self.machine();
        let mut coverage = Coverage::new(program);
        assert_eq!(&machine.watch(program, log, &self.context, &mut coverage).end, end, "counted it ends otherwise");
        assert!((0.0..=1.0).contains(&coverage.branch_share().ratio()));
        let limits = TraceLimits { steps: 100, changes: 10, value_chars: 20, fields: 60, fields_total: 3_000 };
        let mut trace = Trace::with_limits(program, limits);
        assert_eq!(&machine.watch(program, log, &self.context, &mut trace).end, end, "traced it ends otherwise");
        assert!(trace.steps().len() <= 100);

        // A new one: what the last run left ready is no measure of this one.
        let mut machine = self.machine();
        machine.output = OutputOptions::strict();
        let strict = machine.run(program, log, &self.context).end;
        self.check_end(&strict, machine.used(), seen);
        if end.as_ref().is_err_and(|error| error.statement.is_some()) {
            assert_eq!(&strict, end, "strictness changes what runs");
        }
    }

    fn machine(&self) -> Machine {
        let mut machine = Machine::new(Arc::clone(&self.schema));
        machine.limits = LIMITS;
        machine
    }

    fn check_end(&self, end: &Result<Vec<Event>, Error>, used: Used, seen: &mut Seen) {
        assert!(used.steps <= LIMITS.steps && used.memory_bytes <= LIMITS.memory_bytes, "{used:?}");
        // The arena grows in pieces that double, and what does not fit into the rest of one goes into the next.
        assert!(used.arena_bytes <= 4 * used.memory_bytes + (64 << 10), "more was taken than charged: {used:?}");
        seen.used = most(seen.used, used);
        match end {
            Ok(events) => {
                seen.valid |= !events.is_empty();
                assert!(events.len() <= LIMITS.output_records);
                assert!(events.iter().map(|event| event.json.len()).sum::<usize>() <= LIMITS.output_bytes);
                seen.note(&format!("{} events", events.len().min(3)), "");
                for event in events {
                    let checked = self.schema.check(event.root, event.json.as_bytes(), Mode::Lenient);
                    if let Err(faults) = checked {
                        // A store may refuse U+0000 in texts; the language does not.
                        let other = faults.0.iter().find(|fault| !fault.message.contains("U+0000"));
                        assert_eq!(other, None, "an event is none:\n{}", event.json);
                    }
                    assert!(event.issues.len() <= 64);
                    for issue in &event.issues {
                        seen.note("issue", &issue.message);
                    }
                    self.schema.visit_leaves(event.root, event.json.as_bytes(), &mut |leaf| {
                        seen.note(&format!("leaf {}", leaf.path), "");
                    });
                }
            }
            Err(error) => {
                if let Some((_, line, column)) = &error.at {
                    assert!(*line > 0 && *column > 0);
                }
                let kind = match &error.end {
                    End::Failed => "failed".to_owned(),
                    End::Dropped(_) => "dropped".to_owned(),
                    End::Invalid => "invalid".to_owned(),
                    End::Limit(limit) => format!("{limit:?}"),
                };
                let what = error.text.rsplit(": ").next().unwrap_or_default();
                seen.note(&kind, what.get(..what.floor_char_boundary(200)).unwrap_or_default());
            }
        }
    }
}

impl Seen {
    fn note(&mut self, what: &str, text: impl Into<String>) {
        self.notes.insert((what.to_owned(), text.into()));
    }
}

/// Notes what statements do, and looks at the state where the program says so.
struct Watcher<'s> {
    seen: &'s mut Seen,
    /// Whether statements are told apart by their numbers: those of fixed programs mean something.
    by_number: bool,
    /// What was noted already.
    told: HashSet<(u32, bool)>,
}

impl Observer for Watcher<'_> {
    const WANTS_ERRORS: bool = true;

    fn statement(&mut self, step: Step<'_>, _run: &Run<'_>) {
        if self.told.insert((step.id, step.failed)) {
            let text = step.caught.map_or("", |fault| &fault.text[..fault.text.floor_char_boundary(200)]);
            let number = if self.by_number { step.id.to_string() } else { String::new() };
            self.seen.note(&format!("{} {number} {}", step.name, step.failed), text);
        }
    }

    fn branch(&mut self, id: u32) {
        if self.by_number && self.told.insert((id, false)) {
            self.seen.note(&format!("branch {id}"), "");
        }
    }

    fn dump(&mut self, _label: &str, run: &Run<'_>) {
        // One is enough: they may be large.
        if self.told.insert((u32::MAX, false)) {
            let dumped = crate::dump(run);
            assert!(dumped.is_object(), "the state is a map");
            serde_json::to_vec(&dumped).expect("a state can be written");
        }
    }
}

/// Notes what stands in what.
fn note_shapes(statements: &[Statement], within: &str, seen: &mut Seen) {
    for statement in statements {
        match &statement.kind {
            StatementKind::Plugin(plugin) => {
                for option in plugin.options.iter().take(9).filter(|option| option.key.text.len() < 20) {
                    seen.note(&format!("{within}, {}", plugin.name.text), option.key.text.as_str());
                }
            }
            StatementKind::If(chain) => {
                for branch in &chain.branches {
                    let condition = format!("{:?}", std::mem::discriminant(&branch.condition.kind));
                    seen.note(&format!("{within}, if"), condition);
                    note_shapes(&branch.body, "if", seen);
                }
                if let Some((body, _)) = &chain.otherwise {
                    note_shapes(body, "else", seen);
                }
            }
            StatementKind::For(looped) => {
                let kind = match (&looped.over, looped.map) {
                    (Over::Xml { .. }, _) => "for xml",
                    (_, true) => "for map",
                    _ => "for",
                };
                seen.note(&format!("{within}, {kind}"), "");
                note_shapes(&looped.body, kind, seen);
            }
        }
    }
}

/// Findings lie in the source and say something.
fn check_findings(found: &[Diagnostic], source: &str, seen: &mut Seen) {
    for found in found {
        let Span { start, end } = found.span;
        assert!(source.get(start as usize..end as usize).is_some(), "no part of the source: {found:?}");
        assert!(!found.message.is_empty());
        seen.note(found.code, &found.message[..found.message.floor_char_boundary(300)]);
    }
}

/// An end without what differs between two layouts of a program.
fn outlined(end: Result<Vec<Event>, Error>) -> Result<Vec<Event>, Error> {
    end.map_err(|error| Error {
        statement: error.statement.map(|(number, _)| (number, Span::default())),
        at: None,
        ..error
    })
}

fn most(one: Used, other: Used) -> Used {
    Used {
        steps: one.steps.max(other.steps),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
        arena_bytes: one.arena_bytes.max(other.arena_bytes),
    }
}

fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let divider = DIVIDER.as_bytes();
    match bytes.windows(divider.len()).position(|window| window == divider) {
        Some(at) => (&bytes[..at], &bytes[at + divider.len()..]),
        None => bytes.split_at(bytes.len() / 2),
    }
}

/// A program that calls every pattern of grok by name.
fn every_pattern() -> String {
    let calls: String = grok_patterns::names()
        .map(|name| {
            format!(
                "grok {{ match => {{ \"message\" => [\"^%{{{name}:{name}.whole}}$\", \"%{{{name}:{name}.part}}\"] }} \
                 overwrite => [\"port\", \"timestamp\"] on_error => \"no\" }}\n"
            )
        })
        .collect();
    let all =
        "grok { match => { \"message\" => \"(?P<all>%{WORD:w}|%{INT:n})\" } match_all => true on_error => \"no\" }";
    format!("filter {{\n{calls}{all}\n}}\n")
}

/// A program that converts the log, parts of it, and values of every type to every type.
fn every_conversion() -> String {
    let mut program = "filter {\n\
        json { source => \"message\" target => \"doc\" on_error => \"no\" }\n\
        kv { source => \"message\" target => \"kv\" on_error => \"no\" }\n\
        mutate { split => { source => \"message\" separator => \",\" target => \"parts\" } }\n"
        .to_owned();
    for (at, one) in Kind::NAMES.into_iter().enumerate() {
        program += "for part in parts {\n";
        // With another one behind it: to text, and in turn the others.
        for other in ["string", Kind::NAMES[(at + 5) % Kind::NAMES.len()]] {
            program += &format!(
                "mutate {{ copy => {{ \"x\" => \"part\" }} on_error => \"no\" }}\n\
                 mutate {{ convert => {{ \"x\" => \"{one}\" }} on_error => \"no\" }}\n\
                 mutate {{ convert => {{ \"x\" => \"{other}\" }} on_error => \"no\" }}\n"
            );
        }
        program += "}\n";
        program += &format!(
            "mutate {{ convert => {{ \"doc.{one}\" => \"{one}\" \"doc.n\" => \"{one}\" }} on_error => \"no\" }}\n\
             mutate {{ convert => {{ \"kv.{one}\" => \"{one}\" }} on_error => \"no\" }}\n\
             mutate {{ convert => {{ \"parts\" => \"{one}\" }} on_error => \"no\" }}\n"
        );
    }
    program + "mutate { convert => { \"message\" => \"parseduseragent\" } on_error => \"no\" }\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_begin_from_is_good() {
        let fuzz = Fuzz::new();
        for program in PROGRAMS {
            assert!(fuzz.program(program.as_bytes()).valid, "{program}");
        }
        for log in LOGS {
            fuzz.log(log.as_bytes());
        }
        let seen = fuzz.both([PROGRAMS[5], LOGS[1]].join(DIVIDER).as_bytes());
        assert!(seen.valid && seen.used.steps > 0 && seen.used.memory_bytes > 0);
        assert!(fuzz.regex(b"(?P<a>x+)|\\d\n%%%\nxx1").valid);
    }
}
