//! Regular expressions as the language writes them, in RE2's syntax and with RE2's meaning, compiled by the `regex`
//! crate.
//!
//! The two agree on how they match (leftmost, in linear time) and nearly on how they are written. What differs is
//! settled here by rewriting: `\d`, `\w`, `\s` and `\b` are ASCII in RE2 and Unicode in the crate; `{` is itself in RE2
//! where no count follows; `&&`, `--` and `~~` in a class are characters in RE2 and operators in the crate; `\<` is a
//! bracket in RE2 and the start of a word in the crate; octal escapes and `\Q…\E` exist in RE2 alone. What RE2 refuses
//! is refused here as well, with a text that says which construct it is, since programs come from people who know
//! other dialects.
//!
//! Rules: RE2's syntax document and the behaviour of Go's `regexp`, which Google's own engine uses
//! (contracts/cbn.md §3). One of them is left aside on purpose: repetitions that follow a flag (`a(?i)*`), which Go
//! applies to what stands before the flag and nobody writes.

mod groups;
mod weight;

use std::borrow::Cow;
use std::ops::Range;

use crate::compile::{REGEX_BYTES_MAX, REGEXES_BYTES_MAX};
use crate::run::{Failure, Run};
use groups::{Walk, Walked};
pub(crate) use weight::Weight;

/// How deep groups may be nested. Go allows 1,000; nobody writes 250, and compiling goes down the tree by recursion.
pub const NESTING_MAX: usize = 250;

/// How often something may be repeated by a count, and by counts within counts; RE2's own limit.
const REPEAT_MAX: u32 = 1000;

/// What all regular expressions of a program may take to compile, in units of about a microsecond: what is charged where
/// follows how long it takes, from a class of Unicode to a state of the machine. The public parser with the most takes a
/// seventh.
pub const WORK_MAX: u64 = 1_000_000;

/// What reading a Unicode class takes, each time one is written.
const CLASS_WORK: u64 = 100;

/// So many characters of a range are folded in a unit.
const FOLDED_PER_WORK: u32 = 16;

/// What building takes whatever the expression.
const BUILD_WORK: u64 = 100;

/// What each choice between fixed texts takes.
const CHOICE_WORK: u64 = 30;

/// One with more states is larger than [`REGEX_BYTES_MAX`] when it is compiled, and finding that out takes long.
const STATES_MAX: u32 = 1 << 20;

/// How many groups of an expression may have names that are all different.
const NAMES_MAX: usize = 1000;

/// Finding groups takes memory for each group in each state.
const STATES_TIMES_GROUPS_MAX: u64 = 4 << 20;

/// How long a regular expression may be. Compiling takes time in proportion to it even where the result is small.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Which byte of the text it is about, where one can be named.
    pub offset: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Compiles a regular expression in RE2's syntax.
pub fn compile(pattern: &str) -> Result<regex::Regex, Error> {
    compile_in(pattern, &mut Room::default()).map(|regex| regex.regex)
}

/// Compiles one of the regular expressions of a program, which share a room.
pub(crate) fn compile_in(pattern: &str, room: &mut Room) -> Result<Regex, Error> {
    build(&translate(pattern, Groups::AsWritten, room)?.text, room)
}

/// A regular expression for use in a run, which is charged for it.
#[derive(Debug)]
pub(crate) struct Regex {
    pub(crate) regex: regex::Regex,
    pub(crate) weight: Weight,
}

impl Regex {
    /// Whether it matches somewhere in a text.
    #[inline]
    pub(crate) fn is_match(&self, run: &Run<'_>, text: &str) -> Result<bool, Failure> {
        self.weight.charge(run, text.len())?;
        Ok(self.regex.is_match(text))
    }
}

/// How much memory and work regular expressions may still take: a program may hold thousands, each of which alone is not
/// too large.
#[derive(Debug)]
pub(crate) struct Room {
    bytes_left: usize,
    work: u64,
    work_left: u64,
    /// How many were compiled.
    built: usize,
    is_spent: bool,
}

impl Default for Room {
    fn default() -> Room {
        Room::new(REGEXES_BYTES_MAX, WORK_MAX)
    }
}

impl Room {
    /// Of so many bytes and so much work.
    pub(crate) fn new(bytes: usize, work: u64) -> Room {
        Room { bytes_left: bytes, work, work_left: work, built: 0, is_spent: false }
    }

    /// Whether an expression did not fit in: no other will.
    pub(crate) fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// The work that was taken.
    pub(crate) fn work(&self) -> u64 {
        self.work - self.work_left
    }

    /// Takes work before it is done.
    fn take(&mut self, work: u64) -> Result<(), Error> {
        match self.work_left.checked_sub(work) {
            Some(left) => {
                self.work_left = left;
                Ok(())
            }
            None => Err(self.spent()),
        }
    }

    fn spent(&mut self) -> Error {
        self.is_spent = true;
        Error { offset: None, message: "the regular expressions of this program are too large in all".to_owned() }
    }
}

/// A regular expression whose groups are known by their place.
#[derive(Debug)]
pub(crate) struct Captures {
    regex: regex::Regex,
    walk: Option<Walk>,
    pub(crate) weight: Weight,
    /// The name of each group: the first is that of group 1.
    pub(crate) names: Vec<String>,
}

/// Where the groups of a match lie. One of these serves any number of expressions.
#[derive(Debug, Default)]
pub(crate) struct Places(groups::Places);

impl Places {
    /// Where the group with this number lies, from 1; `None` if it took no part in the match.
    #[inline]
    pub(crate) fn get(&self, group: usize) -> Option<(usize, usize)> {
        self.0.get(group)
    }
}

/// Compiles a regular expression of which only the named groups matter. Their names may be anything that holds no `>`,
/// and several may bear the same one (as Go has it; C++'s RE2 refuses that).
pub(crate) fn compile_captures(pattern: &str) -> Result<Captures, Error> {
    compile_captures_in(pattern, &mut Room::default())
}

/// The same for one of the regular expressions of a program, which share a room.
pub(crate) fn compile_captures_in(pattern: &str, room: &mut Room) -> Result<Captures, Error> {
    let Translated { text, names } = translate(pattern, Groups::Named, room)?;
    let Regex { regex, weight } = build(&text, room)?;
    Ok(Captures { regex, walk: Walk::new(&text), weight, names })
}

