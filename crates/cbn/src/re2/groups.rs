//! Where the groups of a match lie, found by walking through the expression.
//!
//! The `regex` crate finds a match quickly and its groups slowly: for a line of a syslog with ten fields the groups take
//! nearly all of the time, and grok asks for nothing else. An expression of grok is mostly a row of plain things (text,
//! a run of digits, anything up to a comma), which are walked through faster by trying than by following all ways at
//! once. What is tried, and in which order, is exactly what "leftmost, first alternative first" means, so the first way
//! that leads to the end is the match that the crate would find.
//!
//! Trying may take very long where an expression is ambiguous. The walk therefore counts what it does and gives up; the
//! caller asks the crate then. Expressions with something that is not known here are never walked through.

use regex_syntax::hir::{self, Hir, HirKind};

/// How many operations an expression may have; a larger one is left to the crate.
const OPERATIONS_MAX: usize = 6000;

/// How many places wait to be tried at most.
const WAITING_MAX: usize = 4096;

/// A group that took no part in the match.
const UNSET: usize = usize::MAX;

/// An expression, ready to be walked through.
#[derive(Debug)]
pub(super) struct Walk {
    code: Vec<Operation>,
    classes: Vec<Class>,
    literals: Vec<u8>,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// There is a match from the start to here.
    To(usize),
    /// There is none that starts there.
    Nowhere,
    /// It took too long to find out.
    GaveUp,
}

/// Where groups lie, and what a walk notes on its way. One of these may be used for any number of expressions.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Start and end of each group.
    slots: Vec<usize>,
    waiting: Vec<Waiting>,
}

impl Places {
    /// The group with this number, from 1.
    #[inline]
    pub(super) fn get(&self, group: usize) -> Option<(usize, usize)> {
        let (start, end) = (*self.slots.get(2 * group - 2)?, *self.slots.get(2 * group - 1)?);
        (start != UNSET && end != UNSET).then_some((start, end))
    }

    /// Notes groups that somebody else found.
    pub(super) fn take(&mut self, found: &regex::CaptureLocations) {
        self.slots.clear();
        for group in 1..found.len() {
            let (start, end) = found.get(group).unwrap_or((UNSET, UNSET));
            self.slots.extend([start, end]);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    /// This text, a stretch of the literals.
    Literal { start: u32, end: u32 },
    /// One character of a class.
    Class(u16),
    /// A number of characters of a class.
    Run(Run),
    /// Something about the place itself.
    Look(hir::Look),
    /// The place is the start or end of a group.
    Save(u16),
    /// Two ways to go on, the first one first.
    Split { first: u32, second: u32 },
    /// Go on there.
    Jump(u32),
    /// The end.
    Match,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    class: u16,
    min: u32,
    max: u32,
    greedy: bool,
    /// The byte that has to follow, where there is but one.
    next: Option<u8>,
}

/// What is to be tried when the current way leads nowhere, the latest first.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// The other way of a split.
    Branch { operation: u32, at: usize },
    /// A run that took as much as it could up to `at` may take less, down to `low`.
    Less { operation: u32, low: usize, at: usize },
    /// A run that took as little as it could up to `at` may take more: `left` characters.
    More { operation: u32, at: usize, left: u32 },
    /// A group's place before it was set on this way.
    Restore { slot: u16, old: usize },
}

/// A set of characters.
#[derive(Debug, PartialEq)]
struct Class {
    /// Which of the first 128.
    ascii: [bool; 128],
    beyond: Beyond,
}

/// Which of the other characters.
#[derive(Debug, PartialEq)]
enum Beyond {
    None,
    All,
    Some(Vec<(char, char)>),
}

impl Class {
    fn of_ranges(ranges: impl Iterator<Item = (char, char)>) -> Class {
        let mut class = Class { ascii: [false; 128], beyond: Beyond::None };
        let mut beyond = Vec::new();
        for (low, high) in ranges {
            for code in low as u32..=(high as u32).min(127) {
                class.ascii[code as usize] = true;
            }
            if high as u32 > 127 {
                beyond.push((low.max('\u{80}'), high));
            }
        }
        class.beyond = match beyond.as_slice() {
            [] => Beyond::None,
            [('\u{80}', char::MAX)] => Beyond::All,
            _ => Beyond::Some(beyond),
        };
        class
    }

