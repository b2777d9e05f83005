//! Prints a program in its one layout: two blanks per level, an entry or statement a line, `=>`, double quotes, `else` on
//! the line of the brace.
//!
//! Nothing that the language could tell apart changes: bare words stay bare, backslashes stay as they were typed, and the
//! order is kept. Of what a reader put there, comments stay at their places, blank lines stay (one of them), and the rows
//! of a list that does not fit into a line stay rows. What is printed is printed the same way again.
//!
//! The tree does not say where braces and commas stood, nor does it need to: comments are put back by comparing their
//! places with those of the things around them.

use super::ast::{
    Comment, Comparison, Condition, ConditionKind, Entry, File, For, If, Node, Operand, Over, Plugin, Quote, Span,
    Statement, StatementKind, Word,
};
use super::lex::{interpolation, is_blank, is_word, unescape};
use super::parse::number;

/// How long a line may get before lists and conditions are broken, in characters.
const WIDTH: usize = 100;

/// How many levels are indented at most: lines of programs that nobody would write must not be mostly blanks.
const LEVELS_MAX: usize = 30;

/// Prints a program. `source` is what the tree was read from; a tree that was made otherwise is printed, too, from an
/// empty source.
pub fn format(file: &File, source: &str) -> String {
    let mut printer =
        Printer { source, comments: &file.comments, out: String::with_capacity(source.len()), last: 0, fresh: true };
    printer.file(file);
    printer.out
}

/// Whether two programs are the same but for their layout: where things stand, how words are quoted, whether `=` was
/// written for `=>`. Comments count, their places do not.
pub fn same(one: &File, other: &File) -> bool {
    let texts = |file: &File| file.comments.iter().map(|comment| comment.text.clone()).collect::<Vec<_>>();
    let bare = |file: &File| {
        let mut body = file.body.clone();
        body.iter_mut().for_each(strip::statement);
        body
    };
    texts(one) == texts(other) && bare(one) == bare(other)
}

struct Printer<'a> {
    source: &'a str,
    /// Those that are not printed yet.
    comments: &'a [Comment],
    out: String,
    /// The end of what was printed last, in the source.
    last: u32,
    /// Nothing stands in the block yet, so no blank line may.
    fresh: bool,
}

