//! Holds layers against the tree of known keys.
//!
//! In: layers in order, defaults first. Out: every unknown, misplaced, mistyped or forbidden value with its place, and layers
//! that hold only what is right, so that the rest can still be merged and checked.
//! Invariant: a layer that switches the kind of a table starts that table anew; keys of the old kind do not survive below it.

use crate::PerCodebook;
use crate::error::{Place, Problem, ProblemKind};
use crate::layer::{Content, Entries, Layer, Node, Position, Source};
use crate::schema::{Bounds, Field, Fields, Shape};
use crate::suggestion::{similar_word, suggest};
use std::collections::{BTreeMap, BTreeSet};

/// Longest value repeated in a message, in characters.
const MAX_SHOWN: usize = 60;

/// What inspection found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Everything wrong.
    pub(crate) problems: Vec<Problem>,
    /// Known keys whose value was dropped because it is wrong.
    pub(crate) dropped: BTreeSet<String>,
}

/// Inspects all layers, dropping what is wrong and what a later switch of kind makes void.
pub(crate) fn inspect(root: &Fields, prefix: &str, layers: &mut [Layer]) -> Findings {
    let mut findings = Findings::default();
    let mut kinds = BTreeMap::new();
    for i in 0..layers.len() {
        let (earlier, rest) = layers.split_at_mut(i);
        let Some(layer) = rest.first_mut() else { break };
        let mut inspector = Inspector {
            root,
            source: layer.source.clone(),
            path: prefix.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            prefix_len: prefix.split('.').filter(|part| !part.is_empty()).count(),
            kinds: &mut kinds,
            switched: Vec::new(),
            findings: &mut findings,
        };
        inspector.table(root, &mut layer.entries);
        for path in std::mem::take(&mut inspector.switched) {
            earlier.iter_mut().for_each(|layer| forget(&mut layer.entries, &path));
        }
    }
    findings
}

fn forget(entries: &mut Entries, path: &[String]) {
    match path {
        [] => {}
        [last] => {
            entries.remove(last);
        }
        [first, rest @ ..] => {
            if let Some(Content::Table(inner)) = entries.get_mut(first).map(|entry| &mut entry.node.content) {
                forget(inner, rest);
            }
        }
    }
}

struct Inspector<'a> {
    root: &'a Fields,
    source: Source,
    path: Vec<String>,
    prefix_len: usize,
    /// The kind in force of every table that has kinds.
    kinds: &'a mut BTreeMap<Vec<String>, String>,
    /// Tables whose kind this layer changes.
    switched: Vec<Vec<String>>,
    findings: &'a mut Findings,
}

