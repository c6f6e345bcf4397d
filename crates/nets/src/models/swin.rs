//! Swin transformers (Liu et al. 2021, arXiv:2103.14030) and SwinV2 (Liu et al. 2022, arXiv:2111.09883) after
//! torchvision/models/swin_transformer.py and timm/models/swin_transformer.py, swin_transformer_v2.py. They differ in
//! names, and timm's files of SwinV2 have no bias of the keys.
//!
//! Features are the mean over the last map after its norm. A picture's sides must be such that whole windows fill the
//! maps of all stages.

use super::builder::{Builder, Conv};
use super::graph::{Activation, Attention, AttentionWindow, Graph, GraphError, LayerId, RelativeBias, Shape};
use super::spec::{BuildOptions, Source};
use super::vit::{TIMM_MLP, TORCHVISION_MLP, mlp};

/// Layer-norm epsilon.
const EPS: f64 = 1e-5;
/// Side of a patch.
const PATCH: usize = 4;
/// Channels of a head.
const HEAD: usize = 32;

/// Swin-T, Swin-S and Swin-B, without the side of their windows; 768, 768 and 1024 features.
pub(super) const TINY: Swin = Swin { depth: 6, ..SMALL };
pub(super) const SMALL: Swin = Swin { window: 0, width: 96, depth: 18, second: false, counted: None };
pub(super) const BASE: Swin = Swin { width: 128, ..SMALL };

#[derive(Clone, Copy, Debug)]
pub(super) struct Swin {
    /// Side of a window.
    window: usize,
    /// Channels of the first stage, which double from stage to stage.
    width: usize,
    /// Blocks of the third stage; the others have two.
    depth: usize,
    /// SwinV2: cosine attention, norms after attention and after the MLP.
    second: bool,
    /// Sides of the windows, by stage, by which SwinV2 scales distances; none: its own windows.
    counted: Option<[usize; 4]>,
}

impl Swin {
    /// Swin with windows of so many positions on a side.
    pub(super) fn v1(self, options: &BuildOptions, window: usize) -> Result<Graph, GraphError> {
        Self { window, ..self }.build(options)
    }

    pub(super) fn v2(self, options: &BuildOptions, window: usize) -> Result<Graph, GraphError> {
        Self { window, second: true, ..self }.build(options)
    }

    /// SwinV2 with larger windows than in pretraining: distances are scaled by the pretraining windows of 12 positions,
    /// 6 in the last stage.
    pub(super) fn v2_from_12(self, options: &BuildOptions, window: usize) -> Result<Graph, GraphError> {
        Self { counted: Some([12, 12, 12, 6]), ..self }.v2(options, window)
    }

    fn build(self, options: &BuildOptions) -> Result<Graph, GraphError> {
        let torchvision = options.source == Source::Torchvision;
        let (mut g, x) = Builder::of(options); // (224, 224, 3)
        let [conv, norm, module] = match torchvision {
            true => ["features.0.0", "features.0.2", "features.0"],
            false => ["patch_embed.proj", "patch_embed.norm", "patch_embed"],
        };
        self.check(options, conv)?;
        let x = g.conv(conv, x, Conv::new(self.width).kernel(PATCH).stride(PATCH).bias()); // (56, 56, 96)
        let mut x = g.layer_norm(norm, x, EPS);
        g.alias(module, x);
        for stage in 0..4 {
            if stage > 0 {
                let name = match torchvision {
                    true => format!("features.{}", 2 * stage),
                    false => format!("layers.{stage}.downsample"),
                };
                x = self.merge(&mut g, &name, x);
            }
            let name = if torchvision { format!("features.{}", 2 * stage + 1) } else { format!("layers.{stage}") };
            for i in 0..if stage == 2 { self.depth } else { 2 } {
                let block = if torchvision { format!("{name}.{i}") } else { format!("{name}.blocks.{i}") };
                x = self.block(&mut g, options.source, &block, (stage, i), x);
            }
            g.alias(&name, x);
        }
        g.alias(if torchvision { "features" } else { "layers" }, x);
        let x = g.layer_norm("norm", x, EPS); // (7, 7, 768)
        g.pools(x);
        let [pool, head] = if torchvision { ["avgpool", "head"] } else { ["head.global_pool", "head.fc"] };
        let features = g.global_avg_pool(pool, x); // (768,)
        let logits = if options.classes > 0 { g.dense(head, features, options.classes) } else { features };
        g.finish(features, logits)
    }