impl Printer<'_> {
    fn file(&mut self, file: &File) {
        self.own_lines(file.span.start, 0);
        if !self.fresh && self.is_blank_line_before(file.span.start) {
            self.out.push('\n');
        }
        self.out.push_str("filter ");
        let brace = self.brace_after(file.span.start);
        self.block(&file.body, brace, file.span.end.saturating_sub(1), 0);
        self.end_line(file.span.end, u32::MAX);
        self.own_lines(u32::MAX, 0);
    }

    // Statements.

    /// `{ … }` with statements. `brace` is where it opens in the source, `end` where it closes.
    fn block(&mut self, statements: &[Statement], brace: u32, end: u32, level: usize) {
        let starts = statements.iter().map(|statement| statement.span.start);
        if !self.open(starts.clone().next(), brace, end) {
            return;
        }
        let limits = starts.skip(1).chain([end]);
        for (statement, limit) in statements.iter().zip(limits) {
            self.begin_line(statement.span.start, level + 1);
            self.statement(statement, level + 1);
            self.end_line(statement.span.end, limit);
        }
        self.close(end, level);
    }

    fn statement(&mut self, statement: &Statement, level: usize) {
        match &statement.kind {
            StatementKind::Plugin(plugin) => self.plugin(plugin, statement.span.end, level),
            StatementKind::If(chain) => self.if_chain(chain, level),
            StatementKind::For(looped) => self.for_loop(looped, statement.span.end, level),
        }
    }

    fn plugin(&mut self, plugin: &Plugin, end: u32, level: usize) {
        self.out.push_str(&plugin.name.text);
        self.out.push(' ');
        let brace = self.brace_after(plugin.name.span.end);
        self.entries(&plugin.options, brace, end.saturating_sub(1), level);
    }

    fn if_chain(&mut self, chain: &If, level: usize) {
        let is_long = chain.branches.len() > 1 || chain.otherwise.is_some();
        let mut end = 0;
        for (at, branch) in chain.branches.iter().enumerate() {
            if at > 0 {
                self.begin_else(end, branch.span.start, level);
            }
            self.out.push_str("if ");
            // The lines of a broken condition stand deeper than the block; a broken list closes on the level of the block.
            let deeper = if matches!(branch.condition.kind, ConditionKind::In { .. }) { level } else { level + 2 };
            self.condition(&branch.condition, deeper);
            self.out.push(' ');
            end = branch.span.end;
            let brace = self.brace_after(branch.condition.span.end);
            self.branch(&branch.body, brace, end.saturating_sub(1), level, is_long);
        }
        if let Some((body, span)) = &chain.otherwise {
            self.begin_else(end, span.start, level);
            let brace = self.brace_after(span.start);
            self.branch(body, brace, span.end.saturating_sub(1), level, is_long);
        }
    }

    /// The block of a branch. In a chain, empty braces stand on two lines, too: else its branches could not be told apart.
    fn branch(&mut self, body: &[Statement], brace: u32, end: u32, level: usize, is_chained: bool) {
        if is_chained && body.is_empty() && !self.is_commented_before(end) {
            self.out.push_str("{\n");
            self.indent(level);
            self.out.push('}');
        } else {
            self.block(body, brace, end, level);
        }
    }

    /// `else `, on the line of the brace before it; on a line of its own if comments stand between.
    fn begin_else(&mut self, brace: u32, at: u32, level: usize) {
        if self.is_commented_before(at) {
            self.end_line(brace, at);
            self.own_lines(at, level);
            self.indent(level);
        } else {
            self.out.push(' ');
        }
        self.out.push_str("else ");
    }

    fn for_loop(&mut self, looped: &For, end: u32, level: usize) {
        self.out.push_str("for ");
        if let Some(index) = &looped.index {
            self.out.push_str(&index.text);
            self.out.push_str(", ");
        }
        self.out.push_str(&looped.item.text);
        self.out.push_str(" in ");
        let over = match &looped.over {
            Over::Field(field) => {
                self.path(field);
                field
            }
            Over::Xml { field, xpath } => {
                self.out.push_str("xml(");
                self.path(field);
                self.out.push_str(", ");
                self.path(xpath);
                self.out.push(')');
                xpath
            }
        };
        self.out.push_str(if looped.map { " map " } else { " " });
        let brace = self.brace_after(over.span.end);
        self.block(&looped.body, brace, end.saturating_sub(1), level);
    }

    fn path(&mut self, word: &Word) {
        match word.quote {
            Quote::Bare => self.out.push_str(&word.text),
            _ => self.quoted(word),
        }
    }

    // Options and values.

    /// `{ … }` with entries.
    fn entries(&mut self, entries: &[Entry], brace: u32, end: u32, level: usize) {
        let starts = entries.iter().map(|entry| entry.span.start);
        if !self.open(starts.clone().next(), brace, end) {
            return;
        }
        let limits = starts.skip(1).chain([end]);
        for (entry, limit) in entries.iter().zip(limits) {
            self.begin_line(entry.span.start, level + 1);
            self.word(&entry.key);
            self.out.push_str(" => ");
            match &entry.value {
                Node::Array(elements, span) => {
                    let row = if entry.key.text == "gsub" { Rows::Threes } else { Rows::AsWritten };
                    self.array(elements, *span, row, level + 1);
                }
                value => self.value(value, level + 1),
            }
            self.end_line(entry.span.end, limit);
        }
        self.close(end, level);
    }

    fn value(&mut self, node: &Node, level: usize) {
        match node {
            Node::Word(word) if is_read_as_statement(word) => self.quoted(word),
            Node::Word(word) => self.word(word),
            Node::Array(elements, span) => self.array(elements, *span, Rows::AsWritten, level),
            Node::Map(entries, span) => self.entries(entries, span.start, span.end.saturating_sub(1), level),
        }
    }

    fn array(&mut self, elements: &[Node], span: Span, rows: Rows, level: usize) {
        let in_threes = matches!(rows, Rows::Threes) && elements.len().is_multiple_of(3);
        let mut flat = String::new();
        let fits = self.flat_array(elements, &mut flat, WIDTH.saturating_sub(self.column()));
        if fits && !self.is_commented_before(span.end) && !(in_threes && elements.len() > 3) {
            self.out.push_str(&flat);
            return;
        }
        let items = elements.iter().map(|element| {
            let mut flat = String::new();
            let fits = self.flat_node(element, &mut flat, WIDTH);
            Item { flat: fits.then_some(flat), span: element.span() }
        });
        let items: Vec<Item> = items.collect();
        let rows = if in_threes { (0..items.len()).step_by(3).collect() } else { self.rows_of(&items, level + 1) };
        self.rows(&items, &rows, span, level, |printer, at, level| printer.value(&elements[at], level));
    }

    /// A list on one line, if it has no map in it and is not longer than `width`.
    fn flat_array(&self, elements: &[Node], flat: &mut String, width: usize) -> bool {
        flat.push('[');
        for (at, element) in elements.iter().enumerate() {
            if at > 0 {
                flat.push_str(", ");
            }
            if !self.flat_node(element, flat, width) {
                return false;
            }
        }
        flat.push(']');
        is_within(flat, width)
    }

    fn flat_node(&self, node: &Node, flat: &mut String, width: usize) -> bool {
        match node {
            Node::Word(word) if is_long(word, width) => return false,
            Node::Word(word) if is_read_as_statement(word) => flat.push_str(&self.quoted_text(word)),
            Node::Word(word) => flat.push_str(&self.word_text(word)),
            Node::Array(elements, _) => return self.flat_array(elements, flat, width),
            Node::Map(..) => return false,
        }
        is_within(flat, width)
    }

    /// Where the rows of a broken list begin: as they were written, but for those that do not fit.
    fn rows_of(&self, items: &[Item], level: usize) -> Vec<usize> {
        let mut rows: Vec<usize> = Vec::new();
        let mut from = 0;
        for at in 1..=items.len() {
            let goes_on =
                items.get(at).is_some_and(|item| !self.is_line_between(items[at - 1].span.end, item.span.start));
            if goes_on {
                continue;
            }
            let row = &items[from..at];
            let width: usize = row.iter().map(|item| item.width() + 2).sum();
            let fits = row.iter().all(|item| item.flat.as_ref().is_some_and(|flat| !flat.contains('\n')));
            if fits && 2 * level + width < WIDTH {
                rows.push(from);
            } else {
                rows.extend(from..at);
            }
            from = at;
        }
        rows
    }

    /// `[ … ]` over several lines. `rows` are the items that begin a line; `value` prints one that has no flat form.
    fn rows(
        &mut self,
        items: &[Item],
        rows: &[usize],
        span: Span,
        level: usize,
        value: impl Fn(&mut Self, usize, usize),
    ) {
        let end = span.end.saturating_sub(1);
        self.out.push('[');
        self.end_line(span.start + 1, items.first().map_or(end, |item| item.span.start));
        for (at, from) in rows.iter().enumerate() {
            let to = rows.get(at + 1).copied().unwrap_or(items.len());
            self.fresh = true;
            self.own_lines_without_blanks(items[*from].span.start, level + 1);
            self.indent(level + 1);
            for index in *from..to {
                match &items[index].flat {
                    Some(flat) => self.out.push_str(flat),
                    None => value(self, index, level + 1),
                }
                if index + 1 < items.len() {
                    self.out.push_str(if index + 1 < to { ", " } else { "," });
                }
            }
            self.end_line(items[to - 1].span.end, items.get(to).map_or(end, |item| item.span.start));
        }
        self.own_lines_without_blanks(end, level + 1);
        self.indent(level);
        self.out.push(']');
    }

    // Conditions.

    /// A condition, broken at `and` and `or` if it does not fit into the line or has comments in it.
    fn condition(&mut self, condition: &Condition, level: usize) {
        let mut flat = String::new();
        // The brace wants its room, too.
        let width = WIDTH.saturating_sub(self.column() + 2);
        if self.flat_condition(condition, &mut flat, width) && !self.is_commented_before(commentable(condition)) {
            self.out.push_str(&flat);
            return;
        }
        match &condition.kind {
            ConditionKind::Or(parts) => self.parts(parts, " or", level),
            ConditionKind::And(parts) => self.parts(parts, " and", level),
            ConditionKind::Group(inner) => {
                self.out.push('(');
                self.condition(inner, level + 1);
                self.out.push(')');
            }
            ConditionKind::Not(inner) => {
                self.out.push_str(negation(inner));
                self.condition(inner, level);
            }
            ConditionKind::In { needle, haystack: Operand::List(operands, span), negated } => {
                let mut head = String::new();
                self.flat_operand(needle, &mut head, usize::MAX);
                self.out.push_str(&head);
                self.out.push_str(if *negated { " not in " } else { " in " });
                let items: Vec<Item> = operands
                    .iter()
                    .map(|operand| {
                        let mut flat = String::new();
                        self.flat_operand(operand, &mut flat, usize::MAX);
                        Item { flat: Some(flat), span: operand.span() }
                    })
                    .collect();
                let rows = self.rows_of(&items, level + 1);
                self.rows(&items, &rows, *span, level, |_, _, _| {});
            }
            _ => {
                flat.clear();
                self.flat_condition(condition, &mut flat, usize::MAX);
                self.out.push_str(&flat);
            }
        }
    }

    fn parts(&mut self, parts: &[Condition], join: &str, level: usize) {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.out.push_str(join);
                self.end_line(parts[at - 1].span.end, part.span.start);
                self.own_lines_without_blanks(part.span.start, level);
                self.indent(level);
            }
            self.part(part, join == " and", level);
        }
    }

    /// A part of a conjunction or disjunction. No program that was read has an `or` right in an `and`, but a tree that was
    /// made might: it gets parentheses.
    fn part(&mut self, part: &Condition, in_and: bool, level: usize) {
        let wrapped = needs_group(part, in_and);
        if wrapped {
            self.out.push('(');
        }
        self.condition(part, level);
        if wrapped {
            self.out.push(')');
        }
    }

    /// A condition on one line; `false` as soon as it is longer than `width`.
    fn flat_condition(&self, condition: &Condition, flat: &mut String, width: usize) -> bool {
        match &condition.kind {
            ConditionKind::Or(parts) => return self.flat_parts(parts, " or ", flat, width),
            ConditionKind::And(parts) => return self.flat_parts(parts, " and ", flat, width),
            ConditionKind::Group(inner) => {
                flat.push('(');
                if !self.flat_condition(inner, flat, width) {
                    return false;
                }
                flat.push(')');
            }
            ConditionKind::Not(inner) => {
                flat.push_str(negation(inner));
                return self.flat_condition(inner, flat, width);
            }
            ConditionKind::Compare(left, comparison, right) => {
                return self.flat_operand(left, flat, width) && {
                    flat.push_str(sign(*comparison));
                    self.flat_operand(right, flat, width)
                };
            }
            ConditionKind::Match { subject, pattern, negated } => {
                return self.flat_operand(subject, flat, width) && {
                    flat.push_str(if *negated { " !~ " } else { " =~ " });
                    self.flat_operand(pattern, flat, width)
                };
            }
            ConditionKind::In { needle, haystack, negated } => {
                return self.flat_operand(needle, flat, width) && {
                    flat.push_str(if *negated { " not in " } else { " in " });
                    self.flat_operand(haystack, flat, width)
                };
            }
            ConditionKind::Truth(operand) => return self.flat_operand(operand, flat, width),
        }
        is_within(flat, width)
    }

    fn flat_parts(&self, parts: &[Condition], join: &str, flat: &mut String, width: usize) -> bool {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                flat.push_str(join);
            }
            let wrapped = needs_group(part, join == " and ");
            if wrapped {
                flat.push('(');
            }
            if !self.flat_condition(part, flat, width) {
                return false;
            }
            if wrapped {
                flat.push(')');
            }
        }
        is_within(flat, width)
    }

    fn flat_operand(&self, operand: &Operand, flat: &mut String, width: usize) -> bool {
        match operand {
            Operand::Text(word) if is_long(word, width) => return false,
            Operand::Field(word) => flat.push_str(&word.text),
            Operand::Text(word) => flat.push_str(&self.quoted_text(word)),
            Operand::Bool(truth, _) => flat.push_str(if *truth { "true" } else { "false" }),
            Operand::Number(value, span) => match self.typed(*span).filter(|typed| number(typed) == Some(*value)) {
                Some(typed) => flat.push_str(typed),
                None => flat.push_str(&value.to_string()),
            },
            Operand::List(operands, _) => {
                flat.push('[');
                for (at, operand) in operands.iter().enumerate() {
                    if at > 0 {
                        flat.push_str(", ");
                    }
                    if !self.flat_operand(operand, flat, width) {
                        return false;
                    }
                }
                flat.push(']');
            }
            Operand::Not(inner, _) => {
                flat.push('!');
                return self.flat_operand(inner, flat, width);
            }
        }
        is_within(flat, width)
    }

    // Words.

    fn word(&mut self, word: &Word) {
        let text = self.word_text(word);
        self.out.push_str(&text);
    }

    fn quoted(&mut self, word: &Word) {
        let text = self.quoted_text(word);
        self.out.push_str(&text);
    }

    /// A word as it was, bare or in quotes.
    fn word_text(&self, word: &Word) -> String {
        if word.quote == Quote::Bare && is_bare(&word.text) { word.text.clone() } else { self.quoted_text(word) }
    }

    /// A text in quotes: in those that take fewer backslashes, in double ones if that makes no difference.
    fn quoted_text(&self, word: &Word) -> String {
        let text = &word.text;
        let quote = if word.quote == Quote::Slash && !text.contains('\n') {
            '/'
        } else if text.matches('"').count() > text.matches('\'').count() {
            '\''
        } else {
            '"'
        };
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push(quote);
        match self.inner_as_typed(word) {
            // The backslashes as they were typed, though those before quotes are set anew.
            Some(inner) => {
                let mut characters = inner.chars();
                while let Some(c) = characters.next() {
                    let (c, escaped) = match c {
                        '\\' => (characters.next().unwrap_or('\\'), true),
                        c => (c, false),
                    };
                    let is_mark = matches!(c, '"' | '\'' | '/');
                    if c == quote || (escaped && !is_mark) {
                        quoted.push('\\');
                    }
                    quoted.push(c);
                }
            }
            None => {
                for c in text.chars() {
                    if c == quote || c == '\\' {
                        quoted.push('\\');
                    }
                    quoted.push(c);
                }
            }
        }
        quoted.push(quote);
        quoted
    }

    /// What was typed between the quotes of a word, if the source is there.
    fn inner_as_typed(&self, word: &Word) -> Option<&str> {
        let typed = self.typed(word.span)?;
        let quote = match word.quote {
            Quote::Bare => return None,
            Quote::Single => '\'',
            Quote::Double => '"',
            Quote::Slash => '/',
        };
        let inner = typed.strip_prefix(quote)?.strip_suffix(quote)?;
        (unescape(inner) == word.text).then_some(inner)
    }

    // Lines and comments.

    /// `{`, with what stands behind it. `false` if the block is empty, and closed already.
    fn open(&mut self, first: Option<u32>, brace: u32, end: u32) -> bool {
        if first.is_none() && !self.is_commented_before(end) {
            self.out.push_str("{}");
            return false;
        }
        self.out.push('{');
        self.end_line(brace + 1, first.unwrap_or(end));
        self.fresh = true;
        true
    }

    /// What comments are left in a block, and its `}`.
    fn close(&mut self, end: u32, level: usize) {
        self.own_lines(end, level + 1);
        self.indent(level);
        self.out.push('}');
        self.fresh = false;
    }

    /// Begins the line of a statement or entry: the comments before it, and a blank line if there was one.
    fn begin_line(&mut self, start: u32, level: usize) {
        self.own_lines(start, level);
        if !self.fresh && self.is_blank_line_before(start) {
            self.out.push('\n');
        }
        self.fresh = false;
        self.indent(level);
    }

    /// Ends a line, with a comment if one stands behind `end` on its line and before `limit`; or one from within what was
    /// printed that found no place there.
    fn end_line(&mut self, end: u32, limit: u32) {
        self.last = end;
        if let [comment, rest @ ..] = self.comments
            && (comment.span.start < end
                || (comment.span.start < limit && !self.is_line_between(end, comment.span.start)))
        {
            self.out.push(' ');
            self.out.push_str(&comment.text);
            self.last = end.max(comment.span.end);
            self.comments = rest;
        }
        self.out.push('\n');
    }

    /// The comments before a place, each on a line.
    fn own_lines(&mut self, before: u32, level: usize) {
        while let [comment, rest @ ..] = self.comments
            && comment.span.start < before
        {
            if !self.fresh && self.is_blank_line_before(comment.span.start) {
                self.out.push('\n');
            }
            self.own_line(comment, level);
            self.comments = rest;
        }
    }

    /// The same within lists and conditions, where blank lines are not kept.
    fn own_lines_without_blanks(&mut self, before: u32, level: usize) {
        while let [comment, rest @ ..] = self.comments
            && comment.span.start < before
        {
            self.own_line(comment, level);
            self.comments = rest;
        }
    }

    fn own_line(&mut self, comment: &Comment, level: usize) {
        self.indent(level);
        self.out.push_str(&comment.text);
        self.out.push('\n');
        self.last = comment.span.end;
        self.fresh = false;
    }

    fn indent(&mut self, level: usize) {
        for _ in 0..level.min(LEVELS_MAX) {
            self.out.push_str("  ");
        }
    }

    /// How long the line is so far. Of one that is much too long it is enough to know that.
    fn column(&self) -> usize {
        let seen = &self.out[self.out.ceil_char_boundary(self.out.len().saturating_sub(4 * WIDTH))..];
        match seen.rfind('\n') {
            Some(end) => seen[end + 1..].chars().count(),
            None => seen.chars().count(),
        }
    }

    // The source.

    fn typed(&self, span: Span) -> Option<&str> {
        self.between(span.start, span.end)
    }

    fn between(&self, start: u32, end: u32) -> Option<&str> {
        self.source.get(start as usize..end as usize)
    }

    fn is_line_between(&self, start: u32, end: u32) -> bool {
        self.between(start, end).is_some_and(|between| between.contains('\n'))
    }

    fn is_commented_before(&self, end: u32) -> bool {
        self.comments.first().is_some_and(|comment| comment.span.start < end)
    }

    /// Whether a blank line stands between what was printed last and a place.
    fn is_blank_line_before(&self, start: u32) -> bool {
        let Some(between) = self.between(self.last, start) else { return false };
        let mut lines = between.split('\n').skip(1).peekable();
        while let Some(line) = lines.next() {
            // The last one is the beginning of the line on which the place is.
            if lines.peek().is_some() && line.trim_matches(is_blank).is_empty() {
                return true;
            }
        }
        false
    }

    /// Where the brace is that opens after a place. Only blanks, comments, `)` and `map` stand between.
    fn brace_after(&self, at: u32) -> u32 {
        let mut at = at as usize;
        while let Some(rest) = self.source.get(at..) {
            match rest.chars().next() {
                Some('#') => at += rest.find('\n').unwrap_or(rest.len()),
                Some('{') | None => break,
                Some(c) => at += c.len_utf8(),
            }
        }
        at.min(self.source.len()) as u32
    }
}

