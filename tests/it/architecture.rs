//! Rules about the structure of the code that the compiler does not check: the files of `src/` in which a crate or
//! module may be used, and dependencies that no crate has.

use std::path::{Path, PathBuf};

use crate::support::project;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("src") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Each source file by its path below `folder`, with its lines except comments and tests.
fn code(folder: &Path) -> Vec<(String, Vec<String>)> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(folder).expect("below").to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&path).expect("read");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_string()).collect();
        (name, lines)
    };
    let tests = |(name, _): &(String, Vec<String>)| name.ends_with("tests.rs") || name.contains("tests/");
    sources(folder).into_iter().map(read).filter(|file| !tests(file)).collect()
}

/// The crates that may be named only in some files: prefixes of paths below `src/`.
const ROOMS: &[(&[&str], &[&str])] = &[
    (&["polars"], &["io/"]),
    // tables with pictures are a source of pictures
    (&["arrow", "arrow_ipc", "parquet"], &["io/", "pictures/source/"]),
    (&["serde_saphyr"], &["config/"]),
    (&["clap", "ctrlc"], &["cli/", "main.rs"]),
    (&["ab_glyph", "resvg"], &["plot/"]),
    (&["globset"], &["stages/scan/", "config/"]),
    (&["csv"], &["stages/scan/", "cli/init/"]),
    (&["walkdir"], &["stages/scan/", "store/", "cli/"]),
    (&["indicatif"], &["progress.rs"]),
    (&["minijinja"], &["stages/report/"]),
];

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (file, lines) in code(&project().join("src")) {
        for (crates, rooms) in ROOMS {
            if rooms.iter().any(|room| file.starts_with(room)) {
                continue;
            }
            for name in *crates {
                let (path, import) = (format!("{name}::"), format!("use {name}"));
                for line in &lines {
                    let line = line.trim();
                    let imports = line.strip_prefix("pub ").unwrap_or(line).starts_with(&import)
                        && line.split(&import).nth(1).is_some_and(|rest| rest.starts_with([':', ';']));
                    let mut names = line.match_indices(&path).map(|(at, _)| line[..at].chars().next_back());
                    let named = names.any(|before| before.is_none_or(|c| !c.is_alphanumeric() && !"_:".contains(c)));
                    if imports || named {
                        wrong.push(format!("{file}: {line}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_stage_never_calls_a_stage() {
    for (file, lines) in code(&project().join("src")) {
        let Some(own) = file.strip_prefix("stages/").map(|name| name.split(['/', '.']).next().unwrap_or_default())
        else {
            continue;
        };
        for other in ["scan", "extract", "select", "reduce", "train", "evaluate", "compare", "report"] {
            let call = format!("{other}::run(");
            assert!(other == own || !lines.iter().any(|line| line.contains(&call)), "{file} calls {call}");
        }
    }
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    for path in sources(&project().join("src")).into_iter().chain(sources(&project().join("crates"))) {
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        if path.ends_with("published/rows.rs") {
            continue; // a table that a script generates
        }
        let lines = text.lines().count();
        assert!(lines <= 480, "{} has {lines} lines", path.display());
    }
}

#[test]
fn only_the_command_line_prints_and_exits() {
    let crates = std::fs::read_dir(project().join("crates")).expect("crates");
    let folders = crates.map(|entry| entry.expect("entry").path().join("src")).chain([project().join("src")]);
    for (file, lines) in folders.flat_map(|folder| code(&folder)) {
        if file.starts_with("cli/") || file == "main.rs" {
            continue;
        }
        for word in ["println!", "eprintln!", "print!(", "process::exit"] {
            assert!(!lines.iter().any(|line| line.contains(word)), "{file} says {word}");
        }
    }
}
