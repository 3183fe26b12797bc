//! Layers of TOML to one validated configuration: defaults < files in order < `--set`.
//!
//! Every layer is read and inspected before anything is merged, so that one run tells every problem of every layer. Figment
//! merges what is right and serde builds the types; figment's own traps stay outside: a missing file is an error, overrides
//! are TOML values (so that `1e-4` is a number), and a table that changes its kind is replaced, never mixed.

use crate::error::{Place, Problem, ProblemKind};
use crate::inspection::{Findings, inspect, last_place};
use crate::layer::{Layer, Source, to_figment};
use crate::provenance::{self, ResolvedConfig};
use crate::relations::{BrokenRelation, Checked, Relations};
use crate::schema::fields_of;
use crate::{ConfigError, ExperimentConfig, micro_steps};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A TOML file, or the bytes that stand for one.
#[derive(Debug, Clone)]
struct TomlFile {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
}

/// Collects the layers of a configuration.
#[derive(Debug, Clone, Default)]
pub struct ConfigLoader {
    files: Vec<TomlFile>,
    overrides: Vec<String>,
}

impl ConfigLoader {
    /// No layers yet: loads the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file; later files win.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(TomlFile { path: path.into(), bytes: None });
        self
    }

    /// Adds TOML in memory as a file would be added; `name` stands for its path in messages.
    pub fn bytes(mut self, name: impl Into<PathBuf>, toml: impl Into<Vec<u8>>) -> Self {
        self.files.push(TomlFile { path: name.into(), bytes: Some(toml.into()) });
        self
    }

    /// Adds `--set` arguments of the form `a.b=VALUE`; they win over all files.
    pub fn overrides(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.overrides.extend(arguments);
        self
    }

    /// Merges, checks and returns the configuration.
    ///
    /// # Errors
    /// Every problem of every layer: a file that cannot be read or parsed, a malformed override, an unknown key, a wrong
    /// type, a value out of range or at odds with another one.
    pub fn load(&self) -> Result<ExperimentConfig, ConfigError> {
        Ok(self.resolve()?.config)
    }

    /// Like [`ConfigLoader::load`], and says where each value comes from.
    ///
    /// # Errors
    /// As [`ConfigLoader::load`].
    pub fn resolve(&self) -> Result<ResolvedConfig, ConfigError> {
        let (mut config, layers) = load_layers::<ExperimentConfig>(&self.files, &self.overrides)?;
        ConfigError::unless_empty(micro_steps::to_updates(&mut config, &layers))?;
        Ok(provenance::resolved(config, &layers))
    }
}

/// Reads, inspects, merges and checks layers of any configuration.
fn load_layers<T: Checked>(files: &[TomlFile], overrides: &[String]) -> Result<(T, Vec<Layer>), ConfigError> {
    let mut problems = Vec::new();
    let defaults = Layer::of_value(Source::Default, &T::default());
    let mut layers = vec![defaults.map_err(|reason| refused(&[], "", reason))?];
    layers.extend(files.iter().map(|file| match &file.bytes {
        Some(bytes) => Layer::of_bytes(Source::File(file.path.clone()), bytes, &mut problems),
        None => Layer::read_file(&file.path, &mut problems),
    }));
    layers.extend(overrides.iter().map(|argument| Layer::read_override(argument, &mut problems)));
    let fields = fields_of::<T>().map_err(|reason| refused(&[], "", reason))?;
    let findings = inspect(&fields, "", &mut layers);
    problems.extend(findings.problems.iter().cloned());
    match merge::<T>(&layers) {
        Ok(config) => {
            problems.extend(misfits(&config, "", &layers, &findings));
            if problems.is_empty() {
                return Ok((config, layers));
            }
        }
        // With other problems around, what the types miss may be what those problems took away.
        Err(error) if problems.is_empty() => problems.extend(refusals(*error, &layers)),
        Err(_) => {}
    }
    Err(ConfigError { problems: in_order(problems, files) })
}

