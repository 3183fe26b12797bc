//! One layer of a configuration as a tree of values that know where they stand.
//!
//! In: a TOML file, a `--set` argument, or a configuration in memory. Out: a [`Layer`] and every syntax problem of it.
//! Invariant: a broken line never hides what is wrong on the other lines.

use crate::error::{Place, Problem, ProblemKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Times a file is read again with its broken lines blanked; each pass may uncover more.
const SYNTAX_PASSES: usize = 32;
/// Broken lines after which a file is no longer read as TOML.
const MAX_SYNTAX_PROBLEMS: usize = 100;

/// Line and column in characters, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    /// Line.
    pub(crate) line: usize,
    /// Column.
    pub(crate) column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where the value begins.
    pub(crate) at: Position,
    /// The value.
    pub(crate) content: Content,
}

/// A key's place and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the key begins.
    pub(crate) at: Position,
    /// What it holds.
    pub(crate) node: Node,
}

/// A table with places.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// What TOML and the config types can say.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A whole number that TOML cannot carry.
    HugeInteger(String),
    /// A number.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A date or a time.
    Time(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Entries),
    /// Left unset.
    Unset,
}

/// Where a layer comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The types' defaults.
    Default,
    /// A configuration in memory.
    Program,
    /// A file.
    File(PathBuf),
    /// A `--set` argument.
    Override(String),
}

impl Source {
    /// A position in this source.
    pub(crate) fn place(&self, at: Position) -> Place {
        match self {
            Self::Default => Place::Default,
            Self::Program => Place::Program,
            Self::File(path) => Place::File { path: path.clone(), line: at.line, column: at.column },
            Self::Override(argument) => Place::Override { argument: argument.replace(['\n', '\r'], " ") },
        }
    }
}

/// One layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Where it comes from.
    pub(crate) source: Source,
    /// What it says.
    pub(crate) entries: Entries,
}

impl Layer {
    /// The layer of a value in memory.
    pub(crate) fn of_value<T: Serialize>(source: Source, value: &T) -> Result<Self, String> {
        let value = figment::value::Value::serialize(value).map_err(|error| error.to_string())?;
        match from_figment(value) {
            Content::Table(entries) => Ok(Self { source, entries }),
            _ => Err("a configuration must be a table".into()),
        }
    }

    /// Reads a file; problems of the text go to `problems`, what could be read is the layer.
    pub(crate) fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Self {
        let source = Source::File(path.to_owned());
        match std::fs::read(path) {
            Ok(bytes) => Self::of_bytes(source, &bytes, problems),
            Err(error) => {
                let kind = ProblemKind::Unreadable { reason: error.to_string() };
                let place = Place::WholeFile { path: path.to_owned() };
                problems.push(Problem { place, key: String::new(), kind });
                Self { source, entries: Entries::new() }
            }
        }
    }

    /// Reads the bytes of a TOML text, as [`Layer::read_file`].
    pub(crate) fn of_bytes(source: Source, bytes: &[u8], problems: &mut Vec<Problem>) -> Self {
        let mut broken = BTreeSet::new();
        for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if let Err(error) = std::str::from_utf8(line) {
                let before = String::from_utf8_lossy(&line[..error.valid_up_to()]);
                let at = Position { line: i + 1, column: before.chars().count() + 1 };
                let kind = ProblemKind::NotUtf8;
                problems.push(Problem { place: source.place(at), key: String::new(), kind });
                broken.insert(at.line);
            }
        }
        let (entries, found) = parse(&String::from_utf8_lossy(bytes), broken);
        problems.extend(found.into_iter().map(|problem| Problem {
            place: source.place(problem.at),
            key: problem.key,
            kind: problem.kind,
        }));
        Self { source, entries }
    }

    /// Reads a `--set` argument.
    pub(crate) fn read_override(argument: &str, problems: &mut Vec<Problem>) -> Self {
        let source = Source::Override(argument.to_owned());
        let entries = override_as_toml(argument).and_then(|text| match DeTable::parse(&text) {
            Ok(root) => Ok(from_toml(root.get_ref(), &Lines::of(&text))),
            Err(_) => Err("the value is not TOML".into()),
        });
        let entries = entries.unwrap_or_else(|reason| {
            let key = argument.split('=').next().unwrap_or_default().trim().to_owned();
            let kind = ProblemKind::Override { reason };
            problems.push(Problem { place: source.place(Position::default()), key, kind });
            Entries::new()
        });
        Self { source, entries }
    }
}

