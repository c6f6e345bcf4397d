//! `featurize bench`: measures the speed of a network on this machine, and the time of its layers.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::ranges::RangesArgs;
use super::workers::WorkerArgs;
use super::{find_model, print, source, usage};
use crate::config::{Features, Precision, Runtime};
use crate::error::Error;
use crate::exec::cpu::{Engine, MICRO_BATCH, Network, StepTime};
use crate::exec::lower::lower;
use crate::exec::{Calibration, Device, ExecError};
use crate::extractor::Extractor;
use crate::models;
use crate::network_plan::{self, NetworkPlan};
use crate::pictures::source::most_bytes;
use crate::pictures::stream::{Through, on_each_thread};
use crate::pictures::{Failure, Named, PredictorError, Source, StreamError, Way};
use crate::progress::{Ui, plural};
use crate::stages::scan::{Members, named};
use crate::weights::Origin;
use featurize_kernels::peak::{self, noise};
use featurize_nets::Calibrator;

/// What to run, and how long.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The network: see `featurize models list`. Its weights are random: speed does not depend on them.
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    model: String,
    /// The library after which the network is built: `keras`, `torchvision`, `timm`, `openai` or `facebook`.
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<models::Source>,
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
    /// `f32`, `bf16` or `int8`, which is calibrated on the pictures, or on noise; on a GPU `f32`, `tf32`, `bf16` or
    /// `f16`.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Pictures in one forward pass on a GPU.
    #[arg(long, value_name = "N", default_value_t = Runtime::default().batch_size)]
    batch_size: usize,
    #[command(flatten)]
    ranges: RangesArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(arguments: &BenchArgs) -> Result<(), Error> {
    let model = find_model(&arguments.model)?;
    let weights = Origin::Random(0);
    let row = network_plan::row(model, &weights, arguments.source)?;
    let backbone = NetworkPlan::new(model, row, weights, row.recipe.clone(), &[], Features::default())?;
    let backbone = backbone.precision(arguments.precision);
    let threads = arguments.workers.threads();
    let device = arguments.workers.open_device()?;
    let engine = device.is_cpu().then(|| Engine::detect(backbone.precision));
    if arguments.layers && engine.is_none() {
        return usage("`--layers` are those of the CPU's kernels: add `--device cpu`");
    }
    let peak = |engine: Engine| on_each_thread(threads, || peak::flops(engine.isa(), arguments.seconds.min(0.5)));
    let peak = engine.map(peak).transpose()?.map(|peaks| peaks.iter().sum::<f64>());
    calibrate((&backbone, &device), arguments)?;
    let extractor = Extractor::open(&backbone, &device)?;
    let way = Way::of(&device, arguments.batch_size);
    // a device has threads of its own; the CPU computes with all of them
    let computing = if way == Way::Workers { threads } else { 1 };
    let forward = forward(&extractor, way, computing, arguments.seconds)?;
    let alone_ms = [alone(&extractor, 1, arguments.seconds)?, alone(&extractor, computing, arguments.seconds)?];
    let gflops = 2e-9 * backbone.macs() as f64 * forward;
    let files = arguments.images.as_deref().map(|path| files(&extractor, way, path, &arguments.workers)).transpose()?;
    let steps = if arguments.layers { profile(&backbone, arguments.seconds)? } else { Vec::new() };
    let title = engine.map_or(device.name(), |engine| engine.word());
    if arguments.json {
        let layers: Vec<_> = steps
            .iter()
            .map(|s| json!({"layer": s.layer, "kernel": s.kernel, "macs": s.macs, "ms": s.seconds * 1e3}))
            .collect();
        let [decode, prepare, whole] = files.map_or([None; 3], |rates| rates.map(Some));
        let (isa, amx) = (engine.map(|engine| format!("{:?}", engine.isa())), engine.map(Engine::has_tiles));
        let (peak_gflops, share) = (peak.map(|peak| peak / 1e9), peak.map(|peak| gflops * 1e9 / peak));
        let result = json!({"model": model.name, "source": row.source, "device": device.name(), "isa": isa, "amx": amx,
            "threads": threads, "precision": backbone.precision, "peak_gflops": peak_gflops,
            "forward_images_per_s": forward, "gflops": gflops, "share_of_peak": share, "alone_ms": alone_ms,
            "decode_images_per_s": decode, "prepare_images_per_s": prepare, "images_per_s": whole, "layers": layers});
        print(&result.to_string())?;
        return Ok(());
    }
    let (precision, of_threads) = (backbone.precision.word(), plural(threads, "thread"));
    print(&format!("{} after {}, {title}, {of_threads}, {precision}", model.title, row.source))?;
    let [one, all] = alone_ms;
    let forward = format!("  forward   {forward:.1} images/s, {gflops:.0} GFLOP/s as the definition counts them");
    let alone = format!("  alone     {one:.1} ms a picture");
    if let Some(peak) = peak {
        print(&format!("  peak      {:.0} GFLOP/s of multiply-adds, measured", peak / 1e9))?;
        print(&format!("{forward}, {:.0} % of the peak", gflops * 1e11 / peak))?;
        print(&format!("{alone} by one thread, {all:.1} ms by {threads} that share its layers"))?;
    } else {
        print(&format!("{forward}\n{alone}"))?;
    }
    if let Some([decode, prepare, whole]) = files {
        print(&format!("  decode    {decode:.1} images/s; {prepare:.1} with the recipe"))?;
        print(&format!("  together  {whole:.1} images/s from files to features"))?;
    }
    if let Some(peak) = peak.filter(|_| !steps.is_empty()) {
        table(&steps, peak / threads as f64)?;
    }
    Ok(())
}

