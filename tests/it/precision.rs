//! `extract.precision: bf16`, as a user meets it.

use crate::support::{Workspace, project};
use featurize::io::columns::Columns;
use serde_json::Value;

const BF16: [&str; 2] = ["--set", "extract.precision=bf16"];

/// The features of the first shard, column by column.
fn features(workspace: &Workspace, out: &str) -> Vec<f64> {
    let names: Vec<String> = (0..1280).map(|i| format!("efficientnet_lite0_avg_{i:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = Columns::read(&workspace.path(out).join("features/part-00000.parquet"), &names).expect("read");
    names.iter().flat_map(|name| table.reals(name).expect("numbers")).collect()
}

#[test]
fn bf16_is_near_f32_whatever_the_threads_and_other_features_than_those_of_f32() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("f32", &[]).ok();
    workspace.run("one", &[&BF16[..], &["--set", "runtime.threads=1", "--set", "extract.batch_size=1"]].concat()).ok();
    workspace.run("two", &[&BF16[..], &["--set", "runtime.threads=2"]].concat()).ok();
    let tables = |out: &str| {
        workspace.results(out).into_iter().filter(|(name, _)| name.ends_with("parquet")).collect::<Vec<_>>()
    };
    assert_eq!(tables("one"), tables("two"), "the numbers depend on the threads");
    let (reference, ours) = (features(&workspace, "f32"), features(&workspace, "one"));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut reference.iter().zip(&ours).map(|(a, b)| a - b)) / norm(&mut reference.iter().copied());
    // 2⁻⁹ a rounding at most, a hundred of them in a row; PyTorch's bf16 is 0.04 away
    assert!(error > 1e-3 && error < 0.06, "{error:e}");
    // other features: the stage runs anew, and back again
    assert_eq!(workspace.run("one", &[]).ok().computed()[0], "extract");
    assert_eq!(features(&workspace, "one"), reference);
}

#[test]
fn the_precision_goes_with_the_classifier() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &BF16).ok();
    let card: Value = serde_json::from_slice(&workspace.read("out/classifier/classifier.json")).expect("JSON");
    assert_eq!(card["precision"], "bf16");
    crate::predict::agrees(&workspace, &workspace.path("out"), &crate::predict::ALL);
}

#[test]
fn other_kernels_give_the_same_features_but_for_last_bits_and_are_told() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("auto", &[]).ok();
    let run =
        |out: &str| -> Value { serde_json::from_slice(&workspace.read(&format!("{out}/run.json"))).expect("JSON") };
    assert!(run("auto")["config"]["runtime"].get("kernels").is_none());
    let auto = features(&workspace, "auto");
    let largest = auto.iter().fold(0.0, |largest: f64, v| largest.max(v.abs()));
    for (kernels, told) in [("portable", "portable"), ("reference", "candle")] {
        workspace.run(kernels, &["--set", &format!("runtime.kernels={kernels}")]).ok();
        let error =
            features(&workspace, kernels).iter().zip(&auto).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
        assert!(error <= 1e-5 * largest, "{kernels}: {error:e} of {largest}");
        assert_eq!(run(kernels)["extract"]["kernels"], told);
    }
    // other features: the stage runs anew, and back again
    assert_eq!(workspace.run("portable", &[]).ok().computed()[0], "extract");
    assert_eq!(features(&workspace, "portable"), auto);
}

#[test]
fn kernels_that_the_cpu_lacks_are_an_error_before_the_first_picture() {
    let workspace = Workspace::with_fruits(2, 1);
    let lacking = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let run = workspace.run("out", &["--set", &format!("runtime.kernels={lacking}")]);
    assert!(run.code == Some(2) && run.stderr.contains("`portable`"), "{}", run.stderr);
    assert!(!workspace.path("out/manifest.parquet").exists());
}

const INT8: [&str; 4] = ["--set", "extract.precision=int8", "--set", "extract.calibration=12"];
const RANGES: &str = "classifier/ranges.safetensors";

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

