//! Outputs that the user names, and standard output: links, pipes, inputs, full disks, closed pipes.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Run, Workspace, call, featurize, project};

/// A picture of the test split.
const PICTURE: &str = "pictures/Test/Lemon/0_0_100.jpg";

/// Every command that writes a file named by the user: the arguments before the name, the extension, the first bytes.
const NAMED: [(&[&str], &str, &[u8]); 8] = [
    (&["embed", "pictures/Test", "-o"], "parquet", b"PAR1"),
    (&["embed", "pictures/Test", "-o"], "csv", b"path,efficientnet_lite0_avg_0000,"),
    (&["predict", "out", "pictures/Test", "--parquet"], "parquet", b"PAR1"),
    (&["predict", "out", "pictures/Test", "--annotate"], "png", b"\x89PNG"),
    (&["classify", "pictures/Test", "--plot"], "png", b"\x89PNG"),
    (&["classify", "pictures/Test", "--plot"], "svg", b"<svg"),
    (&["similar", "out", "pictures/Test", "-k", "1", "--sheet"], "png", b"\x89PNG"),
    (&["init", "pictures", "--force", "-o"], "yaml", b"#"),
];

#[cfg(unix)]
#[test]
fn links_stay_pipes_stay_and_pictures_stay() {
    use std::os::unix::fs::FileTypeExt;
    let workspace = Workspace::after_run(3, 1);
    for (words, ending, begins) in NAMED {
        let write = |name: &str, more: &[&str]| workspace.call(&[words, &[name], more].concat());
        let (target, link) = (format!("far/t.{ending}"), format!("link.{ending}"));
        workspace.write(&target, b"old");
        std::fs::remove_file(workspace.path(&link)).ok();
        std::os::unix::fs::symlink(workspace.path(&target), workspace.path(&link)).expect("link");
        write(&link, &[]).ok();
        assert!(workspace.path(&link).is_symlink(), "{words:?}");
        assert!(workspace.read(&target).starts_with(begins), "{words:?} {ending}");

        let pipe = format!("pipe.{ending}");
        if !workspace.path(&pipe).exists() {
            let made = std::process::Command::new("mkfifo").arg(workspace.path(&pipe)).status().expect("mkfifo");
            assert!(made.success());
        }
        let reader = std::thread::spawn({
            let path = workspace.path(&pipe);
            move || std::fs::read(path).expect("read")
        });
        write(&pipe, &[]).ok();
        assert!(std::fs::symlink_metadata(workspace.path(&pipe)).expect("there").file_type().is_fifo(), "{words:?}");
        assert!(reader.join().expect("ended").starts_with(begins), "{words:?} {ending}");

        // a picture that is read, by its own name and by a link with the extension of the output
        let before = workspace.read(PICTURE);
        let alias = format!("alias.{ending}");
        std::fs::remove_file(workspace.path(&alias)).ok();
        std::os::unix::fs::symlink(workspace.path(PICTURE), workspace.path(&alias)).expect("link");
        for name in [PICTURE, &alias] {
            write(name, &[]).ended(2, &[]);
            assert_eq!(workspace.read(PICTURE), before, "{words:?} {name}");
        }
        write(&alias, &[]).ended(2, &[&alias, "--overwrite"]);
    }
    let [embed, ..] = NAMED;
    workspace.call(&[embed.0, &["alias.parquet", "--overwrite"]].concat()).ok();
    assert!(workspace.read(PICTURE).starts_with(b"PAR1"));
}

#[test]
fn files_of_runs_and_of_another_kind_are_refused_and_those_of_the_same_kind_are_not() {
    let workspace = Workspace::after_run(3, 1);
    let refused = |arguments: &[&str], file: &str| {
        let before = workspace.read(file);
        workspace.call(arguments).ended(2, &["--overwrite"]);
        assert_eq!(workspace.read(file), before, "{arguments:?}");
    };
    let part = "out/features/part-00000.parquet";
    refused(&["predict", "out", "pictures/Test", "--parquet", part], part);
    refused(&["predict", "out", "pictures/Test", "--parquet", "out/report.html"], "out/report.html");
    workspace.write("notes.md", b"what I thought");
    refused(&["predict", "out", "pictures/Test", "--parquet", "notes.md"], "notes.md");
    workspace.write(
        "w.parquet",
        &std::fs::read(project().join("tests/golden/efficientnet_lite0.safetensors")).expect("shipped"),
    );
    refused(&["embed", "pictures/Test", "-o", "w.parquet"], "w.parquet");
    refused(&["init", "pictures", "-o", "w.parquet", "--force"], "w.parquet");
    for _ in 0..2 {
        workspace.call(&["embed", "pictures/Test", "-o", "e.parquet"]).ok();
        workspace.call(&["predict", "out", "pictures/Test", "--parquet", "p.parquet"]).ok();
    }
}

