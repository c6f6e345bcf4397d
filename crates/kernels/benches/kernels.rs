//! Measures the CPU kernels on layers of the networks, with one thread: the time, the multiply-adds a second as the
//! definition counts them, and their share of the measured peak of the core.
//!
//!     cargo bench -p featurize-kernels [-- NAME]
//!
//! NAME chooses the layers or kernels whose name contains it. `README.md` beside this file has the numbers of two
//! machines, and those of the peers.

use std::time::{Duration, Instant};

#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::attention::{Attention, AttentionPlaces, AttentionShape};
use featurize_kernels::bf16::{Bf16Conv, Bf16Isa, bf16};
use featurize_kernels::depthwise::{DepthwiseConv, DepthwiseLayout};
use featurize_kernels::int8::{Int8Conv, Int8Depthwise, Int8Input, Int8Isa, Int8Output, Requant};
use featurize_kernels::matmul::{DirectConv, GemmOffsets};
use featurize_kernels::peak::{self, noise};
use featurize_kernels::simd::Isa;
use featurize_kernels::winograd::{BatchLayout, TileSize, WinogradConv, WinogradLayout};
use featurize_kernels::{Residual, dense::Dense};

/// The time of each measurement; the fastest of its runs counts, since other programs may use the core, too.
const EACH: Duration = Duration::from_millis(400);

/// A convolution over a map of `size` × `size` outputs.
struct Layer {
    name: &'static str,
    size: usize,
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
}

const fn layer(
    name: &'static str,
    size: usize,
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
) -> Layer {
    Layer { name, size, channels, filters, kernel, stride }
}

const CONVOLUTIONS: [Layer; 10] = [
    layer("resnet50 conv1", 112, 3, 64, 7, 2),
    layer("resnet50 layer1 1x1", 56, 256, 64, 1, 1),
    layer("resnet50 layer1 3x3", 56, 64, 64, 3, 1),
    layer("resnet50 layer2 3x3", 28, 128, 128, 3, 1),
    layer("resnet50 layer3 1x1", 14, 1024, 256, 1, 1),
    layer("resnet50 layer4 3x3", 7, 512, 512, 3, 1),
    layer("resnet50 layer4 1x1", 7, 512, 2048, 1, 1),
    layer("vgg16 conv3", 56, 256, 256, 3, 1),
    layer("xception block5 1x1", 19, 728, 728, 1, 1),
    layer("vit_small fc1", 14, 384, 1536, 1, 1),
];

const DEPTHWISE: [Layer; 3] = [
    layer("xception block5 depthwise", 19, 728, 728, 3, 1),
    layer("efficientnet_lite0 blocks.1 depthwise", 56, 96, 96, 3, 2),
    layer("efficientnet_lite0 blocks.5 depthwise", 7, 1152, 1152, 5, 1),
];

/// Attention of a picture: the name, the number of windows, and the shape of the attention in each.
const ATTENTION: [(&str, usize, AttentionShape); 4] = [
    ("vit_small attention", 1, attention_shape(197, 6, 64)),
    ("dinov2 attention at 518", 1, attention_shape(1370, 6, 64)),
    ("swin_t stage 1 attention", 64, attention_shape(49, 3, 32)),
    ("swin_t stage 3 attention", 4, attention_shape(49, 12, 32)),
];

