//! Commands about a run: init, show, runs, diff, clean, completions, man.

use crate::support::{Workspace, files, project};

/// Copies shipped pictures of two classes to the names that `place` returns for (class, split, number).
fn lay(workspace: &Workspace, place: impl Fn(&str, &str, usize) -> Option<String>) {
    for (split, count) in [("Training", 6), ("Test", 2)] {
        for class in ["Banana", "Lemon"] {
            let from = project().join("data/fruits").join(split).join(class);
            for (i, file) in files(&from)[..count].iter().enumerate() {
                if let Some(name) = place(class, split, i) {
                    workspace.write(&format!("pictures/{name}"), &std::fs::read(from.join(file)).expect("read"));
                }
            }
        }
    }
}

#[test]
fn init_writes_a_pipeline_that_runs_for_every_shape_of_folder() {
    type Place = fn(&str, &str, usize) -> Option<String>;
    let shapes: [(&str, &str, Place); 7] = [
        ("class folders", "16 pictures, 2 classes; a folder for each class", |c, s, i| Some(format!("{c}/{s}{i}.jpg"))),
        ("splits", "split by folder into Training/** (12) and Test/**", |c, s, i| Some(format!("{s}/{c}/{i}.jpg"))),
        ("one more folder", "split by folder into train/** (12) and test/**", |c, s, i| {
            Some(format!("images/{}/{c}/{i}.jpg", if s == "Test" { "test" } else { "train" }))
        }),
        ("three splits", "validation: val (2 pictures) is not used", |c, s, i| {
            Some(format!(
                "{}/{c}/{i}.jpg",
                if s == "Test" {
                    "test"
                } else if i == 5 {
                    "val"
                } else {
                    "train"
                }
            ))
        }),
        ("classes above splits", "split by folder into */train/** (12) and */test/**", |c, s, i| {
            Some(format!("{c}/{}/{i}.jpg", if s == "Test" { "test" } else { "train" }))
        }),
        ("flat", "no classifier", |c, s, i| Some(format!("{c}{s}{i}.jpg"))),
        ("quotes", "2 classes", |c, s, i| Some(format!("{c}'s \"#1\": [x]/{s}{i}.jpg"))),
    ];
    for (shape, said, place) in shapes {
        let workspace = Workspace::new();
        lay(&workspace, place);
        let run = workspace.call(&["init", "pictures"]).ok();
        assert!(run.stdout.contains(said), "{shape}: {}", run.stdout);
        let run = workspace.call(&["run", "pictures.yaml", "--log", "json"]).ok();
        let pictures = if shape == "three splits" { 14 } else { 16 };
        assert_eq!(run.event("summary")["extract"]["ok"], pictures, "{shape}");
        assert_eq!(run.event("summary")["evaluate"].is_null(), shape == "flat", "{shape}");
    }
}