impl Captures {
    /// The first match at or behind a place; where its groups lie stands in `places` then. `hopeful` says that there
    /// probably is one, and where the search starts; it changes how long this takes and nothing else.
    pub(crate) fn find(&self, text: &str, from: usize, hopeful: bool, places: &mut Places) -> Option<Range<usize>> {
        if !hopeful && !self.regex.is_match_at(text, from) {
            return None;
        }
        let Some(walk) = &self.walk else { return self.find_by_regex(text, from, places) };
        let groups = self.names.len();
        // A match that starts where the search does is the first one; many patterns are written for whole lines.
        let effort = 256 + text.len();
        if let Walked::To(end) = walk.from(text, from, groups, effort, &mut places.0) {
            return Some(from..end);
        }
        let found = self.regex.find_at(text, from)?.range();
        if walk.from(text, found.start, groups, 16 * effort, &mut places.0) == Walked::To(found.end) {
            return Some(found);
        }
        self.find_by_regex(text, found.start, places)
    }

    /// Both ways from every place; fails where they differ. For tests.
    pub(crate) fn check(&self, text: &str) {
        for from in (0..=text.len()).filter(|from| text.is_char_boundary(*from)) {
            let (mut walked, mut known) = (Places::default(), Places::default());
            for hopeful in [false, true] {
                let found = self.find(text, from, hopeful, &mut walked);
                assert_eq!(found, self.find_by_regex(text, from, &mut known), "{} on {text:?} from {from}", self.regex);
                for group in (1..=self.names.len()).filter(|_| found.is_some()) {
                    assert_eq!(walked.get(group), known.get(group), "{} on {text:?}: group {group}", self.regex);
                }
            }
        }
    }

    fn find_by_regex(&self, text: &str, from: usize, places: &mut Places) -> Option<Range<usize>> {
        let mut found = self.regex.capture_locations();
        let whole = self.regex.captures_read_at(&mut found, text, from)?.range();
        places.0.take(&found);
        Some(whole)
    }
}

/// How large an expression may be at first, compiled, in bytes.
const SIZE_LIMIT_FIRST: usize = 64 << 10;

/// No state takes less when it is compiled.
const BYTES_PER_STATE_MIN: usize = 4;

/// The crate does not say how large an expression has become, so it is asked for a small one first and then for larger
/// ones. What it fails at costs little: it stops when the limit is reached.
fn build(text: &str, room: &mut Room) -> Result<Regex, Error> {
    // One group with all that may stand in it is up to four levels for the crate.
    let nest_limit = 4 * NESTING_MAX as u32 + 50;
    let too_large = || {
        let message = format!("it is too large: compiled it would take more than {REGEX_BYTES_MAX} bytes");
        Error { offset: None, message }
    };
    room.take(BUILD_WORK + text.len() as u64)?;
    let weight = Weight::of(text, nest_limit);
    let mut size_limit = SIZE_LIMIT_FIRST;
    if let Some(Weight { states, groups, choices, .. }) = weight {
        if states > STATES_MAX {
            return Err(too_large());
        }
        if u64::from(states) * u64::from(groups) > STATES_TIMES_GROUPS_MAX {
            return Err(Error { offset: None, message: "it is too large for the number of its groups".to_owned() });
        }
        room.take(u64::from(states) + CHOICE_WORK * u64::from(choices))?;
        // Tries that can only fail are left out.
        while size_limit < BYTES_PER_STATE_MIN * states as usize {
            size_limit = (4 * size_limit).min(REGEX_BYTES_MAX);
        }
    }
    room.built += 1;
    loop {
        if size_limit > room.bytes_left {
            return Err(room.spent());
        }
        let built = regex::RegexBuilder::new(text)
            .size_limit(size_limit)
            .dfa_size_limit(cache_bytes(room.built))
            .nest_limit(nest_limit)
            .build();
        match (built, weight) {
            (Ok(regex), Some(weight)) => {
                room.bytes_left -= size_limit;
                return Ok(Regex { regex, weight });
            }
            (Err(regex::Error::CompiledTooBig(_)), _) if size_limit < REGEX_BYTES_MAX => {
                size_limit = (4 * size_limit).min(REGEX_BYTES_MAX);
            }
            (Err(regex::Error::CompiledTooBig(_)), _) => {
                // The time that finding out took is gone, too.
                room.bytes_left = room.bytes_left.saturating_sub(size_limit);
                return Err(too_large());
            }
            (Err(other), _) => return Err(Error { offset: None, message: other.to_string() }),
            (Ok(_), None) => return Err(Error { offset: None, message: "it is not understood".to_owned() }),
        }
    }
}

/// How much a regular expression may remember of what it saw, in bytes and for each direction: what all of a program
/// remember together is bounded so, whatever they are, and the programs that there are stay within the first ones.
fn cache_bytes(number: usize) -> usize {
    match number {
        ..=128 => 2 << 20,
        129..=1024 => 256 << 10,
        _ => 32 << 10,
    }
}

/// What becomes of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    /// All capture, with the names that they have, each name once.
    AsWritten,
    /// Only those with a name capture; the names are handed out apart.
    Named,
}

#[derive(Debug)]
struct Translated {
    text: String,
    names: Vec<String>,
}

fn translate(pattern: &str, groups: Groups, room: &mut Room) -> Result<Translated, Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Error { offset: None, message: format!("it is longer than {PATTERN_BYTES_MAX} bytes") });
    }
    room.take(1 + pattern.len() as u64 / 8)?;
    let mut translator = Translator {
        pattern,
        room,
        folds: false,
        at: 0,
        text: String::with_capacity(pattern.len() + pattern.len() / 2),
        names: Vec::new(),
        groups,
        open: Vec::new(),
        here: Level::new(0, 0),
        last: Last::Nothing,
    };
    translator.whole()?;
    Ok(Translated { text: translator.text, names: translator.names })
}

struct Translator<'p, 'm> {
    pattern: &'p str,
    room: &'m mut Room,
    /// Whether the flag `i` was seen, which may hold.
    folds: bool,
    /// The next byte to read.
    at: usize,
    /// What was written so far.
    text: String,
    names: Vec<String>,
    groups: Groups,
    /// The groups around the current one, outermost first.
    open: Vec<Level>,
    /// The group that is being read.
    here: Level,
    last: Last,
}

/// A group that is being read, or the whole.
#[derive(Debug, Clone, Copy)]
struct Level {
    opened_at: usize,
    /// The largest product of counts within counts so far.
    repeats: u32,
    /// Where the branch that is being read begins in what was written.
    branch: usize,
    /// Whether all branches before it repeat something, and whether there are any.
    all_repeat: bool,
    is_alternation: bool,
}