#[test]
fn int8_is_near_f32_and_the_same_on_every_kernel_and_thread() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("f32", &[]).ok();
    workspace.run("one", &[&INT8[..], &["--set", "runtime.threads=1"]].concat()).ok();
    let reference = features(&workspace, "f32");
    let ours = features(&workspace, "one");
    let error = distance(&ours, &reference);
    assert!(error > 1e-3 && error < 0.12, "{error:e}");
    let card: Value = serde_json::from_slice(&workspace.read("one/classifier/classifier.json")).expect("JSON");
    assert_eq!(card["precision"], "int8");
    for more in [["--set", "runtime.threads=2"], ["--set", "runtime.kernels=portable"]] {
        workspace.run("other", &[&INT8[..], &more].concat()).ok();
        assert_eq!(features(&workspace, "other"), ours, "{more:?}");
        assert_eq!(workspace.read(&format!("other/{RANGES}")), workspace.read(&format!("one/{RANGES}")));
    }
    let refused = workspace.run("no", &[&INT8[..], &["--set", "runtime.kernels=reference"]].concat());
    assert!(refused.code == Some(2) && refused.stderr.contains("f32"), "{}", refused.stderr);
    crate::predict::agrees(&workspace, &workspace.path("one"), &crate::predict::ALL);
}

#[test]
fn a_run_keeps_its_ranges_until_the_extraction_is_forced() {
    let workspace = Workspace::with_fruits(4, 2);
    let run = |more: &[&str]| workspace.run("out", &[&INT8[..3], &["extract.calibration=100"], more].concat()).ok();
    run(&[]);
    let (ranges, before) = (workspace.read(&format!("out/{RANGES}")), features(&workspace, "out"));
    assert!(run(&[]).computed().is_empty(), "nothing is new");
    let shipped = project().join("data/fruits/Training/Lemon");
    let mut files: Vec<_> =
        std::fs::read_dir(shipped).expect("shipped").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    workspace.write("pictures/Training/Banana/more.png", &std::fs::read(&files[9]).expect("read"));
    assert_eq!(run(&[]).computed()[0], "extract");
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges, "the ranges follow the pictures");
    assert_eq!(run(&["--force", "extract"]).computed()[0], "extract");
    let forced = workspace.read(&format!("out/{RANGES}"));
    assert_ne!(forced, ranges, "the ranges are those of before");
    std::fs::remove_file(workspace.path("pictures/Training/Banana/more.png")).expect("removed");
    run(&["--force", "extract"]);
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    assert_eq!(features(&workspace, "out"), before);
    // a file that is gone or damaged is made again
    std::fs::write(workspace.path(&format!("out/{RANGES}")), b"no ranges").expect("written");
    run(&[]);
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    assert_eq!(features(&workspace, "out"), before);
    // other ranges are other features
    workspace.run("out", &[&INT8[..3], &["extract.calibration=1"]].concat()).ok();
    assert_ne!(features(&workspace, "out"), before);
}

#[test]
fn ranges_are_written_once_and_read_wherever_they_are_named() {
    let workspace = Workspace::with_fruits(4, 2);
    let embed = |out: &str, more: &[&str]| {
        let arguments = [&["pictures", "-o", out, "--precision", "int8"], more].concat();
        crate::predict::call("embed", &arguments, &workspace.path(""))
    };
    embed("a.csv", &["--ranges", "r.safetensors"]).ok();
    let ranges = workspace.read("r.safetensors");
    embed("b.csv", &["--ranges", "r.safetensors"]).ok();
    assert_eq!(workspace.read("r.safetensors"), ranges);
    assert!(workspace.read("a.csv") == workspace.read("b.csv"), "the same ranges, other features");
    let file = workspace.path("r.safetensors");
    let set = format!("extract.calibration={}", file.display());
    workspace.run("out", &["--set", "extract.precision=int8", "--set", &set]).ok();
    assert_eq!(workspace.read(&format!("out/{RANGES}")), ranges);
    std::fs::write(&file, b"x").expect("written");
    let error = workspace.run("other", &["--set", "extract.precision=int8", "--set", &set]);
    assert!(error.code == Some(1) && error.stderr.contains("r.safetensors is no file of ranges"), "{}", error.stderr);
    let classify = ["pictures/Test/Lemon", "--precision", "int8", "--top", "1"];
    crate::predict::call("classify", &classify, &workspace.path("")).ok();
}