#[test]
fn init_finds_a_table_and_overwrites_nothing() {
    let workspace = Workspace::new();
    lay(&workspace, |c, s, i| Some(format!("{c}_{s}_{i}.jpg")));
    let mut table = "path,label\n".to_string();
    for class in ["Banana", "Lemon"] {
        (0..6).for_each(|i| table += &format!("./{class}_Training_{i}.jpg , {class}\r\n"));
    }
    // the table is read by the rules of a run, with a byte order mark, spaces, and paths relative to its folder; a
    // table that a run would refuse is not used, nor is one about something else
    workspace.write("pictures/labels.csv", format!("\u{feff}{table}").as_bytes());
    workspace.write("pictures/a.csv", format!("{table}gone.jpg,Lemon,more\n").as_bytes());
    workspace.write("pictures/b.csv", b"name,price\nLemon,3\n");
    let init = |more: &[&str]| workspace.call(&[&["init", "pictures", "-o", "below/my.yaml"][..], more].concat());
    let run = init(&[]).ok();
    assert!(run.stdout.contains("12 pictures, 2 classes; named by"), "{}", run.stdout);
    assert!(run.stdout.contains("4 pictures take no part"), "{}", run.stdout);
    assert!(
        run.stdout.contains("not used: ") && run.stdout.contains("a.csv, line 14: it has 3 fields, the header has 2"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("b.csv"), "{}", run.stdout);
    let run = workspace.call(&["run", "below/my.yaml", "--log", "json"]).ok();
    assert_eq!(run.event("summary")["extract"]["ok"], 12);
    workspace.write("below/my.yaml", b"mine");
    let again = init(&[]);
    assert_eq!((again.code, workspace.read("below/my.yaml").as_slice()), (Some(2), &b"mine"[..]));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    init(&["--force"]).ok();
    assert_ne!(workspace.read("below/my.yaml"), b"mine");
    workspace.call(&["init", "gone"]).ended(2, &[]);
    std::fs::create_dir(workspace.path("empty")).expect("created");
    workspace.call(&["init", "empty"]).ended(2, &["no picture below"]);
}

#[test]
fn runs_are_shown_listed_and_compared() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("runs/one", &[]).ok();
    workspace.run("runs/deep/two", &["--set", "reduce.pca.components=3"]).ok();
    workspace.write("runs/no run/run.json", b"{}");
    let shown = workspace.call(&["show", "runs/one"]).ok().stdout;
    for part in [
        "three in runs/one",
        "18 ok, 0 failed",
        "1280 per image",
        "on 6 test images",
        "features/ (",
        "mlp.safetensors",
        "reduce.pca.components=6",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("activation"), "defaults are not told: {shown}");
    let json = workspace.call(&["show", "runs/one", "--json"]).ok().json();
    assert_eq!((json["name"].as_str(), json["run"]["extract"]["ok"].as_u64()), (Some("three"), Some(18)));
    let table = workspace.call(&["show", "runs/one/features/part-00000.parquet", "-n", "1"]).ok().stdout;
    for part in ["1283 columns", "… 1275 more", "featurize.model", "efficientnet_lite0_avg_1279  Float32"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let runs = workspace.call(&["runs", "--json"]).ok().json_lines();
    let folders: Vec<&str> = runs.iter().filter_map(|run| run["dir"].as_str()).collect();
    assert_eq!(folders, ["runs/deep/two", "runs/one"], "the newest first");
    assert!(runs.iter().all(|run| run["images"] == 18 && run["accuracy"].is_f64()), "{runs:?}");
    assert!(workspace.call(&["runs"]).ok().stdout.contains("runs/deep/two"));
    let diff = workspace.call(&["diff", "runs/one", "runs/deep/two"]).ok().stdout;
    assert!(diff.contains("reduce.pca.components: 6 → 3\nresult"), "{diff}");
    let same = workspace.call(&["diff", "runs/one", "runs/one"]).ok().stdout;
    assert!(same.contains("  the same") && same.contains("(+0.00 points, on test)"), "{same}");
    let diff = workspace.call(&["diff", "runs/one", "runs/deep/two", "--json"]).ok().json();
    assert_eq!(diff["settings"][0]["after"], "3");
    for wrong in [
        &["show", "gone"][..],
        &["show", "pictures"],
        &["diff", "runs/one", "pictures"],
        &["runs", "gone"],
        &["clean", "pictures"],
    ] {
        workspace.call(wrong).ended(2, &[]);
    }
}

#[test]
fn clean_tells_first_and_deletes_only_what_is_the_runs_own() {
    let workspace = Workspace::after_run(3, 1);
    let told = workspace.call(&["clean", "out", "--all"]).ok().stdout;
    assert!(told.contains("would go; `--yes` deletes them"), "{told}");
    assert!(workspace.path("out/features/part-00000.parquet").is_file());
    workspace.write("out/features/mine.parquet", b"mine");
    workspace.write("elsewhere.txt", b"kept");
    // a manipulated record does not lead to files outside of the run
    let record = workspace.text("out/.store/report.json");
    workspace.write("out/.store/report.json", record.replace("report.html", "../elsewhere.txt").as_bytes());
    workspace.call(&["clean", "out", "--features", "--yes"]).ok();
    assert!(!workspace.path("out/features/part-00000.parquet").exists());
    let predicted = workspace.call(&["predict", "out", "pictures/Test/Banana", "--top", "1"]).ok().stdout;
    assert!(predicted.contains(".jpg"), "the classifier is still there: {predicted}");
    workspace.call(&["clean", "out", "--all", "--yes"]).ok();
    assert_eq!(files(&workspace.path("out")), ["features/mine.parquet"]);
    assert!(workspace.path("elsewhere.txt").is_file() && workspace.path("pictures/Test/Banana").is_dir());
    // a run creates only the folders that it needs, and `clean` removes them
    workspace.run("part", &["--until", "extract"]).ok();
    assert!(!workspace.path("part/classifier").exists());
    std::fs::create_dir(workspace.path("part/classifier")).expect("as runs of before did");
    let told = workspace.call(&["clean", "part", "--all", "--yes"]).ok().stdout;
    assert!(!workspace.path("part").exists() && !told.contains("they stay"), "{told}");
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    let workspace = Workspace::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = workspace.call(&["completions", shell]).ok().stdout;
        assert!(text.contains("predict") && text.contains("retry-failed"), "{shell}");
    }
    assert!(workspace.call(&["man"]).ok().stdout.contains(".TH featurize 1"));
    workspace.call(&["man", "man1"]).ok();
    for (page, part) in [("featurize-run.1", "retry\\-failed"), ("featurize-weights-fetch.1", "vgg16")] {
        let text = workspace.text(&format!("man1/{page}"));
        assert!(text.contains(part), "{page}: {text}");
    }
}