/// How a broken list is broken.
#[derive(Clone, Copy)]
enum Rows {
    /// As it was written.
    AsWritten,
    /// What belongs together are three: a field, a regular expression, its replacement.
    Threes,
}

/// An element of a list.
struct Item {
    /// Itself on one line, if it can be.
    flat: Option<String>,
    span: Span,
}

impl Item {
    fn width(&self) -> usize {
        self.flat.as_ref().map_or(WIDTH, |flat| flat.chars().count())
    }
}

/// Whether a text is surely longer than a line, however its characters count. Such texts are not copied just to see.
fn is_long(word: &Word, width: usize) -> bool {
    word.text.len() / 4 > width
}

fn is_within(flat: &str, width: usize) -> bool {
    // Bytes are at least as many as characters: most texts need no counting.
    flat.len() <= width || flat.chars().count() <= width
}

/// Whether a bare word is read as one.
fn is_bare(text: &str) -> bool {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !is_word(c) {
            return false;
        }
        rest = &rest[interpolation(rest).unwrap_or(c.len_utf8())..];
    }
    !text.is_empty()
}

/// Whether a bare word as a value would be taken for the beginning of a statement.
fn is_read_as_statement(word: &Word) -> bool {
    word.quote == Quote::Bare && matches!(word.text.as_str(), "if" | "else" | "for")
}