const fn attention_shape(tokens: usize, heads: usize, size: usize) -> AttentionShape {
    AttentionShape { heads, size, queries: tokens, keys: tokens, cosine: false }
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let isa = Isa::detect();
    let peak = peak::flops(isa, 0.5);
    println!("{isa:?}, {:.0} GFLOP/s of f32 multiply-adds on one core, measured; pictures: 4", peak / 1e9);
    println!("{:<40} {:<11} {:>9} {:>9} {:>6}", "layer", "kernel", "ms", "GFLOP/s", "peak");
    let tell = |name: &str, kernel: &str, macs: usize, run: &mut dyn FnMut()| {
        if name.contains(&wanted) || kernel.contains(&wanted) {
            let seconds = fastest(run);
            let flops = 2.0 * macs as f64 / seconds;
            let share = 100.0 * flops / peak;
            println!("{name:<40} {kernel:<11} {:>9.3} {:>9.1} {share:>4.0} %", seconds * 1e3, flops / 1e9);
        }
    };
    for layer in &CONVOLUTIONS {
        convolution(layer, isa, &tell);
    }
    for layer in &DEPTHWISE {
        depthwise_convolution(layer, isa, &tell);
    }
    for (name, windows, shape) in ATTENTION {
        attention(name, windows, shape, isa, &tell);
    }
    let (inputs, outputs, pictures) = (25_088, 4096, 4);
    let dense = Dense::new(isa, noise(inputs * outputs, 1), vec![0.0; outputs]);
    let (input, mut output) = (noise(inputs * pictures, 1), vec![0.0; outputs * pictures]);
    let mut run = || dense.run(1, pictures, [inputs, outputs], &input, None, &mut output);
    tell("vgg16 fc1", "dense", pictures * inputs * outputs, &mut run);
}

type Tell<'a> = &'a dyn Fn(&str, &str, usize, &mut dyn FnMut());

/// Measures a convolution over four pictures: by the direct kernels of this CPU (f32, bf16, int8, AMX), and by Winograd
/// where the networks use it.
fn convolution(layer: &Layer, isa: Isa, tell: Tell) {
    const PICTURES: usize = 4;
    let Layer { name, size, channels, filters, kernel, stride } = *layer;
    let side = (size - 1) * stride + kernel;
    let (row, picture) = (side * channels, side * side * channels);
    let weight = noise(filters * channels * kernel * kernel, 1);
    let (bias, input) = (noise(filters, 1), noise(PICTURES * picture, 1));
    let mut output = vec![0.0; PICTURES * size * size * filters];
    let positions = || (0..PICTURES).flat_map(|p| (0..size * size).map(move |i| (p, i / size, i % size)));
    let starts: Vec<u32> =
        positions().map(|(p, y, x)| (p * picture + y * stride * row + x * stride * channels) as u32).collect();
    let outs: Vec<u32> = (0..PICTURES * size * size).map(|i| (i * filters) as u32).collect();
    let offsets =
        GemmOffsets { window_starts: &starts, row_stride: row, output_starts: &outs, residual: Residual::None };
    let macs = PICTURES * size * size * filters * channels * kernel * kernel;
    let conv = DirectConv::new(isa, &weight, &bias, kernel, kernel * channels);
    tell(name, "direct", macs, &mut || conv.run(1, &offsets, &input, &[], None, &mut output));
    let winograd = (kernel == 3 && stride == 1).then(|| TileSize::choose(channels, filters, [size; 2])).flatten();
    #[cfg(target_arch = "x86_64")]
    if amx::available() {
        let shape = amx::ConvShape { kernel: [kernel; 2], channels, stride };
        let conv = amx::AmxConv::<amx::Int8Slices>::new(&weight, &bias, shape);
        let mut scratch = vec![0.0; conv.scratch_len(1)];
        let run = &mut || conv.run(1, &offsets, [size; 2], &input, &[], None, &mut output, &mut scratch);
        tell(name, "int8 slices", macs, run);
    }
    let narrow: Vec<bf16> = input.iter().map(|&v| bf16::from_f32(v)).collect();
    let mut half = vec![bf16::ZERO; output.len()];
    for isa in Bf16Isa::available().into_iter().filter(|isa| isa.is_native()) {
        let conv = Bf16Conv::new(isa, &weight, &bias, kernel, kernel * channels);
        let mut scratch = vec![0.0; conv.scratch_len(1)];
        let run = &mut || conv.run(1, &offsets, &narrow, &[], None, &mut half, &mut scratch);
        tell(name, isa.name(), macs, run);
    }
    // Each row of a window is read to the next multiple of four bytes.
    let mut levels: Vec<u8> = input.iter().map(|&v| (128.0 + 127.0 * v) as u8).collect();
    levels.resize(levels.len() + 4, 0);
    let mut bytes = vec![0; output.len()];
    for isa in Int8Isa::available().into_iter().filter(|isa| isa.is_native()) {
        let conv = Int8Conv::new(isa, &small(&weight), requant(filters), kernel, kernel * channels);
        let (none, mut scratch) = (Int8Input::Bytes(&[]), vec![0.0; conv.scratch_len(1)]);
        let run = &mut || conv.run(1, &offsets, &levels, none, Int8Output::Bytes(&mut bytes), &mut scratch);
        tell(name, isa.name(), macs, run);
    }
    if let Some(tile) = winograd {
        let conv = WinogradConv::new(isa, tile, &weight, &bias, channels);
        let map = |side: usize, c: usize| BatchLayout {
            start: 0,
            pixel_stride: c,
            row_stride: side * c,
            picture_stride: side * side * c,
        };
        let layout = WinogradLayout {
            pictures: PICTURES,
            input: map(side, channels),
            output: map(size, filters),
            residual: Residual::None,
            size: [size; 2],
        };
        let mut scratch = vec![0.0; conv.scratch_len(1, &layout)];
        tell(name, "winograd", macs, &mut || conv.run(1, &layout, &input, &[], None, &mut output, &mut scratch));
    }
}

