//! `extract`: the network, its weights, and the layer whose values are the features.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::{Features, Precision, Weights, ranges, schema};
use crate::image::RecipeOverrides;
use crate::learn::read_forms;
use crate::models::Source;

/// The default network.
pub const DEFAULT_MODEL: &str = "efficientnet_lite0";

/// `extract`: runs a pretrained network over the pictures and keeps the values of a layer as features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Extract {
    /// The network; `featurize models list` names all of them. Weights with a name of your own bring theirs; an ONNX
    /// file, too: the key is then left out.
    #[schemars(schema_with = "schema::model")]
    pub model: String,
    /// The weights of the network. `bundled` are those inside the program. `keras`, `torchvision` and `timm` are
    /// published by these libraries, `openai` and `facebook` by the authors of CLIP and DINOv2, and downloaded once;
    /// `torchvision:IMAGENET1K_V2` or `timm:a2_in1k` are those that a library calls so. `random` are drawn from `seed`,
    /// for trials. A relative path of a file counts from the folder of the YAML file; an ONNX file (`.onnx`) is a
    /// network of its own, for which `recipe` says how pictures are prepared. Any other word is a name that
    /// `featurize weights import FILE --name` gave, with its network, recipe and classes. `default` are the bundled
    /// weights where there are any, else the first source that `featurize models list` names for the network.
    pub weights: Weights,
    /// The key of the network in a file that has several: `state_dict`, `student`, `module.encoder_k`. Default: the
    /// only network, else the averaged weights (EMA), the teacher, or the encoder that is trained.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// Seed of random weights.
    pub seed: u64,
    /// How the map of the layer, or its tokens, become features.
    pub features: Features,
    /// The layer; `featurize models show NAME` lists all. Of an ONNX file a node or a value. `input` is the prepared
    /// picture itself, for checks. Default: the last feature map, which Keras calls `include_top=False`; of an ONNX
    /// file the value that feeds its last dense layer.
    #[schemars(with = "Option<schema::Text>")]
    pub layer: Option<String>,
    /// Several layers instead of `layer`. Their features follow one another in a row.
    #[schemars(with = "Option<Vec<schema::Text>>", length(min = 1))]
    pub layers: Option<Vec<String>>,
    /// The library after whose definition the network is built. Layer names, numerics and recipe are those of the
    /// library. Default: recognised from the file of weights.
    pub source: Option<Source>,
    /// The channels of the network's input: 1 builds the network for grey pictures.
    #[schemars(extend("default" = 3))]
    pub channels: Channels,
    /// Number format of maps and weights. A CPU has `f32`, `bf16` and `int8`, a GPU `f32`, `tf32` (NVIDIA), `bf16` and
    /// `f16`. `bf16` is faster than `f32` on a CPU with AMX or AVX512-BF16 and slower on others. It changes features by
    /// a few tenths of a percent to a few percent, see docs/benchmarks.md. `int8` is faster still on a CPU with AMX,
    /// AVX512-VNNI, AVX-VNNI or NEON's dot products. It changes features by up to several percent. `f16` overflows
    /// beyond 65,504: such features are an error.
    pub precision: Precision,
    /// The pictures by which `int8` finds the ranges of the network's values: their number, of which those are taken
    /// whose paths have the smallest hashes, whatever their split; or a file of ranges, which `--ranges` of `embed`,
    /// `classify` and `bench` writes. A run keeps its ranges until `--force extract`. Default: the ranges that ship
    /// with the bundled weights, else 64 pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Keys that override the preprocessing recipe of the weights. `featurize plan` shows the result. Default: the
    /// recipe that the weights were trained with. An ONNX file has one only if `featurize export` wrote it; for others,
    /// `preset` (`torchvision` or `timm`) or `mean` and `std` are needed.
    pub recipe: Option<RecipeOverrides>,
    /// The most pictures in one Parquet file. Default: chosen by the number of columns and the cost of a picture.
    #[schemars(range(min = 1, max = ranges::SHARD_ROWS))]
    pub shard_rows: Option<usize>,
    /// Pictures in one forward pass on a GPU; the same setting as `runtime.batch_size`. Default: that setting.
    // the features do not depend on the batch size, so it is not part of the fingerprint
    #[serde(skip_serializing)]
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: Option<usize>,
}

impl Default for Extract {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_owned(),
            weights: Weights::Default,
            weights_key: None,
            seed: 0,
            features: Features::Pooled,
            layer: None,
            layers: None,
            source: None,
            channels: Channels::Three,
            precision: Precision::F32,
            calibration: None,
            recipe: None,
            shard_rows: None,
            batch_size: None,
        }
    }
}

impl Extract {
    /// The named layers; an empty list stands for the last feature map.
    pub fn layers(&self) -> Vec<String> {
        self.layers.clone().unwrap_or_else(|| self.layer.iter().cloned().collect())
    }
}

/// Channels of the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Channels {
    /// Grey.
    #[serde(rename = "1")]
    One,
    /// Red, green and blue.
    #[default]
    #[serde(rename = "3")]
    Three,
}

impl<'de> Deserialize<'de> for Channels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self::One),
            3 => Ok(Self::Three),
            other => Err(D::Error::invalid_value(Unexpected::Unsigned(other), &"3, or 1 for grey pictures")),
        }
    }
}

/// The ranges of `int8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Calibration {
    /// From so many pictures.
    Pictures(usize),
    /// In a file, resolved.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for Calibration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_forms!(deserializer, "a number of pictures, or a file of ranges" => Calibration {
            visit_str(path: &str, Str) => (!path.is_empty()).then(|| Calibration::File(path.into()));
            fn visit_u64<E: Error>(self, number: u64) -> Result<Calibration, E> {
                let number = usize::try_from(number).ok().filter(|number| (1..=ranges::MANY).contains(number));
                number.map(Calibration::Pictures).ok_or_else(|| E::custom("expected a number of pictures from 1 on"))
            }
        })
    }
}
