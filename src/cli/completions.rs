//! `featurize completions` and `featurize man`: the command line told to shells and to `man`.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, print};
use crate::error::Error;
use crate::io::{IoError, atomic};

/// Prints the completions for a shell.
pub fn completions(shell: Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "featurize", &mut text);
    print(String::from_utf8_lossy(&text).trim_end());
}

/// Prints the manual page of the program, or writes those of every command into a folder.
pub fn man(folder: Option<&Path>) -> Result<(), Error> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else {
        print(page(command, "featurize")?.trim_end());
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(IoError::write(folder))?;
    for path in write(&command, "featurize", folder)? {
        print(&path.display().to_string());
    }
    Ok(())
}

/// The page of a command and, after it, those of its subcommands.
fn write(command: &clap::Command, name: &str, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let path = folder.join(format!("{name}.1"));
    atomic::write_bytes(&path, page(command.clone(), name)?.as_bytes())?;
    let mut pages = vec![path];
    for inner in command.get_subcommands() {
        pages.extend(write(inner, &format!("{name}-{}", inner.get_name()), folder)?);
    }
    Ok(pages)
}

fn page(command: clap::Command, name: &str) -> Result<String, Error> {
    let mut text = Vec::new();
    // clap wants names that live as long as the program; there is one a page
    let name: &'static str = Box::leak(name.to_string().into_boxed_str());
    Man::new(command.name(name)).render(&mut text).map_err(IoError::write(Path::new(name)))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