/// `!` before what it binds to, `not` before a whole comparison.
fn negation(inner: &Condition) -> &'static str {
    let mut inner = inner;
    while let ConditionKind::Not(deeper) = &inner.kind {
        inner = deeper;
    }
    if matches!(inner.kind, ConditionKind::Group(_) | ConditionKind::Truth(_)) { "!" } else { "not " }
}

/// Up to where comments in a condition have a place when it is broken: its last part, the end of its last list. What comes
/// later is put behind the brace, so it is no reason to break anything.
fn commentable(condition: &Condition) -> u32 {
    match &condition.kind {
        ConditionKind::Or(parts) | ConditionKind::And(parts) => {
            parts.last().map_or(0, |part| commentable(part).max(part.span.start))
        }
        ConditionKind::Group(inner) | ConditionKind::Not(inner) => commentable(inner),
        ConditionKind::In { haystack: Operand::List(_, span), .. } => span.end,
        _ => 0,
    }
}

fn needs_group(part: &Condition, in_and: bool) -> bool {
    match part.kind {
        ConditionKind::Or(_) => true,
        ConditionKind::And(_) => in_and,
        _ => false,
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " == ",
        Comparison::NotEqual => " != ",
        Comparison::Less => " < ",
        Comparison::LessEqual => " <= ",
        Comparison::Greater => " > ",
        Comparison::GreaterEqual => " >= ",
    }
}

