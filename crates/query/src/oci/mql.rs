//! Queries of OCI Monitoring: `Name[1m]{dimension = "value"}.grouping().sum()` to a plain struct, and its evaluation over
//! totals per minute.
//!
//! A service keeps count, sum, least and greatest of each minute; so what needs single values (`rate`, `increment`,
//! `first`, `last`, `percentile`, `absent`) is refused by name, as are alarms (`> 80`) and arithmetic between metrics.

use std::collections::BTreeMap;
use std::ops::Range;

use super::NAME_BYTES_MAX;
use super::parse::nearest;
use super::value::Pattern;
use crate::{Diagnostic, Mistake};

/// A query of one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mql {
    /// The metric.
    pub name: String,
    /// How many minutes make one point.
    pub interval_minutes: u32,
    /// Which of the metric's streams are meant: all of these hold.
    pub dimensions: Vec<Dimension>,
    /// Which streams are taken together.
    pub grouping: Grouping,
    /// What a point says.
    pub statistic: Statistic,
}

/// A condition on one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// The dimension.
    pub name: String,
    /// What its value must be.
    pub matching: Matching,
}

/// What a dimension's value must be. A stream without the dimension has no value that is equal to or like another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matching {
    /// One of these (`=`, `in`).
    In(Vec<String>),
    /// None of these (`!=`, `not in`).
    NotIn(Vec<String>),
    /// Like one of these, `*` standing for any text (`=~ "a|b*"`).
    Like(Vec<String>),
    /// Like none of these (`!~`).
    NotLike(Vec<String>),
}

/// Which streams are taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// Each by itself.
    Streams,
    /// All (`grouping()`).
    All,
    /// Those with the same values of these dimensions (`groupBy(a, b)`).
    By(Vec<String>),
}

/// What a point says about its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The sum of the values.
    Sum,
    /// How many values there are.
    Count,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// What is known of a time's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Totals {
    /// One value.
    pub fn of(value: f64) -> Totals {
        Totals { count: 1, sum: value, min: value, max: value }
    }

    /// Adds the values of another time.
    pub fn add(&mut self, other: &Totals) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

impl Statistic {
    /// What it says of these values; `None` when there are none.
    pub fn of(self, totals: &Totals) -> Option<f64> {
        (totals.count > 0).then_some(match self {
            Statistic::Sum => totals.sum,
            Statistic::Count => totals.count as f64,
            Statistic::Mean => totals.sum / totals.count as f64,
            Statistic::Min => totals.min,
            Statistic::Max => totals.max,
        })
    }
}

impl Mql {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Mql, Diagnostic> {
        Reader { text, at: 0 }.query()
    }

    /// Whether a stream with these dimensions is meant.
    pub fn selects<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.dimensions.iter().all(|dimension| dimension.matching.holds(value_of(&dimension.name)))
    }

    /// The points of every group of streams, in the order of their dimensions and of time. Streams that are not meant are
    /// left out. Each stream is its dimensions and the totals of its minutes by their start in milliseconds; a point's
    /// time is the start of its interval, counted from the Unix epoch.
    pub fn summarize<D, M>(&self, streams: impl IntoIterator<Item = (D, M)>) -> Vec<(Dimensions, Vec<(i64, f64)>)>
    where
        D: IntoIterator<Item = (String, String)>,
        M: IntoIterator<Item = (i64, Totals)>,
    {
        let interval = i64::from(self.interval_minutes) * 60_000;
        let mut groups: BTreeMap<Dimensions, BTreeMap<i64, Totals>> = BTreeMap::new();
        for (dimensions, minutes) in streams {
            let dimensions: Dimensions = dimensions.into_iter().collect();
            if !self.selects(|name| dimensions.get(name).map(String::as_str)) {
                continue;
            }
            let key = match &self.grouping {
                Grouping::Streams => dimensions,
                Grouping::All => Dimensions::new(),
                Grouping::By(names) => {
                    dimensions.into_iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name)).collect()
                }
            };
            let points = groups.entry(key).or_default();
            for (minute, totals) in minutes {
                let at = minute.saturating_sub(minute.rem_euclid(interval));
                points.entry(at).and_modify(|known| known.add(&totals)).or_insert(totals);
            }
        }
        let points = |totals: BTreeMap<i64, Totals>| {
            totals.into_iter().filter_map(|(at, totals)| Some((at, self.statistic.of(&totals)?))).collect()
        };
        groups.into_iter().map(|(dimensions, totals)| (dimensions, points(totals))).collect()
    }
}

/// A stream's dimensions by name.
pub type Dimensions = BTreeMap<String, String>;