#[test]
fn embed_writes_the_numbers_of_a_run_and_the_good_pictures_of_bad_ones() {
    let workspace = Workspace::with_fruits(3, 1);
    workspace.run("out", &["--until", "extract", "--set", "extract.shard_rows=100"]).ok();
    workspace.write("pictures/broken.jpg", b"no picture");
    for (layout, threads) in [("wide", "1"), ("array", "3")] {
        let arguments = ["embed", "pictures", "-o", "e.parquet", "--layout", layout, "--threads", threads];
        workspace.call(&arguments).ended(1, &["pictures/broken.jpg: not_an_image"]);
        let shown = |file: &str| workspace.call(&["show", file, "-n", "99", "--json"]).ok().json();
        let (ours, theirs) = (shown("e.parquet"), shown("out/features/part-00000.parquet"));
        assert_eq!(ours["rows"], 12);
        if layout == "wide" {
            let rows = ours["head"].as_array().expect("rows").iter().zip(theirs["head"].as_array().expect("rows"));
            for (a, b) in rows {
                for column in ["efficientnet_lite0_avg_0001", "efficientnet_lite0_avg_1279"] {
                    assert_eq!(a[column], b[column], "{}", a["path"]);
                }
                assert_eq!(a["path"], format!("pictures/{}", b["path"].as_str().expect("a path")));
            }
        }
        assert_eq!(ours["metadata"]["featurize.recipe"], theirs["metadata"]["featurize.recipe"]);
    }
    workspace.call(&["embed", "pictures", "-o", "x.parquet", "--layer", "bn22"]).ended(2, &["did you mean `bn2`"]);
    workspace
        .call(&["embed", "pictures", "-o", "x.parquet", "--set", "runtime.device=cuda:0"])
        .ended(2, &["`--set runtime.device` means nothing to `embed`"]);
    workspace.call(&["embed", "pictures/Test", "-o", "h.parquet", "--set", "output.dtype=f16"]).ok();
    let halves = workspace.call(&["show", "h.parquet"]).ok().stdout;
    assert!(halves.contains("efficientnet_lite0_avg_1279  Float16"), "{halves}");
}

