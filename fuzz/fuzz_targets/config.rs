//! Configuration layers and `--set`: two TOML files and lines of overrides, joined by the separator.
//!
//! What is accepted is valid and loads back from its own TOML; what is refused is told a line a problem, in the text.
#![no_main]

use harmonica_config_schema::{ConfigLoader, Place};
use harmonica_fuzz::files;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [base, top, overrides] = files::<3>(data);
    let overrides = String::from_utf8_lossy(overrides);
    let overrides = overrides.split('\n').filter(|line| !line.is_empty()).map(str::to_owned);
    let loader = ConfigLoader::new().bytes("base.toml", base).bytes("top.toml", top).overrides(overrides);
    match loader.resolve() {
        Ok(resolved) => {
            resolved.config.validate().expect("an accepted configuration is valid");
            let toml = resolved.to_toml();
            let again = ConfigLoader::new().bytes("again.toml", toml.clone()).load();
            assert_eq!(again.as_ref(), Ok(&resolved.config), "{toml}");
            assert_eq!(again.map(|c| c.fingerprint()), Ok(resolved.config.fingerprint()));
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            let words = error.to_string();
            assert_eq!(words.lines().count(), error.problems.len() + 1, "{words:?}");
            for problem in &error.problems {
                if let Place::File { path, line, column } = &problem.place {
                    let text = String::from_utf8_lossy(if path.ends_with("base.toml") { base } else { top });
                    let line = text.split('\n').nth(line - 1).expect("the line exists");
                    assert!(*column >= 1 && *column <= line.chars().count() + 1, "{problem}");
                }
            }
        }
    }
});
