//! EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298), after
//! * Keras: keras/src/applications/efficientnet_v2.py, which takes pixels from 0 to 255 and normalises them in the
//!   network;
//! * torchvision: torchvision/models/efficientnet.py;
//! * timm: `tf_efficientnetv2_s`, `tf_efficientnetv2_b0` … in timm/models/efficientnet.py, Google's weights with
//!   TensorFlow's `SAME` padding.
//!
//! The early blocks are fused, see [`Block::fused`](super::inverted::Block).

use super::efficientnet::{EPS, SCALES, Variant, imagenet, network, scaled};
use super::graph::{Activation, Graph, GraphError};
use super::inverted::{Stage, nearest_multiple_of_eight, stage};
use super::spec::{BuildOptions, Source};

/// Three fused stages, and the others with squeeze-and-excitation.
const fn stages<const N: usize>(mut stages: [Stage; N]) -> [Stage; N] {
    let mut i = 0;
    while i < N {
        stages[i].fused = i < 3;
        stages[i].squeezes = i >= 3;
        i += 1;
    }
    stages
}

const BASE: [Stage; 6] = stages([
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 4, 32),
    stage(2, 3, 2, 4, 48),
    stage(3, 3, 2, 4, 96),
    stage(5, 3, 1, 6, 112),
    stage(8, 3, 2, 6, 192),
]);

pub(super) const V2_S: [Stage; 6] = stages([
    stage(2, 3, 1, 1, 24),
    stage(4, 3, 2, 4, 48),
    stage(4, 3, 2, 4, 64),
    stage(6, 3, 2, 4, 128),
    stage(9, 3, 1, 6, 160),
    stage(15, 3, 2, 6, 256),
]);

pub(super) const V2_M: [Stage; 7] = stages([
    stage(3, 3, 1, 1, 24),
    stage(5, 3, 2, 4, 48),
    stage(5, 3, 2, 4, 80),
    stage(7, 3, 2, 4, 160),
    stage(14, 3, 1, 6, 176),
    stage(18, 3, 2, 6, 304),
    stage(5, 3, 1, 6, 512),
]);

pub(super) const V2_L: [Stage; 7] = stages([
    stage(4, 3, 1, 1, 32),
    stage(7, 3, 2, 4, 64),
    stage(7, 3, 2, 4, 96),
    stage(10, 3, 2, 4, 192),
    stage(19, 3, 1, 6, 224),
    stage(25, 3, 2, 6, 384),
    stage(7, 3, 1, 6, 640),
]);

pub(super) const V2_XL: [Stage; 7] = stages([
    stage(4, 3, 1, 1, 32),
    stage(8, 3, 2, 4, 64),
    stage(8, 3, 2, 4, 96),
    stage(16, 3, 2, 4, 192),
    stage(24, 3, 1, 6, 256),
    stage(32, 3, 2, 6, 512),
    stage(8, 3, 1, 6, 640),
]);

/// EfficientNetV2-B`K`, K from 0 to 3: B0 has 7.1 M parameters and 0.7 G multiply-accumulates at 224 × 224, B3 14.4 M
/// and 3.0 G at 300 × 300. torchvision has none.
pub(super) fn b<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    let ends = [32, 1280].map(|channels| nearest_multiple_of_eight(f64::from(channels) * SCALES[K][0]));
    let rescale = if options.channels == 3 { imagenet(options) } else { PLUS_MINUS_ONE };
    v2(options, &scaled(&BASE, SCALES[K], nearest_multiple_of_eight), ends, rescale)
}

/// EfficientNetV2-S, M, L or XL: `stages` after a stem of so many channels; 1280 features.
pub(super) fn sized(options: &BuildOptions, stages: &[Stage], stem: usize) -> Result<Graph, GraphError> {
    v2(options, stages, [stem, 1280], PLUS_MINUS_ONE)
}

/// Keras' `Rescaling(1 / 128, offset=-1)`.
const PLUS_MINUS_ONE: [[f64; 3]; 2] = [[1.0 / 128.0; 3], [-1.0; 3]];

fn v2(options: &BuildOptions, stages: &[Stage], ends: [usize; 2], rescale: [[f64; 3]; 2]) -> Result<Graph, GraphError> {
    let (activation, same) = (Activation::Silu, options.source == Source::Timm);
    network(options, &Variant { stages, ends, activation, eps: EPS, same, rescale, pads: false })
}
