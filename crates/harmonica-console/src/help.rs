//! Whether a tree of commands explains itself.

use clap::Command;

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

/// What is missing: every command that does something says what it does, explains each argument, and ends its help with
/// `Example:` and a line of its own that parses.
pub fn help_faults(program: &Command) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, command) in leaves(program, "") {
        if command.get_about().is_none() {
            faults.push(format!("{path}says not what it does"));
        }
        let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
        faults.extend(arguments.map(|argument| format!("{path}{} has no help", argument.get_id())));
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, example)) = help.split_once("Example:") else {
            faults.push(format!("{path}has no Example:"));
            continue;
        };
        if !format!("{} ", example.trim()).starts_with(&path) {
            faults.push(format!("{path}has an example of something else: {example}"));
        }
        if let Err(error) = program.clone().try_get_matches_from(words(example)) {
            faults.push(format!("{path}has an example that does not parse: {error}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let program = |leaf: Command| Command::new("lab").subcommand(leaf);
        let text = Arg::new("text").long("text").help("What to say");
        let whole =
            Command::new("say").about("Says").arg(text).after_help("Example: lab say --text \"a b\" > x");
        assert_eq!(help_faults(&program(whole.clone())), Vec::<String>::new());
        for (leaf, word) in [
            (Command::new("say").after_help("Example: lab say"), "what it does"),
            (whole.clone().arg(Arg::new("seed").long("seed")), "seed has no help"),
            (Command::new("say").about("Says"), "no Example:"),
            (whole.clone().after_help("Example: lab speak"), "something else"),
            (whole.clone().after_help("Example: lab say --txet a"), "does not parse"),
        ] {
            let faults = help_faults(&program(leaf));
            assert!(faults.iter().any(|fault| fault.contains(word)), "{word}: {faults:?}");
        }
    }
}
