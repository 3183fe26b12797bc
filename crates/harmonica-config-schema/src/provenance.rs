//! A configuration whose values remember where they come from.
//!
//! In: a merged configuration and its layers. Out: [`ResolvedConfig`], as TOML with a comment a line or as a map for programs.
//! Invariant: every key of the configuration has exactly one place, and the TOML loads back to the same configuration.

use crate::ExperimentConfig;
use crate::error::Place;
use crate::inspection::{last_place, shown_key};
use crate::layer::{Content, Entries, Layer, Source};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Column at which the comments begin.
const COMMENT_COLUMN: usize = 44;

/// A configuration and the place of each of its values.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ResolvedConfig {
    /// The configuration.
    pub config: ExperimentConfig,
    /// Where each dotted key was set last.
    pub provenance: BTreeMap<String, Place>,
}

/// Joins a configuration with its layers.
pub(crate) fn resolved(config: ExperimentConfig, layers: &[Layer]) -> ResolvedConfig {
    let mut provenance = BTreeMap::new();
    if let Ok(whole) = Layer::of_value(Source::Program, &config) {
        places(&whole.entries, &mut Vec::new(), layers, &mut provenance);
    }
    ResolvedConfig { config, provenance }
}

fn places<'a>(
    entries: &'a Entries,
    path: &mut Vec<&'a str>,
    layers: &[Layer],
    out: &mut BTreeMap<String, Place>,
) {
    for (key, entry) in entries {
        path.push(key);
        match &entry.node.content {
            Content::Table(inner) => places(inner, path, layers, out),
            _ => {
                out.insert(dotted(path), last_place(layers, path).unwrap_or(Place::Default));
            }
        }
        path.pop();
    }
}

fn dotted(path: &[&str]) -> String {
    path.iter().map(|part| shown_key(part)).collect::<Vec<_>>().join(".")
}

impl ResolvedConfig {
    /// The whole configuration as TOML; a comment behind each value says where it comes from.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        if let Ok(whole) = Layer::of_value(Source::Program, &self.config) {
            self.table(&whole.entries, &mut Vec::new(), &declared_order(), &mut out);
        }
        out
    }

    fn table<'a>(
        &self,
        entries: &'a Entries,
        path: &mut Vec<&'a str>,
        order: &BTreeMap<String, usize>,
        out: &mut String,
    ) {
        let mut keys: Vec<&String> = entries.keys().collect();
        let rank = |key: &str| {
            let whole: Vec<&str> = path.iter().copied().chain([key]).collect();
            order.get(&dotted(&whole)).copied().unwrap_or(usize::MAX)
        };
        keys.sort_by_key(|key| rank(key));
        let is_table = |key: &&&String| matches!(entries[**key].node.content, Content::Table(_));
        if !path.is_empty() && keys.iter().any(|key| !is_table(&key)) {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{}]", dotted(path));
        }
        for key in keys.iter().filter(|key| !is_table(key)) {
            path.push(key);
            let whole = dotted(path);
            path.pop();
            let place = self.provenance.get(&whole).unwrap_or(&Place::Default);
            let line = match written(&entries[*key].node.content) {
                Some(value) => format!("{} = {value}", shown_key(key)),
                None => format!("# {} is not set", shown_key(key)),
            };
            let _ = writeln!(out, "{line:<COMMENT_COLUMN$} # {}", comment(&place.to_string()));
        }
        for key in keys.iter().filter(is_table) {
            if let Content::Table(inner) = &entries[*key].node.content {
                path.push(key);
                self.table(inner, path, order, out);
                path.pop();
            }
        }
    }
}

/// Words that may stand in a comment: paths and arguments may hold line ends and other characters that TOML forbids there.
fn comment(words: &str) -> String {
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    words.chars().map(one).collect()
}

/// A value as TOML; nothing where it is unset.
fn written(content: &Content) -> Option<String> {
    Some(match content {
        Content::Text(text) => toml::Value::String(text.clone()).to_string(),
        Content::Integer(number) => number.to_string(),
        Content::HugeInteger(digits) => digits.clone(),
        Content::Float(number) => format!("{number:?}"),
        Content::Flag(flag) => flag.to_string(),
        Content::Time(time) => time.clone(),
        Content::List(items) => {
            let items: Vec<String> = items.iter().filter_map(|item| written(&item.content)).collect();
            format!("[{}]", items.join(", "))
        }
        Content::Table(_) | Content::Unset => return None,
    })
}

/// The order in which the types declare their keys: serde writes it, maps forget it.
pub(crate) fn declared_order() -> BTreeMap<String, usize> {
    let mut order = BTreeMap::new();
    let mut table = String::new();
    let text = toml::to_string(&ExperimentConfig::default()).unwrap_or_default();
    for (i, line) in text.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_end_matches(']');
            table = format!("{name}.");
            // A table without values of its own has no header: it stands where its first inner table does.
            for (end, _) in name.match_indices('.').chain([(name.len(), "")]) {
                order.entry(name[..end].to_owned()).or_insert(i);
            }
        } else if let Some((key, _)) = line.split_once(" = ") {
            order.insert(format!("{table}{key}"), i);
        }
    }
    order
}
