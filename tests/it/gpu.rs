//! The networks and a whole run on a GPU beside the CPU, in builds with CUDA. Where there is no GPU they are skipped,
//! and say so.

use featurize::config::Precision;
use featurize::exec::{Device, candle};

use crate::support::{Workspace, distance};
use crate::zoo;

/// The first GPU; none where this machine has none.
fn gpu() -> Option<Device> {
    let gpu = Device::open("cuda:0".parse().expect("a device"));
    gpu.inspect_err(|error| println!("skipped: {error}")).ok()
}

#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "built without CUDA")]
fn networks_on_a_gpu_give_the_numbers_of_their_libraries() {
    let Some(gpu) = gpu() else { return };
    zoo::each("", |case| {
        let network = candle::Network::with(case.program.clone(), &gpu, Precision::F32).expect("uploaded");
        case.compare(gpu.name(), &network.forward(case.chw, 1).expect("computed"));
    });
}

#[test]
#[cfg_attr(not(feature = "cuda"), ignore = "built without CUDA")]
fn a_run_on_a_gpu_has_the_features_of_the_cpu() {
    if gpu().is_none() {
        return;
    }
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("cpu", &["--set", "runtime.device=cpu"]).ok();
    let expected = workspace.features("cpu");
    for (precision, most) in [("f32", 1e-5), ("tf32", 5e-3), ("bf16", 6e-2), ("f16", 1e-2)] {
        for (device, batch) in [("cuda:0", 32), ("cuda:all", 5)] {
            let out = format!("{precision}-{batch}");
            let sets = [
                format!("runtime.device={device}"),
                format!("runtime.batch_size={batch}"),
                format!("extract.precision={precision}"),
            ];
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            workspace.run(&out, &sets).ok();
            let error = distance(&workspace.features(&out), &expected);
            assert!(error <= most, "{precision} on {device}, batches of {batch}: {error:e}");
            assert!(workspace.json(&format!("{out}/run.json"))["extract"]["timing"]["waited"]["device"].is_number());
        }
    }
    workspace.call(&["predict", "f32-32", "pictures/Test/Banana", "--device", "cuda:0"]).ok();
}
