//! The command line as typed. In: the process's arguments; out: parsed ones, or the exit code of a mistake.
//!
//! Invariant: a mistake is told to people on stderr in clap's words and, with `--json`, to programs on stdout as one object.

use crate::failure::Failure;
use crate::output::print;
use clap::Parser;
use clap::error::{Error, ErrorKind};
use std::ffi::OsString;
use std::process::ExitCode;

/// Parses the process's arguments; help and version are printed here.
pub(crate) fn parse<A: Parser>() -> Result<A, ExitCode> {
    let words: Vec<OsString> = std::env::args_os().collect();
    A::try_parse_from(&words).map_err(|error| {
        // A closed pipe is the reader's decision.
        let _ = error.print();
        if !error.use_stderr() {
            return ExitCode::SUCCESS;
        }
        let failure = Failure::error(message(&error));
        if words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
            print(true, &failure.to_json(), "");
        }
        ExitCode::from(failure.code)
    })
}

/// What is wrong, without the usage lines that follow it for people.
fn message(error: &Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the command is incomplete; --help lists what it takes".to_owned();
    }
    let text = error.render().to_string();
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let text = &text[..end.unwrap_or(text.len())];
    text.strip_prefix("error: ").unwrap_or(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::Arguments;
    use clap::{Command, CommandFactory, Parser};

    /// Every command that does something, with its path.
    fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
        let path = format!("{path}{} ", command.get_name());
        if !command.has_subcommands() {
            return vec![(path, command.clone())];
        }
        command.get_subcommands().flat_map(|sub| leaves(sub, &path)).collect()
    }

    /// Words of a shell line; double quotes keep spaces, a redirection ends it.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" > ").next().unwrap_or_default();
        line.split('"')
            .enumerate()
            .flat_map(|(i, part)| match i % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_command_has_an_example_that_parses() {
        for (path, command) in leaves(&Arguments::command(), "") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = help.split_once("Example:").unwrap_or_else(|| panic!("{path}has no Example:")).1;
            assert!(format!("{} ", example.trim()).starts_with(&path), "{path}: {example}");
            Arguments::try_parse_from(words(example)).map(|_| ()).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }

    #[test]
    fn every_command_and_argument_has_help() {
        for (path, command) in leaves(&Arguments::command(), "") {
            assert!(command.get_about().is_some(), "{path}says not what it does");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}{} has no help", argument.get_id());
            }
        }
    }

    #[test]
    fn messages_end_before_the_usage() {
        let error = |line: &str| super::message(&Arguments::try_parse_from(words(line)).err().unwrap());
        let unknown = error("harmonica synthesize --model bundle --text hi --outptu x.wav");
        assert!(unknown.contains("--outptu") && !unknown.contains("Usage"), "{unknown}");
        let value = error("harmonica synthesize --model bundle --text hi --seed x");
        assert!(value.starts_with("invalid value") && !value.contains("For more"), "{value}");
        assert!(error("harmonica").contains("--help"));
    }
}
