//! SqueezeNet (Iandola et al. 2016, arXiv:1602.07360), 1.0 and 1.1, after torchvision/models/squeezenet.py.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::spec::{BuildOptions, Source};

/// A module of `features`: a max pool, or a fire module with its squeezed channels and the channels of each of its two
/// expansions.
enum Module {
    Pool,
    Fire(usize, usize),
}

use Module::{Fire, Pool as MaxPool};

/// SqueezeNet 1.0: 1.2 M parameters, 0.8 G multiply-accumulates at 224 × 224; feature map `features` of 512 channels.
pub(super) fn squeezenet1_0(options: &BuildOptions) -> Result<Graph, GraphError> {
    let fires = [
        MaxPool,
        Fire(16, 64),
        Fire(16, 64),
        Fire(32, 128),
        MaxPool,
        Fire(32, 128),
        Fire(48, 192),
        Fire(48, 192),
        Fire(64, 256),
        MaxPool,
        Fire(64, 256),
    ];
    squeezenet(options, Conv::new(96).kernel(7), &fires)
}

/// SqueezeNet 1.1: the same accuracy with less than half of the computations.
pub(super) fn squeezenet1_1(options: &BuildOptions) -> Result<Graph, GraphError> {
    let fires = [
        MaxPool,
        Fire(16, 64),
        Fire(16, 64),
        MaxPool,
        Fire(32, 128),
        Fire(32, 128),
        MaxPool,
        Fire(48, 192),
        Fire(48, 192),
        Fire(64, 256),
        Fire(64, 256),
    ];
    squeezenet(options, Conv::new(64).kernel(3), &fires)
}

fn squeezenet(options: &BuildOptions, stem: Conv, modules: &[Module]) -> Result<Graph, GraphError> {
    if options.source != Source::Torchvision {
        return Err(options.refuse("SqueezeNet"));
    }
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let x = g.conv("features.0", x, stem.stride(2).bias());
    let mut x = g.relu("features.1", x);
    for (k, module) in (2..).zip(modules) {
        let name = format!("features.{k}");
        x = match module {
            MaxPool => g.pool(&name, x, Pool::max(3).stride(2).ceil()),
            Fire(squeezed, expanded) => fire(&mut g, &name, x, *squeezed, *expanded),
        };
    }
    let features = x; // (13, 13, 512)
    g.alias("features", features);
    // the classifier is a convolution with a map for each class; the means of the maps are the scores
    let x = g.conv("classifier.1", features, Conv::new(options.classes).bias());
    let x = g.relu("classifier.2", x);
    let logits = g.global_avg_pool("classifier.3", x);
    g.alias("classifier", logits);
    g.finish(features, logits)
}

fn fire(g: &mut Builder, name: &str, x: LayerId, squeezed: usize, expanded: usize) -> LayerId {
    let mut layer = |part: &str, x: LayerId, conv: Conv| {
        let x = g.conv(&format!("{name}.{part}"), x, conv.bias());
        g.relu(&format!("{name}.{part}_activation"), x)
    };
    let x = layer("squeeze", x, Conv::new(squeezed));
    let one = layer("expand1x1", x, Conv::new(expanded));
    let three = layer("expand3x3", x, Conv::new(expanded).kernel(3).pad(1));
    g.concat(name, &[one, three])
}