/// Every problem of a configuration in memory that stands at `prefix` of the whole.
pub(crate) fn problems_of<T: Checked>(config: &T, prefix: &str) -> Vec<Problem> {
    let read = Layer::of_value(Source::Program, config).and_then(|layer| Ok((layer, fields_of::<T>()?)));
    match read {
        Ok((layer, fields)) => {
            let mut layers = vec![layer];
            let findings = inspect(&fields, prefix, &mut layers);
            let misfits = misfits(config, prefix, &layers, &findings);
            findings.problems.into_iter().chain(misfits).collect()
        }
        Err(reason) => refused(&[], prefix, reason).problems,
    }
}

/// One layer as figment sees it.
struct Provided<'a>(&'a Layer);

impl Provider for Provided<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("configuration layer")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, to_figment(&self.0.entries))]))
    }
}

fn merge<T: Checked>(layers: &[Layer]) -> Result<T, Box<figment::Error>> {
    let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(Provided(layer)));
    figment.extract().map_err(Box::new)
}

fn misfits<T: Checked>(config: &T, at: &str, layers: &[Layer], findings: &Findings) -> Vec<Problem> {
    let mut relations = Relations::default();
    config.relations(at, &mut relations);
    let dropped = |relation: &BrokenRelation| {
        std::iter::once(&relation.key).chain(&relation.others).any(|key| findings.dropped.contains(key))
    };
    let prefix = at.split('.').filter(|part| !part.is_empty()).count();
    let place = |key: &str| last_place(layers, &key.split('.').skip(prefix).collect::<Vec<_>>());
    let problem = |relation: BrokenRelation| {
        let (place, because) = match place(&relation.key) {
            Some(own) => (own, None),
            None => relation
                .others
                .iter()
                .find_map(|other| Some((place(other)?, Some(other.clone()))))
                .unwrap_or((Place::Default, None)),
        };
        let kind = ProblemKind::Misfit { value: relation.value, allowed: relation.allowed, because };
        Problem { place, key: relation.key, kind }
    };
    relations.broken.into_iter().filter(|relation| !dropped(relation)).map(problem).collect()
}

/// What serde still refuses, at the place of the nearest key that a layer sets.
fn refusals(error: figment::Error, layers: &[Layer]) -> Vec<Problem> {
    let all = error.into_iter().map(|one| {
        let path =
            if one.path.first().is_some_and(|part| part == "default") { &one.path[1..] } else { &one.path };
        refused(layers, &path.join("."), one.kind.to_string()).problems
    });
    all.flatten().collect()
}

fn refused(layers: &[Layer], key: &str, reason: String) -> ConfigError {
    let path: Vec<&str> = key.split('.').filter(|part| !part.is_empty()).collect();
    let nearest = (1..=path.len()).rev().find_map(|n| last_place(layers, &path[..n]));
    let place = nearest.unwrap_or(Place::Default);
    ConfigError {
        problems: vec![Problem { place, key: key.to_owned(), kind: ProblemKind::Refused { reason } }],
    }
}

