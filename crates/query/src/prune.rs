//! What filters may rule out: the part of a predicate that a Bloom filter over values or pieces of text can answer.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A necessary condition for a record to match. Whoever keeps filters asks them about [`Prune::Value`] and
/// [`Prune::Text`]; where the answer is no, nothing matches. Texts in it are folded by [`udm::fold`], and so must be
/// what a filter holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prune {
    /// Nothing can be ruled out.
    Unknown,
    /// Nothing can match.
    Never,
    /// All of these must be possible.
    All(Vec<Prune>),
    /// One of these must be possible.
    One(Vec<Prune>),
    /// A leaf of the UDM JSON, as [`udm::Schema::visit_leaves`] gives its text and [`udm::fold`] folds it, equals this.
    Value(String),
    /// The raw text, folded by [`udm::fold`], contains this.
    Text(String),
}

impl Prune {
    /// Whether a match is possible where `value` and `text` say what a filter may hold. Both may err towards true.
    pub fn possible(&self, value: &mut dyn FnMut(&str) -> bool, text: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Prune::Unknown => true,
            Prune::Never => false,
            Prune::All(parts) => parts.iter().all(|part| part.possible(value, text)),
            Prune::One(parts) => parts.iter().any(|part| part.possible(value, text)),
            Prune::Value(wanted) => value(wanted),
            Prune::Text(wanted) => text(wanted),
        }
    }

    /// All of these, simplified.
    pub(crate) fn all(parts: impl IntoIterator<Item = Prune>) -> Prune {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Prune::Unknown => {}
                Prune::Never => return Prune::Never,
                Prune::All(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Prune::Unknown,
            1 => kept.remove(0),
            _ => Prune::All(kept),
        }
    }

    /// One of these, simplified.
    pub(crate) fn one(parts: impl IntoIterator<Item = Prune>) -> Prune {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Prune::Unknown => return Prune::Unknown,
                Prune::Never => {}
                Prune::One(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Prune::Never,
            1 => kept.remove(0),
            _ => Prune::One(kept),
        }
    }

    /// What a text must contain for this expression to match somewhere in it.
    pub(crate) fn of_regex(hir: &Hir) -> Prune {
        let mut pieces = Pieces::default();
        pieces.read(hir);
        pieces.finish()
    }
}

/// Collects the literal stretches that every match of an expression contains, from left to right.
#[derive(Default)]
struct Pieces {
    /// Folded text that must come right before whatever follows.
    run: Vec<u8>,
    parts: Vec<Prune>,
}

impl Pieces {
    fn read(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.run.extend_from_slice(&literal.0),
            HirKind::Class(class) => match one_folded(class) {
                Some(character) => {
                    let mut buffer = [0; 4];
                    self.run.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                None => self.cut(),
            },
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.read(part)),
            HirKind::Repetition(repetition) => {
                // Once at least: what one round needs is needed, but nothing is known to stand beside it.
                self.cut();
                if repetition.min > 0 {
                    self.parts.push(Prune::of_regex(&repetition.sub));
                }
            }
            HirKind::Alternation(branches) => {
                self.cut();
                self.parts.push(Prune::one(branches.iter().map(Prune::of_regex)));
            }
        }
    }

    fn cut(&mut self) {
        let run = std::mem::take(&mut self.run);
        // Bytes that are no text (`(?-u:\xFF)`) say nothing about text.
        if let Ok(text) = std::str::from_utf8(&run)
            && !text.is_empty()
        {
            self.parts.push(Prune::Text(udm::fold(text)));
        }
    }

    fn finish(mut self) -> Prune {
        self.cut();
        Prune::all(self.parts)
    }
}

/// The one character that all characters of a class fold to, as with `[Aa]`. `(?i)k` is no such class: it also takes
/// the Kelvin sign, which folds to itself.
fn one_folded(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return one_folded_byte(class) };
    let mut found = None;
    let mut count = 0;
    for range in class.ranges() {
        for character in range.start()..=range.end() {
            count += 1;
            let folded = udm::fold_char(character);
            if count > 8 || found.is_some_and(|found| found != folded) {
                return None;
            }
            found = Some(folded);
        }
    }
    found
}

fn one_folded_byte(class: &Class) -> Option<char> {
    let Class::Bytes(class) = class else { return None };
    let mut found = None;
    for range in class.ranges() {
        for byte in range.start()..=range.end() {
            let folded = char::from(byte.to_ascii_lowercase());
            if !byte.is_ascii() || found.is_some_and(|found| found != folded) {
                return None;
            }
            found = Some(folded);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: &Prune) {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
        assert_eq!(&Prune::of_regex(&hir), expected, "{pattern}");
    }

    #[test]
    fn literals_that_a_match_needs() {
        let text = |text: &str| Prune::Text(text.to_owned());
        check("Failed password", &text("failed password"));
        check("(?i)Fat", &text("fat"));
        check("a.*bc", &Prune::All(vec![text("a"), text("bc")]));
        check("^user=(root|admin)$", &Prune::All(vec![text("user="), Prune::One(vec![text("root"), text("admin")])]));
        check("x(ab)+y", &Prune::All(vec![text("x"), text("ab"), text("y")]));
        check("(ab)?", &Prune::Unknown);
        check("ab|", &Prune::Unknown);
        check("\\d+", &Prune::Unknown);
        check("[Ee]rror", &text("error"));
        check("(?-u:\\xFF)", &Prune::Unknown);
        check("[^\\x00-\\x{10FFFF}]", &Prune::Unknown);
        // The Kelvin sign and the long s match too, and fold to themselves.
        check("(?i)ok!", &Prune::All(vec![text("o"), text("!")]));
    }
}
