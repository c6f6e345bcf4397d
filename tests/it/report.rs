//! The report of a real run: the parts that differ between two runs over the same pictures, and the command that
//! repeats it.

use crate::support::{Run, Workspace};

/// `html` without the elements of class `time`.
fn without_times(html: &str) -> String {
    let mut rest = html;
    let mut kept = String::new();
    while let Some(at) = rest.find("class=\"time\"") {
        let start = rest[..at].rfind('<').expect("an element");
        let name = rest[start + 1..].split([' ', '>']).next().expect("a name");
        let end = format!("</{name}>");
        kept += &rest[..start];
        rest = &rest[start..][rest[start..].find(&end).expect("an end") + end.len()..];
    }
    kept + rest
}

/// The text of HTML, without its entities.
fn text(html: &str) -> String {
    let entities = [("&#x2f;", "/"), ("&#x27;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    entities.into_iter().fold(html.to_string(), |html, (entity, c)| html.replace(entity, c))
}

/// The content of the first `<code>` after `mark`.
fn code(html: &str, mark: &str) -> String {
    let (_, rest) = html.split_once(mark).unwrap_or_else(|| panic!("no {mark}"));
    let (_, rest) = rest.split_once("<code>").expect("code");
    text(rest.split_once("</code>").expect("an end").0)
}

#[test]
fn a_report_made_anew_differs_in_its_times_alone() {
    let workspace = Workspace::with_fruits(4, 2);
    let report = || {
        workspace.run("out", &[]).ok();
        let html = workspace.text("out/report.html");
        std::fs::remove_dir_all(workspace.path("out")).expect("removed");
        html
    };
    let (one, other) = (report(), report());
    assert_eq!(without_times(&one), without_times(&other));
    assert_eq!(one.matches("class=\"time\"").count(), 2);
    assert!(one.contains("<time datetime=\"20") && !without_times(&one).contains("<time"));
}

#[cfg(unix)]
#[test]
fn the_report_has_the_yaml_and_the_command_that_make_it_again() {
    let workspace = Workspace::with_fruits(4, 2);
    let yaml = workspace.text("pipeline.yaml") + "# it's <mine> & \"yours\"\n";
    workspace.write("pipeline.yaml", yaml.as_bytes());
    workspace.run("out it's", &["--set", "reduce.pca={components: 4}"]).ok();
    let html = workspace.text("out it's/report.html");
    assert_eq!(code(&html, "<pre tabindex"), yaml.trim_end());
    let command = code(&html, "<pre class=\"whole\"");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_featurize")).parent().expect("a folder").to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program].into_iter().chain(std::env::split_paths(&path))).expect("a path");
    let mut shell = std::process::Command::new("sh");
    let run = Run::of(shell.args(["-c", &command]).env("PATH", path).output().expect("a shell")).ok();
    assert!(run.stdout.contains("nothing to do"), "{command}\n{}", run.stdout);
}
