//! `extract.precision: bf16` in the commands.

use crate::support::{Workspace, distance};
use serde_json::Value;

const BF16: [&str; 2] = ["--set", "extract.precision=bf16"];

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
    let (reference, ours) = (workspace.features("f32"), workspace.features("one"));
    let error = distance(&ours, &reference);
    // each of a hundred successive roundings has an error of at most 2⁻⁹; PyTorch's bf16 is 0.04 away
    assert!(error > 1e-3 && error < 0.06, "{error:e}");
    // the other precision gives other features, so the stage is computed again, in both directions
    assert_eq!(workspace.run("one", &[]).ok().computed()[0], "extract");
    assert_eq!(workspace.features("one"), reference);
}

#[test]
fn the_precision_goes_with_the_classifier() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &BF16).ok();
    let card = workspace.json("out/classifier/classifier.json");
    assert_eq!(card["precision"], "bf16");
    crate::predict::agrees(&workspace, &workspace.path("out"), &crate::predict::ALL);
}

#[test]
fn other_kernels_give_the_same_features_but_for_last_bits_and_are_told() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("auto", &[]).ok();
    let run = |out: &str| -> Value { workspace.json(&format!("{out}/run.json")) };
    assert!(run("auto")["config"]["runtime"].get("kernels").is_none());
    let auto = workspace.features("auto");
    let largest = auto.iter().fold(0.0, |largest: f32, v| largest.max(v.abs()));
    for (kernels, told) in [("portable", "portable"), ("reference", "candle")] {
        workspace.run(kernels, &["--set", &format!("runtime.kernels={kernels}")]).ok();
        let error =
            workspace.features(kernels).iter().zip(&auto).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
        assert!(error <= 1e-5 * largest, "{kernels}: {error:e} of {largest}");
        assert_eq!(run(kernels)["extract"]["kernels"], told);
    }
    // other kernels give other features, so the stage is computed again, in both directions
    assert_eq!(workspace.run("portable", &[]).ok().computed()[0], "extract");
    assert_eq!(workspace.features("portable"), auto);
}

#[test]
fn kernels_that_the_cpu_lacks_are_an_error_before_the_first_picture() {
    let workspace = Workspace::with_fruits(2, 1);
    let lacking = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    workspace.run("out", &["--set", &format!("runtime.kernels={lacking}")]).ended(2, &["`portable`"]);
    assert!(!workspace.path("out/manifest.parquet").exists());
}