#[test]
fn copies_never_replace_pictures_that_were_not_drawn_here() {
    let workspace = Workspace::with_fruits(3, 1);
    let bytes = workspace.read(PICTURE);
    // another picture of the same name, in a folder that is not read
    workspace.write("mine/0_0_100.jpg", &bytes);
    let annotate =
        |more: &[&str]| workspace.call(&[&["classify", PICTURE, "--annotate", "mine", "--top", "1"], more].concat());
    annotate(&[]).ended(2, &["featurize did not draw", "--overwrite"]);
    assert_eq!(workspace.read("mine/0_0_100.jpg"), bytes);
    annotate(&["--overwrite"]).ok();
    let drawn = workspace.read("mine/0_0_100.jpg");
    assert_ne!(drawn, bytes);
    // featurize may replace its own drawings
    annotate(&[]).ok();
    assert_eq!(workspace.read("mine/0_0_100.jpg"), drawn);
    // `--plot *.png`: the shell makes the first picture the name of the figure
    workspace.write("shots/a.png", &std::fs::read(project().join("tests/golden/pictures/small.png")).expect("shipped"));
    workspace.write("shots/b.png", &workspace.read("shots/a.png"));
    call(&workspace.path("shots"), &["classify", "--plot", "a.png", "b.png"]).ended(2, &[]);
    assert_eq!(workspace.read("shots/a.png"), workspace.read("shots/b.png"));
    call(&workspace.path("shots"), &["classify", "--plot", "top.png", "b.png"]).ok();
    call(&workspace.path("shots"), &["classify", "--plot", "top.png", "b.png"]).ok();
}

#[test]
fn a_dash_is_standard_output() {
    let workspace = Workspace::after_run(3, 1);
    for (words, ending, begins) in NAMED {
        let output = featurize().current_dir(workspace.path("")).args(words).arg("-").output().expect("started");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        if ending == "csv" || ending == "svg" {
            continue; // `-` has no extension: Parquet and PNG only
        }
        assert!(output.stdout.starts_with(begins), "{words:?}");
        if ending != "yaml" {
            let file = format!("same.{ending}");
            std::fs::remove_file(workspace.path(&file)).ok();
            workspace.call(&[words, &[&file]].concat()).ok();
            assert_eq!(workspace.read(&file), output.stdout, "{words:?}");
        }
    }
    assert!(!workspace.path("-").exists());
    workspace.call(&["classify", "pictures/Test", "--plot", "-", "--annotate", "-"]).ended(2, &[]);
}