    /// How many bytes the character at a place has, if it is one of these.
    #[inline]
    fn at(&self, text: &str, at: usize) -> Option<usize> {
        let byte = *text.as_bytes().get(at)?;
        if byte < 128 {
            return self.ascii[byte as usize].then_some(1);
        }
        let character = || text[at..].chars().next().expect("a byte is there, so a character is");
        match &self.beyond {
            Beyond::None => None,
            Beyond::All => Some(length(byte)),
            Beyond::Some(ranges) => {
                let character = character();
                let at = ranges.partition_point(|(_, high)| *high < character);
                ranges.get(at).is_some_and(|(low, _)| *low <= character).then(|| character.len_utf8())
            }
        }
    }
}

/// How many bytes a character beyond ASCII has, by the first of them.
#[inline]
fn length(byte: u8) -> usize {
    match byte {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2,
    }
}

impl Walk {
    /// Reads an expression of the crate. `None` where something in it cannot be walked through.
    pub(super) fn new(expression: &str) -> Option<Walk> {
        let hir = regex_syntax::parse(expression).ok()?;
        let mut walk = Walk { code: Vec::new(), classes: Vec::new(), literals: Vec::new() };
        walk.read(&hir)?;
        walk.push(Operation::Match)?;
        walk.look_ahead();
        Some(walk)
    }

    fn push(&mut self, operation: Operation) -> Option<u32> {
        if self.code.len() >= OPERATIONS_MAX {
            return None;
        }
        self.code.push(operation);
        Some(self.code.len() as u32 - 1)
    }

    fn here(&self) -> u32 {
        self.code.len() as u32
    }

    fn read(&mut self, hir: &Hir) -> Option<()> {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => {
                let start = self.literals.len() as u32;
                self.literals.extend_from_slice(&literal.0);
                self.push(Operation::Literal { start, end: self.literals.len() as u32 })?;
            }
            HirKind::Class(class) => {
                let class = self.class(of_hir(class)?)?;
                self.push(Operation::Class(class))?;
            }
            HirKind::Look(look) => {
                use hir::Look::{End, EndLF, Start, StartLF, WordAscii, WordAsciiNegate};
                if !matches!(look, Start | End | StartLF | EndLF | WordAscii | WordAsciiNegate) {
                    return None;
                }
                self.push(Operation::Look(*look))?;
            }
            HirKind::Capture(capture) => {
                let slot = u16::try_from(2 * (capture.index - 1)).ok()?;
                self.push(Operation::Save(slot))?;
                self.read(&capture.sub)?;
                self.push(Operation::Save(slot + 1))?;
            }
            HirKind::Concat(parts) => {
                for part in parts {
                    self.read(part)?;
                }
            }
            HirKind::Alternation(branches) => {
                let (last, others) = branches.split_last()?;
                let mut jumps = Vec::with_capacity(others.len());
                for branch in others {
                    let split = self.push(Operation::Match)?;
                    self.read(branch)?;
                    jumps.push(self.push(Operation::Match)?);
                    self.code[split as usize] = Operation::Split { first: split + 1, second: self.here() };
                }
                self.read(last)?;
                for jump in jumps {
                    self.code[jump as usize] = Operation::Jump(self.here());
                }
            }
            HirKind::Repetition(repetition) => self.repetition(repetition)?,
        }
        Some(())
    }