/// Finds the ranges of `int8` from the pictures, or from noise without pictures, since they do not affect the speed.
fn calibrate((backbone, device): (&NetworkPlan, &Device), arguments: &BenchArgs) -> Result<(), Error> {
    let pictures = arguments.images.as_ref().map(|path| named(path, &mut Members::default())).transpose()?;
    if pictures.is_some() || arguments.ranges.is_named() {
        let pictures = pictures.unwrap_or_default();
        return arguments.ranges.settle((backbone, device), None, &pictures, &arguments.workers, &Ui::silent());
    }
    if backbone.precision == Precision::Int8 {
        let calibrator = Calibrator::open(backbone, device)?;
        let mut calibration = Calibration::default();
        let input = noise(backbone.recipe.input_len(), 1);
        calibration.add(calibrator.observe_input(&mut calibrator.scratch(), &input));
        backbone.keep_ranges(calibration.finish());
    }
    Ok(())
}

/// Parses the seconds of a measurement.
fn seconds(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number.filter(|seconds| (0.01..=3600.0).contains(seconds)).ok_or_else(|| "expected 0.01 to 3600".to_string())
}

/// Pictures per second of the network alone.
fn forward(extractor: &Extractor, way: Way, threads: usize, seconds: f64) -> Result<f64, Error> {
    let n = if let Way::Batches(size) = way { size } else { extractor.micro_batch() };
    let input = noise(n * extractor.input_len(), 1);
    let results = on_each_thread(threads, || {
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

/// Median milliseconds of the network for one picture, with `threads` threads on each layer.
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

/// Pictures per second: decoded only, decoded and preprocessed, and with the network.
fn files(extractor: &Extractor, way: Way, path: &Path, workers: &WorkerArgs) -> Result<[f64; 3], Error> {
    let pictures: Vec<_> =
        named(path, &mut Members::default())?.into_iter().filter(|picture| picture.location.is_ok()).collect();
    if pictures.is_empty() {
        return Err(PredictorError::NoPictures(path.display().to_string()).into());
    }
    let (source, wanted, ui) = (Named(&pictures), (0..pictures.len()).collect::<Vec<_>>(), Ui::silent());
    let (stream, memory, never) = (workers.stream(&source, &wanted, &ui), &workers.memory(), AtomicBool::new(false));
    let (recipe, decoding) = (extractor.recipe(), extractor.decoding());
    let decode = |number: usize, prepare: bool| -> Result<(), Failure> {
        let bytes = memory.read(source.open(number, most_bytes(decoding))?, recipe, decoding, &never)?;
        let image = extractor.decode(&bytes)?.image;
        if prepare {
            extractor.prepare(&image, &mut vec![0.0; extractor.input_len()]);
        }
        Ok(())
    };
    let through = Through { extractor, way, memory, strict: true };
    // the rate counts only pictures that can be read
    let rate = |go: &dyn Fn(&Cell<usize>) -> Result<(), StreamError>| -> Result<f64, Error> {
        let (start, sound) = (Instant::now(), Cell::new(0));
        go(&sound)?;
        Ok(sound.get() as f64 / start.elapsed().as_secs_f64())
    };
    let count = |sound: &Cell<usize>, is_sound: bool| {
        sound.set(sound.get() + usize::from(is_sound));
        Ok(())
    };
    let decoded = |prepare: bool| {
        rate(&|sound| stream.each(|number| decode(number, prepare).is_ok(), |_, is_sound| count(sound, is_sound)))
    };
    let finished = |sound: &Cell<usize>| {
        stream.features(through, |_| (), |_, _| Ok(()), |done| count(sound, done.result.is_ok())).1
    };
    Ok([decoded(false)?, decoded(true)?, rate(&finished)?])
}

/// The time of each step for one picture, on one thread.
fn profile(backbone: &NetworkPlan, seconds: f64) -> Result<Vec<StepTime>, Error> {
    let layers = backbone.layer_ids();
    let weights = backbone.load().map_err(ExecError::from)?;
    let program = lower(&backbone.graph, &weights, &layers)?;
    let network = match (Engine::detect(backbone.precision), backbone.ranges.get()) {
        (Engine::Int8(unit), Some(ranges)) => Network::quantised(program, unit, ranges)?,
        (engine, _) => Network::new(program, engine)?,
    };
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