/// Commands that print, and one that writes a table to standard output.
const PRINTING: [&[&str]; 24] = [
    &["predict", "out", "pictures/Test", "--csv"],
    &["predict", "out", "pictures/Test", "--json"],
    &["predict", "out", "pictures/Test"],
    &["classify", "pictures/Test", "--json"],
    &["similar", "out", "pictures/Test"],
    &["similar", "out", "pictures/Test", "--json"],
    &["embed", "pictures/Test", "-o", "-"],
    &["models", "list"],
    &["models", "show", "resnet50"],
    &["weights", "list"],
    &["show", "out"],
    &["show", "out/features/part-00000.parquet"],
    &["runs", "."],
    &["diff", "out", "out"],
    &["clean", "out"],
    &["plan", "pipeline.yaml", "--out", "out"],
    &["run", "pipeline.yaml", "--out", "out"],
    &["init", "pictures", "-o", "new.yaml", "--force"],
    &["schema"],
    &["completions", "bash"],
    &["man"],
    &["--help"],
    &["run", "--help"],
    &["--version"],
];

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error_of_every_command() {
    let workspace = Workspace::after_run(3, 1);
    for words in PRINTING {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
        let mut command = featurize();
        command.current_dir(workspace.path("")).args(words).stdout(Stdio::from(full)).stderr(Stdio::piped());
        Run::of(command.spawn().expect("started").wait_with_output().expect("ended"))
            .ended(1, &["No space left", "standard output"]);
    }
    // both streams are full, so the error cannot be printed; the program must not panic
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("opened"));
    let mut command = featurize();
    command.current_dir(workspace.path("")).args(["predict", "out", "gone.jpg"]).stdout(full()).stderr(full());
    assert_eq!(command.status().expect("ended").code(), Some(1));
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_no_error() {
    let workspace = Workspace::after_run(3, 1);
    for words in PRINTING {
        let mut command = featurize();
        command.current_dir(workspace.path("")).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        drop(child.stdout.take());
        let run = Run::of(child.wait_with_output().expect("ended"));
        run.ended(0, &[]);
        assert!(!run.stderr.contains("error") && !run.stderr.contains("panicked"), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn embed_writes_csv_by_its_ending_and_its_table_in_pieces() {
    let workspace = Workspace::with_fruits(3, 1);
    workspace.call(&["embed", "pictures", "-o", "e.parquet", "--set", "extract.shard_rows=5", "-q"]).ok();
    workspace.call(&["embed", "pictures", "-o", "e.CSV", "--set", "extract.shard_rows=5"]).ok();
    let shown = workspace.call(&["show", "e.parquet", "-n", "99", "--json"]).ok().json();
    assert_eq!((shown["rows"].as_u64(), shown["row_groups"].as_u64()), (Some(12), Some(3)), "12 rows, 5 at a time");
    let csv = workspace.text("e.CSV");
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    assert_eq!((header.len(), header[0], header[1280]), (1281, "path", "efficientnet_lite0_avg_1279"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 12);
    for (row, shown) in rows.iter().zip(shown["head"].as_array().expect("rows")) {
        assert_eq!(row[0], shown["path"]);
        for column in [1, 2, 1280] {
            let (ours, theirs) = (row[column], shown[header[column]].as_str().expect("text"));
            assert_eq!(ours.parse::<f32>().map(f32::to_bits), theirs.parse::<f32>().map(f32::to_bits), "{}", row[0]);
        }
    }
    workspace.call(&["embed", "pictures", "-o", "e.npz"]).ended(2, &[".npz", ".parquet", ".csv"]);
    workspace
        .call(&["embed", "pictures", "-o", "a.csv", "--layout", "array"])
        .ended(2, &["CSV has no column of lists"]);
}

#[test]
fn similar_draws_a_row_a_query_and_as_many_sheets_as_it_takes() {
    let workspace = Workspace::with_fruits(3, 2);
    workspace.run("out", &["--until", "extract"]).ok();
    workspace.call(&["similar", "out", "pictures", "-k", "2", "--sheet", "s.png"]).ok();
    // 15 queries, six rows on a sheet
    let height = |name: &str| {
        let bytes = workspace.read(name);
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
        u32::from_be_bytes([bytes[20], bytes[21], bytes[22], bytes[23]])
    };
    let heights = ["s.png", "s-2.png", "s-3.png"].map(height);
    assert!(!workspace.path("s-4.png").exists());
    assert!(heights[0] == heights[1] && heights[2] < heights[0] && heights[0] < 5000, "{heights:?}");
    workspace.call(&["similar", "out", "pictures", "-k", "2", "--sheet", "-"]).ended(2, &["takes one"]);
    workspace.call(&["similar", "out", "pictures", "-k", "999", "--sheet", "t.png"]).ended(2, &["120"]);
}

#[test]
fn errors_are_json_where_the_log_is() {
    let workspace = Workspace::with_fruits(2, 1);
    workspace.write("wrong.yaml", b"version: 1\ninput: {root: pictures, rot: 1}\n");
    for (arguments, part, code) in [
        (&["run", "wrong.yaml", "--log", "json"][..], "rot", 2),
        (&["run", "gone.yaml", "--log=json"], "gone.yaml", 2),
        (&["run", "pipeline.yaml", "--log", "json", "--never"], "--never", 2),
        (&["run", "pipeline.yaml", "--log", "json", "--set", "input.root=nowhere"], "nowhere", 1),
    ] {
        let run = workspace.call(arguments);
        let lines: Vec<Value> =
            run.stderr.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
        let last = lines.last().expect("a line");
        assert_eq!(last["level"], "error", "{}", run.stderr);
        assert!(last["message"].as_str().is_some_and(|text| text.contains(part)), "{}", run.stderr);
        assert_eq!(last["exit_code"], run.code.expect("ended"), "{arguments:?}");
        assert!(run.code == Some(code) || code == 1, "{arguments:?}: {:?}", run.code);
    }
}

#[test]
fn a_run_until_scan_says_what_it_listed() {
    let workspace = Workspace::with_fruits(3, 1);
    let until = |out: &str| {
        let arguments = ["run", "pipeline.yaml", "--out", out, "--until", "scan"];
        workspace.call(&arguments).ok().stdout
    };
    let fresh = until("fresh");
    assert!(fresh.starts_with("three: listed in ") && !fresh.contains("nothing to do"), "{fresh}");
    assert!(fresh.contains("12 listed: 9 train, 3 test, 3 classes"), "{fresh}");
    let again = until("fresh");
    assert!(again.contains("nothing to do") && again.contains("12 listed"), "{again}");
}

#[test]
fn the_summary_says_where_failed_pictures_are_named() {
    let workspace = Workspace::with_fruits(4, 1);
    let run = |more: &[&str]| {
        let arguments = [&["run", "pipeline.yaml", "--out", "out", "--set", "input.max_bad_fraction=0.5"][..], more];
        workspace.call(&arguments.concat()).ok().stdout
    };
    assert!(!run(&[]).contains("with their reasons"));
    workspace.write("pictures/Training/Lemon/broken.jpg", b"no picture");
    let told = run(&[]);
    assert!(told.contains("1 failed (1 not_an_image)"), "{told}");
    assert!(
        told.contains("  failed      manifest.parquet names them with their reasons, and `Left out` in the report"),
        "{told}"
    );
    let told = run(&["--until", "extract"]);
    assert!(told.contains("with their reasons\n"), "{told}");
}

#[test]
fn lines_of_stages_name_what_they_count() {
    let workspace = Workspace::with_fruits(4, 1);
    let line = |out: &str, stage: &str, more: &[&str]| {
        let run = workspace.call(&[&["run", "pipeline.yaml", "--out", out][..], more].concat()).ok();
        let line = run.stderr.lines().find(|line| line.starts_with(stage)).map(str::to_string);
        line.unwrap_or_else(|| panic!("no {stage} in {}", run.stderr))
    };
    assert!(line("out", "reduce", &[]).starts_with("reduce    6 components, explaining "));
    let one = line("out", "reduce", &["--set", "reduce.pca.components=1"]);
    assert!(one.starts_with("reduce    1 component, explaining "), "{one}");
    let scaled = line("out", "reduce", &["--set", "reduce={scale: standard}"]);
    assert!(scaled.contains(" columns, columns scaled to variance 1"), "{scaled}");
    let logistic = line("out", "train", &["--set", "train={logistic: {}}"]);
    assert!(logistic.contains(" iteration") && !logistic.contains("epoch"), "{logistic}");
}

#[test]
fn show_has_the_keys_of_the_yaml() {
    let workspace = Workspace::with_fruits(4, 0);
    let split = "input.split={fraction: 0.3, seed: 5}";
    workspace.run("out", &["--until", "extract", "--set", split, "--set", "input.label=parent"]).ok();
    let shown = workspace.call(&["show", "out"]).ok().stdout;
    assert!(shown.contains("input.split.fraction=0.3") && shown.contains("input.split.seed=5"), "{shown}");
    assert!(!shown.contains("fraction.fraction"), "{shown}");
}

#[test]
fn unknown_networks_are_answered_with_those_that_there_are() {
    let workspace = Workspace::with_fruits(2, 1);
    for arguments in [
        &["classify", "pictures", "--model", "resnet5"][..],
        &["embed", "pictures", "-o", "e.parquet", "--model", "resnet5"],
        &["run", "pipeline.yaml", "--set", "extract.model=resnet5"],
        &["models", "show", "resnet5"],
        &["weights", "fetch", "resnet5"],
        &["weights", "list", "--model", "resnet5"],
        &["bench", "--model", "resnet5"],
    ] {
        workspace.call(arguments).ended(2, &["`featurize models list`", "did you mean `resnet50`", "`? `featurize"]);
    }
}

#[test]
fn weights_have_a_size_before_they_are_fetched() {
    let workspace = Workspace::new();
    let store = workspace.path("store").to_string_lossy().into_owned();
    let list = |more: &[&str]| {
        let mut command = featurize();
        command.envs(["HF_HUB_CACHE", "TORCH_HOME", "KERAS_HOME"].map(|name| (name, &store)));
        let output = command.args(["weights", "list", "--weights-dir", &store]).args(more).output();
        Run::of(output.expect("started")).ok().stdout
    };
    let lines: Vec<Value> = list(&["--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let about = |file: &str| {
        let line = lines.iter().find(|line| line["file"] == file).unwrap_or_else(|| panic!("{file}"));
        line["about_bytes"].as_f64().expect("a number")
    };
    // sizes of the published files
    for (file, bytes) in [
        ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", 553_467_096.0),
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", 58_889_256.0),
        ("resnet50_weights_tf_dim_ordering_tf_kernels.h5", 102_967_424.0),
    ] {
        let share = about(file) / bytes;
        assert!((0.99..1.01).contains(&share), "{file}: {share}");
    }
    assert!(lines.iter().all(|line| line["about_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000)));
    let text = list(&["--model", "vgg16"]);
    assert!(text.contains("~553.4 MB") && text.contains("~58.9 MB"), "{text}");
}
