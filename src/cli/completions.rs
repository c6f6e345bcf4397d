//! `featurize completions` and `featurize man`: completions for shells, and manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, print};
use crate::error::Error;
use crate::io::IoError;
use crate::io::output::{FileKind, Inputs, Output, Rules};
use crate::terminal::printable_path;

/// Prints the completions for a shell.
pub fn completions(shell: Shell) -> Result<(), Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "featurize", &mut text);
    print(String::from_utf8_lossy(&text).trim_end())
}

/// Prints the manual page of the program, or writes those of every command into a folder.
pub fn man(folder: Option<&Path>, overwrite: bool) -> Result<(), Error> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else {
        return print(page(command, "featurize")?.trim_end());
    };
    std::fs::create_dir_all(folder).map_err(IoError::write(folder))?;
    let mut pages = Vec::new();
    collect(&command, "featurize", &mut pages)?;
    let inputs = Inputs::default();
    let rules = Rules::new(&inputs, overwrite);
    let place = |name: &String| Output::new(&folder.join(format!("{name}.1")), FileKind::Manual, rules);
    // every output is checked before the first is written
    let outputs: Vec<Output> = pages.iter().map(|(name, _)| place(name)).collect::<Result<_, _>>()?;
    for (output, (_, page)) in outputs.iter().zip(&pages) {
        output.write_bytes(page.as_bytes())?;
        print(&printable_path(output.path()))?;
    }
    Ok(())
}

/// Adds the name and the text of a command's page, then those of its subcommands.
fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) -> Result<(), Error> {
    pages.push((name.to_string(), page(command.clone(), name)?));
    command.get_subcommands().try_for_each(|inner| collect(inner, &format!("{name}-{}", inner.get_name()), pages))
}

fn page(command: clap::Command, name: &str) -> Result<String, Error> {
    let mut text = Vec::new();
    // clap needs names of static lifetime; one is leaked for each page
    let name: &'static str = Box::leak(name.to_string().into_boxed_str());
    Man::new(command.name(name)).render(&mut text).map_err(IoError::write(Path::new(name)))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