    /// An error unless whole windows fill the maps of all stages.
    fn check(self, options: &BuildOptions, layer: &str) -> Result<(), GraphError> {
        let [h, w] = options.size;
        // timm reduces a window to the size of the map, torchvision does not
        let smallest = if options.source == Source::Torchvision { self.window } else { 1 };
        let fills = |side: usize| {
            let mut sides = (0..4).map(|stage| side / (PATCH << stage));
            side.is_multiple_of(PATCH << 3)
                && sides.all(|side| side >= smallest && side.is_multiple_of(self.window.min(side)))
        };
        if fills(h) && fills(w) {
            return Ok(());
        }
        let all = (8 * self.window..=1024).filter(|&side| fills(side)).map(|side| side.to_string());
        let reason = format!(
            "windows of {0}×{0} do not fill the maps of a picture of {h}×{w}; take sides of {1}",
            self.window,
            all.collect::<Vec<_>>().join(", ")
        );
        Err(GraphError::Invalid { layer: layer.into(), reason })
    }

    /// Half the height, half the width and twice the channels.
    fn merge(self, g: &mut Builder, name: &str, x: LayerId) -> LayerId {
        let width = 2 * g.shape(x).channels();
        let [norm, reduction] = ["norm", "reduction"].map(|part| format!("{name}.{part}"));
        let x = g.merge(&format!("{name}.merge"), x);
        let x = if self.second {
            let x = g.dense_map_unbiased(&reduction, x, width);
            g.layer_norm(&norm, x, EPS)
        } else {
            let x = g.layer_norm(&norm, x, EPS);
            g.dense_map_unbiased(&reduction, x, width)
        };
        g.alias(name, x);
        x
    }

    fn block(
        self,
        g: &mut Builder,
        source: Source,
        block: &str,
        (stage, i): (usize, usize),
        input: LayerId,
    ) -> LayerId {
        let at = |part: &str| format!("{block}{part}");
        let names = if source == Source::Torchvision { TORCHVISION_MLP } else { TIMM_MLP };
        let (norms, width) = ([at(".norm1"), at(".norm2")], g.shape(input).channels());
        let x = if self.second { input } else { g.layer_norm(&norms[0], input, EPS) };
        let apart = self.second && source != Source::Torchvision;
        let x = match apart {
            true => g.dense_map_unbiased(&at(".attn.qkv"), x, 3 * width),
            false => g.dense_map(&at(".attn.qkv"), x, 3 * width),
        };
        let attention = self.attention(g.shape(input), stage, i, apart);
        let x = g.attention(&at(".attn.heads"), &at(".attn"), x, attention);
        let x = g.dense_map(&at(".attn.proj"), x, width);
        g.alias(&at(".attn"), x);
        let x = if self.second { g.layer_norm(&norms[0], x, EPS) } else { x };
        let input = g.add(&at(".add"), x, input);
        let x = if self.second { input } else { g.layer_norm(&norms[1], input, EPS) };
        let x = mlp(g, |part| at(names[part]), x, Activation::Gelu);
        let x = if self.second { g.layer_norm(&norms[1], x, EPS) } else { x };
        let x = g.add(&at(".add_1"), x, input);
        g.alias(block, x);
        x
    }

    /// Every second block shifts its windows by half their size, if there is more than one window.
    fn attention(self, shape: Shape, stage: usize, i: usize, apart: bool) -> Attention {
        let Shape::Map { c, h, w } = shape else {
            return Attention { heads: 1, window: None, bias: RelativeBias::None };
        };
        let size = [h, w].map(|side| self.window.min(side));
        let half = |side: usize| if side > self.window && i % 2 == 1 { self.window / 2 } else { 0 };
        let bias = match self.second {
            true => {
                let window = self.counted.map_or(size, |counted| [counted[stage]; 2]);
                RelativeBias::Network { window, apart }
            }
            false => RelativeBias::Table,
        };
        let window = Some(AttentionWindow { size, shift: [half(h), half(w)] });
        Attention { heads: c / HEAD, window, bias }
    }
}
