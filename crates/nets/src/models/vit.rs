//! Vision transformers (Dosovitskiy et al. 2020, arXiv:2010.11929) after torchvision/models/vision_transformer.py and
//! timm/models/vision_transformer.py: ViT and DeiT (Touvron et al. 2020, arXiv:2012.12877), DINOv2 (Oquab et al. 2023,
//! arXiv:2304.07193) with and without registers (Darcet et al. 2023, arXiv:2309.16588), the image towers of CLIP
//! (Radford et al. 2021, arXiv:2103.00020) and SigLIP (Zhai et al. 2023, arXiv:2303.15343).
//!
//! Features are the class token after the last norm, for CLIP its projection into the space shared with texts, for
//! SigLIP the output of its attention pool. The sides of a picture must be multiples of the patch size.

use super::builder::{Builder, Conv};
use super::graph::{
    Activation, Attention, Graph, GraphError, LayerId, PositionResize, RelativeBias, Shape, TokenTensors,
};
use super::spec::{BuildOptions, Source};

/// The MLP's hidden width as a multiple of the block's width.
const EXPANSION: usize = 4;

/// ViT-Ti, ViT-S, ViT-B and ViT-L.
pub(super) const TINY: Vit = Vit::new(192, 12);
pub(super) const SMALL: Vit = Vit::new(384, 12);
pub(super) const BASE: Vit = Vit::new(768, 12);
pub(super) const LARGE: Vit = Vit::new(1024, 24);

/// SigLIP ViT-B/16.
pub(super) fn siglip(options: &BuildOptions) -> Result<Graph, GraphError> {
    Vit { head: Head::Attention, ..BASE }.build(options, 16)
}

/// The layer that turns the tokens into a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// The class token.
    Token,
    /// The class token through a dense layer without a bias, to so many features.
    Projection(usize),
    /// timm's `AttentionPoolLatent`; there is no class token.
    Attention,
}

/// The numbers in which the networks differ; a head has 64 channels in all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vit {
    width: usize,
    depth: usize,
    /// Layer-norm epsilon.
    eps: f64,
    activation: Activation,
    registers: usize,
    /// Whether a norm comes before the first block; the patch embedding then has no bias.
    pre_norm: bool,
    layer_scale: bool,
    head: Head,
}

