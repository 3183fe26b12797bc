//! Valid configurations, damaged at random: whatever is done to them, one run tells every damage with its place.
//!
//! In: the committed configurations and the defaults. The damage is drawn from [`RandomStream`], so that a failure repeats.
//! Invariant: each damaged line is reported as what it is, no other line is reported, and nothing panics.

use crate::schema::{Bounds, Field, Fields, Shape, fields_of};
use crate::{ConfigError, ConfigLoader, ExperimentConfig, Place, Problem, ProblemKind, RandomStream};
use std::path::{Path, PathBuf};

/// Configurations that a test damages; releases damage more by `HARMONICA_N_DAMAGED`.
const N_DAMAGED: u64 = 300;

fn n_damaged() -> u64 {
    std::env::var("HARMONICA_N_DAMAGED").map_or(N_DAMAGED, |n| n.parse().unwrap())
}

/// What a damaged line must be reported as.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    SimilarTo(String),
    BelongsUnder(String),
    WrongType,
    OutOfRange,
    Duplicate,
    NotUtf8,
    Syntax,
    Unknown,
    Something,
}

impl Expected {
    fn is_met_by(&self, kind: &ProblemKind) -> bool {
        match (self, kind) {
            (Self::SimilarTo(key), ProblemKind::UnknownKey { similar, .. }) => similar.contains(key),
            (Self::BelongsUnder(table), ProblemKind::UnknownKey { belongs, .. }) => {
                belongs.contains(table) || belongs.len() > 4
            }
            (Self::WrongType, ProblemKind::WrongType { .. })
            | (Self::OutOfRange, ProblemKind::OutOfRange { .. })
            | (Self::Duplicate, ProblemKind::Duplicate)
            | (Self::NotUtf8, ProblemKind::NotUtf8)
            | (Self::Syntax, ProblemKind::Syntax { .. })
            | (Self::Unknown, ProblemKind::UnknownKey { .. })
            | (Self::Something, _) => true,
            _ => false,
        }
    }
}

/// One line of a configuration file.
#[derive(Debug, Clone)]
struct Row {
    text: Vec<u8>,
    /// The table that the line opens or stands in.
    table: String,
    /// The key, if the line sets one.
    key: Option<String>,
    expected: Option<Expected>,
    /// No further damage here: the damage of another line depends on it.
    kept: bool,
}

impl Row {
    fn damage(text: impl Into<Vec<u8>>, table: &str, expected: Expected) -> Self {
        Self { text: text.into(), table: table.to_owned(), key: None, expected: Some(expected), kept: true }
    }
}

fn rows(toml: &str) -> Vec<Row> {
    let mut table = String::new();
    let row = |line: &str| {
        let header = line.strip_prefix('[').map(|rest| rest.trim_end_matches(']').to_owned());
        table = header.unwrap_or_else(|| table.clone());
        let key = line.split_once(" = ").filter(|_| !line.starts_with('#')).map(|(key, _)| key.to_owned());
        Row { text: line.into(), table: table.clone(), key, expected: None, kept: false }
    };
    toml.lines().map(row).collect()
}

fn bases() -> Vec<String> {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name))
            .unwrap()
    };
    let defaults = toml::to_string(&ExperimentConfig::default()).unwrap();
    vec![read("demo.toml"), read("ljspeech.toml"), defaults]
}

/// The keys of a table; nothing where they are free.
fn table_fields<'a>(root: &'a Fields, table: &str) -> Option<&'a Fields> {
    table.split('.').filter(|part| !part.is_empty()).try_fold(root, |fields, part| {
        match &fields[part].shape {
            Shape::Table(inner) => Some(inner),
            _ => None,
        }
    })
}

fn forbidden(field: &Field) -> Option<String> {
    let outside = |bounds: &Bounds| {
        let low = bounds.least.map(|least| least - 1.0).or(bounds.above);
        let high = bounds.most.map(|most| most + 1.0).or(bounds.below);
        if bounds.only.is_empty() { high.or(low) } else { Some(3.0) }
    };
    match &field.shape {
        Shape::Choice(_) => Some("\"no such choice\"".into()),
        Shape::Integer(bounds) => outside(bounds).map(|value| format!("{value:.0}")),
        Shape::Number(bounds) => outside(bounds).map(|value| format!("{value:?}")),
        Shape::PerCodebook { bounds, .. } => outside(bounds).map(|value| format!("\"2..={value:?}\"")),
        _ => None,
    }
}