impl Level {
    fn new(opened_at: usize, written: usize) -> Level {
        Level { opened_at, repeats: 1, branch: written, all_repeat: true, is_alternation: false }
    }
}

/// What stands before the place that is being read.
#[derive(Debug, Clone, Copy)]
enum Last {
    /// Nothing that could be repeated.
    Nothing,
    /// Something that can be, with the product of the counts in it.
    Atom(u32),
    /// Something that is repeated already; the operator starts there.
    Repeated(usize),
}

impl<'p> Translator<'p, '_> {
    fn whole(&mut self) -> Result<(), Error> {
        while let Some(next) = self.peek() {
            let start = self.at;
            match next {
                '(' => self.open_group()?,
                ')' => {
                    let Some(outer) = self.open.pop() else {
                        return Err(self.error(start, "there is no \"(\" for this \")\"; write \\) for the character"));
                    };
                    self.end_branch(false);
                    self.at += 1;
                    self.text.push(')');
                    let inner = std::mem::replace(&mut self.here, outer);
                    self.atom(inner.repeats);
                }
                '|' => {
                    self.at += 1;
                    self.end_branch(true);
                    self.text.push('|');
                    self.here.branch = self.text.len();
                    self.last = Last::Nothing;
                }
                '^' | '$' | '.' => {
                    self.at += 1;
                    self.text.push(next);
                    self.atom(1);
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    let count = match next {
                        '*' => Count { min: 0, max: None },
                        '+' => Count { min: 1, max: None },
                        _ => Count { min: 0, max: Some(1) },
                    };
                    self.repeat(start, count, false)?;
                }
                '{' => match self.count() {
                    Some(count) => self.repeat(start, count, true)?,
                    None => {
                        self.at += 1;
                        self.literal('{');
                    }
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                other => {
                    self.at += other.len_utf8();
                    self.literal(other);
                }
            }
        }
        self.end_branch(false);
        match self.open.pop() {
            Some(_) => Err(self.error(self.here.opened_at, "this \"(\" is never closed")),
            None => Ok(()),
        }
    }

    /// A branch is over. The crate takes what all branches begin with out of them, and that changes the match where it is
    /// repeated: `.*?,|.*?;` becomes `.*?[,;]`, which finds the `;` of `a;b,`. A branch that never matches keeps it from
    /// that. What is alike need not be written alike, so it stands wherever nothing says that they differ.
    fn end_branch(&mut self, is_another_next: bool) {
        let written = &self.text.as_bytes()[self.here.branch..];
        let repeats = |at: usize| match written[at] {
            b'*' | b'+' | b'{' => true,
            b'?' => at > 0 && written[at - 1] != b'(',
            _ => false,
        };
        self.here.all_repeat &= (0..written.len()).any(repeats);
        if self.here.is_alternation && self.here.all_repeat && !is_another_next {
            self.text.push_str("|[^\\x00-\\x{10FFFF}]");
        }
        self.here.is_alternation |= is_another_next;
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> Error {
        Error { offset: Some(offset), message: message.into() }
    }

    /// Notes that something was written that can be repeated.
    fn atom(&mut self, repeats: u32) {
        self.here.repeats = self.here.repeats.max(repeats);
        self.last = Last::Atom(repeats);
    }

    fn literal(&mut self, character: char) {
        push_literal(&mut self.text, character);
        self.atom(1);
    }

    // -- Groups.

    fn open_group(&mut self) -> Result<(), Error> {
        let start = self.at;
        if self.open.len() + 1 > NESTING_MAX {
            return Err(self.error(start, format!("groups are nested deeper than {NESTING_MAX}")));
        }
        let rest = self.rest();
        let opening: Cow<'static, str> = if !rest.starts_with("(?") {
            self.at += 1;
            if self.groups == Groups::AsWritten { "(".into() } else { "(?:".into() }
        } else if let Some(construct) = foreign_group(rest) {
            return Err(self.error(start, format!("RE2 has no {construct}")));
        } else if rest.starts_with("(?P<") || rest.starts_with("(?<") {
            self.named_group(start)?
        } else {
            match self.flags(start)? {
                Some(opening) => opening.into(),
                // Flags for what follows: nothing was opened.
                None => return Ok(()),
            }
        };
        self.text.push_str(&opening);
        self.open.push(self.here);
        self.here = Level::new(start, self.text.len());
        self.last = Last::Nothing;
        Ok(())
    }

    fn named_group(&mut self, start: usize) -> Result<Cow<'static, str>, Error> {
        let rest = self.rest();
        let name_at = if rest.starts_with("(?P<") { 4 } else { 3 };
        let Some(length) = rest[name_at..].find('>') else {
            return Err(self.error(start, "the name of this group has no end: \">\" is missing"));
        };
        let name = &rest[name_at..name_at + length];
        self.at += name_at + length + 1;
        if self.groups == Groups::Named {
            if name.trim().is_empty() {
                return Err(self.error(start, "this group has an empty name"));
            }
            self.names.push(name.to_owned());
            return Ok("(".into());
        }
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(self.error(
                start + name_at,
                format!("\"{name}\" is no name for a group: RE2 takes letters, digits and _ only"),
            ));
        }
        if self.names.iter().any(|known| known == name) {
            return Err(
                self.error(start + name_at, format!("there are two groups named \"{name}\", which RE2 refuses"))
            );
        }
        if self.names.len() == NAMES_MAX {
            return Err(self.error(start, format!("there are more than {NAMES_MAX} groups with a name")));
        }
        self.names.push(name.to_owned());
        // The crate takes no name that starts with a digit; such a group is still counted.
        Ok(if name.as_bytes()[0].is_ascii_digit() { "(".into() } else { format!("(?P<{name}>").into() })
    }

    /// `(?i)`, which is written as it is and opens nothing, or `(?i:`, which is returned.
    fn flags(&mut self, start: usize) -> Result<Option<String>, Error> {
        let mut end = start + 2;
        let (mut negated, mut any) = (false, false);
        loop {
            let Some(next) = self.pattern[end..].chars().next() else {
                return Err(self.error(start, "this \"(\" is never closed"));
            };
            end += next.len_utf8();
            match next {
                'i' | 'm' | 's' | 'U' => {
                    self.folds |= next == 'i' && !negated;
                    any = true;
                }
                '-' if !negated => (negated, any) = (true, false),
                ':' | ')' if any || !negated => {
                    let written = &self.pattern[start..end];
                    self.at = end;
                    if next == ':' {
                        return Ok(Some(written.to_owned()));
                    }
                    if any {
                        self.text.push_str(written);
                    }
                    self.last = Last::Nothing;
                    return Ok(None);
                }
                other => {
                    let shown = &self.pattern[start..end];
                    return Err(self.error(
                        start,
                        format!("RE2 does not know \"{shown}\": \"{other}\" is none of its flags i, m, s and U"),
                    ));
                }
            }
        }
    }

    // -- Repetition.

    /// Reads `{2}`, `{2,}` or `{2,3}`; nothing is taken if it is none of these.
    fn count(&mut self) -> Option<Count> {
        let rest = self.rest().strip_prefix('{')?;
        let (min, rest) = number(rest)?;
        let (max, rest) = match rest.strip_prefix(',') {
            None => (Some(min), rest),
            Some(rest) if rest.starts_with('}') => (None, rest),
            Some(rest) => {
                let (max, rest) = number(rest)?;
                (Some(max), rest)
            }
        };
        let rest = rest.strip_prefix('}')?;
        self.at = self.pattern.len() - rest.len();
        Some(Count { min, max })
    }

    fn repeat(&mut self, start: usize, count: Count, counted: bool) -> Result<(), Error> {
        if self.rest().starts_with('?') {
            self.at += 1;
        }
        let written = &self.pattern[start..self.at];
        let inner = match self.last {
            Last::Atom(inner) => inner,
            Last::Nothing => {
                return Err(self.error(
                    start,
                    format!(
                        "there is nothing before \"{written}\" that it could repeat; write \\{written} for the text"
                    ),
                ));
            }
            Last::Repeated(before) => {
                let both = &self.pattern[before..self.at];
                let hint =
                    if both.ends_with('+') { " (possessive repetition is not among what RE2 can do)" } else { "" };
                return Err(self.error(before, format!("one repetition cannot follow another: \"{both}\"{hint}")));
            }
        };
        let mut repeats = inner;
        if counted {
            if count.min > REPEAT_MAX || count.max.is_some_and(|max| max > REPEAT_MAX) {
                return Err(self.error(start, format!("\"{written}\" repeats more than {REPEAT_MAX} times")));
            }
            if count.max.is_some_and(|max| max < count.min) {
                return Err(self.error(start, format!("the first number in \"{written}\" is the larger one")));
            }
            repeats = match count.max.unwrap_or(count.min) {
                0 if count.max.is_some() => 1,
                0 => inner,
                times => times.saturating_mul(inner),
            };
            if repeats > REPEAT_MAX {
                let message = format!("with \"{written}\" something is repeated more than {REPEAT_MAX} times in all");
                return Err(self.error(start, message));
            }
        }
        self.text.push_str(written);
        self.here.repeats = self.here.repeats.max(repeats);
        self.last = Last::Repeated(start);
        Ok(())
    }

    // -- Escapes outside of classes.

    fn escape(&mut self) -> Result<(), Error> {
        let start = self.at;
        let rest = self.rest();
        match rest[1..].chars().next() {
            Some('A') => self.whole_escape("\\A"),
            Some('z') => self.whole_escape("\\z"),
            Some('b') => self.whole_escape("(?-u:\\b)"),
            Some('B') => self.whole_escape("(?-u:\\B)"),
            Some('Q') => {
                let quoted = &rest[2..];
                let end = quoted.find("\\E");
                for character in quoted[..end.unwrap_or(quoted.len())].chars() {
                    self.literal(character);
                }
                self.at = end.map_or(self.pattern.len(), |end| start + 2 + end + 2);
            }
            _ => {
                if let Some(class) = self.class_escape()? {
                    self.text.push_str(&class);
                    self.atom(1);
                } else {
                    match self.character_escape()? {
                        Some(character) => self.literal(character),
                        None => {
                            self.text.push_str(NEVER);
                            self.atom(1);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn whole_escape(&mut self, written: &str) {
        self.at += 2;
        self.text.push_str(written);
        self.atom(1);
    }

    /// Reads `\d`, `\pN` and the like; nothing is taken if it is none of these.
    fn class_escape(&mut self) -> Result<Option<String>, Error> {
        let start = self.at;
        let rest = self.rest();
        let Some(letter) = rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(None) };
        let plain = match letter {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => "[\\t\\n\\f\\r ]",
            'S' => "[^\\t\\n\\f\\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'p' | 'P' => {
                let Some(first) = rest[2..].chars().next() else {
                    return Err(self.error(start, format!("\\{letter} needs the name of a Unicode class")));
                };
                let (name, end) = if first == '{' {
                    let Some(length) = rest[3..].find('}') else {
                        return Err(self.error(start, format!("\\{letter}{{ is never closed")));
                    };
                    (&rest[3..3 + length], 3 + length + 1)
                } else {
                    (&rest[2..2 + first.len_utf8()], 2 + first.len_utf8())
                };
                self.at += end;
                let mut negated = letter == 'P';
                let bare = name.strip_prefix('^').inspect(|_| negated = !negated).unwrap_or(name);
                self.room.take(CLASS_WORK)?;
                let Some(class) = unicode_class(bare, negated) else {
                    return Err(self.error(start, format!("there is no Unicode class \"{name}\"")));
                };
                return Ok(Some(class));
            }
            _ => return Ok(None),
        };
        self.at += 2;
        Ok(Some(plain.to_owned()))
    }

    /// Reads an escape that stands for one character. `None` is a number that no text can hold (a half of a surrogate
    /// pair).
    fn character_escape(&mut self) -> Result<Option<char>, Error> {
        let start = self.at;
        let code = self.code_escape()?;
        if code > 0x0010_FFFF {
            return Err(self.error(start, "this number is no character: the largest is 10FFFF"));
        }
        Ok(char::from_u32(code))
    }

    fn code_escape(&mut self) -> Result<u32, Error> {
        let start = self.at;
        let rest = self.rest();
        let mut after = rest[1..].chars();
        let Some(letter) = after.next() else {
            return Err(self.error(start, "a backslash stands at the end; write \\\\ for the character"));
        };
        let after = after.as_str();
        let first_octal = after.bytes().next().is_some_and(|byte| matches!(byte, b'0'..=b'7'));
        let (code, taken) = match letter {
            'a' => (0x07, 0),
            'f' => (0x0C, 0),
            'n' => (0x0A, 0),
            'r' => (0x0D, 0),
            't' => (0x09, 0),
            'v' => (0x0B, 0),
            'x' => return self.hexadecimal(start, after),
            '1'..='7' if !first_octal => {
                return Err(self.error(start, format!("RE2 has no back-references: \\{letter}")));
            }
            '0'..='7' => {
                let more = after.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7'));
                let (code, taken) = more.fold((letter as u32 - 0x30, 0), |(code, taken), byte| {
                    (8 * code + u32::from(byte - b'0'), taken + 1)
                });
                (code, taken)
            }
            '8' | '9' => return Err(self.error(start, format!("RE2 has no back-references: \\{letter}"))),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => (other as u32, 0),
            other => {
                return Err(self.error(start, format!("RE2 has no escape \\{other}{}", advice(other))));
            }
        };
        self.at += 2 + taken;
        Ok(code)
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self, start: usize, after: &str) -> Result<u32, Error> {
        let (digits, taken) = match after.strip_prefix('{') {
            Some(braced) => match braced.find('}') {
                Some(length) => (&braced[..length], length + 2),
                None => return Err(self.error(start, "\\x{ is never closed")),
            },
            None => (after.get(..2).unwrap_or(""), 2),
        };
        let digits_only = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(code) = digits_only.then(|| u32::from_str_radix(digits, 16).ok()).flatten() else {
            return Err(self.error(start, "\\x needs two hexadecimal digits, or some in braces"));
        };
        self.at += 2 + taken;
        Ok(code)
    }

    // -- Classes.

    fn class(&mut self) -> Result<(), Error> {
        let start = self.at;
        let unclosed = "this \"[\" is never closed; write \\[ for the character";
        self.at += 1;
        self.text.push('[');
        if self.rest().starts_with('^') {
            self.at += 1;
            self.text.push('^');
        }
        let mut first = true;
        // Whether anything was written: a class of nothing but halves of surrogate pairs is empty.
        let mut any = false;
        loop {
            let Some(next) = self.peek() else { return Err(self.error(start, unclosed)) };
            if next == ']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            if let Some(named) = self.posix_class()? {
                self.text.push_str(named);
                any = true;
                continue;
            }
            if let Some(class) = self.class_escape()? {
                self.text.push_str(&class);
                any = true;
                continue;
            }
            let low_at = self.at;
            let low = self.class_character(start)?;
            let mut high = low;
            let rest = self.rest();
            if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
                self.at += 1;
                high = self.class_character(start)?;
                if high < low {
                    let range = &self.pattern[low_at..self.at];
                    return Err(self.error(low_at, format!("the range \"{range}\" is the wrong way round")));
                }
            }
            // A class that is folded already is not folded again when it becomes part of another: of what RE2 adds to a
            // class one after the other, each is folded alone.
            if self.folds {
                self.room.take(u64::from(high.saturating_sub(low.max(0x80)) / FOLDED_PER_WORK))?;
                let before = self.text.len();
                self.text.push('[');
                if push_range(&mut self.text, low, high) {
                    self.text.push(']');
                    any = true;
                } else {
                    self.text.truncate(before);
                }
            } else {
                any |= push_range(&mut self.text, low, high);
            }
        }
        if !any {
            self.text.push_str(NEVER);
        }
        self.text.push(']');
        self.atom(1);
        Ok(())
    }

    /// `[:alpha:]` within a class; nothing is taken if there is none.
    fn posix_class(&mut self) -> Result<Option<&'p str>, Error> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let start = self.at;
        let rest = self.rest();
        let Some(length) = rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else { return Ok(None) };
        let name = &rest[2..2 + length];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(self.error(start, format!("there is no class \"[:{name}:]\"")));
        }
        self.at += length + 4;
        Ok(Some(&rest[..length + 4]))
    }

    fn class_character(&mut self, class_at: usize) -> Result<u32, Error> {
        let start = self.at;
        match self.peek() {
            None => Err(self.error(class_at, "this \"[\" is never closed; write \\[ for the character")),
            Some('\\') => {
                let code = self.code_escape()?;
                if code > 0x0010_FFFF {
                    return Err(self.error(start, "this number is no character: the largest is 10FFFF"));
                }
                Ok(code)
            }
            Some(other) => {
                self.at += other.len_utf8();
                Ok(other as u32)
            }
        }
    }
}

