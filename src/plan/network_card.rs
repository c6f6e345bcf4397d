//! The description of the network that computed features, which is in `classifier.json` and in the metadata of every
//! table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Plan;
use crate::config::{Features, Kernels, Precision};
use crate::image::{DecodeOptions, Recipe};
use crate::models::Source;
use crate::network_plan::{NetworkPlan, TEXT_SIMILARITY};

/// The network, its weights, and all steps from a file to its features.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkCard {
    /// The version of featurize.
    pub featurize: String,
    pub model: String,
    /// The path or URL of the weights.
    pub weights: String,
    /// The hash of the weights, or `random-<seed>`.
    pub weights_sha256: String,
    /// The key of the network in the file of weights; none if the file has a single network, and in cards of versions
    /// without this choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// The text tower whose embeddings can be compared with the features, see [`NetworkPlan::text_tower`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_tower: Option<String>,
    /// The library whose definition of the network is used; none for an ONNX file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The names of the layers, separated by commas.
    pub layer: String,
    pub features: Features,
    pub shape: Vec<usize>,
    pub recipe: Recipe,
    #[serde(default = "DecodeOptions::unwritten")]
    pub image: DecodeOptions,
    /// The precision; f32 in cards of versions without this choice.
    #[serde(default)]
    pub precision: Precision,
    /// The CPU kernels of the run; predictions always use the fastest.
    #[serde(default, skip_serializing_if = "Kernels::is_auto")]
    pub kernels: Kernels,
}

impl NetworkCard {
    /// The card of the network of `plan`.
    pub fn of(plan: &Plan) -> Self {
        Self::of_network(&plan.backbone, plan.weights_id.clone())
    }

    fn of_network(backbone: &NetworkPlan, weights_sha256: String) -> Self {
        Self {
            featurize: env!("CARGO_PKG_VERSION").to_string(),
            model: backbone.name.clone(),
            weights: backbone.weights.describe(),
            weights_sha256,
            weights_key: backbone.weights_key().map(String::from),
            text_tower: backbone.text_tower().map(String::from),
            source: backbone.source,
            layer: backbone.layers(),
            features: backbone.features,
            shape: backbone.shape().dims().to_vec(),
            recipe: backbone.recipe.clone(),
            image: backbone.decoding.clone(),
            precision: backbone.precision,
            kernels: backbone.kernels,
        }
    }

    /// The card as the metadata of a table.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let mut pairs = vec![
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("model", self.model.clone()),
            ("weights", self.weights.clone()),
            ("weights_sha256", self.weights_sha256.clone()),
            ("layer", self.layer.clone()),
            ("features", word(json!(self.features))),
            ("shape", shape.join(",")),
            ("precision", self.precision.word().to_string()),
            ("recipe", json!(self.recipe).to_string()),
            ("image", json!(self.image).to_string()),
        ];
        let kernels = (!self.kernels.is_auto()).then(|| ("kernels", self.kernels.word().to_string()));
        pairs.extend(kernels);
        pairs.extend(self.source.map(|source| ("source", source.to_string())));
        pairs.extend(self.weights_key.clone().map(|key| ("weights_key", key)));
        if let Some(tower) = &self.text_tower {
            let width = self.shape.iter().product::<usize>().to_string();
            let similarity = TEXT_SIMILARITY.to_string();
            pairs.extend([("text_tower", tower.clone()), ("text_width", width), ("text_similarity", similarity)]);
        }
        pairs.into_iter().map(|(key, value)| (format!("featurize.{key}"), value)).collect()
    }

    /// Reads the card from the metadata of a table.
    ///
    /// # Errors
    /// A part of it is missing or cannot be parsed.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, serde_json::Error> {
        let text = |key: &str| metadata.get(&format!("featurize.{key}")).cloned().unwrap_or_default();
        let (image, precision) = (metadata.get("featurize.image"), metadata.get("featurize.precision"));
        let (kernels, source) = (metadata.get("featurize.kernels"), metadata.get("featurize.source"));
        Ok(Self {
            featurize: text("version"),
            model: text("model"),
            weights: text("weights"),
            weights_sha256: text("weights_sha256"),
            weights_key: metadata.get("featurize.weights_key").cloned(),
            text_tower: metadata.get("featurize.text_tower").cloned(),
            source: source.map(|word| serde_json::from_value(json!(word))).transpose()?,
            layer: text("layer"),
            features: serde_json::from_value(json!(text("features")))?,
            shape: text("shape").split(',').filter_map(|side| side.parse().ok()).collect(),
            recipe: serde_json::from_str(&text("recipe"))?,
            image: image.map_or_else(|| Ok(DecodeOptions::unwritten()), |image| serde_json::from_str(image))?,
            precision: precision.map_or(Ok(Precision::F32), |word| serde_json::from_value(json!(word)))?,
            kernels: kernels.map_or(Ok(Kernels::Auto), |word| serde_json::from_value(json!(word)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::weights::Origin;

    #[test]
    fn tables_of_clip_name_the_tower_for_texts() {
        let metadata = |name: &str, weights: &str| {
            let model = models::find(name).expect("registered");
            let row = model.weights(weights).expect(weights);
            let (origin, recipe) = (Origin::Bundled(row), row.recipe.clone());
            let plan = NetworkPlan::new(model, row, origin, recipe, &[], Features::Pooled).expect("built");
            let card = NetworkCard::of_network(&plan, "0".repeat(64));
            let metadata: BTreeMap<String, String> = card.metadata().into_iter().collect();
            let read = NetworkCard::from_metadata(&metadata).expect("sound");
            assert_eq!((read.text_tower, read.shape), (card.text_tower, card.shape));
            let of = |key: &str| metadata.get(&format!("featurize.{key}")).cloned();
            ["text_tower", "text_width", "text_similarity"].map(of)
        };
        let expected = ["openai/clip-vit-base-patch32", "512", "cosine of L2-normalised vectors"];
        assert_eq!(
            metadata("vit_base_patch32_clip_quickgelu_224", "timm:openai"),
            expected.map(|w| Some(w.to_string()))
        );
        assert_eq!(metadata("vit_small_patch14_dinov2", "facebook"), [None, None, None]);
    }
}
