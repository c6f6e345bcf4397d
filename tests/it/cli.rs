//! The command line: its output, the streams that it writes to, and its exit codes.

use crate::support::{self, Run, Workspace, project, set};

fn call(arguments: &[&str]) -> Run {
    support::call(project(), arguments)
}

#[test]
fn every_command_has_help_with_an_example() {
    let whole = call(&["--help"]).ok().stdout;
    for command in subcommands(&whole) {
        let help = call(&[command, "--help"]).ok().stdout;
        assert!(help.contains("Example") && help.contains(&format!("featurize {command}")), "{command}: {help}");
        assert!(!["predict", "classify"].contains(&command) || help.contains("exit code is 1"), "{help}");
    }
    assert!(whole.contains("Example") && whole.contains("featurize "), "{whole}");
}

/// The commands in a help text, each at the beginning of a line.
fn subcommands(help: &str) -> Vec<&str> {
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn the_readme_names_every_command() {
    let readme = std::fs::read_to_string(project().join("README.md")).expect("README");
    let section =
        readme.split("\n## Commands\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let words: Vec<&str> = section.split([' ', '`', ',', '|']).collect();
    let help = call(&["--help"]).ok().stdout;
    for command in subcommands(&help) {
        assert!(words.contains(&command), "README.md does not name `{command}`");
    }
}

#[test]
fn the_keys_beside_the_notebooks_cells_are_keys() {
    let readme = std::fs::read_to_string(project().join("README.md")).expect("README");
    let table: Vec<&str> = readme.lines().skip_while(|line| !line.starts_with("| the notebook")).collect();
    let table = table.into_iter().take_while(|line| line.starts_with('|'));
    let schema: serde_json::Value = serde_json::from_str(&call(&["schema"]).ok().stdout).expect("JSON");
    let sections = schema["properties"].as_object().expect("sections");
    let mut keys = 0;
    for cell in table.filter_map(|line| line.trim_end_matches('|').rsplit(" | ").next()) {
        for code in cell.split('`').skip(1).step_by(2) {
            let key = code.split(':').next().filter(|key| !key.ends_with(".html"));
            let Some((section, key)) = key.and_then(|key| key.split_once('.')) else { continue };
            let Some(section) = sections.get(section) else { continue };
            let section = match section["$ref"].as_str().or(section["anyOf"][0]["$ref"].as_str()) {
                Some(reference) => schema.pointer(reference.trim_start_matches('#')).expect("defined"),
                None => section,
            };
            assert!(section["properties"].get(key).is_some(), "{code} is no key");
            keys += 1;
        }
    }
    assert!(keys >= 5, "{keys} keys found");
}

#[test]
fn schema_prints_what_ships() {
    let shipped = std::fs::read_to_string(project().join("pipelines/featurize.schema.json")).expect("shipped");
    assert!(call(&["schema"]).ok().stdout == shipped, "see the test `the_shipped_schema_is_this_one`");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    call(&["rnu"]).ended(2, &[]);
    let run = call(&["run", "x.yaml", "--until", "nothing"]);
    run.ended(2, &["scan, extract, select"]);
    call(&["run", "no such file.yaml"]).ended(2, &["no such file.yaml"]);
}

#[test]
fn errors_of_the_yaml_name_line_column_and_a_hint() {
    let workspace = Workspace::with_fruits(1, 1);
    let cases = [
        ("extract:\n  model: efficientnet_lit0\n", ":4:10", "did you mean `efficientnet_lite0`"),
        ("extract:\n  modle: x\n", ":4:3", "did you mean `model`?"),
        ("extract:\n  layer: bn22\n", ":4:10", "did you mean `bn2`?"),
        ("extract:\n  shard_rows: many\n", ":4:15", "shard_rows"),
        ("extract:\n  weights: gone.safetensors\n", ":4:12", "there is no file"),
        ("extract:\n  weights: ./pictures\n", ":4:12", "is a folder; give the file of weights that is in it"),
    ];
    for (text, place, hint) in cases {
        let yaml = format!("version: 1\ninput: {{root: pictures}}\n{text}");
        workspace.write("pipeline.yaml", yaml.as_bytes());
        workspace.run("out", &[]).ended(2, &[&format!("pipeline.yaml{place}"), hint]);
    }
}

#[test]
fn plan_says_what_is_there_and_why_the_rest_is_not() {
    let workspace = Workspace::with_fruits(3, 1);
    let plan = |sets: &[&str]| {
        workspace.call(&[vec!["plan", "pipeline.yaml", "--out", "out"], set(sets)].concat()).ok().stdout
    };
    let before = plan(&[]);
    assert!(before.contains("2 of 2 shards to compute (12 images)"), "{before}");
    assert!(!workspace.path("out").exists(), "plan writes nothing");
    workspace.run("out", &[]).ok();
    let line = |text: &str, stage: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(stage));
        found.unwrap_or_else(|| panic!("no {stage} in {text}")).to_string()
    };
    let after = plan(&[]);
    for stage in ["extract ", "select ", "reduce ", "train ", "evaluate ", "compare ", "report "] {
        assert!(line(&after, stage).ends_with("done"), "{after}");
    }
    let changed = plan(&["reduce.pca.components=3"]);
    assert!(line(&changed, "extract ").ends_with("done"), "{changed}");
    assert!(line(&changed, "reduce ").contains("its settings changed"), "{changed}");
    assert!(line(&changed, "train ").contains("since reduce runs"), "{changed}");
    std::fs::remove_file(workspace.path("out/metrics.json")).expect("removed");
    assert!(line(&plan(&[]), "evaluate ").contains("metrics.json is gone or changed"));
    workspace.write("pictures/Training/Lemon/zz.jpg", b"new");
    let new = plan(&[]);
    assert!(line(&new, "extract ").contains("its input changed"), "{new}");
}

#[test]
fn quiet_is_quiet_and_plain_lines_are_plain() {
    let workspace = Workspace::with_fruits(2, 1);
    let run = |more: &[&str]| workspace.call(&[&["run", "pipeline.yaml", "--out", "out"], more].concat()).ok();
    let quiet = run(&["-q"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.contains("extract")), ("", false), "{}", quiet.stderr);
    let plain = run(&["--force", "extract"]);
    assert!(plain.stderr.contains("extract   9 images × 1280 features"), "{}", plain.stderr);
    assert!(!plain.stderr.contains('\x1b') && !plain.stdout.contains('\x1b'));
    let json = run(&["--log", "json"]);
    assert!(json.stderr.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{}", json.stderr);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    if cfg!(any(feature = "cuda", feature = "metal")) {
        return;
    }
    let workspace = Workspace::with_fruits(1, 1);
    workspace.run("out", &["--set", "runtime.device=cuda:0"]).ended(1, &["cuda:0", "--features cuda"]);
}
