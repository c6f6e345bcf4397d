//! ConvNeXt (Liu et al. 2022, arXiv:2201.03545) after torchvision/models/convnext.py, timm/models/convnext.py and
//! keras/src/applications/convnext.py. They differ in names, and Keras' network takes pixels from 0 to 255 and
//! normalises them.
//!
//! Features are the output of all three without their classifier: the mean over the last map, then layer norm. The map
//! itself is `features`, in timm `stages`, in Keras the last `add`.

use super::builder::{Builder, Conv};
use super::efficientnet::imagenet;
use super::graph::{Activation, Graph, GraphError, LayerId};
use super::inception::numbered;
use super::spec::{BuildOptions, Source};

/// Layer-norm epsilon.
const EPS: f64 = 1e-6;
/// The hidden width of a block as a multiple of its width.
const EXPANSION: usize = 4;

/// The names of a block's layers, appended to the block's own: depthwise convolution, norm, dense layer, activation,
/// dense layer, layer scale.
const TORCHVISION: [&str; 6] = [".block.0", ".block.2", ".block.3", ".block.4", ".block.5", ".layer_scale"];
const TIMM: [&str; 6] = [".conv_dw", ".norm", ".mlp.fc1", ".mlp.act", ".mlp.fc2", ".gamma"];
const KERAS: [&str; 6] =
    ["_depthwise_conv", "_layernorm", "_pointwise_conv_1", "_gelu", "_pointwise_conv_2", "_layer_scale"];

/// A network with `depth` blocks in the third stage and three in the others. The first stage has `first` channels,
/// which double from stage to stage. Keras' names begin with `model`.
pub(super) fn network(options: &BuildOptions, model: &str, depth: usize, first: usize) -> Result<Graph, GraphError> {
    let source = options.source;
    let (mut g, mut x) = Builder::of(options); // (224, 224, 3)
    if source == Source::Keras && options.channels == 3 {
        let [scale, shift] = imagenet(options);
        x = g.rescale(&format!("{model}_prestem_normalization"), x, scale, shift);
    }
    let mut sums = 0;
    for (s, depth) in [3, 3, depth, 3].into_iter().enumerate() {
        let width = first << s;
        x = downsample(&mut g, source, model, s, x, width);
        for i in 0..depth {
            let (names, block, sum) = match source {
                Source::Torchvision => (&TORCHVISION, format!("features.{}.{i}", 2 * s + 1), None),
                Source::Keras => (&KERAS, format!("{model}_stage_{s}_block_{i}"), Some(numbered("add", sums))),
                _ => (&TIMM, format!("stages.{s}.blocks.{i}"), None),
            };
            x = convnext_block(&mut g, &block, sum.as_deref(), x, width, names);
            sums += 1;
        }
        match source {
            Source::Torchvision => g.alias(&format!("features.{}", 2 * s + 1), x),
            Source::Keras => {}
            _ => g.alias(&format!("stages.{s}"), x),
        }
    }
    let [pool, norm, classifier] = match source {
        Source::Torchvision => ["avgpool", "classifier.0", "classifier.2"].map(str::to_string),
        Source::Keras => ["gap", "layernorm", "dense"].map(|part| format!("{model}_head_{part}")),
        _ => ["head.global_pool", "head.norm", "head.fc"].map(str::to_string),
    };
    match source {
        Source::Torchvision => g.alias("features", x), // (7, 7, 768)
        Source::Keras => {}
        _ => g.alias("stages", x),
    }
    let x = g.global_avg_pool(&pool, x);
    g.alias("avg_pool", x);
    let features = g.layer_norm(&norm, x, EPS); // (768,)
    let logits = match source {
        Source::Keras => g.dense_softmax(&classifier, features, options.classes),
        _ => g.dense(&classifier, features, options.classes),
    };
    g.finish(features, logits)
}

/// Builds the layers before stage `s`: the stem, or a norm and a convolution that halve the map.
fn downsample(g: &mut Builder, source: Source, model: &str, s: usize, x: LayerId, width: usize) -> LayerId {
    let stem = s == 0;
    let [module, norm, conv] = match source {
        Source::Torchvision => sequence(&format!("features.{}", 2 * s), stem),
        Source::Timm if stem => sequence("stem", stem),
        Source::Keras if stem => ["stem", "stem_layernorm", "stem_conv"].map(|part| format!("{model}_{part}")),
        Source::Keras => ["block", "layernorm", "conv"].map(|part| format!("{model}_downsampling_{part}_{}", s - 1)),
        _ => sequence(&format!("stages.{s}.downsample"), stem),
    };
    let window = if stem { 4 } else { 2 };
    let conv = |g: &mut Builder, x| g.conv(&conv, x, Conv::new(width).kernel(window).stride(window).bias());
    let x = if stem {
        let x = conv(g, x);
        g.layer_norm(&norm, x, EPS) // (56, 56, 96)
    } else {
        let x = g.layer_norm(&norm, x, EPS);
        conv(g, x)
    };
    g.alias(&module, x);
    x
}

/// The names of a module and of its norm and its convolution, which comes first in the stem.
fn sequence(module: &str, stem: bool) -> [String; 3] {
    [module.to_string(), format!("{module}.{}", usize::from(stem)), format!("{module}.{}", usize::from(!stem))]
}

/// Depthwise 7 × 7, layer norm, two dense layers at each position with GELU between, and the sum with the input, called
/// `sum` or else like the block.
fn convnext_block(
    g: &mut Builder,
    name: &str,
    sum: Option<&str>,
    input: LayerId,
    width: usize,
    names: &[&'static str; 6],
) -> LayerId {
    let at = |part: &str| format!("{name}{part}");
    let [depthwise, norm, first, activation, second, scale] = *names;
    let x = g.conv(&at(depthwise), input, Conv::new(width).groups(width).kernel(7).pad(3).bias());
    let x = g.layer_norm(&at(norm), x, EPS);
    let x = g.dense_map(&at(first), x, EXPANSION * width);
    let x = g.activation(&at(activation), x, Activation::Gelu);
    let x = g.dense_map(&at(second), x, width);
    let (scaled, gamma) = (at(scale), scale.trim_start_matches('.'));
    let x = match sum {
        // in Keras, layer scale is a layer with a tensor of its own
        Some(_) => g.layer_scale(&scaled, &scaled, "gamma", x),
        None => g.layer_scale(&scaled, name, gamma, x),
    };
    g.add(sum.unwrap_or(name), x, input)
}