impl Matching {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_like = |patterns: &[String]| {
            value.is_some_and(|value| patterns.iter().any(|pattern| wildcards(pattern).matches(value.as_bytes())))
        };
        let is_in = |values: &[String]| value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
        match self {
            Matching::In(values) => is_in(values),
            Matching::NotIn(values) => !is_in(values),
            Matching::Like(patterns) => is_like(patterns),
            Matching::NotLike(patterns) => !is_like(patterns),
        }
    }
}

fn wildcards(pattern: &str) -> Pattern {
    Pattern::new(pattern.split('*').map(str::to_owned).collect())
}

const STATISTICS: [(&str, Statistic); 6] = [
    ("sum", Statistic::Sum),
    ("count", Statistic::Count),
    ("mean", Statistic::Mean),
    ("avg", Statistic::Mean),
    ("min", Statistic::Min),
    ("max", Statistic::Max),
];

/// Statistics of single values, which are not kept.
const REFUSED: [&str; 6] = ["rate", "increment", "first", "last", "percentile", "absent"];

/// Most conditions on dimensions, values in a list, and dimensions to group by.
const ITEMS_MAX: usize = 100;

const QUERY_BYTES_MAX: usize = 16 << 10;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn query(mut self) -> Result<Mql, Diagnostic> {
        if self.text.len() > QUERY_BYTES_MAX {
            let message = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
            return Err(Diagnostic::new(0..0, message).mistake(Mistake::TooLarge));
        }
        let name = self.name("expected a metric")?;
        if !self.take("[") {
            return Err(self.surprise("expected an interval such as [1m] behind the metric"));
        }
        let interval_minutes = self.interval()?;
        let dimensions = if self.take("{") { self.dimensions()? } else { Vec::new() };
        let mut grouping = Grouping::Streams;
        loop {
            if !self.take(".") {
                return Err(self.surprise("expected a statistic such as .sum()"));
            }
            let start = self.next();
            let word = self.name("expected a statistic such as sum()")?;
            let span = start..self.at;
            if !self.take("(") {
                return Err(self.surprise("expected ( behind this word"));
            }
            let lower = word.to_ascii_lowercase();
            if grouping == Grouping::Streams && (lower == "grouping" || lower == "groupby") {
                grouping = self.grouping(&lower)?;
                continue;
            }
            let statistic = statistic(&word, &lower, span)?;
            if !self.take(")") {
                return Err(self.surprise("expected ): this statistic takes no arguments"));
            }
            if self.next() < self.text.len() {
                return Err(self
                    .surprise("nothing can follow the statistic")
                    .help("alarms (> 80), joined and nested queries are not supported"));
            }
            return Ok(Mql { name, interval_minutes, dimensions, grouping, statistic });
        }
    }

    /// Where the next thing begins.
    fn next(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.next();
        let found = self.text[self.at..].starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    fn surprise(&mut self, expected: &str) -> Diagnostic {
        let start = self.next();
        match self.text[start..].chars().next() {
            None => Diagnostic::new(start..start, format!("{expected}, but the query ends here")),
            Some(character) => Diagnostic::new(start..start + character.len_utf8(), expected),
        }
    }

    /// A word of letters, digits, `_`, `-`, `$` and `:`, or anything in double quotes.
    fn name(&mut self, expected: &str) -> Result<String, Diagnostic> {
        let start = self.next();
        let rest = &self.text[start..];
        if rest.starts_with('"') {
            return self.string();
        }
        let is_end = |character: char| !character.is_alphanumeric() && !"_-$:".contains(character);
        let length = rest.find(is_end).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.surprise(expected));
        }
        if length > NAME_BYTES_MAX {
            let message = format!("a name of more than {NAME_BYTES_MAX} bytes");
            return Err(Diagnostic::new(start..start + length, message).mistake(Mistake::TooLarge));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn string(&mut self) -> Result<String, Diagnostic> {
        let start = self.next();
        if !self.text[start..].starts_with('"') {
            return Err(self.surprise("expected a value in double quotes"));
        }
        let mut out = String::new();
        let mut characters = self.text[start..].char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.at = start + at + 1;
                    return Ok(out);
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) => out.push(escaped),
                    None => break,
                },
                other => out.push(other),
            }
        }
        Err(Diagnostic::new(start..start + 1, "this value has no end")
            .mistake(Mistake::OpenQuote)
            .help("close it with \""))
    }

    fn interval(&mut self) -> Result<u32, Diagnostic> {
        let start = self.next();
        let end = self.text[start..].find(']').map_or(self.text.len(), |end| start + end);
        let written = self.text[start..end].trim_end();
        let (count, unit) = written.split_at_checked(written.len().saturating_sub(1)).unwrap_or(("", ""));
        let is_number = !count.is_empty() && count.len() <= 4 && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = if is_number { count.parse::<u32>().unwrap_or(0) } else { 0 };
        let minutes = match (unit, count) {
            ("m", 1..=60) => count,
            ("h", 1..=24) => count * 60,
            ("d", 1) => 1_440,
            _ => {
                return Err(Diagnostic::new(start..start + written.len(), "not an interval")
                    .help("write [1m] to [60m], [1h] to [24h], or [1d]"));
            }
        };
        self.at = start + written.len();
        if !self.take("]") {
            return Err(self.surprise("expected ] behind the interval"));
        }
        Ok(minutes)
    }

    fn dimensions(&mut self) -> Result<Vec<Dimension>, Diagnostic> {
        let mut dimensions = Vec::new();
        if self.take("}") {
            return Ok(dimensions);
        }
        loop {
            let name = self.name("expected a dimension")?;
            let matching = self.matching()?;
            self.count(dimensions.len())?;
            dimensions.push(Dimension { name, matching });
            if self.take("||") {
                return Err(Diagnostic::new(self.at - 2..self.at, "alternatives of dimensions are not supported")
                    .help("for alternatives of one dimension write name =~ \"a|b\""));
            }
            if !self.take(",") && !self.take("&&") {
                break;
            }
        }
        if !self.take("}") {
            return Err(self.surprise("expected , or }"));
        }
        Ok(dimensions)
    }

    fn count(&mut self, items: usize) -> Result<(), Diagnostic> {
        if items == ITEMS_MAX {
            return Err(self.surprise(&format!("more than {ITEMS_MAX}")).mistake(Mistake::TooLarge));
        }
        Ok(())
    }

    fn matching(&mut self) -> Result<Matching, Diagnostic> {
        let alternatives = |text: &str| text.split('|').map(str::to_owned).collect();
        if self.take("=~") {
            return Ok(Matching::Like(alternatives(&self.string()?)));
        }
        if self.take("!~") {
            return Ok(Matching::NotLike(alternatives(&self.string()?)));
        }
        if self.take("!=") {
            return Ok(Matching::NotIn(vec![self.string()?]));
        }
        if self.take("=") {
            return Ok(Matching::In(vec![self.string()?]));
        }
        const EXPECTED: &str = "expected =, !=, =~, !~, in or not in";
        let start = self.next();
        let mut word = self.name(EXPECTED)?.to_ascii_lowercase();
        let negated = word == "not";
        if negated {
            word = self.name(EXPECTED)?.to_ascii_lowercase();
        }
        if word != "in" || !self.take("(") {
            return Err(Diagnostic::new(start..self.at, EXPECTED));
        }
        let mut values = Vec::new();
        loop {
            self.count(values.len())?;
            values.push(self.string()?);
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Err(self.surprise("expected , or )"));
        }
        Ok(if negated { Matching::NotIn(values) } else { Matching::In(values) })
    }

    fn grouping(&mut self, word: &str) -> Result<Grouping, Diagnostic> {
        if word == "grouping" {
            return if self.take(")") {
                Ok(Grouping::All)
            } else {
                Err(self.surprise("expected ): grouping() takes all"))
            };
        }
        let mut names = Vec::new();
        loop {
            self.count(names.len())?;
            names.push(self.name("expected a dimension to group by")?);
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Err(self.surprise("expected , or )"));
        }
        Ok(Grouping::By(names))
    }
}

fn statistic(word: &str, lower: &str, span: Range<usize>) -> Result<Statistic, Diagnostic> {
    if let Some((_, statistic)) = STATISTICS.iter().find(|(name, _)| *name == lower) {
        return Ok(*statistic);
    }
    const KNOWN: &str = "statistics are sum, count, mean (avg), min, max";
    if REFUSED.contains(&lower) || (lower.starts_with('p') && lower[1..].parse::<u8>().is_ok()) {
        return Err(Diagnostic::new(span, format!("`{word}` needs every single value, and minutes keep only totals"))
            .help(KNOWN));
    }
    let diagnostic = Diagnostic::new(span, format!("there is no statistic `{word}`"));
    Err(match nearest(lower, STATISTICS.iter().map(|(name, _)| *name).chain(["grouping", "groupBy"])) {
        Some(near) => diagnostic.help(format!("did you mean {near}?")),
        None => diagnostic.help(KNOWN),
    })
}
