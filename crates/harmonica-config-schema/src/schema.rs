//! What keys there are: read from the types' own JSON schema, so that types, messages, docs and editors never disagree.
//!
//! In: a config type (doc comments describe, `schemars` attributes bound, `x-unit` names the unit). Out: the tree of
//! [`Field`]s that inspection and the reference page walk, and the JSON schema that editors read.
//! Invariant: every shape is one the loader can merge; an enum with payload must carry its kind in a key of its own table.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The keys of a table.
pub(crate) type Fields = BTreeMap<String, Field>;

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its doc comment, one line.
    pub(crate) description: String,
    /// Its default, where it is not a table.
    pub(crate) default: Option<Value>,
    /// Whether it may be left unset even after defaults.
    pub(crate) optional: bool,
    /// What it holds.
    pub(crate) shape: Shape,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A table with known keys.
    Table(Fields),
    /// A table with free keys.
    Map(Box<Field>),
    /// A table whose `tag` says which keys it has.
    Kinds {
        /// The key that names the kind.
        tag: String,
        /// The keys of every kind, without the tag.
        kinds: BTreeMap<String, Fields>,
    },
    /// One of these words, each with what it means.
    Choice(Vec<(String, String)>),
    /// Any text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Integer(Bounds),
    /// A number.
    Number(Bounds),
    /// Numbers by codebook, in the text form of [`crate::PerCodebook`].
    PerCodebook {
        /// Whether only whole numbers are allowed.
        whole: bool,
        /// Which numbers are allowed.
        bounds: Bounds,
    },
    /// A list.
    List(Box<Field>),
}

/// Which numbers are allowed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Bounds {
    /// Lowest allowed.
    pub(crate) least: Option<f64>,
    /// Highest allowed.
    pub(crate) most: Option<f64>,
    /// Every value must be above this.
    pub(crate) above: Option<f64>,
    /// Every value must be below this.
    pub(crate) below: Option<f64>,
    /// If not empty: only these.
    pub(crate) only: Vec<f64>,
    /// What is counted; may be empty.
    pub(crate) unit: String,
}

impl Bounds {
    /// Whether a number is allowed.
    pub(crate) fn contain(&self, value: f64) -> bool {
        value.is_finite()
            && self.least.is_none_or(|low| value >= low)
            && self.most.is_none_or(|high| value <= high)
            && self.above.is_none_or(|low| value > low)
            && self.below.is_none_or(|high| value < high)
            && (self.only.is_empty() || self.only.contains(&value))
    }

    /// The allowed numbers in words that continue "write", with unit: `a whole number from 1 to 64 layers`.
    pub(crate) fn words(&self, noun: &str) -> String {
        let mut words = if self.only.is_empty() {
            let low = match (self.least, self.above) {
                (_, Some(low)) => format!("above {low}"),
                (Some(low), None) if self.most.or(self.below).is_some() => format!("from {low}"),
                (Some(low), None) => format!("of at least {low}"),
                (None, None) => String::new(),
            };
            let high = match (self.most, self.below) {
                (_, Some(high)) => format!("to below {high}"),
                (Some(high), None) if self.least.is_some() => format!("to {high}"),
                (Some(high), None) => {
                    format!("{}at most {high}", if low.is_empty() { "of " } else { "and " })
                }
                (None, None) => String::new(),
            };
            [noun.to_owned(), low, high]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        } else {
            let words: Vec<String> = self.only.iter().map(f64::to_string).collect();
            match words.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, others)) => format!("{} or {last}", others.join(", ")),
                None => String::new(),
            }
        };
        if !self.unit.is_empty() {
            let bounded = *self != Self { unit: self.unit.clone(), ..Self::default() };
            words.push_str(&if bounded { format!(" {}", self.unit) } else { format!(" of {}", self.unit) });
        }
        words
    }
}

impl Shape {
    /// What may be written, in words that continue "write".
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Table(_) | Self::Map(_) | Self::Kinds { .. } => "a table".into(),
            Self::Choice(choices) => {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                if let [only] = words.as_slice() {
                    only.clone()
                } else {
                    format!("one of {}", words.join(", "))
                }
            }
            Self::Text => "text in quotes".into(),
            Self::Flag => "true or false".into(),
            Self::Integer(bounds) => bounds.words("a whole number"),
            Self::Number(bounds) => bounds.words("a number"),
            Self::PerCodebook { whole, bounds } => {
                let noun = if *whole { "whole numbers" } else { "numbers" };
                format!("{} by codebook, in quotes", bounds.words(noun))
            }
            Self::List(item) => format!("a list, each item {}", item.shape.words()),
        }
    }
}