fn depthwise_convolution(layer: &Layer, isa: Isa, tell: Tell) {
    let Layer { name, size, channels, kernel, stride, .. } = *layer;
    let side = (size - 1) * stride + kernel;
    let (input, mut output) = (noise(side * side * channels, 1), vec![0.0; size * size * channels]);
    let conv = DepthwiseConv::new(&noise(channels * kernel * kernel, 1), &noise(channels, 1), [kernel; 2]);
    let layout = DepthwiseLayout {
        input_start: 0,
        input_row_stride: side * channels,
        stride: [stride; 2],
        output_start: 0,
        output_row_stride: size * channels,
        output_pixel_stride: channels,
        output_size: [size; 2],
    };
    let macs = size * size * channels * kernel * kernel;
    tell(name, "depthwise", macs, &mut || conv.run(isa, 1, &layout, &input, None, &mut output));
    let levels: Vec<u8> = input.iter().map(|&v| (128.0 + 127.0 * v) as u8).collect();
    let (weight, mut bytes) = (small(&noise(channels * kernel * kernel, 1)), vec![0; output.len()]);
    for isa in Int8Isa::available().into_iter().filter(|isa| isa.is_native()) {
        let conv = Int8Depthwise::new(isa, &weight, requant(channels), [kernel; 2], stride);
        tell(name, "int8", macs, &mut || conv.run(1, &layout, &levels, Int8Output::Bytes(&mut bytes)));
    }
}

/// Measures attention, with a bias where there are windows.
fn attention(name: &str, windows: usize, shape: AttentionShape, isa: Isa, tell: Tell) {
    let AttentionShape { heads, size, queries: tokens, .. } = shape;
    let (all, c) = (windows * tokens, heads * size);
    let starts = |each: usize, first: usize| (0..all).map(|i| (i * each + first) as u32).collect::<Vec<_>>();
    let places = AttentionPlaces {
        queries: starts(3 * c, 0),
        keys: starts(3 * c, c),
        value_offset: c,
        outputs: starts(c, 0),
        kinds: vec![0; windows],
    };
    let bias = if windows > 1 { noise(heads * tokens * tokens, 1) } else { Vec::new() };
    let attention = Attention::new(isa, shape, vec![1.0 / (size as f32).sqrt(); heads], bias, places);
    let (input, mut output) = (noise(all * 3 * c, 2), vec![0.0; all * c]);
    let mut scratch = vec![0.0; attention.scratch_len(1)];
    let mut run = || attention.run(1, windows, [&input, &input], &mut output, &mut scratch);
    tell(name, "attention", 2 * all * tokens * c, &mut run);
}

/// Weights as signed bytes.
fn small(weight: &[f32]) -> Vec<i8> {
    weight.iter().map(|w| (127.0 * w) as i8).collect()
}

/// An epilogue with arbitrary numbers.
fn requant(filters: usize) -> Requant {
    Requant { scale: vec![1e-3; filters], bias: vec![128.0; filters], residual: Vec::new() }
}

/// Returns the seconds of the fastest run.
fn fastest(run: &mut dyn FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < EACH {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
