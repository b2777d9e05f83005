//! The tree of a program as it was written: what the parser makes, the formatter prints, the checker and the compiler
//! read.
//!
//! Texts stand here as the language reads them (backslashes taken away, contracts/cbn.md §1.2); what was typed is found
//! through the spans. Nothing here knows what a plugin or a function means: names are texts, and an option that nobody
//! knows is kept, since real parsers have such and still work.

/// A stretch of the source, in bytes. Both ends lie on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// From the start of this one to the end of that one.
    pub fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end }
    }
}

/// A whole file: `filter { … }`. Several such blocks, one after the other, are read as one.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// What stands in the block.
    pub body: Vec<Statement>,
    /// Every comment, in order; the formatter puts them back.
    pub comments: Vec<Comment>,
    /// From `filter` to the last brace.
    pub span: Span,
}

/// `# …` to the end of the line.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    /// With the `#`, without the end of the line and blanks before that.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// From its first to its last character.
    pub span: Span,
}

/// The three kinds of statements.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    /// `mutate { … }`, `grok { … }`, ….
    Plugin(Plugin),
    /// `if … { … } else if … { … } else { … }`.
    If(If),
    /// `for … in … { … }`.
    For(For),
}

/// A call of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its name as written.
    pub name: Word,
    /// Its options in order. One name may stand there several times.
    pub options: Vec<Entry>,
}

/// `key => value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Word,
    /// The value.
    pub value: Node,
    /// Whether `=` was written for `=>`.
    pub equals: bool,
    /// From key to value.
    pub span: Span,
}

/// How a word was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Without quotes.
    Bare,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `/…/`, which only a regular expression in a condition may be in. It is read like one in quotes.
    Slash,
}

/// A text, in quotes or bare.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// What it says: for a quoted one without the quotes and with every `\x` read as `x`.
    pub text: String,
    /// How it was written.
    pub quote: Quote,
    /// Where, quotes included.
    pub span: Span,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A text or bare word (`true`, `string`, `5`): numbers are words, too, since every option reads its own.
    Word(Word),
    /// `[ … ]`.
    Array(Vec<Node>, Span),
    /// `{ key => value … }`.
    Map(Vec<Entry>, Span),
}

impl Node {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Node::Word(word) => word.span,
            Node::Array(_, span) | Node::Map(_, span) => *span,
        }
    }
}

/// A chain of conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct If {
    /// `if` and each `else if`.
    pub branches: Vec<Branch>,
    /// `else`, with its span from `else` to the brace.
    pub otherwise: Option<(Vec<Statement>, Span)>,
}

/// One condition with what is done when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The condition.
    pub condition: Condition,
    /// What is done.
    pub body: Vec<Statement>,
    /// From `if` (of `else if`, too) to the brace.
    pub span: Span,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What it is.
    pub kind: ConditionKind,
    /// Where.
    pub span: Span,
}

/// What a condition can be.
#[derive(Debug, Clone, PartialEq)]
pub enum ConditionKind {
    /// Any of them: two or more.
    Or(Vec<Condition>),
    /// All of them: two or more.
    And(Vec<Condition>),
    /// `!c` or `not c`. `![x] != ""` is a comparison whose left side is [`Operand::Not`], not this.
    Not(Box<Condition>),
    /// In parentheses of its own; kept for the formatter.
    Group(Box<Condition>),
    /// `a == b` and the like.
    Compare(Operand, Comparison, Operand),
    /// `a =~ "regex"`; negated for `!~`. The word's text is unescaped once, as every text; the second time, which the
    /// language asks for on this side, is the compiler's.
    Match {
        /// What is looked at.
        subject: Operand,
        /// The regular expression, or a field that holds it.
        pattern: Operand,
        /// `!~`.
        negated: bool,
    },
    /// `a in [ … ]`, `a in [field]`; negated for `not in`.
    In {
        /// What is looked for.
        needle: Operand,
        /// Where.
        haystack: Operand,
        /// `not in`.
        negated: bool,
    },
    /// A field alone: whether it is true.
    Truth(Operand),
}

/// The comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `[a][b]`, `[a.b]` or a bare word that is neither number nor boolean. The text is the path as written, brackets
    /// included, but for blanks next to them.
    Field(Word),
    /// `"text"`.
    Text(Word),
    /// `80`, `-1`, `0.5`.
    Number(f64, Span),
    /// `true`, `false`, bare.
    Bool(bool, Span),
    /// `[ "a", "b" ]` on the right of `in`: words, numbers, booleans, fields. (One bare word in brackets is a field; one
    /// number or boolean there is a list.)
    List(Vec<Operand>, Span),
    /// `![x]` where a comparison follows: the opposite of whether the field is true.
    Not(Box<Operand>, Span),
}

impl Operand {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Operand::Field(word) | Operand::Text(word) => word.span,
            Operand::Number(_, span) | Operand::Bool(_, span) | Operand::List(_, span) | Operand::Not(_, span) => *span,
        }
    }
}

/// A loop.
#[derive(Debug, Clone, PartialEq)]
pub struct For {
    /// The variable for the index or key, if there are two.
    pub index: Option<Word>,
    /// The variable for the element or value.
    pub item: Word,
    /// What is gone through.
    pub over: Over,
    /// Whether `map` was written: keys and values instead of indices and elements.
    pub map: bool,
    /// What is done.
    pub body: Vec<Statement>,
}

/// What a loop goes through.
#[derive(Debug, Clone, PartialEq)]
pub enum Over {
    /// A field; the text is the path as written.
    Field(Word),
    /// `xml(field, /a/b/c)`.
    Xml {
        /// The field with the document.
        field: Word,
        /// Which nodes.
        xpath: Word,
    },
}