impl Inspector<'_> {
    fn key(&self) -> String {
        self.path.iter().map(|part| shown_key(part)).collect::<Vec<_>>().join(".")
    }

    fn report(&mut self, at: Position, kind: ProblemKind) {
        let place = self.source.place(at);
        self.findings.problems.push(Problem { place, key: self.key(), kind });
    }

    fn wrong(&mut self, at: Position, kind: ProblemKind) -> bool {
        self.report(at, kind);
        self.findings.dropped.insert(self.key());
        false
    }

    fn table(&mut self, fields: &Fields, entries: &mut Entries) {
        entries.retain(|name, entry| match fields.get(name) {
            Some(field) => {
                self.path.push(name.clone());
                let keep = self.value(field, &mut entry.node);
                self.path.pop();
                keep
            }
            None => {
                self.unknown(fields, name, entry.at, &mut entry.node);
                false
            }
        });
    }

    fn unknown(&mut self, siblings: &Fields, name: &str, at: Position, node: &mut Node) {
        let table = self.path.get(self.prefix_len..).unwrap_or_default();
        let root = self.root;
        let suggestion = suggest(name, table, siblings, root);
        self.path.push(name.to_owned());
        let kind = ProblemKind::UnknownKey { similar: suggestion.similar, belongs: suggestion.belongs };
        self.report(at, kind);
        // What stands in a misnamed table is read as if the name were right, so that its own problems are told too.
        if let (Content::Table(entries), Some(Shape::Table(fields))) = (&mut node.content, suggestion.shape) {
            self.table(fields, entries);
        }
        self.path.pop();
    }

    /// Whether the value may stay.
    fn value(&mut self, field: &Field, node: &mut Node) -> bool {
        let at = node.at;
        match (&field.shape, &mut node.content) {
            (_, Content::Unset) if field.optional => true,
            (Shape::Table(fields), Content::Table(entries)) => {
                self.table(fields, entries);
                true
            }
            (Shape::Map(item), Content::Table(entries)) => {
                entries.retain(|name, entry| {
                    self.path.push(name.clone());
                    let keep = self.value(item, &mut entry.node);
                    self.path.pop();
                    keep
                });
                true
            }
            (Shape::Kinds { tag, kinds }, Content::Table(entries)) => {
                self.kinds(tag, kinds, entries);
                true
            }
            (Shape::List(item), Content::List(items)) => {
                let mut all = true;
                for (i, inner) in items.iter_mut().enumerate() {
                    self.path.push(i.to_string());
                    all &= self.value(item, inner);
                    self.path.pop();
                }
                all
            }
            (Shape::Choice(choices), Content::Text(word)) => {
                if choices.iter().any(|(choice, _)| choice == word) {
                    return true;
                }
                let similar = similar_word(word, choices.iter().map(|(choice, _)| choice.as_str()));
                let similar = similar.map(|word| format!("\"{word}\""));
                let value = shorten(&format!("{word:?}"));
                self.wrong(at, ProblemKind::OutOfRange { value, allowed: field.shape.words(), similar })
            }
            (Shape::PerCodebook { whole, bounds }, Content::Text(text)) => match PerCodebook::parse(text) {
                Err(reason) => self.wrong(at, ProblemKind::Refused { reason }),
                Ok(values) => values.values().all(|number| {
                    let judged = if *whole && number.fract() != 0.0 { f64::NAN } else { number };
                    self.number(bounds, judged, number.to_string(), field, at)
                }),
            },
            (Shape::Text, Content::Text(_)) | (Shape::Flag, Content::Flag(_)) => true,
            (Shape::Integer(bounds), Content::Integer(number)) => {
                self.number(bounds, *number as f64, number.to_string(), field, at)
            }
            (Shape::Integer(_), Content::HugeInteger(digits)) => {
                let allowed = format!("a whole number of at most {}", i64::MAX);
                let value = shorten(digits);
                self.wrong(at, ProblemKind::OutOfRange { value, allowed, similar: None })
            }
            (Shape::Number(bounds), Content::Float(number)) => {
                self.number(bounds, *number, number.to_string(), field, at)
            }
            (Shape::Number(bounds), Content::Integer(number)) => {
                self.number(bounds, *number as f64, number.to_string(), field, at)
            }
            (_, content) => {
                let found = describe(content);
                self.wrong(at, ProblemKind::WrongType { found, expected: field.shape.words() })
            }
        }
    }

    fn number(&mut self, bounds: &Bounds, number: f64, value: String, field: &Field, at: Position) -> bool {
        let allowed = || field.shape.words();
        bounds.contain(number)
            || self.wrong(at, ProblemKind::OutOfRange { value, allowed: allowed(), similar: None })
    }

    /// A table whose tag says which keys it has.
    fn kinds(&mut self, tag: &str, kinds: &BTreeMap<String, Fields>, entries: &mut Entries) {
        let path = self.path.clone();
        let in_force = self.kinds.get(&path).cloned();
        let words = Field {
            description: String::new(),
            default: None,
            optional: false,
            shape: Shape::Choice(kinds.keys().map(|kind| (kind.clone(), String::new())).collect()),
        };
        let mut kind = in_force.clone();
        if let Some(entry) = entries.get_mut(tag) {
            self.path.push(tag.to_owned());
            let right = self.value(&words, &mut entry.node);
            self.path.pop();
            kind = match &entry.node.content {
                Content::Text(word) if right => Some(word.clone()),
                // Which keys belong to a kind that does not exist, nobody can say.
                _ => return entries.clear(),
            };
        }
        let Some((kind, fields)) = kind.and_then(|kind| kinds.get(&kind).map(|fields| (kind, fields))) else {
            return;
        };
        if in_force.as_ref().is_some_and(|before| *before != kind) {
            self.switched.push(path.get(self.prefix_len..).unwrap_or_default().to_vec());
        }
        self.kinds.insert(path, kind.clone());
        let tag_entry = entries.remove_entry(tag);
        entries.retain(|name, entry| {
            let belongs: Vec<String> =
                kinds.iter().filter(|(_, f)| f.contains_key(name)).map(|(kind, _)| kind.clone()).collect();
            if fields.contains_key(name) || belongs.is_empty() {
                return true;
            }
            self.path.push(name.clone());
            self.report(
                entry.at,
                ProblemKind::OtherKind { tag: tag.to_owned(), kind: kind.clone(), belongs },
            );
            self.path.pop();
            false
        });
        self.table(fields, entries);
        entries.extend(tag_entry);
    }
}

/// A key as TOML would need it written.
pub(crate) fn shown_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { shorten(key) } else { shorten(&format!("{key:?}")) }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    format!("{}...", text.chars().take(MAX_SHOWN).collect::<String>())
}

fn describe(content: &Content) -> String {
    match content {
        Content::Text(text) => shorten(&format!("text {text:?}")),
        Content::Integer(number) => format!("the whole number {number}"),
        Content::HugeInteger(digits) => shorten(&format!("the whole number {digits}")),
        Content::Float(number) => format!("the number {number:?}"),
        Content::Flag(flag) => format!("{flag}"),
        Content::Time(time) => format!("the date {time}"),
        Content::List(_) => "a list".into(),
        Content::Table(_) => "a table".into(),
        Content::Unset => "nothing".into(),
    }
}

/// The place of the last layer that says something at a path.
pub(crate) fn last_place(layers: &[Layer], path: &[&str]) -> Option<Place> {
    layers.iter().rev().find_map(|layer| {
        let at = position(&layer.entries, path)?;
        (!matches!(layer.source, Source::Default)).then(|| layer.source.place(at))
    })
}

fn position(entries: &Entries, path: &[&str]) -> Option<Position> {
    let (first, rest) = path.split_first()?;
    let entry = entries.get(*first)?;
    match &entry.node.content {
        _ if rest.is_empty() => Some(entry.at),
        Content::Table(inner) => position(inner, rest),
        _ => None,
    }
}
