//! `featurize bench`: how fast a network runs here, and where its time goes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::workers::WorkerArgs;
use super::{find_model, precision, print, source};
use crate::backbone::{self, Backbone};
use crate::chain::ChainError;
use crate::config::{Features, Precision};
use crate::error::Error;
use crate::exec::cpu::{Engine, MICRO_BATCH, Network, StepTime};
use crate::exec::lower::lower;
use crate::exec::{Device, ExecError};
use crate::extractor::Extractor;
use crate::models::Source;
use crate::pictures::source::archive::Location;
use crate::progress::plural;
use crate::stages::scan::named;
use crate::threads;
use crate::weights::Origin;
use featurize_kernels::peak::{self, noise};

/// What to run, and how long.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The network: see `featurize models list`. Its weights are random: speed does not depend on them.
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    model: String,
    /// After which library it is built: `keras`, `torchvision` or `timm`.
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<Source>,
    /// Pictures, or a folder of them, to measure decoding and the whole way from the file to the features, too.
    #[arg(long, value_name = "PATH")]
    images: Option<PathBuf>,
    #[command(flatten)]
    workers: WorkerArgs,
    /// Seconds for each measurement, 0.01 to 3600.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// The time of every layer, on one thread, a micro-batch at a time.
    #[arg(long)]
    layers: bool,
    /// `f32` or `bf16`.
    #[arg(long, value_parser = precision, default_value = "f32")]
    precision: Precision,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(arguments: &BenchArgs) -> Result<(), Error> {
    let model = find_model(&arguments.model)?;
    let weights = Origin::Random(0);
    let row = backbone::row(model, &weights, arguments.source)?;
    let backbone = Backbone::new(model, row, weights, row.recipe.clone(), &[], Features::Avg)?;
    let backbone = backbone.precision(arguments.precision);
    let threads = arguments.workers.threads();
    let engine = Engine::detect(backbone.precision);
    let peak = together(threads, || peak::flops(engine.isa(), arguments.seconds.min(0.5)))?.iter().sum::<f64>();
    let extractor = Extractor::open(&backbone, &Device::cpu())?;
    let extractor = extractor.with_decode_memory(arguments.workers.decode_memory());
    let forward = forward(&extractor, threads, arguments.seconds)?;
    let alone_ms = [alone(&extractor, 1, arguments.seconds)?, alone(&extractor, threads, arguments.seconds)?];
    let gflops = 2e-9 * backbone.macs() as f64 * forward;
    let files = arguments.images.as_deref().map(|path| files(&extractor, path, threads)).transpose()?;
    let steps = if arguments.layers { profile(&backbone, arguments.seconds)? } else { Vec::new() };
    if arguments.json {
        let layers: Vec<_> = steps
            .iter()
            .map(|s| json!({"layer": s.layer, "kernel": s.kernel, "macs": s.macs, "ms": s.seconds * 1e3}))
            .collect();
        let [decode, prepare, whole] = files.map_or([None; 3], |rates| rates.map(Some));
        print(&json!({"model": model.name, "source": row.source, "isa": format!("{:?}", engine.isa()), "amx": engine.has_tiles(), "threads": threads, "precision": backbone.precision, "peak_gflops": peak / 1e9,
            "forward_images_per_s": forward, "gflops": gflops, "share_of_peak": gflops * 1e9 / peak, "alone_ms": alone_ms, "decode_images_per_s": decode,
            "prepare_images_per_s": prepare, "images_per_s": whole, "layers": layers}).to_string())?;
        return Ok(());
    }
    let (engine, precision) = (engine.word(), backbone.precision.word());
    let of_threads = plural(threads, "thread");
    print(&format!("{} after {}, {engine}, {of_threads}, {precision}", model.title, row.source))?;
    print(&format!("  peak      {:.0} GFLOP/s of multiply-adds, measured", peak / 1e9))?;
    print(&format!(
        "  forward   {forward:.1} images/s, {gflops:.0} GFLOP/s as the definition counts them, {:.0} % of the peak",
        gflops * 1e11 / peak
    ))?;
    let [one, all] = alone_ms;
    print(&format!("  alone     {one:.1} ms a picture by one thread, {all:.1} ms by {threads} that share its layers"))?;
    if let Some([decode, prepare, whole]) = files {
        print(&format!("  decode    {decode:.1} images/s; {prepare:.1} with the recipe"))?;
        print(&format!("  together  {whole:.1} images/s from files to features"))?;
    }
    if !steps.is_empty() {
        table(&steps, peak / threads as f64)?;
    }
    Ok(())
}

/// Runs `work` on so many threads at once.
fn together<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Result<Vec<T>, ExecError> {
    std::thread::scope(|scope| {
        let all = threads::start(scope, threads, |_| &work)?;
        Ok(all.into_iter().filter_map(|thread| thread.join().ok()).collect())
    })
}

/// Seconds of a measurement, for the command line.
fn seconds(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number.filter(|seconds| (0.01..=3600.0).contains(seconds)).ok_or_else(|| "expected 0.01 to 3600".to_string())
}