fn override_as_toml(argument: &str) -> Result<String, String> {
    let (key, value) = argument.split_once('=').ok_or_else(|| "there is no `=`".to_owned())?;
    let (key, value) = (key.trim(), value.trim());
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !key.split('.').all(plain) {
        return Err("the key is not a dotted name".into());
    }
    for candidate in
        [format!("{key} = {value}"), format!("{key} = {}", toml::Value::String(value.to_owned()))]
    {
        // A newline in the value could smuggle in a second key: exactly one leaf is allowed.
        if DeTable::parse(&candidate).is_ok_and(|table| table.get_ref().len() == 1)
            && !candidate.contains('\n')
        {
            return Ok(candidate);
        }
    }
    Err("the value is not TOML".into())
}

/// Where lines begin.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of a text.
    pub(crate) fn of(text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(i, _)| i + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The position of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }
}

struct SyntaxProblem {
    at: Position,
    key: String,
    kind: ProblemKind,
}

/// Parses what can be parsed: `broken` lines (numbers from 1) and those found broken are blanked and the rest is read again.
fn parse(text: &str, mut broken: BTreeSet<usize>) -> (Entries, Vec<SyntaxProblem>) {
    let lines = Lines::of(text);
    let mut found: BTreeMap<usize, SyntaxProblem> = BTreeMap::new();
    for _ in 0..SYNTAX_PASSES {
        let current = blank(text, &broken);
        let (root, errors) = DeTable::parse_recoverable(&current);
        let mut unreadable = BTreeSet::new();
        for error in &errors {
            // The parser does not say where a key with too many parts stands.
            let span = error.span().unwrap_or_else(|| deepest_key(&current));
            let at = lines.position(span.start);
            let duplicate = error.message().starts_with("duplicate key");
            let key = if duplicate { dotted_key(text, span) } else { String::new() };
            let kind = if duplicate {
                ProblemKind::Duplicate
            } else {
                unreadable.insert(at.line);
                let message = match error.message() {
                    deep if deep.contains("recurs") => "nested too deeply".into(),
                    said => said.split_whitespace().collect::<Vec<_>>().join(" "),
                };
                ProblemKind::Syntax { message }
            };
            found.entry(at.line).or_insert(SyntaxProblem { at, key, kind });
        }
        if unreadable.is_empty() {
            return (from_toml(root.get_ref(), &lines), found.into_values().collect());
        }
        // Blanking what is blank already changes nothing: the parser has lost its way.
        let known = broken.len();
        broken.extend(unreadable);
        if broken.len() == known || broken.len() > MAX_SYNTAX_PROBLEMS {
            break;
        }
    }
    (Entries::new(), found.into_values().collect())
}

/// The dotted key that ends at a span: with the table whose header stands above it, or itself a header.
fn dotted_key(text: &str, span: std::ops::Range<usize>) -> String {
    let (before, key) = (text.get(..span.end).unwrap_or_default(), text.get(span).unwrap_or_default());
    let header = before.lines().rev().find(|line| line.trim_start().starts_with('['));
    let name = header.map_or("", |line| line.trim_start().trim_start_matches('['));
    let table = name.split(']').next().unwrap_or_default().trim();
    let is_header = before.lines().next_back().is_some_and(|line| line.trim_start().starts_with('['));
    match (is_header, table.is_empty()) {
        (true, _) => table.to_owned(),
        (false, true) => key.to_owned(),
        (false, false) => format!("{table}.{key}"),
    }
}