/// Whether a line of the table already sets this key: a second one would be a duplicate.
fn sets(rows: &[Row], table: &str, key: &str) -> bool {
    let start = format!("{key} =").into_bytes();
    rows.iter().any(|row| row.table == table && row.text.starts_with(&start))
}

/// Damages one line; does nothing where the draw does not fit the line.
fn damage(rows: &mut Vec<Row>, root: &Fields, random: &mut RandomStream) {
    let free: Vec<usize> = (0..rows.len())
        .filter(|i| rows[*i].key.is_some() && !rows[*i].kept && rows[*i].expected.is_none())
        .collect();
    if free.is_empty() {
        return;
    }
    let at = free[random.below(free.len())];
    let row = rows[at].clone();
    let key = row.key.clone().unwrap();
    let siblings = table_fields(root, &row.table).unwrap();
    let field = &siblings[&key];
    let set = |rows: &mut Vec<Row>, text: String, expected| {
        (rows[at].text, rows[at].expected) = (text.into_bytes(), Some(expected));
    };
    match random.below(11) {
        0 => {
            let mut shorter = key.clone();
            shorter.remove(random.below(shorter.len()));
            if !siblings.contains_key(&shorter) && !shorter.is_empty() && !sets(rows, &row.table, &shorter) {
                let text = String::from_utf8(row.text).unwrap().replacen(&key, &shorter, 1);
                set(rows, text, Expected::SimilarTo(key));
            }
        }
        1 => {
            let headers: Vec<usize> = (0..rows.len())
                .filter(|i| rows[*i].key.is_none() && rows[*i].text.starts_with(b"[") && *i != at)
                .filter(|i| {
                    rows[*i].expected.is_none()
                        && table_fields(root, &rows[*i].table)
                            .is_some_and(|fields| !fields.contains_key(&key))
                })
                .collect();
            let headers: Vec<usize> =
                headers.into_iter().filter(|i| !sets(rows, &rows[*i].table, &key)).collect();
            if !headers.is_empty() {
                let header = headers[random.below(headers.len())];
                let belongs = if row.table.is_empty() {
                    "the top of the file".into()
                } else {
                    format!("[{}]", row.table)
                };
                let moved = Row {
                    table: rows[header].table.clone(),
                    expected: Some(Expected::BelongsUnder(belongs)),
                    ..row
                };
                rows.insert(header + 1, moved);
                rows.remove(if at > header { at + 1 } else { at });
            }
        }
        2 | 3 => {
            let value = match &field.shape {
                Shape::Text | Shape::Choice(_) | Shape::PerCodebook { .. } => "17",
                Shape::Flag => "3.5",
                _ => ["\"many\"", "true", "[1, 2]", "{ a = 1 }", "2026-01-01"][random.below(5)],
            };
            set(rows, format!("{key} = {value}"), Expected::WrongType);
        }
        4 | 5 => {
            if let Some(value) = forbidden(field) {
                set(rows, format!("{key} = {value}"), Expected::OutOfRange);
            }
        }
        6 => {
            rows[at].kept = true;
            rows.insert(at + 1, Row::damage(row.text, &row.table, Expected::Duplicate));
        }
        7 => {
            let opened = |rows: &[Row]| {
                rows.iter().filter(|other| other.text == format!("[{}]", row.table).into_bytes()).count() == 1
            };
            if opened(rows) {
                let text = format!("[{}]", row.table);
                rows.push(Row::damage(text, &row.table, Expected::Duplicate));
            }
        }
        8 => rows.insert(at, Row::damage(*b"# \xff\xfe", &row.table, Expected::NotUtf8)),
        9 => {
            let n = [3, 40, 90, 5000][random.below(4)];
            let (text, expected) = match random.below(3) {
                0 => (format!("deep = {}{}", "[".repeat(n), "]".repeat(n)), Expected::Something),
                1 => (format!("deep = {}1{}", "{a = ".repeat(n), "}".repeat(n)), Expected::Something),
                _ => (format!("deep{} = 1", ".a".repeat(n)), Expected::Something),
            };
            let expected = if n == 3 { Expected::Unknown } else { expected };
            // A second one in the same table would be a duplicate.
            if !rows.iter().any(|other| other.table == row.table && other.text.starts_with(b"deep")) {
                rows.insert(at, Row::damage(text, &row.table, expected));
            }
        }
        _ => set(rows, format!("{key} ="), Expected::Syntax),
    }
}