/// Takes away what does not count when programs are compared.
mod strip {
    use super::super::ast::{
        Condition, ConditionKind, Entry, Node, Operand, Over, Quote, Span, Statement, StatementKind, Word,
    };

    pub(super) fn statement(statement: &mut Statement) {
        statement.span = Span::default();
        match &mut statement.kind {
            StatementKind::Plugin(plugin) => {
                word(&mut plugin.name);
                plugin.options.iter_mut().for_each(entry);
            }
            StatementKind::If(chain) => {
                for branch in &mut chain.branches {
                    branch.span = Span::default();
                    condition(&mut branch.condition);
                    branch.body.iter_mut().for_each(self::statement);
                }
                if let Some((body, span)) = &mut chain.otherwise {
                    *span = Span::default();
                    body.iter_mut().for_each(self::statement);
                }
            }
            StatementKind::For(looped) => {
                looped.index.iter_mut().for_each(word);
                word(&mut looped.item);
                match &mut looped.over {
                    Over::Field(field) => word(field),
                    Over::Xml { field, xpath } => {
                        word(field);
                        word(xpath);
                    }
                }
                looped.body.iter_mut().for_each(self::statement);
            }
        }
    }

    fn entry(entry: &mut Entry) {
        entry.span = Span::default();
        entry.equals = false;
        word(&mut entry.key);
        node(&mut entry.value);
    }

