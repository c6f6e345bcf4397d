//! docs/commands.md has a list and a reference of all commands, generated from the definition of the command line.

use clap::{Arg, Command, CommandFactory};

use super::Cli;

#[test]
fn the_documented_commands_are_those_of_the_command_line() {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut commands = Vec::new();
    collect(&program, &mut commands);
    let rows = commands.iter().map(|command| {
        let name = name(command);
        format!("| [`{name}`](#{}) | {} |", name.replace(' ', "-"), about(command))
    });
    let list = format!("| command | task |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"));
    let reference: Vec<String> = commands.iter().map(|command| reference(command)).collect();
    crate::docs::keep("commands.md", &[list, reference.join("\n\n")]);
}

/// The commands without subcommands, in the order of the help.
fn collect<'a>(command: &'a Command, all: &mut Vec<&'a Command>) {
    for below in command.get_subcommands() {
        match below.has_subcommands() {
            true => collect(below, all),
            false => all.push(below),
        }
    }
}

fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_default()
}

/// The first sentence of the help.
fn about(command: &Command) -> String {
    sentence(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', ':', '!']) { text.to_string() } else { format!("{text}.") }
}

/// Heading, description, usage, arguments and examples of a command.
fn reference(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect();
    let long = command.get_long_about().map_or_else(|| about(command), |text| sentence(&text.to_string()));
    let mut parts = vec![format!("### `{}`", name(command)), long, format!("    {}", usage.join("\n    "))];
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let items: Vec<String> = command.get_arguments().filter(shown).map(item).collect();
    parts.extend((!items.is_empty()).then(|| items.join("\n")));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some((title, lines)) = after.split_once('\n') {
        let lines: Vec<String> = lines.lines().map(|line| format!("    {}", line.trim())).collect();
        parts.push(format!("{title}\n\n{}", lines.join("\n")));
    }
    parts.join("\n\n")
}

fn item(arg: &Arg) -> String {
    let short = arg.get_short().filter(|_| arg.get_long().is_some());
    let short = short.map_or(String::new(), |short| format!("-{short}, "));
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = format!("* **`{short}{}`**: {}", arg.to_string().replace("...", "…"), sentence(&help));
    if !arg.get_action().takes_values() {
        return text;
    }
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into()).collect();
    if !defaults.is_empty() {
        text += &format!(" Default: `{}`.", defaults.join(" "));
    }
    let words = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let words: Vec<String> = words
        .map(|value| match value.get_help() {
            Some(help) => format!("\n  * `{}`: {}", value.get_name(), sentence(&help.to_string())),
            None => format!("\n  * `{}`", value.get_name()),
        })
        .collect();
    text + &words.concat()
}