fn write(dir: &Path, name: &str, rows: &[Row]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, rows.iter().map(|row| row.text.as_slice()).collect::<Vec<_>>().join(&b'\n'))
        .unwrap();
    path
}

/// Every damaged line of every file must be told, and nothing else.
fn check(files: &[(PathBuf, Vec<Row>)], error: &ConfigError, case: u64) {
    let line = |problem: &Problem| match &problem.place {
        Place::File { path, line, column } => {
            assert!(*line > 0 && *column > 0);
            Some((path.clone(), *line))
        }
        _ => None,
    };
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    for (path, rows) in files {
        for (i, row) in rows.iter().enumerate() {
            let here: Vec<_> =
                error.problems.iter().filter(|p| line(p) == Some((path.clone(), i + 1))).collect();
            match &row.expected {
                Some(expected) => assert!(
                    here.iter().any(|problem| expected.is_met_by(&problem.kind)),
                    "case {case}: line {} must be {expected:?}, was {here:?}\n{error}\n{}",
                    i + 1,
                    text(path)
                ),
                None => assert!(
                    here.iter().all(|problem| matches!(problem.kind, ProblemKind::Misfit { .. })),
                    "case {case}: line {} is sound, but {here:?}\n{error}\n{}",
                    i + 1,
                    text(path)
                ),
            }
        }
    }
}

#[test]
fn undamaged_configurations_load() {
    let dir = tempfile::tempdir().unwrap();
    for toml in bases() {
        ConfigLoader::new().file(write(dir.path(), "sound.toml", &rows(&toml))).load().unwrap();
    }
}

#[test]
fn every_damage_of_every_layer_is_told_with_its_place() {
    let root = fields_of::<ExperimentConfig>().unwrap();
    let bases = bases();
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for case in 0..n_damaged() {
        let mut random = RandomStream::new(7, "config mutations", &[case]);
        let n_files = 1 + random.below(3);
        let files: Vec<(PathBuf, Vec<Row>)> = (0..n_files)
            .map(|i| {
                let mut rows = rows(&bases[random.below(bases.len())]);
                for _ in 0..1 + random.below(8) {
                    damage(&mut rows, &root, &mut random);
                }
                (write(dir.path(), &format!("{i}.toml"), &rows), rows)
            })
            .collect();
        let loader = files.iter().fold(ConfigLoader::new(), |loader, (path, _)| loader.file(path));
        let overrides = ["training.ar.max_updates=0", "training.max_updates=5"].map(str::to_owned);
        let error = loader.overrides(overrides.clone()).load().unwrap_err();
        check(&files, &error, case);
        for argument in overrides {
            assert!(error.problems.iter().any(|p| p.place == Place::Override { argument: argument.clone() }));
        }
        assert_eq!(error.to_string().lines().count(), error.problems.len() + 1, "a line a problem");
        told += files.iter().flat_map(|(_, rows)| rows).filter(|row| row.expected.is_some()).count();
    }
    assert!(told > 1500, "only {told} lines were damaged");
}

#[test]
fn no_bytes_at_all_make_the_loader_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise.toml");
    let bases = bases();
    for case in 0..n_damaged() {
        let mut random = RandomStream::new(8, "config noise", &[case]);
        let mut bytes = bases[random.below(bases.len())].clone().into_bytes();
        for _ in 0..1 + random.below(40) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = (random.next_u64() & 0xff) as u8,
                1 => drop(bytes.drain(at..(at + random.below(30)).min(bytes.len()))),
                2 => bytes.insert(at, b"[]{}=.\"'\n#,"[random.below(11)]),
                _ => bytes.extend_from_slice(b"\n[[a.b]]\nx = \"\"\""),
            }
            if bytes.is_empty() {
                break;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let set = String::from_utf8_lossy(&bytes[..bytes.len().min(random.below(60))]).into_owned();
        let _ = ConfigLoader::new().file(&path).overrides([set]).load();
    }
}
