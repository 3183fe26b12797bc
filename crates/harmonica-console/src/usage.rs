//! The command line as typed.
//!
//! Invariant: a mistake is told to people on stderr in clap's words, and comes back so that a program may be told as well.

use clap::Parser;
use clap::error::{Error, ErrorKind};
use std::ffi::OsString;

/// Why there are no arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// None: help or the version was asked for, and printed.
    Answered,
    /// The arguments are wrong.
    Wrong {
        /// What is wrong, without the usage lines that people were shown.
        message: String,
        /// Whether `--json` was among the arguments.
        json: bool,
    },
}

/// Parses the process's arguments.
///
/// # Errors
/// A mistake in them, or a request for help; people have been told already.
pub fn parse<A: Parser>() -> Result<A, Mistake> {
    let words: Vec<OsString> = std::env::args_os().collect();
    A::try_parse_from(&words).map_err(|error| {
        // A closed pipe is the reader's decision.
        let _ = error.print();
        if !error.use_stderr() {
            return Mistake::Answered;
        }
        let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
        Mistake::Wrong { message: usage_message(&error), json }
    })
}

/// What is wrong, without the usage lines that follow it for people.
pub fn usage_message(error: &Error) -> String {
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
    use super::*;
    use clap::{Arg, Command};

    #[test]
    fn messages_end_before_the_usage() {
        let info = Command::new("info").arg(Arg::new("codec").long("codec"));
        let seed = Arg::new("seed").long("seed").value_parser(clap::value_parser!(u64));
        let command = Command::new("lab").subcommand(info.arg(seed)).arg_required_else_help(true);
        let error = |line: &str| {
            usage_message(&command.clone().try_get_matches_from(line.split_whitespace()).unwrap_err())
        };
        let unknown = error("lab info --codce runs/demo/codec");
        assert!(unknown.contains("--codce") && !unknown.contains("Usage"), "{unknown}");
        let value = error("lab info --seed x");
        assert!(value.starts_with("invalid value") && !value.contains("For more"), "{value}");
        assert!(error("lab").contains("--help"));
    }
}
