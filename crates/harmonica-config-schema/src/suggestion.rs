//! What somebody who wrote an unknown key may have meant.
//!
//! In: the key, the table it was written in, every key there is. Out: [`Suggestion`]: similar keys, tables that have a key of
//! this very name, and the fields to read the contents of a misnamed table by. Invariant: suggestions name real keys only.

use crate::schema::{Fields, Shape};

/// Suggestions of one kind in a message.
const MAX_SUGGESTIONS: usize = 4;

/// What was probably meant.
#[derive(Debug, Default)]
pub(crate) struct Suggestion<'a> {
    /// Keys that resemble the one written.
    pub(crate) similar: Vec<String>,
    /// Tables with a key of this name, in brackets.
    pub(crate) belongs: Vec<String>,
    /// The shape of the likeliest of them.
    pub(crate) shape: Option<&'a Shape>,
}

/// A key somewhere in the tree.
struct Known<'a> {
    table: Vec<&'a str>,
    key: &'a str,
    shape: &'a Shape,
}

/// Suggestions for `key` in the table at `path`, whose keys are `siblings`, of the tree `root`.
pub(crate) fn suggest<'a>(
    key: &str,
    path: &[String],
    siblings: &'a Fields,
    root: &'a Fields,
) -> Suggestion<'a> {
    let mut everywhere = Vec::new();
    collect(root, &mut Vec::new(), &mut everywhere);
    // Nearest tables first: what stands beside is likelier than what stands far away.
    let shared = |known: &Known<'_>| known.table.iter().zip(path).take_while(|(a, b)| *a == b).count();
    everywhere.sort_by_key(|known| std::cmp::Reverse(shared(known)));

    let here = nearest(key, siblings.keys().map(String::as_str));
    let namesakes: Vec<&Known<'_>> = everywhere.iter().filter(|known| known.key == key).collect();
    let mut belongs: Vec<String> = namesakes.iter().map(|known| bracket(&known.table)).collect();
    belongs.dedup();
    if belongs.len() > MAX_SUGGESTIONS {
        let more = belongs.len() - MAX_SUGGESTIONS;
        belongs.truncate(MAX_SUGGESTIONS);
        belongs.push(format!("{more} more tables"));
    }
    if let Some(first) = here.first() {
        let shape = siblings.get(*first).map(|field| &field.shape);
        return Suggestion { similar: here.iter().map(|key| (*key).to_owned()).collect(), belongs, shape };
    }
    if let Some(first) = namesakes.first() {
        return Suggestion { similar: Vec::new(), belongs, shape: Some(first.shape) };
    }
    let far = nearest(key, everywhere.iter().map(|known| known.key));
    let candidates: Vec<&Known<'_>> = everywhere.iter().filter(|known| far.contains(&known.key)).collect();
    let dotted = |known: &&Known<'_>| {
        known.table.iter().copied().chain(std::iter::once(known.key)).collect::<Vec<_>>().join(".")
    };
    Suggestion {
        similar: candidates.iter().take(MAX_SUGGESTIONS).map(dotted).collect(),
        belongs: Vec::new(),
        shape: candidates.first().map(|known| known.shape),
    }
}

/// The choice that a word resembles.
pub(crate) fn similar_word<'a>(word: &str, choices: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(word, choices).first().copied()
}

fn bracket(table: &[&str]) -> String {
    if table.is_empty() { "the top of the file".into() } else { format!("[{}]", table.join(".")) }
}

/// The words at the smallest edit distance, if that is small beside the word's length.
fn nearest<'a>(word: &str, choices: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    let limit = (lower.chars().count() / 3).clamp(1, 4);
    let mut best: Vec<&str> = Vec::new();
    let mut least = limit + 1;
    for choice in choices {
        let distance = strsim::osa_distance(&lower, choice);
        // Words that share no letter do not resemble each other, however short they are.
        if distance >= choice.chars().count().min(lower.chars().count())
            || distance > least
            || best.contains(&choice)
        {
            continue;
        }
        if distance < least {
            best.clear();
            least = distance;
        }
        if least <= limit {
            best.push(choice);
        }
    }
    best
}

fn collect<'a>(fields: &'a Fields, table: &mut Vec<&'a str>, out: &mut Vec<Known<'a>>) {
    for (key, field) in fields {
        out.push(Known { table: table.clone(), key, shape: &field.shape });
        table.push(key);
        match &field.shape {
            Shape::Table(inner) => collect(inner, table, out),
            Shape::Kinds { kinds, .. } => kinds.values().for_each(|inner| collect(inner, table, out)),
            Shape::Map(item) => {
                if let Shape::Table(inner) = &item.shape {
                    table.push("NAME");
                    collect(inner, table, out);
                    table.pop();
                }
            }
            _ => {}
        }
        table.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_prefers_the_smallest_edit_and_refuses_the_far() {
        let keys = ["max_updates", "max_frames", "peak"];
        assert_eq!(nearest("max_update", keys.into_iter()), ["max_updates"]);
        assert_eq!(nearest("Max-Frames", keys.into_iter()), ["max_frames"]);
        assert!(nearest("learning_rate", keys.into_iter()).is_empty());
        assert!(nearest("x", keys.into_iter()).is_empty());
    }
}