    fn node(node: &mut Node) {
        match node {
            Node::Word(word) => self::word(word),
            Node::Array(elements, span) => {
                *span = Span::default();
                elements.iter_mut().for_each(self::node);
            }
            Node::Map(entries, span) => {
                *span = Span::default();
                entries.iter_mut().for_each(entry);
            }
        }
    }

    fn word(word: &mut Word) {
        word.quote = Quote::Double;
        word.span = Span::default();
    }

    fn condition(condition: &mut Condition) {
        condition.span = Span::default();
        match &mut condition.kind {
            ConditionKind::Or(parts) | ConditionKind::And(parts) => parts.iter_mut().for_each(self::condition),
            ConditionKind::Not(inner) | ConditionKind::Group(inner) => self::condition(inner),
            ConditionKind::Compare(left, _, right) => {
                operand(left);
                operand(right);
            }
            ConditionKind::Match { subject, pattern, .. } => {
                operand(subject);
                operand(pattern);
            }
            ConditionKind::In { needle, haystack, .. } => {
                operand(needle);
                operand(haystack);
            }
            ConditionKind::Truth(truth) => operand(truth),
        }
    }

    fn operand(operand: &mut Operand) {
        match operand {
            Operand::Field(word) | Operand::Text(word) => self::word(word),
            Operand::Number(_, span) | Operand::Bool(_, span) => *span = Span::default(),
            Operand::List(operands, span) => {
                *span = Span::default();
                operands.iter_mut().for_each(self::operand);
            }
            Operand::Not(inner, span) => {
                *span = Span::default();
                self::operand(inner);
            }
        }
    }
}

#[cfg(test)]
mod tests;
