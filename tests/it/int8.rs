//! `extract.precision: int8` in the commands.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::cluster::{done, extract};
use crate::support::{Workspace, distance, files, project};

const INT8: [&str; 4] = ["--set", "extract.precision=int8", "--set", "extract.calibration=12"];
const RANGES: &str = "classifier/ranges.safetensors";

#[test]
fn int8_is_near_f32_and_the_same_on_every_kernel_and_thread() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("f32", &[]).ok();
    workspace.run("one", &[&INT8[..], &["--set", "runtime.threads=1"]].concat()).ok();
    let reference = workspace.features("f32");
    let ours = workspace.features("one");
    let error = distance(&ours, &reference);
    assert!(error > 1e-3 && error < 0.12, "{error:e}");
    let card = workspace.json("one/classifier/classifier.json");
    assert_eq!(card["precision"], "int8");
    // calibration with other kernels would give other last digits
    let file = format!("extract.calibration={}", workspace.path("one").join(RANGES).display());
    let portable = ["--set", "runtime.kernels=portable", "--set", &file];
    for more in [&["--set", "runtime.threads=2"], &portable[..]] {
        workspace.run("other", &[&INT8[..], more].concat()).ok();
        assert_eq!(workspace.features("other"), ours, "{more:?}");
        assert_eq!(workspace.read(&format!("other/{RANGES}")), workspace.read(&format!("one/{RANGES}")));
    }
    workspace.run("no", &[&INT8[..], &["--set", "runtime.kernels=reference"]].concat()).ended(2, &["f32"]);
    crate::predict::agrees(&workspace, &workspace.path("one"), &crate::predict::ALL);
}

#[test]
fn a_run_keeps_its_ranges_until_the_extraction_is_forced() {
    let workspace = Workspace::with_fruits(4, 2);
    let run = |more: &[&str]| workspace.run("out", &[&INT8[..3], &["extract.calibration=100"], more].concat()).ok();
    run(&[]);
    let (ranges, before) = (workspace.read(&format!("out/{RANGES}")), workspace.features("out"));
    assert!(run(&[]).computed().is_empty(), "nothing is new");
    let shipped = project().join("data/fruits/Training/Lemon");
    let tenth = std::fs::read(shipped.join(&files(&shipped)[9])).expect("read");
    workspace.write("pictures/Training/Banana/more.png", &tenth);
    assert_eq!(run(&[]).computed()[0], "extract");
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges, "the ranges follow the pictures");
    assert_eq!(run(&["--force", "extract"]).computed()[0], "extract");
    let forced = workspace.read(&format!("out/{RANGES}"));
    assert_ne!(forced, ranges, "the ranges are those of before");
    std::fs::remove_file(workspace.path("pictures/Training/Banana/more.png")).expect("removed");
    run(&["--force", "extract"]);
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    assert_eq!(workspace.features("out"), before);
    // a missing or damaged file is written again
    std::fs::write(workspace.path(&format!("out/{RANGES}")), b"no ranges").expect("written");
    run(&[]);
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    assert_eq!(workspace.features("out"), before);
    // other ranges give other features, on which the classifier was not fitted
    workspace.run("out", &[&INT8[..3], &["extract.calibration=1", "--until", "extract"]].concat()).ok();
    assert_ne!(workspace.features("out"), before);
    workspace.call(&["predict", "out", "pictures/Test"]).ended(1, &["ranges.safetensors"]);
}

#[test]
fn ranges_are_written_once_and_read_wherever_they_are_named() {
    let workspace = Workspace::with_fruits(4, 2);
    let embed = |out: &str, more: &[&str]| {
        workspace.call(&[&["embed", "pictures", "-o", out, "--precision", "int8"], more].concat())
    };
    embed("a.csv", &["--ranges", "r.safetensors"]).ok();
    let ranges = workspace.read("r.safetensors");
    embed("b.csv", &["--ranges", "r.safetensors"]).ok();
    assert_eq!(workspace.read("r.safetensors"), ranges);
    assert!(workspace.read("a.csv") == workspace.read("b.csv"), "the same ranges, other features");
    // another number of pictures gives other ranges, and the bundled ranges are different, too
    for more in [&["--set", "extract.calibration=2"][..], &[]] {
        embed("c.csv", more).ok();
        assert!(workspace.read("c.csv") != workspace.read("a.csv"), "{more:?}");
    }
    let file = workspace.path("r.safetensors");
    let set = format!("extract.calibration={}", file.display());
    workspace.run("out", &["--set", "extract.precision=int8", "--set", &set]).ok();
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    std::fs::write(&file, b"x").expect("written");
    workspace
        .run("other", &["--set", "extract.precision=int8", "--set", &set])
        .ended(1, &["r.safetensors is no file of ranges"]);
    // classify and bench also read such a file, and calibrate if none is named
    embed("c.csv", &["--ranges", "r.safetensors", "--set", &set]).ended(2, &["name a file each"]);
    workspace
        .call(&["embed", "pictures", "-o", "c.csv", "--ranges", "r.safetensors"])
        .ended(2, &["`--precision int8`"]);
    let classify = ["classify", "pictures/Test/Lemon", "--precision", "int8", "--top", "1"];
    let bench = ["bench", "--precision", "int8", "--seconds", "0.05", "--json"];
    for command in [&classify[..], &bench] {
        workspace.call(command).ok();
        workspace.call(&[command, &["--ranges", "r.safetensors"]].concat()).ended(1, &["is no file of ranges"]);
    }
    workspace.call(&[&classify[..], &["--ranges", "c.safetensors"]].concat()).ok();
    workspace.call(&[&bench[..], &["--ranges", "c.safetensors"]].concat()).ok();
    workspace.call(&[&bench[..], &["--ranges", "none.safetensors"]].concat()).ended(1, &["calibrated on pictures"]);
}