/// Where the line with the most dotted parts before its `=` begins.
fn deepest_key(text: &str) -> std::ops::Range<usize> {
    let mut start = 0;
    let mut deepest = (0, 0..0);
    for line in text.split_inclusive('\n') {
        let n_dots = line.split('=').next().unwrap_or_default().matches('.').count();
        if n_dots > deepest.0 && !line.trim_start().starts_with('#') {
            deepest = (n_dots, start..start + 1);
        }
        start += line.len();
    }
    deepest.1
}

/// The text with broken lines as spaces; under a broken table header, all lines up to the next header.
fn blank(text: &str, broken: &BTreeSet<usize>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lost_table = false;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let is_broken = broken.contains(&(i + 1));
        if line.trim_start().starts_with('[') {
            lost_table = is_broken;
        }
        if is_broken || lost_table {
            out.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(line);
        }
    }
    out
}

fn from_toml(table: &DeTable<'_>, lines: &Lines<'_>) -> Entries {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| -> (String, Entry) {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let at = lines.position(key.span().start);
        (name.clone().into_owned(), Entry { at, node: node(value, lines) })
    };
    table.iter().map(entry).collect()
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Content::Integer(number),
            Err(_) => Content::HugeInteger(number.to_string()),
        },
        DeValue::Float(number) => Content::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Content::Flag(*flag),
        DeValue::Datetime(time) => Content::Time(time.to_string()),
        DeValue::Array(items) => Content::List(items.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(inner) => Content::Table(from_toml(inner, lines)),
    };
    Node { at: lines.position(value.span().start), content }
}

fn from_figment(value: figment::value::Value) -> Content {
    use figment::value::Value;
    let unplaced = |value| Node { at: Position::default(), content: from_figment(value) };
    match value {
        Value::String(_, text) => Content::Text(text),
        Value::Char(_, letter) => Content::Text(letter.to_string()),
        Value::Bool(_, flag) => Content::Flag(flag),
        Value::Num(_, number) => match (number.to_f64(), number.to_i128(), number.to_u128()) {
            (Some(float), _, _) => Content::Float(float),
            (None, Some(whole), _) => i64::try_from(whole)
                .map_or_else(|_| Content::HugeInteger(whole.to_string()), Content::Integer),
            (None, None, whole) => {
                let whole = whole.unwrap_or(u128::MAX);
                i64::try_from(whole)
                    .map_or_else(|_| Content::HugeInteger(whole.to_string()), Content::Integer)
            }
        },
        Value::Empty(..) => Content::Unset,
        Value::Dict(_, dict) => {
            let entry = |(key, value)| (key, Entry { at: Position::default(), node: unplaced(value) });
            Content::Table(dict.into_iter().map(entry).collect())
        }
        Value::Array(_, items) => Content::List(items.into_iter().map(unplaced).collect()),
    }
}

/// The table as figment wants it.
pub(crate) fn to_figment(entries: &Entries) -> figment::value::Dict {
    entries.iter().map(|(key, entry)| (key.clone(), value_to_figment(&entry.node.content))).collect()
}

fn value_to_figment(content: &Content) -> figment::value::Value {
    use figment::value::{Empty, Tag, Value};
    match content {
        Content::Text(text) | Content::Time(text) | Content::HugeInteger(text) => text.clone().into(),
        Content::Integer(number) => (*number).into(),
        Content::Float(number) => (*number).into(),
        Content::Flag(flag) => (*flag).into(),
        Content::List(items) => {
            Value::Array(Tag::Default, items.iter().map(|item| value_to_figment(&item.content)).collect())
        }
        Content::Table(entries) => Value::Dict(Tag::Default, to_figment(entries)),
        Content::Unset => Value::Empty(Tag::Default, Empty::None),
    }
}
