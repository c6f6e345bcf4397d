//! SqueezeNet (Iandola et al. 2016, arXiv:1602.07360), 1.0 and 1.1, after torchvision/models/squeezenet.py.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::spec::BuildOptions;

/// The channels of the fire modules: squeezed, and of each of the two expansions.
const FIRES: [(usize, usize); 8] =
    [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)];

/// A network that begins with a convolution of so many `filters` and that kernel, and has a max pool before each of the
/// fire modules `pools`; feature map `features` of 512 channels.
pub(super) fn network(
    options: &BuildOptions,
    [filters, kernel]: [usize; 2],
    pools: [usize; 3],
) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.conv("features.0", x, Conv::new(filters).kernel(kernel).stride(2).bias());
    let mut x = g.relu("features.1", x);
    let mut names = (2..).map(|k| format!("features.{k}"));
    let mut next = || names.next().unwrap_or_default();
    for (i, (squeezed, expanded)) in FIRES.into_iter().enumerate() {
        if pools.contains(&i) {
            x = g.pool(&next(), x, Pool::max(3).stride(2).ceil());
        }
        x = fire(&mut g, &next(), x, squeezed, expanded);
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