#[test]
fn parts_of_a_run_share_its_ranges() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("whole", &INT8).ok();
    workspace.run("out", &[&["--until", "scan"], &INT8[..]].concat()).ok();
    assert!(!workspace.path("out").join(RANGES).exists(), "these are of the extraction");
    for part in ["2/2", "1/2"] {
        let computed = done(&mut extract(&workspace, "out", &[&["--shard", part], &INT8[..]].concat())).ok();
        assert!(computed.event("summary")["computed"]["pictures"].as_u64().is_some_and(|pictures| pictures > 0));
    }
    let rest = workspace.run("out", &INT8).ok();
    assert!(!rest.stderr.contains("extract_timing"), "nothing was left to compute: {}", rest.stderr);
    let (found, expected) = (workspace.results("out"), workspace.results("whole"));
    assert!(expected.contains_key(RANGES) && found == expected);
    std::fs::remove_file(workspace.path("out/.store/ranges.safetensors")).expect("removed");
    done(&mut extract(&workspace, "out", &[&["--shard", "1/2"], &INT8[..]].concat())).ended(1, &["--until scan"]);
}

#[test]
fn killed_while_it_calibrates_a_run_ends_with_the_same_bytes() {
    let workspace = Workspace::with_fruits(8, 2);
    workspace.run("whole", &INT8).ok();
    let noted = workspace.path("killed/.store/ranges.safetensors");
    let mut early = 0;
    for pause in [100, 200, 400, 800, 60_000] {
        let mut child = workspace.command("killed", &INT8).stderr(Stdio::null()).spawn().expect("started");
        let start = Instant::now();
        while !noted.exists() && start.elapsed() < Duration::from_millis(pause) {
            std::thread::sleep(Duration::from_millis(2));
        }
        early += usize::from(!noted.exists());
        child.kill().expect("killed");
        child.wait().expect("ended");
        if noted.exists() {
            break;
        }
    }
    assert!(early > 0 && noted.exists(), "{early} were killed before there were ranges");
    let ranges = std::fs::read(&noted).expect("read");
    workspace.run("killed", &INT8).ok();
    assert!(ranges == workspace.read(&format!("killed/{RANGES}")), "they were found anew");
    assert!(workspace.results("killed") == workspace.results("whole"));
}

#[test]
fn networks_of_onnx_files_and_weights_with_a_name_are_calibrated_on_the_pictures() {
    let workspace = crate::own_weights::workspace();
    crate::own_weights::import(&workspace, "pets", &crate::own_weights::WELL).ok();
    let name = "torchscript.small_vgg.onnx";
    crate::onnx::each(&workspace.path(""), |note| note["file"] == name, |_| ());
    let recipe = ["--set", "extract.recipe.preset=torchvision"];
    for (weights, more) in [("pets", &[][..]), (name, &recipe[..])] {
        let embed = |out: &str, precision: &str| {
            let table = ["embed", "pictures", "-o", out, "--weights", weights, "--precision", precision];
            crate::own_weights::call(&workspace, &[&table[..], more].concat()).ok();
            let text = workspace.text(out);
            let rows =
                text.lines().skip(1).flat_map(|line| line.split(',').skip(1).map(|v| v.parse().expect("a number")));
            rows.collect::<Vec<f64>>()
        };
        let error = distance(&embed("i.csv", "int8"), &embed("f.csv", "f32"));
        assert!(error > 1e-4 && error < 0.2, "{weights}: {error:e}");
        // a run keeps its ranges for `predict`
        let sets =
            ["--set", &format!("extract.weights={weights}"), "--set", "select=null", "--set", "extract.precision=int8"];
        let run = |command: &[&str]| crate::own_weights::call(&workspace, command).ok();
        let out = format!("out-{weights}");
        run(&[&["run", "pipeline.yaml", "--out", &out], &sets[..], more].concat());
        run(&["predict", &out, "pictures/Test/Lemon", "--top", "1"]);
        assert!(workspace.path(&out).join(RANGES).exists());
    }
}

#[test]
fn a_device_or_kernels_that_cannot_compute_it_are_told_before_the_calibration() {
    let workspace = Workspace::with_fruits(2, 1);
    for (set, code, said) in [("runtime.kernels=reference", 2, "f32"), ("runtime.device=cuda:7", 2, "cuda:7")] {
        let refused = workspace.run("no", &[&INT8[..], &["--set", set]].concat());
        refused.ended(code, &[said]);
        assert!(!refused.stderr.contains("calibrate"), "{}", refused.stderr);
    }
}