/// The JSON schema of a config type, for editors.
pub(crate) fn json_schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    schema
}

/// TOML knows neither null nor integer widths; defaults of tables are the defaults of their keys.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("default").is_some_and(|value| value.is_object() || value.is_null()) {
                map.remove("default");
            }
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                    map.insert("x-optional".into(), true.into());
                }
            }
            if let Some(description) = map.get_mut("description")
                && let Some(text) = description.as_str()
            {
                *description = text.split_whitespace().collect::<Vec<_>>().join(" ").into();
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// The keys of a config type; made once, for they never change.
///
/// # Errors
/// The dotted key of a shape that layers could not merge safely. Tests hold every config type against it.
pub(crate) fn fields_of<T: JsonSchema + 'static>() -> Result<Arc<Fields>, String> {
    static MADE: Mutex<BTreeMap<TypeId, Arc<Fields>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fields) = made.get(&TypeId::of::<T>()) {
        return Ok(fields.clone());
    }
    match field(&json_schema_of::<T>(), "")?.shape {
        Shape::Table(fields) => Ok(made.entry(TypeId::of::<T>()).or_insert(Arc::new(fields)).clone()),
        _ => Err("the root is not a table".into()),
    }
}

fn field(schema: &Value, at: &str) -> Result<Field, String> {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    Ok(Field {
        description: text(map, "description"),
        default: map.get("default").cloned(),
        optional: map.contains_key("x-optional"),
        shape: shape(map, at)?,
    })
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn shape(map: &Map<String, Value>, at: &str) -> Result<Shape, String> {
    if let Some(alternatives) = map.get("oneOf").and_then(Value::as_array) {
        return alternatives_shape(alternatives, at);
    }
    let unsupported = || Err(format!("`{at}` has a shape that layers cannot merge safely"));
    match map.get("type").and_then(Value::as_str) {
        Some("object") => {
            let known = properties(map, at)?;
            match map.get("additionalProperties") {
                Some(Value::Object(inner)) if known.is_empty() => {
                    Ok(Shape::Map(Box::new(field(&Value::Object(inner.clone()), &format!("{at}.*"))?)))
                }
                Some(Value::Bool(false)) => Ok(Shape::Table(known)),
                _ => unsupported(),
            }
        }
        Some("string") => Ok(match map.get("enum").and_then(Value::as_array) {
            Some(words) => Shape::Choice(words.iter().filter_map(word).collect()),
            None => match map.get("const").and_then(word) {
                Some(only) => Shape::Choice(vec![only]),
                None => match map.get("x-per-codebook").and_then(Value::as_object) {
                    Some(values) => Shape::PerCodebook {
                        whole: text(values, "type") == "integer",
                        bounds: bounds(values),
                    },
                    None => Shape::Text,
                },
            },
        }),
        Some("boolean") => Ok(Shape::Flag),
        Some("integer") => Ok(Shape::Integer(bounds(map))),
        Some("number") => Ok(Shape::Number(bounds(map))),
        Some("array") => match map.get("items") {
            Some(items) => Ok(Shape::List(Box::new(field(items, &format!("{at}[]"))?))),
            None => unsupported(),
        },
        _ => unsupported(),
    }
}

fn word(value: &Value) -> Option<(String, String)> {
    value.as_str().map(|word| (word.to_owned(), String::new()))
}

fn properties(map: &Map<String, Value>, at: &str) -> Result<Fields, String> {
    let Some(properties) = map.get("properties").and_then(Value::as_object) else { return Ok(Fields::new()) };
    let dotted = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    properties.iter().map(|(key, inner)| Ok((key.clone(), field(inner, &dotted(key))?))).collect()
}

fn bounds(map: &Map<String, Value>) -> Bounds {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    Bounds {
        least: number("minimum"),
        most: number("maximum"),
        above: number("exclusiveMinimum"),
        below: number("exclusiveMaximum"),
        only: map
            .get("enum")
            .and_then(Value::as_array)
            .map(|values| values.iter().filter_map(Value::as_f64).collect())
            .unwrap_or_default(),
        unit: text(map, "x-unit"),
    }
}

/// An enum: words, or tables that carry their kind in a key.
fn alternatives_shape(alternatives: &[Value], at: &str) -> Result<Shape, String> {
    let mut choices = Vec::new();
    let mut kinds = BTreeMap::new();
    let mut tags: Vec<String> = Vec::new();
    for alternative in alternatives {
        let empty = Map::new();
        let map = alternative.as_object().unwrap_or(&empty);
        if map.get("type").and_then(Value::as_str) == Some("string") {
            let Shape::Choice(words) = shape(map, at)? else {
                return Err(format!("`{at}` mixes text and words"));
            };
            choices.extend(words.into_iter().map(|(word, _)| (word, text(map, "description"))));
            continue;
        }
        let constant = |(key, inner): (&String, &Value)| {
            inner.get("const").and_then(Value::as_str).map(|kind| (key.clone(), kind.to_owned()))
        };
        let named =
            map.get("properties").and_then(Value::as_object).and_then(|p| p.iter().find_map(constant));
        let Some((tag, kind)) = named else {
            return Err(format!("`{at}` is an enum with payload that does not carry its kind in a key"));
        };
        let mut fields = properties(map, at)?;
        fields.remove(&tag);
        kinds.insert(kind, fields);
        tags.push(tag);
    }
    tags.dedup();
    match (tags.as_slice(), choices.is_empty()) {
        ([], false) => Ok(Shape::Choice(choices)),
        ([tag], true) => Ok(Shape::Kinds { tag: tag.clone(), kinds }),
        _ => Err(format!("`{at}` mixes words and tables")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExperimentConfig;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Outside {
        decay: Payload,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Payload {
        Cosine { floor: f64 },
        Plateau { patience: u64 },
    }

    impl Default for Payload {
        fn default() -> Self {
            Self::Cosine { floor: 0.0 }
        }
    }

    #[test]
    fn an_enum_that_layers_would_merge_silently_is_refused() {
        assert!(fields_of::<Outside>().unwrap_err().contains("decay"));
    }

    #[test]
    fn every_config_type_has_only_shapes_that_the_loader_can_merge() {
        fields_of::<ExperimentConfig>().unwrap();
        fields_of::<crate::DecodeConfig>().unwrap();
    }

    #[test]
    fn bounds_read_as_a_sentence() {
        let bounds = |change: fn(&mut Bounds)| {
            let mut bounds = Bounds::default();
            change(&mut bounds);
            bounds.words("a number")
        };
        assert_eq!(bounds(|_| ()), "a number");
        assert_eq!(bounds(|b| (b.least, b.most) = (Some(1.0), Some(2.0))), "a number from 1 to 2");
        assert_eq!(bounds(|b| (b.above, b.most) = (Some(0.0), Some(1.0))), "a number above 0 and at most 1");
        assert_eq!(bounds(|b| (b.least, b.below) = (Some(0.0), Some(0.9))), "a number from 0 to below 0.9");
        assert_eq!(bounds(|b| b.least = Some(3.0)), "a number of at least 3");
        assert_eq!(bounds(|b| b.most = Some(3.0)), "a number of at most 3");
        assert_eq!(bounds(|b| b.unit = "dB".into()), "a number of dB");
        assert_eq!(bounds(|b| (b.only, b.unit) = (vec![1.0, 2.0, 3.0], "Hz".into())), "1, 2 or 3 Hz");
    }

    /// Doc comments say each default for readers of the code; this holds them against the value.
    #[test]
    fn every_documented_default_is_the_real_one() {
        fn visit(fields: &Fields, path: &str, wrong: &mut Vec<String>) {
            for (key, field) in fields {
                let key = format!("{path}.{key}");
                if let Shape::Table(inner) = &field.shape {
                    visit(inner, &key, wrong);
                }
                let Some(said) = field.description.split("Default ").nth(1) else { continue };
                let said = said.split(" (").next().unwrap_or(said).trim_end_matches('.').trim_matches('`');
                let real = field.default.as_ref().map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                let same_number =
                    || said.parse::<f64>().ok() == field.default.as_ref().and_then(Value::as_f64);
                if real.as_deref() != Some(said) && !same_number() {
                    wrong.push(format!("{key}: the doc comment says {said}, the default is {real:?}"));
                }
            }
        }
        let mut wrong = Vec::new();
        visit(&fields_of::<ExperimentConfig>().unwrap(), "", &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