/// How often.
#[derive(Debug, Clone, Copy)]
struct Count {
    min: u32,
    max: Option<u32>,
}

/// What matches no character.
const NEVER: &str = "[^\\x00-\\x{10FFFF}]";

/// A decimal number as a count has it: no leading zero. What is too large for the type is too large for RE2, too.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), &text[end..]))
}

/// The name of a construct that other dialects have and RE2 has not.
fn foreign_group(rest: &str) -> Option<&'static str> {
    let known = [
        ("(?=", "look-ahead: (?=…)"),
        ("(?!", "negative look-ahead: (?!…)"),
        ("(?<=", "look-behind: (?<=…)"),
        ("(?<!", "negative look-behind: (?<!…)"),
        ("(?>", "atomic groups: (?>…)"),
        ("(?|", "branch reset groups: (?|…)"),
        ("(?#", "comments: (?#…)"),
        ("(?(", "conditionals: (?(…)…)"),
        ("(?'", "groups named in quotes: write (?P<name>…)"),
        ("(?P=", "back-references: (?P=name)"),
        ("(?P>", "recursion: (?P>name)"),
        ("(?&", "recursion: (?&name)"),
        ("(?R", "recursion: (?R)"),
        ("(?0", "recursion: (?0)"),
        ("(?1", "recursion: (?1)"),
        ("(?x", "flag x for spaces and comments within"),
    ];
    known.iter().find(|(opening, _)| rest.starts_with(opening)).map(|(_, construct)| *construct)
}

