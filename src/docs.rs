//! Checks the generated parts of the documents: a test compares them with the program, or regenerates them.

use std::path::Path;

/// Compares the blocks of `docs/FILE`, one after the other, with `texts`. A block is between the lines
/// `<!-- generated: begin -->` and `<!-- generated: end -->`. If the environment variable `UPDATE_DOCS` is set, it
/// writes the blocks.
pub(crate) fn keep(file: &str, texts: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let (begin, end) = ("<!-- generated: begin -->\n", "<!-- generated: end -->\n");
    let document = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("docs/{file}: {error}"));
    let (mut wanted, mut rest) = (String::new(), document.as_str());
    for text in texts {
        let (before, block) = rest.split_once(begin).unwrap_or_else(|| panic!("docs/{file} lacks {begin}"));
        let (_, after) = block.split_once(end).unwrap_or_else(|| panic!("docs/{file} lacks {end}"));
        wanted += &format!("{before}{begin}\n{}\n\n{end}", text.trim());
        rest = after;
    }
    wanted += rest;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap_or_else(|error| panic!("docs/{file}: {error}"));
        return;
    }
    let (mut there, mut here) = (document.lines(), wanted.lines());
    for line in 1.. {
        match (there.next(), here.next()) {
            (None, None) => break,
            (there, here) => assert!(
                there == here,
                "docs/{file}:{line} is\n  {}\nand the program says\n  {}\n\
                 write the file with `UPDATE_DOCS=1 cargo test --release --lib docs`",
                there.unwrap_or("the end of the file"),
                here.unwrap_or("the end of the file")
            ),
        }
    }
}

/// The anchor that mdBook and code hosts derive from a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut links = 0;
    for entry in std::fs::read_dir(&docs).expect("docs") {
        let page = entry.expect("an entry").path();
        if page.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        for link in read(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { docs.join(file) };
            let inside = target.parent() == Some(docs.as_path());
            assert!(inside && target.is_file(), "{}: {link} is no file of docs/", page.display());
            let there = || read(&target).lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(heading.is_empty() || there(), "{}: {link} is no heading", page.display());
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links found");
}