    fn repetition(&mut self, repetition: &hir::Repetition) -> Option<()> {
        let hir::Repetition { min, max, greedy, sub } = repetition;
        let single = match sub.kind() {
            HirKind::Class(class) => Some(of_hir(class)?),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).ok()?;
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(one), None) => Some(Class::of_ranges(std::iter::once((one, one)))),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(class) = single {
            let class = self.class(class)?;
            let run = Run { class, min: *min, max: max.unwrap_or(u32::MAX), greedy: *greedy, next: None };
            self.push(Operation::Run(run))?;
            return Some(());
        }
        // What may be empty and be repeated would need a rule of its own for when to stop.
        if *max != Some(1) && sub.properties().minimum_len().is_none_or(|bytes| bytes == 0) {
            return None;
        }
        for _ in 0..*min {
            self.read(sub)?;
        }
        let split = |greedy: bool, inside: u32, outside: u32| {
            if greedy {
                Operation::Split { first: inside, second: outside }
            } else {
                Operation::Split { first: outside, second: inside }
            }
        };
        match max {
            None => {
                let start = self.push(Operation::Match)?;
                self.read(sub)?;
                self.push(Operation::Jump(start))?;
                self.code[start as usize] = split(*greedy, start + 1, self.here());
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in *min..*max {
                    splits.push(self.push(Operation::Match)?);
                    self.read(sub)?;
                }
                for at in splits {
                    self.code[at as usize] = split(*greedy, at + 1, self.here());
                }
            }
        }
        Some(())
    }

    fn class(&mut self, class: Class) -> Option<u16> {
        let at = self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Notes for every run which byte has to follow it.
    fn look_ahead(&mut self) {
        for at in 0..self.code.len() {
            let next = self.code[at + 1..].iter().find(|operation| !matches!(operation, Operation::Save(_)));
            let next = match next {
                Some(Operation::Literal { start, .. }) => Some(self.literals[*start as usize]),
                _ => None,
            };
            if let Operation::Run(run) = &mut self.code[at] {
                run.next = next;
            }
        }
    }

    /// Walks from a place in the text. The groups stand in `places` if there is a match.
    pub(super) fn from(&self, text: &str, start: usize, groups: usize, effort: usize, places: &mut Places) -> Walked {
        let Places { slots, waiting } = places;
        slots.clear();
        slots.resize(2 * groups, UNSET);
        waiting.clear();
        waiting.reserve(32);
        let bytes = text.as_bytes();
        let mut effort = effort;
        let (mut operation, mut at) = (0_u32, start);
        loop {
            if effort == 0 || waiting.len() > WAITING_MAX {
                return Walked::GaveUp;
            }
            effort -= 1;
            let way = match self.code[operation as usize] {
                Operation::Literal { start, end } => {
                    let literal = &self.literals[start as usize..end as usize];
                    bytes[at..].starts_with(literal).then_some((operation + 1, at + literal.len()))
                }
                Operation::Class(class) => {
                    self.classes[class as usize].at(text, at).map(|bytes| (operation + 1, at + bytes))
                }
                Operation::Look(look) => holds(look, bytes, at).then_some((operation + 1, at)),
                Operation::Save(slot) => {
                    if !waiting.is_empty() {
                        waiting.push(Waiting::Restore { slot, old: slots[slot as usize] });
                    }
                    slots[slot as usize] = at;
                    Some((operation + 1, at))
                }
                Operation::Jump(to) => Some((to, at)),
                // Most ways end at their first character; looking at it is cheaper than coming back.
                Operation::Split { first, second } => {
                    if !self.may_start(first, text, at) {
                        Some((second, at))
                    } else {
                        if self.may_start(second, text, at) {
                            waiting.push(Waiting::Branch { operation: second, at });
                        }
                        Some((first, at))
                    }
                }
                Operation::Match => return Walked::To(at),
                Operation::Run(run) => {
                    let class = &self.classes[run.class as usize];
                    let low = advance(class, text, at, run.min);
                    effort = effort.saturating_sub(1);
                    match low {
                        None => None,
                        Some(low) if run.greedy => {
                            let high = furthest(class, text, low, run.max - run.min);
                            effort = effort.saturating_sub((high - at) / 16);
                            less(bytes, &run, operation, low, high, waiting)
                        }
                        Some(low) => more(class, text, &run, operation, low, run.max - run.min, waiting, &mut effort),
                    }
                }
            };
            (operation, at) = match way {
                Some(way) => way,
                // This way leads nowhere: back to the last place where there was another.
                None => loop {
                    match waiting.pop() {
                        None => return Walked::Nowhere,
                        Some(Waiting::Restore { slot, old }) => slots[slot as usize] = old,
                        Some(Waiting::Branch { operation, at }) => break (operation, at),
                        Some(Waiting::Less { operation, low, at }) => {
                            let Operation::Run(run) = self.code[operation as usize] else { continue };
                            let at = before(bytes, at);
                            if let Some(way) = less(bytes, &run, operation, low, at, waiting) {
                                break way;
                            }
                        }
                        Some(Waiting::More { operation, at, left }) => {
                            let Operation::Run(run) = self.code[operation as usize] else { continue };
                            let class = &self.classes[run.class as usize];
                            let Some(bytes) = class.at(text, at) else { continue };
                            let next = at + bytes;
                            if let Some(way) = more(class, text, &run, operation, next, left - 1, waiting, &mut effort)
                            {
                                break way;
                            }
                        }
                    }
                },
            };
        }
    }
}