/// What to write for an escape that RE2 has not.
fn advice(letter: char) -> &'static str {
    match letter {
        'Z' => "; write $ or \\z for the end of the text",
        'G' => "",
        'h' => "; write [ \\t] for blanks",
        'H' => "; write [^ \\t] for all but blanks",
        'R' => "; write (?:\\r\\n|\\n|\\r) for an end of line",
        'K' => "; put what is wanted into a group",
        'e' => "; write \\x1B for escape",
        'C' => " (a single byte)",
        'X' => " (a grapheme)",
        'N' => "; write [^\\n] for all but the end of line",
        'E' => ": there is no \\Q before it",
        'k' | 'g' => " (a back-reference)",
        'u' | 'U' => "; write \\x{…} with the number of the character",
        'b' => " within brackets; write \\x08 for backspace",
        _ => "; a letter or digit that stands for itself needs no backslash",
    }
}

/// A Unicode class by RE2's name: a general category or a script, not the other properties that the crate knows.
fn unicode_class(name: &str, negated: bool) -> Option<String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let sign = if negated { 'P' } else { 'p' };
    ["gc", "sc"]
        .into_iter()
        .map(|property| format!("\\{sign}{{{property}={name}}}"))
        .find(|class| regex_syntax::parse(class).is_ok())
}