/// Names of files and classes with control characters and escape sequences, through every command that prints names.
#[cfg(unix)]
#[test]
fn no_name_steers_the_terminal() {
    const CLASS: &str = "Ba\nna\u{1b}[31mna";
    let workspace = Workspace::with_fruits(3, 1);
    for split in ["Training", "Test"] {
        let at = |class: &str| workspace.path(&format!("pictures/{split}/{class}"));
        std::fs::rename(at("Banana"), at(CLASS)).expect("renamed");
    }
    workspace.write("pictures/Test/Lemon/\u{1b}]0;title\u{7}\nbad.jpg", b"no picture");
    workspace.run("runs/a\n\u{1b}[1mb", &[]).ok();
    let run = "runs/a\n\u{1b}[1mb";
    let features = format!("{run}/features/part-00000.parquet");
    for arguments in [
        &["predict", run, "pictures/Test"][..],
        &["similar", run, "pictures/Test", "-k", "2"],
        &["embed", "pictures/Test", "-o", "e.parquet"],
        &["show", run],
        &["show", &features],
        &["runs"],
        &["diff", run, run],
        &["clean", run, "--all"],
        &["init", "pictures", "-o", "i.yaml"],
        &["plan", "pipeline.yaml", "--out", run],
        &["run", "pipeline.yaml", "--out", run],
        &["run", "pipeline.yaml", "--out", run, "--force", "scan", "--log", "json"],
    ] {
        let run = workspace.call(arguments);
        let text = run.stdout + &run.stderr;
        assert!(!text.is_empty(), "{arguments:?}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{arguments:?}: {text:?}");
        assert!(
            !text.lines().any(|line| ["na\\u", "\\u", "bad.jpg"].iter().any(|rest| line.starts_with(rest))),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn plan_tells_what_is_done_and_what_is_not() {
    let workspace = Workspace::with_fruits(4, 2);
    let scanned = |text: &str| {
        let said = workspace.call(&["plan", "pipeline.yaml", "--out", "out"]).ok().stdout;
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix("scan ")).map(str::trim);
        assert_eq!(line, Some(text), "{said}");
        said
    };
    assert!(!scanned("to run: it never finished").contains("done"));
    assert!(!workspace.path("out").exists(), "it writes nothing");
    workspace.run("out", &[]).ok();
    assert!(!scanned("done").contains("to run"));
    workspace.write("pictures/Training/Lemon/more.jpg", &workspace.read("pictures/Test/Lemon/0_0_100.jpg"));
    assert!(scanned("to run: its input changed").contains(" to compute ("));
}

#[test]
fn similar_finds_the_kind_and_not_the_picture_itself() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &["--until", "extract"]).ok();
    let query = "pictures/Test/Lemon/0_0_100.jpg";
    let run = workspace.call(&["similar", "out", query, "-k", "3", "--json", "--sheet", "s.png"]).ok();
    let found = run.json();
    let found = found["similar"].as_array().expect("a list");
    assert_eq!(found.len(), 3);
    for one in found {
        assert_eq!(one["label"], "Lemon", "{}", run.stdout);
        assert!(!query.ends_with(one["path"].as_str().expect("a path")), "{}", run.stdout);
        assert!((0.5..=1.0).contains(&one["cosine"].as_f64().expect("a number")));
    }
    assert!(workspace.read("s.png").starts_with(b"\x89PNG"));
    // for a copy of a picture of the run, that picture is found with similarity 1
    workspace.write("copy.jpg", &workspace.read(query));
    let copy = workspace.call(&["similar", "out", "copy.jpg", "-k", "1", "--split", "test"]).ok().stdout;
    assert!(copy.contains("1.0000  Lemon  Test/Lemon/"), "{copy}");
    let bad = workspace.call(&["similar", "out", "copy.jpg", "pipeline.yaml", "-k", "1", "--split", "train"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stdout.contains("Training/") && bad.stderr.contains("not_an_image"), "{}{}", bad.stdout, bad.stderr);
    workspace.call(&["similar", "pictures", "copy.jpg"]).ended(2, &[]);
}