impl Walk {
    /// Whether a way may lead on from a place, as far as its first operation tells.
    #[inline]
    fn may_start(&self, operation: u32, text: &str, at: usize) -> bool {
        match self.code[operation as usize] {
            Operation::Literal { start, .. } => text.as_bytes().get(at) == Some(&self.literals[start as usize]),
            Operation::Class(class) | Operation::Run(Run { class, min: 1.., .. }) => {
                self.classes[class as usize].at(text, at).is_some()
            }
            _ => true,
        }
    }
}

fn of_hir(class: &hir::Class) -> Option<Class> {
    match class {
        hir::Class::Unicode(class) => Some(Class::of_ranges(class.iter().map(|range| (range.start(), range.end())))),
        hir::Class::Bytes(class) => {
            let ranges = class.to_unicode_class()?;
            Some(Class::of_ranges(ranges.iter().map(|range| (range.start(), range.end()))))
        }
    }
}

/// The place behind so many characters of a class.
#[inline]
fn advance(class: &Class, text: &str, at: usize, characters: u32) -> Option<usize> {
    let mut at = at;
    for _ in 0..characters {
        at += class.at(text, at)?;
    }
    Some(at)
}

/// The place behind as many characters of a class as there are, up to a number.
#[inline]
fn furthest(class: &Class, text: &str, at: usize, characters: u32) -> usize {
    let mut at = at;
    let mut left = characters;
    while left > 0 {
        let Some(bytes) = class.at(text, at) else { break };
        at += bytes;
        left -= 1;
    }
    at
}

/// The start of the character before a place.
fn before(bytes: &[u8], at: usize) -> usize {
    let mut at = at - 1;
    while bytes[at] & 0xC0 == 0x80 {
        at -= 1;
    }
    at
}

/// The last place from `low` to `high` at which the text may go on.
#[inline]
fn less(
    bytes: &[u8],
    run: &Run,
    operation: u32,
    low: usize,
    high: usize,
    waiting: &mut Vec<Waiting>,
) -> Option<(u32, usize)> {
    let at = match run.next {
        None => high,
        Some(next) if bytes.get(high) == Some(&next) => high,
        Some(next) => low + bytes[low..high].iter().rposition(|byte| *byte == next)?,
    };
    if at > low {
        waiting.push(Waiting::Less { operation, low, at });
    }
    Some((operation + 1, at))
}

/// The first place from `at` on at which the text may go on.
#[inline]
fn more(
    class: &Class,
    text: &str,
    run: &Run,
    operation: u32,
    at: usize,
    left: u32,
    waiting: &mut Vec<Waiting>,
    effort: &mut usize,
) -> Option<(u32, usize)> {
    let (start, mut at, mut left) = (at, at, left);
    if let Some(next) = run.next {
        // A way that leads nowhere may have gone far.
        let mut go_on = || {
            while *text.as_bytes().get(at)? != next {
                left = left.checked_sub(1)?;
                at += class.at(text, at)?;
            }
            Some(())
        };
        let found = go_on();
        *effort = effort.saturating_sub((at - start) / 16);
        found?;
    }
    if left > 0 {
        waiting.push(Waiting::More { operation, at, left });
    }
    Some((operation + 1, at))
}

#[inline]
fn holds(look: hir::Look, bytes: &[u8], at: usize) -> bool {
    let word = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    match look {
        hir::Look::Start => at == 0,
        hir::Look::End => at == bytes.len(),
        hir::Look::StartLF => at == 0 || bytes[at - 1] == b'\n',
        hir::Look::EndLF => at == bytes.len() || bytes[at] == b'\n',
        hir::Look::WordAscii => word(at.checked_sub(1)) != word(Some(at)),
        hir::Look::WordAsciiNegate => word(at.checked_sub(1)) == word(Some(at)),
        _ => unreachable!("others are refused when the expression is read"),
    }
}
