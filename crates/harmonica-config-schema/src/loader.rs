//! Layers of TOML to one validated configuration: defaults < files in order < `--set`.
//!
//! Figment merges; this module keeps its traps out: a missing file is an error, overrides are TOML values (so
//! that `1e-4` is a number), and no setting is an enum with payload (layers would silently merge two variants).

use crate::{ConfigError, ExperimentConfig};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use std::path::{Path, PathBuf};

/// Collects the layers of a configuration.
#[derive(Debug, Clone, Default)]
pub struct ConfigLoader {
    files: Vec<PathBuf>,
    overrides: Vec<String>,
}

impl ConfigLoader {
    /// No layers yet: loads the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file; later files win.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
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
    /// A file that cannot be read or parsed, a malformed override, an unknown key, a wrong type, a value out of range.
    pub fn load(&self) -> Result<ExperimentConfig, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(ExperimentConfig::default()));
        for path in &self.files {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            check_syntax(path, &text)?;
            figment = figment.merge(NamedToml { path: path.clone(), text });
        }
        for argument in &self.overrides {
            let text = override_as_toml(argument)?;
            figment = figment.merge(NamedToml { path: PathBuf::from(format!("--set {argument}")), text });
        }
        let config: ExperimentConfig =
            figment.extract().map_err(|error| ConfigError::Schema { message: describe(&error) })?;
        config.validate()?;
        Ok(config)
    }
}

/// TOML text that carries the name of where it came from into error messages.
struct NamedToml {
    path: PathBuf,
    text: String,
}

impl figment::Provider for NamedToml {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.path.display().to_string())
    }

    fn data(&self) -> Result<figment::value::Map<figment::Profile, figment::value::Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

fn check_syntax(path: &Path, text: &str) -> Result<(), ConfigError> {
    match text.parse::<toml::Table>() {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string().trim().replace('\n', " "),
        }),
    }
}

fn override_as_toml(argument: &str) -> Result<String, ConfigError> {
    let refuse =
        |reason: &str| ConfigError::Override { argument: argument.to_owned(), reason: reason.to_owned() };
    let (key, value) = argument.split_once('=').ok_or_else(|| refuse("there is no `=`"))?;
    let (key, value) = (key.trim(), value.trim());
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !key.split('.').all(plain) {
        return Err(refuse("the key is not a dotted name"));
    }
    for candidate in
        [format!("{key} = {value}"), format!("{key} = {}", toml::Value::String(value.to_owned()))]
    {
        // A newline in the value could smuggle in a second key: exactly one leaf is allowed.
        if candidate.parse::<toml::Table>().is_ok_and(|table| table.len() == 1) && !candidate.contains('\n') {
            return Ok(candidate);
        }
    }
    Err(refuse("the value is not TOML"))
}

fn describe(error: &figment::Error) -> String {
    let list: Vec<String> = error
        .clone()
        .into_iter()
        .map(|problem| {
            let place = problem.metadata.as_ref().map_or("defaults".to_owned(), |m| m.name.to_string());
            let key = problem.path.join(".");
            if key.is_empty() {
                format!("{place}: {}", problem.kind)
            } else {
                format!("{place}: {} at `{key}`", problem.kind)
            }
        })
        .collect();
    list.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, overrides: &[&str]) -> Result<ExperimentConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer.toml");
        std::fs::write(&path, toml).unwrap();
        let loader = ConfigLoader::new().file(&path).overrides(overrides.iter().map(|s| (*s).to_owned()));
        loader.load().map_err(|e| e.to_string())
    }

    #[test]
    fn later_layers_win_and_the_rest_keeps_its_default() {
        let config =
            load("seed = 7\n[training.ar]\nmax_updates = 10", &["training.ar.max_updates=20"]).unwrap();
        assert_eq!((config.seed, config.training.ar.max_updates), (7, 20));
        assert_eq!(config.training.nar, crate::NarTraining::default());
    }

    #[test]
    fn unknown_key_is_refused_with_its_place() {
        let error = load("[training.ar]\nmax_update = 10", &[]).unwrap_err();
        assert!(
            error.contains("max_update") && error.contains("layer.toml") && error.contains("training.ar"),
            "{error}"
        );
    }

    #[test]
    fn every_value_out_of_range_is_reported_at_once() {
        let error =
            load("[training.ar]\nmax_updates = 0\ntoken_noise = 2.0", &["decode.ar.top_p=0"]).unwrap_err();
        for key in ["training.ar.max_updates", "training.ar.token_noise", "decode.ar.top_p"] {
            assert!(error.contains(key), "{key} not in {error}");
        }
    }

    #[test]
    fn overrides_use_toml_values() {
        let config = load("", &["training.ar.optimizer.learning_rate.peak=1e-4", "name=bare words"]).unwrap();
        assert_eq!(config.training.ar.optimizer.learning_rate.peak, 1e-4);
        assert_eq!(config.name, "bare words");
        assert!(load("", &["seed"]).unwrap_err().contains("no `=`"));
        assert!(load("", &["seed=maybe"]).unwrap_err().contains("seed"));
    }

    #[test]
    fn missing_file_names_the_path_and_broken_toml_its_line() {
        let error = ConfigLoader::new().file("no/such.toml").load().unwrap_err().to_string();
        assert!(error.contains("no/such.toml"), "{error}");
        let error = load("seed = = 1", &[]).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
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
}