/// The names of a library's modules and tensors; those of a block are appended to the block's own.
struct Names {
    patches: &'static str,
    class: &'static str,
    positions: &'static str,
    tokens: &'static str,
    block: &'static str,
    blocks: &'static str,
    norms: [&'static str; 2],
    /// Queries, keys and values; the heads; the projection; the module of all of these.
    attention: [&'static str; 4],
    mlp: [&'static str; 4],
    norm: &'static str,
    token: &'static str,
    head: &'static str,
    resize: PositionResize,
}

/// The first dense layer, the activation, the second dense layer, the module of all of these.
pub(super) const TIMM_MLP: [&str; 4] = [".mlp.fc1", ".mlp.act", ".mlp.fc2", ".mlp"];
pub(super) const TORCHVISION_MLP: [&str; 4] = [".mlp.0", ".mlp.1", ".mlp.3", ".mlp"];

const TIMM: Names = Names {
    patches: "patch_embed.proj",
    class: "cls_token",
    positions: "pos_embed",
    tokens: "pos_drop",
    block: "blocks.",
    blocks: "blocks",
    norms: [".norm1", ".norm2"],
    attention: [".attn.qkv", ".attn.norm", ".attn.proj", ".attn"],
    mlp: TIMM_MLP,
    norm: "norm",
    token: "fc_norm",
    head: "head",
    resize: PositionResize::Antialiased,
};

const TORCHVISION: Names = Names {
    patches: "conv_proj",
    class: "class_token",
    positions: "encoder.pos_embedding",
    tokens: "encoder.dropout",
    block: "encoder.layers.encoder_layer_",
    blocks: "encoder.layers",
    norms: [".ln_1", ".ln_2"],
    attention: [".self_attention.in_proj", ".self_attention.heads", ".self_attention.out_proj", ".self_attention"],
    mlp: TORCHVISION_MLP,
    norm: "encoder.ln",
    // the name that `create_feature_extractor` gives it
    token: "getitem_5",
    head: "heads.head",
    resize: PositionResize::Corners,
};

impl Vit {
    const fn new(width: usize, depth: usize) -> Self {
        Self {
            width,
            depth,
            eps: 1e-6,
            activation: Activation::Gelu,
            registers: 0,
            pre_norm: false,
            layer_scale: false,
            head: Head::Token,
        }
    }

    /// DINOv2 with so many `registers`.
    pub(super) fn dinov2(self, options: &BuildOptions, registers: usize) -> Result<Graph, GraphError> {
        Self { layer_scale: true, registers, ..self }.build(options, 14)
    }

    /// CLIP: 512 features from ViT-B, 768 from ViT-L; `quick`: with OpenAI's approximation of GELU.
    pub(super) fn clip(self, options: &BuildOptions, patch: usize, quick: bool) -> Result<Graph, GraphError> {
        let activation = if quick { Activation::QuickGelu } else { Activation::Gelu };
        let head = Head::Projection(if self.width == BASE.width { 512 } else { 768 });
        Self { eps: 1e-5, activation, pre_norm: true, head, ..self }.build(options, patch)
    }

    /// The network with patches of so many pixels on a side.
    pub(super) fn build(self, options: &BuildOptions, patch: usize) -> Result<Graph, GraphError> {
        let torchvision = options.source == Source::Torchvision;
        let names = if torchvision { &TORCHVISION } else { &TIMM };
        let [h, w] = options.size;
        let (mut g, x) = Builder::of(options); // (224, 224, 3)
        if h % patch + w % patch > 0 {
            let reason = format!(
                "{h}×{w} pixels are not divided into patches of {patch}×{patch}; take sides that are multiples of \
                 {patch}"
            );
            return Err(GraphError::Invalid { layer: names.patches.into(), reason });
        }
        let patches = Conv::new(self.width).kernel(patch).stride(patch);
        let x = g.conv(names.patches, x, if self.pre_norm { patches } else { patches.bias() }); // (14, 14, 768)
        let mut x = g.tokens(names.tokens, x, self.tensors(options.source, names)); // (197, 768)
        if self.pre_norm {
            x = g.layer_norm("norm_pre", x, self.eps);
        }
        for i in 0..self.depth {
            x = self.block(&mut g, &format!("{}{i}", names.block), x, names);
        }
        g.alias(names.blocks, x);
        let x = g.layer_norm(names.norm, x, self.eps);
        if torchvision {
            g.alias("encoder", x);
        }
        g.pools(x);
        let features = match self.head {
            Head::Attention => self.attention_pool(&mut g, x),
            _ => g.token(names.token, x, 0), // (768,)
        };
        let logits = match self.head {
            _ if options.classes > 0 => g.dense(names.head, features, options.classes),
            Head::Projection(out) => g.dense(names.head, features, out),
            _ => features,
        };
        let features = if options.classes == 0 { logits } else { features };
        g.finish(features, logits)
    }

    fn tensors(self, source: Source, names: &Names) -> TokenTensors {
        // timm adds the embedding of the class token to it where there are registers
        let timms = source == Source::Timm && self.registers > 0;
        let registers = if source == Source::Facebook { "register_tokens" } else { "reg_token" };
        let class = (self.head != Head::Attention).then_some(names.class);
        TokenTensors {
            class,
            registers: (self.registers > 0).then_some((registers, self.registers)),
            positions: names.positions,
            class_position: class.is_some() && !timms,
            resize: match source {
                Source::Facebook if self.registers == 0 => PositionResize::Offset,
                Source::Openai => PositionResize::Plain,
                _ => names.resize,
            },
        }
    }

    fn block(self, g: &mut Builder, block: &str, input: LayerId, names: &Names) -> LayerId {
        let at = |part: &str| format!("{block}{part}");
        let [qkv, heads, projection, module] = names.attention;
        let x = g.layer_norm(&at(names.norms[0]), input, self.eps);
        let x = g.dense_map(&at(qkv), x, 3 * self.width);
        let attention = Attention { heads: self.width / 64, window: None, bias: RelativeBias::None };
        let x = g.attention(&at(heads), block, x, attention);
        let x = g.dense_map(&at(projection), x, self.width);
        g.alias(&at(module), x);
        let x = self.scaled(g, &at(".ls1"), x);
        let input = g.add(&at(".add"), x, input);
        let x = g.layer_norm(&at(names.norms[1]), input, self.eps);
        let x = mlp(g, |part| at(names.mlp[part]), x, self.activation);
        let x = self.scaled(g, &at(".ls2"), x);
        let x = g.add(&at(".add_1"), x, input);
        g.alias(block, x);
        x
    }

    fn scaled(self, g: &mut Builder, name: &str, x: LayerId) -> LayerId {
        if self.layer_scale { g.layer_scale(name, name, "gamma", x) } else { x }
    }

    /// One query attends to all tokens, then comes the MLP half of a block.
    fn attention_pool(self, g: &mut Builder, x: LayerId) -> LayerId {
        let x = g.dense_map("attn_pool.kv", x, 2 * self.width);
        let x = g.attention_pool("attn_pool.heads", "attn_pool", x, self.width / 64);
        let input = g.dense("attn_pool.proj", x, self.width);
        let x = g.layer_norm("attn_pool.norm", input, self.eps);
        let x = mlp(g, |part| format!("attn_pool{}", TIMM_MLP[part]), x, self.activation);
        let x = g.add("attn_pool", x, input);
        g.alias("fc_norm", x);
        x
    }
}

/// Two dense layers with an activation between them; `name` gives the names of first, activation, second and module.
pub(super) fn mlp(g: &mut Builder, name: impl Fn(usize) -> String, x: LayerId, activation: Activation) -> LayerId {
    let width = g.shape(x).channels();
    let dense = |g: &mut Builder, name: &str, x, out| match g.shape(x) {
        Shape::Vector(_) => g.dense(name, x, out),
        _ => g.dense_map(name, x, out),
    };
    let x = dense(g, &name(0), x, EXPANSION * width);
    let x = g.activation(&name(1), x, activation);
    let x = dense(g, &name(2), x, width);
    g.alias(&name(3), x);
    x
}