/// A character that stands for itself.
fn push_literal(text: &mut String, character: char) {
    if regex_syntax::is_meta_character(character) {
        text.push('\\');
    }
    text.push(character);
}

/// The characters from one to another, without the halves of surrogate pairs; whether there are any.
fn push_range(text: &mut String, low: u32, high: u32) -> bool {
    let low = char::from_u32(low).unwrap_or('\u{E000}');
    let high = char::from_u32(high).unwrap_or('\u{D7FF}');
    if low > high {
        return false;
    }
    push_literal(text, low);
    if low < high {
        text.push('-');
        push_literal(text, high);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_branch_wins_whatever_the_branches_begin_with() {
        let table = [
            (".*?,|.*?;", "a;b,", "a;b,"),
            ("(?:.*?)x|.*?y", "ayx", "ayx"),
            ("-(?:[ab]*?1|[ab]*?2|[ab]*?b)", "-ab2", "-ab2"),
            ("a+?b|a+?c|d", "aac", "aac"),
            ("(?:a{1,2}?b)|(?:a{1,2}?c)", "aac", "aac"),
            (r"(.*?)\d|(?i:[^\n]*?),", ",1", ",1"),
            ("x(?:[ab]*?1)|x([a-b]*?b)", "xab1", "xab1"),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(find(pattern, text), Some(expected), "{pattern}");
            let captures = compile_captures(pattern).expect(pattern);
            captures.check(text);
            let found = captures.find(text, 0, true, &mut Places::default());
            assert_eq!(found.map(|found| &text[found]), Some(expected), "{pattern}");
        }
    }

    fn find<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        regex.find(text).map(|found| found.as_str())
    }

    #[test]
    fn patterns_match_what_re2_matches() {
        // The rule, a pattern, a text, and the first match in it.
        let cases = [
            ("digits are ASCII", r"\d", "٣3", Some("3")),
            ("all but digits is any other character", r"\D", "1é", Some("é")),
            ("words are ASCII", r"\w+", "éab_9é", Some("ab_9")),
            ("all but words is any other character", r"\W", "aé", Some("é")),
            ("space has no vertical tab", r"\s", "\x0b\x0c", Some("\x0c")),
            ("and no space beyond ASCII", r"\s", "\u{a0}\u{2003}", None),
            ("boundaries are those of ASCII words", r"\ba\b", "éaé", Some("a")),
            ("and their opposite", r"\Ba", "éaba", Some("a")),
            ("a dot is a whole character", r"^.$", "é", Some("é")),
            ("a dot is no end of line", r".+", "\nab\ncd", Some("ab")),
            ("with s it is", r"(?s).+", "a\nb", Some("a\nb")),
            ("the end is the end of the text", r"a$", "a\n", None),
            ("with m it is the end of a line", r"(?m)a$", "a\nb", Some("a")),
            ("end of text", r"(?m)b\z", "b\nb", Some("b")),
            ("start of text", r"(?m)\Ab", "a\nb", None),
            ("U swaps greed", r"(?U)a+", "aaa", Some("a")),
            ("and back", r"(?U)a+?", "aaa", Some("aaa")),
            ("flags may be switched off", r"(?i)a(?-i)b", "AB Ab", Some("Ab")),
            ("within a group alone", r"(?i:a)b", "AB Ab", Some("Ab")),
            ("no flag at all", r"a(?)b", "ab", Some("ab")),
            ("flags reach over branches", r"a(?i)b|c", "C", Some("C")),
            ("the first branch wins, not the longest", r"a|ab", "ab", Some("a")),
            ("an empty branch", r"(?:a|)b", "b", Some("b")),
            ("a count", r"a{2,3}", "aaaa", Some("aaa")),
            ("an open count", r"a{2,}", "aaaa", Some("aaaa")),
            ("a lazy count", r"a{2,3}?", "aaaa", Some("aa")),
            ("a brace without a count is itself", r"a{b}", "a{b}", Some("a{b}")),
            ("so is one without a minimum", r"a{,2}", "aaa{,2}", Some("a{,2}")),
            ("or with a leading zero", r"a{01}", "aa{01}", Some("a{01}")),
            ("or without an end", r"a{2", "aa{2", Some("a{2")),
            ("or at the start", r"{a}", "{a}", Some("{a}")),
            ("a closing one always", r"a}", "a}", Some("a}")),
            ("a closing bracket, too", r"a]", "a]", Some("a]")),
            ("a bracket first in a class", r"[]a]+", "]a", Some("]a")),
            ("after a caret, too", r"[^]a]+", "]ab", Some("b")),
            ("an opening bracket in a class", r"[[a]+", "[a", Some("[a")),
            ("an ampersand twice", r"[a&&b]+", "a&b", Some("a&b")),
            ("a tilde twice", r"[a~~b]+", "a~b", Some("a~b")),
            ("a hyphen twice is a range", r"[+--]+", "+,-.", Some("+,-")),
            ("a hyphen after a class", r"[\w-:]+", "a-:b", Some("a-:b")),
            ("a hyphen at the ends", r"[-a]+[a-]+", "-a-", Some("-a-")),
            ("classes in classes", r"[\d\s]+", "a1 2b", Some("1 2")),
            ("POSIX classes", r"[[:alpha:]_]+", "1a_é", Some("a_")),
            ("their opposite", r"[[:^alpha:]]+", "aé1b", Some("é1")),
            ("something like one is none", r"[:a:]+", "x:a", Some(":a")),
            ("a class of all but one line end", r"[^\n]+", "\nab", Some("ab")),
            ("a class of all but one spans lines", r"[^x]+", "x\nab", Some("\nab")),
            ("ranges beyond ASCII", r"[à-ü]+", "zéz", Some("é")),
            ("Unicode classes by a letter", r"\pL+", "1éa", Some("éa")),
            ("by a name", r"\p{Greek}+", "aλμ", Some("λμ")),
            ("their opposite", r"\PL+\P{Greek}", "λ1a", Some("1a")),
            ("by a caret", r"\p{^L}", "a1", Some("1")),
            ("in a class", r"[\pN-]+", "a1-2", Some("1-2")),
            ("octal", r"\101\0", "A\0", Some("A\0")),
            ("two digits are octal, too", r"\12", "\n", Some("\n")),
            ("hexadecimal", r"\x41\x{e9}", "Aé", Some("Aé")),
            ("control characters", r"\a\f\t\n\r\v", "\x07\x0c\t\n\r\x0b", Some("\x07\x0c\t\n\r\x0b")),
            ("quoted", r"\Qa.b*\E+", "a.b**", Some("a.b**")),
            ("quoted to the end", r"\Q(", "((", Some("(")),
            ("punctuation", r"\<\>\_\-\/\:\@\ ", "<>_-/:@ ", Some("<>_-/:@ ")),
            ("punctuation in a class", r"[\<\-\]\.]+", "a<-].", Some("<-].")),
            ("what is no operator here", "#&~ <>", "#&~ <>", Some("#&~ <>")),
            ("a half of a surrogate pair is nothing", r"\x{D800}", "a", None),
            ("nor does it change a class", r"[a\x{D800}]", "a", Some("a")),
            ("a group with a name", r"(?P<n>a)(?<m>b)", "ab", Some("ab")),
            ("a name may start with a digit", r"(?P<1>a)", "a", Some("a")),
            ("assertions may be repeated", r"^*a\b+", "a", Some("a")),
            ("no case beyond ASCII is missed", r"(?i)É", "é", Some("é")),
            ("nor in a class", r"(?i)[É-Ü]+", "éÉx", Some("éÉ")),
            ("nor beside another class", r"(?i)[^k\W]+", "-kAb", Some("Ab")),
            ("nor is any added", r"(?i)[_\W]", "kſ\u{212a}K_", Some("_")),
            ("a class of all but one with a flag", r"(?i)[^a-f-]+", "A-xY", Some("xY")),
        ];
        for (rule, pattern, text, expected) in cases {
            assert_eq!(find(pattern, text), expected, "{rule}: {pattern} on {text:?}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused_with_advice() {
        // A pattern, what the error says, and the byte that it is about.
        let cases = [
            ("a(?=b)", "look-ahead", 1),
            ("a(?!b)", "negative look-ahead", 1),
            ("(?<=a)b", "look-behind", 0),
            ("(?<!a)b", "negative look-behind", 0),
            ("(?>a)", "atomic groups", 0),
            ("(?#a)", "comments", 0),
            ("(?'n'a)", "(?P<name>…)", 0),
            ("(?P<n>a)(?P=n)", "back-references", 8),
            (r"(a)\1", r"back-references: \1", 3),
            (r"\8", "back-references", 0),
            (r"(a)\k<n>", "back-reference", 3),
            ("(?x) a", "spaces and comments", 0),
            ("(?j)a", "\"j\" is none of its flags", 0),
            ("(?i-)a", "none of its flags", 0),
            ("a++", "possessive", 1),
            ("a**", "cannot follow", 1),
            ("a{2}{3}", "cannot follow", 1),
            ("*a", "nothing before", 0),
            ("a|*", "nothing before", 2),
            ("(+)", "nothing before", 1),
            ("a{1001}", "more than 1000 times", 1),
            ("a{2,1001}", "more than 1000 times", 1),
            ("(a{100}){11}", "more than 1000 times in all", 8),
            ("a{3,2}", "larger", 1),
            ("(a", "never closed", 0),
            ("a)", "no \"(\"", 1),
            ("[a", "never closed", 0),
            ("[]", "never closed", 0),
            ("[b-a]", "wrong way round", 1),
            (r"[a-\d]", r"no escape \d", 3),
            (r"[\b]", r"\x08", 1),
            ("[[:foo:]]", "[:foo:]", 1),
            (r"\C", "single byte", 0),
            (r"\Z", r"\z", 0),
            (r"\h", "blanks", 0),
            (r"\R", "end of line", 0),
            (r"\K", "group", 0),
            (r"\y", "needs no backslash", 0),
            (r"\é", "no escape", 0),
            (r"\E", r"no \Q", 0),
            (r"\u0041", r"\x{…}", 0),
            ("a\\", "backslash", 1),
            (r"\x4", "hexadecimal", 0),
            (r"\x{}", "hexadecimal", 0),
            (r"\x{41", "never closed", 0),
            (r"\x{110000}", "10FFFF", 0),
            (r"\p{Foo}", "Unicode class", 0),
            (r"\p{Alphabetic}", "Unicode class", 0),
            (r"\p{L", "never closed", 0),
            (r"\p", "name", 0),
            ("(?P<a b>c)", "letters, digits and _", 4),
            ("(?P<>c)", "letters, digits and _", 4),
            ("(?P<a", "\">\" is missing", 0),
            ("(?P<n>a)|(?<n>b)", "two groups named \"n\"", 12),
        ];
        for (pattern, text, offset) in cases {
            let error = compile(pattern).expect_err(pattern);
            assert!(error.message.contains(text), "{pattern}: {error}");
            assert_eq!(error.offset, Some(offset), "{pattern}: {error}");
        }
        assert_eq!(compile("a(?=b)").expect_err("look-ahead").to_string(), "RE2 has no look-ahead: (?=…) (at byte 1)");
    }

    #[test]
    fn groups_are_counted_as_written() {
        let regex = compile(r"(a)(?:b)(?P<n>c)(?P<1>d)").expect("it is one");
        let captures = regex.captures("abcd").expect("it matches");
        let groups: Vec<_> = captures.iter().map(|group| group.map(|group| group.as_str())).collect();
        assert_eq!(groups, [Some("abcd"), Some("a"), Some("c"), Some("d")]);
        assert_eq!(&captures["n"], "c");
    }

    #[test]
    fn of_captures_only_those_with_a_name_are_kept() {
        let captures = compile_captures(r"(a)(?P<x.y>b)|(?<x.y>c)").expect("it is one");
        assert_eq!(captures.names, ["x.y", "x.y"]);
        assert_eq!(captures.regex.captures_len(), 3);
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let deepest = format!("{}a{}", "(".repeat(NESTING_MAX), ")*".repeat(NESTING_MAX));
        assert!(compile(&deepest).expect("as deep as may be").is_match("a"));
        let deeper = format!("({deepest})");
        assert!(compile(&deeper).expect_err("too deep").message.contains("nested deeper"));
        let branches = format!("{}a{}", "(x|".repeat(NESTING_MAX), "{1,2})?".repeat(NESTING_MAX));
        let _ = compile(&branches);
        let large = r"(?:\pL{100}){10}(?:\pL{100}){10}(?:\pL{100}){10}";
        assert!(compile(large).expect_err("too large").message.contains("too large"));
        let mut room = Room::default();
        let fit = (0..1000).take_while(|_| compile_in(r"\pL{100}", &mut room).is_ok()).count();
        assert!((5..50).contains(&fit), "{fit} of a size that a program may have a few of");
        assert!(room.is_spent() && compile_in("a", &mut Room::new(0, 1000)).is_err());
        assert!(compile(&"a".repeat(PATTERN_BYTES_MAX + 1)).expect_err("too long").message.contains("longer"));
    }

    #[test]
    fn what_takes_long_to_compile_is_charged_before_it_is_done() {
        // An expression, and what it takes at least and at most, in thousandths of what a program may take.
        let table = [
            ("x+", 0, 1),
            (r"(?P<a>[^ ]+) (?P<b>\d{1,3})", 0, 1),
            (r"(?i)[_\W]+[^\s-]", 0, 1),
            (r"\pL{100}", 100, 200),
            (&r"\pL".repeat(100), 100, 200),
            (&format!("[{}]", r"\pL\PN".repeat(1_000)), 200, 300),
            (r"(?i)[\x{80}-\x{10FFFF}]{2}", 60, 100),
            ("[a-f]{1000}", 1, 3),
            (&"abcdefgh".repeat(1 << 12), 60, 100),
            (&"a?".repeat(1_000), 30, 50),
            // What is refused takes little, and not nothing.
            (&format!("{}(?=", "abcdefgh".repeat(1 << 12)), 3, 6),
        ];
        for (pattern, least, most) in table {
            let mut room = Room::default();
            let _ = compile_in(pattern, &mut room);
            let thousandths = 1_000 * room.work() / WORK_MAX;
            assert!((least..=most).contains(&thousandths) && room.work() > 0, "{pattern:.40}: {thousandths}");
            assert!(!room.is_spent(), "{pattern:.40}");
        }
        // One that is too large for itself leaves room for others, whatever it repeats.
        let mut room = Room::default();
        assert!(compile_in(&"[a-f]{1000}".repeat(10_000), &mut room).expect_err("large").message.contains("too large"));
        assert!(!room.is_spent() && compile_in("a", &mut room).is_ok());
    }

    /// Expressions as grok has them: groups with names, repetition and branches of a few plain things.
    fn expressions() -> impl Strategy<Value = String> {
        let plain = prop_oneof![
            Just("a"),
            Just("b"),
            Just("ab"),
            Just("1"),
            Just("é"),
            Just(" "),
            Just("."),
            Just(".*"),
            Just(".*?"),
            Just("[ab]"),
            Just("[^a]"),
            Just("[^ ]+"),
            Just("\\d+"),
            Just("\\w*"),
            Just("\\S+?"),
            Just("\\b"),
            Just("^"),
            Just("$"),
            Just("(?m:$)"),
            Just("(?s:.)"),
            Just("(?i:A)"),
            Just("[à-ü]"),
            Just("a{2,3}"),
            Just("[ab]{0,2}?"),
        ];
        plain.prop_map(str::to_owned).prop_recursive(5, 24, 4, |inner| {
            let several = prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                4 => several.clone().prop_map(|parts| parts.concat()),
                2 => several.prop_map(|parts| format!("(?:{})", parts.join("|"))),
                3 => inner.clone().prop_map(|part| format!("(?P<g>{part})")),
                1 => (inner, prop::sample::select(vec!["?", "??", "*", "+", "*?", "{2}", "{1,2}", "{0,2}?"]))
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        /// Walking through an expression finds the match and the groups that the crate finds.
        #[test]
        fn walking_finds_what_the_crate_finds(expression in expressions(), text in "[ab1é \n]{0,12}") {
            compile_captures(&expression).expect("it is one").check(&text);
        }

        /// Whatever the text, it compiles or is refused at a place within it.
        #[test]
        fn nothing_panics(pattern in r"(?s).{0,24}") {
            if let Err(error) = compile(&pattern) {
                let offset = error.offset.unwrap_or(0);
                prop_assert!(offset <= pattern.len() && pattern.is_char_boundary(offset), "{}", error);
            }
        }

        /// The same for texts of the characters that mean something. What is translated is always something that the
        /// crate understands: no error comes without a place but that of size.
        #[test]
        fn what_is_translated_compiles(
            pattern in r"(\\[a-zA-Z0-9.\[<\\]|\[\^?|[\]{}()|*+?^$.,:&~\-#]|\(\?[a-zA-Z<P:!=-]{0,2}|[ab0-9é]|\{[0-9],?[0-9]?\}){0,14}"
        ) {
            match compile(&pattern) {
                Ok(regex) => {
                    let _ = regex.is_match("ab-é[");
                }
                Err(error) => prop_assert!(error.offset.is_some() || error.message.contains("too large"), "{}", error),
            }
        }

        /// A text between `\Q` and `\E` stands for itself, and so does one with a backslash before each punctuation.
        #[test]
        fn quoted_text_matches_itself(text in r"[^\\\n]{1,16}") {
            let quoted = format!("^\\Q{text}\\E$");
            prop_assert_eq!(find(&quoted, &text), Some(text.as_str()));
            let mut escaped = String::from("^");
            for character in text.chars() {
                if character.is_ascii_punctuation() {
                    escaped.push('\\');
                }
                escaped.push(character);
            }
            prop_assert_eq!(find(&escaped, &text), Some(text.as_str()));
        }

        /// Each character of a class matches, and no other does.
        #[test]
        fn a_class_is_its_characters(class in r"[^\\\]\[\-^\n]{1,8}", other in r"[^\n]") {
            let pattern = format!("^[{class}]$");
            for character in class.chars() {
                let text = character.to_string();
                prop_assert_eq!(find(&pattern, &text), Some(text.as_str()));
            }
            if !class.contains(&other) {
                prop_assert_eq!(find(&pattern, &other), None);
            }
        }
    }
}