/// Pictures a second of the network alone.
fn forward(extractor: &Extractor, threads: usize, seconds: f64) -> Result<f64, Error> {
    let n = extractor.micro_batch();
    let input = noise(n * extractor.input_len(), 1);
    let results = together(threads, || {
        let mut session = extractor.session();
        extractor.forward(&mut session, &input, n)?;
        let (start, mut pictures) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < seconds {
            extractor.forward(&mut session, &input, n)?;
            pictures += n;
        }
        Ok(pictures as f64 / start.elapsed().as_secs_f64())
    })?;
    results.into_iter().sum()
}

/// Milliseconds of the network for one picture, its layers shared by `threads`: the median.
fn alone(extractor: &Extractor, threads: usize, seconds: f64) -> Result<f64, Error> {
    let input = noise(extractor.input_len(), 1);
    let mut session = extractor.shared_session(threads);
    extractor.forward(&mut session, &input, 1)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed().as_secs_f64() < seconds.min(1.0) {
        let begin = Instant::now();
        extractor.forward(&mut session, &input, 1)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Pictures a second that are decoded, that are prepared, too, and that go the whole way.
fn files(extractor: &Extractor, path: &std::path::Path, threads: usize) -> Result<[f64; 3], Error> {
    let pictures: Vec<PathBuf> = named(path)?.into_iter().filter_map(|picture| picture.location.ok()).collect();
    if pictures.is_empty() {
        return Err(ChainError::NoPictures(path.display().to_string()).into());
    }
    let never = AtomicBool::new(false);
    let rate = |prepare: bool, forward: bool| -> Result<f64, Error> {
        let start = Instant::now();
        let lanes = AtomicUsize::new(0);
        let counts = together(threads, || {
            let lane = lanes.fetch_add(1, Ordering::Relaxed);
            let (mut session, n) = (extractor.session(), extractor.micro_batch());
            let (mut input, mut count) = (Vec::new(), 0);
            for chunk in pictures.iter().skip(lane).step_by(threads).collect::<Vec<_>>().chunks(n) {
                input.clear();
                for path in chunk {
                    let Ok(contents) = extractor.read(&Location::File(path.to_path_buf()), None, &never) else {
                        continue;
                    };
                    let Ok(image) = extractor.decode(&contents) else { continue };
                    count += 1;
                    if !prepare {
                        continue;
                    }
                    let at = input.len();
                    input.resize(at + extractor.input_len(), 0.0);
                    extractor.prepare(&image.image, &mut input[at..]);
                }
                if forward {
                    extractor.forward(&mut session, &input, input.len() / extractor.input_len())?;
                }
            }
            Ok(count)
        })?;
        let counts = counts.into_iter().collect::<Result<Vec<usize>, Error>>()?;
        Ok(counts.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
    };
    Ok([rate(false, false)?, rate(true, false)?, rate(true, true)?])
}

/// The time of each step for one picture, on one thread.
fn profile(backbone: &Backbone, seconds: f64) -> Result<Vec<StepTime>, Error> {
    let layers = backbone.layer_ids();
    let weights =
        backbone.weights.load(&backbone.graph, backbone.source, &layers).map_err(crate::exec::ExecError::from)?;
    let program = lower(&backbone.graph, &weights, &layers)?;
    let network = Network::new(program, Engine::detect(backbone.precision))?;
    let mut scratch = network.scratch(1);
    let input = noise(MICRO_BATCH * backbone.recipe.input_len(), 1);
    let start = Instant::now();
    network.profile(&mut scratch, &input, MICRO_BATCH, 1);
    let rounds = (seconds / start.elapsed().as_secs_f64().max(1e-3)).ceil().clamp(1.0, 1000.0) as usize;
    let mut steps = network.profile(&mut scratch, &input, MICRO_BATCH, rounds);
    steps.iter_mut().for_each(|step| step.seconds /= MICRO_BATCH as f64);
    Ok(steps)
}

fn table(steps: &[StepTime], peak: f64) -> Result<(), Error> {
    let all: f64 = steps.iter().map(|step| step.seconds).sum();
    print(&format!(
        "{:<40} {:<11} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "layer", "kernel", "MACs", "ms", "GFLOP/s", "peak", "time"
    ))?;
    for step in steps {
        let flops = 2.0 * step.macs as f64 / step.seconds;
        print(&format!(
            "{:<40} {:<11} {:>7.1} M {:>9.3} {:>9.1} {:>5.0} % {:>5.1} %",
            step.layer,
            step.kernel,
            step.macs as f64 / 1e6,
            step.seconds * 1e3,
            flops / 1e9,
            100.0 * flops / peak,
            100.0 * step.seconds / all
        ))?;
    }
    let mut kinds: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
    steps.iter().for_each(|step| *kinds.entry(step.kernel).or_default() += step.seconds);
    let kinds: Vec<String> = kinds.iter().map(|(kind, s)| format!("{kind} {:.0} %", 100.0 * s / all)).collect();
    print(&format!("{:.2} ms for one picture on one thread: {}", all * 1e3, kinds.join(", ")))
}