/// Problems by layer and line, each once.
fn in_order(mut problems: Vec<Problem>, files: &[TomlFile]) -> Vec<Problem> {
    let index = |path: &Path| files.iter().position(|file| file.path == path).unwrap_or(files.len());
    problems.sort_by_key(|problem| match &problem.place {
        Place::WholeFile { path } => (index(path), 0, 0),
        Place::File { path, line, column } => (index(path), *line, *column),
        Place::Override { .. } => (files.len(), 0, 0),
        Place::Default | Place::Program => (files.len() + 1, 0, 0),
    });
    let mut told = HashSet::new();
    problems.retain(|problem| told.insert(problem.to_string()));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    fn write(dir: &Path, name: &str, toml: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, toml).unwrap();
        path
    }

    fn load(toml: &str, overrides: &[&str]) -> Result<ExperimentConfig, String> {
        let loader = ConfigLoader::new().bytes("layer.toml", toml);
        let loader = loader.overrides(overrides.iter().map(|s| (*s).to_owned()));
        loader.load().map_err(|error| error.to_string())
    }

    #[test]
    fn later_layers_win_and_the_rest_keeps_its_default() {
        let config =
            load("seed = 7\n[training.ar]\nmax_updates = 10", &["training.ar.max_updates=20"]).unwrap();
        assert_eq!((config.seed, config.training.ar.max_updates), (7, 20));
        assert_eq!(config.training.nar, crate::NarTraining::default());
    }

    #[test]
    fn every_problem_of_every_layer_is_told_at_once_in_order() {
        let error = load(
            "sead = 1\nname = 3\n[training]\ntoken_noise = 0.1\n[training.ar]\nmax_updates = 0\nmax_update = 10\n\
             [trainng.nar]\ntoken_noise = 2.0\n[model.ar]\npreset = \"smal\"",
            &["decode.ar.top_p=0", "seed"],
        );
        let expected = "\
layer.toml:1:1: sead: unknown key; did you mean `seed`?
layer.toml:2:8: name: found the whole number 3; write text in quotes
layer.toml:4:1: training.token_noise: unknown key here; it belongs under [training.ar] or [training.nar]
layer.toml:6:15: training.ar.max_updates: 0 is not allowed; write a whole number from 1 to 1000000000 updates
layer.toml:7:1: training.ar.max_update: unknown key; did you mean `max_updates`?
layer.toml:8:2: trainng: unknown key; did you mean `training`?
layer.toml:9:15: trainng.nar.token_noise: 2 is not allowed; write a number from 0 to 1
layer.toml:11:10: model.ar.preset: \"smal\" is not allowed; did you mean \"small\"? Write one of \"test\", \"demo\", \"tiny\", \
\"small\", \"base\", \"large\"
--set seed: seed: there is no `=`; write it as --set a.b=VALUE with a TOML value
--set decode.ar.top_p=0: decode.ar.top_p: 0 is not allowed; write a number above 0 and at most 1
10 problems";
        assert_eq!(error.unwrap_err(), expected);
    }

    #[test]
    fn broken_lines_never_hide_what_is_wrong_elsewhere() {
        let text = "seed = = 1\n[training.ar\nmax_updates = 0\n[training.nar]\ntoken_noise = 2.0\nmax_updates 3\n\
                    [data]\nlayuot = 3\n[training.nar]\nmax_updates = 5";
        let error = load(text, &[]).unwrap_err();
        let places: Vec<&str> = error.lines().filter_map(|line| line.split(": ").next()).collect();
        let expected = [
            "layer.toml:1:8",
            "layer.toml:2:13",
            "layer.toml:5:15",
            "layer.toml:6:13",
            "layer.toml:8:1",
            "layer.toml:9:11",
            "6 problems",
        ];
        assert_eq!(places, expected, "{error}");
        assert!(error.contains("layer.toml:9:11: training.nar: stands twice in this layer"), "{error}");
        assert!(
            load("[data]\nlayout = 1\nlayout = 2", &[])
                .unwrap_err()
                .contains(":3:1: data.layout: stands twice")
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_placed_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer.toml");
        std::fs::write(&path, b"name = \"\xc3\xa4\xff\"\nsead = 2").unwrap();
        let problems = ConfigLoader::new().file(&path).load().unwrap_err().problems;
        let file = |line, column| Place::File { path: path.clone(), line, column };
        let places: Vec<&Place> = problems.iter().map(|p| &p.place).collect();
        assert_eq!(places, [&file(1, 10), &file(2, 1)], "{problems:?}");
        assert_eq!(problems[0].kind, ProblemKind::NotUtf8);
    }

    #[test]
    fn values_by_codebook_are_held_to_their_syntax_and_range_beside_all_other_problems() {
        let error = load(
            "[decode.nar]\ntemperature = \"2=0.5,3..=9\"\ntop_k = \"2.5\"\ntop_p = \"1..3=0.5\"\nrefine_steps = 0",
            &[],
        )
        .unwrap_err();
        let expected = "\
layer.toml:2:15: decode.nar.temperature: 9 is not allowed; write numbers from 0 to 5 by codebook, in quotes
layer.toml:3:9: decode.nar.top_k: 2.5 is not allowed; write whole numbers of at least 0 codes by codebook, in quotes
layer.toml:4:9: decode.nar.top_p: \"1..3\" has an open end; write 2..=4 for the codebooks 2, 3 and 4; `harmonica-lab config docs` lists every key
layer.toml:5:16: decode.nar.refine_steps: 0 is not allowed; write a whole number from 1 to 64 passes
4 problems";
        assert_eq!(error, expected);
        let config = load("[decode.nar]\ntop_p = \"2..=3=0.9\"", &[]).unwrap();
        assert_eq!(config.decode.nar.top_p.at(crate::CodebookIndex::from_zero_based(2)), Some(0.9));
    }

    #[test]
    fn a_misfit_is_told_where_the_layers_can_mend_it() {
        let error = load("[codec.mel_rvq]\nfft_samples = 512", &[]).unwrap_err();
        let expected = "layer.toml:2:1: codec.mel_rvq.window_samples: its default 640 does not fit \
            `codec.mel_rvq.fft_samples`, which is set here; write from 320 (2 x step_samples) to 512 (fft_samples)\n1 problem";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_resolved_configuration_loads_back_whatever_its_places_are_called() {
        let loader =
            ConfigLoader::new().bytes("odd\nseed = 3", "seed = 2").overrides(["name=a\u{1}b".to_owned()]);
        let resolved = loader.resolve().unwrap();
        let again = ConfigLoader::new().bytes("again.toml", resolved.to_toml()).load().unwrap();
        assert_eq!((again.seed, again.name.as_str()), (2, "a\u{1}b"));
    }

    #[test]
    fn products_of_huge_numbers_are_told_not_wrapped() {
        let codec = crate::MelRvqConfig { step_samples: usize::MAX, ..crate::MelRvqConfig::default() };
        assert!(codec.validate().unwrap_err().to_string().contains("step_samples"));
    }

    #[test]
    fn overrides_use_toml_values() {
        let config = load("", &["training.ar.optimizer.learning_rate.peak=1e-4", "name=bare words"]).unwrap();
        assert_eq!(config.training.ar.optimizer.learning_rate.peak, 1e-4);
        assert_eq!(config.name, "bare words");
        assert!(load("", &["seed"]).unwrap_err().contains("no `=`"));
        assert!(load("", &["seed=maybe"]).unwrap_err().contains("seed"));
        assert!(load("", &["seed=1\nname=2"]).is_err());
        assert!(load("", &["seed=nan"]).is_err() && load("", &["decode.ar.temperature=inf"]).is_err());
    }

    #[test]
    fn missing_file_is_told_beside_the_problems_of_the_others() {
        let error = ConfigLoader::new()
            .file("no/such.toml")
            .overrides(["sed=1".to_owned()])
            .load()
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no/such.toml: cannot be read"), "{error}");
        assert!(error.contains("--set sed=1: sed: unknown key; did you mean `seed`?"), "{error}");
    }

    #[test]
    fn a_configuration_in_memory_is_held_to_the_same_ranges() {
        let mut config = ExperimentConfig::default();
        config.validate().unwrap();
        config.seed = u64::MAX;
        config.training.ar.token_noise = f64::NAN;
        config.decode.ar.max_frames_per_char = 0.1;
        let error = config.validate().unwrap_err();
        let keys: Vec<&str> = error.problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["seed", "training.ar.token_noise", "decode.ar.max_frames_per_char"]);
        let decode = config.decode.problems();
        assert_eq!(
            decode.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(),
            ["decode.ar.max_frames_per_char"]
        );
    }

    #[test]
    fn every_key_of_a_resolved_configuration_has_its_place_and_the_toml_loads_back() {
        let dir = tempfile::tempdir().unwrap();
        let base =
            write(dir.path(), "base.toml", "seed = 3\n[training.ar]\nmax_updates = 7\ntoken_noise = 0.2");
        let top = write(
            dir.path(),
            "top.toml",
            "training.ar.max_updates = 8\n[training.nar.objective.registered.x]\nweight = 2",
        );
        let resolved = ConfigLoader::new()
            .file(&base)
            .file(&top)
            .overrides(["model.ar.width=64".to_owned()])
            .resolve()
            .unwrap();
        let place = |key: &str| {
            resolved.provenance[key].to_string().replace(&format!("{}/", dir.path().display()), "")
        };
        assert_eq!(place("seed"), "base.toml:1:1");
        assert_eq!(place("training.ar.max_updates"), "top.toml:1:13");
        assert_eq!(place("training.ar.token_noise"), "base.toml:4:1");
        assert_eq!(place("model.ar.width"), "--set model.ar.width=64");
        assert_eq!(place("training.nar.objective.registered.x.weight"), "top.toml:3:1");
        assert_eq!(place("model.nar.width"), "default");
        let shown = resolved.to_toml();
        let again = write(dir.path(), "shown.toml", &shown);
        assert_eq!(ConfigLoader::new().file(&again).load().unwrap(), resolved.config, "{shown}");
    }

    #[test]
    fn fingerprint_ignores_paths_and_sees_knobs() {
        let base = ExperimentConfig::default();
        let mut moved = base.clone();
        moved.data.cache_dir = "/elsewhere".into();
        assert_eq!(base.fingerprint(), moved.fingerprint());
        moved.training.ar.token_noise = 0.2;
        assert_ne!(base.fingerprint(), moved.fingerprint());
        let diff = crate::ConfigDiff::between(&base, &moved);
        let keys: Vec<_> = diff.entries.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, ["data.cache_dir", "training.ar.token_noise"]);
    }

    /// A table with kinds, as a later setting may be one.
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct WithKinds {
        rate: Rate,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
    enum Rate {
        Cosine { peak: f64, floor: f64 },
        Plateau { peak: f64, patience: u64 },
    }

    impl Default for Rate {
        fn default() -> Self {
            Self::Cosine { peak: 1.0, floor: 0.1 }
        }
    }

    impl Checked for WithKinds {
        fn relations(&self, _at: &str, _relations: &mut Relations) {}
    }

    fn load_kinds(layers: &[&str]) -> Result<WithKinds, String> {
        let file = |(i, toml): (usize, &&str)| TomlFile {
            path: format!("{i}.toml").into(),
            bytes: Some(toml.as_bytes().to_vec()),
        };
        let files: Vec<TomlFile> = layers.iter().enumerate().map(file).collect();
        load_layers(&files, &[]).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_layer_that_switches_the_kind_of_a_table_starts_it_anew() {
        let cosine = "[rate]\nfloor = 0.5";
        assert_eq!(load_kinds(&[cosine]).unwrap().rate, Rate::Cosine { peak: 1.0, floor: 0.5 });
        let plateau = "[rate]\nkind = \"plateau\"\npeak = 2.0\npatience = 4";
        assert_eq!(load_kinds(&[cosine, plateau]).unwrap().rate, Rate::Plateau { peak: 2.0, patience: 4 });
        // The peak of the old kind does not leak into the new one.
        let error = load_kinds(&[cosine, "[rate]\nkind = \"plateau\"\npatience = 4"]).unwrap_err();
        assert!(error.starts_with("1.toml:1:2: rate: missing field `peak`"), "{error}");
    }

    #[test]
    fn keys_of_another_kind_are_refused_with_the_kinds_that_have_them() {
        let error = load_kinds(&["[rate]\npatience = 3"]).unwrap_err();
        assert_eq!(
            error,
            "0.toml:2:1: rate.patience: no key of kind = \"cosine\"; delete it or set kind to `plateau`\n1 problem"
        );
        let error = load_kinds(&["[rate]\nkind = \"plato\""]).unwrap_err();
        assert!(error.contains("rate.kind: \"plato\" is not allowed"), "{error}");
    }
}
